"""Toys: their wirelength is an assignment's cost, their best is known, and solvers are compared."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.errors import InputError
from anneal.instances import bookshelf, sln
from anneal.placement.netlist import hpwl
from anneal.placement.toys import least_cost, toy
from anneal.placement.verify import verify
from anneal.problems import read_problem
from anneal.solvers import SOLVERS
from qbnn.terminal import toys


def run(*words: object) -> Result:
    wide = {"COLUMNS": "250"}
    return CliRunner().invoke(cli.app, ["place", "toys", *map(str, words)], env=wide)


def told(*words: object) -> dict[str, Any]:
    result = run(*words, "--seed", 1, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(("columns", "rows"), [(2, 1), (1, 5), (3, 2), (2, 4), (3, 3)])
def test_wirelength_is_the_cost_and_the_best_is_known(columns: int, rows: int) -> None:
    for seed in range(3):
        one = toy(columns=columns, rows=rows, seed=seed)
        best = one.placement(one.best)
        assert verify(one.netlist, best).is_aligned
        assert one.problem.cost(one.best) == hpwl(one.netlist, best) == one.problem.best_known
        assert least_cost(one.problem) == one.problem.best_known
        rng = np.random.default_rng(seed)
        for _ in range(5):
            order = one.problem.random_solution(rng)
            placed = one.placement(order)
            assert verify(one.netlist, placed).is_aligned
            assert one.problem.cost(order) == hpwl(one.netlist, placed)


def test_seeds_and_refusals() -> None:
    one, same = (toy(columns=3, rows=3, seed=4) for _ in range(2))
    assert np.array_equal(one.problem.flow, same.problem.flow)
    assert not np.array_equal(one.problem.flow, toy(columns=3, rows=3, seed=5).problem.flow)
    with pytest.raises(InputError, match="two cells"):
        toy(columns=1, rows=1)
    with pytest.raises(InputError, match="too many"):
        least_cost(toy(columns=5, rows=2, seed=1).problem)


def test_every_solver_has_a_row_for_every_model() -> None:
    found = told("--size", "2x1", "--num-reads", 5)
    assert found["optima"] == {"2x1": {"known": 4.0, "exhaustive": 4.0}}
    rows = found["rows"]
    assert len(rows) == 3 * len(SOLVERS)
    assert {row["encoding"]: row["num_variables"] for row in rows} == {
        "one-hot": 4, "domain-wall": 2, "swaps": 1,
    }  # fmt: skip
    refused = {row["solver"] for row in rows if "reason" in row}
    assert refused <= {"dwave-planar", "dwave-tree"}
    for row in rows:
        if "reason" not in row:
            assert row["cost"] >= row["best_known"] == 4
            assert (row["penalty"] is None) == (row["encoding"] == "swaps")


def test_exact_and_quantum_beside_each_other(tmp_path: Path) -> None:
    words = "--size", "2x2", "--solver", "exact", "--solver", "qaoa", "--encoding", "domain-wall"
    found = told(*words, "--encoding", "swaps", "--out", tmp_path / "run")
    shares = {(row["encoding"], row["solver"]): row["feasible_fraction"] for row in found["rows"]}
    assert shares["swaps", "qaoa"] == shares["swaps", "exact"] == 1
    assert shares["domain-wall", "exact"] == 1 > shares["domain-wall", "qaoa"] > 0
    exact = next(row for row in found["rows"] if row["solver"] == "exact")
    assert exact["cost"] == found["optima"]["2x2"]["exhaustive"] == 8 and not exact["repaired"]
    stored = sln.read(tmp_path / "run" / "toy-2x2.sln")
    problem = read_problem(tmp_path / "run" / "toy-2x2.dat")
    assert problem.best_known == stored.cost == problem.cost(stored.permutation)
    assert bookshelf.read(tmp_path / "run" / "toy-2x2.aux").num_cells == 4
    assert len(json.loads((tmp_path / "run" / "toys.json").read_text())["rows"]) == 4


def test_the_table_says_why_a_solver_has_no_row() -> None:
    words = "--size", "2x3", "--encoding", "one-hot", "--solver", "qaoa", "--solver", "exact"
    shown = run(*words, "--solver", "neal", "--num-reads", 3, "--seed", 1).stdout
    assert "at most 20 spins" in shown and "more than 2^30 states" in shown
    assert "optimum 12" in shown and "/ 12" in shown


def test_ctrl_c_keeps_the_rows_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    made = toys.row

    def interrupting(*given: Any, **named: Any) -> dict[str, Any]:
        signal.raise_signal(signal.SIGINT)
        return made(*given, **named)

    monkeypatch.setattr(toys, "row", interrupting)
    result = run("--size", "2x2", "--solver", "neal", "--seed", 1, "--json")
    assert result.exit_code == 130 and len(json.loads(result.stdout)["rows"]) == 1


def test_bad_words() -> None:
    for words, reason in (
        (("--size", "2"), "as in 2x3"),
        (("--size", "1x1"), "two cells"),
        (("--encoding", "onehot"), "unknown encoding"),
        (("--solver", "qaoaa"), "unknown solver"),
        (("--seed", -3), "seed must not be negative"),
    ):
        result = run(*words)
        assert result.exit_code == 2 and reason in result.stderr
