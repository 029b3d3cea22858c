"""Legality and wirelength against plain loops, and floorplans that are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.floorplan.blocks import Blocks, Floorplan, evaluate, fits, hpwl, outline_of
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.floorplan.verify import verify
from anneal.placement.netlist import ORIENTATIONS

seeds = st.integers(0, 10**6)


def scattered(seed: int) -> tuple[Blocks, Floorplan]:
    """Blocks of a few sizes, soft and hard, anywhere on a coarse grid, some out of shape."""
    rng = np.random.default_rng(seed)
    blocks, _ = guillotine_blocks(num_blocks=8, width=12, height=12, softness=2.0, seed=seed)
    hard = rng.random(8) < 0.5
    aspect = blocks.width / blocks.height
    blocks.least[hard], blocks.most[hard] = aspect[hard], aspect[hard]
    orientation = rng.integers(0, 8, 8).astype(np.int8)
    aside = orientation >= 4
    wide = np.where(aside, blocks.height, blocks.width)
    high = np.where(aside, blocks.width, blocks.height)
    factor = rng.choice([1.0, 1.2, 1.6], 8)
    wide, high = wide * factor, high / np.where(rng.random(8) < 0.8, factor, 1.0)
    plan = Floorplan(
        rng.integers(0, 9, 8) / 1.0, rng.integers(0, 9, 8) / 1.0, wide, high, orientation
    )
    return blocks, plan


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_faults_are_those_of_plain_loops(seed: int) -> None:
    blocks, plan = scattered(seed)
    found = verify(blocks, plan, outline=(12, 10))
    x, y, w, h, turn = (column.tolist() for column in plan)
    pairs = []
    for i, j in itertools.combinations(range(8), 2):
        across = min(x[i] + w[i], x[j] + w[j]) - max(x[i], x[j])
        if across > 1e-4 and min(y[i] + h[i], y[j] + h[j]) - max(y[i], y[j]) > 1e-4:
            pairs.append([i, j])
    assert found.overlaps.tolist() == pairs
    outside = [i for i in range(8) if x[i] + w[i] > 12.0001 or y[i] + h[i] > 10.0001]
    assert found.outside.tolist() == outside
    for i in range(8):
        wide, high = (h[i], w[i]) if ORIENTATIONS[turn[i]][-1] in "EW" else (w[i], h[i])
        if blocks.soft[i]:
            good = abs(wide * high - blocks.width[i] * blocks.height[i]) < 1e-4
            good &= blocks.least[i] - 1e-4 < wide / high < blocks.most[i] + 1e-4
        else:
            good = abs(wide - blocks.width[i]) + abs(high - blocks.height[i]) < 1e-4
        assert good != (i in found.misshapen)
    assert found.is_legal == (not pairs and not outside and not len(found.misshapen))


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_wirelength_is_that_of_plain_loops(seed: int) -> None:
    blocks, plan = scattered(seed)
    rng = np.random.default_rng(seed)
    blocks.dx[:], blocks.dy[:] = rng.uniform(-0.5, 0.5, (2, blocks.num_pins))
    total = 0.0
    for net in range(blocks.num_nets):
        places = []
        for pin in range(blocks.start[net], blocks.start[net + 1]):
            at = blocks.member[pin]
            if at >= len(blocks):
                places.append((blocks.pad_x[at - 8], blocks.pad_y[at - 8]))
                continue
            dx, dy, name = blocks.dx[pin], blocks.dy[pin], ORIENTATIONS[plan.orientation[at]]
            if name[0] == "F":
                dx = -dx
            for _ in range("NESW".index(name[-1])):
                dx, dy = dy, -dx
            middle = plan.x[at] + plan.width[at] / 2, plan.y[at] + plan.height[at] / 2
            places.append((middle[0] + dx * plan.width[at], middle[1] + dy * plan.height[at]))
        for column in zip(*places, strict=True):
            total += max(column) - min(column)
    assert hpwl(blocks, plan) == pytest.approx(total)


@given(seeds, st.integers(1, 40), st.sampled_from([1.0, 2.0]))
@settings(max_examples=30, deadline=None)
def test_cut_rectangles_have_no_dead_space(seed: int, count: int, softness: float) -> None:
    blocks, plan = guillotine_blocks(
        num_blocks=count, width=60, height=40, softness=softness, seed=seed
    )
    assert verify(blocks, plan, outline=(60, 40)).is_legal
    found = evaluate(blocks, plan, outline=(60, 40))
    assert found["area"] == 2400 and found["dead_space"] == 0 and found["fits"]
    assert bool(blocks.soft.all()) == (softness > 1)
    assert not fits(plan, (60, 39.9))


def test_places_that_are_not_finite_are_told() -> None:
    blocks, plan = guillotine_blocks(num_blocks=5, seed=1)
    plan.x[2], plan.height[3] = np.nan, np.inf
    found = verify(blocks, plan)
    assert found.nowhere.tolist() == [2, 3] and not found.is_legal
    assert not len(found.overlaps) and not len(found.misshapen)


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        ([], [], "at least one block"),
        ([1, 0], [1, 1], "width of block b1 must be positive and finite, not 0"),
        ([1, 1], [1, -2], "height of block b1 must be positive"),
        ([np.nan], [1], "width of block b0"),
        ([np.inf], [1], "width of block b0"),
        ([1], [1, 2], "as long as each other"),
        ([1e200], [1e200], "lengths must be within"),
    ],
)
def test_sizes_that_cannot_be_are_told(
    width: list[float], height: list[float], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        Blocks.of(width, height)


def test_generators_and_outlines_that_cannot_be_are_told() -> None:
    with pytest.raises(InputError, match="2 × 2 cannot be cut into 5 blocks"):
        guillotine_blocks(num_blocks=5, width=2, height=2)
    with pytest.raises(InputError, match="num_blocks"):
        guillotine_blocks(num_blocks=0)
    with pytest.raises(InputError, match="aspect"):
        outline_of(Blocks.of([1], [1]), aspect=-1)
