"""Parallel tempering: lanes or rows at temperatures of their own, exchanges, isoenergetic clusters.

A slot is a place in the ladder, slots[t, c] the lane that is there: c of the ``chains`` at the t-th
inverse temperature, hottest first. An exchange swaps two entries of ``slots``; no state moves. Lane
g is column g mod lanes of row g // lanes. Energies and inverse temperatures are in the kernel's
unit.
"""

from __future__ import annotations

import math

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.dense import dense_anneal
from anneal.kernels.random import next_below, next_word
from anneal.kernels.sparse import subtract_down

TABLE_ROWS = 1024  # 64 KB of thresholds, which stay in the second cache; 2¹⁰: the offset is a shift
ROW_SHIFT = np.uint64(64 - 10)
SUM_ROWS = 8192  # rows of int16 fields that int32 sums hold without overflow
ONE = np.uint64(1)


@inlined
def uniform(state):  # type: ignore[no-untyped-def]
    """A number in [0, 1)."""
    return np.float64(next_word(state) >> np.uint64(11)) * 2.0**-53


@kernel
def fill_lane_thresholds(quantiles, base, temperatures, largest, odd, table):  # type: ignore[no-untyped-def]
    """As :func:`anneal.kernels.sparse.fill_half_thresholds`, each lane with its own temperature.

    table (2, TABLE_ROWS, lanes): row k has the quantiles from ``base + k`` on, temperatures
    (lanes,) are float32.
    """
    quarter = np.float32(0.5)
    top = np.float32(largest)
    halves = quarter * temperatures
    for p in range(2 if odd else 1):
        parity = np.float32(p)
        for k in range(TABLE_ROWS):
            row, numbers = table[p, k], quantiles[base + k :]
            if largest > 0:
                for lane in range(halves.size):
                    bounded = max(-top, min(halves[lane] * numbers[lane], top))
                    row[lane] = -np.int32(np.floor(quarter * (bounded + parity)))
            else:
                for lane in range(halves.size):
                    row[lane] = -(quarter * halves[lane] * numbers[lane])


@kernel
def sweep_lanes(  # type: ignore[no-untyped-def]
    indptr, indices, weights, parity, spins, halves, order, num_sweeps, table, state
):  # fmt: skip
    """Metropolis sweeps of one row of lanes, each at its own temperature: see
    :func:`anneal.kernels.sparse.sparse_anneal`.
    """
    zero = vector.splat(weights.dtype.type(0))
    lanes = spins.shape[1]
    for _ in range(num_sweeps):
        for visit in range(spins.shape[0]):
            i = np.int64(order[visit]) if order.size else next_below(state, spins.shape[0])
            row = np.int64(next_word(state) >> ROW_SHIFT) + parity[i] * TABLE_ROWS
            spin = vector.load(spins, i * lanes)
            half = vector.load(halves, i * lanes)
            down = vector.above(zero, spin)
            mirror = vector.splat(weights.dtype.type(-parity[i]))
            aligned = vector.select(down, vector.subtract(mirror, half), half)
            accept = vector.at_least(aligned, vector.load(table, row * lanes))
            if vector.bits(accept) == 0:
                continue
            vector.store(spins, i * lanes, vector.select(accept, vector.subtract(zero, spin), spin))
            rising = vector.both(accept, down)
            falling = vector.differ(accept, rising)
            for edge in range(indptr[i], indptr[i + 1]):
                position = np.int64(indices[edge]) * lanes
                weight = vector.splat(weights[edge])
                neighbour = vector.load(halves, position)
                neighbour = vector.add(neighbour, vector.select(rising, weight, zero))
                neighbour = vector.subtract(neighbour, vector.select(falling, weight, zero))
                vector.store(halves, position, neighbour)


@kernel
def sum_energies(biases, parity, spins, halves, sums, energies):  # type: ignore[no-untyped-def]
    """½ Σ s·(f + h) of each lane into ``energies``; ``sums`` (lanes,), int32 for int8 and int16
    lanes, float64 for the others, is room for parts of them.
    """
    unit = sums.dtype.type
    energies[:] = 0.0
    for start in range(0, spins.shape[0], SUM_ROWS):
        sums[:] = 0
        for i in range(start, min(start + SUM_ROWS, spins.shape[0])):
            spin, half = spins[i], halves[i]
            rest = unit(biases[i]) + unit(parity[i])
            for lane in range(sums.size):
                sums[lane] += unit(spin[lane]) * (unit(2) * unit(half[lane]) + rest)
        for lane in range(sums.size):
            energies[lane] += 0.5 * np.float64(sums[lane])


