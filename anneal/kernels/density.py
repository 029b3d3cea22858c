"""How full the bins of a grid are, and what field there is at cells. Lengths are in bins."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel


@inlined
def overlap(low, high, number):  # type: ignore[no-untyped-def]
    """How much of bin ``number`` is between ``low`` and ``high``."""
    return min(high, number + 1.0) - max(low, float(number))


@kernel
def add_area(x, y, width, height, share, bins):  # type: ignore[no-untyped-def]
    """Add the area of boxes with the middles x, y, (boxes,), times ``share``, to bins,
    (columns, rows).

    What lies outside of the grid is left out.
    """
    columns, rows = bins.shape
    for box in range(x.shape[0]):
        left, right = x[box] - width[box] / 2, x[box] + width[box] / 2
        low, top = y[box] - height[box] / 2, y[box] + height[box] / 2
        for column in range(max(0, int(np.floor(left))), min(columns, int(np.ceil(right)))):
            across = share[box] * overlap(left, right, column)
            for row in range(max(0, int(np.floor(low))), min(rows, int(np.ceil(top)))):
                bins[column, row] += across * overlap(low, top, row)


@kernel
def add_field(x, y, width, height, share, field, force):  # type: ignore[no-untyped-def]
    """Add to ``force``, (boxes,), the field over each box: Σ share · area in a bin · its field."""
    columns, rows = field.shape
    for box in range(x.shape[0]):
        left, right = x[box] - width[box] / 2, x[box] + width[box] / 2
        low, top = y[box] - height[box] / 2, y[box] + height[box] / 2
        total = 0.0
        for column in range(max(0, int(np.floor(left))), min(columns, int(np.ceil(right)))):
            across = overlap(left, right, column)
            for row in range(max(0, int(np.floor(low))), min(rows, int(np.ceil(top)))):
                total += across * overlap(low, top, row) * field[column, row]
        force[box] += share[box] * total
