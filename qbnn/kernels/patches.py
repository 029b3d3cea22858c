"""What the outputs of a convolution read, copied side by side, and added back.

``line``: flat float32 memory of pixels ``step`` apart, φ of every channel and then χ. ``shape``:
channels, height, width, kernel size, stride, padding, and height and width of the output. A row is
an output pixel, and reads n = channels · size² bits, channels innermost; beyond the border these
are φ = −1 and χ = 0. In patches a row's φ and χ are ``apart``, and rows are ``patch`` apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.lanes import constant, load_part, store_part
from anneal.kernels.vector import add, load, store

LANES = 16
FEW = 4  # channels that are copied one by one
Array = NDArray[np.float32]
Shape = tuple[int, int, int, int, int, int, int, int]


@inlined
def patch_step(width: Any) -> Any:
    """How far apart rows of patches are: an odd number of cache lines, so that they spread."""
    return LANES * (2 * (width + LANES) // LANES + 1)


@kernel
def gather(
    line: Array, step: int, shape: Shape, row: int, count: int, into: Array, patch: int, apart: int
) -> None:
    """Copy what the rows from ``row`` on read: φ to ``into``, ``patch`` apart, χ ``apart`` on."""
    channels, height, width, size, stride, padding, tall, wide = shape
    for r in range(count):
        image, pixel = (row + r) // (tall * wide), (row + r) % (tall * wide)
        top, left = pixel // wide * stride - padding, pixel % wide * stride - padding
        to = r * patch
        for y in range(top, top + size):
            for x in range(left, left + size):
                at = ((image * height + y) * width + x) * step
                inside = 0 <= y < height and 0 <= x < width
                if channels < FEW:
                    for c in range(channels):
                        into[np.uint64(to + c)] = line[np.uint64(at + c)] if inside else -1
                        coherence = line[np.uint64(at + channels + c)] if inside else 0
                        into[np.uint64(to + apart + c)] = coherence
                else:
                    _copy(line, at, inside, channels, into, to, constant(-1.0))
                    _copy(line, at + channels, inside, channels, into, to + apart, constant(0.0))
                to += channels


@inlined
def _copy(line: Any, at: Any, inside: Any, channels: Any, into: Any, to: Any, beyond: Any) -> Any:
    for c in range(0, channels, LANES):
        value = beyond
        if inside:
            value = load_part(line, at + c, min(LANES, channels - c))
        store(into, to + c, value)


@kernel
def scatter(
    back: Array, patch: int, apart: int, shape: Shape, row: int, count: int, to_line: Array
) -> None:
    """Add what came back to the patches of rows to the pixels that they read."""
    channels, height, width, size, stride, padding, tall, wide = shape
    for r in range(count):
        image, pixel = (row + r) // (tall * wide), (row + r) % (tall * wide)
        top, left = pixel // wide * stride - padding, pixel % wide * stride - padding
        at = r * patch
        for y in range(top, top + size):
            for x in range(left, left + size):
                if 0 <= y < height and 0 <= x < width:
                    to = ((image * height + y) * width + x) * 2 * channels
                    for c in range(0, channels, LANES):
                        lanes = min(LANES, channels - c)
                        _add_part(to_line, to + c, lanes, load(back, at + c))
                        _add_part(to_line, to + channels + c, lanes, load(back, at + apart + c))
                at += channels


@inlined
def _add_part(into: Any, at: Any, lanes: Any, value: Any) -> Any:
    store_part(into, at, lanes, add(load_part(into, at, lanes), value))
