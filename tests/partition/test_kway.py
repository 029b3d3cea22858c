"""Partitions in k parts: limits, objectives, fixed vertices, and exhaustive search."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.partition import Hypergraph, multilevel, partition, planted_hypergraph


@pytest.mark.parametrize("objective", ["cut", "km1"])
def test_small_partitions_are_near_the_best(objective: str) -> None:
    hits = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        nets = [rng.choice(7, int(rng.integers(2, 5)), replace=False).tolist() for _ in range(9)]
        graph = Hypergraph.from_nets(7, nets)
        score = getattr(graph, objective)
        every = (p for p in itertools.product(range(3), repeat=7) if np.bincount(p).max() <= 3)
        best = min(map(score, every))
        found = partition(graph, 3, tolerance=0.1, objective=objective, seed=seed, solver=None)
        assert found.areas.max() <= 3 and getattr(found, objective) == score(found.parts)
        assert best <= score(found.parts) <= best + 2
        hits += score(found.parts) <= best + 1
    assert hits >= 9


@pytest.mark.parametrize("objective", ["cut", "km1"])
@pytest.mark.parametrize("num_parts", [3, 4, 8])
def test_planted_parts_are_found(num_parts: int, objective: str) -> None:
    graph, parts = planted_hypergraph(seed=2, num_vertices=1200, num_parts=num_parts, p_cut=0.02)
    found = partition(
        graph, num_parts, seed=1, num_starts=3, solver=None, tolerance=0.03, objective=objective
    )
    assert found.areas.max() <= np.ceil(1.03 * 1200 / num_parts)
    planted = getattr(graph, objective)(parts)
    assert getattr(found, objective) <= 1.05 * planted
    assert found.imbalance == pytest.approx(found.areas.max() * num_parts / 1200 - 1)


def test_fixed_vertices_stay_in_their_parts() -> None:
    graph, parts = planted_hypergraph(seed=3, num_vertices=500, num_parts=5)
    fixed = np.where(np.arange(500) % 9 == 0, parts, -1)
    found = partition(graph, 5, seed=1, fixed=fixed, num_starts=2, solver=None)
    assert (found.parts[fixed >= 0] == fixed[fixed >= 0]).all()
    assert found.areas.max() <= 102


def test_one_part_and_a_part_for_each() -> None:
    graph = Hypergraph.from_nets(5, [[0, 1, 2], [3, 4]])
    assert partition(graph, 1, seed=1).cut == 0
    alone = partition(graph, 5, seed=1, tolerance=0)
    assert sorted(alone.parts) == [0, 1, 2, 3, 4] and (alone.cut, alone.km1) == (2, 3)


def test_a_seed_gives_one_partition() -> None:
    graph, _ = planted_hypergraph(seed=4, num_vertices=400, num_parts=3, most_area=4)
    first, *others = (partition(graph, 3, seed=5, num_starts=2, num_threads=n) for n in (1, 1, 2))
    assert all(np.array_equal(first.parts, other.parts) for other in others)


def test_bad_areas_are_packed_or_refused() -> None:
    areas = [7.0, 6, 5, 5, 4, 3, 3, 2, 1]  # 12 each: 7+5, 6+4+2, 5+3+3+1
    graph = Hypergraph(9, [0, 2], [0, 8], areas)
    assert partition(graph, 3, tolerance=0.1, seed=1).areas.max() <= 14
    with pytest.raises(InfeasibleError, match="vertex 0 has area 30"):
        partition(Hypergraph(4, [0], [], [30, 1, 1, 1]), 3, seed=1)
    with pytest.raises(InfeasibleError, match="no 3 parts of area up to"):
        partition(Hypergraph(4, [0], [], [2.0, 2, 2, 2]), 3, seed=1)


def test_time_and_errors() -> None:
    graph, _ = planted_hypergraph(seed=4, num_vertices=200, num_parts=3)
    control = Control(time_limit=0.2)
    found = partition(graph, 3, seed=1, num_starts=1, control=control)
    assert control.best == found.cut == found.trace[-1][1]
    for options, message in (
        ({"num_parts": 0}, "num_parts"),
        ({"num_parts": 201}, "num_parts"),
        ({"num_parts": 3, "objective": "soed"}, "objective must be cut or km1"),
        ({"num_parts": 3, "fixed": np.full(200, 3)}, "fixed must lie in -1 … 2"),
    ):
        with pytest.raises(InputError, match=message):
            partition(graph, **options)


@pytest.mark.parametrize("stop_after", [1, 4])
def test_an_interrupt_still_gives_parts_within_the_limits(
    monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    graph, _ = planted_hypergraph(seed=4, num_vertices=300, num_parts=4)
    control, calls = Control(time_limit=60.0), []
    whole = multilevel.bisect_arrays

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == stop_after:
            control.interrupt()
        return whole(*arguments, **options)

    monkeypatch.setattr(multilevel, "bisect_arrays", counted)
    found = partition(graph, 4, seed=1, num_starts=2, solver=None, control=control)
    assert found.areas.max() <= 77 and control.done == 1
    assert len(calls) < stop_after + 4
