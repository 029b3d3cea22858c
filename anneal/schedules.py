"""Annealing schedules: the temperature at every moment between 0 (start) and 1 (end)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising, rows_of_matrix
from anneal.kernels.coefficients import row_squares
from anneal.layouts import Layout, choose_layout
from anneal.multispin import BitLayout

if TYPE_CHECKING:
    from anneal.constrained import SquaresLayout

Shape = Literal["linear", "geometric", "custom", "cooling", "measured"]
HOT_ENTROPY = 0.65  # the anneal starts where the spins keep this share of their entropy
COLD_ENTROPY = 0.004  # and ends where all but this share is frozen
PACE = (
    0.75  # the schedule is uniform in entropy to this power: 1 hurries the cold part, ½ the hot one
)
STEPS_PER_E_FOLD = 6  # temperatures of the pilot
STEPS_WITH_SQUARES = 4  # the penalties' range comes on top of the couplings'
PILOT_SHARE = 0.05  # of the time limit
WITH_SQUARES = 4.0  # times that: penalties have no closed form
HICCUP = 0.02  # seconds that a busy machine may keep the pilot waiting
MODERATE = 1e-140, 1e140  # numbers whose squares are floats
PILOT_SWEEPS = 100  # an anneal of fewer sweeps gets no pilot: it would cost more than the anneal


@dataclass(frozen=True, eq=False)
class Schedule:
    """Inverse temperatures from ``betas[0]`` to ``betas[-1]``.

    shape: "linear" in beta and "geometric" as neal has them; "cooling" linear in temperature;
    "custom" the betas given, one after the other; "measured" temperatures interpolated between
    those of the betas. ``start``: the part of the schedule that is left out at the hot end.

    >>> Schedule((0.5, 2.0), "cooling").temperatures(np.array([0.0, 0.5, 1.0])).tolist()
    [2.0, 1.25, 0.5]
    """

    betas: tuple[float, ...]
    shape: Shape
    automatic: bool = False
    start: float = 0.0

    def temperatures(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Temperature at each fraction of the anneal."""
        fractions = self.start + (1 - self.start) * fractions
        first, last = self.betas[0], self.betas[-1]
        if self.shape in ("cooling", "measured"):
            knots = np.linspace(0, 1, len(self.betas))
            return np.interp(fractions, knots, 1 / np.asarray(self.betas))
        if self.shape == "custom":
            place = np.minimum((fractions * len(self.betas)).astype(np.int64), len(self.betas) - 1)
            betas = np.asarray(self.betas)[place]
        elif self.shape == "linear":
            betas = first + (last - first) * fractions
        else:
            betas = first * (last / first) ** fractions
        with np.errstate(divide="ignore"):
            return 1 / np.asarray(betas, dtype=np.float64)

    def tail(self, start: float) -> Schedule:
        """The colder part alone, from the fraction ``start`` on."""
        return dataclasses.replace(self, start=start)


def field_spread(ising: Ising) -> NDArray[np.float64]:
    """σ_i = (h_i² + Σ_j J_ij²)^½, the spread of each local field over random states, where it is
    not zero.
    """
    bias, spread = np.zeros((2, ising.num_spins))
    if ising.squares is not None:
        bias, spread = ising.squares.field_spread()
    sparsely = isinstance(ising.J, sparse.csr_array)
    J = ising.J.data if sparsely else rows_of_matrix(ising.J).strongest
    arrays = (ising.h, np.asarray(J), bias, np.sqrt(spread))
    sizes = [max(float(array.max()), -float(array.min())) for array in arrays if array.size]
    largest = max(sizes, default=0.0)
    if largest < 1e-290:
        return np.empty(0)  # denormal numbers have no schedule: only the descent
    # The squares would leave the range of floats.
    h = (ising.h + bias) / largest
    squares = _row_squares(ising.J, largest) + h * h + spread / largest / largest
    return np.sqrt(squares[squares > 0]) * largest


