"""A lower bound of dense Ising problems: semidefinite, with triangle inequalities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize

from anneal.kernels.triangles import add_triangles, most_violated, triangle_sums

Floats = NDArray[np.float64]
LEVELS = (1e-1, 1e-2, 1e-3, 2e-4)  # of the penalty, in units of the mean eigenvalue
ROUNDS = 12  # of cuts
STEPS = 25  # of L-BFGS a round
VIOLATED = 0.02  # a triangle is worth adding
NEW_CUTS = 5  # a spin and round, at most


@dataclass
class Bound:
    """``value`` ≤ ½ sᵀCs for every s; ``matrix``: X, about the mean of s·sᵀ over the best states.

    multipliers, triangles, prices: where it was reached, to go on from.
    """

    value: float
    matrix: Floats
    multipliers: Floats
    triangles: NDArray[np.int64]
    prices: Floats


def bound(
    C: Floats,
    *,
    enough: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    start: Bound | None = None,
) -> Bound:
    """Bound ½ sᵀCs from below; C: (k, k) symmetric. Stops at ``enough``, or once ``stop`` is true.

    X ⪰ 0 with X_ii = 1 and 1 + a·X_ij + b·X_ik + ab·X_jk ≥ 0, a, b = ±1, are true of s·sᵀ, as is
    ‖X‖² = k². The dual Σy − Σz − ‖(−M)₊‖²/2α − αk²/2, M = ½C − Diag y − Σ z_t T_t, is a bound for
    every y, z ≥ 0 and α > 0 (Krislock, Malick and Roupin, 2014, section 2).

    >>> round(bound(np.array([[0.0, 1.0], [1.0, 0.0]])).value, 2)
    -1.0
    """
    k = len(C)
    scale = float(np.linalg.norm(C)) / math.sqrt(k) or 1.0
    C = C / scale
    if start is None:
        y = np.full(k, -np.abs(C).sum(axis=1).mean() / 2)
        best = Bound(-math.inf, np.eye(k), y, np.empty((0, 5), np.int64), np.empty(0))
        levels = list(LEVELS)
    else:
        best = Bound(-math.inf, start.matrix, start.multipliers / scale, start.triangles,
                     start.prices / scale)  # fmt: skip
        levels = list(LEVELS[2:])
    enough /= scale
    gained, level = math.inf, 0
    for turn in range(ROUNDS):
        level = min(turn, len(levels) - 1)
        before = best.value
        _ascend(C, levels[level], best, enough, stop)
        gained = best.value - before
        if best.value > enough or stop():
            break
        if level == len(levels) - 1 and math.isfinite(enough) and (
            best.value + gained * (ROUNDS - turn) < enough
        ):  # fmt: skip
            break
        _renew_triangles(best)
    best.value *= scale
    best.multipliers, best.prices = best.multipliers * scale, best.prices * scale
    return best


def _ascend(C: Floats, alpha: float, best: Bound, enough: float, stop: Callable[[], bool]) -> None:
    """Climb the dual from where ``best`` is, and write the highest point there."""
    k, triangles = len(C), best.triangles
    constant = alpha * k * k / 2

    def dual(point: Floats) -> tuple[float, Floats]:
        y, z = point[:k], point[k:]
        M = C / 2
        M[np.diag_indices(k)] -= y
        add_triangles(M, triangles, -z)
        values, vectors = eigh(M, check_finite=False, driver="evd")
        low = vectors[:, values < 0]
        X = (low * -values[values < 0]) @ low.T / alpha
        value = float(y.sum() - z.sum() - (values[values < 0] ** 2).sum() / (2 * alpha) - constant)
        slope = np.concatenate([1 - X.diagonal(), -1 - triangle_sums(X, triangles)])
        if value > best.value:
            best.value, best.matrix = value, X
            best.multipliers, best.prices = y.copy(), z.copy()
        return -value, -slope

    def look(_: Any) -> None:
        if best.value > enough or stop():
            raise StopIteration

    point = np.concatenate([best.multipliers, best.prices])
    limits = [(None, None)] * k + [(0, None)] * len(best.prices)
    options = {"maxiter": STEPS, "maxcor": 20}
    minimize(
        dual, point, jac=True, method="L-BFGS-B", bounds=limits, callback=look, options=options
    )


def _renew_triangles(best: Bound) -> None:
    """Drop the triangles without a price, and add those that X violates most."""
    k = len(best.matrix)
    held = best.prices > 1e-9
    best.triangles, best.prices = best.triangles[held], best.prices[held]
    X = best.matrix / np.sqrt(np.outer(d := best.matrix.diagonal().clip(1e-9), d))
    found, sums = most_violated(X, -1 - VIOLATED)
    if not len(found):
        return
    known = {tuple(row) for row in best.triangles.tolist()}
    order = np.argsort(sums)[: NEW_CUTS * k]
    new = [row for row in found[order].tolist() if tuple(row) not in known]
    if new:
        best.triangles = np.concatenate([best.triangles, np.array(new, np.int64)])
        best.prices = np.concatenate([best.prices, np.zeros(len(new))])
