"""Parallel tempering with adapted temperatures and isoenergetic cluster moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.ladders import CHAINS, DenseLadder, Ladder, SparseLadder, fitting_temperatures
from anneal.layouts import Layout, SparseLayout, choose_layout
from anneal.sampler import IsingSampler, check_counts, in_threads
from anneal.schedules import Schedule, resolve
from anneal.solvers.anneal import CHUNK_UPDATES

ROUND_UPDATES = 2**25  # in a round, at most: above that, fewer temperatures
ROUND_VISITS = 4096  # spins visited between two exchanges: a table of thresholds costs a part
COOLED = 0.25  # of the budget is an anneal down to each replica's temperature
FROZEN = 0.4  # from this share on the temperatures stay
STAGES = 4  # times that they are adapted before
MIN_ROUNDS = 50  # of exchanges in a run of few sweeps, about
LOOKS = 10  # times that all replicas are quenched
DESCENT = 20  # sweeps that a quench takes, about


class TemperingSampler(IsingSampler):
    """Parallel tempering: replicas at many temperatures exchange them, and so leave every valley.

    On sparse problems each lane of a row has a temperature of its own, and at least two chains a
    ladder: where the clusters in which two replicas differ do not percolate, they swap them
    (Houdayer's move; Zhu, Ochoa & Katzgraber 2015). The temperatures are adapted until exchanges
    are equally likely everywhere, and then stay, so detailed balance holds.

    num_reads: samples returned (default 1): the best of all replicas' quenched states; with a
    ``beta_range`` or ``beta_schedule``, states at the largest beta, evenly over the time after the
    temperatures were settled. num_sweeps: of each replica (default 1000), or with a ``time_limit``
    as many as fit. num_sweeps_per_beta: sweeps between exchanges. beta_range: the ladder's ends;
    beta_schedule: the whole ladder; beta_schedule_type: "linear", "geometric" or "cooling", and
    then not adapted. num_temperatures: default so many that half of the exchanges are accepted.
    proposal_acceptance_criteria: "Metropolis" or "Gibbs". randomize_order: visit random spins.

    ``info`` has ``betas``, ``acceptance`` of neighbours' exchanges, ``mean_energies`` (without the
    offset) and ``cluster_betas``, where cluster moves were made.

    >>> ring = {(i, (i + 1) % 9): 1.0 for i in range(9)}
    >>> float(TemperingSampler().sample_ising({}, ring, seed=1).first.energy)
    -7.0
    """

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
        num_sweeps_per_beta: int | None = None,
        num_temperatures: int | None = None,
        beta_range: Any = None,
        beta_schedule_type: str | None = None,
        beta_schedule: Any = None,
        randomize_order: bool = False,
        proposal_acceptance_criteria: str = "Metropolis",
    ) -> NDArray[np.int8]:
        gibbs = is_gibbs(proposal_acceptance_criteria)
        check_counts(num_sweeps_per_beta=num_sweeps_per_beta, num_temperatures=num_temperatures)
        if num_sweeps is None and control.time_limit is None:
            num_sweeps = 1000
        reads = num_reads or 1
        count = control.side_by_side(num_threads)
        adapted = beta_schedule is None and beta_schedule_type is None
        found = []
        for number, linear in enumerate(h):
            layout = choose_layout(linear[None], J, lanes_only=randomize_order)
            schedule = resolve(
                Ising(linear, J), layout, control, rng, num_sweeps=num_sweeps,
                beta_range=beta_range, beta_schedule_type=beta_schedule_type,
                beta_schedule=beta_schedule,
            )  # fmt: skip
            runs = []
            for own in rng.spawn(count):
                ladder = make_ladder(
                    layout, schedule, own, -(-reads // count), num_temperatures, gibbs=gibbs,
                    shuffled=randomize_order,
                )  # fmt: skip
                if initial is not None:
                    ladder.set_states(initial[np.arange(ladder.size) % len(initial)])
                runs.append(
                    Tempering(
                        ladder,
                        control,
                        -(-reads // count),
                        best=schedule.automatic,
                        adapted=adapted,
                        cooled=COOLED if initial is None else 0.0,
                    )
                )
            each = num_sweeps_per_beta or sweeps_a_round(layout.num_spins, num_sweeps)
            seconds = control.remaining() / (len(h) - number) * min(num_threads, count) / count

            def work(run: Tempering, seconds: float = seconds, each: int = each) -> None:
                run.run(num_sweeps, seconds, each)

            in_threads(work, runs, num_threads)
            control.info.update(runs[0].info())
            found.append(_first(runs, reads, schedule.automatic))
        return np.stack(found)


def is_gibbs(criteria: str) -> bool:
    """Whether neal's criteria are "Gibbs"; raises InputError for others than it has."""
    if criteria not in ("Metropolis", "Gibbs"):
        raise InputError(f"proposal_acceptance_criteria must be Metropolis or Gibbs, is {criteria}")
    return criteria == "Gibbs"


