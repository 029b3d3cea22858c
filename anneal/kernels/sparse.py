"""Replica lanes on a sparse graph: one row of 64 bytes holds one spin of 8 to 64 replicas.

State ``spins`` and half fields ``halves`` are arrays (n, lanes) of one type with 64 bytes a row:
int8, int16 or int32 where couplings are small integers, float32 or float64 elsewhere. The local
field f_i = h_i + Σ_j J_ij s_j of integers changes by even numbers alone, so it is kept as f_i =
2·g_i + p_i with a fixed parity p_i ∈ {0, 1}: int8 reaches ±252, and a flip of s_j changes g_i by
±J_ij. Floats have p = 0.

A spin is flipped where s·f + T·E/2 ≥ 0 with E ~ Exp(1), which is Metropolis' rule: flipping costs
−2·s·f, and exp(−ΔE/T) ≥ u exactly where ΔE ≤ T·E. With a = ⌊s·f/2⌋ that is a ≥ −⌊(T·E/2 + p)/2⌋ for
integers.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import OFFSET_SHIFT, next_below, next_word


@kernel
def subtract_down(indptr, indices, weights, spins, halves):  # type: ignore[no-untyped-def]
    """halves −= Σ_j J_ij over the j that are down: from ⌊(h_i + Σ_j J_ij)/2⌋, all spins up, to the
    half fields.
    """
    zero = vector.splat(weights.dtype.type(0))
    lanes = spins.shape[1]
    for i in range(spins.shape[0]):
        half = vector.load(halves, i * lanes)
        for edge in range(indptr[i], indptr[i + 1]):
            spin = vector.load(spins, np.int64(indices[edge]) * lanes)
            weight = vector.splat(weights[edge])
            half = vector.subtract(half, vector.select(vector.above(zero, spin), weight, zero))
        vector.store(halves, i * lanes, half)


@inlined
def fill_half_thresholds(quantiles, temperature, largest, odd, table):  # type: ignore[no-untyped-def]
    """table[p] = −⌊(T·E/2 + p)/2⌋ with T·E/2 clipped to ±largest where ``largest`` > 0 (integers),
    else −T·E/4.
    """
    half = np.float32(0.5 * temperature)
    quarter = np.float32(0.5)
    top = np.float32(largest)
    if largest > 0:
        for p in range(2 if odd else 1):
            parity = np.float32(p)
            for k in range(quantiles.size):
                bounded = max(-top, min(half * quantiles[k], top))
                table[p, k] = -np.int32(np.floor(quarter * (bounded + parity)))
    else:
        for k in range(quantiles.size):
            table[0, k] = -(quarter * half * quantiles[k])


@kernel
def sparse_anneal(  # type: ignore[no-untyped-def]
    indptr,
    indices,
    weights,
    parity,
    spins,
    halves,
    order,
    quantiles,
    temperatures,
    num_sweeps,
    largest,
    table,
    state,
):
    """``num_sweeps`` Metropolis sweeps at each temperature; returns flips over all lanes.

    Spins are visited as in ``order``, or at random where that is empty. ``table`` (2,
    quantiles.size) of the weights' type is room for the thresholds. Other quantiles than those of
    Exp(1) give other rules: those of the logistic distribution give Gibbs' (heat bath).
    """
    zero = vector.splat(weights.dtype.type(0))
    lanes = spins.shape[1]
    odd = parity.any()
    flips = 0
    for temperature in temperatures:
        fill_half_thresholds(quantiles, temperature, largest, odd, table)
        for _ in range(num_sweeps):
            for visit in range(spins.shape[0]):
                i = np.int64(order[visit]) if order.size else next_below(state, spins.shape[0])
                offset = np.int64(next_word(state) >> OFFSET_SHIFT) + parity[i] * table.shape[1]
                spin = vector.load(spins, i * lanes)
                half = vector.load(halves, i * lanes)
                down = vector.above(zero, spin)
                mirror = vector.splat(weights.dtype.type(-parity[i]))
                aligned = vector.select(down, vector.subtract(mirror, half), half)
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
                    neighbour = vector.load(halves, position)
                    neighbour = vector.add(neighbour, vector.select(rising, weight, zero))
                    neighbour = vector.subtract(neighbour, vector.select(falling, weight, zero))
                    vector.store(halves, position, neighbour)
    return flips


@kernel
def lane_energies(biases, parity, spins, halves):  # type: ignore[no-untyped-def]
    """½ Σ s·(f + h) of each lane, in float64."""
    energies = np.zeros(spins.shape[1])
    for i in range(spins.shape[0]):
        odd = np.float64(parity[i])
        for lane in range(spins.shape[1]):
            field = 2 * np.float64(halves[i, lane]) + odd + np.float64(biases[i, lane])
            energies[lane] += np.float64(spins[i, lane]) * field
    return energies / 2
