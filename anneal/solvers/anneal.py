"""Simulated annealing of many replicas at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.constrained import SquaresLayout
from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.layouts import Layout, Numbers, SparseLayout, choose_layout
from anneal.multispin import BitLayout
from anneal.replicas import Replicas, random_states
from anneal.sampler import IsingSampler, in_threads
from anneal.schedules import Schedule, resolve
from anneal.squares import Squares
from anneal.tuning import tune as race

CHUNK_UPDATES = 2**23  # single-spin updates between two looks at the clock, a few milliseconds
TABLE_VISITS = (
    4096  # spins visited on one table of thresholds: filling it costs about a tenth of that
)
LEAST_READS = 4  # where nothing is said
DESCENT = 4  # steps of sweeps that a descent takes, about
LOOKS = 50  # times in an anneal that the best energy is looked up, at least
LOOK_SECONDS = 0.1  # between two looks, at most
UNIT = 1000  # sweeps of the shortest restart
FEW_UNITS = 8  # of time for restarts; less goes to one anneal
LEAST = 100  # sweeps worth another start
MIN_STEPS = 50  # temperatures in a short anneal of few spins, at least


class AnnealSampler(IsingSampler):
    """Simulated annealing: replica lanes on sparse problems, row scans on dense ones.

    num_reads: replicas, each a sample (default one row of lanes: 8 to 512 as the coefficients
    allow). num_sweeps: default 1000, or with a ``time_limit`` as many as fit: one anneal that
    follows the clock where they are few, restarts of growing lengths where they are many.
    beta_range, beta_schedule_type, beta_schedule, num_sweeps_per_beta: as neal's; by default an
    automatic range, linear in temperature, and a final descent to local minima.
    proposal_acceptance_criteria: "Metropolis" or "Gibbs". randomize_order: visit random spins.
    squares: constraints that are kept as squares (:class:`~anneal.squares.Squares`), not in the
    model; beside single spins, those of a square then change places. tune: choose the schedule by
    races, for a fifth of the sweeps or of the time (:mod:`anneal.tuning`); ``info["tune"]``.

    >>> sampleset = AnnealSampler().sample_ising({}, {("a", "b"): -1.0, ("b", "c"): 1.0}, seed=1)
    >>> float(sampleset.first.energy)
    -2.0
    """

    default_reads = 64

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        num_threads: int = 1,
        num_sweeps: int | None = None,
        num_sweeps_per_beta: int = 1,
        beta_range: Any = None,
        beta_schedule_type: str | None = None,
        beta_schedule: Any = None,
        randomize_order: bool = False,
        proposal_acceptance_criteria: str = "Metropolis",
        squares: Squares | None = None,
        tune: bool = False,
    ) -> NDArray[np.int8]:
        if proposal_acceptance_criteria not in ("Metropolis", "Gibbs"):
            raise InputError(
                "proposal_acceptance_criteria must be Metropolis or Gibbs, "
                f"is {proposal_acceptance_criteria}"
            )
        if num_sweeps_per_beta != int(num_sweeps_per_beta) or num_sweeps_per_beta < 1:
            raise InputError(
                f"num_sweeps_per_beta must be a positive integer, is {num_sweeps_per_beta}"
            )
        if num_sweeps is None and beta_schedule is not None:
            num_sweeps = len(beta_schedule) * num_sweeps_per_beta
        if num_sweeps is None and control.time_limit is None:
            num_sweeps = 1000
        least = LEAST_READS
        if squares is not None:
            kept = SquaresLayout(h, J, squares)
            layout: Layout | SquaresLayout | BitLayout = kept
            if control.time_limit is not None and not len(kept.keys):
                least = num_threads  # one long anneal is better, but not of permutations
        else:
            numbers = Numbers.of(h, J)
            if proposal_acceptance_criteria == "Metropolis" and BitLayout.fits(h, J, numbers):
                layout = BitLayout(h[0], J, numbers)
            else:
                layout = choose_layout(h, J, lanes_only=randomize_order, numbers=numbers)
        typical = Ising(np.abs(h).max(axis=0), J, squares=squares)
        schedule = resolve(
            typical, layout, control, rng, num_sweeps=num_sweeps, beta_range=beta_range,
            beta_schedule_type=beta_schedule_type, beta_schedule=beta_schedule,
        )  # fmt: skip
        tuned = (
            race(schedule, typical, layout, control, rng, num_sweeps=num_sweeps) if tune else None
        )
        if tune:
            control.info["tune"] = None if tuned is None else tuned.report
        if tuned is not None:
            schedule = tuned.schedule
            num_sweeps = None if num_sweeps is None else num_sweeps - tuned.spent
        reads = num_reads or max(least, layout.lanes)
        exactly = num_sweeps_per_beta > 1 or beta_schedule is not None
        each = num_sweeps_per_beta if exactly else None
        states = Reads(h, layout, reads, initial)
        groups = states.groups(rng)
        seconds = control.remaining() * min(num_threads, len(groups)) / len(groups)

        def work(group: Group) -> NDArray[np.int8]:
            replicas = group.replicas(
                gibbs=proposal_acceptance_criteria == "Gibbs", shuffled=randomize_order
            )
            if num_sweeps is None:
                return restarts(
                    replicas, schedule, control, seconds, len(group.members), sweeps_each=each,
                    length=None if tuned is None else tuned.restart_sweeps,
                )  # fmt: skip
            anneal(
                replicas, schedule, control, num_sweeps=num_sweeps, sweeps_each=each,
                num_reads=len(group.members),
            )  # fmt: skip
            return replicas.states()

        found = states.gather(groups, in_threads(work, groups, num_threads))
        return found if tuned is None else tuned.join(found, h, J, squares)


class Group:
    """The (problem, read) pairs that one set of replicas works on."""

    def __init__(self, reads: Reads, members: NDArray[np.int64], rng: np.random.Generator) -> None:
        self.reads = reads
        self.members = members
        self.rng = rng

    def replicas(self, **options: Any) -> Replicas:
        """Fresh replicas; lanes beyond the members repeat the last and are dropped later."""
        layout = self.reads.layout
        lanes = np.minimum(np.arange(layout.lanes), len(self.members) - 1)
        problem, read = np.divmod(self.members[lanes], self.reads.num_reads)
        biases = None
        if len(self.reads.h) > 1:
            biases = layout.numbers.convert(self.reads.h[problem], layout.kind)
            if isinstance(layout, SparseLayout):
                biases = np.ascontiguousarray(biases.T)
        spins = None
        if self.reads.initial is not None:
            spins = self.reads.initial[read]
        return layout.replicas(self.rng, spins=spins, biases=biases, **options)


class Reads:
    """m problems × reads, dealt out over the lanes of a layout."""

    def __init__(
        self,
        h: NDArray[np.float64],
        layout: Layout | SquaresLayout | BitLayout,
        num_reads: int,
        initial: NDArray[np.int8] | None,
    ) -> None:
        self.h = h
        self.layout = layout
        self.num_reads = num_reads
        self.initial = initial

    def groups(self, rng: np.random.Generator) -> list[Group]:
        """One group a row of lanes, each with random numbers of its own."""
        total = len(self.h) * self.num_reads
        starts = range(0, total, self.layout.lanes)
        return [
            Group(self, np.arange(start, min(start + self.layout.lanes, total)), own)
            for start, own in zip(starts, rng.spawn(len(starts)), strict=True)
        ]

    def gather(self, groups: list[Group], states: list[NDArray[np.int8]]) -> NDArray[np.int8]:
        """(m, reads, n)."""
        n = self.h.shape[1]
        found = np.concatenate([s[: len(g.members)] for g, s in zip(groups, states, strict=True)])
        return found.reshape(len(self.h), self.num_reads, n)


def restarts(
    replicas: Replicas,
    schedule: Schedule,
    control: Control,
    seconds: float,
    num_reads: int,
    *,
    sweeps_each: int | None = None,
    length: int | None = None,
) -> NDArray[np.int8]:
    """Anneal again and again for so many seconds; the best state of each replica.

    The lengths follow Luby's sequence (1, 1, 2, 1, 1, 2, 4, …) in units of UNIT sweeps, which is
    within a logarithm of the best fixed length, whichever that is (Luby, Sinclair & Zuckerman
    1993). Where time is short for a few units, all of it goes to one anneal. length: sweeps of
    every restart instead.
    """
    until = control.elapsed() + seconds
    replicas.anneal(schedule.temperatures(np.zeros(1)))
    pace = max(1e-9, control.elapsed() + seconds - until)
    best, energies = replicas.states(), replicas.energies()
    attempt = 0
    while attempt == 0 or (until - control.elapsed() > LEAST * pace and not control.stop()):
        if attempt:
            replicas.set_states(random_states(replicas.rng, *best.shape))
        attempt += 1
        left = until - control.elapsed()
        num_sweeps = length or UNIT * luby(attempt)
        whole = (
            left > FEW_UNITS * (length or UNIT) * pace if attempt == 1 else left > num_sweeps * pace
        )
        before = control.elapsed()
        anneal(
            replicas, schedule, control, num_sweeps=num_sweeps if whole else None, seconds=left,
            sweeps_each=sweeps_each, num_reads=num_reads,
        )  # fmt: skip
        if whole:
            pace = (control.elapsed() - before) / num_sweeps
        found = replicas.energies()
        better = (found < energies) | (attempt == 1)
        best[better], energies[better] = replicas.states()[better], found[better]
        control.done = min(1.0, 1 - (until - control.elapsed()) / max(seconds, 1e-9))
    return best


def luby(number: int) -> int:
    """The term of Luby's sequence, counted from 1.

    >>> [luby(number) for number in range(1, 16)]
    [1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8]
    """
    size = number.bit_length()
    if number == 2**size - 1:
        return int(2 ** (size - 1))
    return luby(number - 2 ** (size - 1) + 1)


def anneal(
    replicas: Replicas,
    schedule: Schedule,
    control: Control,
    *,
    num_sweeps: int | None,
    seconds: float = math.inf,
    sweeps_each: int | None = None,
    num_reads: int | None = None,
) -> None:
    """Take the replicas through the schedule: in ``num_sweeps`` sweeps, or in so many seconds by
    the clock.

    An automatic schedule, or one that was cut short, ends with a descent. sweeps_each: sweeps at
    one temperature (default as many as make it fast). Energies are told of the first ``num_reads``
    replicas, those that are kept.
    """
    layout = replicas.layout
    if num_sweeps == 0:
        control.improve(float(replicas.energies()[:num_reads].min()))
        return
    each = sweeps_each or max(1, TABLE_VISITS // layout.num_spins)
    if num_sweeps is not None and sweeps_each is None:
        each = max(1, min(each, num_sweeps // MIN_STEPS))
    updates = layout.num_spins * layout.lanes * each * layout.effort
    steps = max(1, int(CHUNK_UPDATES / updates))
    handing_over = layout.hand_over * layout.num_spins * layout.lanes
    began = looked = control.elapsed()
    done, pace, made = 0.0, 0.0, 0
    while done < 1.0 and not control.stop():
        before = control.elapsed()
        if num_sweeps is None:
            ahead = min(1.0, done + pace)
        else:
            steps = min(steps, -((made - num_sweeps) // each))
            made += steps * each
            ahead = min(1.0, made / num_sweeps)
        marks = done + (ahead - done) * (np.arange(steps) + 0.5) / steps
        replicas.anneal(schedule.temperatures(marks), each)
        if num_sweeps is None:
            spent = control.elapsed() - before
            # Time for the descent, and for handing over the states, is kept back.
            left = seconds - DESCENT * spent / steps - handing_over
            ahead = (control.elapsed() - began) / left if left > 0 else 1.0
            pace = ahead - done
        if int(LOOKS * ahead) > int(LOOKS * done) or control.elapsed() > looked + LOOK_SECONDS:
            looked = control.elapsed()
            control.improve(float(replicas.energies()[:num_reads].min()))
        done = min(1.0, ahead)
        control.done = max(control.done, done)
    if schedule.automatic or done < 1.0:
        replicas.descend(control)
    control.improve(float(replicas.energies()[:num_reads].min()))
