"""Branch and bound for dense problems: semidefinite bounds, branching on whether spins agree."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.ising import Ising, integer_scale
from anneal.semidefinite import Bound, bound

Floats = NDArray[np.float64]
ENUMERATED = 14  # spins of a node whose states are looked through
TINY = 1e-9  # of the sum of all coefficients, what rounding may do to a bound


@dataclass(frozen=True)
class Node:
    """Half the form of some spins, ½ tᵀCt + constant; s = sign · t[place]."""

    C: Floats
    constant: float
    place: NDArray[np.int64]
    sign: NDArray[np.int8]
    start: Bound | None = None

    def child(self, i: int, sign: int, found: Bound) -> Node:
        """The node where t_i = sign · t_0."""
        rest = np.delete(np.arange(len(self.C)), i)
        C = self.C[np.ix_(rest, rest)].copy()
        C[0, 1:] += sign * self.C[i, rest[1:]]
        C[1:, 0] = C[0, 1:]
        place = np.where(self.place == i, 0, self.place - (self.place > i))
        flipped = np.where(self.place == i, sign * self.sign, self.sign).astype(np.int8)
        held = (found.triangles[:, :3] != i).all(axis=1)
        triangles = found.triangles[held]
        triangles[:, :3] -= triangles[:, :3] > i
        multipliers = found.multipliers[rest]
        multipliers[0] += found.multipliers[i]
        start = Bound(
            -math.inf, found.matrix[np.ix_(rest, rest)], multipliers, triangles, found.prices[held]
        )
        constant = self.constant + sign * float(self.C[0, i])
        return Node(C, constant, place, flipped, start)


def branch_and_bound(
    ising: Ising, state: NDArray[np.int8], *, control: Control
) -> tuple[NDArray[np.int8], float]:
    """Return a state (n,) and a lower bound of h·s + ½ sᵀJs, which it reaches unless ``control``
    stopped the search.

    state: (n,) one to begin with. The node of the least bound is split first, on the spin whose
    sign beside the first one is the least certain.
    """
    best, energy = state, float(ising.energies(state)[0])
    control.improve(energy)
    n = ising.num_spins
    C = np.zeros((n + 1, n + 1))
    C[0, 1:] = C[1:, 0] = ising.h
    C[1:, 1:] = ising.dense()
    root = Node(C, 0.0, np.arange(n + 1), np.ones(n + 1, np.int8))
    if not ising.h.any():
        root = Node(C[1:, 1:], 0.0, np.arange(n), np.ones(n, np.int8))
    unit = integer_scale(ising.h, ising.csr().data)
    error = TINY * float(np.abs(C).sum())
    # Two energies differ by twice a whole number of units, so what is closer is no better.
    close = error if unit is None else max(2 * unit - error, error)
    number = itertools.count()
    waiting = [(-float(np.abs(C).sum()) / 2, next(number), root)]
    while waiting and waiting[0][0] <= energy - close:
        if control.stop():
            return best, waiting[0][0]
        least, _, node = heapq.heappop(waiting)
        k = len(node.C)
        if k <= ENUMERATED:
            tried = _all_states(k)
        else:
            enough = energy - close + error - node.constant
            found = bound(node.C, enough=enough, stop=control.stop, start=node.start)
            least = max(least, found.value + node.constant - error)
            tried = _descended(node.C, np.where(found.matrix < 0, -1.0, 1.0))
        reached = np.einsum("ri,ri->r", tried, tried @ node.C) / 2 + node.constant
        if reached.min() < energy - error:
            energy = float(reached.min())
            spins = tried[int(np.argmin(reached))][node.place] * node.sign
            best = (spins if len(spins) == n else spins[1:] * spins[0]).astype(np.int8)
            control.improve(energy)
        if k > ENUMERATED and least <= energy - close:
            i = 1 + int(np.argmin(np.abs(found.matrix[0, 1:])))
            for sign in (1, -1):
                entry = (least, next(number), node.child(i, sign, found))
                heapq.heappush(waiting, entry)
    return best, energy if unit is not None else energy - close


def _all_states(k: int) -> Floats:
    """Half of the states of k spins: the first is up."""
    codes = np.arange(2 ** (k - 1))[:, np.newaxis]
    return np.asarray(1.0 - 2.0 * ((2 * codes) >> np.arange(k) & 1))


def _descended(C: Floats, states: Floats) -> Floats:
    """The best of some states, (reads, k), after the steepest descent by single flips."""
    fields = states @ C
    state = states[int(np.argmin((states * fields).sum(axis=1)))].copy()
    gain = state * (C @ state)
    while gain.max() > 1e-12 * np.abs(C).sum():
        state[int(np.argmax(gain))] *= -1
        gain = state * (C @ state)
    return np.asarray(state[np.newaxis])
