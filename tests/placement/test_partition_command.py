"""`qbnn place partition`: what it tells and writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.control import Control
from anneal.instances import bookshelf, hmetis
from anneal.partition.hypergraph import Hypergraph, planted_hypergraph
from anneal.placement.grids import grid_netlist
from anneal.placement.hypergraphs import to_hypergraph


def run(*words: object) -> Result:
    wide = {"COLUMNS": "250"}
    return CliRunner().invoke(cli.app, ["place", "partition", *map(str, words)], env=wide)


def told(*words: object) -> dict[str, Any]:
    result = run(*words, "--seed", 1, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def planted() -> Hypergraph:
    return planted_hypergraph(seed=2, num_vertices=120, num_parts=4, most_area=3)[0]


@pytest.fixture
def file(tmp_path: Path, planted: Hypergraph) -> Path:
    hmetis.write(planted, tmp_path / "planted.hgr")
    return tmp_path / "planted.hgr"


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("objective", ["cut", "km1"])
def test_figures_are_those_of_the_parts(
    file: Path, planted: Hypergraph, parts: int, objective: str
) -> None:
    out = file.with_suffix(f".part.{parts}")
    words = "--parts", parts, "--objective", objective, "--tolerance", 0.05
    found = told(file, *words, "--out", out)
    written = hmetis.read_parts(out, planted.num_vertices)
    assert planted.cut(written) == found["cut"] and planted.km1(written) == found["km1"]
    assert planted.part_areas(written).tolist() == found["areas"]
    assert max(found["areas"]) <= found["limit"] and len(found["areas"]) == parts
    quiet = run(file, *words, "--quiet", "--seed", 1, "--num-threads", 2)
    assert float(quiet.stdout) == found[objective]
    human = run(file, *words, "--seed", 1, "--starts", 2).stdout
    assert "cut" in human and "limit" in human and "5 % above" in human


def test_fixed_vertices_stay(file: Path, planted: Hypergraph) -> None:
    fixed = np.full(planted.num_vertices, -1)
    fixed[[3, 50]] = 1, 0
    hmetis.write_parts(fixed, file.with_suffix(".fix"))
    out = file.with_suffix(".part")
    told(file, "--fix", file.with_suffix(".fix"), "--starts", 1, "--out", out)
    assert hmetis.read_parts(out, planted.num_vertices)[[3, 50]].tolist() == [1, 0]


def test_a_netlist_is_parted_by_the_sites_of_its_cells(tmp_path: Path) -> None:
    netlist, best = grid_netlist(columns=8, rows=8, cell_sites=2, degrees={2: 1.0}, seed=1)
    bookshelf.write(tmp_path / "grid.aux", netlist)
    found = told(tmp_path / "grid.aux", "--tolerance", 0, "--starts", 2)
    halves = (best.y >= 4).astype(int)
    graph = to_hypergraph(netlist)
    assert found["areas"] == [64.0, 64.0] and found["num_nets"] == netlist.num_nets
    assert found["cut"] <= graph.cut(halves)
    netlist.movable[:5] = False
    assert to_hypergraph(netlist).total_area == graph.total_area - 10
    assert to_hypergraph(netlist).num_vertices == 64


def test_ctrl_c_keeps_the_best(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    improve = Control.improve

    def stopping(self: Control, energy: float) -> None:
        improve(self, energy)
        self.interrupt()

    monkeypatch.setattr(Control, "improve", stopping)
    result = run(file, "--time-limit", 900)
    assert result.exit_code == 130 and "best so far" in result.stdout


def test_exit_codes(tmp_path: Path, file: Path, planted: Hypergraph) -> None:
    hmetis.write(Hypergraph.from_nets(3, [[0, 1]], area=[1, 1, 9]), tmp_path / "heavy.hgr")
    heavy = run(tmp_path / "heavy.hgr")
    assert heavy.exit_code == 3 and "vertex 2 has area 9" in heavy.stderr
    (tmp_path / "bad.hgr").write_text("1 2\n1 3\n")
    bad = run(tmp_path / "bad.hgr")
    assert bad.exit_code == 2 and "bad.hgr:2" in bad.stderr
    hmetis.write_parts(np.full(planted.num_vertices, 2), tmp_path / "fix")
    fixed = run(file, "--fix", tmp_path / "fix")
    assert fixed.exit_code == 2 and "part 2 of 2" in fixed.stderr
    for words in (("--parts", 121), ("--sampler", "annneal"), ("--out", tmp_path / "no" / "x")):
        assert run(file, *words).exit_code == 2
    assert run(tmp_path / "none.aux").exit_code == 2