@kernel
def exchange(betas, energies, slots, first, accepted, state):  # type: ignore[no-untyped-def]
    """Swap neighbours t and t + 1 for t = first, first + 2, … with probability min(1,
    exp((β' − β)(E' − E))).

    These probabilities are added to ``accepted`` (temperatures − 1,), the mean over the chains.
    Even and odd pairs in turn carry replicas along the ladder faster than pairs at random (Syed et
    al. 2022).
    """
    chains = slots.shape[1]
    for t in range(first, betas.size - 1, 2):
        for c in range(chains):
            hot, cold = slots[t, c], slots[t + 1, c]
            gain = (betas[t + 1] - betas[t]) * (energies[cold] - energies[hot])
            probability = 1.0 if gain >= 0 else math.exp(gain)
            accepted[t] += probability / chains
            if uniform(state) < probability:
                slots[t, c], slots[t + 1, c] = cold, hot


@kernel
def exchange_components(  # type: ignore[no-untyped-def]
    indptr, indices, weights, biases, symmetric, beta, one, one_lane, two, two_lane, room, state
):  # fmt: skip
    """Swap between two replicas components of the spins in which they differ.

    ``one`` and ``two`` (n,) are words, a set bit of a lane is a spin that is down. Components of
    the graph induced on these spins do not touch, and each raises the energy of one replica by what
    the other's falls by. At one temperature swapping it is free (Houdayer 2001; Zhu, Ochoa &
    Katzgraber 2015); with ``beta``, the inverse temperature of one less that of two, it has the
    weight exp(−beta·rise) beside 1, and each is taken or left by heat bath. The components stay
    what they are, so the move is reversible. ``symmetric``: no bias, so the replicas may as well
    agree where they differ; of both the smaller set is taken. room: (3, n) int32. Returns what the
    energy of one rises by, the size of the largest component, of all, and the couplings read.
    """
    n = one.size
    member, stack, component = room[0], room[1], room[2]
    one_bit, two_bit = np.uint64(one_lane), np.uint64(two_lane)
    total = 0
    for i in range(n):
        member[i] = np.int32(((one[i] >> one_bit) ^ (two[i] >> two_bit)) & ONE)
        total += member[i]
    if symmetric and 2 * total > n:
        total = n - total
        for i in range(n):
            member[i] ^= 1
    risen, largest, work = 0.0, 0, 0
    for start in range(n):
        if member[start] != 1:
            continue
        member[start] = 2  # in the component at hand
        stack[0] = start
        height, size = 1, 0
        while height:
            height -= 1
            i = stack[height]
            component[size] = i
            size += 1
            for edge in range(indptr[i], indptr[i + 1]):
                j = indices[edge]
                if member[j] == 1:
                    member[j] = 2
                    stack[height] = j
                    height += 1
        rise = 0.0
        for k in range(size):
            i = component[k]
            field = np.float64(biases[i])
            for edge in range(indptr[i], indptr[i + 1]):
                j = indices[edge]
                if member[j] != 2:
                    spin = 1.0 - 2.0 * np.float64((one[j] >> one_bit) & ONE)
                    field += np.float64(weights[edge]) * spin
            rise -= 2.0 * (1.0 - 2.0 * np.float64((one[i] >> one_bit) & ONE)) * field
            work += indptr[i + 1] - indptr[i]
        largest = max(largest, size)
        take = uniform(state) * (1.0 + math.exp(min(beta * rise, 700.0))) < 1.0
        for k in range(size):
            i = component[k]
            member[i] = 0
            if take:
                one[i] ^= ONE << one_bit
                two[i] ^= ONE << two_bit
        if take:
            risen += rise
    return risen, largest, total, work


