"""`qbnn place` with blocks: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.floorplan.verify import verify
from anneal.instances import gsrc


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.app, ["place", *map(str, words)])


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blocks") / "b12.blocks"
    made = told(run("generate", "--out", path, "--blocks", 12, "--seed", 3, "--json"))
    assert made["num_blocks"] == 12
    return path


def test_blocks_are_floorplanned(tmp_path: Path, blocks: Path) -> None:
    out = tmp_path / "run"
    words = blocks, "--out", out, "--seed", 1, "--moves", 500, "--wirelength", 0.3
    found = told(run("floorplan", *words, "--json"))
    assert found["legal"] and found["seed"] == 1 and not found["interrupted"]
    assert json.loads((out / "result.json").read_text())["area"] == found["area"]
    for name in ("floorplan.png", "cost.png", "index.html"):
        assert (out / name).stat().st_size > 1000
    given = gsrc.read(blocks)
    plan = gsrc.read_plan(out / "floorplan.pl", given)
    assert verify(given, plan).is_legal
    judged = told(run("evaluate", blocks, "--placement", out / "floorplan.pl", "--json"))
    assert judged["area"] == pytest.approx(found["area"])
    assert judged["hpwl"] == pytest.approx(found["hpwl"])
    again = told(run("floorplan", *words[:2], tmp_path / "again", *words[3:], "--json"))
    assert again["area"] == found["area"] and again["hpwl"] == found["hpwl"]


def test_the_known_best_is_legal_and_has_no_gap(blocks: Path) -> None:
    best = blocks.with_suffix(".best.pl")
    judged = told(run("evaluate", blocks, "--placement", best, "--json"))
    assert judged["dead_space"] == pytest.approx(0, abs=1e-12)
    assert told(run("verify", blocks, "--placement", best, "--json"))["overlaps"] == 0


def test_overlaps_are_told(blocks: Path) -> None:
    found = run("verify", blocks)  # the .pl beside it has all blocks at (0, 0)
    assert found.exit_code == 1 and "not legal" in found.stdout and "b0/" in found.stdout


def test_an_outline_is_kept_or_told(tmp_path: Path, blocks: Path) -> None:
    words = "floorplan", blocks, "--seed", 1, "--moves", 300
    found = told(run(*words, "--out", tmp_path / "wide", "--outline", "2000x2000", "--json"))
    assert found["fits"] and found["outline"] == [2000, 2000]
    missed = run(*words, "--out", tmp_path / "tight", "--whitespace", 0.0, "--json")
    assert missed.exit_code == 3 and not json.loads(missed.stdout)["fits"]
    never = run(*words, "--out", tmp_path / "never", "--outline", "100x100")
    assert never.exit_code == 3 and "cover" in never.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--outline", "300"), "WIDTHxHEIGHT"),
        (("--outline", "300x300", "--whitespace", "0.1"), "exclude"),
        (("--outline", "-3x300"), "width and a height"),
    ],
)
def test_wrong_words_are_refused(
    tmp_path: Path, blocks: Path, words: tuple[str, ...], reason: str
) -> None:
    found = run("floorplan", blocks, "--out", tmp_path / "run", *words)
    assert found.exit_code == 2 and reason in found.stderr


def test_floorplans_are_drawn(tmp_path: Path, blocks: Path) -> None:
    best = blocks.with_suffix(".best.pl")
    for name in ("best.svg", "best.png"):
        out = tmp_path / name
        assert run("draw", blocks, "--placement", best, "--nets", 9, "--out", out).exit_code == 0
        assert out.stat().st_size > 1000
    refused = run("draw", blocks, "--what", "density", "--out", tmp_path / "d.png")
    assert refused.exit_code == 2 and "density" in refused.stderr
