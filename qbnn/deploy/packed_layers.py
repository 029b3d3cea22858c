"""Layers of bits as they are deployed: packed words and integer thresholds, without torch.

A hidden neuron fires iff K ≥ κ (or iff not), and batch normalisation is in the integer κ. Max
pooling of normalised counts becomes the or of what fires: the largest a′ of a window is at least 0
iff one a′ is. A first layer that reads numbers sums them with weights ±1 in float64; the values
2p − 1 of float32 p are multiples of 2⁻²⁴, so its sums are exact in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbnn.config import Stage
from qbnn.kernels import packed
from qbnn.kernels.packed import Words
from qbnn.kernels.popcount import WORD

Array = NDArray[Any]
Shape = tuple[int, int, int]
# Images whose windows a first layer of numbers lays out at once.
TILE = 128


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """One layer: weight bits, and when its neurons fire or what they add up to.

    ``shape``: channels, height and width that it reads. ``weight``: words (out, ⌈N/64⌉), the bits
    of a convolution in the order (kernel row, kernel column, channel). ``mask``: alike, 0 where a
    weight is 0, which is half an agreement: K = (a + N)/2, rounded down. ``kappa`` and ``flipped``,
    (out,), belong to hidden layers of bits; ``scale`` and ``shift``, (out,), to the head, which
    hands on scale·a + shift, and to a layer that reads numbers, which fires where that is ≥ 0.
    ``border`` is what pads numbers; bits are padded with 0.
    """

    stage: Stage
    shape: Shape
    weight: Words
    mask: Words | None = None
    kappa: Array | None = None
    flipped: Array | None = None
    scale: Array | None = None
    shift: Array | None = None
    border: float = 0.0

    @property
    def fan_in(self) -> int:
        """N, weights of 0 included."""
        kernel = self.stage.kernel
        return self.shape[0] * kernel**2 if kernel else math.prod(self.shape)

    @cached_property
    def spins(self) -> Array:
        """The weights as numbers −1, 0 and 1, (out, N)."""
        spins = 2.0 * packed.unpack(self.weight, self.fan_in) - 1
        return spins if self.mask is None else spins * packed.unpack(self.mask, self.fan_in)

    @cached_property
    def kernel(self) -> packed.Layer:
        """The layer as the compiled kernels want it; under a mask it reads each word twice.

        A weight of 0 is 0 in one copy and 1 in the other, so that it disagrees once, and any other
        never or twice: a = N − disagreements. With N′ bits in both copies' words, K ≥ κ iff there
        are N′ − 2N + 2κ agreements.
        """
        flipped = False if self.flipped is None else self.flipped
        if self.mask is None:
            return packed.Layer.of(self.weight, self.kappa, flipped, fan_in=self.fan_in)
        # A convolution reads whole words for every pixel.
        pixels = max(self.stage.kernel, 1) ** 2
        low, high = (
            packed.pack(packed.unpack(words, self.fan_in).reshape(len(words), pixels, -1))
            for words in (self.weight & self.mask, self.weight | ~self.mask)
        )
        words = np.concatenate([low, high], -1).reshape(len(low), -1)
        kappa = None
        if self.kappa is not None:
            kappa = words.shape[1] * WORD - 2 * self.fan_in + 2 * self.kappa.astype(np.int64)
        return packed.Layer.of(words, kappa, flipped, fan_in=words.shape[1] * WORD)

    def fires(self, words: Words, *, num_threads: int | None) -> Words:
        """Return the packed output bits of packed input bits, pooled where the stage pools."""
        stage = self.stage
        words = self._read(words)
        if not stage.kernel:
            return packed.dense(words, self.kernel, num_threads=num_threads)
        channels = self.shape[0] if self.mask is None else words.shape[-1] * WORD
        fired = packed.conv2d(
            words,
            self.kernel,
            channels=channels,
            kernel_size=stage.kernel,
            stride=stage.stride,
            padding=stage.padding,
            num_threads=num_threads,
        )
        return packed.or_pool(fired, stage.pool) if stage.pool > 1 else fired

    def sums(self, words: Words, *, num_threads: int | None) -> Array:
        """Return a = Σ w s of a dense layer over packed input bits, (batch, out)."""
        words = self._read(words)
        counts = packed.dense_counts(words, self.kernel, num_threads=num_threads)
        return self.sums_of(counts)

    def sums_of(self, counts: Array) -> Array:
        """Return a for the counts of the kernels."""
        if self.mask is None:
            return 2 * counts - self.fan_in
        return counts + (self.fan_in - self.kernel.fan_in)

    def fires_at(self, values: Array) -> Words:
        """Return the packed output bits of numbers (batch, C, H, W), pooled likewise."""
        assert self.scale is not None and self.shift is not None
        parts = []
        for start in range(0, max(len(values), 1), TILE):
            sums = self.sums_at(values[start : start + TILE])
            parts.append(packed.pack(self.scale.astype(np.float64) * sums + self.shift >= 0))
        fired = np.concatenate(parts)
        return packed.or_pool(fired, self.stage.pool) if self.stage.pool > 1 else fired

    def sums_at(self, values: Array) -> Array:
        """Return a = Σ w x of numbers, (batch, out) or (batch, rows, columns, out)."""
        stage = self.stage
        values = values.astype(np.float64)
        if not stage.kernel:
            return values.reshape(len(values), self.fan_in) @ self.spins.T
        edge = (stage.padding, stage.padding)
        values = np.pad(values, ((0, 0), (0, 0), edge, edge), constant_values=self.border)
        windows = np.lib.stride_tricks.sliding_window_view(values, (stage.kernel,) * 2, (2, 3))
        windows = windows[:, :, :: stage.stride, :: stage.stride].transpose(0, 2, 3, 4, 5, 1)
        found: Array = windows.reshape(*windows.shape[:3], self.fan_in) @ self.spins.T
        return found

    def affine(self, sums: Array) -> NDArray[np.float32]:
        """Return scale·a + shift, rounded once."""
        assert self.scale is not None and self.shift is not None
        return (self.scale.astype(np.float64) * sums + self.shift).astype(np.float32)

    def _read(self, words: Words) -> Words:
        return words if self.mask is None else np.concatenate([words, words], -1)
