"""Hessians as triangles, in the order in which weights are decided."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.kernels import planes as kernels
from anneal.rounding.grids import Floats
from anneal.rounding.rows import LayerRows

ORDERS = ("diagonal", "natural", "pivot")
# Share of the mean diagonal that makes a singular Hessian definite. GPTQ's hundredth (Frantar et
# al. 2022, §3.3) is the ridge of the formulation: it belongs to the cost.
DAMPING = 1e-7


class Factors(NamedTuple):
    """H[order][:, order] = MᵀDM for each group: M, (groups, n, n), a unit lower triangle.

    order: (groups, n), the weight that is decided first, second, …; pivots: D, (groups, n).
    """

    order: NDArray[np.int64]
    triangle: Floats
    pivots: Floats


def factorise(hessian: Floats, *, order: str = "diagonal") -> Factors:
    """Return the factors of Hessians, (groups, n, n), which must be positive definite.

    ``diagonal``: the greatest diagonal first (GPTQ's act-order); ``natural``: as they stand;
    ``pivot``: last is what matters least given all others, and so on (Chen et al. 2025,
    arXiv:2507.18553). Raises :class:`~anneal.errors.InputError` where there is no factor: add a
    ridge by :meth:`anneal.rounding.rows.LayerRows.damped`.

    >>> factorise(np.array([[[2.0, 1.0], [1.0, 4.0]]])).order
    array([[1, 0]])
    """
    if order not in ORDERS:
        raise InputError(f"unknown order '{order}'; known: {', '.join(ORDERS)}")
    orders = _orders(hessian, order)
    taken = np.take_along_axis(hessian, orders[:, :, None], 1)
    taken = np.take_along_axis(taken, orders[:, None, :], 2)
    try:
        root = np.linalg.cholesky(taken[:, ::-1, ::-1])
    except np.linalg.LinAlgError:
        raise InputError("a Hessian is not positive definite; add a ridge") from None
    lower = np.ascontiguousarray(root[:, ::-1, ::-1].transpose(0, 2, 1))
    diagonal = np.einsum("gii->gi", lower).copy()
    return Factors(orders, lower / diagonal[:, :, None], diagonal**2)


def _orders(hessian: Floats, kind: str) -> NDArray[np.int64]:
    groups, n, _ = hessian.shape
    if kind == "natural":
        return np.tile(np.arange(n), (groups, 1))
    if kind == "diagonal":
        return np.argsort(-np.einsum("gii->gi", hessian), 1, kind="stable")
    found = np.empty((groups, n), np.int64)
    kernels.pivot_orders(hessian.copy(), found, 0, groups)
    if (found[:, 0] < 0).any():
        raise InputError("a Hessian is not positive definite; add a ridge")
    return found


def in_order(values: NDArray[Any], order: NDArray[np.int64]) -> Floats:
    """Return numbers of each weight, (rows, n), in the order of deciding, as float64."""
    index = np.repeat(order, len(values) // len(order), 0)
    return np.take_along_axis(values, index, 1).astype(np.float64)


def out_of_order(levels: Floats, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return levels, (rows, n), that stand in the order of deciding as they belong."""
    index = np.repeat(order, len(levels) // len(order), 0)
    found = np.empty(levels.shape, np.int64)
    np.put_along_axis(found, index, levels.astype(np.int64), 1)
    return found


def rows_in_order(rows: LayerRows, order: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Return target, lower and upper in the order of deciding."""
    target, lower, upper = (in_order(part, order) for part in (rows.target, rows.lower, rows.upper))
    return target, lower, upper
