"""Simulated annealing of a permutation by swaps, its temperatures found from sampled swaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.assignment.tables import QapTables, starting_orders
from anneal.control import Control
from anneal.kernels.random import exponential_quantiles, new_state
from anneal.kernels.swaps import sampled_costs, swap_anneal
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation
from anneal.sampler import in_threads

NUM_SWEEPS = 10_000  # of the first anneal
GROWTH = 3  # how much longer each anneal is than the one before, while there is time
HOT, COLD = 0.5, 0.03  # times the mean size of a random swap: half of all are made, hardly any
CHUNK_WORK = 2**21  # products between two looks at the clock, about a millisecond


def anneal(
    problem: Assignment,
    *,
    rng: np.random.Generator,
    control: Control,
    start: Permutation | None = None,
    num_threads: int = 1,
    num_sweeps: int | None = None,
    num_reads: int | None = None,
    temperature_range: tuple[float, float] | None = None,
) -> tuple[Permutation, dict[str, Any]]:
    """Return the best permutation of ``num_reads`` anneals, and the temperatures and swaps made.

    A sweep proposes every pair once. num_sweeps: 10,000 by default; with a time limit, then three
    times as many, and so on until the time is up. num_reads: by default one, or one a thread with a
    time limit. temperature_range: hot and cold, in units of cost; by default from the mean ``|Δ|``
    of random swaps. Temperatures fall linearly.

    >>> problem = Assignment.generate(seed=1, num_facilities=6)
    >>> order, counts = anneal(problem, rng=np.random.default_rng(1), control=Control())
    >>> problem.cost(order)
    166.0
    """
    count = edges.whole("num_reads", num_reads or control.side_by_side(num_threads), least=1)
    timed = num_sweeps is None and not math.isinf(control.remaining())
    sweeps = edges.whole("num_sweeps", NUM_SWEEPS if num_sweeps is None else num_sweeps, least=1)
    tables = QapTables.of(problem)
    hot, cold = temperature_range or measured_range(tables, rng)
    hot = edges.number("the first temperature", hot, least=0, most=1e300)
    cold = edges.number("the last temperature", cold, least=0, most=hot)
    reads = [SwapAnneal(tables, own) for own in rng.spawn(count)]
    starts = starting_orders(problem, start, count, rng)

    def work(item: tuple[SwapAnneal, Permutation]) -> None:
        read, order = item
        read.begin(order, control)
        length = sweeps
        while True:
            began = control.elapsed()
            read.run(np.linspace(hot, cold, length), control)
            if not timed or control.stop():
                break
            pace = (control.elapsed() - began) / length
            length = min(GROWTH * length, max(1, int(0.9 * control.remaining() / pace)))

    in_threads(work, list(zip(reads, starts, strict=True)), num_threads)
    best = min(reads, key=lambda read: read.cost)
    swaps = sum(read.made for read in reads)
    return best.best, {"swaps": swaps, "temperature_range": [hot, cold]}


def measured_range(tables: QapTables, rng: np.random.Generator) -> tuple[float, float]:
    """HOT and COLD times the mean ``|Δ|`` of swaps of random permutations."""
    if tables.size < 2:
        return 1.0, 1.0
    sizes = []
    for _ in range(20):
        arrays = tables.arrays(tables.problem.random_solution(rng))
        sizes.append(np.abs(sampled_costs(*arrays[:3], 100, new_state(rng))).mean())
    mean = float(np.mean(sizes)) or 1.0
    return HOT * mean, COLD * mean


class SwapAnneal:
    """A permutation that is annealed again and again; ``best`` and ``cost`` are the best of all."""

    def __init__(self, tables: QapTables, rng: np.random.Generator) -> None:
        self.tables = tables
        self.state = new_state(rng)
        self.quantiles = exponential_quantiles(rng)
        self.made = 0

    def begin(self, order: Permutation, control: Control) -> None:
        """Start from ``order``."""
        self.arrays = self.tables.arrays(order)
        self.best, self.cost = order.copy(), self.tables.problem.cost(order)
        self.walk = np.zeros(2)
        control.improve(self.cost)

    def run(self, temperatures: NDArray[np.float64], control: Control) -> None:
        """One sweep at each temperature, fewer where ``control`` says stop."""
        tables = self.tables
        if tables.size < 2:
            return
        work = tables.flow.size * tables.size  # of a sweep
        chunk = max(1, CHUNK_WORK // work)
        for first in range(0, len(temperatures), chunk):
            record = self.walk[1]
            self.made += swap_anneal(
                *self.arrays, self.best, self.walk, temperatures[first : first + chunk],
                self.quantiles, self.state,
            )  # fmt: skip
            if self.walk[1] < record:
                self.cost = tables.problem.cost(self.best)
                control.improve(self.cost)
            if control.stop():
                break
