"""Edge lists of the usual graphs, as arrays, and the check every edge list goes through."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.instances.arrays import MAX_VARIABLES

Index = NDArray[np.int32]
Weight = NDArray[np.float64]
Edges = tuple[Index, Index]

# More do not fit into a workstation.
MAX_EDGES = 10**9


def whole(name: str, value: Any, *, least: int = 0, most: int = MAX_VARIABLES) -> int:
    """Return ``value`` as an int between ``least`` and ``most``, or raise InputError naming it.

    >>> whole("degree", np.int64(3))
    3
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, not {value!r}") from None
    if not least <= number <= most:
        raise InputError(f"{name} must be between {least} and {most}, not {number}")
    return number


def number(name: str, value: Any, *, least: float, most: float) -> float:
    """Return ``value`` as a float between ``least`` and ``most``, or raise InputError naming it.

    >>> number("density", 0.5, least=0, most=1)
    0.5
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, not {value!r}") from None
    if not least <= found <= most:
        raise InputError(f"{name} must be between {least} and {most}, not {value}")
    return found


def positive(name: str, value: Any) -> float:
    """Return ``value`` as a float that is positive and finite, or raise InputError naming it.

    >>> positive("penalty", 3)
    3.0
    """
    found = number(name, value, least=0, most=1e300)
    if found == 0:
        raise InputError(f"{name} must be greater than 0")
    return found


def read_only(name: str, values: ArrayLike, *, ndim: int = 1) -> Weight:
    """Return ``values`` as a float64 array of ``ndim`` axes that cannot be written to.

    Raises :class:`~anneal.errors.InputError` for other shapes, NaN, infinities, and magnitudes
    whose sum overflows.

    >>> read_only("weight", [1, 2]).flags.writeable
    False
    """
    try:
        array = np.asarray(values, dtype=np.float64).view()
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers") from None
    if array.ndim != ndim:
        raise InputError(f"{name} must have {ndim} axes, but has shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds a value that is not finite")
    with np.errstate(over="ignore"):
        total = np.abs(array).sum()
    if not np.isfinite(total):
        raise InputError(f"{name} holds values too large to add up")
    array.flags.writeable = False
    return array


def check_edges(
    num_vertices: int, i: ArrayLike, j: ArrayLike, weight: ArrayLike
) -> tuple[Index, Index, Weight]:
    """Return the edges as read-only arrays of one length, ends in 0 … num_vertices−1 and different.

    Parallel edges stay: their weights add up. Raises :class:`~anneal.errors.InputError`.

    >>> check_edges(2, [0], [1], [-1])[2]
    array([-1.])
    """
    weights = read_only("weight", weight)
    ends = []
    for name, values in (("i", i), ("j", j)):
        end = np.asarray(values)
        if end.shape != weights.shape:
            raise InputError(f"{name} must have shape {weights.shape}, but has shape {end.shape}")
        if end.size and not np.issubdtype(end.dtype, np.integer):
            raise InputError(f"{name} must hold whole numbers, not {end.dtype}")
        if end.size and (end.min() < 0 or end.max() >= num_vertices):
            raise InputError(f"{name} must lie in 0 … {num_vertices - 1}")
        end = end.astype(np.int32, copy=False).view()
        end.flags.writeable = False
        ends.append(end)
    if np.any(ends[0] == ends[1]):
        raise InputError("an edge joins a vertex to itself")
    return ends[0], ends[1], weights


def random_edges(num_vertices: int, density: float, *, rng: np.random.Generator) -> Edges:
    """Return the graph G(n, p): every pair is an edge with probability ``density``.

    The gaps between edges are geometric, so the work grows with the edges and not with the pairs
    (Batagelj and Brandes 2005).

    >>> random_edges(4, 1.0, rng=np.random.default_rng(0))[0].size
    6
    """
    num_pairs = num_vertices * (num_vertices - 1) // 2
    check_num_edges(density * num_pairs)
    if density <= 0 or num_pairs == 0:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    chunk = int(density * num_pairs + 4 * math.sqrt(density * num_pairs) + 16)
    parts, last = [], -1
    while last < num_pairs:
        # A gap is cut at num_pairs, so that a tiny density cannot overflow the sum.
        gaps = np.minimum(rng.geometric(density, size=chunk), num_pairs + 1)
        steps = last + np.cumsum(gaps)
        parts.append(steps)
        last, chunk = int(steps[-1]), 64
    pairs = np.concatenate(parts)
    return _unrank(pairs[pairs < num_pairs])


def _unrank(pairs: NDArray[np.int64]) -> Edges:
    """Return (i, j), i < j, of pair numbers j(j−1)/2 + i."""
    j = ((1 + np.sqrt(1 + 8 * pairs.astype(np.float64))) / 2).astype(np.int64)
    # The square root may be off by one in its last place.
    j -= j * (j - 1) // 2 > pairs
    j += j * (j + 1) // 2 <= pairs
    return (pairs - j * (j - 1) // 2).astype(np.int32), j.astype(np.int32)


def complete_edges(num_vertices: int) -> Edges:
    """Return every pair i < j.

    >>> complete_edges(3)[1].tolist()
    [1, 2, 2]
    """
    check_num_edges(num_vertices * (num_vertices - 1) / 2)
    i, j = np.triu_indices(num_vertices, 1)
    return i.astype(np.int32), j.astype(np.int32)


def regular_edges(num_vertices: int, degree: int, *, rng: np.random.Generator) -> Edges:
    """Return a random simple graph whose vertices all have ``degree`` neighbours.

    Stubs are paired at random; the stubs of loops and parallel edges, with a few good edges,
    are paired anew until none is left. Nearly uniform while degree² ≪ num_vertices.

    >>> i, j = regular_edges(10, 3, rng=np.random.default_rng(0))
    >>> np.bincount(np.concatenate([i, j])).tolist()
    [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    """
    if num_vertices * degree % 2 or not 0 <= degree < num_vertices:
        raise InputError(
            f"no graph of {num_vertices} vertices has degree {degree}: their product must be even "
            "and the degree less than the number of vertices"
        )
    check_num_edges(num_vertices * degree / 2)
    if 2 * degree >= num_vertices:
        # The complement is sparser, and sparse graphs are quick to repair.
        return _complement(
            num_vertices, regular_edges(num_vertices, num_vertices - 1 - degree, rng=rng)
        )
    stubs = rng.permutation(np.repeat(np.arange(num_vertices), degree)).reshape(-1, 2)
    while True:
        low, high = stubs.min(axis=1), stubs.max(axis=1)
        _, first = np.unique(low * num_vertices + high, return_index=True)
        bad = np.ones(len(stubs), dtype=bool)
        bad[first] = False
        bad |= low == high
        if not bad.any():
            return low.astype(np.int32), high.astype(np.int32)
        # A quarter: more would make more parallel edges than it mends where the graph is half full.
        bad[rng.integers(len(stubs), size=1 + int(bad.sum()) // 4)] = True
        stubs[bad] = rng.permutation(stubs[bad].ravel()).reshape(-1, 2)


def _complement(num_vertices: int, edges: Edges) -> Edges:
    present = np.triu(np.ones((num_vertices, num_vertices), dtype=bool), 1)
    present[edges] = False
    i, j = np.nonzero(present)
    return i.astype(np.int32), j.astype(np.int32)


def lattice_edges(shape: Sequence[int], *, periodic: bool) -> Edges:
    """Return the bonds of a hypercubic lattice, sites numbered in C order.

    A periodic axis closes where it has more than two sites: with two, the bond that closes it is
    the bond that is there.

    >>> lattice_edges((2, 2), periodic=True)[1].tolist()
    [2, 3, 1, 3]
    """
    check_num_edges(math.prod(shape) * len(shape))
    sites = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    i, j = [], []
    for axis, length in enumerate(shape):
        here, there = sites, np.roll(sites, -1, axis)
        if not periodic or length <= 2:
            inside = tuple(slice(-1 if k == axis else None) for k in range(len(shape)))
            here, there = here[inside], there[inside]
        i.append(here.ravel())
        j.append(there.ravel())
    return np.concatenate(i), np.concatenate(j)


def check_num_edges(expected: float) -> None:
    """Raise InputError where an instance would have more edges than memory holds.

    >>> check_num_edges(10)
    """
    if expected > MAX_EDGES:
        raise InputError(
            f"the instance would have {expected:.3g} couplings; the limit is {MAX_EDGES}"
        )


def random_signs(size: int, *, rng: np.random.Generator) -> Weight:
    """Return ``size`` values −1 or +1.

    >>> set(random_signs(99, rng=np.random.default_rng(0)).tolist()) == {-1.0, 1.0}
    True
    """
    return (2 * rng.integers(2, size=size) - 1).astype(np.float64)


def squarest(size: int) -> tuple[int, int]:
    """Return rows ≤ columns with rows · columns = size, as near to a square as it goes.

    >>> squarest(800)
    (25, 32)
    """
    rows = math.isqrt(size)
    while size % rows:
        rows -= 1
    return rows, size // rows
