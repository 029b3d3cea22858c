"""Which of some disjoint swaps to make, as a BQM without penalties, for any dimod sampler.

With z_c = e_r − e_s of swap c, swapping is multiplication by 1 − z_c z_cᵀ, and the matrices of
disjoint swaps commute: chosen by x ∈ {0, 1}, they make S = 1 − Σ_c x_c z_c z_cᵀ of the distances D
(in the order of the facilities) S·D·S, so that the cost is

    ⟨F, S·D·S⟩ = ⟨F, D⟩ + Σ_c d_c x_c + Σ_{c≠d} (z_cᵀ F z_d)(z_cᵀ D z_d) x_c x_d,
    d_c = (z_cᵀ F z_c)(z_cᵀ D z_c) − Σ_k [(z_cᵀ F)_k (z_cᵀ D)_k + (F z_c)_k (D z_c)_k],

exactly: every sample is a permutation, and its energy the change of the cost. (In the manner of
Q-Match, Seelbach Benkner et al. 2021, arXiv:2105.02878.)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.assignment.tables import starting_orders
from anneal.control import Control
from anneal.errors import InputError
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Permutation
from anneal.solvers import get_solver

ROUNDS = 20  # times n
PATIENCE = 0.5  # times n: rounds in a row without a lower cost; in n, each pair comes once
SHAKE = 0.15  # of the facilities change sites then
OURS = {"num_reads": 1, "num_sweeps": 20, "num_threads": 1}

Pairs = NDArray[np.int64]


def swap_terms(
    problem: Assignment, order: Permutation, pairs: Pairs
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return d (m,) and C (m, m), symmetric with zero diagonal: d·x + ½ xᵀCx is the change of cost.

    pairs: (m, 2) facilities that swap their sites, each in one pair at most.
    """
    flow, distance = problem.flow, problem.distance[np.ix_(order, order)]
    first, second = pairs.T
    rows = [matrix[first] - matrix[second] for matrix in (flow, distance)]
    columns = [matrix[:, first] - matrix[:, second] for matrix in (flow, distance)]
    products = (rows[0][:, first] - rows[0][:, second]) * (rows[1][:, first] - rows[1][:, second])
    linear = np.diag(products) - (rows[0] * rows[1]).sum(axis=1)
    linear = linear - (columns[0] * columns[1]).sum(axis=0)
    quadratic = products + products.T
    np.fill_diagonal(quadratic, 0)
    return linear, quadratic


def swap_bqm(problem: Assignment, order: Permutation, pairs: Pairs) -> dimod.BinaryQuadraticModel:
    """Return the model of :func:`swap_terms`, variable c = 1 where pair c swaps.

    >>> line = Assignment([[0, 3], [1, 0]], [[0, 2], [5, 0]])
    >>> model = swap_bqm(line, np.array([0, 1]), np.array([[0, 1]]))
    >>> float(model.energy({0: 1})) == line.cost([1, 0]) - line.cost([0, 1])
    True
    """
    linear, quadratic = swap_terms(problem, order, pairs)
    i, j = np.nonzero(np.triu(quadratic))
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear, (i, j, quadratic[i, j]), 0.0, dimod.BINARY
    )


def swapped(order: Permutation, pairs: Pairs) -> Permutation:
    """Return ``order`` after all of ``pairs``.

    >>> swapped(np.array([5, 6, 7]), np.array([[0, 2]])).tolist()
    [7, 6, 5]
    """
    changed = order.copy()
    changed[pairs] = order[pairs[:, ::-1]]
    return changed


def swaps(
    problem: Assignment,
    *,
    rng: np.random.Generator,
    control: Control,
    start: Permutation | None = None,
    num_threads: int = 1,
    sampler: Any = "anneal",
    num_rounds: int | None = None,
    num_pairs: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[Permutation, dict[str, Any]]:
    """Return a permutation reached by rounds of swaps that a sampler chooses, and their number.

    A round draws ``num_pairs`` disjoint pairs (default and at most n/2), samples their model, and
    makes the swaps of the best sample unless they raise the cost. sampler: a dimod sampler, or the
    name of one of ours; ``parameters`` are its own, and it gets a ``seed`` where it takes one.
    num_rounds: 20·n by default, or by the clock with a time limit. Threads are the sampler's
    affair. Raises :class:`~anneal.errors.InputError` for a sampler that is none.

    >>> problem = Assignment.generate(seed=1, num_facilities=6)
    >>> order, counts = swaps(problem, rng=np.random.default_rng(1), control=Control())
    >>> problem.cost(order)
    166.0
    """
    size = len(problem.flow)
    chooser = get_solver(sampler)() if isinstance(sampler, str) else sampler
    if not callable(getattr(chooser, "sample", None)):
        raise InputError(f"sampler must be a dimod sampler or its name, is {sampler!r}")
    options = dict(OURS if parameters is None and sampler == "anneal" else parameters or {})
    count = size // 2 if num_pairs is None else num_pairs
    count = edges.whole("num_pairs", count, least=min(1, size // 2), most=size // 2)
    timed = num_rounds is None and not math.isinf(control.remaining())
    most = edges.whole("num_rounds", ROUNDS * size if num_rounds is None else num_rounds)
    seeded = _takes_seed(chooser)
    best = order = starting_orders(problem, start, 1, rng)[0]
    least = cost = problem.cost(order)
    control.improve(least)
    rounds = stale = 0
    while count and (timed or rounds < most) and not control.stop():
        pairs = rng.permutation(size)[: 2 * count].reshape(count, 2)
        seed = {"seed": int(rng.integers(2**31))} if seeded else {}
        found = chooser.sample(swap_bqm(problem, order, pairs), **seed, **options)
        chosen = found.first.sample
        changed = swapped(order, pairs[[chosen[c] == 1 for c in range(count)]])
        new = problem.cost(changed)
        stale = 0 if new < cost else stale + 1
        if new <= cost:
            order, cost = changed, new
        if cost <= least:
            best, least = order, cost
            control.improve(cost)
        if stale > PATIENCE * size:
            order, stale = shaken(best, rng), 0
            cost = problem.cost(order)
        rounds += 1
        control.done = rounds / most
    return best, {"rounds": rounds, "num_pairs": count}


def shaken(order: Permutation, rng: np.random.Generator) -> Permutation:
    """Return ``order`` with the sites of a few facilities, drawn at random, mixed up."""
    size = len(order)
    few = rng.choice(size, min(size, max(4, int(SHAKE * size))), replace=False)
    changed = order.copy()
    changed[few] = order[rng.permutation(few)]
    return changed


def _takes_seed(sampler: Any) -> bool:
    return (
        "seed" in getattr(sampler, "parameters", ())
        or "seed" in inspect.signature(sampler.sample).parameters
    )
