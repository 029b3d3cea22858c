"""Rounding the weights of one neuron: a quadratic cost over whole numbers within bounds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges

Levels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rounding(Problem):
    """Whole levels q, lower … upper, near a real target; a solution is an int64 array, (n,).

    The cost is weight·(q − target)ᵀH(q − target) + constant (Nagel et al. 2020, arXiv:2004.10568,
    eq. 13). With two levels a weight is one bit; with more, a bit for each power of two and one for
    what remains, so that every sample is a solution. Raises :class:`~anneal.errors.InputError` for
    shapes that do not fit, numbers that are not finite and an H that is not symmetric.

    >>> row = Rounding([0.4, 0.6], [[1.0, 0.5], [0.5, 1.0]], [0, 0], [1, 1])
    >>> row.cost([1, 0])
    0.36
    """

    target: NDArray[np.float64]
    hessian: NDArray[np.float64]
    lower: Levels
    upper: Levels
    weight: float = 1.0
    constant: float = 0.0

    name: ClassVar[str] = "rounding"
    small: ClassVar[Mapping[str, Any]] = {"fan_in": 4, "num_levels": 4}

    def __post_init__(self) -> None:
        target = edges.read_only("target", self.target)
        hessian = edges.read_only("hessian", self.hessian, ndim=2)
        if hessian.shape != (target.size, target.size) or target.size == 0:
            raise InputError(
                f"hessian must have shape ({target.size}, {target.size}), has {hessian.shape}"
            )
        scale = np.abs(hessian).max()
        if not np.allclose(hessian, hessian.T, rtol=0, atol=1e-9 * scale):
            raise InputError("hessian must be symmetric")
        bounds = [_whole(name, getattr(self, name), target.size) for name in ("lower", "upper")]
        if (bounds[0] > bounds[1]).any():
            raise InputError("lower must not be above upper")
        for name, value in zip(
            ("target", "hessian", "lower", "upper"), (target, hessian, *bounds), strict=True
        ):
            object.__setattr__(self, name, value)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the cost over bits (weight, bit of its level)."""
        names, index, steps = self._bits()
        error = self.lower - self.target
        curved = self.weight * self.hessian[np.ix_(index, index)] * np.outer(steps, steps)
        linear = 2 * self.weight * steps * (self.hessian @ error)[index] + np.diag(curved)
        i, j = np.triu_indices(len(names), 1)
        offset = self.weight * float(error @ self.hessian @ error) + self.constant
        biases = 2 * curved[i, j]
        model = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, (i, j, biases), offset, dimod.BINARY
        )
        model.relabel_variables(dict(enumerate(names)))
        return model

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return (weight, bit) → value."""
        above = self._levels(solution) - self.lower
        names, index, steps = self._bits()
        values = np.zeros(len(names), np.int8)
        # The greatest steps first: what remains of a level fits into the lesser ones.
        for at in np.lexsort((-steps, index)):
            values[at] = above[index[at]] >= steps[at]
            above[index[at]] -= values[at] * int(steps[at])
        return as_sample(values, names)

    def decode(self, sample: Sample) -> Levels:
        """Return the levels."""
        names, index, steps = self._bits()
        values: Values = sample_values(sample, names, vartype=dimod.BINARY)
        levels = self.lower.copy()
        np.add.at(levels, index, values * steps.astype(np.int64))
        return levels

    def cost(self, solution: Solution) -> float:
        """Return weight·(q − target)ᵀH(q − target) + constant."""
        error = self._levels(solution) - self.target
        return float(self.weight * (error @ self.hessian @ error) + self.constant)

    @classmethod
    def generate(cls, *, seed: Seed, fan_in: int = 64, num_levels: int = 2) -> Rounding:
        """Return the row of a layer with correlated inputs that are not negative, as after a ReLU.

        >>> Rounding.generate(seed=1, fan_in=5).bqm().num_variables
        5
        """
        rng = np.random.default_rng(seed)
        fan_in = edges.whole("fan_in", fan_in, least=1)
        num_levels = edges.whole("num_levels", num_levels, least=2)
        mixing = rng.normal(size=(fan_in, max(fan_in // 2, 1))) / np.sqrt(fan_in)
        inputs = np.maximum(rng.normal(size=(4 * fan_in, mixing.shape[1])) @ mixing.T + 0.3, 0)
        inputs += 0.05 * rng.normal(size=inputs.shape)
        target = rng.uniform(0, num_levels - 1, fan_in)
        hessian = inputs.T @ inputs / len(inputs)
        lower = np.zeros(fan_in, np.int64)
        return cls(target, hessian, lower, lower + num_levels - 1)

    def _bits(self) -> tuple[list[Hashable], Levels, NDArray[np.float64]]:
        """Return the bits' names, which weight each belongs to, and by how much it lifts it."""
        names: list[Hashable] = []
        index, steps = [], []
        for i, span in enumerate((self.upper - self.lower).tolist()):
            step, number = 1, 0
            while span > 0:
                names.append((i, number))
                index.append(i)
                steps.append(min(step, span))
                span, step, number = span - step, 2 * step, number + 1
        return names, np.array(index, np.int64), np.array(steps, np.float64)

    def _levels(self, solution: Solution) -> Levels:
        levels = _whole("solution", solution, self.target.size)
        if ((levels < self.lower) | (levels > self.upper)).any():
            raise InputError("a level must lie from lower to upper")
        return levels.copy()


def _whole(name: str, values: ArrayLike, size: int) -> Levels:
    """Return whole numbers, (size,), as int64 that cannot be written."""
    array = np.asarray(values)
    if array.shape != (size,) or not np.isfinite(array).all() or (array != np.rint(array)).any():
        raise InputError(f"{name} must be {size} whole numbers, has shape {array.shape}")
    found = array.astype(np.int64)
    found.flags.writeable = False
    return found
