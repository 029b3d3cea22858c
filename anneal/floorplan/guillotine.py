"""Blocks cut from one rectangle: a floorplan without dead space is known."""

from __future__ import annotations

import heapq

import numpy as np

from anneal.errors import InputError
from anneal.floorplan.blocks import Blocks, Floorplan
from anneal.placement.netlist import ORIENTATIONS, Floats, Ints
from anneal.problem import Seed


def guillotine_blocks(
    *,
    num_blocks: int,
    width: int = 1000,
    height: int = 1000,
    nets_per_block: float = 3.0,
    softness: float = 1.0,
    seed: Seed = None,
) -> tuple[Blocks, Floorplan]:
    """Return blocks that fill a rectangle of whole numbers, and the floorplan that does it.

    The largest piece is cut across its longer side, between ⅓ and ⅔ of it, until there are
    ``num_blocks``. Nets join two to five neighbours, and pads around the rectangle, one for each
    block, have a net each. ``softness``: how far a block's aspect may be from how it was cut, a
    factor; above 1 blocks are soft. Blocks are shuffled and some given turned, so that their order
    tells nothing. Raises :class:`~anneal.errors.InputError` for a rectangle too small to be cut.

    >>> blocks, plan = guillotine_blocks(num_blocks=10, seed=1)
    >>> blocks.area, plan.size
    (1000000.0, (1000.0, 1000.0))
    """
    if num_blocks < 1 or min(width, height) < 1 or softness < 1 or nets_per_block < 0:
        raise InputError(
            "a cut rectangle wants num_blocks, width and height of 1 or more, softness of 1 or "
            "more, and nets_per_block of 0 or more"
        )
    rng = np.random.default_rng(seed)
    pieces = rng.permutation(_cut(num_blocks, width, height, rng)).astype(float)
    x, y, wide, high = pieces.T.copy()
    turned = rng.random(num_blocks) < 0.5 if softness == 1 else np.zeros(num_blocks, bool)
    aside = np.where(turned, ORIENTATIONS.index("E"), 0).astype(np.int8)
    plan = Floorplan(x, y, wide, high, aside)
    given = np.where(turned, high, wide), np.where(turned, wide, high)
    pad_x, pad_y = _around(num_blocks, float(width), float(height))
    start, member = _nets(plan, pad_x, pad_y, round(nets_per_block * num_blocks), rng)
    blocks = Blocks(
        names=[f"b{number}" for number in range(num_blocks)],
        width=given[0],
        height=given[1],
        least=given[0] / given[1] / softness,
        most=given[0] / given[1] * softness,
        pad_names=[f"p{number}" for number in range(num_blocks)],
        pad_x=pad_x,
        pad_y=pad_y,
        net_names=[f"n{number}" for number in range(len(start) - 1)],
        start=start,
        member=member,
        dx=np.zeros(len(member)),
        dy=np.zeros(len(member)),
    )
    return blocks, plan


def _cut(
    num_blocks: int, width: int, height: int, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Return x, y, width and height of each piece."""
    pieces = [(-width * height, 0, 0, width, height)]
    while len(pieces) < num_blocks:
        _, x, y, wide, high = heapq.heappop(pieces)
        longer = max(wide, high)
        if longer < 2:
            raise InputError(
                f"{width} × {height} cannot be cut into {num_blocks} blocks of whole numbers"
            )
        at = int(rng.integers(max(1, longer // 3), max(1, longer - longer // 3 - 1) + 1))
        if wide >= high:
            parts = (x, y, at, high), (x + at, y, wide - at, high)
        else:
            parts = (x, y, wide, at), (x, y + at, wide, high - at)
        for part in parts:
            heapq.heappush(pieces, (-part[2] * part[3], *part))
    return [piece[1:] for piece in pieces]


def _around(count: int, width: float, height: float) -> tuple[Floats, Floats]:
    """Return places at equal distances around a rectangle, from its lower left corner on."""
    way = np.arange(count) * (2 * (width + height) / count)
    corners = np.cumsum([0, width, height, width, height])
    return (
        np.interp(way, corners, [0, width, width, 0, 0]),
        np.interp(way, corners, [0, 0, height, height, 0]),
    )


def _nets(
    plan: Floorplan, pad_x: Floats, pad_y: Floats, count: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return nets of a block and those nearest to it, and of each pad and the nearest block."""
    middle = np.stack([plan.x + plan.width / 2, plan.y + plan.height / 2], 1)
    nets = []
    blocks = len(middle)
    for centre in rng.integers(blocks, size=count if blocks > 1 else 0):
        away = np.abs(middle - middle[centre]).sum(1)
        nets.append(np.argsort(away, kind="stable")[: rng.choice([2, 2, 2, 3, 4, 5])])
    for pad, at in enumerate(np.stack([pad_x, pad_y], 1)):
        nearest = int(np.argmin(np.abs(middle - at).sum(1)))
        nets.append(np.array([nearest, blocks + pad]))
    start = np.concatenate([[0], np.cumsum([len(net) for net in nets])]).astype(np.int64)
    return start, np.concatenate(nets).astype(np.int64)
