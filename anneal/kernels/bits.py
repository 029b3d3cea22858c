"""Multi-spin coding: one bit a replica, 512 replicas of one spin in a row of 64 bytes.

For integer couplings of a few bits (Jacobs and Rebbi 1981; Isakov et al. 2015). A set bit is a spin
that is down. The unsatisfied weight U of a spin, Σ |J_ij| over the couplings that raise the energy,
is counted by carry-save adders, each bit of the sum in a row of its own; a field counts as a
coupling to a last row that is always up. With D the whole weight, a flip costs ΔE = 2·D − 4·U, so
that Metropolis' rule ΔE ≤ T·E with E ~ Exp(1) is

    U + ⌊T·E/4 + (D mod 2)/2⌋ ≥ ⌈D/2⌉.

The random term is geometric where D is even, and its bits are then independent: bit k is set with
probability 1/(1 + exp(4·2ᵏ/T)), and this is how they are drawn. Where D is odd it is 0 with
probability 1 − exp(−2/T), else one more than geometric.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.kernels.bit_rows import (
    carry_bit,
    count_bits,
    either,
    integer_at,
    nonzero,
    row_at,
    shift_left,
    shift_right,
    sum_bit,
)
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below, next_word
from anneal.kernels.vector import add, both, differ, load, multiply, splat, store

LANES = 512
POOL_WORDS = 512  # of 64 bits, for each bit of the random terms; a visit reads 8 from some byte on
BYTE_SHIFT = np.uint64(64 - int(math.log2(8 * POOL_WORDS)))
LARGEST_TOTAL = 254  # so that U and the random term fit nine bits
THRESHOLD_BYTES = 9 * 64
HEAD = 3  # integers of a spin's record before those of its neighbours
TOTAL_BITS = 32  # of the weight of all couplings


@inlined
def next_row(state):  # type: ignore[no-untyped-def]
    """xorshift64* (Vigna 2016) eight times side by side; ``state`` is a uint64 array of eight."""
    x = load(state, 0)
    x = differ(x, shift_right(x, splat(np.uint64(12))))
    x = differ(x, shift_left(x, splat(np.uint64(25))))
    x = differ(x, shift_right(x, splat(np.uint64(27))))
    store(state, 0, x)
    return multiply(x, splat(np.uint64(2685821657736338717)))


@inlined
def bernoulli_row(probability, state):  # type: ignore[no-untyped-def]
    """512 bits, each set with this probability < 1: the binary digits of as many uniform numbers
    are compared with those of the probability until all are decided.
    """
    digits = np.uint64(probability * 2.0**53) << np.uint64(11)
    row = splat(np.uint64(0))
    ones = splat(~np.uint64(0))
    undecided = ones
    while digits != 0 and nonzero(undecided):
        drawn = next_row(state)
        other = both(undecided, differ(drawn, ones))
        if digits >> np.uint64(63):
            row = either(row, other)
            undecided = both(undecided, drawn)
        else:
            undecided = other
        digits <<= np.uint64(1)
    return row


@kernel
def fill_pool(temperature, odd, pool, state):  # type: ignore[no-untyped-def]
    """Draw the random terms for spins of even or odd whole weight: pool (bits + 1, POOL_WORDS + 8)
    of uint64 receives their lowest bits, and in its last row which of them are too great for these.
    At a temperature of 0 or less all are 0.
    """
    planes = pool.shape[0] - 1
    scale = 4.0 / temperature if temperature > 0 else np.inf
    for k in range(planes + 1):
        # The last row: whether any higher bit is set, P(G ≥ 2^planes) = exp(−4·2^planes/T).
        power = np.exp(-scale * 2.0**k)
        chance = min(power if k == planes else power / (1.0 + power), 1 - 2.0**-53)
        for word in range(0, POOL_WORDS, 8):
            store(pool[k], word, bernoulli_row(chance, state))
    if odd:
        half = min(np.exp(-0.5 * scale), 1 - 2.0**-53)
        for word in range(0, POOL_WORDS, 8):
            some = bernoulli_row(half, state)
            carry = some
            for k in range(planes):
                drawn = load(pool[k], word)
                store(pool[k], word, both(differ(drawn, carry), some))
                carry = both(carry, drawn)
            beyond = both(either(load(pool[planes], word), carry), some)
            store(pool[planes], word, beyond)
    for k in range(planes + 1):
        pool[k, POOL_WORDS:] = pool[k, :8]


@inlined
def ripple(width, carry, c2, c3, c4, c5, c6, c7, c8):  # type: ignore[no-untyped-def]
    """Add one bit to what is left of a counter of 3, 5, 7 or 9 bits above its second."""
    if width > 3:
        up = both(c2, carry)
        c2 = differ(c2, carry)
        carry = both(c3, up)
        c3 = differ(c3, up)
        if width > 5:
            up = both(c4, carry)
            c4 = differ(c4, carry)
            carry = both(c5, up)
            c5 = differ(c5, up)
            if width > 7:
                up = both(c6, carry)
                c6 = differ(c6, carry)
                carry = both(c7, up)
                c7 = differ(c7, up)
                c8 = differ(c8, carry)
            else:
                c6 = differ(c6, carry)
        else:
            c4 = differ(c4, carry)
    else:
        c2 = differ(c2, carry)
    return c2, c3, c4, c5, c6, c7, c8


@inlined
def add_neighbours(width, spins, edge, last, own, c0, c1, c2, c3, c4, c5, c6, c7, c8):  # type: ignore[no-untyped-def]
    """Add to a counter of ``width`` bits, for each neighbour, where it differs from ``own``.

    ``spins``, ``edge``, ``last`` are addresses: numba would count references to arrays here.
    """
    while edge + 16 <= last:
        a = differ(own, row_at(spins + integer_at(edge)))
        b = differ(own, row_at(spins + integer_at(edge + 4)))
        low = carry_bit(c0, a, b)
        c0 = sum_bit(c0, a, b)
        a = differ(own, row_at(spins + integer_at(edge + 8)))
        b = differ(own, row_at(spins + integer_at(edge + 12)))
        high = carry_bit(c0, a, b)
        c0 = sum_bit(c0, a, b)
        carry = carry_bit(c1, low, high)
        c1 = sum_bit(c1, low, high)
        c2, c3, c4, c5, c6, c7, c8 = ripple(width, carry, c2, c3, c4, c5, c6, c7, c8)
        edge += 16
    if edge + 8 <= last:
        a = differ(own, row_at(spins + integer_at(edge)))
        b = differ(own, row_at(spins + integer_at(edge + 4)))
        low = carry_bit(c0, a, b)
        c0 = sum_bit(c0, a, b)
        carry = both(c1, low)
        c1 = differ(c1, low)
        c2, c3, c4, c5, c6, c7, c8 = ripple(width, carry, c2, c3, c4, c5, c6, c7, c8)
        edge += 8
    if edge < last:
        a = differ(own, row_at(spins + integer_at(edge)))
        low = both(c0, a)
        c0 = differ(c0, a)
        carry = both(c1, low)
        c1 = differ(c1, low)
        c2, c3, c4, c5, c6, c7, c8 = ripple(width, carry, c2, c3, c4, c5, c6, c7, c8)
    return c0, c1, c2, c3, c4, c5, c6, c7, c8


def threshold_rows() -> NDArray[np.uint8]:
    """For each threshold below 256 and each of its bits a row, of ones where the bit is 0."""
    bits = np.arange(256)[:, np.newaxis] >> np.arange(9) & 1
    return np.repeat((255 * (1 - bits)).astype(np.uint8), 64)


@inlined
def random_bit(place, k, planes, stride):  # type: ignore[no-untyped-def]
    """Bit k of a random term; 0 beyond those that are drawn."""
    return row_at(place + k * stride) if k < planes else splat(np.uint8(0))


def _annealer(width: int) -> Any:
    """The kernel whose sums have at most 3, 5, 7 or 9 bits."""

    @kernel
    def bit_anneal(  # type: ignore[no-untyped-def]
        records, edges, thresholds, parities, spins, order, strict, temperatures, num_sweeps, pools,
        state, states,
    ):  # fmt: skip
        """``num_sweeps`` Metropolis sweeps at each temperature; returns flips over all lanes.

        records (n, HEAD + 3·planes) int32, offsets in bytes, of each spin: its parity's pool; the
        rows of its threshold ⌈D/2⌉, and of ⌊D/2⌋ + 1, which is used where ``strict``; and for each
        bit of the couplings, lowest first, where the neighbours begin whose coupling has it, where
        those with a negative one begin, and where they end. edges: int32, where in ``spins`` (n +
        1, 64) uint8 each neighbour is; the last row is 0. parities: whether a D is even, odd.
        pools: (2, bits + 1, POOL_WORDS + 8) uint64, room for random terms. state: of random
        numbers; states (16,): eight more, and room to count flips.
        """
        zero = splat(np.uint8(0))
        ones = splat(np.uint8(255))
        flips = splat(np.uint64(0))
        planes = pools.shape[1] - 1
        stride = 8 * pools.shape[2]
        n, size = records.shape[0], 4 * records.shape[1]
        top = (records.shape[1] - HEAD) // 3 - 1
        threshold = 8 if strict else 4
        pools_at, rows_at, spins_at = pools.ctypes.data, thresholds.ctypes.data, spins.ctypes.data
        edges_at, records_at = edges.ctypes.data, records.ctypes.data
        for temperature in temperatures:
            for odd in range(2):
                if parities[odd]:
                    fill_pool(temperature, odd, pools[odd], states)
            for _ in range(num_sweeps):
                for visit in range(n):
                    i = np.int64(order[visit]) if order.size else next_below(state, n)
                    record = records_at + i * size
                    place = pools_at + integer_at(record) + np.int64(next_word(state) >> BYTE_SHIFT)
                    spin = row_at(spins_at + i * 64)
                    mirror = differ(spin, ones)
                    c0 = random_bit(place, top, planes, stride)
                    c1 = random_bit(place, top + 1, planes, stride)
                    c2 = random_bit(place, top + 2, planes, stride)
                    c3, c4, c5, c6, c7, c8 = zero, zero, zero, zero, zero, zero
                    if width > 3:
                        c3 = random_bit(place, top + 3, planes, stride)
                        c4 = random_bit(place, top + 4, planes, stride)
                    if width > 7:
                        c5 = random_bit(place, top + 5, planes, stride)
                        c6 = random_bit(place, top + 6, planes, stride)
                    for k in range(top, -1, -1):
                        if k < top:
                            c8, c7, c6, c5 = c7, c6, c5, c4
                            c4, c3, c2, c1 = c3, c2, c1, c0
                            c0 = random_bit(place, k, planes, stride)
                        first = record + 4 * (HEAD + 3 * k)
                        middle = edges_at + integer_at(first + 4)
                        c0, c1, c2, c3, c4, c5, c6, c7, c8 = add_neighbours(
                            width, spins_at, edges_at + integer_at(first), middle, mirror,
                            c0, c1, c2, c3, c4, c5, c6, c7, c8,
                        )  # fmt: skip
                        c0, c1, c2, c3, c4, c5, c6, c7, c8 = add_neighbours(
                            width, spins_at, middle, edges_at + integer_at(first + 8), spin,
                            c0, c1, c2, c3, c4, c5, c6, c7, c8,
                        )  # fmt: skip
                    row = rows_at + integer_at(record + threshold)
                    accept = either(c0, row_at(row))
                    accept = carry_bit(accept, c1, row_at(row + 64))
                    accept = carry_bit(accept, c2, row_at(row + 128))
                    if width > 3:
                        accept = carry_bit(accept, c3, row_at(row + 192))
                        accept = carry_bit(accept, c4, row_at(row + 256))
                    if width > 5:
                        accept = carry_bit(accept, c5, row_at(row + 320))
                        accept = carry_bit(accept, c6, row_at(row + 384))
                    if width > 7:
                        accept = carry_bit(accept, c7, row_at(row + 448))
                        accept = carry_bit(accept, c8, row_at(row + 512))
                    accept = either(accept, row_at(place + planes * stride))
                    flips = add(flips, count_bits(accept))
                    store(spins, i * 64, differ(spin, accept))
        store(states, 8, flips)
        return states[8:16].sum()

    return bit_anneal


ANNEALERS = {width: _annealer(width) for width in (3, 5, 7, 9)}


@kernel
def unsatisfied(records, edges, spins, totals):  # type: ignore[no-untyped-def]
    """Count the weight of the couplings that raise the energy, in each lane: bit k of the counts is
    row k of ``totals`` (TOTAL_BITS, 64) uint8, which is 0 before. records: as of ``bit_anneal``,
    but with each coupling once.
    """
    zero = splat(np.uint8(0))
    ones = splat(np.uint8(255))
    size = 4 * records.shape[1]
    planes = (records.shape[1] - HEAD) // 3
    spins_at, edges_at, records_at = spins.ctypes.data, edges.ctypes.data, records.ctypes.data
    for i in range(records.shape[0]):
        spin = row_at(spins_at + i * 64)
        mirror = differ(spin, ones)
        c0, c1, c2, c3, c4, c5, c6, c7, c8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(planes - 1, -1, -1):
            c8, c7, c6, c5 = c7, c6, c5, c4
            c4, c3, c2, c1, c0 = c3, c2, c1, c0, zero
            first = records_at + i * size + 4 * (HEAD + 3 * k)
            middle = edges_at + integer_at(first + 4)
            c0, c1, c2, c3, c4, c5, c6, c7, c8 = add_neighbours(
                9, spins_at, edges_at + integer_at(first), middle, mirror,
                c0, c1, c2, c3, c4, c5, c6, c7, c8,
            )  # fmt: skip
            c0, c1, c2, c3, c4, c5, c6, c7, c8 = add_neighbours(
                9, spins_at, middle, edges_at + integer_at(first + 8), spin,
                c0, c1, c2, c3, c4, c5, c6, c7, c8,
            )  # fmt: skip
        carry = zero
        for k in range(9):
            total = load(totals, k * 64)
            store(totals, k * 64, sum_bit(total, c0, carry))
            carry = carry_bit(total, c0, carry)
            c0, c1, c2, c3, c4, c5, c6, c7, c8 = c1, c2, c3, c4, c5, c6, c7, c8, zero
        k = 9
        while nonzero(carry):
            total = load(totals, k * 64)
            store(totals, k * 64, differ(total, carry))
            carry = both(total, carry)
            k += 1