def _beside_squares(ising: Ising) -> NDArray[np.float64]:
    """σ_i of the couplings alone where squares are kept and leave any, else of all."""
    if ising.squares is not None:
        spread = field_spread(Ising(np.zeros(ising.num_spins), ising.J))
        if len(spread):
            return spread
    return field_spread(ising)


def _row_squares(J: Couplings, unit: float) -> NDArray[np.float64]:
    """Σ_j (J_ij / unit)²."""
    if not isinstance(J, sparse.csr_array):
        if MODERATE[0] < unit < MODERATE[1]:
            return rows_of_matrix(J).squares / unit / unit
        return np.asarray(row_squares(np.ascontiguousarray(J), unit))
    scaled = J / unit
    return np.asarray((scaled * scaled).sum(axis=1)).ravel()


def closed_form(ising: Ising) -> Schedule:
    """From 0.7 to 0.1 of the mean σ_i, linear in temperature: between these a spin glass freezes.

    Costs nothing, and holds where couplings are of one size; a penalty beside a small objective
    needs the measured one. Of squares, which exchanges keep, only the couplings beside them count.
    """
    spread = _beside_squares(ising)
    typical = float(spread.mean()) if len(spread) else 1.0
    return Schedule((1 / (0.7 * typical), 1 / (0.1 * typical)), "cooling", automatic=True)


def measured(
    ising: Ising,
    layout: Layout | SquaresLayout | BitLayout,
    rng: np.random.Generator,
    *,
    seconds: float = math.inf,
) -> Schedule:
    """A schedule that spends its time where the problem freezes, from a quick pilot anneal over all
    temperatures.

    The pilot's mean energies give the entropy, S(T) = ∫ dE/T, in units of n·ln 2. The anneal runs
    from HOT_ENTROPY to COLD_ENTROPY, uniform in S^PACE, whatever the sizes of the coefficients: a
    penalty and the objective below it freeze decades apart and both get their share. Falls back on
    the closed form where the pilot would take over ``seconds``.
    """
    spread = field_spread(ising)
    if not len(spread):
        return closed_form(ising)
    beside = spread if ising.squares is None else _beside_squares(ising)
    hot, cold = 2 * float(spread.max()), 1e-3 * float(np.quantile(beside, 0.05))
    per_e_fold = STEPS_PER_E_FOLD if ising.squares is None else STEPS_WITH_SQUARES
    ladder = np.geomspace(hot, cold, max(24, math.ceil(per_e_fold * math.log(hot / cold))))
    replicas = layout.replicas(rng)
    sweeps = 2 if ising.squares is None else 1  # with an exchange after each flip
    clock = Control()
    energies = []
    for temperature in ladder:
        replicas.anneal(np.array([temperature]), sweeps)
        early = replicas.energies().mean()
        replicas.anneal(np.array([temperature]), sweeps)
        energies.append((early + replicas.energies().mean()) / 2)
        late = clock.elapsed() - min(HICCUP, seconds)
        if late * len(ladder) > seconds * len(energies) + seconds:
            return closed_form(ising)
    replicas.descend()
    entropy = entropies(ladder, np.array(energies)) / (ising.num_spins * math.log(2))
    frozen = smallest_step(replicas.local_fields(), float(spread.mean()))
    entropy = np.maximum(entropy - np.interp(frozen, ladder[::-1], entropy[::-1]), 0)
    levels = np.linspace(HOT_ENTROPY**PACE, COLD_ENTROPY**PACE, 33) ** (1 / PACE)
    temperatures = np.interp(levels, entropy[::-1], ladder[::-1])
    betas = 1 / np.maximum(temperatures, frozen)
    return Schedule(tuple(betas.tolist()), "measured", automatic=True)


