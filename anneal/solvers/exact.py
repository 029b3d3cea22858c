"""Ground states with a proof: every state, elimination along a tree, or branch and bound, as the
structure asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.kernels.exact import LANE_SPINS, gray_code_minimum
from anneal.presolve import reduce
from anneal.sampler import IsingSampler, in_threads
from anneal.solvers.branching import branch_and_bound
from anneal.solvers.parts import PartControl, components, part_of
from anneal.solvers.tabu import TabuSampler
from anneal.treewidth import cheapest_order, ground_state

EXHAUSTIVE = 24  # spins whose 2²⁴ states take a few hundredths of a second
MOST_ELIMINATED = 32  # log2 of the work of an elimination, about a minute
QUICK = 26  # log2 of the work of an elimination that takes about a second
MOST_BOUNDED = 250  # spins of a dense part: one bound takes seconds
PROOF = 1e-8  # of all coefficients: as far as floats are proven
BLOCK = 2**18  # Gray codes between two looks at the clock; each block starts from exact sums


class ExactSampler(IsingSampler):
    """The ground state, proven: by every state, elimination along a tree, or branch and bound.

    Up to 24 spins all states are looked at. Of more, presolve leaves connected components, and of
    each the cheapest is taken: all states; elimination of one spin after the other, at low
    treewidth; or branch and bound with semidefinite bounds, which takes seconds to minutes for 60
    to 100 dense spins.

    num_reads: the ground state first, then, of at most 24 spins, the best of other parts of the
    space, else the same again (default 1). ``info["proven"]`` is False where the search was cut
    short; no energy is below ``info["lower_bound"]``. Raises InputError for components of more than
    250 spins that are not of low treewidth.

    >>> result = ExactSampler().sample_ising({}, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0})
    >>> float(result.first.energy), result.info["proven"], result.info["lower_bound"]
    (-1.0, True, -1.0)
    """

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        num_threads: int = 1,
    ) -> NDArray[np.int8]:
        found = []
        proven, least = True, math.inf
        for linear in h:
            ising = Ising(linear, J)
            if ising.num_spins <= EXHAUSTIVE:
                states, bound = enumerate_states(
                    ising, control=control, num_threads=num_threads, num_reads=num_reads or 1
                )
            else:
                states, bound = prove(ising, control=control, rng=rng, num_threads=num_threads)
            reached = float(ising.energies(states[:1])[0])
            proven = proven and bound >= reached - PROOF * _total(ising)
            least = min(least, bound)
            found.append(states[np.arange(num_reads or 1) % len(states)])
        control.info.update(proven=proven, lower_bound=least + control.offset)
        return np.stack(found)


def prove(
    ising: Ising, *, control: Control, rng: np.random.Generator, num_threads: int = 1
) -> tuple[NDArray[np.int8], float]:
    """Return the best state (1, n) found and a lower bound, which it reaches unless ``control``
    stopped the search.
    """
    reduction = reduce(ising, control=control)
    small = reduction.ising
    state = np.ones(small.num_spins, np.int8)
    order = cheapest_order(small, most=EXHAUSTIVE)
    if order is not None:
        parts = [(Ising(small.h, small.J), np.arange(small.num_spins))]
    else:
        parts = [(part_of(small, spins), spins) for spins in components(small)]
        for part, _ in parts:
            _refuse_too_large(part)
    energies = [float(part.energies(state[spins])[0]) for part, spins in parts]
    bounds = [-_total(part) for part, _ in parts]
    control.improve(sum(energies) + small.offset)
    for k, (part, spins) in enumerate(parts):
        rest = sum(energies) - energies[k] + small.offset
        own = PartControl(control, rest=rest)
        found, bounds[k] = _prove_part(part, control=own, rng=rng, num_threads=num_threads)
        reached = float(part.energies(found)[0])
        if reached <= energies[k]:
            state[spins], energies[k] = found, reached
        control.done = (k + 1) / len(parts)
    return reduction.expand(state[np.newaxis]), sum(bounds) + small.offset


def method(ising: Ising) -> tuple[str, Any]:
    """Return how to prove a ground state: ``states``, ``elimination`` with its order, or
    ``branching``.

    A state costs about a tenth of an entry of a table.
    """
    n = ising.num_spins
    order = cheapest_order(ising, most=QUICK if n <= MOST_BOUNDED else MOST_ELIMINATED)
    if n <= EXHAUSTIVE and (order is None or order.cost > 2.0 ** (n - 3)):
        return "states", None
    return ("branching", None) if order is None else ("elimination", order)


def _prove_part(
    part: Ising, *, control: Control, rng: np.random.Generator, num_threads: int
) -> tuple[NDArray[np.int8], float]:
    name, order = method(part)
    if name == "states":
        states, least = enumerate_states(part, control=control, num_threads=num_threads)
        return states[0], least
    if name == "elimination":
        state = ground_state(part, order, control=control, num_threads=num_threads)
        if state is not None:
            return state, float(part.energies(state)[0])
    # A good state to begin with; seconds is where nobody waits for it.
    seconds = PartControl(control, seconds=max(0.0, min(1.0, 0.1 * control.remaining())))
    first = TabuSampler().search(part.h[None], part.J, control=seconds, rng=rng)[0, 0]
    if name == "elimination":
        return first, -_total(part)
    return branch_and_bound(part, first, control=control)


def _refuse_too_large(part: Ising) -> None:
    if part.num_spins > MOST_BOUNDED and cheapest_order(part, most=MOST_ELIMINATED) is None:
        raise InputError(
            f"exact proves components of at most {MOST_BOUNDED} spins unless they are of low "
            f"treewidth; presolve leaves one of {part.num_spins}"
        )


def _total(ising: Ising) -> float:
    """No energy without the offset is larger in absolute value."""
    return float(np.abs(ising.h).sum() + np.abs(ising.J).sum() / 2)


def enumerate_states(
    ising: Ising, *, control: Control, num_threads: int = 1, num_reads: int = 1
) -> tuple[NDArray[np.int8], float]:
    """Return the best of different parts of the space, (reads, n), and a lower bound: the least
    energy, or of a search that was stopped, what the coefficients allow. Energies lack the offset.
    """
    enumeration = Enumeration(ising)
    best = np.empty((0, ising.num_spins), np.int8)
    codes = list(enumeration.blocks())
    least = math.inf
    for start in range(0, len(codes), max(1, num_threads)):
        if len(best) and control.stop():
            return best, -_total(ising)
        group = codes[start : start + max(1, num_threads)]
        found = [best, *in_threads(enumeration.minima, group, num_threads)]
        candidates = np.unique(np.concatenate(found), axis=0)
        energies = ising.energies(candidates) - ising.offset
        order = np.argsort(energies, kind="stable")[:num_reads]
        best, least = candidates[order], float(energies[order[0]])
        control.improve(least)
        control.done = (start + len(group)) / len(codes)
    return best, least


class Enumeration:
    """The states of one problem: low spins follow the Gray code, up to six high ones fill the
    lanes.

    Without biases a state and its mirror have one energy, and the last spin stays down.
    """

    def __init__(self, ising: Ising) -> None:
        n = ising.num_spins
        matrix = ising.dense()
        fixed = int(n > 1 and not ising.h.any())
        high = min(LANE_SPINS, n - fixed)
        self.num_spins = n
        self.low = n - fixed - high
        lanes = np.arange(64)
        self.high = np.full((n - self.low, 64), -1.0)
        for k in range(high):
            self.high[k] = np.where((lanes >> k) & 1, 1.0, -1.0)
        low, top = slice(0, self.low), slice(self.low, n)
        self.matrix = np.ascontiguousarray(matrix[low, low])
        self.biases = np.ascontiguousarray(ising.h[low])
        self.lane_bias = np.ascontiguousarray(matrix[low, top] @ self.high)
        inner = np.einsum("kl,kl->l", self.high, matrix[top, top] @ self.high) / 2
        self.lane_energy = ising.h[top] @ self.high + inner
        self.lane_energy[1 << high :] = np.inf

    def blocks(self) -> Iterator[tuple[int, int]]:
        """(first, number) of Gray codes."""
        total = 1 << self.low
        for first in range(0, total, BLOCK):
            yield first, min(BLOCK, total - first)

    def minima(self, block: tuple[int, int]) -> NDArray[np.int8]:
        """The best state of each lane in a block."""
        energies = np.empty(64)
        places = np.empty(64, np.int64)
        gray_code_minimum(
            self.matrix, self.biases, self.lane_bias, self.lane_energy, *block, energies, places
        )
        lanes = np.flatnonzero(np.isfinite(energies))
        codes = places[lanes] ^ (places[lanes] >> 1)
        states = np.empty((len(lanes), self.num_spins), np.int8)
        bits: Any = (codes[:, None] >> np.arange(self.low)) & 1
        states[:, : self.low] = 2 * bits - 1
        states[:, self.low :] = self.high[:, lanes].T
        return states
