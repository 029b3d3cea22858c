"""The inner loops of binary layers: exclusive-or, population count and comparison over lanes.

Weights are kept eight neurons a row of lanes, so that a comparison gives eight output bits at once
and no sum runs across lanes. A block of eight neurons is (1 + words, 8) uint64: the most
disagreements with which each neuron fires, as a signed number, and below it the weight words. A
layer is its blocks, one after the other, in a flat array. Arrays of output bits are 0 before.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import kernel
from anneal.kernels.lanes import disagreements

WORD = 64
LANES = 8  # neurons of a row of lanes
GROUP = 4  # blocks that share the load of an input word
TILE = 64  # inputs that pass by a group while its weights are in the first cache


@kernel
def block_sums(word_row, flat, start):  # type: ignore[no-untyped-def]
    """Disagreements of an input with the eight neurons whose rows begin at ``start``."""
    total = vector.splat(np.uint64(0))
    for w in range(word_row.size):
        word = vector.splat(word_row[w])
        weights = vector.load(flat, start + (1 + w) * LANES)
        total = vector.add(total, disagreements(word, weights))
    return total


@kernel
def fire_four(words, flat, start, size, out, block):  # type: ignore[no-untyped-def]
    """The output bits of four blocks of eight neurons; ``size`` is a block's number of entries."""
    second, third, fourth = start + size, start + 2 * size, start + 3 * size
    shift = np.uint64(block % 8 * LANES)
    for row in range(words.shape[0]):
        s0 = s1 = s2 = s3 = vector.splat(np.uint64(0))
        for w in range(words.shape[1]):
            word = vector.splat(words[row, w])
            at = (1 + w) * LANES
            s0 = vector.add(s0, disagreements(word, vector.load(flat, start + at)))
            s1 = vector.add(s1, disagreements(word, vector.load(flat, second + at)))
            s2 = vector.add(s2, disagreements(word, vector.load(flat, third + at)))
            s3 = vector.add(s3, disagreements(word, vector.load(flat, fourth + at)))
        fired = vector.bits(vector.at_least(vector.load(flat, start), s0))
        fired |= vector.bits(vector.at_least(vector.load(flat, second), s1)) << np.uint64(8)
        fired |= vector.bits(vector.at_least(vector.load(flat, third), s2)) << np.uint64(16)
        fired |= vector.bits(vector.at_least(vector.load(flat, fourth), s3)) << np.uint64(24)
        out[row, block // 8] |= fired << shift


@kernel
def fire(words, flat, offset, num_blocks, out):  # type: ignore[no-untyped-def]
    """Set the output bits (rows, …) of a layer that begins at ``offset``."""
    size = (1 + words.shape[1]) * LANES
    for first in range(0, words.shape[0], TILE):
        tile, fired = words[first : first + TILE], out[first : first + TILE]
        for block in range(0, num_blocks - GROUP + 1, GROUP):
            fire_four(tile, flat, offset + block * size, size, fired, block)
        for block in range(num_blocks - num_blocks % GROUP, num_blocks):
            start = offset + block * size
            limits = vector.load(flat, start)
            for row in range(tile.shape[0]):
                lanes = vector.bits(vector.at_least(limits, block_sums(tile[row], flat, start)))
                fired[row, block // 8] |= lanes << np.uint64(block % 8 * LANES)


@kernel
def count(words, flat, offset, fan_in, out):  # type: ignore[no-untyped-def]
    """The agreements (rows, outputs) of a layer that begins at ``offset``."""
    size = (1 + words.shape[1]) * LANES
    sums = np.empty(LANES, np.uint64)
    for row in range(words.shape[0]):
        for first in range(0, out.shape[1], LANES):
            vector.store(sums, 0, block_sums(words[row], flat, offset + first // LANES * size))
            for lane in range(min(LANES, out.shape[1] - first)):
                out[row, first + lane] = fan_in - np.int64(sums[lane])


@kernel
def fire_and_count(words, flat, table, fan_in, out):  # type: ignore[no-untyped-def]
    """Counts of the last layer; a tile of inputs passes through all before the next begins."""
    last = table.shape[0] - 1
    for first in range(0, words.shape[0], TILE):
        bits = words[first : first + TILE]
        for index in range(last):
            begin, num_blocks = table[index]
            fired = np.zeros((bits.shape[0], (num_blocks + 7) // 8), np.uint64)
            fire(bits, flat, begin, num_blocks, fired)
            bits = fired
        count(bits, flat, table[last, 0], fan_in, out[first : first + TILE])


@kernel
def append(row, at, words):  # type: ignore[no-untyped-def]
    """Write words into a row from bit ``at`` on; bits left over are 0."""
    for c in range(words.size):
        index, shift = at // WORD + c, np.uint64(at % WORD)
        row[index] |= words[c] << shift
        if shift > 0:
            high = words[c] >> (np.uint64(WORD) - shift)
            if high:
                row[index + 1] |= high


@kernel
def gather(image, shape, out):  # type: ignore[no-untyped-def]
    """The bits under the kernel at every position, a row each."""
    channels, kh, kw, stride, padding, out_width = shape
    for position in range(out.shape[0]):
        top = position // out_width * stride - padding
        left = position % out_width * stride - padding
        for i in range(max(0, -top), min(kh, image.shape[0] - top)):
            for j in range(max(0, -left), min(kw, image.shape[1] - left)):
                at = (i * kw + j) * channels
                append(out[position], at, image[top + i, left + j])


@kernel
def convolve(images, rows, shape, out):  # type: ignore[no-untyped-def]
    """The output bits (images, positions, …)."""
    patches = np.empty((out.shape[1], rows.shape[1] - 1), np.uint64)
    for index in range(images.shape[0]):
        patches[:] = 0
        gather(images[index], shape, patches)
        fire(patches, rows.reshape(-1), 0, rows.shape[0], out[index])
