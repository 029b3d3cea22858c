"""Whether a floorplan is what it should be. Shares no code with what packs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anneal.floorplan.blocks import Blocks, Floorplan, Outline
from anneal.placement.netlist import Bools, Floats, Ints

# Of the whole floorplan's size: plans in files are rounded.
SLACK = 1e-6


class FloorplanFaults(NamedTuple):
    """What is wrong: numbers of blocks, and pairs of blocks that overlap, (pairs, 2).

    ``outside``: of the outline, if there is one. ``misshapen``: neither as given nor turned, or of
    a soft block another area, or an aspect out of its bounds. ``nowhere``: at a place or of a size
    that is not finite.
    """

    overlaps: Ints
    outside: Ints
    misshapen: Ints
    nowhere: Ints

    @property
    def is_legal(self) -> bool:
        """Whether nothing is wrong."""
        return not any(map(len, self))


def verify(blocks: Blocks, plan: Floorplan, *, outline: Outline | None = None) -> FloorplanFaults:
    """Return what is wrong with a floorplan; an outline begins at (0, 0).

    >>> blocks = Blocks.of([2, 3], [1, 5])
    >>> verify(blocks, Floorplan.at(blocks, x=[0, 1], y=[0, 0])).overlaps.tolist()
    [[0, 1]]
    """
    places = np.stack([plan.x, plan.y, plan.width, plan.height])
    finite = np.isfinite(places).all(axis=0)
    left, low, wide, high = np.where(finite, places, 0.0)
    slack = SLACK * float(max((abs(left) + wide).max(), (abs(low) + high).max()))
    outside = np.zeros(len(blocks), bool)
    if outline is not None:
        outside = (left < -slack) | (left + wide > outline[0] + slack)
        outside |= (low < -slack) | (low + high > outline[1] + slack)
    return FloorplanFaults(
        overlaps=_overlaps(left, low, wide, high, slack),
        outside=np.flatnonzero(finite & outside),
        misshapen=np.flatnonzero(finite & _misshapen(blocks, wide, high, plan.aside)),
        nowhere=np.flatnonzero(~finite),
    )


def _overlaps(left: Floats, low: Floats, wide: Floats, high: Floats, slack: float) -> Ints:
    """Return pairs of blocks whose insides meet."""
    found = []
    for one in range(len(left)):
        two = slice(one + 1, None)
        across = np.minimum(left[one] + wide[one], (left + wide)[two])
        along = np.minimum(low[one] + high[one], (low + high)[two])
        meet = across - np.maximum(left[one], left[two]) > slack
        meet &= along - np.maximum(low[one], low[two]) > slack
        other = np.flatnonzero(meet) + one + 1
        found.append(np.stack([np.full(len(other), one), other], 1))
    return np.concatenate(found)


def _misshapen(blocks: Blocks, wide: Floats, high: Floats, aside: Bools) -> Bools:
    """Return which blocks have a shape that they cannot have."""
    wide, high = np.where(aside, high, wide), np.where(aside, wide, high)
    near = SLACK * np.maximum(blocks.width, blocks.height)
    changed = (np.abs(wide - blocks.width) > near) | (np.abs(high - blocks.height) > near)
    area = blocks.width * blocks.height
    bent = (np.abs(wide * high - area) > 2 * SLACK * area) | (wide <= 0) | (high <= 0)
    bent |= (wide < blocks.least * high * (1 - SLACK)) | (wide > blocks.most * high * (1 + SLACK))
    return np.where(blocks.soft, bent, changed)
