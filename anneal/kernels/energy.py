"""Energies of given states, in float64."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def sparse_energies(indptr, indices, weights, h, states):  # type: ignore[no-untyped-def]
    """h·s + ½ sᵀJs of each column of ``states`` (n, reads) int8; a neighbour's row is read once for
    all reads.
    """
    reads = states.shape[1]
    energies = np.zeros(reads)
    field = np.empty(reads)
    for i in range(states.shape[0]):
        field[:] = 0.0
        for edge in range(indptr[i], indptr[i + 1]):
            weight = weights[edge]
            neighbour = states[indices[edge]]
            for read in range(reads):
                field[read] += weight * neighbour[read]
        spins = states[i]
        for read in range(reads):
            energies[read] += spins[read] * (h[i] + 0.5 * field[read])
    return energies
