"""Cells into rows: no overlaps, on sites, as near as can be to where they were."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anneal.errors import InfeasibleError, InputError
from anneal.kernels.rows import abacus
from anneal.placement.netlist import Floats, Ints, Netlist, Placement


class Segments(NamedTuple):
    """Stretches of sites that nothing fixed takes, all (segments,), sorted by y, then x.

    ``row``: in the netlist's rows. ``first``, ``end``: sites, from where the row begins.
    """

    row: Ints
    y: Floats
    first: Ints
    end: Ints


def free_segments(netlist: Netlist) -> Segments:
    """Return the stretches of sites that no fixed cell takes.

    >>> from anneal.placement.grids import grid_netlist
    >>> free_segments(grid_netlist(columns=3, rows=2)[0]).end.tolist()
    [3, 3]
    """
    rows, given = netlist.rows, netlist.given
    still = np.flatnonzero(~netlist.movable & netlist.blocks & (netlist.width > 0))
    left, low = given.x[still], given.y[still]
    right, top = left + netlist.width[still], low + netlist.height[still]
    found = []
    for row in np.lexsort((rows.x, rows.y)):
        y, height, site, x = rows.y[row], rows.height[row], rows.site[row], rows.x[row]
        here = np.flatnonzero(
            (low < y + height) & (top > y) & (right > x) & (left < rows.right[row])
        )
        taken = sorted(
            (int(np.floor((left[one] - x) / site)), int(np.ceil((right[one] - x) / site)))
            for one in here
        )
        at = 0
        for first, end in [*taken, (int(rows.num_sites[row]), int(rows.num_sites[row]))]:
            if first > at:
                found.append((row, y, at, min(first, int(rows.num_sites[row]))))
            at = max(at, end)
    if not found:
        raise InfeasibleError("fixed cells take all rows")
    row_of, y_of, first_of, end_of = zip(*found, strict=True)
    return Segments(
        np.array(row_of, np.int64),
        np.array(y_of),
        np.array(first_of, np.int64),
        np.array(end_of, np.int64),
    )


def legalise(netlist: Netlist, placement: Placement) -> Placement:
    """Return a placement without overlaps, all cells on sites, near the given one.

    Raises :class:`~anneal.errors.InfeasibleError` where a cell finds no room, and
    :class:`~anneal.errors.InputError` for cells higher than a row or rows of several kinds.
    """
    rows = netlist.rows
    site, height = float(rows.site[0]), float(rows.height[0])
    if not (np.allclose(rows.site, site) and np.allclose(rows.height, height)):
        raise InputError("rows of several heights, or sites of several widths, are not supported")
    free = np.flatnonzero(netlist.movable)
    if (netlist.height[free] > height * (1 + 1e-9)).any():
        tall = netlist.names[int(free[np.argmax(netlist.height[free])])]
        raise InputError(f"cell {tall} is higher than a row; only cells of one row can move")
    segments = free_segments(netlist)
    base = float(rows.x.min())
    start = (rows.x[segments.row] - base) / site
    width = np.ceil(netlist.width[free] / site - 1e-9)
    x = (placement.x[free] - base) / site
    found, chosen = np.zeros(len(free)), np.zeros(len(free), np.int64)
    lost = abacus(
        np.lexsort((width, x)),
        x,
        placement.y[free],
        width,
        start + segments.first,
        segments.y,
        start + segments.end,
        1 / site,
        found,
        chosen,
    )
    if lost >= 0:
        name = netlist.names[int(free[lost])]
        raise InfeasibleError(f"no room is left for cell {name} in any row")
    new = placement.copy()
    new.x[free] = base + site * found
    new.y[free] = segments.y[chosen]
    return new
