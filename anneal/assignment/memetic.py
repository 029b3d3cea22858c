"""The default engine: a small population of permutations, each improved by robust tabu search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anneal.assignment.tables import QapTables, TabuWalk, starting_orders
from anneal.control import Control
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation
from anneal.sampler import in_threads

POPULATION = 16
CHILDREN = 4  # improved side by side in a generation
GENERATIONS = 30
CHILD_SWAPS = 2.5  # times n², and no fewer than
LEAST_SWAPS = 20  # times n: a descent takes about n
ROUNDS = 3  # times the population a time limit should be enough for, else children get fewer swaps
DISTINCT = 0.05  # of the facilities: two members that differ in fewer are one
CONVERGED = 0.1  # of the facilities: where members differ in fewer on average, all but one go
STALE = 40  # children in a row that were not kept: likewise


def memetic(
    problem: Assignment,
    *,
    rng: np.random.Generator,
    control: Control,
    start: Permutation | None = None,
    num_threads: int = 1,
    num_generations: int | None = None,
    population_size: int = POPULATION,
    child_swaps: int | None = None,
) -> tuple[Permutation, dict[str, Any]]:
    """Return the best permutation of a memetic search, and what was made.

    The first members are random; a child then keeps the sites that two members agree on, and takes
    most others from one of them; each is improved by ``child_swaps`` swaps of tabu search and takes
    the place of the worst, or of a near twin, where it costs less. num_generations: of four
    children each, beyond those that fill the population (default 30; by the clock with a time
    limit). child_swaps: 2.5·n², or fewer where the time would not do for three populations.
    Source: U. Benlic and J.-K. Hao, Memetic search for the quadratic assignment problem, Expert
    Systems with Applications 42 (2015) 584–595.

    >>> problem = Assignment.generate(seed=1, num_facilities=6)
    >>> order, counts = memetic(problem, rng=np.random.default_rng(1), control=Control())
    >>> problem.cost(order)
    166.0
    """
    size = edges.whole("population_size", population_size, least=2, most=10**4)
    timed = num_generations is None and not math.isinf(control.remaining())
    wanted = GENERATIONS if num_generations is None else num_generations
    most = -(-size // CHILDREN) + edges.whole("num_generations", wanted)
    tables = QapTables.of(problem)
    walks = [TabuWalk(tables, own) for own in rng.spawn(_children(control, num_threads))]
    members = Members(size)
    if start is not None:
        control.improve(problem.cost(start))
        members.add(start, problem.cost(start))
    if child_swaps is None:
        child_swaps = _affordable(walks[0], members, control, rng, min(num_threads, len(walks)))
    child_swaps = edges.whole("child_swaps", child_swaps, least=1, most=10**15)

    def improve(item: tuple[TabuWalk, Permutation]) -> None:
        walk, order = item
        walk.begin(order, control)
        walk.run(child_swaps, control)

    generations = 0
    while timed or generations < most:
        children = [members.child(problem, rng) for _ in walks]
        if generations == 0 and start is not None:
            children[0] = start
        in_threads(improve, list(zip(walks, children, strict=True)), num_threads)
        for walk in walks:
            members.add(walk.best.copy(), walk.cost)
        members.renew()
        generations += 1
        if control.stop():
            break
    swaps = sum(walk.made for walk in walks)
    return members.best(), {
        "swaps": swaps,
        "generations": generations,
        "population_size": size,
        "child_swaps": child_swaps,
    }


def _children(control: Control, num_threads: int) -> int:
    return max(CHILDREN, control.side_by_side(num_threads))


def _affordable(
    walk: TabuWalk, members: Members, control: Control, rng: np.random.Generator, num_threads: int
) -> int:
    """Swaps of a child: the usual number, or what the time allows, by a first short walk."""
    tables = walk.tables
    usual, least = int(CHILD_SWAPS * tables.size**2), LEAST_SWAPS * tables.size
    if math.isinf(control.remaining()) or usual <= least:
        return max(usual, least)
    walk.begin(tables.problem.random_solution(rng), control)
    began = control.elapsed()
    walk.run(least, control)
    members.add(walk.best.copy(), walk.cost)
    pace = max(control.elapsed() - began, 1e-9) / max(walk.made, 1)
    share = max(control.remaining(), 0.0) * num_threads / (ROUNDS * members.size)
    return max(least, min(usual, int(share / pace)))


class Members:
    """At most ``size`` permutations that differ in more than a few sites, with their costs."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.orders: list[Permutation] = []
        self.costs: list[float] = []
        self.refused = 0

    def best(self) -> Permutation:
        """The cheapest."""
        return self.orders[int(np.argmin(self.costs))]

    def child(self, problem: Assignment, rng: np.random.Generator) -> Permutation:
        """A random permutation until there are enough, then the crossover of two members."""
        if len(self.orders) < self.size:
            return starting_orders(problem, None, 1, rng)[0]
        first, second = rng.choice(self.size, 2, replace=False)
        return crossover(self.orders[first], self.orders[second], rng)

    def add(self, order: Permutation, cost: float) -> None:
        """Keep ``order`` where there is room, or where it costs less than its near twin, or else
        than the worst.
        """
        differ = [int((other != order).sum()) for other in self.orders]
        if differ and min(differ) <= DISTINCT * len(order):
            place = int(np.argmin(differ))
        elif len(self.orders) < self.size:
            self.orders.append(order)
            self.costs.append(cost)
            self.refused = 0
            return
        else:
            place = int(np.argmax(self.costs))
        self.refused += 1
        if cost < self.costs[place]:
            self.orders[place], self.costs[place] = order, cost
            self.refused = 0

    def renew(self) -> None:
        """Where a full population has converged or refuses all, keep the best alone."""
        if len(self.orders) < self.size:
            return
        stack = np.stack(self.orders)
        differ = (stack[:, None] != stack[None]).sum(axis=2).sum() / (self.size * (self.size - 1))
        if differ < CONVERGED * stack.shape[1] or self.refused >= STALE:
            best = int(np.argmin(self.costs))
            self.orders, self.costs = [self.orders[best]], [self.costs[best]]
            self.refused = 0


def crossover(first: Permutation, second: Permutation, rng: np.random.Generator) -> Permutation:
    """A permutation that agrees where the parents do, takes other sites from either while they are
    free, and fills the rest at random.

    >>> crossover(np.array([0, 1, 2]), np.array([0, 2, 1]), np.random.default_rng(1))[0]
    np.int64(0)
    """
    child = np.where(first == second, first, -1)
    taken = np.zeros(len(child), dtype=bool)
    taken[child[child >= 0]] = True
    open_ = rng.permutation(np.flatnonzero(child < 0))
    for facility, coin in zip(open_, rng.random(len(open_)) < 0.5, strict=True):
        a, b = (first, second) if coin else (second, first)
        site = b[facility] if taken[a[facility]] else a[facility]
        if not taken[site]:
            child[facility] = site
            taken[site] = True
    child[child < 0] = rng.permutation(np.flatnonzero(~taken))
    return child
