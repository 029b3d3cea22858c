"""One replica at a time on a dense graph: a row of 16 spins is tested at once, a flip adds one row
of J.

The 16 proposals of a row share nothing but their field: after each flip the fields are updated and
the spins behind it are tested anew, so the order of visits is exactly sequential. ``matrix`` is (n,
width) with width a multiple of the lanes, padded with zeros, in the narrowest type that holds J;
fields are int32, float32 or float64, padded with a value that never flips.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import OFFSET_SHIFT, next_word


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


@inlined
def add_row(row, twice, rising, fields):  # type: ignore[no-untyped-def]
    """fields += 2·row where the spin rises, −2·row where it falls; ``twice`` only gives the lanes'
    type.
    """
    lanes = 64 // fields.itemsize
    for start in range(0, fields.size, lanes):
        field = vector.load(fields, start)
        change = vector.load_as(row, start, twice)
        change = vector.add(change, change)
        if rising:
            vector.store(fields, start, vector.add(field, change))
        else:
            vector.store(fields, start, vector.subtract(field, change))


@kernel
def dense_fields(matrix, spins, fields):  # type: ignore[no-untyped-def]
    """fields += J·spins for each replica; spins (replicas, width) in the fields' type."""
    for replica in range(spins.shape[0]):
        for i in range(matrix.shape[0]):
            spin = spins[replica, i]
            for j in range(matrix.shape[1]):
                fields[replica, j] += spin * matrix[i, j]


@kernel
def dense_anneal(matrix, spins, fields, quantiles, temperatures, num_sweeps, largest, table, state):  # type: ignore[no-untyped-def]
    """``num_sweeps`` Metropolis sweeps of every replica at each temperature; returns the number of
    flips.
    """
    zero = vector.splat(spins.dtype.type(0))
    lanes = 64 // spins.itemsize
    flips = 0
    for temperature in temperatures:
        fill_thresholds(quantiles, temperature, largest, table)
        for replica in range(spins.shape[0]):
            spin = spins[replica]
            field = fields[replica]
            for _ in range(num_sweeps):
                for start in range(0, spin.size, lanes):
                    offset = np.int64(next_word(state) >> OFFSET_SHIFT)
                    threshold = vector.load(table, offset)
                    ahead = ~np.uint64(0)
                    while True:
                        s = vector.load(spin, start)
                        f = vector.load(field, start)
                        down = vector.above(zero, s)
                        aligned = vector.select(down, vector.subtract(zero, f), f)
                        word = vector.bits(vector.at_least(aligned, threshold)) & ahead
                        if word == 0:
                            break
                        lane = vector.trailing_zeros(word)
                        ahead = (~np.uint64(0) << np.uint64(lane)) << np.uint64(1)
                        i = start + lane
                        rising = spin[i] < 0
                        spin[i] = -spin[i]
                        flips += 1
                        add_row(matrix[i], zero, rising, field)
    return flips
