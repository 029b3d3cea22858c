"""Ground states by elimination of one spin after the other, in time and memory exponential in the
largest number of neighbours on the way alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.ising import Ising
from anneal.kernels.treewidth import elimination_order, least_over_spin
from anneal.sampler import in_threads

BLOCK = 2**20  # table entries between two looks at the clock, a few milliseconds
PATIENCE = 2**24  # looks into lists of neighbours for an order, about a tenth of a second


@dataclass(frozen=True, eq=False)
class Order:
    """An order of elimination; ``bags[k]``: who is a neighbour of spin ``spins[k]`` when it goes.

    cost: Σ 2^(1 + size of the bag), the work of :func:`ground_state`, a few nanoseconds each.
    """

    spins: NDArray[np.int64]
    bags: list[NDArray[np.int64]]
    cost: float


def cheapest_order(ising: Ising, *, most: int, patience: int = PATIENCE) -> Order | None:
    """Return the cheaper order of two greedy ones, least degree and least fill-in (Bodlaender and
    Koster, 2010), or None where both cost more than 2^most.

    >>> ring = Ising.from_pairs(np.zeros(5), np.arange(4), np.arange(1, 5), np.ones(4), 0.0)
    >>> cheapest_order(ring, most=10).cost
    18.0
    """
    if ising.num_couplings > most * ising.num_spins:  # no graph of so few neighbours has as many
        return None
    csr = ising.csr()
    graph = csr.indptr.astype(np.int64), csr.indices.astype(np.int64)
    orders = (elimination_order(*graph, fill, most, patience) for fill in (False, True))
    order, bags, starts, cost = min(orders, key=lambda found: found[3])
    if not np.isfinite(cost):
        return None
    place = np.empty(ising.num_spins, np.int64)
    place[order] = np.arange(len(order))
    sets = [bags[low:high] for low, high in pairwise(starts)]
    return Order(order, [bag[np.argsort(place[bag])] for bag in sets], cost)


def ground_state(
    ising: Ising, order: Order, *, control: Control, num_threads: int = 1
) -> NDArray[np.int8] | None:
    """Return a state (n,) of least energy, or None where ``control`` stopped it.

    A spin's minimum, given the others of its bag, is a table that the first of these to go takes
    over (bucket elimination, Dechter 1999); the way back reads who was best.
    """
    csr = ising.csr()
    place = np.empty(ising.num_spins, np.int64)
    place[order.spins] = np.arange(len(order.spins))
    waiting: list[list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = [[] for _ in order.spins]
    choices: list[NDArray[np.uint8]] = []
    for step, (spin, bag) in enumerate(zip(order.spins, order.bags, strict=True)):
        pulls = np.zeros(len(bag))
        row = slice(csr.indptr[spin], csr.indptr[spin + 1])
        later = place[csr.indices[row]] > step
        at = np.searchsorted(place[bag], place[csr.indices[row][later]])
        pulls[at] = csr.data[row][later]
        least, choice = _minima(ising.h[spin], pulls, waiting[step], bag, control, num_threads)
        waiting[step] = []
        if control.stop():
            return None
        choices.append(choice)
        if len(bag):
            waiting[place[bag[0]]].append((bag, least))
        control.done = (step + 1) / len(order.spins)
    state = np.ones(ising.num_spins, np.int8)
    for spin, bag, choice in zip(order.spins[::-1], order.bags[::-1], choices[::-1], strict=True):
        code = int((state[bag] > 0) @ (1 << np.arange(len(bag))))
        state[spin] = 1 if choice[code >> 3] >> (code & 7) & 1 else -1
    return state


def _minima(
    field: float,
    pulls: NDArray[np.float64],
    given: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    bag: NDArray[np.int64],
    control: Control,
    num_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The table of one spin, and where in it the spin is up; given: the tables it takes over."""
    size = len(bag)
    bits = np.zeros((len(given), size + 1), np.int64)
    starts = np.zeros(len(given), np.int64)
    for t, (scope, _) in enumerate(given):
        column = {spin: 1 << k for k, spin in enumerate(scope.tolist())}
        bits[t, :size] = [column.get(spin, 0) for spin in bag.tolist()]
        bits[t, size] = 1  # the spin itself is the first of their bags
        starts[t] = starts[t - 1] + len(given[t - 1][1]) if t else 0
    tables: Any = given[0][1] if len(given) == 1 else np.concatenate([[], *(t for _, t in given)])
    least = np.empty(2**size)
    choice = np.zeros(max(1, 2**size // 8), np.uint8)

    def work(first: int) -> None:
        if first == 0 or not control.stop():
            count = min(BLOCK, 2**size)
            least_over_spin(
                field, pulls, starts, tables, bits, first, count, least, choice
            )  # fmt: skip

    in_threads(work, list(range(0, 2**size, BLOCK)), num_threads)
    return least, choice
