"""Triangle inequalities a·X_ij + b·X_ik + ab·X_jk ≥ −1 of a matrix of correlations; rows (i, j, k,
a, b).
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def add_triangles(matrix, triangles, weights):  # type: ignore[no-untyped-def]
    """Add Σ_t w_t T_t to ``matrix``, ⟨T_t, X⟩ being the left side of the inequality."""
    for t in range(triangles.shape[0]):
        i, j, k, a, b = triangles[t]
        half = weights[t] / 2
        matrix[i, j] += a * half
        matrix[j, i] += a * half
        matrix[i, k] += b * half
        matrix[k, i] += b * half
        matrix[j, k] += a * b * half
        matrix[k, j] += a * b * half


@kernel
def triangle_sums(matrix, triangles):  # type: ignore[no-untyped-def]
    """The left side of each inequality."""
    sums = np.empty(triangles.shape[0])
    for t in range(triangles.shape[0]):
        i, j, k, a, b = triangles[t]
        sums[t] = a * matrix[i, j] + b * matrix[i, k] + a * b * matrix[j, k]
    return sums


@kernel
def most_violated(matrix, limit):  # type: ignore[no-untyped-def]
    """The inequalities whose left side is below ``limit``: (triangles, left sides)."""
    n = matrix.shape[0]
    rows, sums = np.empty((0, 5), np.int64), np.empty(0)
    for fill in (False, True):  # counted first, then written
        found = 0
        for i in range(n):
            for j in range(i):
                for k in range(j):
                    for a in (-1, 1):
                        for b in (-1, 1):
                            left = a * matrix[i, j] + b * matrix[i, k] + a * b * matrix[j, k]
                            if left < limit:
                                if fill:
                                    row = rows[found]
                                    row[0], row[1], row[2], row[3], row[4] = i, j, k, a, b
                                    sums[found] = left
                                found += 1
        if not fill:
            rows, sums = np.empty((found, 5), np.int64), np.empty(found)
    return rows, sums
