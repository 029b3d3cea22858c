"""``python -m qbnn.kernels``: compile every kernel into its cache, so that nobody's first run waits
for it.
"""

from __future__ import annotations

import numpy as np

from qbnn.kernels import packed, pair_weights, pixels, poisson_binomial


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
    weights = [np.zeros((k, 1, 16), np.float32) for k in (1, 1, 4)]
    theta, x, angles = weights[0][0], weights[1][0], weights[2]
    powers = np.zeros((1, 32), np.float32), np.zeros((1, 64), np.float32)
    pair_weights.real4(theta, x, angles, *powers, np.zeros((2, 1, 16), np.float32))
    gradients = np.zeros((2, 1, 16), np.float32), angles.copy()
    pair_weights.real4_backward(theta, x, angles, *powers, np.zeros((2, 1), np.float32), *gradients)


if __name__ == "__main__":
    warm_up()
