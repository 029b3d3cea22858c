"""Any binary quadratic model as a problem."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges, palubeckis


@dataclass(frozen=True, eq=False)
class Qubo(Problem):
    """A binary or spin model; a solution is the array of values in the order of its variables.

    The cost is the energy. ``model`` belongs to the problem: change a copy of it. Raises
    :class:`~anneal.errors.InputError` for a model without variables and for biases that are not
    finite.

    >>> import dimod
    >>> Qubo(dimod.BinaryQuadraticModel({"a": -1}, {("a", "b"): 2}, 3, "BINARY")).cost([1, 0])
    2.0
    """

    model: dimod.BinaryQuadraticModel
    best_known: float | None = None

    name: ClassVar[str] = "qubo"
    small: ClassVar[Mapping[str, Any]] = {"num_variables": 9, "density": 0.5}

    def __post_init__(self) -> None:
        if not isinstance(self.model, dimod.BinaryQuadraticModel):
            raise InputError(
                f"model must be a BinaryQuadraticModel, not {type(self.model).__name__}"
            )
        edges.whole("the number of variables", self.model.num_variables, least=1)
        vectors = self.model.to_numpy_vectors()
        for biases in (vectors.linear_biases, vectors.quadratic.biases, [self.model.offset]):
            edges.read_only("the model", biases)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return a copy of the model."""
        return copy.deepcopy(self.model)

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return variable → value."""
        return as_sample(self.decode(solution), self.model.variables)

    def decode(self, sample: Sample) -> Values:
        """Return the values in the order of the variables."""
        return sample_values(sample, self.model.variables, vartype=self.model.vartype)

    def cost(self, solution: Solution) -> float:
        """Return the energy."""
        values = self.decode(solution)
        return float(self.model.energies((values[np.newaxis], list(self.model.variables)))[0])

    @classmethod
    def generate(
        cls, *, seed: Seed, family: str = "beasley", num_variables: int = 100, density: float = 0.1
    ) -> Qubo:
        """Return xᵀQx with whole Q_ij of −100 … 100: a linear bias of every variable, and of a
        share ``density`` of all pairs a coupling, which is 2 Q_ij.

        ``family`` is ``beasley`` (as OR-Library's; Beasley 1998) or ``palubeckis``: the very
        instances p3000 … p7000 of Palubeckis (2004, 2006), negated as they are maximised.
        ``seed`` is then that of his generator, and ``best_known`` the best published value.

        >>> Qubo.generate(seed=1, num_variables=5, density=1.0).bqm().num_interactions
        10
        >>> Qubo.generate(seed=1, family="palubeckis", num_variables=3, density=1.0).bqm().linear
        {0: 100.0, 1: 56.0, 2: -36.0}
        """
        size = edges.whole("num_variables", num_variables, least=1)
        density = edges.number("density", density, least=0, most=1)
        if family == "palubeckis":
            return cls(*palubeckis.generate(size, density, seed))
        if family != "beasley":
            raise InputError(f"family must be beasley or palubeckis, not {family!r}")
        rng = np.random.default_rng(seed)
        i, j = edges.random_edges(size, density, rng=rng)
        # xᵀQx with a symmetric Q meets every pair twice.
        quadratic = 2.0 * rng.integers(-100, 101, size=i.size)
        linear = rng.integers(-100, 101, size=size).astype(np.float64)
        return cls(
            dimod.BinaryQuadraticModel.from_numpy_vectors(
                linear, (i, j, quadratic), 0.0, dimod.BINARY
            )
        )
