"""Reads in parts, each with random numbers of its own, on any executor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dimod
import numpy as np

from anneal.errors import InputError
from anneal.executors import Executor, WorkerDied
from anneal.sampler import Progress, check_counts, generator

READS = 64  # of a part, where they are not limited by time


class DistributedSampler(dimod.ComposedSampler):  # type: ignore[misc,name-defined]
    """A sampler whose reads are shared out.

    Without a time limit the parts depend on ``num_reads`` alone, 64 reads each, so that a seed
    gives the same samples on every executor and any number of workers. With a time limit every
    worker searches for that long, and ``num_reads`` are divided among them. Each part has one
    thread. Parts that have finished are kept where the search is interrupted, or a worker died
    again and again: ``info["lost_parts"]`` counts these.

    >>> from anneal.executors import open_executor
    >>> from anneal.solvers import get_solver
    >>> model = dimod.BQM.from_ising({}, {("a", "b"): 1.0})
    >>> with open_executor("threads", num_workers=2) as executor:
    ...     sampler = DistributedSampler(get_solver("anneal")(), executor)
    ...     found = sampler.sample(model, num_reads=100, num_sweeps=10, seed=1)
    >>> len(found), float(found.first.energy), found.info["parts"]
    (100, -1.0, 2)
    """

    def __init__(self, child: Any, executor: Executor) -> None:
        self.child_sampler = child
        self.executor = executor

    @property
    def children(self) -> list[Any]:
        """The sampler that does the work."""
        return [self.child_sampler]

    @property
    def parameters(self) -> dict[str, Any]:
        """The child's, and those with which a search is watched."""
        return dict(self.child_sampler.parameters) | {
            "seed": [], "interrupt_function": [], "progress": [],
        }  # fmt: skip

    @property
    def properties(self) -> dict[str, Any]:
        """What the child says of itself."""
        return {"child_properties": dict(self.child_sampler.properties)}

    def sample(
        self,
        bqm: dimod.BinaryQuadraticModel,
        *,
        num_reads: int | None = None,
        seed: int | np.random.Generator | None = None,
        time_limit: float | None = None,
        interrupt_function: Callable[[], bool] | None = None,
        progress: Progress | None = None,
        **parameters: Any,
    ) -> dimod.SampleSet:
        """Sample a BQM; the other keywords are the child's.

        Raises :class:`~anneal.errors.InputError` for initial states, and RuntimeError where no part
        was finished.
        """
        if parameters.get("initial_states") is not None:
            raise InputError("initial states cannot be divided among workers")
        reads = self._reads(num_reads, time_limit)
        given = {"num_threads": 1, "time_limit": time_limit, **parameters}
        known = self.child_sampler.parameters
        given = {
            k: v for k, v in given.items() if v is not None and (k in known or k in parameters)
        }
        seeds = generator(seed).integers(2**31, size=len(reads))  # what neal takes too
        parts = [(int(part_seed), count) for part_seed, count in zip(seeds, reads, strict=True)]
        found: dict[int, dimod.SampleSet] = {}
        stopped = interrupt_function or (lambda: False)
        work = partial(_part, self.child_sampler, bqm, given)
        lost = 0
        for index, samples in self.executor.run(work, parts, stopped=stopped):
            if isinstance(samples, WorkerDied):
                lost += 1
                continue
            found[index] = samples
            if progress is not None:
                best = min(float(samples.first.energy) for samples in found.values())
                progress(len(found) / len(parts), best)
        if not found:
            raise RuntimeError("no part of the reads was finished")
        joined: dimod.SampleSet = dimod.concatenate([found[index] for index in sorted(found)])
        joined.info.update(self._info(found, parts=len(parts), lost=lost, stopped=stopped()))
        return joined

    def _reads(self, num_reads: int | None, time_limit: float | None) -> list[int | None]:
        """How many reads each part has."""
        check_counts(num_reads=num_reads)
        if time_limit is not None:
            count = self.executor.num_workers
            if num_reads is None:
                return [None] * count
            count = min(count, num_reads)
        elif num_reads is None:
            return [None]
        else:
            count = -(-num_reads // READS)
        return [int(num_reads) // count + (part < num_reads % count) for part in range(count)]

    @staticmethod
    def _info(
        found: dict[int, dimod.SampleSet], *, parts: int, lost: int, stopped: bool
    ) -> dict[str, Any]:
        best = min(found.values(), key=lambda samples: float(samples.first.energy))
        kept = {key: best.info[key] for key in ("solver", "reason", "trace") if key in best.info}
        interrupted = stopped or any(samples.info.get("interrupted") for samples in found.values())
        return {**kept, "parts": parts, "lost_parts": lost, "interrupted": interrupted}


def _part(
    child: Any,
    bqm: dimod.BinaryQuadraticModel,
    parameters: dict[str, Any],
    part: tuple[int, int | None],
) -> dimod.SampleSet:
    seed, reads = part
    own = {"seed": seed, "num_reads": reads}
    own = {k: v for k, v in own.items() if v is not None and k in child.parameters}
    found: dimod.SampleSet = child.sample(bqm, **parameters, **own)
    found.resolve()
    return found
