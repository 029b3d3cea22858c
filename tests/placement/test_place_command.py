"""`qbnn place`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.control import Control
from anneal.instances import bookshelf
from anneal.kernels.cells import anneal_cells
from anneal.placement.netlist import hpwl
from anneal.placement.verify import verify


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.app, ["place", *map(str, words)])


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("circuit") / "small.aux"
    words = "--columns", 10, "--rows", 9, "--seed", 4, "--utilisation", 0.8
    assert told(run("generate", "--out", path, *words, "--json"))["num_cells"] == 90
    return path


def test_a_netlist_is_placed(tmp_path: Path, circuit: Path) -> None:
    out = tmp_path / "run"
    words = circuit, "--out", out, "--seed", 1, "--moves", 300
    found = told(run("netlist", *words, "--json"))
    assert found["aligned"] and found["seed"] == 1 and not found["interrupted"]
    netlist = bookshelf.read(circuit)
    placement = bookshelf.read_placement(out / "placement.pl", netlist)
    assert verify(netlist, placement).is_aligned
    assert hpwl(netlist, placement) == pytest.approx(found["hpwl"])
    for name in ("placement", "density", "cost"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "wirelength" in (out / "index.html").read_text()
    assert json.loads((out / "result.json").read_text())["hpwl"] == found["hpwl"]
    again = run("netlist", circuit, "--out", tmp_path / "b", *words[3:], "--quiet")
    assert float(again.stdout) == pytest.approx(found["hpwl"])


def test_a_placement_is_refined_and_never_longer(tmp_path: Path, circuit: Path) -> None:
    best = circuit.with_suffix(".best.pl")
    shortest = told(run("evaluate", circuit, "--placement", best, "--json"))["hpwl"]
    words = "--placement", best, "--moves", 20, "--out", tmp_path / "a", "--json"
    assert told(run("refine", circuit, *words))["hpwl"] == shortest
    first = tmp_path / "run"
    assert run("netlist", circuit, "--out", first, "--moves", 1, "--seed", 2).exit_code == 0
    begun = "--placement", first / "placement.pl", "--seed", 1, "--out"
    found = told(run("refine", circuit, *begun, tmp_path / "b", "--json"))
    assert shortest <= found["hpwl"] < found["before"]
    human = run("refine", circuit, *begun, tmp_path / "c")
    assert "shorter" in human.stdout and "seed" in human.stdout


def test_verify_says_what_is_wrong(tmp_path: Path, circuit: Path) -> None:
    best = circuit.with_suffix(".best.pl")
    assert told(run("verify", circuit, "--placement", best, "--json"))["aligned"]
    wrong = tmp_path / "wrong.pl"
    netlist = bookshelf.read(circuit)
    placement = bookshelf.read_placement(best, netlist)
    placement.x[3], placement.y[3] = placement.x[5], placement.y[5]
    placement.y[7] += 0.5
    bookshelf.write_placement(wrong, netlist, placement)
    result = run("verify", circuit, "--placement", wrong)
    assert result.exit_code == 1
    assert "not legal" in result.stdout and "c3/c5" in result.stdout and "c7" in result.stdout
    assert run("refine", circuit, "--placement", wrong, "--out", tmp_path / "r").exit_code == 2


def test_ctrl_c_keeps_a_legal_placement(
    tmp_path: Path, circuit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def interrupted(*given: Any) -> float:
        calls.append(1)
        changed = float(anneal_cells(*given))
        controls[-1].interrupt()
        return changed

    controls: list[Control] = []
    begin = Control.__init__

    def noted(self: Control, **given: Any) -> None:
        begin(self, **given)
        if self.time_limit is not None:
            controls.append(self)

    monkeypatch.setattr(Control, "__init__", noted)
    monkeypatch.setattr("anneal.placement.refine.anneal_cells", interrupted)
    found = told(run("netlist", circuit, "--out", tmp_path / "run", "--time-limit", 900, "--json"))
    assert found["interrupted"] and found["aligned"] and len(calls) == 1


@pytest.mark.parametrize("what", ["cells", "density"])
def test_pictures(tmp_path: Path, circuit: Path, what: str) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        words = "--out", tmp_path / name, "--what", what, "--nets", 5
        assert run("draw", circuit, *words).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    assert run("draw", circuit, "--out", tmp_path / "a.gif").exit_code == 2


def test_exit_codes(tmp_path: Path, circuit: Path) -> None:
    assert run("evaluate", tmp_path / "none.aux").exit_code == 2
    netlist = bookshelf.read(circuit)
    netlist.width[:] *= 2
    bookshelf.write(tmp_path / "wide.aux", netlist)
    result = run("netlist", tmp_path / "wide.aux", "--out", tmp_path / "run")
    assert result.exit_code == 3 and "of the rows" in result.stderr
