"""A legal placement made shorter by annealing its cells; it stays legal all the while."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anneal.control import Control
from anneal.errors import InputError
from anneal.kernels.cells import anneal_cells
from anneal.kernels.random import new_state
from anneal.placement.legalise import Segments, free_segments
from anneal.placement.netlist import Floats, Ints, Netlist, Placement, Watch, net_spans
from anneal.placement.verify import verify

ROUNDS = 100
MOVES_PER_CELL = 2000.0
# Of the mean span of a net: where annealing begins. Colder than that nothing is lost.
HOT, COLD = 0.1, 0.002
WINDOW = (3, 24)  # rows and sites


class Sites(NamedTuple):
    """A placement on sites, as the kernel wants it."""

    cells: Ints
    segments: Segments
    sites: Ints
    base: Ints
    left: Floats
    spot: Ints
    where: Ints
    width: Ints
    half: Floats
    middle_x: Floats
    middle_y: Floats


def refine(
    netlist: Netlist,
    placement: Placement,
    *,
    moves_per_cell: float = MOVES_PER_CELL,
    hot: float = HOT,
    centred: bool = False,
    rng: np.random.Generator,
    control: Control,
    watch: Watch | None = None,
) -> Placement:
    """Return a shorter placement; never a longer one.

    ``moves_per_cell``: tried altogether, where no time limit says otherwise. ``hot``: temperature
    to begin with, over the mean span of a net. ``watch``: called after each round. Raises
    :class:`~anneal.errors.InputError` for a placement that is not legal and on sites.
    """
    if not verify(netlist, placement).is_aligned:
        raise InputError("only a legal placement on sites can be refined")
    state = on_sites(netlist, placement)
    pins = _pins(netlist, placement, centred)
    spans = net_spans(netlist, placement, centred=centred)
    cell_start, cell_net = _nets_of_cells(netlist, pins)
    mean = float(spans.mean()) if len(spans) else 0.0
    best, found, total = placement, float(netlist.weight @ spans), float(netlist.weight @ spans)
    control.improve(total)
    random = new_state(rng)
    chunk = max(1, int(moves_per_cell * len(state.cells) / ROUNDS))
    done = 0.0
    while done < 1 and not control.stop() and mean > 0 and len(state.cells):
        temperature = mean * hot * (COLD / hot) ** done
        total += anneal_cells(
            *pins, netlist.weight, cell_start, cell_net, spans,
            state.sites, state.base, state.left, state.segments.y,
            float(netlist.rows.site[0]), state.spot, state.where, state.width, state.half,
            state.middle_x, state.middle_y, state.cells, np.array(WINDOW), temperature,
            temperature, chunk, random,
        )  # fmt: skip
        if watch is not None:
            watch("annealed", _placement(netlist, placement, state))
        control.done = done = done + 1 / ROUNDS
        if control.time_limit is not None:
            done = control.fraction()
        if total < found - 1e-9 * abs(found):
            best, found = _placement(netlist, placement, state), total
            control.improve(found)
    return best


def _placement(netlist: Netlist, like: Placement, state: Sites) -> Placement:
    new = like.copy()
    new.x[state.cells] = (state.middle_x - netlist.width / 2)[state.cells]
    new.y[state.cells] = (state.middle_y - netlist.height / 2)[state.cells]
    return new


def on_sites(netlist: Netlist, placement: Placement) -> Sites:
    """Return a legal placement as the cells on all sites."""
    rows, segments = netlist.rows, free_segments(netlist)
    site, count = float(rows.site[0]), len(netlist.names)
    base = np.concatenate([[0], np.cumsum(segments.end - segments.first)])
    left = rows.x[segments.row] + site * segments.first
    cells = np.flatnonzero(netlist.movable)
    width = np.ceil(netlist.width / site - 1e-9).astype(np.int64)
    where, spot = np.full(count, -1), np.full(count, -1)
    where[cells] = _segment_of(netlist, placement, cells, segments.y, left)
    steps = (placement.x[cells] - left[where[cells]]) / site
    spot[cells] = base[where[cells]] + np.round(steps).astype(np.int64)
    sites = np.full(base[-1], -1)
    wide = width[cells]
    before = np.repeat(np.cumsum(wide) - wide, wide)
    sites[np.repeat(spot[cells], wide) + np.arange(wide.sum()) - before] = np.repeat(cells, wide)
    half = np.stack([netlist.width, netlist.height], 1) / 2
    return Sites(
        cells, segments, sites, base, left, spot, where, width, half,
        placement.x + half[:, 0], placement.y + half[:, 1],
    )  # fmt: skip


def _segment_of(
    netlist: Netlist, placement: Placement, cells: Ints, y: Floats, left: Floats
) -> Ints:
    """Return in which segment each cell lies; segments are sorted by y, then x."""
    small = 1e-6 * float(netlist.rows.site.min())
    begin, _, end, _ = netlist.rows.core
    levels = np.unique(y)
    # One number that grows along each row and from row to row.
    place = np.searchsorted(levels, y) * (end - begin + 1) + left - begin
    level = np.searchsorted(levels, placement.y[cells] + small, side="right") - 1
    wanted = level * (end - begin + 1) + placement.x[cells] + small - begin
    found: Ints = np.searchsorted(place, wanted, side="right") - 1
    return found


def _pins(
    netlist: Netlist, placement: Placement, centred: bool
) -> tuple[Ints, Ints, Floats, Floats]:
    """Return pins of nets of two cells and more, with offsets as the cells lie."""
    x, y = netlist.pins_at(placement, centred=centred)
    return (
        netlist.start,
        netlist.cell,
        x - (placement.x + netlist.width / 2)[netlist.cell],
        y - (placement.y + netlist.height / 2)[netlist.cell],
    )


def _nets_of_cells(netlist: Netlist, pins: tuple[Ints, Ints, Floats, Floats]) -> tuple[Ints, Ints]:
    net = np.repeat(np.arange(netlist.num_nets), np.diff(netlist.start))
    pairs = np.unique(np.stack([pins[1], net], 1), axis=0)
    start = np.searchsorted(pairs[:, 0], np.arange(len(netlist.names) + 1))
    return start, np.ascontiguousarray(pairs[:, 1])
