"""Which share of its range a row of weights is best rounded over."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def least_errors(weights, importance, scales, zeros, lowest, highest, best, start, stop):  # type: ignore[no-untyped-def]
    """Write for each row, (rows, n), which of the grids tried has the least squared error.

    scales, zeros: (rows, tried); of equal errors the last counts.
    """
    tried = scales.shape[1]
    errors = np.empty(tried)
    for row in range(start, stop):
        scale, zero = scales[row], zeros[row]
        errors[:] = 0.0
        for i in range(weights.shape[1]):
            weight, share = weights[row, i], importance[row, i]
            # Grid by grid, so that what adds up is in lanes.
            for t in range(tried):
                level = np.rint(weight / scale[t] + zero[t])
                level = min(max(level, lowest), highest)
                error = (level - zero[t]) * scale[t] - weight
                errors[t] += share * error * error
        for t in range(tried):
            if errors[t] <= errors[best[row]]:
                best[row] = t