def entropies(
    temperatures: NDArray[np.float64], energies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Entropy above the coldest temperature, S = Σ ΔE/T, for falling temperatures; never rising."""
    falling = np.minimum.accumulate(energies)
    middle = np.sqrt(temperatures[:-1]) * np.sqrt(temperatures[1:])
    steps = (falling[:-1] - falling[1:]) / middle
    return np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])


def smallest_step(fields: NDArray[np.float64], typical: float) -> float:
    """A temperature at which nearly no single flip of a local minimum happens: a tenth of the least
    energy step.

    The least is the 1 % quantile of 2·``|f|``, where f is not zero; at a tenth of it a flip has the
    probability e⁻¹⁰.
    """
    sizes = np.abs(fields)
    sizes = sizes[sizes > 1e-9 * typical]
    return float(np.quantile(sizes, 0.01)) / 5 if len(sizes) else 0.1 * typical


def automatic_betas(ising: Ising, num_sweeps: int, seed: int = 0) -> NDArray[np.float64]:
    """The automatic schedule as one inverse temperature a sweep, for samplers that take a list.

    The last hundredth is ten times colder, in place of the descent that our own anneal ends with.
    """
    schedule = measured(ising, choose_layout(ising.h, ising.J), np.random.default_rng(seed))
    betas = 1 / schedule.temperatures(np.linspace(0, 1, num_sweeps))
    betas[num_sweeps - num_sweeps // 100 :] *= 10
    return betas


def resolve(
    ising: Ising,
    layout: Layout | SquaresLayout | BitLayout,
    control: Control,
    rng: np.random.Generator,
    *,
    num_sweeps: int | None = None,
    beta_range: Sequence[float] | None = None,
    beta_schedule_type: str | None = None,
    beta_schedule: Any | None = None,
) -> Schedule:
    """The schedule that neal's keywords ask for; the automatic one where they ask for none.

    Raises InputError for betas that are negative, not finite or missing, and for a negative
    num_sweeps.
    """
    if num_sweeps is not None and not (
        0 <= num_sweeps < math.inf and num_sweeps == int(num_sweeps)
    ):
        raise InputError(f"num_sweeps must be an integer and not negative, is {num_sweeps}")
    schedule = _asked_for(beta_range, beta_schedule_type, beta_schedule)
    if schedule is None:
        kept = ising.squares is not None
        short = num_sweeps is not None and num_sweeps < PILOT_SWEEPS and not kept
        timed = control.time_limit is not None
        share = PILOT_SHARE * (WITH_SQUARES if kept else 1.0)
        seconds = share * control.remaining() if timed and num_sweeps is None else math.inf
        schedule = closed_form(ising) if short else measured(ising, layout, rng, seconds=seconds)
        if beta_schedule_type is not None:
            shape: Any = beta_schedule_type
            schedule = Schedule((schedule.betas[0], schedule.betas[-1]), shape, automatic=True)
    control.info.update(
        beta_range=[schedule.betas[0], schedule.betas[-1]], beta_schedule_type=schedule.shape
    )
    return schedule


def _asked_for(
    beta_range: Sequence[float] | None, beta_schedule_type: str | None, beta_schedule: Any | None
) -> Schedule | None:
    if beta_schedule is not None:
        if beta_schedule_type not in (None, "custom"):
            raise InputError(
                f"a beta_schedule is 'custom', but beta_schedule_type is '{beta_schedule_type}'"
            )
        return Schedule(_checked(beta_schedule), "custom")
    if beta_schedule_type == "custom":
        raise InputError("beta_schedule_type 'custom' needs a beta_schedule")
    if beta_schedule_type not in (None, "linear", "geometric", "cooling"):
        raise InputError(f"unknown beta_schedule_type '{beta_schedule_type}'")
    if beta_range is None:
        return None
    betas = _checked(beta_range)
    if len(betas) != 2:
        raise InputError("beta_range must be two numbers, first and last beta")
    kind: Any = beta_schedule_type or "geometric"
    if kind != "linear" and min(betas) <= 0:
        raise InputError(f"a {kind} schedule needs positive betas, has {list(betas)}")
    return Schedule(betas, kind)


def _checked(betas: Any) -> tuple[float, ...]:
    values = np.asarray(betas, dtype=np.float64).ravel()
    if not len(values) or not np.isfinite(values).all() or (values < 0).any():
        raise InputError("betas must be finite and not negative, at least one")
    return tuple(float(value) for value in values)
