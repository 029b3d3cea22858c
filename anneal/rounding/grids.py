"""Grids of levels that weights are rounded to, and how wide their steps are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.kernels import shares as kernels
from anneal.kernels.threads import over_rows

Floats = NDArray[np.float64]
METHODS = ("minmax", "mse", "hessian")
# Shares of the range that are tried for the step with the least error.
SHRINKS = np.linspace(0.3, 1.0, 80)
MAX_BITS = 16
WEIGHT = 2e-3  # microseconds that one weight on one grid costs


@dataclass(frozen=True, eq=False)
class Grid:
    """Levels ``lowest`` … ``highest`` that stand for weights scale·(level − zero), row by row.

    scale, zero: (rows,). One bit has the levels 0 and 1 and zero ½: the weights are ±scale/2.
    """

    scale: Floats
    zero: Floats
    lowest: int
    highest: int

    def levels(self, weights: ArrayLike) -> Floats:
        """Return where weights, (rows, n), lie between the levels: numbers that are not whole."""
        return np.asarray(weights, np.float64) / self.scale[:, None] + self.zero[:, None]

    def weights(self, levels: ArrayLike) -> Floats:
        """Return what levels, (rows, n), stand for."""
        return (np.asarray(levels, np.float64) - self.zero[:, None]) * self.scale[:, None]

    def nearest(self, weights: ArrayLike) -> Floats:
        """Return the weights rounded to the nearest level."""
        return self.weights(np.clip(np.rint(self.levels(weights)), self.lowest, self.highest))


def make_grid(
    weights: ArrayLike,
    bits: int,
    *,
    symmetric: bool = True,
    per_row: bool = True,
    method: str = "mse",
    importance: ArrayLike | None = None,
    num_threads: int = 1,
) -> Grid:
    """Return a grid of 2^bits levels for weights, (rows, n), with a step for each row or for all.

    ``symmetric``: levels −2^(b−1) … 2^(b−1) − 1 around zero; else 0 … 2^b − 1 with a whole zero
    point, so that 0 is a level. ``method``: the range is that of the weights (``minmax``), or the
    share of it with the least squared error of the nearest levels (``mse``), each weight counting
    by its ``importance`` for ``hessian``, (n,) or (rows, n): the Hessian's diagonal. Raises
    :class:`~anneal.errors.InputError` for weights that are not finite and bits not in 1 … 16.

    >>> make_grid([[-0.7, 0.2]], 3, method="minmax").nearest([[-0.7, 0.2]])
    array([[-0.7       ,  0.23333333]])
    """
    array = np.asarray(weights, np.float64)
    _check(array, bits, method, importance)
    rows = array if per_row else array.reshape(1, -1)
    share: Floats = np.ones_like(rows)
    if method == "hessian":
        share = np.broadcast_to(np.asarray(importance, np.float64), array.shape).reshape(rows.shape)
        share = np.ascontiguousarray(share)
    shrink = np.ones(len(rows))
    if method != "minmax":
        shrink = _best_shrinks(rows, share, bits, symmetric=symmetric, num_threads=num_threads)
    grid = _spanning(rows, bits, symmetric=symmetric, shrink=shrink)
    scale, zero = (np.broadcast_to(part, len(array)).copy() for part in (grid.scale, grid.zero))
    return Grid(scale, zero, grid.lowest, grid.highest)


def _best_shrinks(
    rows: Floats, share: Floats, bits: int, *, symmetric: bool, num_threads: int
) -> Floats:
    """Return of each row the share of its range with the least squared error."""
    tried = [
        _spanning(rows, bits, symmetric=symmetric, shrink=np.full(len(rows), shrink))
        for shrink in SHRINKS
    ]
    scales, zeros = (
        np.stack([getattr(grid, name) for grid in tried], 1) for name in ("scale", "zero")
    )
    ends = float(tried[0].lowest), float(tried[0].highest)
    best = np.zeros(len(rows), np.int64)
    over_rows(
        lambda *part: kernels.least_errors(rows, share, scales, zeros, *ends, best, *part),
        len(rows),
        microseconds=rows.shape[1] * len(SHRINKS) * WEIGHT,
        num_threads=num_threads,
    )
    return SHRINKS[best]


def _check(weights: Floats, bits: int, method: str, importance: ArrayLike | None) -> None:
    if weights.ndim != 2 or weights.size == 0:
        raise InputError(f"weights must have shape (rows, n), but have shape {weights.shape}")
    if not np.isfinite(weights).all():
        raise InputError("weights must be finite")
    if not 1 <= bits <= MAX_BITS:
        raise InputError(f"bits must be 1 … {MAX_BITS}, is {bits}")
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'; known: {', '.join(METHODS)}")
    if (method == "hessian") != (importance is not None):
        raise InputError("importance is wanted by the method 'hessian', and by no other")


def _spanning(rows: Floats, bits: int, *, symmetric: bool, shrink: Floats) -> Grid:
    """Return the grid over a share of each row's range."""
    if bits == 1:
        # ±m with the least squared error has m = mean abs(w); a share of twice that is tried.
        size = np.abs(rows).mean(1) * 2 * shrink / SHRINKS[len(SHRINKS) // 2]
        return Grid(_positive(size), np.full(len(rows), 0.5), 0, 1)
    if symmetric:
        lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        scale = _positive(np.abs(rows).max(1) * shrink / highest)
        return Grid(scale, np.zeros(len(rows)), lowest, highest)
    low = np.minimum(rows.min(1), 0) * shrink
    high = np.maximum(rows.max(1), 0) * shrink
    highest = 2**bits - 1
    scale = _positive((high - low) / highest)
    return Grid(scale, np.rint(-low / scale), 0, highest)


def _positive(scale: Floats) -> Floats:
    """Return the steps; a row of zeros has no scale of its own and gets 1."""
    return np.where(scale > 0, scale, 1.0)
