"""Stochastic max pooling of moments in one pass: of every window the site that wins goes on.

Arrays are float32 and flat: rows of ``width`` channels, a row for each pixel of (batch, height,
width) before pooling and of (batch, height // size, width // size) after it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anneal.kernels.compile import kernel
from anneal.kernels.lanes import absolute, constant, load_part, square_root, store_part
from anneal.kernels.vector import above, at_least, select

LANES = 16
Array = NDArray[np.float32]


@kernel
def pool(
    mean: Array,
    mean_step: int,
    variance: Array,
    variance_step: int,
    affine: Array,
    noise: Array,
    floor: float,
    shape: tuple[int, int],
    size: int,
    to_mean: Array,
    to_variance: Array,
    sites: Array,
    start: int,
    stop: int,
) -> None:
    """Write μ, V and the number of the site, row by row in its window, with the largest score.

    Score: scale·μ + shift + abs(scale)·√max(V, floor)·noise, without the last where ``noise`` is
    empty; affine: (2, channels), scale and shift. shape: height and width before pooling. Only the
    rows from ``start`` to ``stop`` of what is written.
    """
    channels = affine.shape[1]
    flat = affine.ravel()
    height, width = shape
    across, rows = width // size, (height // size) * (width // size)
    least = constant(floor)
    for row in range(start, stop):
        image, place = row // rows, row % rows
        first = (image * height + place // across * size) * width + place % across * size
        for c in range(0, channels, LANES):
            count = min(LANES, channels - c)
            scale, shift = load_part(flat, c, count), load_part(flat, channels + c, count)
            best = site = best_mean = best_variance = constant(0.0)
            for number in range(size * size):
                at = first + number // size * width + number % size
                mu = load_part(mean, at * mean_step + c, count)
                v = load_part(variance, at * variance_step + c, count)
                score = scale * mu + shift
                if noise.size > 0:
                    sigma = absolute(scale) * square_root(select(at_least(v, least), v, least))
                    score = score + sigma * load_part(noise, at * channels + c, count)
                if number == 0:
                    best, best_mean, best_variance = score, mu, v
                else:
                    wins = above(score, best)
                    best, site = select(wins, score, best), select(wins, constant(number), site)
                    best_mean = select(wins, mu, best_mean)
                    best_variance = select(wins, v, best_variance)
            store_part(to_mean, row * channels + c, count, best_mean)
            store_part(to_variance, row * channels + c, count, best_variance)
            store_part(sites, row * channels + c, count, site)


@kernel
def pool_backward(
    of_mean: Array,
    of_variance: Array,
    sites: Array,
    channels: int,
    shape: tuple[int, int],
    size: int,
    to_mean: Array,
    to_variance: Array,
    start: int,
    stop: int,
) -> None:
    """Write gradients of μ and V to every site of a window, zero to those that did not win."""
    height, width = shape
    across, rows = width // size, (height // size) * (width // size)
    zero, half = constant(0.0), constant(0.5)
    for row in range(start, stop):
        image, place = row // rows, row % rows
        first = (image * height + place // across * size) * width + place % across * size
        for c in range(0, channels, LANES):
            count = min(LANES, channels - c)
            site = load_part(sites, row * channels + c, count)
            mu = load_part(of_mean, row * channels + c, count)
            v = load_part(of_variance, row * channels + c, count)
            for number in range(size * size):
                at = (first + number // size * width + number % size) * channels + c
                won = above(half, absolute(site - constant(number)))
                store_part(to_mean, at, count, select(won, mu, zero))
                store_part(to_variance, at, count, select(won, v, zero))
