"""``python -m qbnn.kernels``: compile every kernel into its cache, so that nobody's first run waits
for it.
"""

from __future__ import annotations

import numpy as np

from qbnn.kernels import (
    activation,
    packed,
    pair_moments,
    pair_weights,
    pixels,
    poisson_binomial,
    pooling,
)


def warm_up() -> None:
    """Run every kernel once, the count laws in both number types."""
    for dtype in (np.float32, np.float64):
        r = np.full((1, 3), 0.5, dtype)
        poisson_binomial.tail(r, 2)
        poisson_binomial.pmf(r)
        poisson_binomial.tail_gradient(r, 2)
    bits = np.ones((1, 1, 1, 3), np.uint8)
    image = packed.pack(bits)
    words = image.reshape(1, -1)
    layer = packed.Layer.of(words, kappa=2, fan_in=3)
    packed.dense(words, layer)
    packed.dense_counts(words, layer)
    stack = packed.Stack.of([layer])
    packed.mlp(words, stack)
    line, pixel = np.ones(1), np.ones((1, 3), np.float32)
    pixels.logits(pixel, stack.flat, stack.table, stack.last.fan_in, line, line, pixel[:, :1])
    packed.conv2d(image, layer, channels=3, kernel_size=1)
    packed.flatten(image, 3)
    latent = np.ones((1, 16), np.float32)
    angles, line = np.zeros((4, 1, 16), np.float32), np.zeros((2, 1, 32), np.float32)
    of_pairs = np.zeros((1, 3, 16, 16), np.float32)
    pair_weights.real4(latent, angles, of_pairs, 0, 1)
    pair_weights.real4_backward(latent, angles, of_pairs[0], latent.copy(), angles.copy(), 0, 1)
    window, read, given = (16, 1, 1, 1, 1, 0, 1, 1), line[0, 0].copy(), np.ones((1, 4), np.float32)
    mean, back = np.zeros((1, 16), np.float32), (given, given.copy(), of_pairs[0].copy())
    pair_moments.moments(read, 32, window, of_pairs, mean, mean.copy(), 0, 1, 0, 1)
    pair_moments.direct_backward(read, 32, of_pairs, *back, line[0].copy(), 0, 1)
    pair_moments.patches_backward(read, 32, window, of_pairs, *back, read.copy(), 0, 1)
    pair_weights.undeformed(latent, latent.copy(), latent.copy(), 0, 1)
    pair_weights.undeformed_backward(*[latent.copy() for _ in range(4)], 0, 1)
    row, pair, more = latent[0].copy(), line[0, 0], np.zeros((3, 16))
    shape = row, 16, row, 16
    activation.statistics(*shape, more, 0, 1)
    activation.statistics_backward(row, 16, row, row, angles[:3, 0].copy(), row, row, 16, 0, 1)
    activation.bits(*shape, line[:, 0, :16].copy(), 0.01, 0.0, True, pair, pair, 0, 1)
    activation.bits_backward(
        *shape, line[:, 0, :16].copy(), 0.01, True, pair, pair, row, row, more[:2], 0, 1
    )
    pooling.pool(*shape, line[:, 0, :16].copy(), row, 0.01, (1, 1), 1, row, row, row, 0, 1)
    pooling.pool_backward(row, row, row, 16, (1, 1), 1, row, row, 0, 1)


if __name__ == "__main__":
    warm_up()
