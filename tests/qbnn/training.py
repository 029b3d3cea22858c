"""Small sets and networks for tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from qbnn.config import make_config
from qbnn.data import Dataset, from_arrays
from qbnn.models import Network


def bars(count: int = 240, *, seed: int = 0) -> Dataset:
    """Images of 4×4 with a noisy bar, upright or level: two classes that are easily told."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.2, (count, 4, 4))
    labels = np.arange(count) % 2
    for image, label, place in zip(images, labels, rng.integers(0, 4, count), strict=True):
        bar = image[:, place] if label else image[place]
        bar += 0.8
    return from_arrays(images, labels, name="bars", seed=seed)


def small(architecture: str = "6C3-MP2-SM2", **values: Any) -> Network:
    shape = values.pop("in_shape", (1, 4, 4))
    config = {"architecture": architecture, "in_shape": shape, "seed": 1, **values}
    return Network(make_config(config))
