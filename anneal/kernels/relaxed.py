"""A convex relaxation of rounding: quadratic, and linear from level to level of each weight."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def relax(  # type: ignore[no-untyped-def]
    target, lower, upper, matrices, diagonals, group, shifts, max_sweeps, tolerance, start, stop
):
    """Minimise yᵀMy + Σ d_i c_i(y_i) over y, q = target + y from lower to upper, weight by weight.

    c_i is y_i² at whole q_i and linear between. ``shifts``, (rows, n), hold y at the beginning and
    at the end: when no weight moves by more than ``tolerance``, or after ``max_sweeps``.
    """
    n = target.shape[1]
    gradient = np.empty(n)
    for row in range(start, stop):
        matrix, weights, y = matrices[row // group], diagonals[row // group], shifts[row]
        for i in range(n):
            gradient[i] = 0.0
            for j in range(n):
                gradient[i] += matrix[i, j] * y[j]
        for _ in range(max_sweeps):
            moved = 0.0
            for i in range(n):
                # Of yᵀMy, what is left of M y² + 2 slope·y when the other weights stay.
                curvature, weight, t = matrix[i, i], weights[i], target[row, i]
                low, high = lower[row, i], upper[row, i]
                slope = gradient[i] - curvature * y[i]
                if curvature <= 1e-12 * weight or low == high:
                    continue
                k = min(max(np.floor(t - slope / (curvature + weight)), low), high - 1)
                while True:
                    # Between k and k + 1, c rises by 2k + 1 − 2t for each level.
                    end = -(2 * slope + weight * (2 * k + 1 - 2 * t)) / (2 * curvature)
                    if end < k - t:
                        end = k - t
                        rise = 2 * (curvature * end + slope) + weight * (2 * k - 1 - 2 * t)
                        if k == low or rise <= 0:
                            break
                        k -= 1
                    elif end > k + 1 - t:
                        end = k + 1 - t
                        rise = 2 * (curvature * end + slope) + weight * (2 * k + 3 - 2 * t)
                        if k + 1 == high or rise >= 0:
                            break
                        k += 1
                    else:
                        break
                change = end - y[i]
                if change != 0:
                    y[i] = end
                    moved = max(moved, abs(change))
                    for j in range(n):
                        gradient[j] += change * matrix[i, j]
            if moved <= tolerance:
                break
