"""Replica lanes on a sparse graph: one row of 64 bytes holds one spin of 8 to 64 replicas.

State ``spins`` and local ``fields`` are arrays (n, lanes) of one type with 64 bytes a row: int8, int16 or int32 where
couplings are small integers, float32 or float64 elsewhere. Fields are kept incrementally. A spin is flipped where
s·f + ⌊T·E/2⌋ ≥ 0 with E ~ Exp(1), which is Metropolis' rule: flipping costs −2·s·f, and exp(−ΔE/T) ≥ u exactly where
ΔE ≤ T·E.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import OFFSET_SHIFT, next_below, next_word


@kernel
def add_couplings(indptr, indices, weights, spins, fields):  # type: ignore[no-untyped-def]
    """fields += J·spins, for all lanes."""
    zero = vector.splat(weights.dtype.type(0))
    lanes = spins.shape[1]
    for i in range(spins.shape[0]):
        field = vector.load(fields, i * lanes)
        for edge in range(indptr[i], indptr[i + 1]):
            weight = vector.splat(weights[edge])
            spin = vector.load(spins, np.int64(indices[edge]) * lanes)
            down = vector.above(zero, spin)
            signed = vector.select(down, vector.subtract(zero, weight), weight)
            field = vector.add(field, signed)
        vector.store(fields, i * lanes, field)


@inlined
def fill_thresholds(quantiles, temperature, largest, table):  # type: ignore[no-untyped-def]
    """table = −⌊T·E/2⌋ clipped to ±largest where ``largest`` > 0 (integers), −T·E/2 elsewhere."""
    half = np.float32(0.5 * temperature)
    top = np.float32(largest)
    if largest > 0:
        for k in range(table.size):
            table[k] = -np.int32(max(-top, min(np.floor(half * quantiles[k]), top)))
    else:
        for k in range(table.size):
            table[k] = -(half * quantiles[k])


@kernel
def sparse_anneal(  # type: ignore[no-untyped-def]
    indptr, indices, weights, spins, fields, order, quantiles, temperatures, num_sweeps, largest, table, state
):
    """``num_sweeps`` Metropolis sweeps at each temperature, spins visited as in ``order``; returns flips over all lanes.

    An empty ``order`` stands for as many visits of random spins.

    ``table`` is room for the thresholds: the type of the weights, the size of ``quantiles``. Other quantiles than those
    of Exp(1) give other rules: those of the logistic distribution give Gibbs' (heat bath).
    """
    zero = vector.splat(weights.dtype.type(0))
    lanes = spins.shape[1]
    flips = 0
    for temperature in temperatures:
        fill_thresholds(quantiles, temperature, largest, table)
        for _ in range(num_sweeps):
            for visit in range(spins.shape[0]):
                i = np.int64(order[visit]) if order.size else next_below(state, spins.shape[0])
                offset = np.int64(next_word(state) >> OFFSET_SHIFT)
                spin = vector.load(spins, i * lanes)
                field = vector.load(fields, i * lanes)
                down = vector.above(zero, spin)
                aligned = vector.select(down, vector.subtract(zero, field), field)
                accept = vector.at_least(aligned, vector.load(table, offset))
                word = vector.bits(accept)
                if word == 0:
                    continue
                flips += vector.count_ones(word)
                flipped = vector.select(accept, vector.subtract(zero, spin), spin)
                vector.store(spins, i * lanes, flipped)
                rising = vector.both(accept, down)
                falling = vector.differ(accept, rising)
                for edge in range(indptr[i], indptr[i + 1]):
                    position = np.int64(indices[edge]) * lanes
                    weight = vector.splat(weights[edge])
                    twice = vector.add(weight, weight)
                    neighbour = vector.load(fields, position)
                    neighbour = vector.add(neighbour, vector.select(rising, twice, zero))
                    neighbour = vector.subtract(neighbour, vector.select(falling, twice, zero))
                    vector.store(fields, position, neighbour)
    return flips


@kernel
def lane_energies(biases, spins, fields):  # type: ignore[no-untyped-def]
    """½ Σ s·(f + h) of each lane, in float64."""
    energies = np.zeros(spins.shape[1])
    for i in range(spins.shape[0]):
        for lane in range(spins.shape[1]):
            field = np.float64(fields[i, lane]) + np.float64(biases[i, lane])
            energies[lane] += np.float64(spins[i, lane]) * field
    return energies / 2
