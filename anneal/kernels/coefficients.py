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
def multiples(values, unit):  # type: ignore[no-untyped-def]
    """Return whether all are multiples of ``unit``, to 10⁻¹², and the largest size.

    The latter only of those before a part of them that has others.
    """
    largest, inverse = 0.0, 1.0 / unit
    for start in range(0, values.size, 4096):
        others = 0
        for k in range(start, min(start + 4096, values.size)):
            size = abs(values[k])
            largest = max(largest, size)
            whole = np.rint(size * inverse)
            others += abs(size * inverse - whole) > 1e-12 * max(whole, 1.0)
        if others:
            return False, largest
    return True, largest


@kernel
def scale_rows(matrix, unit, whole, scaled):  # type: ignore[no-untyped-def]
    """scaled[:, :n] = matrix / unit, rounded to integers where ``whole``; of the type of
    ``scaled``.
    """
    inverse = 1.0 / unit
    for i in range(matrix.shape[0]):
        if whole:
            for j in range(matrix.shape[1]):
                scaled[i, j] = np.int32(np.rint(matrix[i, j] * inverse))
        else:
            for j in range(matrix.shape[1]):
                scaled[i, j] = matrix[i, j] / unit


@kernel
def row_sums(matrix):  # type: ignore[no-untyped-def]
    """Return of each row, (4, n): max |J_ij|, Σ_j |J_ij|, Σ_j J_ij² and how many are not 0."""
    found = np.zeros((4, matrix.shape[0]))
    for i in range(matrix.shape[0]):
        strongest, total, squares, count = 0.0, 0.0, 0.0, 0
        for j in range(matrix.shape[1]):
            size = abs(matrix[i, j])
            strongest = max(strongest, size)
            total += size
            squares += size * size
            count += size > 0
        found[0, i], found[1, i], found[2, i], found[3, i] = strongest, total, squares, count
    return found


@kernel
def fill_symmetric(matrix, i, j, values):  # type: ignore[no-untyped-def]
    """matrix[i, j] = matrix[j, i] = value of each pair."""
    for k in range(values.size):
        matrix[i[k], j[k]] = values[k]
        matrix[j[k], i[k]] = values[k]


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
