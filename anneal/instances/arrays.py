"""What an instance file holds, as plain arrays."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anneal.errors import InputError

if TYPE_CHECKING:
    import dimod

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_VARIABLES = 10_000_000
"""The largest instance that is accepted: a header that claims more is a mistake, and nothing is
allocated for it."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A weighted undirected graph without self loops.

    ``i``, ``j`` (int64, 0-based) and ``weight`` (float64) have one entry an edge. They are stored
    with ``i < j``, sorted by ``(i, j)``, whatever order they are given in.

    Raises :class:`~anneal.errors.InputError` for a self loop, an edge given twice, a vertex outside
    ``0 … num_vertices - 1``, a weight that is not finite, or more than ``MAX_VARIABLES`` vertices.

    >>> graph = Graph(3, [2, 0], [0, 1], [1.5, -1.0])
    >>> graph.i.tolist(), graph.j.tolist(), graph.weight.tolist()
    ([0, 0], [1, 2], [-1.0, 1.5])
    """

    num_vertices: int
    i: IntArray
    j: IntArray
    weight: FloatArray

    def __post_init__(self) -> None:
        check_size(self.num_vertices, "vertices")
        i, j, weight, first = _sorted_pairs(self.num_vertices, self.i, self.j, self.weight)
        if (i == j).any():
            raise InputError(f"vertex {i[np.argmax(i == j)]} has a self loop")
        if not first.all():
            again = np.argmin(first)
            raise InputError(f"edge {i[again]} {j[again]} is given twice")
        _assign(self, i=i, j=j, weight=weight)

    @property
    def num_edges(self) -> int:
        """The number of edges."""
        return len(self.i)


@dataclass(frozen=True, eq=False)
class Qubo:
    """The energy ``offset + Σ value · x_i · x_j``, to be minimised; ``i == j`` is the linear term
    of a variable.

    ``i``, ``j`` (int64, 0-based) and ``value`` (float64) are stored with ``i <= j``, sorted by
    ``(i, j)``, and terms given more than once are added up, as dimod does. With ``vartype="SPIN"``
    the variables are ±1 and an Ising energy is meant. ``labels`` names the variables (``None``: 0,
    1, …). ``sense`` is the sense of the file that the instance came from: where it is ``"max"``,
    the values of the file have been negated.

    Raises :class:`~anneal.errors.InputError` for a variable out of range, a value that is not
    finite, labels that repeat, or more than ``MAX_VARIABLES`` variables.

    >>> Qubo(2, [0, 1, 0], [0, 0, 1], [-1.0, 2.0, 3.0]).to_bqm()
    BinaryQuadraticModel({0: -1.0, 1: 0.0}, {(1, 0): 5.0}, 0.0, 'BINARY')
    """

    num_variables: int
    i: IntArray
    j: IntArray
    value: FloatArray
    offset: float = 0.0
    vartype: str = "BINARY"
    labels: tuple[Hashable, ...] | None = None
    sense: str = "min"

    def __post_init__(self) -> None:
        check_size(self.num_variables, "variables")
        if self.vartype not in ("BINARY", "SPIN"):
            raise InputError(f"vartype is BINARY or SPIN, not '{self.vartype}'")
        check_sense(self.sense)
        if not np.isfinite(self.offset):
            raise InputError(f"the offset {self.offset} is not finite")
        i, j, value, first = _sorted_pairs(self.num_variables, self.i, self.j, self.value)
        if not first.all():
            with np.errstate(over="ignore"):
                value = np.add.reduceat(value, np.flatnonzero(first))
            i, j = i[first], j[first]
            _check_finite(value, "the sum of a repeated term")
        _assign(self, i=i, j=j, value=value, labels=_labels(self.labels, self.num_variables))

    def to_bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the same energy as a BQM of the same variables, in order."""
        import dimod

        linear, pair = np.zeros(self.num_variables), self.i != self.j
        linear[self.i[~pair]] = self.value[~pair]
        quadratic = (self.i[pair], self.j[pair], self.value[pair])
        labels = range(self.num_variables) if self.labels is None else self.labels
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, quadratic, self.offset, dimod.Vartype[self.vartype], variable_order=labels
        )

    @classmethod
    def from_bqm(cls, bqm: dimod.BinaryQuadraticModel) -> Qubo:
        """Return the arrays of ``bqm``, whose variables keep their order; linear biases of zero are
        left out.

        >>> import dimod
        >>> Qubo.from_bqm(dimod.BinaryQuadraticModel({"a": 1}, {"ab": 2}, 0, "SPIN")).labels
        ('a', 'b')
        """
        check_size(bqm.num_variables, "variables")
        # dimod sorts the labels unless it is told an order.
        vectors = bqm.to_numpy_vectors(variable_order=bqm.variables)
        bias = np.asarray(vectors.linear_biases, dtype=np.float64)
        i, j, value = vectors.quadratic
        used = np.flatnonzero(bias)
        labels = tuple(bqm.variables)
        return cls(
            len(bias),
            np.concatenate([used, i]),
            np.concatenate([used, j]),
            np.concatenate([bias[used], np.asarray(value, dtype=np.float64)]),
            float(vectors.offset),
            bqm.vartype.name,
            None if labels == tuple(range(len(bias))) else labels,
        )

    def to_binary(self) -> Qubo:
        """Return the same energy over 0/1 variables."""
        if self.vartype == "BINARY":
            return self
        bqm = self.to_bqm()
        return Qubo.from_bqm(bqm.change_vartype(type(bqm.vartype).BINARY, inplace=False))