def sweeps_a_round(num_spins: int, num_sweeps: int | None) -> int:
    """Sweeps between two exchanges: more of few spins, and fewer where all are few.

    >>> sweeps_a_round(100, None), sweeps_a_round(100, 1000), sweeps_a_round(5000, 1000)
    (40, 20, 1)
    """
    few = math.inf if num_sweeps is None else num_sweeps // MIN_ROUNDS
    return int(max(1, min(ROUND_VISITS // num_spins, few)))


def _first(runs: list[Tempering], num_reads: int, best: bool) -> NDArray[np.int8]:
    """Of what all runs kept, the best first where they kept the best."""
    states = np.concatenate([run.kept for run in runs])
    if best:
        states = states[np.argsort(np.concatenate([r.energies for r in runs]), kind="stable")]
    return states[:num_reads]


def make_ladder(
    layout: Layout,
    schedule: Schedule,
    rng: np.random.Generator,
    num_reads: int,
    num_temperatures: int | None,
    **options: Any,
) -> Ladder:
    """A ladder along the schedule with replicas enough for all reads.

    What is left of a row of lanes goes to more chains, and then to more temperatures.
    """
    if schedule.shape == "custom":
        num_temperatures = len(schedule.betas)
    wanted = num_temperatures or fitting_temperatures(schedule, layout.num_spins)
    fixed = num_temperatures is not None
    if isinstance(layout, SparseLayout):
        row = layout.lanes * layout.num_spins
        rows = -(-CHAINS * wanted // layout.lanes)
        if not fixed:
            rows = max(1, min(rows, ROUND_UPDATES // row))
        size = max(rows, -(-num_reads // layout.lanes)) * layout.lanes
        chains = max(CHAINS, size // wanted)
        count = wanted if fixed else size // chains
        return SparseLadder(
            layout, rng, betas=ladder_betas(schedule, count), chains=chains, size=size, **options
        )
    chains = -(-num_reads // wanted)
    return DenseLadder(
        layout, rng, betas=ladder_betas(schedule, wanted), chains=chains, size=chains * wanted,
        **options,
    )  # fmt: skip


def ladder_betas(schedule: Schedule, count: int) -> NDArray[np.float64]:
    """Inverse temperatures along the schedule, hottest first; those of a custom one as they are."""
    if schedule.shape == "custom":
        return np.sort(np.asarray(schedule.betas))
    with np.errstate(divide="ignore"):
        betas = 1 / schedule.temperatures(np.linspace(0, 1, count) if count > 1 else np.ones(1))
    return np.sort(np.asarray(betas, dtype=np.float64))


class Tempering:
    """One ladder and the states it leaves: the best, or those of the coldest temperature."""

    def __init__(
        self,
        ladder: Ladder,
        control: Control,
        num_reads: int,
        *,
        best: bool,
        adapted: bool,
        cooled: float,
    ) -> None:
        self.ladder = ladder
        self.control = control
        self.num_reads = num_reads
        self.best = best
        self.cooled = cooled
        settled = FROZEN if adapted else cooled
        stages = STAGES if adapted else 1
        self.marks = list(np.linspace(cooled, settled, stages + 1)[1:])
        self.adapted = adapted
        count = LOOKS if best else -(-num_reads // ladder.slots.shape[1])
        self.looks = list(np.linspace(settled, 1, count + 1)[1:])
        self.kept = np.empty((0, ladder.layout.num_spins), np.int8)
        self.energies = np.empty(0)
        self.handing_over = ladder.layout.hand_over * ladder.layout.num_spins * ladder.size

    def run(self, num_sweeps: int | None, seconds: float, each: int) -> None:
        """Cool, adapt, and temper; in ``num_sweeps`` sweeps, or in so many seconds by the clock.

        Rounds have ``each`` sweeps.
        """
        ladder, control = self.ladder, self.control
        total = None if num_sweeps is None else -(-num_sweeps // each)
        most = max(1, CHUNK_UPDATES // (ladder.layout.num_spins * ladder.size * each))
        if total is not None:
            most = min(most, max(1, total // MIN_ROUNDS))
        began, done, made = control.elapsed(), 0.0, 0
        while done < 1.0 and made != total and not control.stop():
            rounds = most if total is None else min(most, total - made)
            ladder.run(rounds, each, least_temperature=self._limit(done))
            made += rounds
            spent = control.elapsed() - began
            if total is None:
                left = seconds - self.handing_over - DESCENT * spent / (made * each)
                done = spent / left if left > 0 else 1.0
            else:
                done = made / total
            if self.best:
                control.improve(ladder.best_energy)
            self._mind(done, each)
            control.done = max(control.done, min(1.0, done))
        while len(self.kept) < self.num_reads or (self.best and self.looks):
            self._look()

    def _limit(self, done: float) -> float | None:
        """The least temperature of the anneal that comes first, None behind it."""
        if done >= self.cooled:
            return None
        betas = self.ladder.betas
        beta = np.interp(done / self.cooled, np.linspace(0, 1, len(betas)), betas)
        return float(1 / beta) if beta > 0 else math.inf

    def _mind(self, done: float, each: int) -> None:
        """What is due: other temperatures, a look."""
        while self.marks and done >= self.marks[0]:
            self.marks.pop(0)
            if self.adapted:
                self.ladder.respace()
            if not self.marks:
                self.ladder.mix(each)
        while self.looks and done >= self.looks[0]:
            self._look()

    def _look(self) -> None:
        """Keep the states of the largest beta, or the quenched best of all replicas."""
        ladder = self.ladder
        self.looks = self.looks[1:]
        if not self.best:
            found = ladder.coldest()
            energies = ladder.own_energies[ladder.slots[-1]] * ladder.replicas.scale
        else:
            before, states = self.control.elapsed(), ladder.states()
            if math.isfinite(ladder.best_energy):
                states[ladder.slots[0, 0]] = ladder.best
            found, energies = ladder.quenched(states, self.control)
            self.handing_over = max(self.handing_over, self.control.elapsed() - before)
        self.kept = np.concatenate([self.kept, found])
        self.energies = np.concatenate([self.energies, energies])
        if self.best:
            order = np.argsort(self.energies, kind="stable")[: self.num_reads]
            self.kept, self.energies = self.kept[order], self.energies[order]
        self.control.improve(float(energies.min()))

    def info(self) -> dict[str, Any]:
        """What came of the temperatures."""
        ladder = self.ladder
        return {
            "betas": ladder.betas.tolist(),
            "acceptance": ladder.acceptance().tolist(),
            "mean_energies": ladder.mean_energies().tolist(),
            "num_chains": ladder.slots.shape[1],
            "cluster_betas": ladder.betas[ladder.mixing].tolist(),
        }
