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
from anneal.rounding.samplers import sample
from anneal.solvers import get_solver

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
    sub_solver: str = "beam",
) -> Levels:
    """Anneal from ``start``, or from a beam, then search neighbourhoods of ``size`` weights.

    Annealing finds the lower costs where a row is long, neighbourhoods where the Hessian is nearly
    singular. These are drawn once for all rows of a group, so their factors are shared; each is
    the weights that interact most with one of them, or any. A round has as many as cover every
    weight four times. It never ends worse than it began. sub_solver: what solves them: ``beam`` of
    ``sub_width``, another rounder, or a solver of quadratic models, so any dimod sampler, by the
    name that :func:`anneal.solvers.get_solver` takes.
    """
    if start is None:
        start = beam(rows, rng=rng, num_threads=num_threads, width=width)
    levels = anneal(rows, rng=rng, start=start, num_threads=num_threads, num_sweeps=num_sweeps)
    size = min(size, rows.fan_in)
    round_rows = _rounder(sub_solver)
    low, high = rows.lower.astype(np.float64), rows.upper.astype(np.float64)
    for _ in range(num_rounds):
        if round_rows is not None:
            for members in _neighbourhoods(rows.hessian, size, rng=rng).swapaxes(0, 1):
                levels = _solved_anew(rows, levels, members, round_rows, rng=rng)
            continue
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


def _rounder(name: str) -> Any:
    """Return a rounder, or one that samples rows by a solver; None for the compiled beam."""
    from anneal.rounding import ROUNDERS, get_rounder

    if name == "beam":
        return None
    if name in ROUNDERS:
        return get_rounder(name)
    sampler = get_solver(name)()
    return lambda rows, *, rng, start: sample(rows, sampler, rng=rng)


def _solved_anew(
    rows: LayerRows,
    levels: Levels,
    members: NDArray[np.int64],
    round_rows: Any,
    *,
    rng: np.random.Generator,
) -> Levels:
    """Return the levels with the ``members``, (groups, size), solved anew, where that is better.

    With all others fixed the least over real weights is at q − H⁻¹g, g the gradient there.
    """
    size, groups = members.shape[1], np.arange(len(members))[:, None, None]
    inner = rows.hessian[groups, members[:, :, None], members[:, None, :]]
    mean = np.einsum("gii->g", inner) / size
    inner = inner + np.where(mean > 0, TINY * mean, 1.0)[:, None, None] * np.eye(size)
    index = np.repeat(members, rows.rows_per_group, 0)
    now, low, high = (
        np.take_along_axis(part, index, 1) for part in (levels, rows.lower, rows.upper)
    )
    slopes = np.take_along_axis(rows.gradients(levels), index, 1)
    grouped = slopes.reshape(len(members), -1, size).transpose(0, 2, 1)
    steps = np.linalg.solve(inner, grouped).transpose(0, 2, 1).reshape(now.shape)
    nothing = np.zeros(rows.num_rows)
    part = LayerRows(now - steps, inner, low, high, rows.weight, nothing)
    found = levels.copy()
    np.put_along_axis(found, index, round_rows(part, rng=rng, start=now), 1)
    return np.where((rows.costs(found) < rows.costs(levels))[:, None], found, levels)


def sub_problems(
    hessian: Floats, size: int, *, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[Any], Floats, NDArray[Any]]:
    """Return members, triangles, pivots and inverses, see the kernel ``neighbourhoods``."""
    members = _neighbourhoods(hessian, size, rng=rng)
    num = members.shape[1]
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


def _neighbourhoods(hessian: Floats, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the weights of a round of neighbourhoods, (groups, num, size)."""
    num = -(-4 * hessian.shape[1] // size)
    return np.stack([_members(matrix, size, num, rng=rng) for matrix in hessian])


def _members(matrix: Floats, size: int, num: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the weights of each neighbourhood, (num, size); every second one is any weights."""
    n = len(matrix)
    scale = np.sqrt(np.maximum(np.diagonal(matrix), np.finfo(float).tiny))
    centers = rng.permutation(np.arange(num) % n)
    close = np.abs(matrix[centers]) / scale * (0.3 + rng.random((num, n)))
    close[np.arange(num), centers] = np.inf
    close[1::2] = rng.random((len(close[1::2]), n))
    return np.argpartition(-close, size - 1, 1)[:, :size]
