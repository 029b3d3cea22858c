"""All 2ⁿ states in Gray-code order: one spin flips a step, in every lane at once."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel

LANE_SPINS = 6  # the last six spins take their 64 values in 64 lanes


@kernel
def gray_code_minimum(matrix, biases, lane_bias, lane_energy, first, steps, energies, places):  # type: ignore[no-untyped-def]
    """Least energy of each lane over ``steps`` Gray codes of the low spins, from the ``first`` on.

    matrix: (k, k) couplings of the low spins, biases: (k,), lane_bias: (k, 64) what each lane's
    high spins add to them, lane_energy: (64,) the high spins' own energy. A step costs k + 64
    additions for 64 states, since the field of the low spins is shared. energies, places: (64,)
    receive the least energy and the number of its Gray code.
    """
    k = biases.size
    code = first ^ (first >> 1)
    spins = np.empty(k, np.float64)
    for i in range(k):
        spins[i] = 1.0 if (code >> i) & 1 else -1.0
    field = biases + np.dot(matrix, spins)
    base = 0.0
    for i in range(k):
        base += spins[i] * (field[i] + biases[i]) / 2
    energy = np.empty(64, np.float64)
    for lane in range(64):
        energy[lane] = lane_energy[lane] + base
        for i in range(k):
            energy[lane] += spins[i] * lane_bias[i, lane]
        energies[lane] = energy[lane]
        places[lane] = first
    for place in range(first + 1, first + steps):
        i = 0
        while not (place >> i) & 1:
            i += 1
        change = -2.0 * spins[i]
        shared = field[i]
        row = lane_bias[i]
        for lane in range(64):
            energy[lane] += change * (shared + row[lane])
            if energy[lane] < energies[lane]:
                energies[lane] = energy[lane]
                places[lane] = place
        spins[i] = -spins[i]
        column = matrix[i]
        for j in range(k):
            field[j] += change * column[j]
