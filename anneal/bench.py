"""The benchmark: instances × solvers × seeds × budgets at equal time, resumable."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import product
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt

from anneal.errors import InputError
from anneal.executors import Executor, Threads, WorkerDied
from anneal.measure import gap, reached
from anneal.peers import CLOCKS, PEERS, Call, check_name, timed_peer
from anneal.problem import Given, Problem, models_of
from anneal.records import Record, RecordFile, Task, versions
from anneal.rivals import RIVALS
from anneal.suites import Instance

Progress = Callable[[int, int, Record], None]
MAX_TRACE = 50
MAX_LEVELS = 50


def run_bench(
    instances: Sequence[Instance],
    solvers: Sequence[str],
    *,
    seeds: Iterable[int],
    budgets: Iterable[float],
    records: RecordFile,
    clock: str = "cpu",
    num_threads: int = 1,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> list[Record]:
    """Run every combination that has no row in ``records`` yet and return the rows of all of them.

    budgets: seconds, measured end to end from a built BQM by ``clock``, ``"cpu"`` (this process) or
    ``"wall"``. Our solvers mind wall time, so both agree on one thread of an idle machine; every
    row tells both. Solvers alternate innermost, so that what slows the machine slows all. Every
    returned state is re-scored by dimod. A solver that cannot take an instance gets a row that says
    why, tried again next time. ``progress(done, total, record)`` is called after each row. Ctrl-C
    keeps what is done; a second one does not wait for the solver. executor: runs side by side on
    its workers, best on as many cores. Raises :class:`~anneal.errors.InputError` for unknown names.
    """
    if clock not in CLOCKS:
        raise InputError(f"clock must be {' or '.join(CLOCKS)}, not '{clock}'")
    if clock == "cpu" and isinstance(executor, Threads):
        raise InputError("the clock 'cpu' is of all threads together: with these, take 'wall'")
    for solver in solvers:
        check_name(solver)
    jobs = [
        _Job(instance, solver, int(seed), float(budget), clock, num_threads)
        for instance, budget, seed, solver in product(instances, budgets, seeds, solvers)
    ]
    known = {row.task.id: row for row in records.read()} if records.path.exists() else {}
    rows = {key: row for key, row in known.items() if "error" not in row.result}
    todo = [job for job in jobs if job.task.id not in rows]
    with interruptible() as stopped:
        found = _run(todo, stopped) if executor is None else _run_on(executor, todo, stopped)
        for done, row in enumerate(found, start=len(jobs) - len(todo) + 1):
            records.append(row)
            rows[row.task.id] = row
            if progress is not None:
                progress(done, len(jobs), row)
    return [rows[job.task.id] for job in jobs]


@dataclass(frozen=True)
class _Job:
    instance: Instance
    solver: str
    seed: int
    budget: float
    clock: str
    num_threads: int

    @cached_property
    def task(self) -> Task:
        return Task(
            "bench",
            {
                "instance": self.instance.spec,
                "solver": self.solver,
                "seed": self.seed,
                "budget": self.budget,
                "clock": self.clock,
                "num_threads": self.num_threads,
            },
        )


def _run(jobs: Iterable[_Job], stopped: Callable[[], bool]) -> Iterator[Record]:
    """Rows one by one."""
    for job in jobs:
        row = _row(job, stopped)
        if stopped():
            raise KeyboardInterrupt
        yield row


def _run_on(
    executor: Executor, jobs: Sequence[_Job], stopped: Callable[[], bool]
) -> Iterator[Record]:
    """Rows as they come; that of a job whose workers died says so."""
    for index, row in executor.run(_worker_row, jobs, stopped=stopped):
        died = isinstance(row, WorkerDied)
        yield Record(jobs[index].task, {"error": str(row)}, 0.0) if died else row
    if stopped():
        raise KeyboardInterrupt


def _worker_row(job: _Job) -> Record:
    with interruptible() as stopped:
        row = _row(job, stopped)
    if stopped():
        raise KeyboardInterrupt  # a run that was cut off has no row
    return row


def _row(job: _Job, stopped: Callable[[], bool]) -> Record:
    plans = _plans(job.instance)
    started = time.perf_counter()
    try:
        result = _solve(job, plans, stopped)
    except (InputError, ValueError, MemoryError) as error:
        result = {"error": str(error) or type(error).__name__}
    seconds = result.get("wall_seconds", time.perf_counter() - started)
    rival = RIVALS[job.solver].versions() if job.solver in RIVALS else {}
    return Record(job.task, result, seconds, versions=versions() | rival)


@lru_cache(maxsize=1)
def _plans(instance: Instance) -> _Plans:
    """An instance is loaded, and a call planned, once while its jobs follow each other."""
    plans = _Plans()
    plans.load(instance)
    return plans


class _Plans:
    """The instance at hand and the planned calls of its solvers."""

    def load(self, instance: Instance) -> None:
        loaded = instance.load()
        self.problem = loaded if isinstance(loaded, Problem) else None
        self.bqm: dimod.BinaryQuadraticModel
        self.apart: Given | None
        if isinstance(loaded, Problem):
            self.bqm, self.apart = models_of(loaded)
        else:
            self.bqm, self.apart = loaded, None
        known = instance.best_known
        if known is None and self.problem is not None:
            known = self.problem.best_known
        self.best_known = known
        self.calls: dict[tuple[str, float], Call] = {}
        self.refused: dict[tuple[str, float], InputError] = {}

    def call(self, job: _Job) -> Call:
        key = job.solver, job.budget
        if key in self.refused:
            raise InputError(str(self.refused[key]))
        if key not in self.calls:
            try:
                self.calls[key] = self._planned(job)
            except InputError as error:
                self.refused[key] = error
                raise
        return self.calls[key]

    def _planned(self, job: _Job) -> Call:
        plan = partial(
            timed_peer,
            job.solver,
            self.bqm,
            apart=self.apart,
            clock=CLOCKS[job.clock],
            num_threads=job.num_threads,
        )
        if job.solver not in PEERS:  # These run as they are planned.
            # A short call compiles, or loads, the code that this instance needs.
            plan(budget=min(0.1, job.budget))(0, lambda: False)
        return plan(budget=job.budget)


def _solve(job: _Job, plans: _Plans, stopped: Callable[[], bool]) -> dict[str, Any]:
    call = plans.call(job)
    wall, cpu = time.perf_counter(), time.process_time()
    found = call(job.seed, stopped)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if not len(found):
        raise InputError("the solver returned no sample")
    return {
        "cpu_seconds": round(cpu, 6),
        "wall_seconds": round(wall, 6),
        **score(found, plans.bqm, problem=plans.problem, best_known=plans.best_known),
        "trace": thin(found.info.get("trace", [])),
    }


def score(
    found: dimod.SampleSet,
    bqm: dimod.BinaryQuadraticModel,
    *,
    problem: Problem | None = None,
    best_known: float | None = None,
) -> dict[str, Any]:
    """Return what a row says of samples: every state's energy anew, the best one's cost.

    Keys: ``energy``, ``cost`` (of the decoded, hence feasible, solution; the energy without a
    problem), ``feasible`` (the best sample breaks no constraint; None without a problem),
    ``best_known``, ``gap`` (None where unknown or infinite), ``num_reads``, ``energies``.

    >>> bqm = dimod.BQM.from_ising({}, {(0, 1): 1.0})
    >>> score(dimod.ExactSolver().sample(bqm), bqm, best_known=-1.0)["energies"]
    {'values': [-1.0, 1.0], 'counts': [2, 2]}
    """
    found = found.change_vartype(bqm.vartype, inplace=False)
    energies = np.asarray(bqm.energies((found.record.sample, found.variables)), float)
    best = int(np.argmin(energies))
    energy = float(energies[best])
    cost, feasible = energy, None
    if problem is not None:
        sample = dict(zip(found.variables, found.record.sample[best].tolist(), strict=True))
        cost, feasible = float(problem.cost(problem.decode(sample))), bool(problem.feasible(sample))
    distance = None if best_known is None else float(gap(energy, best_known))
    return {
        "energy": energy,
        "cost": cost,
        "feasible": feasible,
        "best_known": None if best_known is None else float(best_known),
        "gap": distance if distance is not None and np.isfinite(distance) else None,
        "hit": None if best_known is None else bool(reached(energy, best_known)),
        "num_reads": int(found.record.num_occurrences.sum()),
        "energies": levels(energies, found.record.num_occurrences),
    }


def levels(
    energies: npt.NDArray[np.float64], counts: npt.NDArray[np.int_]
) -> dict[str, list[float]]:
    """Return the distribution of energies: exact, or above 50 levels in bins named by their least.

    >>> levels(np.array([3.0, 1.0, 3.0]), np.array([1, 2, 1]))
    {'values': [1.0, 3.0], 'counts': [2, 2]}
    """
    values, inverse = np.unique(energies, return_inverse=True)
    if len(values) > MAX_LEVELS:
        edges = np.linspace(values[0], values[-1], MAX_LEVELS + 1)
        bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, MAX_LEVELS - 1)
        _, first, group = np.unique(bins, return_index=True, return_inverse=True)
        values, inverse = values[first], group[inverse]
    totals = np.bincount(inverse, counts, len(values)).astype(int)
    return {"values": values.tolist(), "counts": totals.tolist()}


def thin(trace: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return at most 50 points of a trace, the first and the last among them.

    >>> len(thin([(float(t), -float(t)) for t in range(1000)]))
    50
    """
    keep = np.unique(np.linspace(0, len(trace) - 1, min(len(trace), MAX_TRACE)).round().astype(int))
    return [[round(float(trace[k][0]), 6), float(trace[k][1])] for k in keep]


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question's answer and leave the second as it was.

    An exception would be swallowed by a solver that returns the best so far on Ctrl-C, or inside a
    peer's callback, and a cut-off call would be recorded as a whole one.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, before)
