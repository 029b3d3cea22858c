"""One call for every engine: names, seeds, limits and callbacks in, the best permutation out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from anneal.assignment import get_engine, keywords
from anneal.control import Control, supervise
from anneal.errors import InputError
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation
from anneal.registry import unknown
from anneal.sampler import Progress, available_threads, generator

Counts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class AssignmentResult:
    """The best permutation (n,), facility i at site permutation[i], and its cost, summed anew.

    trace: the improvements as (seconds, cost); interrupted: whether it was asked to end early;
    info: what the engine counted.
    """

    permutation: Permutation
    cost: float
    trace: list[tuple[float, float]]
    interrupted: bool
    info: Counts


def solve_assignment(
    problem: Assignment,
    *,
    engine: str = "memetic",
    seed: int | np.random.Generator | None = None,
    time_limit: float | None = None,
    target_cost: float | None = None,
    interrupt_function: Callable[[], bool] | None = None,
    progress: Progress | None = None,
    start: ArrayLike | None = None,
    num_threads: int | None = None,
    **parameters: Any,
) -> AssignmentResult:
    """Return the best permutation that an engine finds, no worse than ``start``.

    engine: a name of :data:`anneal.assignment.ENGINES`, or ``"module:function"``; ``parameters``
    are its own. time_limit: seconds of wall time. target_cost: stop at a cost as low. With a seed
    and no time limit the result does not depend on num_threads (default all). progress and
    interrupt_function are called in the caller's thread; Ctrl-C ends the search, and the best so
    far is returned. Raises :class:`~anneal.errors.InputError` for unknown names and for parameters
    out of range.

    >>> line = Assignment([[0, 3, 0], [0, 0, 1], [0, 0, 0]], [[0, 2, 9], [2, 0, 1], [9, 1, 0]])
    >>> solve_assignment(line, seed=1).permutation.tolist()
    [2, 1, 0]
    """
    run, known = get_engine(engine), keywords(engine)
    for name in parameters:
        if name not in known:
            raise unknown(name, known, kind=f"parameter of engine '{engine}'")
    rng, threads = generator(seed), available_threads()
    if num_threads is not None:
        threads = edges.whole("num_threads", num_threads, least=1)
    if time_limit is not None:
        time_limit = edges.number("time_limit", time_limit, least=0, most=1e9)
    if target_cost is not None and math.isnan(target_cost):
        raise InputError("target_cost must be a number")
    order = None if start is None else _checked(problem, start)
    control = Control(time_limit=time_limit, target_energy=target_cost)

    def work() -> tuple[Permutation, Counts]:
        found: tuple[Permutation, Counts] = run(
            problem, rng=rng, control=control, start=order, num_threads=threads, **parameters
        )
        return found

    permutation, info = supervise(work, control, interrupt_function, progress)
    cost = problem.cost(permutation)
    return AssignmentResult(permutation, cost, list(control.trace), control.interrupted, info)


def _checked(problem: Assignment, start: ArrayLike) -> Permutation:
    order, size = np.asarray(start), len(problem.flow)
    if order.shape != (size,) or not np.array_equal(np.sort(order), np.arange(size)):
        raise InputError(f"start must be a permutation of 0 … {size - 1}")
    return order.astype(np.int64)
