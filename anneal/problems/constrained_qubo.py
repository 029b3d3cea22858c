"""Any quadratic program of bits with linear constraints as a model with sufficient penalties."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse

from anneal.errors import InfeasibleError, InputError
from anneal.ising import integer_scale
from anneal.penalties import sufficient_penalty
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges
from anneal.problems.qubo import Qubo
from anneal.squares import Squares, joined

MOST_REACH = 10**6  # of a constraint's coefficients together: HiGHS tells such numbers apart


class WholeRows(NamedTuple):
    """Constraints right ≤ a·x ≤ right + span of whole numbers: (rows, n), (rows,), (rows,)."""

    matrix: sparse.csr_array
    right: NDArray[np.int64]
    span: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ConstrainedQubo(Problem):
    """A binary model and linear constraints; a solution is the bits that keep them, int8 (n,).

    cost = energy of ``model``. ``coefficients`` (rows, n), dense or sparse, ``right`` and ``equal``
    (rows,): a·x = right where equal, a·x ≥ right where not. Coefficients of a row must be multiples
    of one number, 10⁶ times of it together at most. Without a ``penalty`` P a sufficient one is
    taken (:func:`anneal.penalties.sufficient_penalty`). Raises
    :class:`~anneal.errors.InputError` for other numbers and
    :class:`~anneal.errors.InfeasibleError` where no bits keep all constraints, which HiGHS finds
    out.

    >>> import dimod
    >>> model = dimod.BinaryQuadraticModel({"a": -3, "b": -2}, {}, "BINARY")
    >>> one = ConstrainedQubo(model, [[-1, -1]], [-1], [False])  # a + b ≤ 1
    >>> one.decode([1, 0]).tolist(), one.bqm().num_variables
    ([1, 0], 2)
    """

    model: dimod.BinaryQuadraticModel
    coefficients: sparse.csr_array
    right: NDArray[np.float64]
    equal: NDArray[np.bool_]
    penalty: float | None = None
    best_known: float | None = None

    name: ClassVar[str] = "constrained"
    small: ClassVar[Mapping[str, Any]] = {"num_variables": 6, "num_constraints": 3}

    def __post_init__(self) -> None:
        Qubo(self.model)
        if self.model.vartype is not dimod.BINARY:
            raise InputError("the model must be of bits, not of spins")
        matrix = sparse.csr_array(self.coefficients, dtype=np.float64)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        right = edges.read_only("right", self.right)
        edges.read_only("coefficients", matrix.data)
        equal = np.array(self.equal, dtype=np.bool_)
        if matrix.shape != (right.size, self._size) or equal.shape != right.shape:
            raise InputError(
                f"coefficients must have shape (rows, {self._size}), right and equal (rows,), but "
                f"they have {matrix.shape}, {right.shape} and {equal.shape}"
            )
        for name, value in (("coefficients", matrix), ("right", right), ("equal", equal)):
            object.__setattr__(self, name, value)
        linear = self.model.to_numpy_vectors(self.model.variables).linear_biases
        start = self._nearest(np.asarray(linear, np.float64))
        given = self.penalty
        if given is None:
            feasible_energy = float(self.model.energies((start, list(self.model.variables)))[0])
            given = sufficient_penalty(self.model, feasible_energy=feasible_energy)
        object.__setattr__(self, "penalty", edges.positive("penalty", given))

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the model with a penalty of each constraint, its variables first, then slack bits.

        Equalities cost P (a·x − b)². Others are b ≤ a·x ≤ b + s, s the most that a·x may exceed b:
        where s = 1 they cost P d (d − 1)/2, d = a·x − b, which needs no slack, and otherwise
        P (d − Σ_k c_k y_k)², the bits y adding up to every number of 0 … s. A row that all bits
        keep costs nothing. Slack variables are named n, n+1, … where the others are 0 … n−1, and
        ("slack", row, k) elsewhere.
        """
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares | None]:
        """Return the model, and the squares of the constraints."""
        rows, penalty = self._rows, float(self.penalty or 0)
        model = self.model.copy()
        if not rows.right.size:
            return model, None
        model.add_linear_from((label, 0.0) for label in self._slack_labels())
        narrow = rows.span == 1
        # d(d − 1)/2 = (d − ½)²/2 − 1/8.
        model.offset -= penalty / 8 * int(narrow.sum())
        matrix = sparse.hstack([rows.matrix, -self._slack], format="csr")
        right = rows.right + narrow / 2
        return model, Squares(matrix, right, np.where(narrow, penalty / 2, penalty))

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the bits, and the slack of each constraint."""
        bits = self._bits(solution)
        left = self._rows.matrix @ bits - self._rows.right
        slack = np.zeros(self._slack.shape[1], np.int8)
        columns, weights = self._slack.tocoo().coords, self._slack.tocoo().data
        # The last weight of a row is the odd one out, so it is taken first where it fits.
        for k in reversed(range(slack.size)):
            row = columns[0][k]
            if left[row] >= weights[k]:
                slack[columns[1][k]], left[row] = 1, left[row] - weights[k]
        return as_sample(np.concatenate([bits, slack]), self._labels())

    def decode(self, sample: Sample) -> Values:
        """Return the bits; where they break a constraint, the nearest that break none.

        The fewest bits are changed (HiGHS, a linear program of whole numbers).
        """
        bits = self._values(sample)[: self._size]
        return bits.copy() if self._keeps(bits) else self._nearest(1 - 2.0 * bits)

    def cost(self, solution: Solution) -> float:
        """Return the model's energy."""
        bits = self._bits(solution)
        return float(self.model.energies((bits, list(self.model.variables)))[0])

    def feasible(self, sample: Sample) -> bool:
        """Return whether all constraints are kept and each slack is what is left."""
        values = self._values(sample)
        bits, slack = values[: self._size], values[self._size :]
        left = self._rows.matrix @ bits - self._rows.right - self._slack @ slack
        return bool(np.all(np.where(self._rows.span == 1, (left == 0) | (left == 1), left == 0)))

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem, numbers of constraints and slack bits, the penalty."""
        return super().describe() | {
            "num_constraints": self.right.size,
            "num_slack": self._slack.shape[1],
            "penalty": self.penalty,
        }

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        num_variables: int = 30,
        num_constraints: int = 10,
        penalty: float | None = None,
    ) -> ConstrainedQubo:
        """Return a random QUBO and constraints on three variables each that hidden bits keep.

        Coefficients are −3 … 3, never 0; every third constraint is an equality, and the hidden bits
        keep each with equality.

        >>> ConstrainedQubo.generate(seed=1, num_variables=5).describe()["num_constraints"]
        10
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_variables", num_variables, least=3)
        count = edges.whole("num_constraints", num_constraints)
        objective = Qubo.generate(seed=rng, num_variables=size)
        columns = np.argsort(rng.random((count, size)), axis=1)[:, :3]
        values = rng.integers(1, 4, size=(count, 3)) * (2 * rng.integers(2, size=(count, 3)) - 1)
        hidden = rng.integers(2, size=size)
        start = 3 * np.arange(count + 1)
        matrix = sparse.csr_array((values.ravel(), columns.ravel(), start), shape=(count, size))
        return cls(objective.model, matrix, matrix @ hidden, np.arange(count) % 3 == 0, penalty)

    @property
    def _size(self) -> int:
        return int(self.model.num_variables)

    @cached_property
    def _rows(self) -> WholeRows:
        """The constraints in whole numbers, without those that all bits keep."""
        kept, matrix = [], self.coefficients
        scales, right, span = [], [], []
        for row in range(self.right.size):
            values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
            scale = integer_scale(values) or 0.0
            reach = float(np.abs(values).sum())
            if not scale or reach > MOST_REACH * scale:
                raise InputError(
                    f"the coefficients of constraint {row} must be multiples of one number, "
                    f"{MOST_REACH} times of it together at most"
                )
            low, high = np.minimum(values, 0).sum() / scale, np.maximum(values, 0).sum() / scale
            bound = self.right[row] / scale
            wanted = round(bound) if self.equal[row] else math.ceil(bound - 1e-9)
            missed = self.equal[row] and abs(bound - wanted) > 1e-9
            if missed or wanted > round(high) or (self.equal[row] and wanted < round(low)):
                raise InfeasibleError(f"no bits keep constraint {row}")
            if self.equal[row] or wanted > round(low):
                kept.append(row)
                scales.append(scale)
                right.append(wanted)
                span.append(0 if self.equal[row] else round(high) - wanted)
        whole = matrix[kept].tocoo()
        data = np.rint(whole.data / np.array(scales)[whole.coords[0]]) if kept else whole.data
        found = sparse.csr_array((data.astype(np.int64), whole.coords), shape=whole.shape)
        return WholeRows(found, np.array(right, np.int64), np.array(span, np.int64))

    @cached_property
    def _slack(self) -> sparse.csr_array:
        """The weights of the slack bits, (rows, bits)."""
        row, weights = [], []
        for number, span in enumerate(self._rows.span.tolist()):
            rest, power = span if span > 1 else 0, 1
            while rest > 0:
                row.append(number)
                weights.append(min(power, rest))
                rest, power = rest - power, 2 * power
        shape = (len(self._rows.span), len(row))
        return sparse.csr_array((np.array(weights, np.int64), (row, np.arange(len(row)))), shape)

    def _slack_labels(self) -> list[Hashable]:
        rows = self._slack.tocoo().coords[0]
        if list(self.model.variables) == list(range(self._size)):
            return list(range(self._size, self._size + len(rows)))
        places = np.arange(len(rows)) - np.searchsorted(rows, rows)
        return [("slack", *pair) for pair in zip(rows.tolist(), places.tolist(), strict=True)]

    def _labels(self) -> list[Hashable]:
        return [*self.model.variables, *self._slack_labels()]

    def _keeps(self, bits: Values) -> bool:
        left = self._rows.matrix @ bits - self._rows.right
        return bool(np.all((left >= 0) & (left <= self._rows.span)))

    def _nearest(self, weight: NDArray[np.floating[Any]]) -> Values:
        """Return the bits of least ``weight`` together that keep all constraints."""
        rows = self._rows
        if not rows.right.size:
            return np.asarray(weight < 0).astype(np.int8)
        limits = optimize.LinearConstraint(rows.matrix, rows.right, rows.right + rows.span)
        found = optimize.milp(weight, integrality=1, bounds=(0, 1), constraints=limits)
        if found.x is None:
            raise InfeasibleError("no bits keep all constraints")
        bits: Values = np.rint(found.x).astype(np.int8)
        assert self._keeps(bits), "HiGHS returned bits that break a constraint"
        return bits

    def _bits(self, solution: ArrayLike) -> Values:
        bits = sample_values(solution, range(self._size), vartype=dimod.BINARY)
        if not self._keeps(bits):
            left = self._rows.matrix @ bits - self._rows.right
            broken = int(np.argmax((left < 0) | (left > self._rows.span)))
            raise InputError(f"a solution must keep all constraints, but breaks number {broken}")
        return bits

    def _values(self, sample: Sample) -> Values:
        return sample_values(sample, self._labels(), vartype=dimod.BINARY)
