"""Presolve: a smaller problem with the same minimum, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.control import Control
from anneal.ising import Ising, integer_scale, rows_of_matrix
from anneal.kernels.reduce import compact, eliminate, follow_strong, restore
from anneal.layouts import Numbers

MOST_WORK = 8  # rounds look at no more than so many times the problem
SAMPLED = 1000  # coefficients that show whether a problem is of floats
WORTHWHILE = 1 / 64  # of the spins that merge: less is not worth another round
RULES = ("fixed", "eliminated", "merged")


@dataclass(frozen=True, eq=False)
class Reduction:
    """``ising`` has the spins ``kept`` of the original; its energies are those of the best
    completions.

    Where spins were fixed or merged, that is so of the states that obey; a ground state is among
    them. ``counts``: how many spins went by which rule: ``fixed`` (the field is as strong as all
    couplings), ``eliminated`` (two neighbours at most) and ``merged`` (one coupling is as strong as
    the field and the other couplings).

    >>> ising = Ising.from_arrays([0.0, 1.0, 0.0], [[0, 1, 0], [1, 0, 2], [0, 2, 0.0]])
    >>> reduction = reduce(ising)
    >>> reduction.ising.num_spins, reduction.ising.offset
    (0, -4.0)
    >>> reduction.expand(np.empty((1, 0), np.int8)).tolist()
    [[1, -1, 1]]
    """

    ising: Ising
    kept: NDArray[np.int64]
    num_spins: int
    rules: tuple[NDArray[Any], ...]
    counts: Mapping[str, int]

    def expand(self, states: NDArray[np.int8]) -> NDArray[np.int8]:
        """(reads, n) states of the original, of least energy given (reads, kept) states of the
        reduced problem.
        """
        whole = np.ones((len(states), self.num_spins), np.int8)
        whole[:, self.kept] = states
        order, *_ = self.rules
        restore(*self.rules, len(order), whole)
        return whole

    def restrict(self, states: NDArray[np.int8]) -> NDArray[np.int8]:
        """(reads, kept) of (reads, n)."""
        return np.ascontiguousarray(states[:, self.kept])


def reduce(ising: Ising, *, unit: float = 0.0, control: Control | None = None) -> Reduction:
    """Fix, eliminate and merge spins, exactly and again and again.

    Trees and cycles vanish; a sparse random graph shrinks to the kernel of its 2-core. unit: if
    positive, coefficients that are multiples of it stay so. control: once it says stop, what was
    found so far is returned. O(n + couplings).
    """
    n = ising.num_spins
    if _settled(ising):
        return untouched(ising)
    counts = np.zeros(3, np.int64)
    found: list[tuple[NDArray[Any], ...]] = [_rules(0)]
    kept, constant = np.arange(n), 0.0
    h, matrix = ising.h, ising.csr()
    work = MOST_WORK * (n + matrix.nnz)
    while True:
        work -= len(h) + matrix.nnz
        h, matrix, energy, rules, left = _eliminated(h, matrix, unit, counts)
        found.append(_named(rules, kept))
        kept, constant = kept[left], constant + energy
        if not len(h) or work <= 0 or (control is not None and control.stop()):
            break
        leader, sign = np.empty(len(h), np.int64), np.empty(len(h))
        following = follow_strong(matrix.indptr, matrix.indices, matrix.data, h, leader, sign)
        if not following or following < WORTHWHILE * len(h):
            break
        counts[2] += following
        h, matrix, energy, rules, left = _merged(h, matrix, leader, sign)
        found.append(_named(rules, kept))
        kept, constant = kept[left], constant + energy
    joined = tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
    by_rule = dict(zip(RULES, counts.tolist(), strict=True))
    return Reduction(Ising(h, matrix, ising.offset + constant), kept, n, joined, by_rule)


def reduce_for_lanes(ising: Ising, control: Control | None = None) -> Reduction:
    """:func:`reduce`, but small integers become no fractions that want wider lanes.

    A field beside two couplings may give halves. Fields never grow by an elimination, so the unit
    may halve as long as the largest of them still fits its type.
    """
    reduction = reduce(ising, control=control)
    small = reduction.ising
    if small is ising:
        return reduction
    few = (values[:SAMPLED] for values in (ising.h, ising.csr().data))
    if not small.h.any() or integer_scale(*few) is None:
        return reduction
    numbers = Numbers.of(ising.h[None], ising.J)
    kind = numbers.lane_type()
    if (
        not numbers.whole
        or kind.itemsize >= Numbers.of(small.h[None], small.J).lane_type().itemsize
    ):
        return reduction
    while numbers.doubled().lane_type() == kind:
        numbers = numbers.doubled()
    return reduce(ising, unit=numbers.scale, control=control)


def untouched(ising: Ising) -> Reduction:
    """Return the problem as it is, squares and all, with nothing to restore."""
    n = ising.num_spins
    return Reduction(ising, np.arange(n), n, _rules(0), dict.fromkeys(RULES, 0))


def _settled(ising: Ising) -> bool:
    """Whether no rule applies to a problem that is stored as a matrix: a look is all it costs."""
    if sparse.issparse(ising.J) or not ising.num_spins:
        return False
    rows, fields = rows_of_matrix(ising.J), np.abs(ising.h)
    strongest, total = np.maximum(rows.strongest, fields), rows.total + fields
    free = rows.coupled > 2
    return bool((free & (2 * strongest < total)).all())


Step = tuple[NDArray[np.float64], Any, float, tuple[NDArray[Any], ...], NDArray[Any]]


def _eliminated(
    h: NDArray[np.float64], matrix: Any, unit: float, counts: NDArray[np.int64]
) -> Step:
    """Biases, couplings, constant, rules and remaining spins after fixing and eliminating."""
    n = len(h)
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    weights, biases, rules = matrix.data.copy(), h.copy(), _rules(n)
    before = counts[:2].sum()
    constant, alive = eliminate(indptr, indices, weights, biases, unit, *rules, counts)
    rules = tuple(rule[: counts[:2].sum() - before].copy() for rule in rules)
    if not len(rules[0]):
        return h, matrix, constant, rules, np.arange(n)
    gone = np.zeros(n, bool)
    gone[rules[0]] = True
    left = np.flatnonzero(~gone)
    start, columns, values = compact(indptr, indices, weights, alive, np.cumsum(~gone) - 1, left)
    smaller = sparse.csr_array((values, columns, start), shape=(len(left), len(left)))
    smaller.sort_indices()
    return biases[left], smaller, constant, rules, left


def _merged(
    h: NDArray[np.float64], matrix: Any, leader: NDArray[np.int64], sign: NDArray[np.float64]
) -> Step:
    """The same after every spin has become its leader times its sign."""
    n = len(h)
    follows = leader != np.arange(n)
    left, gone = np.flatnonzero(~follows), np.flatnonzero(follows)
    place = (np.cumsum(~follows) - 1)[leader]
    rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
    values = matrix.data * sign[rows] * sign[matrix.indices]
    ends = place[rows], place[matrix.indices]
    inside = ends[0] == ends[1]
    values_out, ends_out = values[~inside], (ends[0][~inside], ends[1][~inside])
    pairs = sparse.coo_array((values_out, ends_out), shape=(len(left), len(left)))
    smaller = sparse.csr_array(pairs)
    smaller.eliminate_zeros()
    smaller.sort_indices()
    rules = _rules(len(gone))
    rules[0][:] = gone
    rules[1][:] = np.column_stack([leader[gone], np.full(len(gone), -1)])
    rules[2][:] = np.column_stack([-sign[gone], np.zeros(len(gone))])
    rules[3][:] = 0.0
    biases = np.bincount(place, sign * h, len(left)).astype(np.float64)
    return biases, smaller, float(values[inside].sum()) / 2, rules, left


def _named(rules: tuple[NDArray[Any], ...], kept: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Rules that speak of the original's spins."""
    order, neighbours, links, own = rules
    return kept[order], np.where(neighbours >= 0, kept[neighbours], -1), links, own


def _rules(count: int) -> tuple[NDArray[Any], ...]:
    """Return room for so many rules: spins, up to two neighbours, couplings to them, and fields."""
    shapes: list[Any] = [
        (count, np.int64), ((count, 2), np.int64), ((count, 2), float), (count, float)
    ]  # fmt: skip
    return tuple(np.empty(shape, kind) for shape, kind in shapes)
