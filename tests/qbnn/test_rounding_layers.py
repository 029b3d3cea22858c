"""Solvers side by side on layers: what the rows say is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anneal.records import RecordFile
from anneal.rounding.formulation import InputMoments
from qbnn.paper import rounding_layers
from qbnn.paper.rounding_layers import Halves, first_rows, run_layers, solve_layer, write_page


def make_halves(groups: int, per: int, n: int, *, seed: int = 0) -> Halves:
    rng = np.random.default_rng(seed)
    inputs = np.maximum(rng.normal(size=(groups, 80, n)) @ rng.normal(size=(n, n)), 0)
    weights, bias = rng.normal(size=(groups * per, n)), rng.normal(size=groups * per)
    one, other, there = (InputMoments.of(part) for part in np.split(inputs, [20, 40], axis=1))
    return Halves(weights, bias, (one, other), there)


@pytest.mark.parametrize("groups", [1, 4])
def test_the_best_rounding_is_proved_and_none_is_better(groups: int) -> None:
    halves = make_halves(groups, 12 // groups, 6)
    found = {name: solve_layer(halves, name, 3) for name in ("gptq", "lns", "exact")}
    assert found["exact"]["proved"] == found["exact"]["optimal"] == 1
    assert (found["gptq"]["optimal"] < 1) == (found["gptq"]["cost"] > found["exact"]["cost"])
    for result in found.values():
        assert found["exact"]["cost"] <= result["cost"] * (1 + 1e-9)
        assert found["exact"]["bound"] <= result["cost"] * (1 + 1e-9) and result["cost"] < 1
        assert result["held_out"] > 0 and result["microseconds_per_row"] > 0
    assert found["lns"]["cost"] <= found["gptq"]["cost"]


def test_the_held_out_error_is_that_of_the_images() -> None:
    halves = make_halves(1, 5, 4)
    same = halves._replace(there=halves.here)
    # On the images that it was solved for, and up to the ridge, the error is the cost.
    found = solve_layer(same, "exact", 4)
    assert found["held_out"] == pytest.approx(found["cost"], rel=0.1)


def test_first_rows_take_their_groups_along() -> None:
    few = first_rows(make_halves(1, 12, 5), 7)
    assert few.weights.shape == (7, 5) and few.here.second.shape == (1, 5, 5)
    few = first_rows(make_halves(6, 2, 5), 7)
    assert few.weights.shape == (8, 5) and len(few.bias) == 8
    assert few.here.second.shape == few.there.cross.shape == (4, 5, 5)
    assert first_rows(make_halves(2, 3, 4), 100).weights.shape == (6, 4)


def test_rows_are_made_once_and_the_page_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding_layers, "SOLVERS", {"gptq": {}, "lns": {}, "exact": {}})
    records, told = RecordFile(tmp_path / "layers.jsonl"), []
    for _ in range(2):
        run_layers(
            records,
            network="digits",
            bits=4,
            num_images=32,
            size=32,
            seed=1,
            progress=lambda done, total, row: told.append((done, total)),
        )
    rows = records.read()
    # Of fan-in 9, 144, 128 and 64 the first alone is searched to the end.
    assert [row.task.spec["fan_in"] for row in rows] == [9, 9, 9, 144, 144, 128, 128, 64, 64]
    assert told == [(number, 9) for number in range(1, 10)]
    write_page(tmp_path, command="a command")
    page = (tmp_path / "layers.md").read_text()
    assert "a command" in page and page.count("| lns ") == 4 and page.count("| 100 % ") >= 1
