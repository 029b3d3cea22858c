"""Netlists as hypergraphs, for a partitioner."""

from __future__ import annotations

import numpy as np

from anneal.partition.hypergraph import Hypergraph
from anneal.placement.netlist import Netlist


def to_hypergraph(netlist: Netlist) -> Hypergraph:
    """Return the hypergraph of a netlist: a vertex for each cell, pads among them, in their order.

    A vertex that may be placed has as area the whole sites that its cell takes, of the first row;
    one that may not has none. Nets keep their weights and their order; those without pins are left
    out.

    >>> from anneal.placement.grids import grid_netlist
    >>> to_hypergraph(grid_netlist(columns=2, rows=2)[0]).cut([0, 0, 1, 1])
    2.0
    """
    rows = netlist.rows
    wide = np.ceil(netlist.width / rows.site[0] - 1e-9)
    high = np.ceil(netlist.height / rows.height[0] - 1e-9)
    filled = np.diff(netlist.start) > 0
    start = np.concatenate([[0], np.cumsum(np.diff(netlist.start)[filled])])
    return Hypergraph(
        len(netlist.names),
        start,
        netlist.cell.astype(np.int32),
        np.where(netlist.movable, wide * high, 0.0),
        netlist.weight[filled],
    )