@kernel
def exchange_clusters(  # type: ignore[no-untyped-def]
    indptr, indices, weights, biases, symmetric, start, spins, halves,
    betas, mixing, slots, energies, words, room, sizes, state,
):  # fmt: skip
    """Components swapped between chains at one temperature, then between neighbours in the ladder.

    mixing (temperatures,): where. spins, halves (rows, n, lanes); words (rows, n) uint64 is room.
    sizes (temperatures, 3) gets the spins in the largest component, in all of them, and the
    couplings read, for each temperature's own pairs.
    """
    rows, n, lanes = spins.shape
    chains = slots.shape[1]
    zero = vector.splat(weights.dtype.type(0))
    for row in range(rows):
        own = spins[row]
        for i in range(n):
            words[row, i] = vector.bits(vector.above(zero, vector.load(own, i * lanes)))
    for apart in range(2):
        for t in range(betas.size - apart):
            if not (mixing[t] and mixing[t + apart]):
                continue
            for c in range(chains - 1):  # which chain is which at one temperature is a name
                other = c + next_below(state, chains - c)
                slots[t, c], slots[t, other] = slots[t, other], slots[t, c]
            for c in range(0, chains if apart else chains - 1, 2 - apart):
                one = slots[t, c]
                two = slots[t + 1, c] if apart else slots[t, c + 1]
                risen, largest, total, work = exchange_components(
                    indptr, indices, weights, biases, symmetric, betas[t] - betas[t + apart],
                    words[one // lanes], one % lanes, words[two // lanes], two % lanes, room, state,
                )  # fmt: skip
                energies[one] += risen
                energies[two] -= risen
                if not apart:
                    sizes[t, 0] += largest
                    sizes[t, 1] += total
                    sizes[t, 2] += work
    for row in range(rows):
        own = spins[row]
        for i in range(n):
            word = words[row, i]
            for lane in range(lanes):
                own[i, lane] = 1 - 2 * np.int32((word >> np.uint64(lane)) & ONE)
        halves[row] = start
        subtract_down(indptr, indices, weights, own, halves[row])


@kernel
def temper_lanes(  # type: ignore[no-untyped-def]
    indptr, indices, weights, parity, biases, symmetric, start, spins, halves, order, quantiles,
    largest, table, sums, num_rounds, num_sweeps, turn, period, temperatures, betas, mixing, slots,
    energies, means, accepted, words, room, sizes, best, state,
):  # fmt: skip
    """``num_rounds`` rounds of sweeps at ``temperatures`` and exchanges by ``betas``; the least
    energy.

    turn: number of the first round, or −1 for sweeps alone. Every ``period``-th round ends with
    cluster moves (0: none). means (temperatures,) adds up energies, accepted the probabilities of
    exchanges. best (n,) int8 is the state of least energy at the end of a round.
    """
    rows, n, lanes = spins.shape
    chains = slots.shape[1]
    of_lane = np.full(rows * lanes, np.float32(temperatures[-1]))
    odd = parity.any()
    least = np.inf
    for number in range(num_rounds):
        for t in range(betas.size):
            for c in range(chains):
                of_lane[slots[t, c]] = np.float32(temperatures[t])
        for row in range(rows):
            own = slice(row * lanes, (row + 1) * lanes)
            base = next_below(state, quantiles.size - 64 - TABLE_ROWS + 1)
            fill_lane_thresholds(quantiles, base, of_lane[own], largest, odd, table)
            sweep_lanes(
                indptr, indices, weights, parity, spins[row], halves[row], order, num_sweeps,
                table, state,
            )  # fmt: skip
            if largest == 0:
                halves[row] = start
                subtract_down(indptr, indices, weights, spins[row], halves[row])
            sum_energies(biases, parity, spins[row], halves[row], sums, energies[own])
        lane = np.argmin(energies)
        if energies[lane] < least:
            least = energies[lane]
            for i in range(n):
                best[i] = np.int8(spins[lane // lanes, i, lane % lanes])
        if turn < 0:
            continue
        add_means(energies, slots, means)
        exchange(betas, energies, slots, (turn + number) % 2, accepted, state)
        if period and (turn + number) % period == period - 1:
            exchange_clusters(
                indptr, indices, weights, biases, symmetric, start, spins, halves,
                betas, mixing, slots, energies, words, room, sizes, state,
            )  # fmt: skip
    return least


@kernel
def temper_rows(  # type: ignore[no-untyped-def]
    matrix, biases, spins, fields, quantiles, largest, table, num_rounds, num_sweeps, turn,
    temperatures, betas, slots, energies, means, accepted, best, state,
):  # fmt: skip
    """As :func:`temper_lanes` for one dense replica after the other, (replicas, width), without
    cluster moves: components of a dense graph are all or nothing.
    """
    least = np.inf
    for number in range(num_rounds):
        for t in range(betas.size):
            for c in range(slots.shape[1]):
                own = slots[t, c]
                dense_anneal(
                    matrix, spins[own : own + 1], fields[own : own + 1], quantiles,
                    temperatures[t : t + 1], num_sweeps, largest, table, state,
                )  # fmt: skip
                energy = 0.0
                for i in range(matrix.shape[0]):
                    field = np.float64(fields[own, i]) + np.float64(biases[i])
                    energy += 0.5 * np.float64(spins[own, i]) * field
                energies[own] = energy
                if energy < least:
                    least = energy
                    for i in range(matrix.shape[0]):
                        best[i] = np.int8(spins[own, i])
        if turn >= 0:
            add_means(energies, slots, means)
            exchange(betas, energies, slots, (turn + number) % 2, accepted, state)
    return least


@kernel
def add_means(energies, slots, means):  # type: ignore[no-untyped-def]
    """Add to ``means`` each temperature's mean energy over its chains."""
    for t in range(means.size):
        for c in range(slots.shape[1]):
            means[t] += energies[slots[t, c]] / slots.shape[1]


@kernel
def copy_lanes(spins, halves, sources, targets):  # type: ignore[no-untyped-def]
    """Lane targets[k] becomes a copy of sources[k]; spins, halves (rows, n, lanes)."""
    lanes = spins.shape[2]
    for i in range(spins.shape[1]):
        for k in range(sources.size):
            row, lane = targets[k] // lanes, targets[k] % lanes
            other, place = sources[k] // lanes, sources[k] % lanes
            spins[row, i, lane] = spins[other, i, place]
            halves[row, i, lane] = halves[other, i, place]
