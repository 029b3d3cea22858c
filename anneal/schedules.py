"""Annealing schedules: the temperature at every moment between 0 (start) and 1 (end)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.ising import Ising

Shape = Literal["linear", "geometric", "custom", "cooling"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """Inverse temperatures from ``betas[0]`` to ``betas[-1]``.

    shape: "linear" in beta and "geometric" as neal has them, "cooling" linear in temperature, "custom" the betas given.

    >>> Schedule((0.5, 2.0), "cooling").temperatures(np.array([0.0, 0.5, 1.0])).tolist()
    [2.0, 1.25, 0.5]
    """

    betas: tuple[float, ...]
    shape: Shape
    automatic: bool = False

    def temperatures(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Temperature at each fraction of the anneal."""
        first, last = self.betas[0], self.betas[-1]
        if self.shape == "cooling":
            return 1 / first + (1 / last - 1 / first) * fractions
        if self.shape == "custom":
            place = np.minimum((fractions * len(self.betas)).astype(np.int64), len(self.betas) - 1)
            betas = np.asarray(self.betas)[place]
        elif self.shape == "linear":
            betas = first + (last - first) * fractions
        else:
            betas = first * (last / first) ** fractions
        with np.errstate(divide="ignore"):
            return 1 / np.asarray(betas, dtype=np.float64)


def automatic_beta_range(ising: Ising) -> tuple[float, float]:
    """Hot and cold inverse temperatures from the couplings alone.

    σ_i = (h_i² + Σ_j J_ij²)^½ is the spread of spin i's local field over random states. Between 0.7 and 0.1 of the
    mean σ a spin glass goes from nearly free to frozen.
    """
    J = ising.J
    squares = np.asarray((J * J).sum(axis=1)).ravel() + ising.h**2
    spread = np.sqrt(squares[squares > 0])
    if not len(spread):
        return 1.0, 1.0
    typical = float(spread.mean())
    return 1 / (0.7 * typical), 1 / (0.1 * typical)


def automatic_betas(ising: Ising, num_sweeps: int) -> NDArray[np.float64]:
    """The automatic schedule as one inverse temperature a sweep, for samplers that take a list."""
    schedule = Schedule(automatic_beta_range(ising), "cooling")
    return 1 / schedule.temperatures(np.linspace(0, 1, num_sweeps))


def resolve(
    ising: Ising,
    *,
    beta_range: Sequence[float] | None,
    beta_schedule_type: str | None,
    beta_schedule: Any | None,
) -> Schedule:
    """The schedule that neal's keywords ask for; the automatic one where they ask for none.

    Raises InputError for betas that are negative, not finite or missing, as neal does by ValueError.
    """
    if beta_schedule is not None and beta_schedule_type in (None, "custom"):
        return Schedule(_checked(beta_schedule), "custom")
    if beta_schedule_type == "custom":
        raise InputError("beta_schedule_type 'custom' needs a beta_schedule")
    if beta_schedule_type not in (None, "linear", "geometric", "cooling"):
        raise InputError(f"unknown beta_schedule_type '{beta_schedule_type}'")
    if beta_range is None:
        chosen: Any = beta_schedule_type or "cooling"
        return Schedule(automatic_beta_range(ising), chosen, automatic=True)
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
