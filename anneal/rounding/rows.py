"""The quadratic problem of rounding the rows of a layer that share its inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.problems.rounding import Rounding
from anneal.rounding.grids import Floats, Grid

Levels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LayerRows:
    """Rows of a layer, each to be rounded to levels q with the least cost.

    cost of a row: weight·(q − target)ᵀH(q − target) + constant, q whole in lower … upper (Nagel et
    al. 2020, arXiv:2004.10568, eq. 13, in units of the grid's step). target, lower, upper: (rows,
    n). hessian: (groups, n, n), symmetric and positive semidefinite; the rows of a group stand
    together. weight, constant: (rows,); weight is the square of the step.
    """

    target: Floats
    hessian: Floats
    lower: Levels
    upper: Levels
    weight: Floats
    constant: Floats

    def __post_init__(self) -> None:
        shape, groups = self.target.shape, len(self.hessian)
        if self.hessian.shape != (groups, *shape[1:] * 2) or groups == 0 or shape[0] % groups:
            raise InputError(
                f"hessian must have shape (groups, {shape[1]}, {shape[1]}) with groups that divide "
                f"the {shape[0]} rows, but has shape {self.hessian.shape}"
            )
        for name in ("target", "hessian", "weight", "constant"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"{name} must be finite")
        if (self.lower > self.upper).any():
            raise InputError("lower must not be above upper")

    @classmethod
    def of(
        cls,
        target: ArrayLike,
        hessian: ArrayLike,
        grid: Grid,
        *,
        around: ArrayLike | None = None,
        constant: ArrayLike = 0.0,
    ) -> LayerRows:
        """Return the problem of rounding real weights ``target``, (rows, n), to a grid.

        ``around``: real weights too; only the two levels around each of them are open, as AdaRound
        has it (§3.2), else all.

        >>> import numpy as np
        >>> rows = LayerRows.of([[0.4, 0.6]], np.eye(2)[None], Grid(np.ones(1), np.zeros(1), -4, 3))
        >>> rows.costs(rows.nearest())
        array([0.32])
        """
        levels = grid.levels(target)
        rows = cls(
            levels,
            np.ascontiguousarray(hessian, np.float64),
            np.full(levels.shape, grid.lowest),
            np.full(levels.shape, grid.highest),
            grid.scale**2,
            np.broadcast_to(np.asarray(constant, np.float64), len(levels)).copy(),
        )
        return rows if around is None else rows.around(grid.levels(around))

    def around(self, points: Floats) -> LayerRows:
        """Return the problem with the two levels around each of ``points``, (rows, n), alone."""
        below = np.floor(points)
        lower, upper = (
            np.clip(below + step, self.lower, self.upper).astype(np.int64) for step in (0, 1)
        )
        return replace(self, lower=lower, upper=upper)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.target)

    @property
    def fan_in(self) -> int:
        """n, how many weights a row has."""
        return int(self.target.shape[1])

    @property
    def rows_per_group(self) -> int:
        """How many rows share a Hessian."""
        return self.num_rows // len(self.hessian)

    def nearest(self) -> Levels:
        """Return every weight rounded to the nearest level."""
        rounded: Levels = np.clip(np.rint(self.target), self.lower, self.upper).astype(np.int64)
        return rounded

    def errors(self, levels: ArrayLike) -> Floats:
        """Return q − target, (rows, n), for whole levels within the bounds.

        Raises :class:`~anneal.errors.InputError` for others.
        """
        array = np.asarray(levels)
        if array.shape != self.target.shape:
            raise InputError(f"levels must have shape {self.target.shape}, have {array.shape}")
        if ((array < self.lower) | (array > self.upper) | (array != np.rint(array))).any():
            raise InputError("levels must be whole numbers from lower to upper")
        found: Floats = array - self.target
        return found

    def gradients(self, levels: ArrayLike) -> Floats:
        """Return H(q − target), (rows, n)."""
        errors = self.errors(levels).reshape(len(self.hessian), -1, self.fan_in)
        found: Floats = np.matmul(errors, self.hessian).reshape(self.target.shape)
        return found

    def costs(self, levels: ArrayLike) -> Floats:
        """Return the cost of each row, (rows,)."""
        products = np.einsum("ri,ri->r", self.errors(levels), self.gradients(levels))
        found: Floats = self.weight * np.maximum(products, 0.0) + self.constant
        return found

    def damped(self, share: float) -> LayerRows:
        """Return the problem with ``share`` of the mean diagonal added to each Hessian's diagonal.

        What no input reaches (a zero on the diagonal) gets the mean too, so that factors exist.
        """
        mean = np.einsum("gii->g", self.hessian) / self.fan_in
        ridge = np.where(mean > 0, share * mean, 1.0)
        return replace(self, hessian=self.hessian + ridge[:, None, None] * np.eye(self.fan_in))

    def row(self, index: int) -> Rounding:
        """Return one row as a problem of its own."""
        group = index // self.rows_per_group
        return Rounding(
            self.target[index],
            self.hessian[group],
            self.lower[index],
            self.upper[index],
            float(self.weight[index]),
            float(self.constant[index]),
        )
