"""A cap on how full rows may be: cells are as wide as that leaves room for, until they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anneal.errors import InfeasibleError, InputError
from anneal.placement.netlist import Netlist, Placement

# Of the rows, at most: a little room is left, or no cell could move.
MOST_FILLED = 0.98


def widened(netlist: Netlist, density: float, rng: np.random.Generator) -> Netlist:
    """Return the netlist with its cells 1/density times as wide, in whole sites.

    What is over is carried from cell to cell in random order, so that all together have their
    share. Cells that fill the rows by more than the density leave as much room as there is. Raises
    :class:`~anneal.errors.InputError` for a density that is not within 0 … 1.

    >>> from anneal.placement.grids import grid_netlist
    >>> netlist, _ = grid_netlist(columns=5, rows=4, utilisation=0.5)
    >>> wide = widened(netlist, 0.8, np.random.default_rng(1))
    >>> round(wide.cell_area / netlist.cell_area, 9)
    1.25
    """
    if not 0 < density <= 1:
        raise InputError(f"density must be above 0 and at most 1, not {density:g}")
    used = netlist.cell_area / netlist.rows.area
    if used > 1:
        raise InfeasibleError(f"cells take {used:.4g} of the rows")
    factor = min(1 / density, max(1.0, MOST_FILLED / used)) if used else 1.0
    if factor == 1.0:
        return netlist
    site = float(netlist.rows.site[0])
    cells = rng.permutation(np.flatnonzero(netlist.movable))
    sites = np.ceil(netlist.width[cells] / site - 1e-9)
    more = np.diff(np.floor(np.cumsum(sites) * (factor - 1) + 1e-9), prepend=0.0)
    width = netlist.width.copy()
    width[cells] = (sites + more) * site
    return replace(netlist, width=width)


def narrowed(netlist: Netlist, wide: Netlist, placement: Placement) -> Placement:
    """Return where cells lie that have their own width again, in the middle of what they took.

    Of an odd number of sites to spare, the one more is on the right.
    """
    site = float(netlist.rows.site[0])
    spare = np.round((wide.width - netlist.width) / site)
    return placement.copy()._replace(x=placement.x + np.floor(spare / 2) * site)
