"""Blocks floorplanned by annealing."""

from __future__ import annotations

import math

import numpy as np

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.floorplan.blocks import TOLERANCE, Blocks, Floorplan, Outline
from anneal.floorplan.engines import Engine, Objective, OrderEngine, TreeEngine

MOVES_PER_BLOCK = 20_000.0
# Trees find the best floorplans of ten blocks within a moment, orders better ones of thirty.
MANY = 24
# Few blocks are soon cold, and are then heated again: so often that about so many are cooled.
COOLED = 100
STEPS = 100  # temperatures at least


def floorplan(
    blocks: Blocks,
    *,
    wirelength: float = 0.0,
    outline: Outline | None = None,
    max_aspect: float | None = None,
    moves_per_block: float = MOVES_PER_BLOCK,
    rng: np.random.Generator,
    control: Control,
) -> Floorplan:
    """Return a floorplan without overlaps, its lower left corner at (0, 0).

    ``wirelength``: its weight, 0 for area alone, 1 for wirelength alone; both are counted as
    shares, of the blocks' area and of the wirelength of a random floorplan. ``outline``: width and
    height; the best floorplan within it is returned, and where none was found the best of those
    beyond (``fits`` of :func:`~anneal.floorplan.blocks.evaluate` tells). ``max_aspect``: without an
    outline, about how much longer one side may be than the other; the least area alone can make a
    long row. ``moves_per_block``: of annealing, where no time limit says otherwise.

    Raises :class:`~anneal.errors.InputError` for a weight or an outline that cannot be, and
    :class:`~anneal.errors.InfeasibleError` where the blocks are too large for the outline.

    >>> from anneal.floorplan.guillotine import guillotine_blocks
    >>> blocks, _ = guillotine_blocks(num_blocks=6, seed=1)
    >>> found = floorplan(blocks, rng=np.random.default_rng(1), control=Control())
    >>> bool(blocks.area <= np.prod(found.size) < 1.1 * blocks.area)
    True
    """
    _check(blocks, wirelength, outline)
    if not 0 < moves_per_block < math.inf:
        raise InputError(f"moves_per_block must be positive and finite, not {moves_per_block:g}")
    if max_aspect is not None and not max_aspect >= 1:
        raise InputError(f"max_aspect must be at least 1, not {max_aspect:g}")
    objective = Objective.of(blocks, outline, max_aspect)
    engine: Engine
    if wirelength > 0 or blocks.soft.any() or len(blocks) < MANY:
        engine = TreeEngine(blocks, objective, wirelength, rng)
    else:
        engine = OrderEngine(blocks, objective, rng)
    _anneal(engine, max(1, COOLED // len(blocks)), engine.moves(moves_per_block), control)
    return engine.plan


def _anneal(engine: Engine, rounds: int, moves: float, control: Control) -> None:
    """Cool an engine down so often, each time from another start, with so many moves in all."""
    piece = engine.piece
    if control.time_limit is None:
        piece = max(1, min(piece, int(moves / (rounds * STEPS))))
    done, current = 0.0, 0
    while done < 1:
        if int(done * rounds) > current:
            current = int(done * rounds)
            engine.restart()
        cooled = done * rounds - current
        engine.anneal(piece, engine.hot * (engine.cold / engine.hot) ** cooled)
        control.improve(engine.cost)
        control.done = done = min(1.0, control.done + piece / moves)
        if control.time_limit is not None:
            done = control.fraction()
        if control.stop():
            return


def _check(blocks: Blocks, wirelength: float, outline: Outline | None) -> None:
    if not 0 <= wirelength <= 1:
        raise InputError(f"the weight of wirelength must be within 0 … 1, not {wirelength:g}")
    if wirelength > 0 and not blocks.num_pins:
        raise InputError("wirelength has a weight, but the blocks have no nets")
    if outline is None:
        return
    if not all(math.isfinite(side) and side > 0 for side in outline):
        raise InputError(f"an outline wants a width and a height, not {outline}")
    wide, high = (side * (1 + TOLERANCE) for side in outline)
    if blocks.area > wide * high:
        raise InfeasibleError(
            f"the blocks cover {blocks.area:.15g}, the outline {outline[0] * outline[1]:.15g}"
        )
    area = blocks.width * blocks.height
    narrowest = np.maximum(np.sqrt(area * blocks.least), area / high)
    bends = narrowest <= np.minimum(np.sqrt(area * blocks.most), wide) * (1 + TOLERANCE)
    lies = (blocks.width <= wide) & (blocks.height <= high)
    lies |= (blocks.width <= high) & (blocks.height <= wide)
    wrong = ~np.where(blocks.soft, bends, lies)
    if wrong.any():
        name = blocks.names[int(np.argmax(wrong))]
        raise InfeasibleError(f"block {name} does not fit into the outline, however it lies")
