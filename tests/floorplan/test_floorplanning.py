"""Floorplans by annealing: legal, of the cost that the kernels count, the least where known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.floorplan.blocks import Blocks, evaluate, fits, hpwl, outline_of
from anneal.floorplan.engines import Engine, Objective, OrderEngine, TreeEngine
from anneal.floorplan.floorplanning import floorplan
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.floorplan.pictures import floorplan_picture, fly_lines
from anneal.floorplan.verify import verify

seeds = st.integers(0, 10**6)


def least_area(sizes: list[tuple[int, int]]) -> int:
    """The least area of a box around blocks, over all sequence pairs and turns."""
    count = len(sizes)
    best = math.inf
    for one, two in itertools.product(itertools.permutations(range(count)), repeat=2):
        place = {block: at for at, block in enumerate(two)}
        for turns in itertools.product((0, 1), repeat=count):
            ends: list[dict[int, int]] = [{}, {}]
            # Before in both orders is left of it, before in the second alone is below it.
            for axis, order in ((0, one), (1, one[::-1])):
                for at, block in enumerate(order):
                    behind = (ends[axis][o] for o in order[:at] if place[o] < place[block])
                    size = sizes[block][axis ^ turns[block]]
                    ends[axis][block] = max(behind, default=0) + size
            best = min(best, max(ends[0].values()) * max(ends[1].values()))
    return int(best)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3))
@settings(max_examples=15, deadline=None)
def test_few_blocks_have_the_least_area(sizes: list[tuple[int, int]]) -> None:
    blocks = Blocks.of(*np.array(sizes).T)
    plan = floorplan(blocks, moves_per_block=1000, rng=np.random.default_rng(1), control=Control())
    assert verify(blocks, plan).is_legal
    assert evaluate(blocks, plan)["area"] == least_area(sizes)


def test_four_blocks_have_the_least_area() -> None:
    sizes = [(7, 3), (5, 4), (2, 6), (3, 3)]
    blocks = Blocks.of(*np.array(sizes).T)
    plan = floorplan(blocks, rng=np.random.default_rng(1), control=Control())
    assert evaluate(blocks, plan)["area"] == least_area(sizes)


@given(seeds, st.integers(1, 30), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1.0, 3.0]))
@settings(max_examples=40, deadline=None)
def test_trees_are_legal_and_cost_what_they_should(
    seed: int, count: int, weight: float, softness: float
) -> None:
    blocks, _ = guillotine_blocks(num_blocks=count, softness=softness, seed=seed)
    rng = np.random.default_rng(seed)
    blocks.dx[:], blocks.dy[:] = rng.uniform(-0.5, 0.5, (2, blocks.num_pins))
    engine = TreeEngine(blocks, Objective.of(blocks), weight, rng)
    for temperature in (1.0, 0.01):
        engine.anneal(300, temperature)
        plan = engine.plan
        assert verify(blocks, plan).is_legal
        area, wire = math.prod(plan.size), hpwl(blocks, plan)
        assert engine.cost == pytest.approx(engine.weights[0] * area + engine.weights[1] * wire)


@given(seeds, st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_orders_are_legal_and_cost_what_they_should(seed: int, count: int) -> None:
    blocks, _ = guillotine_blocks(num_blocks=count, seed=seed)
    engine = OrderEngine(blocks, Objective.of(blocks), np.random.default_rng(seed))
    for temperature in (1.0, 0.01):
        engine.anneal(300, temperature)
        assert verify(blocks, engine.plan).is_legal
        # The strip may be wider than what lies in it.
        assert engine.cost >= math.prod(engine.plan.size) / blocks.area * (1 - 1e-9)


@given(seeds, st.sampled_from([TreeEngine, OrderEngine]))
@settings(max_examples=20, deadline=None)
def test_what_is_within_the_outline_is_best(seed: int, kind: type[Engine]) -> None:
    blocks, _ = guillotine_blocks(num_blocks=12, seed=seed)
    outline = outline_of(blocks, aspect=1.5, whitespace=0.5)
    rng = np.random.default_rng(seed)
    objective = Objective.of(blocks, outline)
    tree = kind is TreeEngine
    engine = (
        TreeEngine(blocks, objective, 0.0, rng) if tree else OrderEngine(blocks, objective, rng)
    )
    within = False
    for _ in range(20):
        engine.anneal(500, 0.002)
        now = fits(engine.plan, outline)
        assert now >= within
        within = now
        assert verify(blocks, engine.plan, outline=outline).is_legal == within
    assert within


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("softness", [1.0, 2.0])
def test_the_same_seed_gives_the_same(weight: float, softness: float) -> None:
    blocks, _ = guillotine_blocks(num_blocks=15, softness=softness, seed=3)
    found = [
        floorplan(
            blocks,
            wirelength=weight,
            moves_per_block=500,
            rng=np.random.default_rng(5),
            control=Control(),
        )
        for _ in range(2)
    ]
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_trade_area_for_wirelength() -> None:
    blocks, _ = guillotine_blocks(num_blocks=20, seed=1)
    worth = []
    for weight in (0.0, 0.8):
        control = Control()
        plan = floorplan(blocks, wirelength=weight, rng=np.random.default_rng(1), control=control)
        assert verify(blocks, plan).is_legal
        values = [value for _, value in control.trace]
        assert values == sorted(values, reverse=True) and control.done == pytest.approx(1)
        worth.append(evaluate(blocks, plan))
    assert worth[1]["hpwl"] < 0.8 * worth[0]["hpwl"]
    assert worth[0]["area"] < worth[1]["area"]


def test_soft_blocks_leave_less_dead_space() -> None:
    dead = []
    for softness in (1.0, 3.0):
        blocks, _ = guillotine_blocks(num_blocks=8, softness=softness, seed=2)
        plan = floorplan(
            blocks, moves_per_block=20000, rng=np.random.default_rng(1), control=Control()
        )
        assert verify(blocks, plan).is_legal
        dead.append(evaluate(blocks, plan)["dead_space"])
    assert dead[1] < 0.02 and dead[1] <= dead[0] + 1e-3


def test_area_is_near_that_of_the_cut_rectangle() -> None:
    blocks, _ = guillotine_blocks(num_blocks=60, seed=4)
    plan = floorplan(
        blocks, moves_per_block=5000, max_aspect=2, rng=np.random.default_rng(1), control=Control()
    )
    found = evaluate(blocks, plan)
    assert found["dead_space"] < 0.06
    assert max(plan.size) <= math.sqrt(2 * blocks.area) * (1 + 1e-9)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_what_is_interrupted_at_once_is_legal(weight: float) -> None:
    blocks, _ = guillotine_blocks(num_blocks=30, seed=1)
    stopped, late = Control(), Control(time_limit=0.0)
    stopped.interrupt()
    for control in (stopped, late):
        plan = floorplan(blocks, wirelength=weight, rng=np.random.default_rng(1), control=control)
        assert verify(blocks, plan).is_legal and control.trace


def test_an_outline_that_is_not_met_is_told() -> None:
    blocks, _ = guillotine_blocks(num_blocks=40, seed=1)
    rng = np.random.default_rng(1)
    plan = floorplan(blocks, outline=(1000, 1000), moves_per_block=10, rng=rng, control=Control())
    assert verify(blocks, plan).is_legal
    assert not evaluate(blocks, plan, outline=(1000, 1000))["fits"]


def test_what_cannot_be_is_told() -> None:
    blocks = Blocks.of([4, 2], [1, 2])
    rng, control = np.random.default_rng(1), Control()
    for outline, reason in (((2, 3.9), "cover 8, the outline 7.8"), ((3, 3), "block b0")):
        with pytest.raises(InfeasibleError, match=reason):
            floorplan(blocks, outline=outline, rng=rng, control=control)
    for options, reason in (
        ({"outline": (2, -1)}, "outline"),
        ({"outline": (math.nan, 1)}, "outline"),
        ({"wirelength": 1.5}, "within 0 … 1"),
        ({"wirelength": 0.5}, "no nets"),
        ({"moves_per_block": 0}, "moves_per_block"),
        ({"moves_per_block": math.nan}, "moves_per_block"),
        ({"max_aspect": 0.5}, "max_aspect"),
    ):
        with pytest.raises(InputError, match=reason):
            floorplan(blocks, rng=rng, control=control, **options)  # type: ignore[arg-type]


def test_pictures_show_blocks_and_nets() -> None:
    blocks, plan = guillotine_blocks(num_blocks=12, softness=2.0, seed=1)
    assert floorplan_picture(blocks, plan, nets=10, outline=(1100, 1000))[:4] == b"\x89PNG"
    svg = floorplan_picture(blocks, plan, image="svg")
    assert b"<svg" in svg and floorplan_picture(blocks, plan, image="svg") == svg
    lines = fly_lines(blocks, plan, 3)
    assert lines.shape[1:] == (2, 2) and len(lines) >= 6
    assert fly_lines(Blocks.of([1], [1]), plan, 3).shape == (0, 2, 2)
