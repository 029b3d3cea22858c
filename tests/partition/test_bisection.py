"""Bisection: laws of the kernels, and sides against exhaustive search."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.kernels import hypergraphs
from anneal.kernels.random import new_state
from anneal.partition import Hypergraph, bisect, multilevel, planted_hypergraph
from anneal.partition.coarsest import spin_model
from anneal.partition.hypergraph import are_whole, side_limits
from anneal.partition.multilevel import Level

SEEDS = range(8)


def random_hypergraph(seed: int, size: int, *, unit: bool = False) -> Hypergraph:
    rng = np.random.default_rng(seed)
    nets = [
        rng.choice(size, min(size, int(rng.integers(1, 7))), replace=False).tolist()
        for _ in range(2 * size)
    ]
    area = np.ones(size) if unit else rng.choice([0, 0.5, 1, 2, 5.25], size)
    weight = np.ones(2 * size) if unit else rng.choice([0, 1, 1, 3, 0.1], 2 * size)
    return Hypergraph.from_nets(size, nets, area=area, weight=weight)


def level_of(graph: Hypergraph, fixed: np.ndarray | None = None) -> Level:
    return multilevel.make_level(
        graph.start, graph.pins, weight=graph.weight, area=graph.area,
        fixed=None if fixed is None else fixed.astype(np.int8),
    )  # fmt: skip


def exhaustive(graph: Hypergraph, limit: np.ndarray, fixed: np.ndarray | None = None) -> float:
    """Return the least cut of two parts within the limits; infinity where there are none."""
    size = graph.num_vertices
    parts = np.arange(2**size)[:, None] >> np.arange(size) & 1
    cut = np.zeros(len(parts))
    for net in range(graph.num_nets):
        inside = parts[:, graph.net(net)]
        cut += graph.weight[net] * (inside.any(axis=1) & ~inside.all(axis=1))
    one = parts @ graph.area
    wrong = (one > limit[1]) | (graph.total_area - one > limit[0])
    if fixed is not None:
        wrong |= ((parts != fixed) & (fixed >= 0)).any(axis=1)
    return float(np.where(wrong, np.inf, cut).min())


# Kernels


@pytest.mark.parametrize("seed", SEEDS)
def test_incidence_is_the_other_way_round(seed: int) -> None:
    graph = random_hypergraph(seed, 12)
    level = level_of(graph)
    pairs = {(net, int(pin)) for net in range(graph.num_nets) for pin in graph.net(net)}
    other = np.repeat(np.arange(level.size), np.diff(level.first))
    assert set(zip(level.nets.tolist(), other.tolist(), strict=True)) == pairs


@pytest.mark.parametrize("whole_nets", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_contracted_hypergraph_cuts_the_same(seed: int, whole_nets: bool) -> None:
    graph, rng = random_hypergraph(seed, 20), np.random.default_rng(seed)
    label = rng.integers(-1, 6, 20).astype(np.int32)
    label[:6] = np.arange(6)
    small = multilevel.contracted(level_of(graph), label, 6, whole_nets=whole_nets)
    parts = rng.integers(0, 2, 6).astype(np.int8)
    expected = 0.0
    for net in range(graph.num_nets):
        inside = label[graph.net(net)]
        if not (whole_nets and (inside < 0).any()):
            expected += graph.weight[net] * (len(set(parts[inside[inside >= 0]])) > 1)
    found = hypergraphs.cut_weight(small.start, small.pins, small.weight, parts)
    assert found == pytest.approx(expected, abs=1e-12)
    nets = [frozenset(small.pins[a:b].tolist()) for a, b in itertools.pairwise(small.start)]
    assert len(set(nets)) == len(nets) and all(len(net) > 1 for net in nets)
    inside = label >= 0
    expected_area = np.bincount(label[inside], graph.area[inside], 6)
    assert np.allclose(small.area, expected_area)


@pytest.mark.parametrize("seed", SEEDS)
def test_clusters_keep_to_groups_areas_and_what_is_free(seed: int) -> None:
    graph, rng = random_hypergraph(seed, 60), np.random.default_rng(seed)
    group = rng.integers(0, 2, 60).astype(np.int8)
    fixed = np.where(rng.random(60) < 0.2, rng.integers(0, 2, 60), -1)
    level = level_of(graph, fixed)
    label, count = hypergraphs.cluster(
        level.start, level.pins, level.weight, level.first, level.nets, level.area, level.fixed,
        group, 9.0, 20, 5, new_state(rng),
    )  # fmt: skip
    assert set(label.tolist()) == set(range(count)) and count >= 20
    assert np.bincount(label, graph.area).max() <= 9.0
    for cluster in range(count):
        members = np.flatnonzero(label == cluster)
        assert len(set(group[members])) == 1
        assert len(members) == 1 or (fixed[members] < 0).all()
    assert count < 60


@pytest.mark.parametrize("seed", range(40))
def test_refinement_never_worsens_and_tells_the_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_hypergraph(seed, int(rng.integers(2, 40)), unit=seed % 4 == 0)
    size = graph.num_vertices
    fixed = np.where(rng.random(size) < 0.2, rng.integers(0, 2, size), -1)
    level = level_of(graph, fixed)
    tolerance = rng.choice([0, 0.1, 1])
    limit = side_limits(graph.total_area, [0.5, 0.5], tolerance=tolerance, whole=False)
    parts = np.where(fixed >= 0, fixed, rng.integers(0, 2, size)).astype(np.int8)
    before = (multilevel.excess(level, parts, limit), graph.cut(parts))
    cut = multilevel.refine(level, parts, limit)
    after = (multilevel.excess(level, parts, limit), graph.cut(parts))
    assert cut == pytest.approx(after[1], abs=1e-9)
    assert after[0] < before[0] or (after[0] == before[0] and after[1] <= before[1] + 1e-9)
    assert (parts[fixed >= 0] == fixed[fixed >= 0]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_recombination_is_no_worse_than_the_better(seed: int) -> None:
    graph, _ = planted_hypergraph(seed=seed, num_vertices=500)
    level, rng = level_of(graph), np.random.default_rng(seed)
    limit = side_limits(500, [0.5, 0.5], tolerance=0.02, whole=True)
    one, cut = multilevel.bisect_arrays(level, limit, rng, tries=1)
    two, other = multilevel.bisect_arrays(level, limit, rng, tries=1)
    found = multilevel.recombine(level, one, two, limit, rng)
    again = multilevel.recombine(level, found[0], found[0], limit, rng)
    assert graph.cut(found[0]) == found[1] <= cut
    assert graph.cut(again[0]) == again[1] <= found[1]
    assert multilevel.excess(level, again[0], limit) == 0
    assert graph.cut(two) == other


@pytest.mark.parametrize("seed", SEEDS)
def test_the_spin_model_is_cut_and_balance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nets = [rng.choice(8, int(rng.integers(1, 4)), replace=False).tolist() for _ in range(9)]
    graph = Hypergraph.from_nets(8, nets, area=rng.integers(1, 4, 8), weight=rng.random(9))
    fixed = np.where(rng.random(8) < 0.3, rng.integers(0, 2, 8), -1)
    fixed[0] = -1
    limit = side_limits(graph.total_area, [0.4, 0.6], tolerance=0.3, whole=False)
    model = spin_model(level_of(graph, fixed), limit, unit=1.0)
    free = np.flatnonzero(fixed < 0)
    room = max(2 * 0.3 * 0.4 * graph.total_area, graph.area[free].max())
    for _ in range(8):
        parts = np.where(fixed >= 0, fixed, rng.integers(0, 2, 8))
        off = graph.area @ (2 * parts - 1) - 0.2 * graph.total_area
        energy = model.energy(dict(enumerate(2 * parts[free] - 1)))
        assert energy == pytest.approx(graph.cut(parts) + 8 * (off / room) ** 2, rel=1e-6)


# Bisections


@pytest.mark.parametrize("solver", [None, "anneal", "greedy"])
def test_small_bisections_are_optimal(solver: str | None) -> None:
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        graph = random_hypergraph(seed, int(rng.integers(4, 12)), unit=seed % 2 == 0)
        fixed = np.where(rng.random(graph.num_vertices) < 0.2, 1, -1)
        fixed[0] = 0
        whole = are_whole(graph.area)
        limit = side_limits(graph.total_area, [0.5, 0.5], tolerance=0.3, whole=whole)
        best = exhaustive(graph, limit, fixed)
        try:
            found = bisect(
                graph, tolerance=0.3, fixed=fixed, num_starts=2, solver=solver, seed=seed
            )
        except InfeasibleError:
            hits += best == np.inf
            continue
        assert (found.areas <= limit).all()
        assert (found.parts[fixed >= 0] == fixed[fixed >= 0]).all()
        assert found.cut == found.km1 == graph.cut(found.parts) >= best - 1e-9
        hits += found.cut <= best + 1e-9
    assert hits >= 18


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_planted_parts_are_found_and_shares_kept(share: float) -> None:
    graph, parts = planted_hypergraph(seed=5, num_vertices=2000, num_parts=4, p_cut=0.01)
    found = bisect(graph, seed=1, num_starts=2, solver=None, target_share=share)
    planted = parts < 4 * share
    assert found.cut <= graph.cut(planted.astype(int))
    assert found.areas[0] <= np.ceil(1.02 * share * 2000)
    assert found.areas[1] <= np.ceil(1.02 * (1 - share) * 2000)
    assert found.imbalance == pytest.approx(
        max(found.areas[0] / share, found.areas[1] / (1 - share)) / 2000 - 1
    )


def test_fixed_vertices_at_scale() -> None:
    graph, parts = planted_hypergraph(seed=6, num_vertices=1500)
    fixed = np.where(np.arange(1500) % 7 == 0, parts, -1)
    found = bisect(graph, seed=1, num_starts=2, fixed=fixed)
    assert (found.parts[fixed >= 0] == parts[fixed >= 0]).all()
    assert found.cut <= 1.1 * graph.cut(parts)


@pytest.mark.parametrize(("pins", "most"), [(250, 0), (1500, 60)])
def test_wide_nets_and_nets_too_wide_to_coarsen_by(pins: int, most: int) -> None:
    rng = np.random.default_rng(0)
    nets = [rng.choice(6000, pins, replace=False) + 6000 * (k % 2) for k in range(60)]
    fixed = np.full(12000, -1)
    fixed[:5] = 1
    graph = Hypergraph.from_nets(12000, nets)
    found = bisect(graph, seed=1, num_starts=1, fixed=fixed)
    assert found.areas.max() <= 6120 and (found.parts[:5] == 1).all()
    assert found.cut <= most


def test_a_seed_gives_one_result_in_any_number_of_threads() -> None:
    graph, _ = planted_hypergraph(seed=7, num_vertices=600, most_area=3)
    results = [bisect(graph, seed=4, num_starts=3, num_threads=n).parts for n in (1, 2, 3)]
    assert all(np.array_equal(results[0], other) for other in results)


def test_no_area_no_nets_and_one_vertex() -> None:
    assert bisect(Hypergraph(1, [0], []), tolerance=1, seed=1).cut == 0
    assert bisect(Hypergraph(3, [0, 3], [0, 1, 2], [0, 0, 0]), seed=1).cut == 0
    everything = bisect(Hypergraph(2, [0, 2], [0, 1]), fixed=[0, 1], seed=1)
    assert (everything.cut, everything.parts.tolist()) == (1, [0, 1])
    assert bisect(Hypergraph(5, [0, 5], range(5)), seed=1, target_share=1.0).parts.max() == 0


def test_a_balance_of_nothing_to_spare_is_kept() -> None:
    graph = random_hypergraph(3, 40, unit=True)
    assert bisect(graph, tolerance=0, seed=1, solver=None).areas.tolist() == [20, 20]
    areas = Hypergraph(6, [0, 2], [0, 5], [5, 4, 3, 3, 3, 0])
    assert bisect(areas, tolerance=0, seed=1).areas.max() == 9


def test_what_cannot_be_balanced_is_said_so() -> None:
    with pytest.raises(InfeasibleError, match=r"vertex 1 has area 9"):
        bisect(Hypergraph(3, [0], [], [1, 9, 1]), seed=1)
    with pytest.raises(InfeasibleError, match="fixed to part 1 have area 2"):
        bisect(Hypergraph(2, [0], []), fixed=[1, 1], tolerance=0, seed=1)
    with pytest.raises(InfeasibleError, match="no parts of area up to"):
        bisect(Hypergraph(3, [0], [], [2, 2, 2]), tolerance=0, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -0.1}, "tolerance"),
        ({"tolerance": np.nan}, "tolerance"),
        ({"target_share": 1.5}, "target_share"),
        ({"num_starts": 0}, "num_starts"),
        ({"num_threads": 0}, "num_threads"),
        ({"time_limit": -1}, "time_limit"),
        ({"fixed": [0, 1]}, "fixed must be 3 whole numbers"),
        ({"fixed": [0, 1, 2]}, "fixed must lie in -1 … 1"),
        ({"solver": "aneal"}, "did you mean 'anneal'"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bisect(Hypergraph(3, [0, 2], [0, 1]), **options)


def test_time_is_kept_used_and_told() -> None:
    graph, _ = planted_hypergraph(seed=8, num_vertices=400)
    once = bisect(graph, seed=1, num_starts=1, solver=None)
    control = Control(time_limit=0.3)
    found = bisect(graph, seed=1, num_starts=1, solver=None, control=control)
    assert found.cut <= once.cut and control.best == found.cut == found.trace[-1][1]
    assert control.elapsed() >= 0.3
    assert bisect(graph, seed=1, time_limit=0.0).areas.max() <= 204


@pytest.mark.parametrize("told", [True, False])
def test_an_interrupt_returns_the_best_so_far(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    graph, _ = planted_hypergraph(seed=9, num_vertices=300)
    control, calls = Control(time_limit=60.0), []
    whole: Callable = multilevel.bisect_arrays

    def interrupted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            if not told:
                raise KeyboardInterrupt
            control.interrupt()
        return whole(*arguments, **options)

    monkeypatch.setattr(multilevel, "bisect_arrays", interrupted)
    found = bisect(graph, seed=1, num_starts=1, solver=None, control=control)
    assert found.areas.max() <= 153 and control.interrupted and len(calls) == 3


def test_a_real_netlist(data_folder: Path) -> None:
    from anneal.instances import bookshelf

    netlist = bookshelf.read(data_folder / "ibm01-cu85" / "ibm01.aux")
    area = np.where(netlist.movable, netlist.width * netlist.height, 0.0)
    graph = Hypergraph(len(area), netlist.start, netlist.cell, area)
    found = bisect(graph, seed=1, num_starts=4, solver=None)
    # The published range of a good partitioner at this tolerance is 130 to 180.
    assert found.cut <= 180 and found.imbalance <= 0.02 + 1e-8
