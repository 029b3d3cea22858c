"""A schedule chosen by short races on the problem itself, for a share of the time or the sweeps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.schedules import Schedule, closed_form
from anneal.squares import Squares

SHARE = 0.2  # of the time or of the sweeps
ROUNDS = 3  # of races; each has as much of the share, and half of its runners go on
LEAST_SWEEPS = 10  # of the shortest race: shorter ones say nothing
STATES = 8  # whose energies are compared, at least
BEST = 0.25  # of a race's states that count: the best of many is wanted, and one alone is noise
PARTS = 8  # looks at the clock in a race
DEFAULT = "automatic"


@dataclass(frozen=True, eq=False)
class Tuned:
    """The schedule that won; restarts of so many sweeps where longer anneals gain nothing, else
    None; sweeps spent; the best state on the way, (n,), and its energy; what to tell the user.
    """

    schedule: Schedule
    restart_sweeps: int | None
    spent: int
    state: NDArray[np.int8]
    energy: float
    report: dict[str, Any]

    def join(
        self, found: NDArray[np.int8], h: NDArray[np.float64], J: Couplings, squares: Squares | None
    ) -> NDArray[np.int8]:
        """Put the best state of the races in the place of the worst read, (m, reads, n), of the
        first problem where it is better than all of them.
        """
        energies = Ising(h[0], J, squares=squares).energies(np.vstack([found[0], self.state]))
        if energies[-1] < energies[:-1].min():
            found[0, int(np.argmax(energies[:-1]))] = self.state
        return found


def runners(schedule: Schedule, ising: Ising) -> dict[str, Schedule]:
    """Return the schedules that race: the automatic one, without its hot part, hotter, colder, of
    other shapes, and the closed form. More than a quarter is not left out: short races would choose
    that, and long anneals need it.

    >>> ising = Ising(np.zeros(2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> len(runners(Schedule((0.1, 2.0), "cooling"), ising))
    7
    """
    ends = (schedule.betas[0], schedule.betas[-1])

    def scaled(factor: float) -> Schedule:
        return dataclasses.replace(schedule, betas=tuple(b / factor for b in schedule.betas))

    return {
        DEFAULT: schedule,
        "without its hot quarter": schedule.tail(0.25),
        "twice as hot": scaled(2.0),
        "half as hot": scaled(0.5),
        "linear": Schedule(ends, "cooling", automatic=True),
        "geometric": Schedule(ends, "geometric", automatic=True),
        "closed form": closed_form(ising),
    }


def tune(
    schedule: Schedule,
    ising: Ising,
    layout: Any,
    control: Control,
    rng: np.random.Generator,
    *,
    num_sweeps: int | None = None,
) -> Tuned | None:
    """Race schedules by successive halving and return the winner, None where there is no time.

    Each of three rounds shares SHARE / 3 of the sweeps, or of the time left where ``num_sweeps`` is
    None, among its runners; the better half goes on (Jamieson and Talwalkar 2016). The automatic
    schedule always runs, and stays unless another one beats it by more than the error of the last
    round. Raises InputError for a schedule that was asked for.
    """
    if not schedule.automatic:
        raise InputError("tune chooses a schedule: leave out beta_range and beta_schedule")
    began = control.elapsed()
    racing = _Races(ising, layout, control, rng, num_sweeps)
    alive = runners(schedule, ising)
    if not racing.fits(len(alive)):
        return None
    history: list[dict[str, NDArray[np.float64]]] = []
    for _ in range(ROUNDS):
        found = racing.round(alive)
        if found is None:
            break
        history.append(found)
        order = sorted(found, key=lambda name: _score(found[name])[0])
        names = dict.fromkeys([*order[: len(order) // 2], DEFAULT])
        alive = {name: alive[name] for name in names}
    if not history:
        return None
    last = history[-1]
    chosen = min(last, key=lambda name: _score(last[name])[0])
    (score, error), (usual, spread) = _score(last[chosen]), _score(last[DEFAULT])
    if len(history) < ROUNDS or usual - score <= math.hypot(error, spread):
        chosen = DEFAULT
    restart = racing.length if _levelled(history, chosen) else None
    report = {
        "chosen": chosen,
        "best_energies": {name: float(last[name].min()) + control.offset for name in last},
        "restart_sweeps": restart,
        "sweeps": racing.spent,
        "seconds": control.elapsed() - began,
    }
    winner = runners(schedule, ising)[chosen]
    return Tuned(winner, restart, racing.spent, racing.state, racing.energy, report)


class _Races:
    """Runs races, counts their sweeps and keeps the best state."""

    def __init__(
        self,
        ising: Ising,
        layout: Any,
        control: Control,
        rng: np.random.Generator,
        num_sweeps: int | None,
    ) -> None:
        self.layout, self.control, self.rng = layout, control, rng
        self.times = -(-STATES // layout.lanes)
        self.spent, self.length = 0, 0
        self.energy, self.state = math.inf, np.ones(ising.num_spins, np.int8)
        self.until = math.inf
        if num_sweeps is not None:
            self.budget = SHARE * num_sweeps / ROUNDS
            return
        seconds = SHARE * control.remaining()
        self.until = control.elapsed() + seconds
        replicas = layout.replicas(rng)
        hot = np.full(2, closed_form(ising).temperatures(np.zeros(1))[0])
        replicas.anneal(hot)  # its kernel is loaded by now
        before = control.elapsed()
        replicas.anneal(hot)
        pace = max((control.elapsed() - before) / 2, 1e-9)
        self.budget = (self.until - control.elapsed()) / pace / ROUNDS

    def fits(self, count: int) -> bool:
        """Whether the first round of so many runners is long enough to say something."""
        return self._sweeps(count) >= LEAST_SWEEPS

    def _sweeps(self, count: int) -> int:
        return int(self.budget / count / self.times)

    def round(self, alive: dict[str, Schedule]) -> dict[str, NDArray[np.float64]] | None:
        """Energies of every runner's states, or None where the time ran out."""
        self.length = self._sweeps(len(alive))
        found = {}
        for name, schedule in alive.items():
            energies = [self._race(schedule) for _ in range(self.times)]
            found[name] = np.concatenate([e for e in energies if e is not None] or [np.empty(0)])
            if energies[-1] is None:
                return None
        return found

    def _race(self, schedule: Schedule) -> NDArray[np.float64] | None:
        replicas = self.layout.replicas(self.rng.spawn(1)[0])
        marks = (np.arange(self.length) + 0.5) / self.length
        for part in np.array_split(marks, PARTS):
            if self.control.stop() or self.control.elapsed() > self.until:
                return None
            replicas.anneal(schedule.temperatures(part))
            self.spent += len(part)
        replicas.descend(self.control)
        energies = np.asarray(replicas.energies())
        best = int(np.argmin(energies))
        if energies[best] < self.energy:
            self.energy, self.state = float(energies[best]), replicas.states()[best].copy()
            self.control.improve(self.energy)
        return energies


def _score(energies: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of the best of the energies, and its standard error."""
    best = np.sort(energies)[: max(2, round(BEST * len(energies)))]
    return float(best.mean()), float(best.std(ddof=1)) / math.sqrt(len(best))


def _levelled(history: list[dict[str, NDArray[np.float64]]], name: str) -> bool:
    """Whether the last doubling of the sweeps no longer lowered the energies."""
    if len(history) < ROUNDS or name not in history[-2]:
        return False
    (before, one), (after, other) = _score(history[-2][name]), _score(history[-1][name])
    return before - after <= math.hypot(one, other)
