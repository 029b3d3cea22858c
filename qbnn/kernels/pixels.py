"""Dense networks of bits from pixels to logits in one call, which is what a single image wants."""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import kernel
from qbnn.kernels.popcount import WORD, fire_and_count

LANES = 16  # float32 of a row of lanes


@kernel
def threshold(values, words):  # type: ignore[no-untyped-def]
    """Set bit i of each row of words, 0 before, where value i of the row is ≥ ½."""
    flat, width = values.reshape(-1), values.shape[1]
    half = vector.splat(np.float32(0.5))
    for row in range(values.shape[0]):
        for i in range(0, width - LANES + 1, LANES):
            lanes = vector.bits(vector.at_least(vector.load(flat, row * width + i), half))
            words[row, i // WORD] |= lanes << np.uint64(i % WORD)
        for i in range(width - width % LANES, width):
            if values[row, i] >= 0.5:
                words[row, i // WORD] |= np.uint64(1) << np.uint64(i % WORD)


@kernel
def logits(values, flat, table, fan_in, scale, shift, out):  # type: ignore[no-untyped-def]
    """scale·(2K − N) + shift of the last layer, (rows, outputs), for pixels (rows, N).

    ``flat`` and ``table`` are those of :func:`qbnn.kernels.popcount.fire_and_count`; scale and
    shift are float64, so that the result is rounded once.
    """
    words = np.zeros((values.shape[0], (values.shape[1] + WORD - 1) // WORD), np.uint64)
    counts = np.empty(out.shape, np.int32)
    threshold(values, words)
    fire_and_count(words, flat, table, fan_in, counts)
    for row in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[row, c] = scale[c] * (2 * counts[row, c] - fan_in) + shift[c]
