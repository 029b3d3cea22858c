"""Placements small enough for a quantum computer's simulator, with a known best.

Cells fill a grid of sites and every net has two pins, so that half-perimeter wirelength is the cost
of a quadratic assignment with Manhattan distances. Nets join neighbours of one placement: each then
has length 1, and none can be shorter.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np

from anneal.errors import InputError
from anneal.placement.grids import grid_netlist
from anneal.placement.netlist import Netlist, Placement
from anneal.problem import Seed
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation

MOST_FACILITIES = 9  # 9! orders are looked at in a second


class Toy(NamedTuple):
    """A netlist, the same as an assignment of cells to sites, and a best one of these.

    Site k is in column k mod ``columns``, row k // ``columns``.
    """

    netlist: Netlist
    problem: Assignment
    best: Permutation
    columns: int

    def placement(self, order: Permutation) -> Placement:
        """Return where an assignment puts the cells."""
        row, column = np.divmod(np.asarray(order), self.columns)
        orientation = np.zeros(len(order), np.int8)
        return Placement(column.astype(float), row.astype(float), orientation)


def toy(*, columns: int, rows: int, nets_per_cell: float = 2.0, seed: Seed = None) -> Toy:
    """Return columns × rows cells of one site, with random nets between neighbours.

    Two cells may share several nets. Raises :class:`~anneal.errors.InputError` for fewer than two
    cells, and for a number of nets that is not positive.

    >>> found = toy(columns=2, rows=2, seed=1)
    >>> found.problem.cost(found.best) == found.problem.best_known == found.netlist.num_nets
    True
    """
    count = edges.whole("columns", columns, least=1) * edges.whole("rows", rows, least=1)
    if count < 2:
        raise InputError("a toy wants at least two cells")
    share = edges.number("nets_per_cell", nets_per_cell, least=0, most=1e3)
    num_nets = max(1, round(share * count))
    rng = np.random.default_rng(seed)
    full, best = grid_netlist(columns=columns, rows=rows, seed=rng)
    pairs = full.cell.reshape(-1, 2)[rng.integers(full.num_nets, size=num_nets)]
    netlist = replace(
        full,
        net_names=[f"n{number}" for number in range(num_nets)],
        start=2 * np.arange(num_nets + 1),
        cell=pairs.ravel(),
        dx=np.zeros(2 * num_nets),
        dy=np.zeros(2 * num_nets),
        weight=np.ones(num_nets),
    )
    flow = np.zeros((count, count))
    np.add.at(flow, (pairs.min(axis=1), pairs.max(axis=1)), 1.0)
    row, column = np.divmod(np.arange(count), columns)
    distance = np.abs(np.subtract.outer(row, row)) + np.abs(np.subtract.outer(column, column))
    order = (best.y * columns + best.x).astype(np.int64)
    problem = Assignment(flow, distance.astype(float), best_known=float(num_nets))
    return Toy(netlist, problem, order, columns)


def least_cost(problem: Assignment) -> float:
    """Return the least cost of all permutations, each looked at.

    Raises :class:`~anneal.errors.InputError` beyond 9 facilities.

    >>> least_cost(toy(columns=3, rows=2, seed=1).problem)
    12.0
    """
    size = len(problem.flow)
    if size > MOST_FACILITIES:
        raise InputError(f"all permutations of {size} are too many; {MOST_FACILITIES} are not")
    orders = np.array(list(permutations(range(size))))
    i, j = np.nonzero(problem.flow)
    costs = problem.distance[orders[:, i], orders[:, j]] @ problem.flow[i, j]
    return float(costs.min())
