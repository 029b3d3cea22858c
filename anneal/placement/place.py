"""A netlist placed: spread by gradients, put on sites, and made shorter by annealing."""

from __future__ import annotations

import numpy as np

from anneal.control import Control
from anneal.placement.analytic import Spread, place_globally
from anneal.placement.density import narrowed, widened
from anneal.placement.legalise import legalise
from anneal.placement.netlist import Netlist, Placement, Watch, hpwl
from anneal.placement.refine import HOT, refine

MOVES_PER_CELL = 1000.0
# After gradients the cells are near their places: annealing hotter would lose that again.
HOT_AFTER = HOT / 5
# How full the rows are where cells are spread: with some room left they find their places better.
SPREAD = 0.95


def place(
    netlist: Netlist,
    *,
    density: float = 1.0,
    moves_per_cell: float = MOVES_PER_CELL,
    rng: np.random.Generator,
    control: Control,
    watch: Watch | None = None,
) -> Placement:
    """Return a legal placement of short wirelength.

    ``density``: how full the rows may be anywhere, not less than they are on the whole.
    ``moves_per_cell``: of annealing, where no time limit says otherwise. ``watch``: called while
    cells are spread, once they are on sites, and while they are annealed. Raises
    :class:`~anneal.errors.InfeasibleError` where cells do not fit.

    >>> from anneal.placement.grids import DEGREES, grid_netlist
    >>> netlist, best = grid_netlist(columns=9, rows=9, degrees=DEGREES, utilisation=0.8, seed=1)
    >>> found = place(netlist, rng=np.random.default_rng(1), control=Control())
    >>> bool(hpwl(netlist, best) <= hpwl(netlist, found) < 1.6 * hpwl(netlist, best))
    True
    """
    wide = widened(netlist, density, rng)
    spread = Spread(density=max(SPREAD, min(1.0, wide.cell_area / wide.rows.area)))
    # Annealing has its own measure of what is done; spreading is not interrupted half-way.
    rough = place_globally(wide, spread, rng=rng, control=Control(), watch=watch)
    legal = legalise(wide, rough)
    if watch is not None:
        watch("on sites", legal)
    control.improve(hpwl(wide, legal))
    found = refine(
        wide, legal, moves_per_cell=moves_per_cell, hot=HOT_AFTER, rng=rng, control=control,
        watch=watch,
    )  # fmt: skip
    return narrowed(netlist, wide, found)
