"""Solvers run for a time: ours by their time limit, others by as many reads as fit in it.

Those of packages beside dwave-samplers stand in :mod:`anneal.rivals`. What a call needs to know
beforehand (compiled code, the cost of a sweep) is found while it is planned, which is not timed.
What its user would wait for, a default beta range included, is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt
from dwave.samplers import SimulatedAnnealingSampler, TabuSampler
from dwave.samplers.sa.sampler import default_beta_range

from anneal.errors import InputError
from anneal.ising import Ising
from anneal.measure import running_best
from anneal.problem import Given
from anneal.rivals import RIVALS, Rival, Run
from anneal.schedules import automatic_betas
from anneal.solvers import get_solver

Clock = Callable[[], float]
Stop = Callable[[], bool]
Betas = Callable[[dimod.BinaryQuadraticModel, int], npt.NDArray[np.float64]]
# A planned call: seed, and a question asked as often as the solver allows → samples.
Call = Callable[[int, Stop], dimod.SampleSet]

DEFAULT_SWEEPS = 1000  # of dwave-samplers' simulated annealing
MAX_SWEEPS = 4**11  # a schedule of 32 MB
MAX_READS = 10**6
MAX_BATCH = 1024
LEAST_PACE = 1e-9  # seconds of a step where it costs nothing, or the clock does not show it
CLOCKS: dict[str, Clock] = {"cpu": time.process_time, "wall": time.perf_counter}


def timed_peer(
    name: str,
    bqm: dimod.BinaryQuadraticModel,
    *,
    budget: float,
    clock: Clock = time.process_time,
    num_threads: int = 1,
    apart: Given | None = None,
) -> Call:
    """Plan a call of a solver that takes ``budget`` seconds of ``clock``, to be made once per seed.

    name: one of :data:`PEERS` or a registered solver. apart: the model without its constraints, and
    these as the keyword ``squares``, for solvers that take it. The sample set's ``info["trace"]``
    holds the improvements as ``(seconds, energy)``. Raises :class:`~anneal.errors.InputError` for
    an unknown name and whatever the solver raises for this BQM.

    >>> bqm = dimod.BQM.from_ising({}, {(0, 1): 1.0})
    >>> call = timed_peer("neal", bqm, budget=0.01)
    >>> float(call(7, lambda: False).first.energy)
    -1.0
    """
    if name in PEERS:
        return PEERS[name](bqm, budget, clock)
    sampler = get_solver(name)()
    options: dict[str, Any] = {"num_threads": num_threads, "time_limit": budget}
    if apart is not None and "squares" in sampler.parameters:
        bqm = apart[0]
        options |= apart[1]
    if "time_limit" not in sampler.parameters:
        options["timeout"] = max(1, round(1000 * budget))  # of dwave-samplers' tabu, milliseconds
    options = {key: value for key, value in options.items() if key in sampler.parameters}
    if options.keys() & {"time_limit", "timeout"}:
        return _limited(sampler, bqm, options)
    return _repeated(sampler, bqm, options, budget, clock)


def check_name(name: str) -> None:
    """Raise :class:`~anneal.errors.InputError` unless ``name`` is a peer's or a solver's.

    >>> check_name("neal+schedule")
    """
    if name not in PEERS:
        get_solver(name)


def _limited(sampler: Any, bqm: dimod.BinaryQuadraticModel, options: dict[str, Any]) -> Call:
    """One call of a solver that minds its own time."""

    def call(seed: int, stop: Stop) -> dimod.SampleSet:
        more = {"seed": seed, "interrupt_function": stop}
        known = {key: value for key, value in more.items() if key in sampler.parameters}
        found: dimod.SampleSet = sampler.sample(bqm, **options, **known)
        return found

    return call


def _repeated(
    sampler: Any,
    bqm: dimod.BinaryQuadraticModel,
    options: dict[str, Any],
    budget: float,
    clock: Clock,
) -> Call:
    """Batches of reads until the time is up; a single call where a seed would change nothing."""
    seeded = "seed" in sampler.parameters

    def call(seed: int, stop: Stop) -> dimod.SampleSet:
        watch = _Watch(budget, clock, stop)
        rng = np.random.default_rng(seed)
        found: list[dimod.SampleSet] = []
        more, reads = dict(options), 1
        while not found or (seeded and not watch.over):
            if "num_reads" in sampler.parameters:
                more["num_reads"] = reads
            if seeded:
                more["seed"] = int(rng.integers(2**31))
            found.append(sampler.sample(bqm, **more))
            watch()
            if watch.last < budget / 50:
                reads = min(2 * reads, MAX_BATCH)
        joined: dimod.SampleSet = dimod.concatenate(found)
        joined.info["trace"] = running_best(watch.times, [one.first.energy for one in found])
        return joined

    return call


class _Watch:
    """Asked after every piece of work: over where the next would end farther off the budget."""

    def __init__(self, budget: float, clock: Clock, stop: Stop) -> None:
        self.budget, self.clock, self.stop = budget, clock, stop
        self.started = clock()
        self.times: list[float] = []
        self.last = 0.0
        self.over = False

    def __call__(self) -> bool:
        now = self.clock() - self.started
        self.last = now - (self.times[-1] if self.times else 0.0)
        self.times.append(now)
        self.over = self.stop() or now + self.last / 2 > self.budget
        return self.over


def _neal(
    bqm: dimod.BinaryQuadraticModel,
    budget: float,
    clock: Clock,
    *,
    betas: Betas | None = None,
    one_long_read: bool = False,
) -> Call:
    """Reads of dwave-samplers' simulated annealing: default sweeps, fewer where one is too long."""
    overhead, seconds_per_sweep = _cost(bqm, betas, budget, clock)
    affordable = max(1, int((budget - overhead) / seconds_per_sweep))
    sweeps = min(affordable, MAX_SWEEPS if one_long_read else DEFAULT_SWEEPS)
    # Far more reads than should fit, as the cost may have been measured on a busy machine: the
    # watch ends them.
    reads = min(10 + int(10 * affordable / sweeps), MAX_READS)

    def call(seed: int, stop: Stop) -> dimod.SampleSet:
        watch = _Watch(budget, clock, stop)
        schedule = _schedule(sweeps) if betas is None else _custom(bqm, betas, sweeps)
        found = SimulatedAnnealingSampler().sample(
            bqm, num_reads=reads, seed=seed, interrupt_function=watch, **schedule
        )
        found.info["trace"] = running_best(watch.times, found.record.energy)
        return found

    return call


