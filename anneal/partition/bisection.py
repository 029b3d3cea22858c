"""Hypergraphs in two parts: many multilevel starts, recombined."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.partition import multilevel
from anneal.partition.coarsest import sampled
from anneal.partition.hypergraph import Hypergraph, are_whole, side_limits
from anneal.partition.multilevel import Floats, Initial, Level, Partition, Sides
from anneal.problem import Seed
from anneal.problems import edges
from anneal.sampler import in_threads

GENERATIONS = 4  # of recombinations, at most, while they improve
LARGEST_STARTS = 10_000

Found = tuple[float, float, Sides]  # excess, cut, sides


def bisect(
    hypergraph: Hypergraph,
    *,
    tolerance: float = 0.02,
    fixed: ArrayLike | None = None,
    target_share: float = 0.5,
    num_starts: int = 8,
    solver: str | None = "anneal",
    seed: Seed = None,
    time_limit: float | None = None,
    num_threads: int = 1,
    control: Control | None = None,
) -> Partition:
    """Return two parts of little cut, 0 and 1.

    Part 0 has ``target_share`` of the area and part 1 the rest, each at most (1 + ``tolerance``)
    times that, rounded up where areas are whole (for halves ⌈(1 + ε) total / 2⌉, as hMETIS and
    Mt-KaHyPar). fixed: (vertices,), the part of a vertex that must stay, −1 of all others.

    ``num_starts`` multilevel starts, each with the coarsest level parted by greedy growing and by
    ``solver`` (a name of :mod:`anneal.solvers` or ``"module:Class"``; None: growing alone), then
    recombined. One start is not recombined. ``time_limit``: seconds, in which all of that is done
    again and again. Without one the result is that of the seed, whatever ``num_threads`` is.

    Raises :class:`~anneal.errors.InfeasibleError` where no parts within the limits were found, and
    :class:`~anneal.errors.InputError` for arguments out of range.

    >>> square = Hypergraph.from_nets(4, [[0, 1], [1, 2], [2, 3], [3, 0]])
    >>> bisect(square, seed=1).cut
    2.0
    """
    tolerance = edges.number("tolerance", tolerance, least=0, most=1e9)
    share = edges.number("target_share", target_share, least=0, most=1)
    num_starts, num_threads = check_counts(num_starts, num_threads)
    control = control or Control(time_limit=check_seconds(time_limit))
    level = level_of(hypergraph, fixed, num_parts=2)
    limit = side_limits(
        hypergraph.total_area, [share, 1 - share], tolerance=tolerance,
        whole=are_whole(hypergraph.area),
    )  # fmt: skip
    refuse_impossible(level, limit)
    over, _, parts = search(
        level, limit, np.random.default_rng(seed), num_starts=num_starts, control=control,
        initial=initial_by(solver, hypergraph), num_threads=num_threads,
        repeat=control.time_limit is not None,
    )  # fmt: skip
    if over > 0:
        raise InfeasibleError(
            f"no parts of area up to {limit[0]:.9g} and {limit[1]:.9g} were found"
        )
    return describe(hypergraph, parts, np.array([share, 1 - share]), control)


def search(
    level: Level,
    limit: Floats,
    rng: np.random.Generator,
    *,
    num_starts: int,
    initial: Initial | None,
    control: Control,
    num_threads: int = 1,
    repeat: bool = False,
    tell: bool = True,
) -> Found:
    """Return the best of starts and recombinations; with ``repeat`` until the control stops.

    The first number is 0 where the sides keep the limits. ``tell``: whether the control hears of
    cuts and progress.
    """
    label = None
    if max(np.sum(level.fixed == 0), np.sum(level.fixed == 1)) > 1:
        level, label = multilevel.join_fixed(level)
    best: Found | None = None
    try:
        while best is None or (repeat and best[1] > 0 and not control.stop()):
            found = one_round(level, limit, rng, num_starts, initial, control, num_threads, tell)
            best = found if best is None else min([best, found], key=_key)
    except KeyboardInterrupt:
        control.interrupt()
        if best is None:
            raise
    if best[0] > 0:
        best = min([best, _packed(level, limit)], key=_key)
    return best if label is None else (best[0], best[1], best[2][label])


def one_round(
    level: Level,
    limit: Floats,
    rng: np.random.Generator,
    num_starts: int,
    initial: Initial | None,
    control: Control,
    num_threads: int,
    tell: bool,
) -> Found:
    """Return the best of ``num_starts`` starts and of generations of recombinations of these."""
    told = [0]

    def note(found: tuple[Sides, float]) -> Found:
        over = multilevel.excess(level, found[0], limit)
        told[0] += 1
        if tell:
            control.done = max(control.done, min(1.0, told[0] / (2 * num_starts)))
            if over == 0:
                control.improve(found[1])
        return over, found[1], found[0]

    def start(task: tuple[int, np.random.Generator]) -> Found | None:
        number, own = task
        if number and control.stop():
            return None
        return note(multilevel.bisect_arrays(level, limit, own, initial=initial))

    def child(task: tuple[Found, Found, np.random.Generator]) -> Found | None:
        if control.stop():
            return None
        better, other = sorted((task[0], task[1]), key=_key)
        return note(multilevel.recombine(level, better[2], other[2], limit, task[2]))

    started = in_threads(start, list(enumerate(rng.spawn(num_starts))), num_threads)
    people: list[Found] = sorted((found for found in started if found is not None), key=_key)
    for _ in range(GENERATIONS if num_starts > 1 else 0):
        order = rng.permutation(len(people))
        tasks = [
            (people[i], people[j], own)
            for i, j, own in zip(order, np.roll(order, 1), rng.spawn(len(order)), strict=True)
        ]
        children = [one for one in in_threads(child, tasks, num_threads) if one is not None]
        before = people[0]
        people = sorted(people + children, key=_key)[: len(people)]
        if _key(people[0]) == _key(before):
            break
    return people[0]


def level_of(hypergraph: Hypergraph, fixed: ArrayLike | None, *, num_parts: int) -> Level:
    """Return the arrays of a hypergraph; ``fixed`` of the level holds parts.

    Raises :class:`~anneal.errors.InputError` where ``fixed`` is not of −1 … num_parts − 1.
    """
    size = hypergraph.num_vertices
    tied = np.full(size, -1) if fixed is None else np.asarray(fixed)
    if tied.shape != (size,) or not np.issubdtype(tied.dtype, np.integer):
        raise InputError(
            f"fixed must be {size} whole numbers, not {tied.dtype} of shape {tied.shape}"
        )
    if tied.min() < -1 or tied.max() >= num_parts:
        raise InputError(f"fixed must lie in -1 … {num_parts - 1}")
    return multilevel.make_level(
        hypergraph.start, hypergraph.pins, weight=hypergraph.weight, area=hypergraph.area,
        fixed=tied.astype(np.int8 if num_parts <= 2 else np.int32),
    )  # fmt: skip


def refuse_impossible(level: Level, limit: Floats) -> None:
    """Raise InfeasibleError where what is fixed, one vertex, or everything is beyond the limits."""
    tied = level.fixed >= 0
    held = np.bincount(level.fixed[tied], level.area[tied], len(limit))
    for side, area in enumerate(held):
        if area > limit[side]:
            raise InfeasibleError(
                f"vertices fixed to part {side} have area {area:.9g}, more than {limit[side]:.9g}"
            )
    free = np.where(tied, 0.0, level.area)
    largest = int(free.argmax())
    if free[largest] > (limit - held).max():
        raise InfeasibleError(
            f"vertex {largest} has area {free[largest]:.9g}, more than any part has left"
        )
    if level.area.sum() > limit.sum():
        raise InfeasibleError("the parts together hold less than the area of all vertices")


def initial_by(solver: str | None, hypergraph: Hypergraph) -> Initial | None:
    """Return what parts coarsest levels, scaled to the mean weight of a net."""
    if solver is None:
        return None
    mean = float(hypergraph.weight.mean()) if hypergraph.num_nets else 0.0
    return sampled(solver, unit=mean or 1.0)


def check_counts(num_starts: Any, num_threads: Any) -> tuple[int, int]:
    """Return both as ints of at least 1, or raise InputError."""
    starts = edges.whole("num_starts", num_starts, least=1, most=LARGEST_STARTS)
    return starts, edges.whole("num_threads", num_threads, least=1, most=LARGEST_STARTS)


def check_seconds(time_limit: Any) -> float | None:
    """Return a time limit as a float, or raise InputError."""
    if time_limit is None:
        return None
    return edges.number("time_limit", time_limit, least=0, most=1e9)


def describe(
    hypergraph: Hypergraph, parts: NDArray[Any], shares: Floats, control: Control
) -> Partition:
    """Return the parts with what they cut, counted anew."""
    part = parts.astype(np.int64)
    areas = hypergraph.part_areas(part, len(shares))
    total = hypergraph.total_area
    wanted = shares * total
    over = np.divide(areas, wanted, out=np.where(areas > 0, np.inf, 1.0), where=wanted > 0)
    imbalance = float(over.max()) - 1
    return Partition(
        part, hypergraph.cut(part), hypergraph.km1(part), areas, imbalance, list(control.trace)
    )


def _packed(level: Level, limit: Floats) -> Found:
    """Return sides that think of the areas first: the largest vertex next, where more is left."""
    left = limit - np.bincount(level.fixed[level.fixed >= 0], level.area[level.fixed >= 0], 2)
    parts = level.fixed.copy()
    free = np.flatnonzero(level.fixed < 0)
    for vertex in free[np.argsort(-level.area[free], kind="stable")]:
        side = int(left.argmax())
        parts[vertex] = side
        left[side] -= level.area[vertex]
    cut = multilevel.refine(level, parts, limit)
    return multilevel.excess(level, parts, limit), cut, parts


def _key(found: Found) -> tuple[float, float]:
    return found[:2]
