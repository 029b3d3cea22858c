"""Schedules chosen by races: repeatable, within their share, and never in the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Ising
from anneal.layouts import choose_layout
from anneal.problems import get_problem
from anneal.schedules import Schedule, closed_form
from anneal.solvers import get_solver
from anneal.tuning import SHARE, runners, tune
from tests.kernels.reference import all_states, random_ising


def raced(schedule: Schedule, ising: Ising, **options: Any) -> Any:
    layout, rng = choose_layout(ising.h, ising.J), np.random.default_rng(3)
    return tune(schedule, ising, layout, Control(), rng, **options)


def test_runners_are_schedules_that_cool() -> None:
    ising = random_ising(20, seed=1)
    for schedule in runners(closed_form(ising), ising).values():
        temperatures = schedule.temperatures(np.linspace(0, 1, 9))
        assert (np.diff(temperatures) <= 0).all() and (temperatures > 0).all()


def test_races_spend_their_share_and_keep_their_best() -> None:
    ising = random_ising(14, seed=2)
    found = raced(closed_form(ising), ising, num_sweeps=3000)
    assert 0 < found.spent <= SHARE * 3000 and found.spent == found.report["sweeps"]
    least = ising.energies(all_states(14)).min()
    assert found.energy == ising.energies(found.state)[0] == least
    assert found.report["chosen"] in runners(closed_form(ising), ising)


def test_a_bad_schedule_loses() -> None:
    """A schedule that ends far too hot: colder ones, or the closed form, beat it."""
    ising = random_ising(300, seed=3, density=0.05)
    hot = Schedule(tuple(b / 50 for b in closed_form(ising).betas), "cooling", automatic=True)
    found = raced(hot, ising, num_sweeps=20_000)
    assert found.report["chosen"] == "closed form"


def test_too_few_sweeps_are_not_shared_out() -> None:
    ising = random_ising(30, seed=1)
    assert raced(closed_form(ising), ising, num_sweeps=100) is None
    model = ising.to_bqm()
    found = get_solver("anneal")().sample(model, num_sweeps=100, seed=1, tune=True)
    again = get_solver("anneal")().sample(model, num_sweeps=100, seed=1)
    assert found.info["tune"] is None
    assert np.array_equal(found.record.energy, again.record.energy)


@pytest.mark.parametrize("name", ["anneal", "crossover"])
def test_seeds_repeat_on_any_number_of_threads(name: str) -> None:
    model = get_problem("lattice").generate(seed=1, shape=(8, 8)).bqm()
    runs = [
        get_solver(name)().sample(model, seed=4, num_sweeps=1500, tune=True, num_threads=threads)
        for threads in (1, 2)
    ]
    assert np.array_equal(runs[0].record.sample, runs[1].record.sample)
    reports = [dict(run.info["tune"], seconds=0) for run in runs]
    assert reports[0] == reports[1]


def test_auto_hands_it_on_and_squares_race_too() -> None:
    model = get_problem("colouring").generate(seed=1).bqm()
    found = get_solver("auto")().sample(model, seed=1, time_limit=0.5, tune=True)
    assert found.info["squares"] == "100 squares of 3 variables"
    report = found.info["tune"]
    assert report is None or min(report["best_energies"].values()) >= found.first.energy


def test_a_target_reached_in_a_race_is_returned() -> None:
    model = get_problem("lattice").generate(seed=1, shape=(8, 8)).bqm()
    sampler = get_solver("anneal")()
    best = sampler.sample(model, seed=1, num_sweeps=2000).first.energy
    found = sampler.sample(model, seed=2, time_limit=20.0, target_energy=best, tune=True)
    assert found.first.energy <= best


def test_a_schedule_that_is_given_is_not_tuned() -> None:
    model = random_ising(20, seed=1).to_bqm()
    with pytest.raises(InputError, match="leave out beta_range"):
        get_solver("anneal")().sample(model, beta_range=[0.1, 3.0], num_sweeps=5000, tune=True)
