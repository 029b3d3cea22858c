"""Robust tabu search over permutations: Taillard's, from several starts side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anneal.assignment.tables import QapTables, TabuWalk, starting_orders
from anneal.control import Control
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation
from anneal.sampler import in_threads

SWAPS = 200  # times n²: enough for the best known of most instances of QAPLIB up to 30


def tabu(
    problem: Assignment,
    *,
    rng: np.random.Generator,
    control: Control,
    start: Permutation | None = None,
    num_threads: int = 1,
    num_swaps: int | None = None,
    num_walks: int | None = None,
) -> tuple[Permutation, dict[str, Any]]:
    """Return the best permutation of walks of ``num_swaps`` swaps each, and how many were made.

    num_swaps: by default until the time is up, or 200·n² without a limit. num_walks: by default
    one, or one a thread with a time limit. Source: E. Taillard, Robust taboo search for the
    quadratic assignment problem, Parallel Computing 17 (1991) 443–455.

    >>> problem = Assignment.generate(seed=1, num_facilities=6)
    >>> order, counts = tabu(problem, rng=np.random.default_rng(1), control=Control(), num_swaps=50)
    >>> problem.cost(order), counts
    (166.0, {'swaps': 50})
    """
    count = edges.whole("num_walks", num_walks or control.side_by_side(num_threads), least=1)
    if num_swaps is not None:
        num_swaps = edges.whole("num_swaps", num_swaps, least=1, most=10**15)
    elif math.isinf(control.remaining()):
        num_swaps = SWAPS * len(problem.flow) ** 2
    tables = QapTables.of(problem)
    walks = [TabuWalk(tables, own) for own in rng.spawn(count)]
    starts = starting_orders(problem, start, count, rng)

    def work(item: tuple[TabuWalk, Permutation]) -> None:
        walk, order = item
        walk.begin(order, control)
        walk.run(num_swaps or 2**60, control)

    in_threads(work, list(zip(walks, starts, strict=True)), num_threads)
    best = min(walks, key=lambda walk: walk.cost)
    return best.best, {"swaps": sum(walk.made for walk in walks)}
