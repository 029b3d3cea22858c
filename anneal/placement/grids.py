"""Netlists whose shortest wirelength is known: every net is as short as its pins allow.

After Chang, Cong, Romesis & Xie (PEKO, ICCAD 2003): cells of one size fill a grid, and a net joins
cells of a block of the shape with the least half-perimeter, so no placement without overlaps is
shorter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from anneal.errors import InputError
from anneal.placement.netlist import Floats, Ints, Netlist, Placement, SiteRows
from anneal.problem import Seed

# Shares of nets by their number of pins, as standard-cell netlists have them: half of two pins.
DEGREES = {2: 0.55, 3: 0.2, 4: 0.1, 5: 0.06, 6: 0.04, 9: 0.03, 16: 0.02}


def grid_netlist(
    *,
    columns: int,
    rows: int,
    degrees: Mapping[int, float] | None = None,
    nets_per_cell: float = 1.0,
    utilisation: float = 1.0,
    cell_sites: int = 1,
    seed: Seed = None,
) -> tuple[Netlist, Placement]:
    """Return a netlist of rows × columns equal cells, and a placement of least wirelength.

    Cells are ``cell_sites`` × 1 sites of 1 × 1. Without ``degrees`` each pair of neighbours is a
    net (and cells are square); with them (``DEGREES``, say: number of pins → share) nets are drawn,
    ``nets_per_cell`` as many as cells. ``utilisation``: share of the sites that cells take. Names
    are drawn too, so that they tell nothing. Raises :class:`~anneal.errors.InputError` for what
    makes no grid.

    >>> netlist, best = grid_netlist(columns=3, rows=2)
    >>> netlist.num_cells, netlist.num_nets
    (6, 7)
    """
    if min(columns, rows, cell_sites) < 1 or not 0 < utilisation <= 1:
        raise InputError("a grid wants columns, rows and sites, and a utilisation up to 1")
    if degrees is None and cell_sites > 1:
        raise InputError("nets of neighbours have a known wirelength only for square cells")
    rng = np.random.default_rng(seed)
    start, cell = _neighbours(columns, rows)
    if degrees is not None:
        num_nets = round(nets_per_cell * columns * rows)
        start, cell = _blocks(columns, rows, degrees, num_nets, float(cell_sites), rng)
    count = columns * rows
    row, column = np.divmod(np.arange(count), columns)
    best = Placement(column * float(cell_sites), row.astype(float), np.zeros(count, np.int8))
    order = np.arange(count) if seed is None else rng.permutation(count)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    sites = math.ceil(columns * cell_sites / utilisation)
    netlist = Netlist(
        names=[f"c{number}" for number in range(count)],
        width=np.full(count, float(cell_sites)),
        height=np.ones(count),
        movable=np.ones(count, bool),
        blocks=np.ones(count, bool),
        net_names=[f"n{number}" for number in range(len(start) - 1)],
        start=start,
        cell=place[cell],
        dx=np.zeros(len(cell)),
        dy=np.zeros(len(cell)),
        weight=np.ones(len(start) - 1),
        rows=SiteRows(
            x=np.zeros(rows),
            y=np.arange(rows, dtype=float),
            height=np.ones(rows),
            site=np.ones(rows),
            num_sites=np.full(rows, sites),
        ),
        given=Placement(np.zeros(count), np.zeros(count), np.zeros(count, np.int8)),
    )
    return netlist, Placement(best.x[order], best.y[order], best.orientation)


def least_span(degree: int, width: float) -> tuple[int, int]:
    """Return columns and rows of the block of the least half-perimeter that holds a net's cells.

    Cells are ``width`` × 1, pins in their middles.

    >>> least_span(4, 1.0), least_span(3, 2.0)
    ((2, 2), (1, 3))
    """
    shapes = [(math.ceil(degree / high), high) for high in range(1, degree + 1)]
    return min(shapes, key=lambda shape: ((shape[0] - 1) * width + shape[1] - 1, shape))


def _neighbours(columns: int, rows: int) -> tuple[Ints, Ints]:
    number = np.arange(columns * rows).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1)
    along = np.stack([number[:-1].ravel(), number[1:].ravel()], 1)
    pairs = np.concatenate([across, along])
    return 2 * np.arange(len(pairs) + 1), pairs.ravel()


def _blocks(
    columns: int,
    rows: int,
    degrees: Mapping[int, float],
    num_nets: int,
    width: float,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Return nets of cells in blocks; corners opposite each other are always among them."""
    sizes, shares = np.array(list(degrees), np.int64), np.array(list(degrees.values()), float)
    if not len(sizes) or sizes.min() < 2 or shares.min() < 0 or not 0 < shares.sum() < math.inf:
        raise InputError("degrees must be at least 2, with shares that are positive")
    shapes = {int(size): least_span(int(size), width) for size in sizes}
    for size, (wide, high) in shapes.items():
        if wide > columns or high > rows:
            raise InputError(f"a net of {size} cells does not fit into {columns} × {rows} cells")
    drawn = rng.choice(sizes, num_nets, p=shares / shares.sum())
    cells = [_block(shapes[int(size)], int(size), columns, rows, rng) for size in drawn]
    start = np.concatenate([[0], np.cumsum(drawn)])
    return start, np.concatenate(cells) if cells else np.zeros(0, np.int64)


def _block(
    shape: tuple[int, int], size: int, columns: int, rows: int, rng: np.random.Generator
) -> Ints:
    """Return the cells of one net: any of a block at a random place."""
    wide, high = shape
    left, low = rng.integers(columns - wide + 1), rng.integers(rows - high + 1)
    inside = rng.permutation(wide * high)[:size]
    found: Ints = (low + inside // wide) * columns + left + inside % wide
    return found


def known_wirelength(netlist: Netlist) -> Floats:
    """Return the least half-perimeter of each net, (nets,), of a netlist of this module.

    >>> float(known_wirelength(grid_netlist(columns=3, rows=2)[0]).sum())
    7.0
    """
    width = float(netlist.width[0])
    found = np.zeros(netlist.num_nets)
    degree = np.diff(netlist.start)
    for size in np.unique(degree):
        wide, high = least_span(int(size), width)
        found[degree == size] = (wide - 1) * width + high - 1
    return found