def _cost(
    bqm: dimod.BinaryQuadraticModel, betas: Betas | None, budget: float, clock: Clock
) -> tuple[float, float]:
    """Seconds of a call without sweeps, and of a sweep over the whole range of temperatures."""

    def seconds(schedule: Callable[[], dict[str, Any]]) -> float:
        started = clock()
        SimulatedAnnealingSampler().sample(bqm, num_reads=1, seed=0, **schedule())
        return clock() - started

    if betas is None:
        overhead = seconds(partial(_schedule, 1))
        shape = partial(_schedule, ends=default_beta_range(bqm))
    else:
        shape = partial(_custom, bqm, betas)
        # The least of several: the first one loads the pilot's kernels.
        overhead = min(seconds(partial(shape, 1)) for _ in range(3))
    # With the range given, only conversion remains beside the sweeps.
    short = min(seconds(partial(shape, 1)) for _ in range(2))
    sweeps, taken, enough = 1, 0.0, max(0.02, 0.05 * budget)
    while taken < enough and sweeps < MAX_SWEEPS:
        sweeps *= 4
        taken = min(seconds(partial(shape, sweeps)) for _ in range(2)) - short
    # 1 ns where sweeps cost nothing, as those of no variables.
    return overhead, max(taken / (sweeps - 1), 1e-9)


def _schedule(sweeps: int, ends: Any = None) -> dict[str, Any]:
    return {"num_sweeps": sweeps, "beta_range": None if ends is None else list(ends)}


def _custom(bqm: dimod.BinaryQuadraticModel, betas: Betas, sweeps: int) -> dict[str, Any]:
    return {"beta_schedule_type": "custom", "beta_schedule": betas(bqm, sweeps)}


def _our_betas(bqm: dimod.BinaryQuadraticModel, sweeps: int) -> npt.NDArray[np.float64]:
    return automatic_betas(Ising.from_bqm(bqm), sweeps)


def _neal_schedule(bqm: dimod.BinaryQuadraticModel, budget: float, clock: Clock) -> Call:
    return _neal(bqm, budget, clock, betas=_our_betas, one_long_read=True)


def _neal_schedule_reads(bqm: dimod.BinaryQuadraticModel, budget: float, clock: Clock) -> Call:
    return _neal(bqm, budget, clock, betas=_our_betas)


