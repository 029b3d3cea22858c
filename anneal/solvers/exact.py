"""Every state, in Gray-code order: the proven ground state of up to about 36 spins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.kernels.exact import LANE_SPINS, gray_code_minimum
from anneal.sampler import IsingSampler, in_threads

MOST_SPINS = 40  # 2⁴⁰ states take an hour
BLOCK = 2**18  # Gray codes between two looks at the clock; each block starts from exact sums


class ExactSampler(IsingSampler):
    """Exhaustive search: about 10⁹ to 10¹⁰ states a second and thread.

    num_reads: the ground state first, then the best of other parts of the space (default 1).
    ``info["proven"]`` is False where the search was cut short. Raises InputError beyond 40 spins.

    >>> result = ExactSampler().sample_ising({}, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0})
    >>> float(result.first.energy), result.info["proven"]
    (-1.0, True)
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
        n = h.shape[1]
        if n > MOST_SPINS:
            raise InputError(
                f"exhaustive search takes at most {MOST_SPINS} spins, the problem has {n}"
            )
        reads = num_reads or 1
        control.info["proven"] = True
        return np.stack([self._one(Ising(linear, J), control, num_threads, reads) for linear in h])

    @staticmethod
    def _one(ising: Ising, control: Control, num_threads: int, reads: int) -> NDArray[np.int8]:
        enumeration = Enumeration(ising)
        best = np.empty((0, ising.num_spins), np.int8)
        codes = list(enumeration.blocks())
        for start in range(0, len(codes), max(1, num_threads)):
            if len(best) and control.stop():
                control.info["proven"] = False
                break
            group = codes[start : start + max(1, num_threads)]
            found = [best, *in_threads(enumeration.minima, group, num_threads)]
            candidates = np.unique(np.concatenate(found), axis=0)
            energies = ising.energies(candidates) - ising.offset
            order = np.argsort(energies, kind="stable")[:reads]
            best = candidates[order]
            control.improve(float(energies[order[0]]))
            control.done = (start + len(group)) / len(codes)
        while len(best) < reads:
            best = np.concatenate([best, best])[:reads]
        return best


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
