"""Global placement by gradients: short nets against charges that spread the cells.

Lu et al. 2015 (ePlace, ACM TODAES 20:17): minimise W(x, y) + λ D(x, y) by Nesterov's method, W the
smooth wirelength, D the energy of cells and fillers as charges; λ grows until the cells are spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anneal.control import Control
from anneal.errors import InfeasibleError
from anneal.kernels.wirelength import smooth_spans
from anneal.placement.netlist import Floats, Ints, Netlist, Placement, Watch
from anneal.placement.quadratic import quadratic_start
from anneal.placement.spreading import Boxes, Field, charge, fill, forces

OVERFLOW = 0.13  # share of the cells' area that is too much in its bin when placement ends
MAX_STEPS, MAX_BINS = 1500, 1024
# λ grows by at most this a step, and less as the wirelength grows by this share.
GROWTH, TOLERATED = 1.05, 0.005
BACKTRACKS, KEPT = 4, 0.95
PATIENCE = 60  # steps in which the overflow does not fall
JITTER = 0.001  # of the core: cells that nets pull to one place are told apart


@dataclass(frozen=True)
class Spread:
    """How full the rows may be, and when the cells are spread enough."""

    density: float = 1.0
    overflow: float = OVERFLOW
    max_steps: int = MAX_STEPS


class BinGrid(NamedTuple):
    """A netlist in bins: what moves are the cells ``free``, then fillers.

    ``x``, ``y``: middles of all cells of the netlist. ``unit``: width and height of a bin.
    """

    netlist: Netlist
    free: Ints
    boxes: Boxes
    fixed: Floats
    shape: tuple[int, int]
    field: Field
    corner: tuple[float, float]
    unit: tuple[float, float]
    x: Floats
    y: Floats


class Step(NamedTuple):
    """What is known at a place: gradients along both axes, HPWL, and the energy's gradient."""

    gradient: Floats
    wirelength: float
    wire: Floats
    spread: Floats


def place_globally(
    netlist: Netlist,
    spread: Spread,
    *,
    rng: np.random.Generator,
    control: Control,
    watch: Watch | None = None,
) -> Placement:
    """Return a placement of short nets whose cells overlap a little yet.

    ``watch``: called after each step. Raises :class:`~anneal.errors.InfeasibleError` where cells do
    not fit.
    """
    layout = make_layout(netlist, spread.density)
    return _placement(layout, _descend(layout, spread, rng, control, watch))


def _placement(layout: BinGrid, found: Floats) -> Placement:
    netlist, count = layout.netlist, len(layout.free)
    x, y = netlist.given.x.copy(), netlist.given.y.copy()
    for axis, (values, size) in enumerate(((x, netlist.width), (y, netlist.height))):
        middle = layout.corner[axis] + layout.unit[axis] * found[axis, :count]
        values[layout.free] = middle - size[layout.free] / 2
    return Placement(x, y, netlist.given.orientation.copy())