def _dwave_tabu(bqm: dimod.BinaryQuadraticModel, budget: float, clock: Clock) -> Call:
    """dwave-samplers' tabu search with a timeout, which it minds between restarts only."""
    limited = _limited(TabuSampler(), bqm, {"timeout": max(1, round(1000 * budget))})

    def call(seed: int, stop: Stop) -> dimod.SampleSet:
        started = clock()
        found = limited(seed, stop)
        found.info["trace"] = [(clock() - started, float(found.first.energy))]
        return found

    return call


def _rival(bqm: dimod.BinaryQuadraticModel, budget: float, clock: Clock, *, rival: Rival) -> Call:
    """Batches of reads, each twice as long as the one before, together as long as the budget.

    No one length of a read suits every problem; the last batch has half of the time.
    """
    if not bqm.num_interactions:
        raise InputError(f"{rival.package} wants a problem with couplings")
    module = rival.load()
    started = clock()
    run = rival.prepare(module, bqm)
    overhead = clock() - started
    if overhead >= budget:
        raise InputError(
            f"{rival.package} takes {overhead:.1f} s to take this problem over, "
            f"all of the budget of {budget:g} s"
        )
    reads, fixed, planned_pace = _batch(run, rival, budget - overhead, clock)

    def call(seed: int, stop: Stop) -> dimod.SampleSet:
        started, pace = clock(), planned_pace
        rng = np.random.default_rng(seed)
        run = rival.prepare(module, bqm)
        times: list[float] = [clock() - started]
        found: list[dimod.SampleSet] = []
        # More than once where steps turn out to cost less than they did in the measurement.
        while not found or budget - times[-1] > max(0.1 * budget, fixed + pace):
            affordable = (budget - times[-1] - fixed) / pace / rival.steps
            for share in _doubling(max(1, int(np.log2(max(affordable, 0) + 1)))):
                steps = max(1, int((share * (budget - times[-1]) - fixed) / pace))
                found.append(run(reads, steps, int(rng.integers(2**31))))
                times.append(clock() - started)
                pace = max((times[-1] - times[-2] - fixed) / steps, LEAST_PACE)
                if stop():
                    return _traced(found, times[1:])
        return _traced(found, times[1:])

    return call


def _traced(found: list[dimod.SampleSet], times: list[float]) -> dimod.SampleSet:
    joined: dimod.SampleSet = dimod.concatenate(found)
    joined.info["trace"] = running_best(times, [one.first.energy for one in found])
    return joined


def _batch(run: Run, rival: Rival, seconds: float, clock: Clock) -> tuple[int, float, float]:
    """Return how many reads of the default length fit side by side, the seconds of a batch without
    steps, and of a step.
    """
    reads = rival.reads
    while True:
        fixed, pace = _costs(partial(run, reads), seconds, clock)
        if reads == 1 or fixed + pace * rival.steps <= seconds:
            return reads, fixed, pace
        reads = max(1, reads // 4)


def _costs(run: Callable[[int, int], Any], budget: float, clock: Clock) -> tuple[float, float]:
    """Return the seconds of a batch of one step, and of each step more, measured well."""

    def seconds(steps: int) -> float:
        started = clock()
        run(steps, 0)
        return clock() - started

    # The least of two: what disturbs a measurement only slows it.
    fixed = min(seconds(1) for _ in range(2))
    steps, taken = 1, 0.0
    while taken < max(0.02, 0.05 * budget) and steps < MAX_SWEEPS:
        steps *= 4
        taken = min(seconds(steps) for _ in range(2)) - fixed
    pace = max(taken / (steps - 1), LEAST_PACE)
    return max(fixed - pace, 0.0), pace


def _doubling(count: int) -> list[float]:
    """Return the share of what is left that each of several pieces takes, each twice the last.

    >>> _doubling(2)
    [0.3333333333333333, 1.0]
    """
    return [2**k / (2**count - 2**k) for k in range(count)]


# dwave-samplers' simulated annealing as it comes, with our schedule in one long read, and with our
# schedule in reads of the default length; its tabu search with a timeout; other packages.
PEERS: dict[str, Callable[[dimod.BinaryQuadraticModel, float, Clock], Call]] = {
    "neal": _neal,
    "neal+schedule": _neal_schedule,
    "neal+schedule+reads": _neal_schedule_reads,
    "dwave-tabu": _dwave_tabu,
    **{name: partial(_rival, rival=rival) for name, rival in RIVALS.items()},
}
