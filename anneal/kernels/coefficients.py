"""Large arrays of coefficients, read once: what they are, and converted."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def survey(values, slots, count):  # type: ignore[no-untyped-def]
    """Return (number of distinct sizes ``|v|`` > 0, the largest, the least of them).

    values: (n,) float64. slots: (2^k,) uint64 that holds ``count`` sizes as they are in memory, 0
    elsewhere, and receives the others; once half of it is full, the number is −1.
    """
    words = values.view(np.uint64)
    size = np.uint64(0x7FFFFFFFFFFFFFFF)
    factor = np.uint64(0x9E3779B97F4A7C15)
    shift = np.uint64(64 - int(np.log2(slots.size)))
    last = np.uint64(0)
    largest, least = np.uint64(0), np.uint64(0x7FF0000000000000)  # 0 and infinity
    for word in words:
        word &= size
        if word == last or word == 0:
            continue
        last = word
        # The bits of positive floats are in the order of the floats.
        largest = max(largest, word)
        least = min(least, word)
        if count >= 0:
            place = np.int64((word * factor) >> shift)
            while slots[place] != 0 and slots[place] != word:
                place = (place + 1) & (slots.size - 1)
            if slots[place] == 0:
                slots[place] = word
                count += 1
                if 2 * count > slots.size:
                    count = -1
    ends = np.array([largest, least]).view(np.float64)
    return count, ends[0], ends[1]


@kernel
def scale_rows(matrix, unit, whole, scaled):  # type: ignore[no-untyped-def]
    """scaled[:, :n] = matrix / unit, rounded to integers where ``whole``; of the type of
    ``scaled``.
    """
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            value = matrix[i, j] / unit
            scaled[i, j] = np.rint(value) if whole else value


@kernel
def row_squares(matrix, unit):  # type: ignore[no-untyped-def]
    """Σ_j (J_ij / unit)² of each row."""
    found = np.zeros(matrix.shape[0])
    for i in range(matrix.shape[0]):
        total = 0.0
        for j in range(matrix.shape[1]):
            value = matrix[i, j] / unit
            total += value * value
        found[i] = total
    return found
