"""Whether a placement is legal. Shares no code with what places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anneal.placement.netlist import ORIENTATIONS, Bools, Floats, Ints, Netlist, Placement

MAX_PAIRS = 100_000


class Violations(NamedTuple):
    """What is wrong: numbers of cells, and pairs of cells that overlap, (pairs, 2).

    ``overlaps``: at most ``MAX_PAIRS``, a cell that may be placed in each. ``outside``: of all
    rows' box. ``off_row``: not at the bottom of a row as high, or not within its sites.
    ``off_site``: in a row, between two sites. ``moved``: fixed, and not where the netlist has it.
    ``nowhere``: at a place that is not finite.
    """

    overlaps: Ints
    outside: Ints
    off_row: Ints
    off_site: Ints
    moved: Ints
    nowhere: Ints

    @property
    def is_legal(self) -> bool:
        """Whether nothing is wrong, sites apart."""
        return not any(len(found) for name, found in self._asdict().items() if name != "off_site")

    @property
    def is_aligned(self) -> bool:
        """Whether nothing is wrong, and every cell stands on sites."""
        return self.is_legal and not len(self.off_site)


def verify(netlist: Netlist, placement: Placement) -> Violations:
    """Return what is wrong with a placement.

    >>> from anneal.placement.grids import grid_netlist
    >>> netlist, best = grid_netlist(columns=3, rows=2)
    >>> verify(netlist, best).is_aligned
    True
    >>> best.x[:2] = 0.5
    >>> found = verify(netlist, best)
    >>> len(found.overlaps) > 0, len(found.off_site)
    (True, 2)
    """
    finite = np.isfinite(placement.x) & np.isfinite(placement.y)
    free = netlist.movable & finite
    scale = 1e-6 * float(netlist.rows.site.min())
    aside = placement.orientation >= ORIENTATIONS.index("E")
    wide = np.where(aside, netlist.height, netlist.width)
    high = np.where(aside, netlist.width, netlist.height)
    left, low = placement.x, placement.y
    box = netlist.rows.core
    outside = (left < box[0] - scale) | (left + wide > box[2] + scale)
    outside |= (low < box[1] - scale) | (low + high > box[3] + scale)
    in_row, on_site = _in_rows(netlist, left, low, wide, high, scale)
    given = netlist.given
    moved = (np.abs(left - given.x) > scale) | (np.abs(low - given.y) > scale)
    moved |= placement.orientation != given.orientation
    return Violations(
        overlaps=_overlaps(netlist, left, low, wide, high, finite, scale),
        outside=np.flatnonzero(free & outside),
        off_row=np.flatnonzero(free & ~outside & ~in_row),
        off_site=np.flatnonzero(free & in_row & ~on_site),
        moved=np.flatnonzero(~netlist.movable & finite & moved),
        nowhere=np.flatnonzero(~finite),
    )


def _in_rows(
    netlist: Netlist, left: Floats, low: Floats, wide: Floats, high: Floats, scale: float
) -> tuple[Bools, Bools]:
    """Return which cells lie in a row, and which of those on its sites."""
    rows = netlist.rows
    in_row, on_site = np.zeros(len(left), bool), np.zeros(len(left), bool)
    by_height = np.argsort(low, kind="stable")
    ordered = low[by_height]
    for y, height, x, site, right in zip(
        rows.y, rows.height, rows.x, rows.site, rows.right, strict=True
    ):
        here = by_height[
            np.searchsorted(ordered, y - scale) : np.searchsorted(ordered, y + scale, side="right")
        ]
        fits = np.abs(high[here] - height) <= scale
        fits &= (left[here] >= x - scale) & (left[here] + wide[here] <= right + scale)
        here = here[fits]
        in_row[here] = True
        steps = (left[here] - x) / site
        on_site[here] = np.abs(steps - np.round(steps)) * site <= scale
    return in_row, on_site


def _overlaps(
    netlist: Netlist,
    left: Floats,
    low: Floats,
    wide: Floats,
    high: Floats,
    finite: Bools,
    scale: float,
) -> Ints:
    """Return pairs of cells whose insides meet, the smaller number first."""
    solid = finite & (netlist.movable | netlist.blocks) & (wide > scale) & (high > scale)
    cells = np.flatnonzero(solid)
    found = []
    for one, two in _near(cells, left, low, wide, high, netlist.rows.height.min(), scale):
        meet = np.minimum(low[one] + high[one], low[two] + high[two])
        meet -= np.maximum(low[one], low[two])
        meet[~(netlist.movable[one] | netlist.movable[two])] = 0
        pairs = np.sort(np.stack([one, two], 1)[meet > scale], axis=1)
        found.append(pairs)
        if sum(map(len, found)) > 4 * MAX_PAIRS:
            break
    if not found:
        return np.zeros((0, 2), np.int64)
    return np.unique(np.concatenate(found), axis=0)[:MAX_PAIRS]


def _near(
    cells: Ints, left: Floats, low: Floats, wide: Floats, high: Floats, band: float, scale: float
) -> Iterator[tuple[Ints, Ints]]:
    """Yield cells in one horizontal band that share some of their width, pair by pair."""
    if not len(cells):
        return
    base = low[cells].min()
    first = np.floor((low[cells] - base + scale) / band).astype(np.int64)
    last = np.ceil((low[cells] + high[cells] - base - scale) / band).astype(np.int64)
    times = np.maximum(last - first, 1)
    cell = np.repeat(cells, times)
    step = np.arange(len(cell)) - np.repeat(np.cumsum(times) - times, times)
    bands = np.repeat(first, times) + step
    order = np.lexsort((left[cell], bands))
    cell, bands = cell[order], bands[order]
    active, distance = np.arange(len(cell)), 0
    while True:
        distance += 1
        active = active[active + distance < len(cell)]
        one, two = cell[active], cell[active + distance]
        close = bands[active] == bands[active + distance]
        close &= left[two] < left[one] + wide[one] - scale
        active = active[close]
        if not len(active):
            return
        yield one[close], two[close]