def make_layout(netlist: Netlist, density: float) -> BinGrid:
    """Return a netlist in bins, with fillers for what may stay empty."""
    left, low, right, top = netlist.rows.core
    free = np.flatnonzero(netlist.movable)
    shape = bin_shape(len(free))
    unit = ((right - left) / shape[0], (top - low) / shape[1])
    x = (netlist.given.x + netlist.width / 2 - left) / unit[0]
    y = (netlist.given.y + netlist.height / 2 - low) / unit[1]
    wide, high = netlist.width / unit[0], netlist.height / unit[1]
    still = np.flatnonzero(~netlist.movable & netlist.blocks)
    fixed = fill(x[still], y[still], Boxes.of(wide[still], high[still]), shape)
    fixed = np.minimum(fixed + _outside(netlist, shape, unit), 1.0)
    # Of the rest of a bin the cells and fillers take no more than the density.
    area = float(wide[free] @ high[free])
    room = density * float(np.sum(1 - fixed))
    if area > room * (1 + 1e-9):
        needed = area / (room / density)
        raise InfeasibleError(f"cells take {needed:.4g} of the rows, more than {density:g}")
    sizes = np.sort(wide[free])
    typical = float(sizes[len(sizes) // 10 : max(1, len(sizes) * 9 // 10)].mean())
    tall = float(np.median(high[free]))
    fillers = max(0, int((room - area) / (typical * tall)))
    boxes = Boxes.of(
        np.concatenate([wide[free], np.full(fillers, typical)]),
        np.concatenate([high[free], np.full(fillers, tall)]),
    )
    field = Field(shape)
    return BinGrid(netlist, free, boxes, fixed * density, shape, field, (left, low), unit, x, y)


def bin_shape(count: int) -> tuple[int, int]:
    """Return columns and rows of about as many bins as cells, powers of two.

    >>> bin_shape(12028)
    (128, 128)
    """
    levels = min(math.ceil(math.log2(max(count, 16)) / 2), int(math.log2(MAX_BINS)))
    return 2**levels, 2**levels


def _outside(netlist: Netlist, shape: tuple[int, int], unit: tuple[float, float]) -> Floats:
    """Return the share of each bin that is in no row."""
    rows, (left, low, _, _) = netlist.rows, netlist.rows.core
    wide, high = (rows.right - rows.x) / unit[0], rows.height / unit[1]
    x, y = (rows.x - left) / unit[0] + wide / 2, (rows.y - low) / unit[1] + high / 2
    return np.maximum(1 - fill(x, y, Boxes.of(wide, high), shape), 0.0)


def _descend(
    layout: BinGrid,
    spread: Spread,
    rng: np.random.Generator,
    control: Control,
    watch: Watch | None,
) -> Floats:
    """Return middles of cells and fillers, (2, boxes), after Nesterov's steps (ePlace, §5)."""
    count, (columns, rows) = len(layout.free), layout.shape
    size = np.array([[columns], [rows]], float)
    here = rng.uniform(0, 1, (2, len(layout.boxes.width))) * size
    middles = np.stack([layout.x, layout.y])
    drawn = rng.normal(0, JITTER, (2, count)) * size
    here[:, :count] = quadratic_start(layout.netlist, middles, size[:, 0] / 2) + drawn
    here = _inside(layout, here)
    overflow, degree = 1.0, _degrees(layout)
    step = _evaluate(layout, here, 0.0, _gamma(overflow), degree)
    weight = np.abs(step.wire).sum() / np.abs(step.spread).sum()
    step = _evaluate(layout, here, weight, _gamma(overflow), degree)
    major, before, ahead = here, step.wirelength, here
    pace, length = 1.0, 0.01 * columns / max(float(np.abs(step.gradient).max()), 1e-300)
    least, calm = math.inf, 0
    for number in range(spread.max_steps):
        if control.stop():
            break
        next_pace = (1 + math.sqrt(4 * pace**2 + 1)) / 2
        for _ in range(BACKTRACKS):
            next_major = _inside(layout, ahead - length * step.gradient)
            share = (pace - 1) / next_pace
            next_ahead = _inside(layout, next_major + share * (next_major - major))
            found = _evaluate(layout, next_ahead, weight, _gamma(overflow), degree)
            bend = float(np.linalg.norm(found.gradient - step.gradient))
            straight = float(np.linalg.norm(next_ahead - ahead)) / max(bend, 1e-300)
            shorter, length = straight < KEPT * length, straight
            if not shorter:
                break
        major, ahead, step, pace = next_major, next_ahead, found, next_pace
        if watch is not None:
            watch("spread", _placement(layout, major))
        overflow = _overflow(layout, major[:, :count])
        if overflow < least - 1e-3:
            least, calm = overflow, number
        elif number - calm >= PATIENCE:
            # Cells slosh: momentum is taken from them (O'Donoghue and Candès 2015).
            pace, calm = 1.0, number
        grown = (step.wirelength - before) / (TOLERATED * max(before, 1e-300))
        before = step.wirelength
        weight *= GROWTH ** float(np.clip(1 - grown, -1, 1))
        control.done = max(control.done, min(1.0, (1 - overflow) / (1 - spread.overflow)))
        if overflow <= spread.overflow and number > 20:
            break
    return major


def _gamma(overflow: float) -> float:
    """Return the smoothness of the wirelength in bins: 80 at first, 0.8 at an overflow of 0.1."""
    return float(8 * 10 ** (20 / 9 * (min(overflow, 1.0) - 0.1) - 1))


def _degrees(layout: BinGrid) -> Floats:
    """Return how many nets pull at each of the boxes; none at fillers."""
    netlist = layout.netlist
    weight = np.repeat(netlist.weight, np.diff(netlist.start))
    pins = np.bincount(netlist.cell, weight, len(netlist.names))[layout.free]
    return np.concatenate([pins, np.zeros(len(layout.boxes.width) - len(pins))])


def _evaluate(layout: BinGrid, here: Floats, weight: float, gamma: float, degree: Floats) -> Step:
    """Return the preconditioned gradient of W + λ D, λ being ``weight``, and what it is made of."""
    netlist, count = layout.netlist, len(layout.free)
    wire, length = np.zeros_like(here), 0.0
    for axis, (middle, offset) in enumerate(((layout.x, netlist.dx), (layout.y, netlist.dy))):
        middle[layout.free] = here[axis, :count]
        unit, gradient = layout.unit[axis], np.zeros(len(middle))
        pins = netlist.start, netlist.cell, offset / unit, middle
        _, exact = smooth_spans(*pins, netlist.weight, gamma, gradient)
        # In units of the first axis, that both count alike.
        ratio = unit / layout.unit[0]
        wire[axis, :count] = gradient[layout.free] * ratio
        length += ratio * exact
    density = layout.fixed.copy()
    x, y = _as_charges(layout, here)
    charge(x, y, layout.boxes, density)
    _, across, along = forces(x, y, layout.boxes, layout.field, density)
    spread = -np.stack([across, along])
    scale = np.maximum(degree + weight * layout.boxes.area, 1e-12)
    return Step((wire + weight * spread) / scale, length, wire, spread)


def _inside(layout: BinGrid, here: Floats) -> Floats:
    """Return middles moved into the grid where boxes would stick out."""
    return _clipped(here, (layout.boxes.width, layout.boxes.height), layout.shape)


def _as_charges(layout: BinGrid, here: Floats) -> Floats:
    return _clipped(here, (layout.boxes.charge_width, layout.boxes.charge_height), layout.shape)


def _clipped(here: Floats, sizes: tuple[Floats, Floats], shape: tuple[int, int]) -> Floats:
    found = np.empty_like(here)
    for axis, (size, most) in enumerate(zip(sizes, shape, strict=True)):
        half = np.minimum(size, most) / 2
        np.clip(here[axis], half, most - half, out=found[axis])
    return found


def _overflow(layout: BinGrid, cells: Floats) -> float:
    """Return which share of the cells' area is too much in its bin."""
    count = cells.shape[1]
    boxes = Boxes(*(part[:count] for part in layout.boxes))
    bins = fill(cells[0], cells[1], boxes, layout.shape)
    return float(np.maximum(bins - (1 - layout.fixed), 0).sum() / boxes.area.sum())
