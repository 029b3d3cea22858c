"""Binary layers on packed bits: 64 bits a word, agreement by exclusive-or and population count.

A vector of N bits is ⌈N/64⌉ uint64 words, bit i at position i mod 64 of word ⌊i/64⌋; the bits left
over are 0 in activations and weights, so they never differ. A neuron counts the agreements of its
weight bits with its input bits, K = N − popcount(w xor h), and fires iff K ≥ κ, or where it is
flipped iff not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.kernels.threads import over_rows
from qbnn.kernels import popcount
from qbnn.kernels.arguments import per_row
from qbnn.kernels.popcount import LANES, WORD

MICROSECONDS = 5e-4  # for a row of lanes and a word

Words = NDArray[np.uint64]


def pack(bits: ArrayLike) -> Words:
    """Return the words (…, ⌈N/64⌉) of bits (…, N), which are 0 or 1 of any type.

    >>> pack([0, 1, 1]).tolist()
    [6]
    """
    array = np.asarray(bits)
    array = array if array.dtype.kind in "biu" else array != 0
    octets = np.packbits(array, axis=-1, bitorder="little")
    missing = -octets.shape[-1] % 8
    if missing:
        octets = np.concatenate([octets, np.zeros((*octets.shape[:-1], missing), np.uint8)], -1)
    return octets.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, num_bits: int) -> NDArray[np.uint8]:
    """Return the bits (…, num_bits) of words (…, ⌈num_bits/64⌉).

    >>> unpack(pack([0, 1, 1]), 3).tolist()
    [0, 1, 1]
    """
    octets = np.ascontiguousarray(words, "<u8").view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=num_bits, bitorder="little")


@dataclass(frozen=True)
class Layer:
    """Neurons as the kernels want them; make one with :meth:`of`.

    rows: (⌈outputs/8⌉, 1 + words, 8). Row 0 of a block holds the most disagreements with which each
    of its eight neurons fires, the others its weight words.
    """

    rows: Words
    fan_in: int
    num_outputs: int

    @classmethod
    def of(
        cls,
        words: Words,
        kappa: ArrayLike | None = None,
        flipped: ArrayLike = False,
        *,
        fan_in: int,
    ) -> Layer:
        """Return the layer of weight words (outputs, ⌈fan_in/64⌉).

        κ and ``flipped`` are (outputs,) or one for all; without κ the layer only counts. A flipped
        neuron becomes one that is not: not K ≥ κ holds iff the complemented weights disagree in at
        most κ − 1 places. Raises :class:`~anneal.errors.InputError` where shapes do not fit.
        """
        words = np.asarray(words, np.uint64)
        _check_shape("words", words, (None, -(-fan_in // WORD)))
        num_outputs, num_words = words.shape
        counts = per_row("kappa", 0 if kappa is None else kappa, num_outputs, np.int64)
        counts = np.clip(counts, 0, fan_in + 1)
        inverse = per_row("flipped", flipped, num_outputs, np.bool_)
        valid = pack(np.ones(fan_in, bool))
        limits = np.where(inverse, counts - 1, fan_in - counts)
        rows = np.zeros((-(-num_outputs // LANES) * LANES, 1 + num_words), np.uint64)
        rows[:, 0] = np.int64(-1).view(np.uint64)  # neurons that are not there never fire
        rows[:num_outputs, 0] = limits.view(np.uint64)
        rows[:num_outputs, 1:] = np.where(inverse[:, None], ~words & valid, words & valid)
        blocks = rows.reshape(-1, LANES, 1 + num_words).transpose(0, 2, 1)
        return cls(np.ascontiguousarray(blocks), fan_in, num_outputs)


def dense(words: Words, layer: Layer, *, num_threads: int | None = None) -> Words:
    """Return the packed output bits (batch, ⌈outputs/64⌉) of input words (batch, words).

    >>> both = Layer.of(pack([[1, 1], [0, 1]]), kappa=2, fan_in=2)
    >>> unpack(dense(pack([[1, 1], [0, 0]]), both), 2).tolist()
    [[1, 0], [0, 0]]
    """
    words = _inputs(words, layer)
    out = np.zeros((len(words), -(-layer.num_outputs // WORD)), np.uint64)

    def work(start: int, stop: int) -> None:
        popcount.fire(
            words[start:stop], layer.rows.reshape(-1), 0, len(layer.rows), out[start:stop]
        )

    over_rows(work, len(words), microseconds=_microseconds(layer), num_threads=num_threads)
    return out


def dense_counts(
    words: Words, layer: Layer, *, num_threads: int | None = None
) -> NDArray[np.int32]:
    """Return the agreements K (batch, outputs) of input words (batch, words).

    Of a flipped neuron these are the agreements with its complemented weights, N − K.
    """
    words = _inputs(words, layer)
    out = np.empty((len(words), layer.num_outputs), np.int32)

    def work(start: int, stop: int) -> None:
        popcount.count(words[start:stop], layer.rows.reshape(-1), 0, layer.fan_in, out[start:stop])

    over_rows(work, len(words), microseconds=_microseconds(layer), num_threads=num_threads)
    return out


@dataclass(frozen=True)
class Stack:
    """Dense layers one after the other, for one compiled call; make one with :meth:`of`.

    flat: the rows of all. table: where each begins there and its number of blocks.
    """

    flat: Words
    table: NDArray[np.int64]
    first: Layer
    last: Layer

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Stack:
        """Raises :class:`~anneal.errors.InputError` where outputs and inputs do not meet."""
        if not layers:
            raise InputError("a stack needs at least one layer")
        for above, below in zip(layers[1:], layers[:-1], strict=True):
            if above.fan_in != below.num_outputs:
                raise InputError(
                    f"a layer of fan-in {above.fan_in} follows one of {below.num_outputs} outputs"
                )
        sizes = [layer.rows.size for layer in layers]
        starts = np.cumsum([0, *sizes[:-1]])
        table = np.array([[s, len(layer.rows)] for s, layer in zip(starts, layers, strict=True)])
        flat = np.concatenate([layer.rows.reshape(-1) for layer in layers])
        return cls(flat, table.astype(np.int64), layers[0], layers[-1])


def mlp(words: Words, stack: Stack, *, num_threads: int | None = None) -> NDArray[np.int32]:
    """Return the counts (batch, outputs) of the last layer, in one compiled call for all."""
    words = _inputs(words, stack.first)
    out = np.empty((len(words), stack.last.num_outputs), np.int32)
    arguments = (stack.flat, stack.table, stack.last.fan_in)

    def work(start: int, stop: int) -> None:
        popcount.fire_and_count(words[start:stop], *arguments, out[start:stop])

    each = stack.flat.size / LANES * MICROSECONDS
    over_rows(work, len(words), microseconds=each, num_threads=num_threads)
    return out


def conv2d(
    words: Words,
    layer: Layer,
    *,
    channels: int,
    kernel_size: int | tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    num_threads: int | None = None,
) -> Words:
    """Return the packed output bits (batch, rows, columns, ⌈outputs/64⌉) of a convolution.

    words: (batch, height, width, ⌈channels/64⌉), the bits of a pixel's channels. The weights of
    ``layer`` are packed in the order (kernel row, kernel column, channel). Padded positions hold
    bit 0 and count like any other, so the fan-in is the same everywhere.
    """
    kernel_size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    kh, kw = kernel_size
    words = np.ascontiguousarray(words, np.uint64)
    _check_shape("words", words, (None, None, None, -(-channels // WORD)))
    if layer.fan_in != kh * kw * channels:
        raise InputError(
            f"a layer of fan-in {layer.fan_in} does not fit {kh}×{kw} of {channels} channels"
        )
    batch, height, width, _ = words.shape
    out_height = (height + 2 * padding - kh) // stride + 1
    out_width = (width + 2 * padding - kw) // stride + 1
    if stride < 1 or padding < 0 or out_height < 1 or out_width < 1:
        raise InputError(
            f"no {kh}×{kw} kernel with stride {stride} and padding {padding} fits an image of "
            f"{height}×{width}"
        )
    num_outputs = -(-layer.num_outputs // WORD)
    out = np.zeros((batch, out_height * out_width, num_outputs), np.uint64)
    shape = np.array([channels, kh, kw, stride, padding, out_width])

    def work(start: int, stop: int) -> None:
        popcount.convolve(words[start:stop], layer.rows, shape, out[start:stop])

    each = out.shape[1] * _microseconds(layer)
    over_rows(work, batch, microseconds=each, num_threads=num_threads)
    return out.reshape(batch, out_height, out_width, num_outputs)


def flatten(words: Words, channels: int) -> Words:
    """Return the words (batch, ⌈height·width·channels/64⌉) of images (batch, height, width, …).

    The bits are in the order (row, column, channel), without those left over in each pixel.
    """
    words = np.ascontiguousarray(words, np.uint64)
    _check_shape("words", words, (None, None, None, -(-channels // WORD)))
    batch, height, width, _ = words.shape
    out = np.zeros((batch, 1, -(-height * width * channels // WORD)), np.uint64)
    shape = np.array([channels, height, width, 1, 0, 1])
    for image, row in zip(words, out, strict=True):
        popcount.gather(image, shape, row)
    return out[:, 0]


def or_pool(words: Words, size: int, *, stride: int | None = None) -> Words:
    """Return the or of every window of ``size``×``size`` pixels, stride ``size`` unless given.

    Where a channel fires iff its normalised pre-activation a′ ≥ 0, the greatest a′ of a window is
    at least 0 iff one of its pixels fires: this is max pooling before the threshold.
    """
    stride = stride or size
    _check_shape("words", words, (None, None, None, None))
    rows, columns = ((extent - size) // stride + 1 for extent in words.shape[1:3])
    if size < 1 or stride < 1 or rows < 1 or columns < 1:
        raise InputError(f"no window of {size}×{size} fits an image of {words.shape[1:3]}")
    out = np.zeros((words.shape[0], rows, columns, words.shape[3]), np.uint64)
    for i in range(size):
        for j in range(size):
            out |= words[:, i : i + stride * rows : stride, j : j + stride * columns : stride][
                :, :rows, :columns
            ]
    return out


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        want in (None, have) for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if extent is None else str(extent) for extent in shape)
        raise InputError(f"argument '{name}' must have shape ({wanted}), but has {array.shape}")


def _inputs(words: Words, layer: Layer) -> Words:
    num_words = layer.rows.shape[1] - 1
    if words.ndim != 2 or words.shape[1] != num_words:
        _check_shape("words", words, (None, num_words))
    return np.ascontiguousarray(words, np.uint64)


def _microseconds(layer: Layer) -> float:
    return layer.rows.size / LANES * MICROSECONDS
