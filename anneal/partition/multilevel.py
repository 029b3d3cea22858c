"""Multilevel bisection on plain arrays: coarser and coarser, parted there, refined on the way back.

What is called thousands of times (a placer's regions) calls :func:`bisect_arrays`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.kernels import bisections, hypergraphs
from anneal.kernels.random import new_state

Floats = NDArray[np.float64]
Sides = NDArray[np.int8]
Initial = Callable[["Level", Floats, np.random.Generator], list[Sides]]

COARSEST = 160  # vertices at which coarsening ends
HEAVIEST = 1.5  # a cluster's area, in mean areas of the coarsest vertices, at most
SHRINK = 1.6  # times fewer vertices a level
STALLED = 0.95  # a level that keeps more of its vertices ends the coarsening
WIDEST = 1000  # vertices of the nets that tell who is near whom, at most
MOST_GROWN = 4000  # vertices of a level on which sides are grown
TRIES = 10  # sides grown at the coarsest level
PASSES = 8  # of moves a level, at most
PATIENCE = 0.2  # moves without a new best that end a pass, of all vertices …
LEAST_PATIENCE = 100  # … and at least


class Level(NamedTuple):
    """A hypergraph as kernels want it; see :mod:`anneal.kernels.hypergraphs`.

    fixed: (vertices,) int8, the side of a vertex that must not move, −1 of all others.
    """

    start: NDArray[np.int64]
    pins: NDArray[np.int32]
    weight: Floats
    first: NDArray[np.int64]
    nets: NDArray[np.int32]
    area: Floats
    fixed: Sides

    @property
    def size(self) -> int:
        """Number of vertices."""
        return len(self.area)


class Partition(NamedTuple):
    """What was found.

    parts: (vertices,) int64, the part of each vertex. cut: weight of the nets in several parts.
    km1: that weight times (parts − 1), the connectivity metric. areas: (k,). imbalance: the
    greatest area of a part over its share of the total, less 1. trace: (seconds, cut), one entry
    for each improvement.
    """

    parts: NDArray[np.int64]
    cut: float
    km1: float
    areas: Floats
    imbalance: float
    trace: list[tuple[float, float]]


def make_level(
    start: NDArray[np.int64],
    pins: NDArray[np.int32],
    *,
    weight: Floats,
    area: Floats,
    fixed: Sides | None = None,
) -> Level:
    """Return the arrays of a hypergraph; a net's pins must differ from each other."""
    if fixed is None:
        fixed = np.full(len(area), -1, np.int8)
    first, nets = hypergraphs.incidence(start, pins, len(area))
    return Level(start, pins, weight, first, nets, area, fixed)


def contracted(
    level: Level, label: NDArray[np.int32], count: int, *, whole_nets: bool = False
) -> Level:
    """Return the hypergraph of clusters, vertex v in label[v]; those of label −1 are left out.

    Nets lose the vertices that are left out, or go with them where nets must be ``whole_nets``.
    What is put together must have one side or none.
    """
    start, pins, weight, area = hypergraphs.contract(
        level.start, level.pins, level.weight, level.area, label, count, whole_nets
    )
    fixed = np.full(count, -1, np.int8)
    tied = (level.fixed >= 0) & (label >= 0)
    fixed[label[tied]] = level.fixed[tied]
    return make_level(start, pins, weight=weight, area=area, fixed=fixed)


def join_fixed(level: Level) -> tuple[Level, NDArray[np.int32]]:
    """Return the hypergraph with all fixed vertices of a side in one, and the labels that made it.

    No cut changes by it.
    """
    tied = level.fixed >= 0
    label = np.empty(level.size, np.int32)
    free = level.size - int(tied.sum())
    label[~tied] = np.arange(free)
    sides, label[tied] = np.unique(level.fixed[tied], return_inverse=True)
    label[tied] += free
    return contracted(level, label, free + len(sides)), label


def coarsen(
    level: Level, group: Sides, rng: np.random.Generator
) -> tuple[list[Level], list[NDArray[np.int32]]]:
    """Return the levels, finest first, and the labels from each to the next.

    Only vertices of one ``group`` (vertices,) come together.
    """
    levels, labels = [level], []
    state = new_state(rng)
    most = HEAVIEST * float(level.area.sum()) / COARSEST
    while levels[-1].size > COARSEST:
        last = levels[-1]
        fewest = max(COARSEST, int(last.size / SHRINK))
        label, count = hypergraphs.cluster(
            last.start, last.pins, last.weight, last.first, last.nets, last.area, last.fixed,
            group, most, fewest, WIDEST, state,
        )  # fmt: skip
        if count > STALLED * last.size:
            break
        group = _of_clusters(group, label, count)
        levels.append(contracted(last, label, count))
        labels.append(label)
    return levels, labels


