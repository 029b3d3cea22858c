"""Number partitioning: two heaps of numbers whose sums differ as little as can be."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges
from anneal.squares import Squares, joined


@dataclass(frozen=True, eq=False)
class NumberPartition(Problem):
    """Numbers; a solution is the heap of each, int8 −1 or +1.

    cost = (Σ_i a_i s_i)², the square of the difference, whole where the numbers are, and exact
    while the sum of their magnitudes is below 2²⁶. The model is that single square. Raises
    :class:`~anneal.errors.InputError` for no numbers, and where they are not finite or their sum
    has no finite square.

    >>> NumberPartition([1, 2, 4]).cost([1, 1, -1])
    1.0
    """

    values: NDArray[np.float64]
    best_known: float | None = None

    name: ClassVar[str] = "number-partition"
    small: ClassVar[Mapping[str, Any]] = {"num_values": 9, "num_bits": 5}

    def __post_init__(self) -> None:
        values = edges.read_only("values", self.values)
        if not values.size:
            raise InputError("values must hold at least one number")
        if not np.abs(values).sum() < 1e150:
            raise InputError("values are too large: the square of their sum is not finite")
        object.__setattr__(self, "values", values)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the spin model Σ_i a_i² + 2 Σ_ij a_i a_j s_i s_j, which couples every pair."""
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares]:
        """Return a model of nothing, and the square (Σ_i 2 a_i x_i − Σ_i a_i)² of bits x."""
        model = dimod.BinaryQuadraticModel(dimod.SPIN)
        model.add_linear_from((variable, 0.0) for variable in range(self.values.size))
        return model, Squares(2 * self.values[np.newaxis], float(self.values.sum()))

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return number → heap."""
        return as_sample(self.decode(solution), range(self.values.size))

    def decode(self, sample: Sample) -> Values:
        """Return the heaps in the order of the numbers."""
        return sample_values(sample, range(self.values.size), vartype=dimod.SPIN)

    def cost(self, solution: Solution) -> float:
        """Return the square of the difference of the sums."""
        return float(self.values @ self.decode(solution)) ** 2

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem, and the bits of the largest number for each number.

        Where that is below 1, about, a perfect partition is likely, and above it unlikely (Mertens
        1998).
        """
        largest = float(np.abs(self.values).max())
        bits = float(np.log2(1 + largest))
        return super().describe() | {"bits_per_number": bits / self.values.size}

    @classmethod
    def generate(cls, *, seed: Seed, num_values: int = 32, num_bits: int = 16) -> NumberPartition:
        """Return whole numbers, uniform in 1 … 2^num_bits.

        >>> NumberPartition.generate(seed=1, num_values=3, num_bits=2).values.tolist()
        [2.0, 3.0, 4.0]
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_values", num_values, least=1)
        bits = edges.whole("num_bits", num_bits, least=1, most=52)
        return cls(rng.integers(1, 2**bits, size=size, endpoint=True).astype(np.float64))
