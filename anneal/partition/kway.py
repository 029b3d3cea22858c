"""Hypergraphs in k parts: recursive bisection, then every two parts anew."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.kernels.hypergraphs import cut_weight
from anneal.partition import multilevel
from anneal.partition.bisection import (
    check_counts,
    check_seconds,
    describe,
    initial_by,
    level_of,
    refuse_impossible,
    search,
)
from anneal.partition.hypergraph import Hypergraph, are_whole, side_limits
from anneal.partition.multilevel import Floats, Initial, Level, Partition
from anneal.problem import Seed
from anneal.problems import edges

ROUNDS = 4  # through all pairs of parts, at most

Parts = NDArray[np.int64]


def partition(
    hypergraph: Hypergraph,
    num_parts: int,
    *,
    tolerance: float = 0.02,
    objective: str = "cut",
    fixed: ArrayLike | None = None,
    num_starts: int = 8,
    solver: str | None = "anneal",
    seed: Seed = None,
    time_limit: float | None = None,
    num_threads: int = 1,
    control: Control | None = None,
) -> Partition:
    """Return ``num_parts`` parts of little cut (``objective`` "cut") or connectivity ("km1").

    No part has more area than (1 + ``tolerance``) · total / k, rounded up where areas are whole.
    Recursive bisection, then every two parts that share a net are refined as a bisection of their
    own (a V-cycle, and one from scratch), which is exact for either objective: of nets with
    vertices elsewhere, "km1" keeps what is in the two, and "cut" drops them, as they are cut
    anyhow. The other keywords are those of
    :func:`~anneal.partition.bisect`, ``fixed`` holding parts 0 … k − 1; with a ``time_limit`` all
    is done again and again.

    Raises :class:`~anneal.errors.InfeasibleError` where no parts within the limits were found, and
    :class:`~anneal.errors.InputError` for arguments out of range.

    >>> ring = Hypergraph.from_nets(8, [[i, (i + 1) % 8] for i in range(8)])
    >>> partition(ring, 4, seed=1).cut
    4.0
    """
    size = edges.whole("num_parts", num_parts, least=1, most=hypergraph.num_vertices)
    tolerance = edges.number("tolerance", tolerance, least=0, most=1e9)
    if objective not in ("cut", "km1"):
        raise InputError(f"objective must be cut or km1, not {objective!r}")
    num_starts, num_threads = check_counts(num_starts, num_threads)
    control = control or Control(time_limit=check_seconds(time_limit))
    level = level_of(hypergraph, fixed, num_parts=size)
    shares = np.full(size, 1 / size)
    limit = side_limits(
        hypergraph.total_area, [1 / size], tolerance=tolerance, whole=are_whole(hypergraph.area)
    )
    refuse_impossible(level, np.repeat(limit, size))
    rng = np.random.default_rng(seed)
    splitter = _Splitter(
        level, size, float(limit[0]), initial_by(solver, hypergraph), control,
        num_starts=num_starts, num_threads=num_threads, whole_nets=objective == "cut",
    )  # fmt: skip
    score = hypergraph.cut if objective == "cut" else hypergraph.km1
    best, found = math.inf, np.zeros(hypergraph.num_vertices, np.int64)
    while best == math.inf or (control.time_limit is not None and best > 0 and not control.stop()):
        try:
            parts = splitter.split(rng)
        except InfeasibleError:
            if best == math.inf:
                raise
            continue
        if score(parts) < best:
            best, found = score(parts), parts
            control.improve(best)
    return describe(hypergraph, found, shares, control)


class _Splitter:
    """One hypergraph in k parts of at most ``most`` area each."""

    def __init__(
        self,
        level: Level,
        num_parts: int,
        most: float,
        initial: Initial | None,
        control: Control,
        *,
        num_starts: int,
        num_threads: int,
        whole_nets: bool,
    ) -> None:
        self.level = level
        self.num_parts = num_parts
        self.most = most
        self.initial = initial
        self.control = control
        self.num_starts = num_starts
        self.num_threads = num_threads
        self.whole_nets = whole_nets

    def split(self, rng: np.random.Generator) -> Parts:
        """Return the part of each vertex; raises InfeasibleError."""
        parts = np.zeros(self.level.size, np.int64)
        self._halve(parts, 0, self.num_parts, rng)
        self._refine(parts, rng)
        if self._too_large(parts).any():
            parts = self._packed()
            self._refine(parts, rng)
        if self._too_large(parts).any():
            raise InfeasibleError(
                f"no {self.num_parts} parts of area up to {self.most:.9g} were found"
            )
        return parts

    def _too_large(self, parts: Parts) -> NDArray[np.bool_]:
        return np.bincount(parts, self.level.area, self.num_parts) > self.most

    def _packed(self) -> Parts:
        """Return parts that think of the areas first: the largest vertex next, to the emptiest."""
        parts = self.level.fixed.astype(np.int64)
        tied = parts >= 0
        held = np.bincount(parts[tied], self.level.area[tied], self.num_parts)
        free = np.flatnonzero(~tied)
        for vertex in free[np.argsort(-self.level.area[free], kind="stable")]:
            parts[vertex] = held.argmin()
            held[parts[vertex]] += self.level.area[vertex]
        return parts

    def _refine(self, parts: Parts, rng: np.random.Generator) -> None:
        for _ in range(ROUNDS if self.num_parts > 2 else 0):
            if not self._improve(parts, rng):
                break

    def _halve(self, parts: Parts, low: int, num_parts: int, rng: np.random.Generator) -> None:
        """Give the vertices of part ``low`` the parts low … low + num_parts − 1, in place."""
        if num_parts == 1:
            self.control.done = max(self.control.done, (low + 1) / self.num_parts)
            return
        members = np.flatnonzero(parts == low)
        if not members.size:
            return
        half = num_parts // 2
        tied = self.level.fixed[members]
        sides = np.where(tied < 0, -1, tied >= low + half).astype(np.int8)
        level = self._within(members, sides)
        limit = self._limits(float(level.area.sum()), half, num_parts)
        found = search(
            level, limit, rng, num_starts=1 if self.control.stop() else self.num_starts,
            control=self.control, initial=self.initial, num_threads=self.num_threads, tell=False,
        )[2]  # fmt: skip
        parts[members[found == 1]] = low + half
        self._halve(parts, low, half, rng)
        self._halve(parts, low + half, num_parts - half, rng)

    def _limits(self, area: float, half: int, num_parts: int) -> Floats:
        """Return the limits of two sides of ``half`` and the other parts.

        The imbalance that is left is used up in equal factors, one for each bisection to come
        (Schlag and others 2016).
        """
        depth = math.ceil(math.log2(num_parts))
        factor = (self.most * num_parts / area) ** (1 / depth) if area > 0 else 1.0
        shares = np.array([half, num_parts - half], np.float64) / num_parts
        limit: Floats = np.minimum(factor * area, self.most * num_parts) * shares
        return limit * (1 + 1e-12)

    def _within(self, members: NDArray[np.intp], fixed: NDArray[np.int8]) -> Level:
        """Return the hypergraph of some vertices, numbered in their order."""
        label = np.full(self.level.size, -1, np.int32)
        label[members] = np.arange(len(members))
        free = self.level._replace(fixed=np.full(self.level.size, -1, np.int8))
        level = multilevel.contracted(free, label, len(members), whole_nets=self.whole_nets)
        return level._replace(fixed=fixed)

    def _improve(self, parts: Parts, rng: np.random.Generator) -> bool:
        """Refine every two parts that share a net, in place; return whether anything improved."""
        limit = np.full(2, self.most)
        improved = False
        for a, b in self._neighbours(parts):
            if self.control.stop() and not self._too_large(parts).any():
                break
            members = np.flatnonzero((parts == a) | (parts == b))
            tied = self.level.fixed[members]
            fixed = np.where(tied < 0, -1, tied == b).astype(np.int8)
            level = self._within(members, fixed)
            sides = (parts[members] == b).astype(np.int8)
            before = _state(level, sides, limit)
            better, _ = multilevel.recombine(level, sides, sides, limit, rng)
            fresh, _ = multilevel.bisect_arrays(level, limit, rng)
            best = min(better, fresh, key=lambda found: _state(level, found, limit))
            if _state(level, best, limit) < before:
                parts[members] = np.where(best == 1, b, a)
                improved = True
        return improved

    def _neighbours(self, parts: Parts) -> list[tuple[int, int]]:
        """Return the pairs of parts with a net in both, and those with a part that is too large."""
        one = np.ones(len(self.level.pins), np.float32)
        nets = scipy.sparse.csr_array(
            (one, parts[self.level.pins], self.level.start),
            shape=(len(self.level.weight), self.num_parts),
        )
        shared = (nets.T @ nets).toarray() > 0
        large = self._too_large(parts)
        shared |= large[:, None] | large
        i, j = np.nonzero(np.triu(shared, 1))
        return list(zip(i.tolist(), j.tolist(), strict=True))


def _state(level: Level, sides: NDArray[np.int8], limit: Floats) -> tuple[float, float]:
    over = multilevel.excess(level, sides, limit)
    return over, cut_weight(level.start, level.pins, level.weight, sides)
