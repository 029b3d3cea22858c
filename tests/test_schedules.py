"""Schedules: what neal's keywords ask for, and automatic ones, whatever the coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Ising
from anneal.layouts import choose_layout
from anneal.schedules import (
    Schedule,
    automatic_betas,
    closed_form,
    entropies,
    field_spread,
    measured,
    resolve,
)
from tests.kernels.reference import random_ising

FRACTIONS = np.linspace(0, 1, 101)


def one_hot(num_groups: int, size: int, penalty: float) -> Ising:
    """Σ penalty·(1 − Σx)² over groups, and an objective of ±1 between them, in spins."""
    rng = np.random.default_rng(1)
    n = num_groups * size
    Q = rng.integers(-1, 2, (n, n)).astype(float)
    for group in range(num_groups):
        own = slice(group * size, (group + 1) * size)
        Q[own, own] = 2 * penalty
    Q = np.triu(Q, 1)
    h = (Q + Q.T).sum(axis=1) / 4 - penalty / 2
    return Ising.from_arrays(h, (Q + Q.T) / 4)


def automatic(ising: Ising, *, seed: int = 1) -> Schedule:
    return measured(ising, choose_layout(ising.h, ising.J), np.random.default_rng(seed))


@pytest.mark.parametrize("unit", [1.0, 1e30, 1e-30, 1e200, 1e-200])
@pytest.mark.parametrize("density", [0.05, 1.0])
def test_the_measured_schedule_falls_and_follows_the_unit(density: float, unit: float) -> None:
    ising = random_ising(130, seed=1, density=density)
    scaled = Ising(ising.h * unit, ising.J * unit)
    temperatures = automatic(scaled).temperatures(FRACTIONS)
    assert np.isfinite(temperatures).all()
    assert (temperatures > 0).all()
    assert (np.diff(temperatures) <= 0).all()
    ratio = temperatures / unit / automatic(ising).temperatures(FRACTIONS)
    assert np.abs(np.log(ratio)).max() < 1  # a pilot each: near, not the same


@pytest.mark.parametrize("penalty", [10.0, 100.0, 10000.0])
def test_the_measured_schedule_goes_down_from_the_penalty(penalty: float) -> None:
    temperatures = automatic(one_hot(12, 8, penalty)).temperatures(FRACTIONS)
    assert temperatures[0] > penalty
    assert temperatures[-1] < penalty / 5  # below, a flip out of a feasible state never happens
    if penalty == 10:
        assert (
            temperatures < 2
        ).sum() > 15  # steps of the objective are of size 1; it gets its share


@pytest.mark.parametrize(
    "ising",
    [
        Ising.from_arrays([0.0], [[0.0]]),
        Ising.from_arrays([-0.0, 0.0], np.zeros((2, 2))),
        Ising.from_arrays([1.0], [[0.0]]),
        Ising.from_arrays([0.0, 0.0], [[0.0, 1e-320], [1e-320, 0.0]]),
        Ising.from_arrays([1e290, 1e-290], np.zeros((2, 2))),
    ],
)
def test_schedules_of_next_to_nothing(ising: Ising) -> None:
    for schedule in (automatic(ising), closed_form(ising)):
        temperatures = schedule.temperatures(FRACTIONS)
        assert not np.isnan(temperatures).any()
        assert (temperatures >= 0).all()


def test_no_time_for_a_pilot_gives_the_closed_form() -> None:
    ising = random_ising(50, seed=1)
    layout = choose_layout(ising.h, ising.J)
    found = measured(ising, layout, np.random.default_rng(1), seconds=0.0)
    assert (found.shape, found.betas) == ("cooling", closed_form(ising).betas)


def test_field_spread_is_that_of_random_states() -> None:
    ising = random_ising(40, seed=2)
    spins = np.random.default_rng(1).choice([-1, 1], (4000, 40))
    fields = spins @ ising.dense() + spins[:, :1] * ising.h  # a bias as one more random spin
    assert field_spread(ising) == pytest.approx(fields.std(axis=0), rel=0.1)


def test_entropy_of_a_free_spin() -> None:
    """S(T) = ∫ dE/T of a spin in a field of 1: from −tanh(1/T) to ln 2 at infinite temperature."""
    ladder = np.geomspace(50, 0.05, 400)
    entropy = entropies(ladder, -np.tanh(1 / ladder))
    assert entropy[0] == pytest.approx(np.log(2), rel=1e-3)
    p = 1 / (1 + np.exp(2 / ladder[200]))
    assert entropy[200] == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), rel=1e-3)
    assert (np.diff(entropies(ladder, np.random.default_rng(1).normal(size=400))) <= 0).all()


@pytest.mark.parametrize(
    ("schedule", "betas"),
    [
        (Schedule((1.0, 3.0), "linear"), [1, 1.5, 2, 2.5, 3]),
        (Schedule((1.0, 16.0), "geometric"), [1, 2, 4, 8, 16]),
        (Schedule((3.0, 1.0), "linear"), [3, 2.5, 2, 1.5, 1]),
        (Schedule((1.0, 5.0, 2.0), "custom"), [1, 1, 5, 2, 2]),
        (Schedule((1 / 8, 1 / 4), "cooling"), [1 / 8, 1 / 7, 1 / 6, 1 / 5, 1 / 4]),
        (Schedule((1.0, 16.0), "geometric").tail(0.5), [4, 4 * 2**0.5, 8, 8 * 2**0.5, 16]),
    ],
)
def test_shapes(schedule: Schedule, betas: list[float]) -> None:
    found = schedule.temperatures(np.array([0, 0.25, 0.5, 0.75, 1]))
    assert found == pytest.approx(1 / np.array(betas, float))


def test_beta_zero_is_an_infinite_temperature() -> None:
    assert Schedule((0.0, 1.0), "linear").temperatures(np.array([0.0]))[0] == np.inf


def resolved(**asked: Any) -> tuple[Schedule, dict[str, Any]]:
    ising, control = random_ising(20, seed=1), Control()
    layout = choose_layout(ising.h, ising.J)
    return resolve(ising, layout, control, np.random.default_rng(1), **asked), control.info


def test_what_is_asked_for_is_taken_and_told() -> None:
    schedule, info = resolved(beta_range=[0.5, 2.0])
    assert (schedule.betas, schedule.shape, schedule.automatic) == ((0.5, 2.0), "geometric", False)
    assert info == {"beta_range": [0.5, 2.0], "beta_schedule_type": "geometric"}
    schedule, info = resolved(beta_range=(0, 2), beta_schedule_type="linear")
    assert (schedule.betas, schedule.shape) == ((0.0, 2.0), "linear")
    for kind in (None, "custom"):
        schedule, _ = resolved(beta_schedule=np.array([1, 3, 2]), beta_schedule_type=kind)
        assert (schedule.betas, schedule.shape) == ((1.0, 3.0, 2.0), "custom")
    for kind in ("linear", "geometric"):
        schedule, info = resolved(beta_schedule_type=kind)
        assert (schedule.shape, schedule.automatic) == (kind, True)
        assert 0 < info["beta_range"][0] < info["beta_range"][1] < np.inf


@pytest.mark.parametrize(
    "asked",
    [
        {"beta_range": [1.0]},
        {"beta_range": [1.0, 2.0, 3.0]},
        {"beta_range": [-1.0, 2.0]},
        {"beta_range": [np.nan, 2.0]},
        {"beta_range": [1.0, np.inf]},
        {"beta_range": [0.0, 1.0]},
        {"beta_range": [0.0, 1.0], "beta_schedule_type": "geometric"},
        {"beta_schedule_type": "custom"},
        {"beta_schedule_type": "quadratic"},
        {"beta_schedule": []},
        {"beta_schedule": [1.0, -1.0]},
        {"beta_schedule": [1.0, 2.0], "beta_schedule_type": "linear"},
        {"num_sweeps": -1},
        {"num_sweeps": 1.5},
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        resolved(**asked)


def test_betas_for_samplers_that_take_a_list() -> None:
    betas = automatic_betas(random_ising(60, seed=1, density=0.1), 500)
    assert betas.shape == (500,)
    assert np.isfinite(betas).all()
    assert (np.diff(betas) >= 0).all()
