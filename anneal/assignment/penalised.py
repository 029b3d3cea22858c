"""Models with penalties, sampled anew with larger ones until enough samples are permutations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import dimod
import numpy as np

from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation
from anneal.problems.domain_wall import DomainWallAssignment, measured_domain_wall_penalties
from anneal.sampler import generator

Penalised = Assignment | DomainWallAssignment


@dataclass(frozen=True, eq=False)
class PenaltyResult:
    """The last problem sampled, with the penalties that applied, and what came of it.

    permutation, cost: the best of all samples, repaired where they were infeasible; repaired:
    whether the best one was; feasible_fraction: of the last samples; tried: (penalty, feasible
    fraction) of each try.
    """

    problem: Penalised
    sampleset: dimod.SampleSet
    permutation: Permutation
    cost: float
    repaired: bool
    feasible_fraction: float
    tried: list[tuple[float, float]]


class SampleVerdict(NamedTuple):
    """What samples are worth: the share that is feasible, and the cheapest permutation of all."""

    feasible_fraction: float
    permutation: Permutation
    cost: float
    repaired: bool


def with_measured_penalties(problem: Penalised) -> Penalised:
    """Return ``problem`` with the penalties that its measured rule gives.

    >>> with_measured_penalties(Assignment.generate(seed=1, num_facilities=4)).penalty
    11.671875
    """
    if isinstance(problem, Assignment):
        return replace(problem, penalty=problem.describe()["measured_penalty"])
    penalty, chain = measured_domain_wall_penalties(problem.assignment)
    return replace(problem, penalty=penalty, chain_strength=chain)


def sample_until_feasible(
    problem: Penalised,
    sampler: Any,
    *,
    seed: int | np.random.Generator | None = None,
    least_feasible: float = 0.5,
    growth: float = 1.25,
    num_tries: int = 8,
    parameters: Mapping[str, Any] | None = None,
    interrupt_function: Callable[[], bool] | None = None,
) -> PenaltyResult:
    """Sample ``problem`` with its penalties, ``growth`` times as large at each try, until at least
    ``least_feasible`` of the samples break no constraint, ``num_tries`` times at most.

    sampler: any of dimod's, with ``parameters`` of its own, and a ``seed`` where it takes one. The
    chain strength of a domain wall grows along. The band of good penalties is narrow, so begin with
    :func:`with_measured_penalties`. No try begins once ``interrupt_function`` is true. Raises
    :class:`~anneal.errors.InputError` for numbers out of range.

    >>> from anneal.solvers.anneal import AnnealSampler
    >>> problem = replace(Assignment.generate(seed=1, num_facilities=4), penalty=2)
    >>> found = sample_until_feasible(problem, AnnealSampler(), seed=1, parameters={"num_reads": 9})
    >>> found.feasible_fraction >= 0.5, found.problem.penalty > 2
    (True, True)
    """
    least_feasible = edges.number("least_feasible", least_feasible, least=0, most=1)
    growth = edges.number("growth", growth, least=1.01, most=100)
    tries = edges.whole("num_tries", num_tries, least=1)
    rng, tried = generator(seed), []
    best: SampleVerdict | None = None
    while True:
        seeds = {"seed": int(rng.integers(2**31))} if "seed" in sampler.parameters else {}
        found = sampler.sample(problem.bqm(), **seeds, **(parameters or {}))
        judged = _judged(problem, found)
        if best is None or (judged.cost, judged.repaired) < (best.cost, best.repaired):
            best = judged
        fraction = judged.feasible_fraction
        tried.append((float(problem.penalty or 0), fraction))
        interrupted = interrupt_function is not None and interrupt_function()
        if fraction >= least_feasible or len(tried) >= tries or interrupted:
            return PenaltyResult(
                problem, found, best.permutation, best.cost, best.repaired, fraction, tried
            )
        problem = _raised(problem, growth)


def _raised(problem: Penalised, growth: float) -> Penalised:
    penalty = growth * float(problem.penalty or 0)
    if isinstance(problem, Assignment):
        return replace(problem, penalty=penalty)
    chain = growth * float(problem.chain_strength or 0)
    return replace(problem, penalty=penalty, chain_strength=chain)


def _judged(problem: Penalised, found: dimod.SampleSet) -> SampleVerdict:
    order = [found.variables.index(v) for v in range(len(found.variables))]
    states = np.asarray(found.record.sample)[:, order]
    if found.vartype is dimod.SPIN:
        states = (states + 1) // 2
    counts = found.record.num_occurrences
    feasible = np.array([problem.feasible(state) for state in states])
    solutions = [problem.decode(state) for state in states]
    costs = np.array([problem.cost(solution) for solution in solutions])
    best = int(np.lexsort([~feasible, costs])[0])
    share = float((feasible * counts).sum() / counts.sum())
    return SampleVerdict(share, solutions[best], float(costs[best]), not feasible[best])
