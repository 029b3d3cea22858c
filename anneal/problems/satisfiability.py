"""Satisfiability as quadratic models: clauses of one to three literals, and equations of parity."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges

Table = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MaxSat(Problem):
    """Clauses of at most three literals; a solution is the truth of each variable, int8 0 or 1.

    cost = number of clauses that are not satisfied. A clause is a sequence of literals as in
    DIMACS files: k for variable k, −k for its negation, k = 1 … num_variables. A clause of three
    has an auxiliary bit a: where u, v, w are 1 for literals that are false, its term is uvw = min_a
    a (1 − u − v − w) + uv + vw + wu (Ishikawa 2011, section 3). So the least energy over the
    auxiliary bits is the cost, whatever the variables are. Raises
    :class:`~anneal.errors.InputError` for clauses without literals, with more than three or with a
    variable twice.

    >>> either = MaxSat(2, [[1, 2], [-1], [-2]])
    >>> either.cost([0, 1]), either.cost([0, 0])
    (1.0, 1.0)
    """

    num_variables: int
    clauses: Sequence[Sequence[int]] | Table
    best_known: float | None = None

    name: ClassVar[str] = "sat"
    small: ClassVar[Mapping[str, Any]] = {"num_variables": 6, "num_clauses": 10}

    def __post_init__(self) -> None:
        size = edges.whole("num_variables", self.num_variables, least=1)
        table = _padded(self.clauses)
        number = np.abs(table)
        if table.size and number.max() > size:
            raise InputError(f"a literal is outside −{size} … {size}: {number.max()}")
        order = np.sort(number, axis=1)
        twice = ((order[:, 1:] == order[:, :-1]) & (order[:, 1:] > 0)).any(axis=1)
        if twice.any():
            raise InputError(f"clause {np.argmax(twice)} has a variable twice")
        table.flags.writeable = False
        object.__setattr__(self, "clauses", table)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the sum of the clauses' terms.

        Variables: the truths, 0 … num_variables−1, then a bit of each clause of three.
        """
        # A false literal is 1 − x or x: each term is quadratic in (sign, constant) pairs.
        sign, constant, index = -np.sign(self._table), (self._table > 0), np.abs(self._table) - 1
        used = self._table != 0
        lengths, auxiliary = used.sum(axis=1), self._auxiliary()
        linear = np.zeros(self.num_variables + len(self._long))
        first, second, value, offset = [], [], [], 0.0
        one = lengths == 1
        np.add.at(linear, index[one, 0], sign[one, 0])
        offset += float(constant[one, 0].sum())
        for p, q in ((0, 1), (0, 2), (1, 2)):
            both = used[:, p] & used[:, q]
            i, j, s, t = index[both, p], index[both, q], sign[both, p], sign[both, q]
            first.append(i)
            second.append(j)
            value.append(s * t)
            np.add.at(linear, i, s * constant[both, q])
            np.add.at(linear, j, t * constant[both, p])
            offset += float((constant[both, p] & constant[both, q]).sum())
        long = self._long
        np.add.at(linear, auxiliary, 1 - constant[long].sum(axis=1))
        for p in range(3):
            first.append(auxiliary)
            second.append(index[long, p])
            value.append(-sign[long, p])
        quadratic = tuple(np.concatenate(parts) for parts in (first, second, value))
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, quadratic, offset, dimod.BINARY
        )

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the truths, and 1 for each clause of three of which two literals are false."""
        truths = self._truths(solution)
        false = self._false(truths)[self._long].sum(axis=1)
        values = np.concatenate([truths, (false >= 2).astype(np.int8)])
        return as_sample(values, range(len(values)))

    def decode(self, sample: Sample) -> Values:
        """Return the truths of the variables."""
        return self._values(sample)[: self.num_variables].copy()

    def cost(self, solution: Solution) -> float:
        """Return the number of clauses that are not satisfied."""
        return float(np.count_nonzero(self._false(self._truths(solution)).all(axis=1)))

    def feasible(self, sample: Sample) -> bool:
        """Return whether no auxiliary bit alone could lower the energy."""
        values = self._values(sample)
        false = self._false(values[: self.num_variables])[self._long].sum(axis=1)
        # It costs 1 − false, and both values are as good where one literal is false.
        best = np.where(values[self.num_variables :] == 1, false >= 1, false <= 1)
        return bool(best.all())

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem, and the number of clauses."""
        return super().describe() | {"num_clauses": len(self._table)}

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        num_variables: int = 50,
        num_clauses: int = 210,
        width: int = 3,
        planted: bool = False,
    ) -> MaxSat:
        """Return random clauses of ``width`` different variables, literals negated at random.

        The default is near the ratio 4.27 above which few are satisfiable. Where ``planted``, a
        hidden assignment and its complement satisfy all of them, so that majorities of literals
        give neither away (Achlioptas, Jia and Moore 2005).

        >>> MaxSat.generate(seed=1, planted=True).best_known
        0.0
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_variables", num_variables, least=1)
        count = edges.whole("num_clauses", num_clauses)
        width = edges.whole("width", width, least=2 if planted else 1, most=min(3, size))
        number = _distinct(size, count, width, rng)
        sign = 2 * rng.integers(2, size=number.shape) - 1
        if planted:
            hidden = 2 * rng.integers(2, size=size) - 1
            while (alike := abs((sign * hidden[number]).sum(axis=1)) == width).any():
                sign[alike] = 2 * rng.integers(2, size=(int(alike.sum()), width)) - 1
        return cls(size, sign * (number + 1), 0.0 if planted else None)

    @property
    def _table(self) -> Table:
        """Literals, (clauses, 3), 0 where there are fewer."""
        return np.asarray(self.clauses)

    @property
    def _long(self) -> NDArray[np.intp]:
        """Which clauses have three literals."""
        return np.flatnonzero(self._table[:, 2])

    def _auxiliary(self) -> Table:
        return self.num_variables + np.arange(len(self._long))

    def _false(self, truths: Values) -> NDArray[np.bool_]:
        """Return which literals are false, (clauses, 3); those that are missing are."""
        wanted = (self._table > 0).astype(np.int8)
        return np.asarray((self._table == 0) | (truths[np.abs(self._table) - 1] != wanted))

    def _truths(self, solution: ArrayLike) -> Values:
        return sample_values(solution, range(self.num_variables), vartype=dimod.BINARY)

    def _values(self, sample: Sample) -> Values:
        size = self.num_variables + len(self._long)
        return sample_values(sample, range(size), vartype=dimod.BINARY)


@dataclass(frozen=True, eq=False)
class XorSat(Problem):
    """Equations x_i ⊕ x_j ⊕ x_k = b; a solution is the bits, int8 0 or 1.

    cost = number of equations that do not hold. Each has an auxiliary bit a and the term
    (x_i + x_j + x_k − b − 2a)², whose least value is 0 where it holds and 1 where not: the gadget
    of equation planting up to signs (Hen 2019). Gaussian elimination solves what can be satisfied
    at once, yet annealers take a time exponential in the number of variables (Kowalsky et al.
    2022). Raises :class:`~anneal.errors.InputError` for other shapes and for an equation with a
    variable twice.

    >>> XorSat(3, [[0, 1, 2]], [1]).cost([1, 1, 0])
    1.0
    """

    num_variables: int
    equations: Table
    right: Values
    best_known: float | None = None

    name: ClassVar[str] = "xorsat"
    small: ClassVar[Mapping[str, Any]] = {"num_variables": 7}

    def __post_init__(self) -> None:
        size = edges.whole("num_variables", self.num_variables, least=1)
        table, right = np.asarray(self.equations), np.asarray(self.right)
        if table.ndim != 2 or table.shape[1] != 3 or not np.issubdtype(table.dtype, np.integer):
            raise InputError(f"equations must be whole numbers (m, 3), not {table.shape}")
        if table.size and (table.min() < 0 or table.max() >= size):
            raise InputError(f"equations must hold variables 0 … {size - 1}")
        order = np.sort(table, axis=1)
        if (order[:, 1:] == order[:, :-1]).any():
            raise InputError("an equation has a variable twice")
        right = sample_values(right, range(len(table)), vartype=dimod.BINARY)
        table = table.astype(np.int64)
        for name, value in (("equations", table), ("right", right)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the sum of the squares: the bits 0 … n−1, then one for each equation."""
        count, size = len(self.equations), self.num_variables
        columns = np.column_stack([self.equations, size + np.arange(count)])
        amounts, right = np.array([1, 1, 1, -2]), self.right.astype(np.int64)
        # (Σ c_k x_k − b)² = Σ (c_k² − 2 b c_k) x_k + 2 Σ_{k<l} c_k c_l x_k x_l + b.
        linear = np.zeros(size + count)
        np.add.at(linear, columns, amounts**2 - 2 * right[:, np.newaxis] * amounts)
        k, other = np.triu_indices(4, 1)
        value = np.tile(2.0 * amounts[k] * amounts[other], (count, 1))
        quadratic = (columns[:, k].ravel(), columns[:, other].ravel(), value.ravel())
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, quadratic, float(right.sum()), dimod.BINARY
        )

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the bits, and the best auxiliary bit of each equation."""
        bits = self._bits(solution)
        auxiliary = (self._excess(bits) >= 2).astype(np.int8)
        values = np.concatenate([bits, auxiliary])
        return as_sample(values, range(len(values)))

    def decode(self, sample: Sample) -> Values:
        """Return the bits."""
        return self._values(sample)[: self.num_variables].copy()

    def cost(self, solution: Solution) -> float:
        """Return the number of equations that do not hold."""
        return float(np.count_nonzero(self._excess(self._bits(solution)) % 2))

    def feasible(self, sample: Sample) -> bool:
        """Return whether no auxiliary bit alone could lower the energy."""
        values = self._values(sample)
        excess = self._excess(values[: self.num_variables])
        return bool(np.all(np.abs(excess - 2 * values[self.num_variables :]) <= 1))

    @classmethod
    def generate(cls, *, seed: Seed, num_variables: int = 50) -> XorSat:
        """Return as many equations as variables, each variable in three, with a hidden solution.

        So ``best_known`` is 0 (3-regular 3-XORSAT; Hen 2019, Kowalsky et al. 2022).

        >>> problem = XorSat.generate(seed=1, num_variables=8)
        >>> np.bincount(problem.equations.ravel()).tolist(), problem.best_known
        ([3, 3, 3, 3, 3, 3, 3, 3], 0.0)
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_variables", num_variables, least=3)
        table = rng.permutation(np.repeat(np.arange(size), 3)).reshape(size, 3)
        while (bad := _repeats(table)).any():
            # With a few good ones, or two bad equations might have nothing to exchange.
            bad[rng.integers(size, size=2)] = True
            table[bad] = rng.permutation(table[bad].ravel()).reshape(-1, 3)
        hidden = rng.integers(2, size=size)
        return cls(size, table, hidden[table].sum(axis=1) % 2, 0.0)

    def _excess(self, bits: Values) -> Table:
        """Return x_i + x_j + x_k − b of each equation."""
        return np.asarray(bits.astype(np.int64)[self.equations].sum(axis=1) - self.right)

    def _bits(self, solution: ArrayLike) -> Values:
        return sample_values(solution, range(self.num_variables), vartype=dimod.BINARY)

    def _values(self, sample: Sample) -> Values:
        size = self.num_variables + len(self.equations)
        return sample_values(sample, range(size), vartype=dimod.BINARY)


