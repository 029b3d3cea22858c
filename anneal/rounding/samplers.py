"""Rounding by any dimod sampler: each row as a binary quadratic model."""

from __future__ import annotations

from typing import Any

import numpy as np

from anneal.rounding.rows import LayerRows, Levels


def neal(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    num_reads: int = 10,
    num_sweeps: int = 1000,
) -> Levels:
    """Sample each row with dwave-neal's simulated annealing: the reference."""
    import neal as package

    sampler = package.SimulatedAnnealingSampler()
    return sample(rows, sampler, rng=rng, num_reads=num_reads, num_sweeps=num_sweeps)


def sample(rows: LayerRows, sampler: Any, *, rng: np.random.Generator, **parameters: Any) -> Levels:
    """Return the best that a dimod sampler finds for each row; it gets ``parameters``, and a seed
    where it takes one.

    >>> from anneal.solvers.exact import ExactSampler
    >>> rows = LayerRows(np.array([[0.4, 0.6]]), np.eye(2)[None], *np.array([[[0, 0]], [[1, 1]]]),
    ...             np.ones(1), np.zeros(1))
    >>> sample(rows, ExactSampler(), rng=np.random.default_rng(0))
    array([[0, 1]])
    """
    found = np.empty(rows.target.shape, np.int64)
    seeded = "seed" in sampler.parameters
    for index in range(rows.num_rows):
        row = rows.row(index)
        model = row.bqm()
        if model.num_variables == 0:
            found[index] = row.lower
            continue
        told = {"seed": int(rng.integers(2**31))} if seeded else {}
        best = sampler.sample(model, **told, **parameters).first.sample
        found[index] = row.decode(best)
    return found