def refine(level: Level, parts: Sides, limit: Floats) -> float:
    """Move single vertices, in place, until no pass improves; return the cut.

    limit: (2,) area of either side. A side may be over it on the way by as much as two vertices
    need that the limits leave no room for.
    """
    room = float(limit[0] + limit[1] - level.area.sum()) / 2
    slack = max(0.0, 2 * float(level.area.sum()) / level.size - room)
    patience = max(LEAST_PATIENCE, int(PATIENCE * level.size))
    cut: float = bisections.improve(*level, parts, limit, slack, patience, PASSES)
    return cut


def excess(level: Level, parts: Sides, limit: Floats) -> float:
    """Return the area beyond the limits of the sides; 0 where the balance is kept."""
    held = np.bincount(parts, level.area, 2)
    return float(np.maximum(held - limit, 0).sum())


def shares(level: Level, limit: Floats) -> Floats:
    """Return the area that each side is to have: its share of the limits."""
    share: Floats = level.area.sum() * limit / max(float(limit.sum()), bisections.TINY)
    return share


def grown(level: Level, limit: Floats, rng: np.random.Generator, tries: int) -> list[Sides]:
    """Return sides grown from random vertices until they have their share of the area.

    Growing takes a time that is quadratic in the vertices, so where coarsening left very many the
    sides are random.
    """
    free = np.flatnonzero(level.fixed < 0)
    goal = float(shares(level, limit)[1])
    if level.size > MOST_GROWN:
        return [_random_sides(level, rng.permutation(free), goal)]
    found = []
    for seed in rng.choice(free, tries):
        parts = (level.fixed == 1).astype(np.int8)
        bisections.grow(*level, parts, goal, seed)
        found.append(parts)
    return found


def best_of(level: Level, many: list[Sides], limit: Floats) -> Sides:
    """Refine each and return that of the least excess and then the least cut."""
    keys = []
    for number, parts in enumerate(many):
        cut = refine(level, parts, limit)
        keys.append((excess(level, parts, limit), cut, number))
    return many[min(keys)[2]]


def bisect_arrays(
    level: Level,
    limit: Floats,
    rng: np.random.Generator,
    *,
    tries: int = TRIES,
    initial: Initial | None = None,
) -> tuple[Sides, float]:
    """Return (sides, cut) of one multilevel bisection; the sides keep ``limit`` where it can.

    limit: (2,), the most area of either side; a side's share of the total is its share of the
    limits. At the coarsest level ``tries`` sides are grown, besides what ``initial(level, limit,
    rng)`` returns; the best goes up. Whether the limits are kept is for the caller to see
    (:func:`excess`).
    """
    if not np.any(level.fixed < 0):
        parts = level.fixed.copy()
        return parts, hypergraphs.cut_weight(level.start, level.pins, level.weight, parts)
    levels, labels = coarsen(level, np.zeros(level.size, np.int8), rng)
    many = grown(levels[-1], limit, rng, tries)
    if initial is not None:
        many += initial(levels[-1], limit, rng)
    parts = best_of(levels[-1], many, limit)
    return refined_upwards(levels, labels, parts, limit)


def recombine(
    level: Level, better: Sides, other: Sides, limit: Floats, rng: np.random.Generator
) -> tuple[Sides, float]:
    """Return (sides, cut) no worse than ``better``: coarsened within what both have in common.

    With ``other`` the same it is a V-cycle (Karypis and Kumar 1999); else the recombination of
    Sanders and Schulz (2012): nets that neither cuts are contracted, and refinement moves whole
    pieces from the one to the other.
    """
    group = better + 2 * (better ^ other)
    levels, labels = coarsen(level, group, rng)
    parts = better
    for label in labels:
        parts = _of_clusters(parts, label, int(label.max()) + 1)
    return refined_upwards(levels, labels, parts.copy(), limit)


def refined_upwards(
    levels: list[Level], labels: list[NDArray[np.int32]], parts: Sides, limit: Floats
) -> tuple[Sides, float]:
    """Refine the coarsest sides, then those of each finer level; return those of the finest."""
    cut = refine(levels[-1], parts, limit)
    for level, label in zip(levels[-2::-1], labels[::-1], strict=True):
        parts = parts[label]
        cut = refine(level, parts, limit)
    return parts, cut


def _random_sides(level: Level, order: NDArray[np.intp], goal: float) -> Sides:
    """Return sides of which 1 gets free vertices in this order until it has ``goal`` area."""
    parts: Sides = (level.fixed == 1).astype(np.int8)
    left = goal - float(level.area[level.fixed == 1].sum())
    parts[order[np.cumsum(level.area[order]) <= left]] = 1
    return parts


def _of_clusters(values: Any, label: NDArray[np.int32], count: int) -> Any:
    """Return the value that all vertices of a cluster have."""
    found = np.zeros(count, values.dtype)
    found[label] = values
    return found
