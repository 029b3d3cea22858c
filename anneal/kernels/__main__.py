"""``python -m anneal.kernels``: compile every kernel into its cache, so that nobody's first run
waits for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anneal.assignment.solving import solve_assignment
from anneal.control import Control
from anneal.detect import find_squares
from anneal.floorplan.floorplanning import floorplan
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.ising import Ising
from anneal.partition import bisect, planted_hypergraph
from anneal.problems.assignment import Assignment
from anneal.problems.colouring import Colouring
from anneal.rounding import get_rounder
from anneal.rounding.bounds import relaxed_bounds
from anneal.rounding.grids import make_grid
from anneal.rounding.rows import LayerRows
from anneal.solvers import SOLVERS, get_solver

SIZES = 120  # above the number of spins from which dense problems leave the lanes


def warm_up() -> None:
    """Run every solver of ours on small problems of each number type and layout."""
    ours = [name for name, target in SOLVERS.items() if target.startswith("anneal.")]
    for scale in (1.0, 100.0, 1e5, np.pi, np.array([np.pi, 1e12])):
        for density in (0.04, 1.0):
            bqm = _example(density, scale).to_bqm()
            for name in ours:
                if name not in ("exact", "highs", "qaoa"):  # smaller sizes alone
                    get_solver(name)().sample(bqm, num_reads=1, num_sweeps=100, seed=1)
    for num_spins in (3, 12, 40, 100):  # sums of three, five, seven and nine bits
        bqm = _example(1.0, 1.0, num_spins, largest=1).to_bqm()
        get_solver("anneal")().sample(bqm, num_reads=1, num_sweeps=2, seed=1)
    for density, size in ((1.0, 10), (0.1, 40), (1.0, 30)):
        get_solver("exact")().sample(_example(density, 1.0, size).to_bqm())
    model, squares = Assignment.generate(seed=1, num_facilities=6).split()
    get_solver("anneal")().sample(model, squares=squares, num_reads=1, num_sweeps=2, seed=1)
    find_squares(Ising(np.zeros(SIZES), np.ones((SIZES, SIZES)) - np.eye(SIZES)))
    find_squares(Ising.from_bqm(Colouring.generate(seed=1).bqm()))


def warm_up_rounders() -> None:
    """Run the kernels of rounding on a small layer."""
    weights = [[0.3, 0.6, -0.4]]
    rows = LayerRows.of(weights, np.eye(3)[None], make_grid(weights, 3))
    for name in ("babai", "exact", "anneal", "relax"):
        get_rounder(name)(rows, rng=np.random.default_rng(1))
    relaxed_bounds(rows)


def warm_up_partition() -> None:
    """Run the kernels of hypergraphs on one that has several levels."""
    hypergraph, _ = planted_hypergraph(seed=1, num_vertices=4 * SIZES)
    bisect(hypergraph, num_starts=2, seed=1)


def warm_up_permutations() -> None:
    """Run the engines for quadratic assignment in both number types."""
    flow = np.arange(16.0).reshape(4, 4)
    for problem in (Assignment(flow, flow), Assignment(np.pi * flow, flow)):
        solve_assignment(problem, engine="tabu", num_swaps=2, seed=1)
        solve_assignment(problem, engine="anneal", num_sweeps=2, seed=1)


def warm_up_floorplans() -> None:
    """Run the engines of floorplans, with nets and without."""
    blocks, _ = guillotine_blocks(num_blocks=9, seed=1)
    for weight in (0.0, 0.5):
        rng = np.random.default_rng(1)
        floorplan(blocks, wirelength=weight, moves_per_block=1, rng=rng, control=Control())


def _example(density: float, scale: Any, num_spins: int = SIZES, *, largest: int = 3) -> Ising:
    rng = np.random.default_rng(1)
    shape = (num_spins, num_spins)
    upper = np.triu((rng.random(shape) < density) * rng.integers(-largest, largest + 1, shape), 1)
    upper = upper * rng.choice(np.atleast_1d(scale), shape)
    i, j = np.nonzero(upper)
    return Ising.from_pairs(np.zeros(num_spins), i, j, upper[i, j], 0.0)


if __name__ == "__main__":
    warm_up()
    warm_up_rounders()
    warm_up_partition()
    warm_up_permutations()
    warm_up_floorplans()
