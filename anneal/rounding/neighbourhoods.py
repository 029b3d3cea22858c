"""Large-neighbourhood search: a few weights at a time are solved anew, all others fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.kernels import levels as kernels
from anneal.kernels.threads import over_rows
from anneal.rounding.annealing import anneal
from anneal.rounding.descent import flip, worth
from anneal.rounding.factors import factorise
from anneal.rounding.grids import Floats
from anneal.rounding.planes import WIDTH, beam
from anneal.rounding.rows import LayerRows, Levels

SIZE = 64
TINY = 1e-9  # share of the mean diagonal that makes a part of a singular Hessian definite
SOLVE = 30.0  # microseconds that a sub-problem costs


def lns(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    width: int = WIDTH,
    size: int = SIZE,
    num_sweeps: int = 1000,
    num_rounds: int = 1,
    sub_width: int = 8,
) -> Levels:
    """Anneal from ``start``, or from a beam, then search neighbourhoods of ``size`` weights.

    Annealing finds the lower costs where a row is long, neighbourhoods where the Hessian is nearly
    singular. These are drawn once for all rows of a group, so their factors are shared; each is
    the weights that interact most with one of them, or any. A round has as many as cover every
    weight four times. It never ends worse than it began.
    """
    if start is None:
        start = beam(rows, rng=rng, num_threads=num_threads, width=width)
    levels = anneal(rows, rng=rng, start=start, num_threads=num_threads, num_sweeps=num_sweeps)
    size = min(size, rows.fan_in)
    low, high = rows.lower.astype(np.float64), rows.upper.astype(np.float64)
    for _ in range(num_rounds):
        found, slopes = levels.astype(np.float64), rows.gradients(levels)
        parts = sub_problems(rows.hessian, size, rng=rng)
        arrays = found, slopes, low, high, rows.hessian, rows.rows_per_group, worth(rows), *parts
        over_rows(
            lambda *part, arrays=arrays: kernels.neighbourhoods(*arrays, sub_width, *part),
            rows.num_rows,
            microseconds=parts[0].shape[1] * SOLVE,
            num_threads=num_threads,
        )
        levels = found.astype(np.int64)
    return flip(rows, rng=rng, start=levels, num_threads=num_threads)


def sub_problems(
    hessian: Floats, size: int, *, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[Any], Floats, NDArray[Any]]:
    """Return members, triangles, pivots and inverses, see the kernel ``neighbourhoods``."""
    num = -(-4 * hessian.shape[1] // size)
    members = np.stack([_members(matrix, size, num, rng=rng) for matrix in hessian])
    groups = np.arange(len(hessian))[:, None, None, None]
    inner = hessian[groups, members[..., :, None], members[..., None, :]]
    mean = np.einsum("gnii->gn", inner) / size
    ridge = np.where(mean > 0, TINY * mean, 1.0)
    inner = inner.reshape(-1, size, size) + ridge.reshape(-1, 1, 1) * np.eye(size)
    order, triangle, pivots = factorise(inner)
    members = np.take_along_axis(members.reshape(-1, size), order, 1)
    inner = np.take_along_axis(inner, order[:, :, None], 1)
    inverse = np.linalg.inv(np.take_along_axis(inner, order[:, None, :], 2))
    shape = len(hessian), num, size
    return (
        members.reshape(shape),
        triangle.reshape(*shape, size),
        pivots.reshape(shape),
        inverse.reshape(*shape, size),
    )


def _members(matrix: Floats, size: int, num: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the weights of each neighbourhood, (num, size); every second one is any weights."""
    n = len(matrix)
    scale = np.sqrt(np.maximum(np.diagonal(matrix), np.finfo(float).tiny))
    centers = rng.permutation(np.arange(num) % n)
    close = np.abs(matrix[centers]) / scale * (0.3 + rng.random((num, n)))
    close[np.arange(num), centers] = np.inf
    close[1::2] = rng.random((len(close[1::2]), n))
    return np.argpartition(-close, size - 1, 1)[:, :size]
