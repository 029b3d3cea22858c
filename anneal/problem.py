"""What every problem offers: a BQM, and the way from its solutions to samples and back."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.squares import Squares, joined

Sample: TypeAlias = Mapping[Any, int] | ArrayLike
Solution: TypeAlias = Any
Seed: TypeAlias = int | np.random.Generator | None
Values: TypeAlias = NDArray[np.int8]


class Problem(abc.ABC):
    """A minimisation problem that is solved as a BQM.

    A subclass is a frozen dataclass of instance data that checks itself where it is made. Its laws
    are :func:`anneal.testing.check_problem`: ``bqm().energy(encode(solution)) == cost(solution)``,
    offset included; ``split()`` adds up to ``bqm()``; ``decode(encode(solution))`` is ``solution``;
    ``decode`` takes any sample of ``bqm()``; a ground state of ``bqm()`` is feasible and decodes to
    a solution of least cost.
    """

    name: ClassVar[str] = "problem"
    """What the registry and :meth:`describe` call it."""

    small: ClassVar[Mapping[str, Any]] = {}
    """Parameters of :meth:`generate` that give at most 16 variables, for an exhaustive check."""

    @abc.abstractmethod
    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the energy to minimise, a new model that the caller may change."""

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares | None]:
        """Return what :meth:`bqm` is the sum of: a model, and constraints that stay squares."""
        return self.bqm(), None

    @abc.abstractmethod
    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the sample of :meth:`bqm` that stands for ``solution``."""

    @abc.abstractmethod
    def decode(self, sample: Sample) -> Solution:
        """Return a solution for any sample (a mapping, or values in the order of the variables).

        A sample that breaks a constraint is repaired, always in the same way.
        """

    @abc.abstractmethod
    def cost(self, solution: Solution) -> float:
        """Return the cost in the problem's own unit; the least is the best."""

    @classmethod
    @abc.abstractmethod
    def generate(cls, *, seed: Seed) -> Problem:
        """Return a random instance; subclasses add parameters, each with a default."""

    @property
    def best_known(self) -> float | None:
        """The least cost known, where somebody knows one."""
        return None

    def feasible(self, sample: Sample) -> bool:
        """Return whether ``sample`` breaks no constraint, so that its energy is the cost."""
        return True

    def describe(self) -> dict[str, Any]:
        """Return a few facts, each a number or a word."""
        model = self.bqm()
        return {
            "problem": self.name,
            "num_variables": model.num_variables,
            "num_interactions": model.num_interactions,
            "best_known": self.best_known,
        }

    def random_solution(self, rng: np.random.Generator) -> Solution:
        """Return a solution drawn with ``rng``, not necessarily a uniform one."""
        model = self.bqm()
        low = -1 if model.vartype is dimod.SPIN else 0
        bits = rng.integers(2, size=model.num_variables)
        return self.decode(np.where(bits == 1, 1, low))


Given: TypeAlias = tuple[dimod.BinaryQuadraticModel, dict[str, Squares]]


def models_of(problem: Problem) -> tuple[dimod.BinaryQuadraticModel, Given | None]:
    """Return the whole model, and what a sampler with the keyword ``squares`` takes instead of it:
    the model without constraints and the keyword, None where there are none.

    >>> from anneal.problems.assignment import Assignment
    >>> whole, apart = models_of(Assignment.generate(seed=1, num_facilities=4))
    >>> whole.num_interactions, apart[0].num_interactions
    (84, 36)
    """
    model, squares = problem.split()
    if squares is None:
        return model, None
    return joined(model.copy(), squares), (model, {"squares": squares})


def sample_values(
    sample: Sample, variables: Iterable[Hashable], *, vartype: dimod.Vartype
) -> Values:
    """Return ``sample`` as a new int8 array in the order of ``variables``.

    A mapping may hold more variables than asked for. Raises :class:`~anneal.errors.InputError`
    where a variable has no value, the number of values is another one, or a value is not of
    ``vartype``.

    >>> sample_values({"b": 1, "a": -1}, ["a", "b"], vartype=dimod.SPIN)
    array([-1,  1], dtype=int8)
    """
    order = variables if isinstance(variables, range) else list(variables)
    if isinstance(sample, Mapping):
        try:
            values = np.array([sample[variable] for variable in order])
        except KeyError as error:
            raise InputError(f"the sample has no value for variable {error}") from error
    else:
        values = np.asarray(sample)
    if values.shape != (len(order),):
        raise InputError(f"a sample must have shape ({len(order)},), but has shape {values.shape}")
    low = -1 if vartype is dimod.SPIN else 0
    if not np.all((values == low) | (values == 1)):
        raise InputError(f"every value must be {low} or 1")
    return values.astype(np.int8)


def as_sample(values: Values, variables: Iterable[Hashable]) -> dict[Hashable, int]:
    """Return the dict that dimod calls a sample.

    >>> as_sample(np.array([1, 0], dtype=np.int8), ["a", "b"])
    {'a': 1, 'b': 0}
    """
    return dict(zip(variables, values.tolist(), strict=True))