def _padded(clauses: Sequence[Sequence[int]] | Table) -> Table:
    """Return clauses of one to three literals as a new table (clauses, 3), filled up with 0."""
    table = np.zeros((len(clauses), 3), np.int64)
    for number, clause in enumerate(clauses) if not isinstance(clauses, np.ndarray) else ():
        if not len(clause) <= 3 or not all(isinstance(literal, int) for literal in clause):
            raise InputError(f"clause {number} must have one to three literals, not {clause}")
        table[number, : len(clause)] = clause
    if isinstance(clauses, np.ndarray):
        whole = np.issubdtype(clauses.dtype, np.integer)
        if not (whole and clauses.ndim == 2 and clauses.shape[1] <= 3):
            raise InputError(f"clauses must be whole numbers (m, 1 … 3), not {clauses.shape}")
        table[:, : clauses.shape[1]] = clauses
    table = np.take_along_axis(table, np.argsort(table == 0, axis=1, kind="stable"), axis=1)
    if not table[:, 0].all():
        raise InputError(f"clause {np.argmin(table[:, 0] != 0)} has no literal")
    return table


def _distinct(size: int, count: int, width: int, rng: np.random.Generator) -> Table:
    """Return ``width`` different numbers of 0 … size−1 in each of ``count`` rows."""
    rows = rng.integers(size, size=(count, width))
    while (bad := _repeats(rows)).any():
        rows[bad] = rng.integers(size, size=(int(bad.sum()), width))
    return rows


def _repeats(rows: Table) -> NDArray[np.bool_]:
    """Return which rows hold a number twice."""
    order = np.sort(rows, axis=1)
    return np.asarray((order[:, 1:] == order[:, :-1]).any(axis=1))
