"""Replicas of one bit each, 512 side by side, of a problem with small integers.

They are annealed as all others (:mod:`anneal.replicas`), by Metropolis' rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.ising import Couplings, Ising
from anneal.kernels.bits import (
    ANNEALERS,
    HEAD,
    LANES,
    LARGEST_TOTAL,
    POOL_WORDS,
    THRESHOLD_BYTES,
    TOTAL_BITS,
    threshold_rows,
    unsatisfied,
)
from anneal.layouts import Numbers
from anneal.replicas import Replicas

FIELD_LANES = 64  # whose fields are told, as many as other replicas have
MOST_SPINS = 2**17  # whose states take 64 MB
THRESHOLDS = threshold_rows()


class BitLayout:
    """The neighbours of each spin, by the bits of the couplings and their signs; h: (n,)."""

    lanes = LANES
    effort = 1 / 16  # of a nanosecond, which a visit costs each replica
    hand_over = 4e-9
    idle_sweeps = 1
    kind = np.dtype(np.uint8)

    def __init__(self, h: NDArray[np.float64], J: Couplings, numbers: Numbers) -> None:
        self.numbers = numbers
        self.ising = Ising(h, sparse.csr_array(J))
        self.num_spins = n = len(h)
        rows, columns, weights = _couplings(self.ising, numbers)
        totals = np.bincount(rows, np.abs(weights), minlength=n).astype(np.int64)
        top = int(totals.max(initial=1))
        self.random_bits = max(1, ((top + 1) // 2 - 1).bit_length())
        width = (top + 2**self.random_bits - 1).bit_length()
        self.anneal = next(ANNEALERS[most] for most in sorted(ANNEALERS) if width <= most)
        self.parities = np.array([(totals % 2 == 0).any(), (totals % 2 == 1).any()])
        self.neighbours = _records(totals, self.random_bits, rows, columns, weights)
        once = rows < columns
        self.once = _records(totals, self.random_bits, rows[once], columns[once], weights[once])
        self.weight = float(np.abs(weights[once]).sum())

    @staticmethod
    def fits(h: NDArray[np.float64], J: Couplings, numbers: Numbers) -> bool:
        """Whether there is one problem, of small integers, and no spin has too many of them."""
        return (
            len(h) == 1
            and numbers.whole
            and numbers.largest_field <= LARGEST_TOTAL
            and h.shape[1] <= MOST_SPINS
        )

    def replicas(self, rng: np.random.Generator, **options: Any) -> BitReplicas:
        return BitReplicas(self, rng, **options)


class BitReplicas(Replicas):
    """512 states of one problem."""

    def __init__(
        self,
        layout: BitLayout,
        rng: np.random.Generator,
        *,
        spins: NDArray[np.int8] | None = None,
        biases: None = None,
        gibbs: bool = False,
        shuffled: bool = False,
    ) -> None:
        super().__init__(layout, rng, gibbs, shuffled)
        self.quantiles = _none
        self.states_of_random = rng.integers(1, 2**64, 16, dtype=np.uint64)
        self.pools = np.empty((2, layout.random_bits + 1, POOL_WORDS + 8), np.uint64)
        n = layout.num_spins
        if spins is None:
            self.rows = rng.integers(0, 256, (n + 1, LANES // 8), dtype=np.uint8)
        else:
            self.rows = np.empty((n + 1, LANES // 8), np.uint8)
            self.set_states(spins)
        self.rows[n] = 0

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (lanes, n) states."""
        self.rows[:-1] = np.packbits(np.asarray(states) < 0, axis=0, bitorder="little").T

    def states(self) -> NDArray[np.int8]:
        """(lanes, n) int8."""
        return unpacked(self.rows[:-1])

    def energies(self) -> NDArray[np.float64]:
        """(lanes,), in the problem's unit, without its offset."""
        totals = np.zeros((TOTAL_BITS, LANES // 8), np.uint8)
        unsatisfied(*self.layout.once, self.rows, totals)
        counts = 2.0 ** np.arange(TOTAL_BITS) @ np.unpackbits(totals, axis=1, bitorder="little")
        return np.asarray((2 * counts - self.layout.weight) * self.scale)

    def local_fields(self) -> NDArray[np.float64]:
        """(FIELD_LANES, n) in the problem's unit, of the first lanes: no kernel keeps them."""
        ising = self.layout.ising
        spins = unpacked(self.rows[:-1, : FIELD_LANES // 8])
        return np.asarray(ising.h + (ising.J @ spins.T.astype(np.float64)).T)

    def _sweeps(self, quantiles: Any, temperatures: Any, num_sweeps: int, order: Any) -> int:
        strict = temperatures[0] < 0  # a descent
        flips = self.layout.anneal(
            *self.layout.neighbours, THRESHOLDS, self.layout.parities, self.rows, order, strict,
            temperatures, num_sweeps, self.pools, self.state, self.states_of_random,
        )  # fmt: skip
        return int(flips)


def unpacked(rows: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(8·bytes, n) of ±1 from (n, bytes) of bits that are set where a spin is down."""
    down = np.unpackbits(np.ascontiguousarray(rows.T), axis=0, bitorder="little").view(np.int8)
    down *= -2
    down += 1
    return down


def _none(rng: np.random.Generator) -> None:
    """No quantiles: the kernel draws its own random terms."""


def _couplings(ising: Ising, numbers: Numbers) -> tuple[NDArray[np.int64], ...]:
    """Rows, columns and integer weights of both halves of J, and of the fields in column n."""
    n = ising.num_spins
    both = sparse.coo_array(ising.csr())
    field = np.flatnonzero(ising.h)
    rows = np.concatenate([both.row, field]).astype(np.int64)
    columns = np.concatenate([both.col, np.full(len(field), n)]).astype(np.int64)
    weights = numbers.convert(np.concatenate([both.data, ising.h[field]]), np.int64)
    return rows, columns, weights


def _records(
    totals: NDArray[np.int64],
    random_bits: int,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The records and the edges of the kernel :mod:`anneal.kernels.bits`."""
    n, sizes = len(totals), np.abs(weights)
    planes = max(1, int(sizes.max(initial=0)).bit_length())
    records = np.zeros((n, HEAD + 3 * planes), np.int64)
    records[:, 0] = totals % 2 * (random_bits + 1) * (POOL_WORDS + 8) * 8
    records[:, 1] = (totals + 1) // 2 * THRESHOLD_BYTES
    records[:, 2] = (totals // 2 + 1) * THRESHOLD_BYTES
    order = np.lexsort((columns, weights < 0, rows))
    rows, columns, weights, sizes = (a[order] for a in (rows, columns, weights, sizes))
    edges, begun = [], 0
    for k in range(planes):
        has = (sizes >> k & 1).astype(bool)
        ends = begun + np.cumsum(np.bincount(rows[has], minlength=n))
        first = np.concatenate([[begun], ends[:-1]])
        middle = first + np.bincount(rows[has & (weights > 0)], minlength=n)
        records[:, HEAD + 3 * k : HEAD + 3 * k + 3] = 4 * np.stack([first, middle, ends], axis=1)
        edges.append(columns[has] * (LANES // 8))
        begun += int(has.sum())
    return records.astype(np.int32), np.concatenate(edges).astype(np.int32)