@dataclass(frozen=True, eq=False)
class QuadraticAssignment:
    """Place n things on n places at least cost ``Σ flow[a, b] · distance[p[a], p[b]]`` over
    permutations p.

    ``flow`` and ``distance`` are float64 arrays (n, n); ``best_known`` is the least cost that
    anybody has reported.

    Raises :class:`~anneal.errors.InputError` where the shapes differ or a number is not finite.

    >>> QuadraticAssignment([[0, 1], [1, 0]], [[0, 5], [5, 0]]).flow.shape
    (2, 2)
    """

    flow: FloatArray
    distance: FloatArray
    best_known: float | None = None

    def __post_init__(self) -> None:
        flow, distance = (np.asarray(a, dtype=np.float64) for a in (self.flow, self.distance))
        size = len(flow) if flow.ndim else 0
        if size == 0:
            raise InputError("the assignment is empty")
        for name, array in (("flow", flow), ("distance", distance)):
            if array.shape != (size, size):
                raise InputError(
                    f"`{name}` must have shape ({size}, {size}), but has shape {array.shape}"
                )
            _check_finite(array, f"`{name}`")
        _assign(self, flow=flow, distance=distance)


@dataclass(frozen=True, eq=False)
class Program:
    """Minimise an energy of bits under linear constraints: ``Σ value · x_column = right`` of each
    row that is ``equal``, and ``≥ right`` of each other one.

    ``row``, ``column`` (int64, 0-based) and ``value`` (float64) are stored sorted by (row, column);
    what is given twice is added up, and zeros are left out. ``right`` (float64) and ``equal``
    (bool) have an entry a row. The variables are those of ``objective``, in its order.

    Raises :class:`~anneal.errors.InputError` for spins, indices out of range, lengths that differ
    and numbers that are not finite.

    >>> one_of_two = Program(Qubo(2, [0], [0], [-1.0]), [0, 0], [1, 0], [1, 1], [1], [True])
    >>> one_of_two.num_rows, one_of_two.column.tolist()
    (1, [0, 1])
    """

    objective: Qubo
    row: IntArray
    column: IntArray
    value: FloatArray
    right: FloatArray
    equal: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.objective.vartype != "BINARY":
            raise InputError("the variables of a program are bits, not spins")
        right = np.asarray(self.right, dtype=np.float64)
        equal = np.asarray(self.equal, dtype=np.bool_)
        row, column = _whole(self.row, "row"), _whole(self.column, "column")
        value = np.asarray(self.value, dtype=np.float64)
        if not row.shape == column.shape == value.shape == (value.size,):
            raise InputError("row, column and the values must be vectors of one length")
        if not right.shape == equal.shape == (right.size,):
            raise InputError("right and equal must be vectors of one length")
        width = self.objective.num_variables
        for name, index, size in (("row", row, right.size), ("column", column, width)):
            if index.size and (index.min() < 0 or index.max() >= size):
                raise InputError(f"a {name} is outside 0 to {size - 1}")
        key, inverse = np.unique(row * width + column, return_inverse=True)
        value = np.asarray(np.bincount(inverse, value, len(key)), np.float64)
        _check_finite(value, "a coefficient")
        _check_finite(right, "a right side")
        key, value = key[value != 0], value[value != 0]
        _assign(self, row=key // width, column=key % width, value=value, right=right, equal=equal)

    @classmethod
    def unconstrained(cls, objective: Qubo) -> Program:
        """Return a program without constraints, over bits.

        >>> Program.unconstrained(Qubo(1, [0], [0], [1.0], vartype="SPIN")).objective.value
        array([2.])
        """
        none = np.empty(0)
        index = none.astype(np.int64)
        return cls(objective.to_binary(), index, index, none, none, none.astype(np.bool_))

    @property
    def num_rows(self) -> int:
        """The number of constraints."""
        return len(self.right)

    @property
    def sense(self) -> str:
        """The sense of the file's objective."""
        return self.objective.sense


def check_size(size: int, what: str, *, line: int | None = None) -> None:
    """Raise unless ``size`` lies in 1 … ``MAX_VARIABLES``."""
    if size < 1:
        raise InputError(f"the instance is empty: it has {size} {what}", line=line)
    if size > MAX_VARIABLES:
        raise InputError(
            f"{size} {what} are claimed, but at most {MAX_VARIABLES} are accepted", line=line
        )


def check_sense(sense: str) -> None:
    """Raise unless ``sense`` is ``"min"`` or ``"max"``."""
    if sense not in ("min", "max"):
        raise InputError(f"sense is min or max, not '{sense}'")


def _sorted_pairs(
    size: int, i: IntArray, j: IntArray, value: FloatArray
) -> tuple[IntArray, IntArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return (low, high, value) sorted by (low, high), and which of them are the first of their
    pair."""
    i, j = _whole(i, "i"), _whole(j, "j")
    value = np.asarray(value, dtype=np.float64)
    if not i.shape == j.shape == value.shape == (value.size,):
        raise InputError(
            "i, j and the values must be vectors of one length, "
            f"but have shapes {i.shape}, {j.shape}, {value.shape}"
        )
    if value.size and (min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= size):
        raise InputError(f"an index is outside 0 to {size - 1}")
    _check_finite(value, "a value")
    low, high = np.minimum(i, j), np.maximum(i, j)
    key = low * size + high
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        low, high, value, key = low[order], high[order], value[order], key[order]
    first = np.ones(key.size, dtype=np.bool_)
    first[1:] = key[1:] > key[:-1]
    return low, high, value, first


def _whole(array: npt.ArrayLike, name: str) -> IntArray:
    array = np.asarray(array)
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"`{name}` must hold integers, but has type {array.dtype}")
    return array.astype(np.int64)


def _check_finite(array: FloatArray, what: str) -> None:
    if not np.isfinite(array).all():
        raise InputError(f"{what} is not finite")


def _labels(labels: tuple[Hashable, ...] | None, size: int) -> tuple[Hashable, ...] | None:
    if labels is None:
        return None
    if len(labels) != size:
        raise InputError(f"{len(labels)} labels are given for {size} variables")
    if len(set(labels)) != size:
        raise InputError("two variables have the same label")
    return tuple(labels)


def _assign(instance: object, **fields: object) -> None:
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
