"""Energies of given states, in float64."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def sparse_energies(indptr, indices, weights, h, states):  # type: ignore[no-untyped-def]
    """h·s + ½ sᵀJs for each row of ``states`` (reads, n) int8."""
    energies = np.zeros(states.shape[0])
    for read in range(states.shape[0]):
        spins = states[read]
        total = 0.0
        for i in range(spins.size):
            field = 0.0
            for edge in range(indptr[i], indptr[i + 1]):
                field += weights[edge] * spins[indices[edge]]
            total += spins[i] * (h[i] + 0.5 * field)
        energies[read] = total
    return energies


@kernel
def dense_energies(matrix, h, states):  # type: ignore[no-untyped-def]
    """h·s + ½ sᵀJs for each row of ``states`` (reads, n) int8."""
    energies = np.zeros(states.shape[0])
    for read in range(states.shape[0]):
        spins = states[read].astype(np.float64)
        total = 0.0
        for i in range(spins.size):
            total += spins[i] * (h[i] + 0.5 * np.dot(matrix[i], spins))
        energies[read] = total
    return energies
