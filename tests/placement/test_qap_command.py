"""`qbnn place qap`: engines and models, what is told and written, and how it ends."""

from __future__ import annotations

import functools
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.assignment.solving import solve_assignment
from anneal.instances import sln
from anneal.problems import write_problem
from anneal.problems.assignment import Assignment

PROBLEM = Assignment.generate(seed=3, num_facilities=6)
BEST = min(PROBLEM.cost(np.array(order)) for order in permutations(range(6)))


def run(*words: object) -> Result:
    wide = {"COLUMNS": "250"}
    return CliRunner().invoke(cli.app, ["place", "qap", *map(str, words)], env=wide)


def told(*words: object) -> dict[str, Any]:
    result = run(*words, "--seed", 1, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    path = tmp_path / "six.dat"
    write_problem(PROBLEM, path)
    return path


@pytest.mark.parametrize("engine", ["memetic", "tabu", "anneal", "swaps"])
def test_engines_find_the_best(instance: Path, engine: str) -> None:
    found = told(instance, "--engine", engine)
    assert found["cost"] == BEST == PROBLEM.cost(np.array(found["solution"]))
    assert found["seed"] == 1 and found["trace"][-1][1] == BEST and not found["interrupted"]
    assert (found["sampler"] == "anneal") == (engine == "swaps")
    assert told(instance, "--engine", engine)["solution"] == found["solution"]


def test_a_run_has_a_folder_and_knows_the_best(tmp_path: Path, instance: Path) -> None:
    saved = tmp_path / "saved.sln"
    found = told(instance, "--out", tmp_path / "run", "--save", saved)
    assert found["best_known"] is None and found["gap"] is None
    stored = sln.read(saved)
    assert stored.cost == BEST and stored.permutation is not None
    assert stored.permutation.tolist() == found["solution"]
    for name in ("solution.sln", "result.json", "cost.png", "index.html"):
        assert (tmp_path / "run" / name).stat().st_size > 10
    assert json.loads((tmp_path / "run" / "result.json").read_text())["cost"] == BEST
    sln.write(stored, instance.with_suffix(".sln"))
    human = run(instance)
    assert "best known" in human.stdout and "gap 0.000%" in human.stdout
    again = told(instance, "--start", saved, "--set", "num_generations=0")
    assert again["before"] == again["cost"] == again["best_known"] == BEST
    assert run(instance, "--target", BEST, "--quiet").stdout == f"{BEST:.12g}\n"


@pytest.mark.parametrize("sampler", ["neal", "anneal", "dwave.samplers:SteepestDescentSampler"])
@pytest.mark.parametrize(("encoding", "size"), [("one-hot", 36), ("domain-wall", 30)])
def test_models_tell_their_penalties(
    instance: Path, tmp_path: Path, encoding: str, size: int, sampler: str
) -> None:
    words = "--encoding", encoding, "--sampler", sampler
    found = told(instance, *words, "--set", "num_reads=20", "--out", tmp_path / "run")
    assert found["num_variables"] == size and (tmp_path / "run" / "index.html").exists()
    assert BEST <= found["cost"] == PROBLEM.cost(np.array(found["solution"]))
    assert found["tried"][-1] == [found["penalty"], found["feasible_fraction"]]
    assert found["feasible_fraction"] >= 0.5 or len(found["tried"]) == 8
    assert (found["chain_strength"] is None) == (encoding == "one-hot")
    human = run(instance, *words, "--seed", 1)
    assert "penalty" in human.stdout and "% of the samples" in human.stdout


def test_swaps_are_chosen_by_any_sampler(instance: Path) -> None:
    words = "--engine", "swaps", "--sampler", "neal", "--set", "num_rounds=9"
    found = told(instance, *words, "--set", "num_sweeps=10")
    assert found["counts"]["rounds"] == 9 and found["sampler"] == "neal"


def test_ctrl_c_keeps_the_best(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = functools.partial(solve_assignment, interrupt_function=lambda: True)
    monkeypatch.setattr("qbnn.terminal.assign.solve_assignment", stopped)
    result = run(instance, "--time-limit", 900)
    assert result.exit_code == 130 and "best so far" in result.stdout


def test_bad_input(tmp_path: Path, instance: Path) -> None:
    short = tmp_path / "short.dat"
    short.write_text("3\n1 2 3\n")
    assert f"{short}:2: n = 3" in refused(short)
    assert "no such file" in refused(tmp_path / "none.dat").lower()
    assert "unknown engine" in refused(instance, "--engine", "memetik")
    assert "unknown solver" in refused(instance, "--encoding", "one-hot", "--sampler", "nel")
    assert "takes no sampler" in refused(instance, "--sampler", "neal")
    assert "not for an encoding" in refused(instance, "--encoding", "one-hot", "--target", 3)
    assert "seed must not be negative" in refused(instance, "--seed", -1)
    assert "unknown parameter" in refused(instance, "--set", "generations=3")
    words = "--encoding", "one-hot", "--sampler", "neal", "--time-limit", 1
    assert "unknown keyword of sampler 'neal' 'time_limit'" in refused(instance, *words)
    other = tmp_path / "other.sln"
    sln.write(sln.StoredAssignment(1.0, np.array([1, 0])), other)
    assert f"{other}: no permutation of 6" in refused(instance, "--start", other)
    assert "cannot write" in refused(instance, "--save", tmp_path / "no" / "x.sln")
