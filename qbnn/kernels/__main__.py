"""``python -m qbnn.kernels``: compile every kernel into its cache, so that nobody's first run waits
for it.
"""

from __future__ import annotations

import numpy as np

from qbnn.kernels import packed, poisson_binomial


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
    packed.mlp(words, packed.Stack.of([layer]))
    packed.conv2d(image, layer, channels=3, kernel_size=1)
    packed.flatten(image, 3)


if __name__ == "__main__":
    warm_up()
