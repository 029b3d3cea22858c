"""Population annealing: replicas that cool together, and multiply where they are likely."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from anneal.control import Control
from anneal.ising import Couplings, Ising
from anneal.kernels.tempering import copy_lanes
from anneal.layouts import Layout, SparseLayout, choose_layout
from anneal.sampler import IsingSampler, check_counts, in_threads
from anneal.schedules import Schedule, resolve
from anneal.solvers.anneal import CHUNK_UPDATES
from anneal.solvers.tempering import is_gibbs

REPLICAS = 256  # where nothing is said, at most
CACHED = 2**18  # spins of all replicas by default, which with their fields stay in the second cache
CULLED = 0.1  # of the population is expected to be lost at a step
HOT_SHARE = 0.05  # of the sweeps are for temperatures above the schedule's
DESCENT = 10  # sweeps that a descent takes, about
HALVINGS = 60  # of the interval in which the next beta is looked for


class PopulationSampler(IsingSampler):
    """Population annealing (Hukushima & Iba 2003; Machta 2010): samples, and the free energy.

    A population in equilibrium at one temperature is resampled with weights exp(−Δβ·E) to the next,
    then swept. The step Δβ is that at which a tenth of the replicas is expected to be lost, or
    larger where sweeps or time are short. From random states, which are in equilibrium at β = 0.

    num_reads: samples returned (default 1): the best of the population after a descent; with a
    ``beta_range`` or ``beta_schedule``, any of the population at the last beta. num_replicas: size
    of the population (default 256, of many spins fewer; at least the reads, and whole rows of
    lanes). num_sweeps: of
    each replica (default 1000, at least one a step), or with a ``time_limit`` as many as fit.
    num_sweeps_per_beta: fixed instead. beta_range: where most of the sweeps go, and the last beta;
    beta_schedule: every beta, one after the other.
    proposal_acceptance_criteria: "Metropolis" or "Gibbs". randomize_order: visit random spins.

    ``info`` has ``betas``, and at each ``mean_energies`` and ``log_partition``, ln Z = −βF, both
    without the model's offset; ``num_families``, how many of the first replicas have descendants;
    and ``rho_t``, the mean square family size, R·Σ (share of a family)², which has to be far below
    R for the averages to be right (Wang, Machta & Katzgraber 2015). With ``initial_states`` there
    is no ``log_partition``.

    >>> ring = {(i, (i + 1) % 9): 1.0 for i in range(9)}
    >>> float(PopulationSampler().sample_ising({}, ring, seed=1).first.energy)
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
        num_replicas: int | None = None,
        num_sweeps: int | None = None,
        num_sweeps_per_beta: int | None = None,
        beta_range: Any = None,
        beta_schedule_type: str | None = None,
        beta_schedule: Any = None,
        randomize_order: bool = False,
        proposal_acceptance_criteria: str = "Metropolis",
    ) -> NDArray[np.int8]:
        gibbs = is_gibbs(proposal_acceptance_criteria)
        check_counts(num_sweeps_per_beta=num_sweeps_per_beta, num_replicas=num_replicas)
        if num_sweeps is None and control.time_limit is None:
            num_sweeps = 1000
        reads, found = num_reads or 1, []
        for number, linear in enumerate(h):
            layout = choose_layout(linear[None], J, lanes_only=randomize_order)
            schedule = resolve(
                Ising(linear, J), layout, control, rng, num_sweeps=num_sweeps,
                beta_range=beta_range, beta_schedule_type=beta_schedule_type,
                beta_schedule=beta_schedule,
            )  # fmt: skip
            size = num_replicas or min(REPLICAS, CACHED // layout.num_spins)
            population = PopulationReplicas(
                layout, rng, max(1, size, reads), num_threads, gibbs=gibbs,
                shuffled=randomize_order,
            )  # fmt: skip
            if initial is not None:
                population.set_states(initial[np.arange(population.size) % len(initial)])
            run = Cooling(population, schedule, control, hot=initial is None)
            seconds = control.remaining() / (len(h) - number)
            run.run(num_sweeps, seconds, num_sweeps_per_beta)
            control.info.update(run.info())
            found.append(run.reads(reads))
        return np.stack(found)


class PopulationReplicas:
    """Replicas in rows of lanes that lie in one array, so that any can be copied over any other."""

    def __init__(
        self,
        layout: Layout,
        rng: np.random.Generator,
        least_size: int,
        num_threads: int,
        **options: Any,
    ) -> None:
        self.layout = layout
        self.num_threads = num_threads
        count = -(-least_size // layout.lanes)
        self.size = count * layout.lanes
        self.rows: list[Any] = [layout.replicas(own, **options) for own in rng.spawn(count)]
        self.sparse = isinstance(layout, SparseLayout)
        fields = "halves" if self.sparse else "fields"
        self.spins = np.stack([row.spins for row in self.rows])
        self.fields = np.stack([getattr(row, fields) for row in self.rows])
        for row, spins, own in zip(self.rows, self.spins, self.fields, strict=True):
            row.spins = spins
            setattr(row, fields, own)

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (size, n) states; fields follow."""
        for row, own in zip(self.rows, np.split(states, len(self.rows)), strict=True):
            row.set_states(own)

    def states(self) -> NDArray[np.int8]:
        """(size, n) int8."""
        return np.concatenate([row.states() for row in self.rows])

    def state(self, replica: int) -> NDArray[np.int8]:
        """(n,) int8: one replica alone."""
        row, lane = divmod(replica, self.layout.lanes)
        own = self.spins[row][:, lane] if self.sparse else self.spins[row, lane]
        return np.asarray(own[: self.layout.num_spins], dtype=np.int8)

    def energies(self) -> NDArray[np.float64]:
        """(size,), in the problem's unit, without its offset."""
        return np.concatenate(in_threads(lambda row: row.energies(), self.rows, self.num_threads))

    def anneal(self, temperature: float, num_sweeps: int) -> None:
        """Metropolis sweeps of all replicas."""
        at = np.array([temperature])
        in_threads(lambda row: row.anneal(at, num_sweeps), self.rows, self.num_threads)

    def descend(self, control: Control) -> None:
        """To local minima, as far as the time goes."""
        in_threads(lambda row: row.descend(control), self.rows, self.num_threads)

    def copy(self, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Replica targets[k] becomes a copy of sources[k]."""
        if self.sparse:
            copy_lanes(self.spins, self.fields, sources, targets)
            return
        for array in (self.spins, self.fields):
            flat = array.reshape(self.size, -1)
            flat[targets] = flat[sources]


class Cooling:
    """One population on its way down."""

    def __init__(
        self, population: PopulationReplicas, schedule: Schedule, control: Control, *, hot: bool
    ) -> None:
        self.population = population
        self.control = control
        self.automatic = schedule.automatic
        self.fixed = schedule.betas if schedule.shape == "custom" else None
        with np.errstate(divide="ignore"):
            path = 1 / schedule.temperatures(np.linspace(0, 1, 1025))
        self.path = np.concatenate([[0.0] if hot else [], np.sort(path)])
        share = np.linspace(HOT_SHARE if hot else 0.0, 1, 1025)
        self.progress = np.concatenate([[0.0] if hot else [], share])
        self.beta = float(self.path[0])
        self.rng = population.rows[0].rng.spawn(1)[0]
        self.energies = population.energies()
        self.log_partition = population.layout.num_spins * math.log(2) if hot else math.nan
        self.families = np.arange(population.size)
        self.best_energy, self.best = math.inf, population.state(0)
        self.table: list[tuple[float, float, float]] = []

    def run(self, num_sweeps: int | None, seconds: float, each: int | None) -> None:
        """Down to the last beta, in ``num_sweeps`` sweeps or in so many seconds by the clock."""
        population, control = self.population, self.control
        spins = population.layout.num_spins * population.size
        began, made, pace = control.elapsed(), 0, 0.0
        done, step = 0.0, 0
        while done < 1.0 and not control.stop():
            left = math.inf if num_sweeps is None else float(num_sweeps - made)
            if num_sweeps is None and made:
                until = began + seconds - population.layout.hand_over * spins - DESCENT * pace
                left = (until - control.elapsed()) / pace
            if left <= 0 and num_sweeps is None:
                break
            before, begun = done, control.elapsed()
            done = self._step(done, left if each is None else math.inf, step)
            step += 1
            share = (done - before) / (1 - before)
            few = 1 if num_sweeps != 0 else 0
            sweeps = each or (max(few, round(left * share)) if math.isfinite(left) else few)
            self._sweep(sweeps, max(1, CHUNK_UPDATES // spins))
            made += sweeps
            pace = (control.elapsed() - begun) / max(1, sweeps)
            control.done = max(control.done, done)
        self._end()

    def _step(self, done: float, left: float, step: int) -> float:
        """Resample to the next beta; how much of the way is behind it."""
        if self.fixed is not None:
            beta, done = self.fixed[step], (step + 1) / len(self.fixed)
        else:
            end = float(self.path[-1])
            beta = next_beta(self.beta, end, self.energies)
            if left >= 1:  # so few sweeps are left that one a step is too much
                least = np.interp(done + (1 - done) / left, self.progress, self.path)
                beta = min(end, max(beta, float(least)))
            elif left < 1:
                beta = end
            done = float(np.interp(beta, self.path, self.progress)) if beta < end else 1.0
        counts, gain = resampled(self.energies, beta - self.beta, self.rng)
        sources = np.repeat(np.arange(len(counts)), np.maximum(counts - 1, 0))
        targets = np.flatnonzero(counts == 0)
        self.population.copy(sources, targets)
        self.families[targets] = self.families[sources]
        self.energies[targets] = self.energies[sources]
        self.log_partition += gain
        self.beta = beta
        return done

    def _sweep(self, num_sweeps: int, most: int) -> None:
        temperature = 1 / self.beta if self.beta > 0 else math.inf
        made = 0
        while made < num_sweeps and not self.control.stop():
            now = min(most, num_sweeps - made)
            self.population.anneal(temperature, now)
            made += now
            self._look()
        self.table.append((self.beta, float(self.energies.mean()), self.log_partition))

    def _look(self) -> None:
        """Energies as they are, and the best state of all."""
        self.energies = self.population.energies()
        least = int(self.energies.argmin())
        if self.energies[least] < self.best_energy:
            self.best_energy, self.best = float(self.energies[least]), self.population.state(least)
        self.control.improve(self.best_energy)

    def _end(self) -> None:
        if self.automatic:
            self.population.descend(self.control)
        self._look()

    def reads(self, num_reads: int) -> NDArray[np.int8]:
        """(num_reads, n): the best, or of the population as it is from all parts."""
        states = self.population.states()
        if not self.automatic:
            return states[np.arange(num_reads) * len(states) // num_reads]
        states[self.energies.argmax()] = self.best
        self.energies[self.energies.argmax()] = self.best_energy
        return states[np.argsort(self.energies, kind="stable")[:num_reads]]

    def info(self) -> dict[str, Any]:
        """What the population tells of the problem, and of itself."""
        betas, means, logs = zip(*self.table, strict=True) if self.table else ((), (), ())
        sizes = np.bincount(self.families) / len(self.families)
        found = {
            "betas": list(betas),
            "mean_energies": list(means),
            "num_families": int((sizes > 0).sum()),
            "rho_t": float(len(self.families) * (sizes * sizes).sum()),
        }
        return found if math.isnan(self.log_partition) else {**found, "log_partition": list(logs)}


def resampled(
    energies: NDArray[np.float64], step: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], float]:
    """How many copies of each replica there will be, and the change of ln Z.

    Systematic resampling: the number of copies is the weight exp(−step·E), over their mean, rounded
    up or down. ln Z(β + step) − ln Z(β) = ln of the mean weight (Machta 2010, equation 10).

    >>> resampled(np.array([0.0, 0.0, 50.0]), 1.0, np.random.default_rng(1))[0].sum()
    np.int64(3)
    """
    logs = -step * energies
    gain = float(logsumexp(logs))
    edges = np.cumsum(np.exp(logs - gain))
    marks = (np.arange(len(energies)) + rng.random()) / len(energies) * edges[-1]
    parents = np.minimum(np.searchsorted(edges, marks, side="right"), len(energies) - 1)
    return np.bincount(parents, minlength=len(energies)), gain - math.log(len(energies))


def next_beta(beta: float, end: float, energies: NDArray[np.float64]) -> float:
    """The beta, at most ``end``, at which CULLED of the replicas is expected to be lost.

    >>> next_beta(0.0, 5.0, np.array([0.0, 0.0, 1.0]))
    0.496...
    """
    above = energies - energies.min()

    def lost(step: float) -> float:
        weights = np.exp(-step * above)
        return float(np.maximum(0, 1 - weights / weights.mean()).mean())

    low, high = 0.0, end - beta
    if high <= 0 or lost(high) <= CULLED:
        return end
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if lost(middle) <= CULLED else (low, middle)
    return beta + high
