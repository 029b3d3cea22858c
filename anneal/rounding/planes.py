"""Rounding one weight after the other, with what is still open making up for what was lost.

GPTQ (Frantar et al. 2022, arXiv:2210.17323) is Babai's nearest plane on the lattice of the Hessian
(Chen et al. 2025, arXiv:2507.18553); keeping several partial roundings is a K-best search.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky

from anneal.errors import InputError
from anneal.kernels import planes as kernels
from anneal.kernels.threads import over_rows
from anneal.rounding.factors import DAMPING, factorise, out_of_order, rows_in_order
from anneal.rounding.grids import Floats
from anneal.rounding.rows import LayerRows, Levels

STEP = 2.5e-4  # microseconds that deciding one weight costs for another and each kept rounding
WIDTH = 16


def gptq(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    order: str = "diagonal",
    damping: float = DAMPING,
) -> Levels:
    """Round by GPTQ's recursion: the triangle of the inverse Hessian spreads each error.

    It is here to be compared with: :func:`babai` gives the same levels by the lattice's formula.
    """
    damped = rows.damped(damping)
    factors = factorise(damped.hessian, order=order)
    target, lower, upper = rows_in_order(rows, factors.order)
    levels = np.empty_like(target)
    per = rows.rows_per_group
    for group, (matrix, taken) in enumerate(zip(damped.hessian, factors.order, strict=True)):
        inverse = np.linalg.inv(matrix[np.ix_(taken, taken)])
        upper_triangle = cholesky(inverse, lower=False)
        these = slice(group * per, (group + 1) * per)
        left = target[these].copy()
        for k in range(rows.fan_in):
            level = np.clip(np.rint(left[:, k]), lower[these, k], upper[these, k])
            error = (left[:, k] - level) / upper_triangle[k, k]
            left[:, k + 1 :] -= error[:, None] * upper_triangle[k, k + 1 :]
            levels[these, k] = level
    return out_of_order(levels, factors.order)


def babai(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    order: str = "diagonal",
    damping: float = DAMPING,
) -> Levels:
    """Round each weight to the nearest plane of the lattice, given those before it."""
    factors = factorise(rows.damped(damping).hessian, order=order)
    target, lower, upper = rows_in_order(rows, factors.order)
    transposed = np.ascontiguousarray(factors.triangle.transpose(0, 2, 1))
    levels = np.empty_like(target)
    arrays = target, lower, upper, transposed, rows.rows_per_group, levels
    over_rows(
        lambda *part: kernels.nearest_planes(*arrays, *part),
        rows.num_rows,
        microseconds=rows.fan_in**2 * STEP,
        num_threads=num_threads,
    )
    return out_of_order(levels, factors.order)


def beam(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    order: str = "pivot",
    damping: float = DAMPING,
    width: int = WIDTH,
) -> Levels:
    """Keep the ``width`` cheapest partial roundings from weight to weight (K-best).

    Raises :class:`~anneal.errors.InputError` for a width that is no multiple of 8.
    """
    if width < kernels.LANES or width % kernels.LANES:
        raise InputError(f"width must be a multiple of {kernels.LANES}, is {width}")
    factors = factorise(rows.damped(damping).hessian, order=order)
    target, lower, upper = rows_in_order(rows, factors.order)
    levels = np.empty_like(target)
    blocks = _in_blocks(factors.triangle)
    arrays = target, lower, upper, blocks, factors.pivots, rows.rows_per_group, width, levels
    over_rows(
        lambda *part: kernels.beam(*arrays, *part),
        rows.num_rows,
        microseconds=rows.fan_in**2 * STEP * width,
        num_threads=num_threads,
    )
    return out_of_order(levels, factors.order)


def _in_blocks(triangle: Floats) -> Floats:
    """Return the columns of triangles, (groups, n, n), a block of them after the other."""
    groups, n, _ = triangle.shape
    padded = np.zeros((groups, n, -(-n // kernels.BLOCK) * kernels.BLOCK))
    padded[:, :, :n] = triangle
    blocks = padded.reshape(groups, n, -1, kernels.BLOCK).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks)
