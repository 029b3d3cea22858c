"""What single solvers promise beyond the laws that all obey."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dimod
import numpy as np
import pytest
from scipy.stats import norm

from anneal.control import Control
from anneal.ising import Ising
from anneal.schedules import Schedule
from anneal.solvers import get_solver
from anneal.solvers.anneal import AnnealSampler, anneal
from anneal.solvers.auto import choose
from tests.kernels.reference import all_states, codes_of, random_ising

ISING = random_ising(4, seed=8)


def frequencies(ising: Ising, **parameters: Any) -> Any:
    found = AnnealSampler().sample(ising.to_bqm(), num_reads=20_000, seed=1, **parameters)
    return np.bincount(codes_of(found.record.sample), minlength=2**ising.num_spins) / 20_000


def boltzmann(ising: Ising, beta: float) -> Any:
    weights = np.exp(-beta * ising.energies(all_states(ising.num_spins)))
    return weights / weights.sum()


def assert_near(observed: Any, law: Any, samples: int = 20_000) -> None:
    bound = norm.isf(1e-9 / len(law)) * np.sqrt(law * (1 - law) / samples) + 10 / samples
    assert (np.abs(observed - law) < bound).all(), (observed, law)


@pytest.mark.parametrize(
    "parameters",
    [
        {"beta_range": (0.3, 0.3), "num_sweeps": 30},
        {"beta_range": (0.3, 0.3), "num_sweeps": 30, "beta_schedule_type": "linear"},
        {"beta_range": (0.3, 0.3), "num_sweeps": 60, "randomize_order": True},
        {"beta_range": (0.3, 0.3), "num_sweeps": 60, "proposal_acceptance_criteria": "Gibbs"},
        {"beta_schedule": [5.0, 0.0, 0.3], "num_sweeps_per_beta": 20},
        {"beta_schedule": [5.0, 0.0, 0.3], "num_sweeps_per_beta": 20, "num_sweeps": 60},
    ],
    ids=str,
)
def test_a_schedule_that_was_asked_for_samples_at_its_last_temperature(parameters: Any) -> None:
    """No descent: with a beta range, the samples are those of the Boltzmann law, as neal's are."""
    assert_near(frequencies(ISING, **parameters), boltzmann(ISING, 0.3))


def test_each_beta_of_a_schedule_gets_its_sweeps() -> None:
    """One spin, cold but for the last beta, which accepts every flip: it ends up or down."""
    model = dimod.BinaryQuadraticModel({0: 1.0}, {}, "SPIN")
    for per_beta in (1, 3):
        found = AnnealSampler().sample(
            model,
            beta_schedule=[50.0] * 99 + [0.0],
            num_sweeps_per_beta=per_beta,
            num_reads=64,
            seed=1,
        )
        assert (found.record.sample == (1 if per_beta % 2 else -1)).all()


class Spy:
    """Replicas that only write down at which temperatures they were."""

    def __init__(self, num_spins: int) -> None:
        self.layout = SimpleNamespace(num_spins=num_spins, lanes=64, effort=1, hand_over=0.0)
        self.visits: list[tuple[float, int]] = []
        self.descents = 0

    def anneal(self, temperatures: Any, num_sweeps: int) -> None:
        self.visits += [(temperature, num_sweeps) for temperature in temperatures]

    def descend(self, control: Control) -> None:
        self.descents += 1

    def energies(self) -> Any:
        return np.zeros(64)


@pytest.mark.parametrize("num_spins", [3, 500, 100_000])
@pytest.mark.parametrize("num_sweeps", [1, 7, 100, 1000])
@pytest.mark.parametrize("each", [None, 1, 5])
def test_an_anneal_walks_the_whole_schedule(num_spins: int, num_sweeps: int, each: Any) -> None:
    """num_sweeps is the total, as in neal, spread evenly over the betas."""
    spy: Any = Spy(num_spins)
    schedule = Schedule((0.5, 2.0), "linear")
    anneal(spy, schedule, Control(), num_sweeps=num_sweeps, sweeps_each=each)
    temperatures, sweeps = zip(*spy.visits, strict=True)
    assert set(sweeps) == {each} if each else len(set(sweeps)) == 1
    assert num_sweeps <= sum(sweeps) < num_sweeps + sweeps[0]
    marks = (np.arange(len(sweeps)) + 0.5) / len(sweeps)
    assert temperatures == pytest.approx(schedule.temperatures(marks), rel=0.2)
    assert (np.diff(temperatures) < 0).all()
    assert spy.descents == 0


def test_a_custom_schedule_is_walked_beta_by_beta() -> None:
    spy: Any = Spy(40_000)
    betas = tuple(np.random.default_rng(1).random(40) + 0.1)
    anneal(spy, Schedule(betas, "custom"), Control(), num_sweeps=120, sweeps_each=3)
    assert [(1 / beta, 3) for beta in betas] == spy.visits


def test_an_automatic_or_a_broken_off_anneal_ends_with_a_descent() -> None:
    for schedule, control in (
        (Schedule((0.5, 2.0), "cooling", automatic=True), Control()),
        (Schedule((0.5, 2.0), "linear"), Control(target_energy=0.0)),
        (Schedule((0.5, 2.0), "linear"), Control(time_limit=0.0)),
    ):
        spy: Any = Spy(10**6)
        anneal(spy, schedule, control, num_sweeps=500)
        assert spy.descents == 1


def test_no_sweeps_return_the_initial_states() -> None:
    states = np.random.default_rng(1).choice([-1, 1], (70, 4))
    for extra in ({}, {"beta_range": (1.0, 2.0)}):
        found = AnnealSampler().sample(
            ISING.to_bqm(), num_sweeps=0, initial_states=(states, range(4)), **extra
        )
        assert (found.record.sample == states).all()


@pytest.mark.parametrize("ising", [random_ising(30, seed=1), random_ising(120, seed=1)])
def test_cold_anneals_go_down_from_their_initial_states(ising: Ising) -> None:
    """Read k starts from initial state k, a minimum; only plateaus lead out of it."""
    greedy = get_solver("greedy")().sample(ising.to_bqm(), num_reads=70, seed=1)
    states = (greedy.record.sample, list(greedy.variables))
    for name in ("anneal", "greedy"):
        found = get_solver(name)().sample(
            ising.to_bqm(), initial_states=states, seed=2, beta_range=(1e9, 1e9), num_sweeps=10
        )
        assert (found.record.energy <= greedy.record.energy).all()
        assert (found.record.energy == greedy.record.energy).mean() > 0.5


@pytest.mark.parametrize("name", ["tabu", "greedy", "exact"])
def test_results_are_no_worse_than_the_initial_states(name: str) -> None:
    ising = random_ising(24, seed=1)
    best = get_solver("exact")().sample(ising.to_bqm()).first
    found = get_solver(name)().sample(ising.to_bqm(), initial_states=best.sample, seed=1)
    assert found.first.energy == best.energy


@pytest.mark.parametrize(
    "ising", [random_ising(12, seed=3), random_ising(110, seed=3, density=0.5)]
)
def test_problems_that_share_couplings_are_solved_side_by_side(ising: Ising) -> None:
    """search() takes (m, n) biases: each problem has its own ground state, in whichever lane."""
    rng = np.random.default_rng(1)
    h = rng.integers(-3, 4, (5, ising.num_spins)) + 40.0 * rng.choice([-1, 1], (5, ising.num_spins))
    for name in ("anneal", "tabu", "crossover", "greedy", "exact", "auto"):
        if name in ("exact", "auto") and ising.num_spins > 20:
            continue
        found = get_solver(name)().search(h, ising.J * 0.1, control=Control(), rng=rng, num_reads=3)
        assert found.shape == (5, 3, ising.num_spins)
        assert (found[:, 0] == -np.sign(h)).all()


def test_auto_tells_what_it_chose() -> None:
    cases = [
        ("exact", random_ising(20, seed=1)),
        ("tabu", random_ising(60, seed=1)),
        ("crossover", random_ising(400, seed=1, density=0.02)),
    ]
    for name, ising in cases:
        assert choose(ising)[0] == name
        found = get_solver("auto")().sample(ising.to_bqm(), num_sweeps=20, seed=1)
        assert found.info["solver"] == name
        assert found.info["reason"]
    tree = dimod.BinaryQuadraticModel({}, {(k, (k - 1) // 2): 1.0 for k in range(1, 500)}, "SPIN")
    found = get_solver("auto")().sample(tree)
    assert (found.first.energy, found.info["presolved"]) == (-499, 0)


def test_exact_tells_whether_it_proved_the_minimum() -> None:
    model = random_ising(28, seed=1).to_bqm()
    found = get_solver("exact")().sample(model, time_limit=0.0)
    assert not found.info["proven"]
    assert len(found) == 1
    reads = get_solver("exact")().sample(random_ising(8, seed=1).to_bqm(), num_reads=4)
    assert reads.info["proven"]
    assert (np.diff(reads.record.energy) >= 0).all()


def test_random_takes_the_best_of_what_it_draws_in_time() -> None:
    model = random_ising(30, seed=1).to_bqm()
    one = get_solver("random")().sample(model, num_reads=4, seed=1)
    more = get_solver("random")().sample(model, num_reads=4, seed=1, time_limit=0.2)
    assert more.first.energy < one.first.energy
    assert len(more) == 4


def test_tabu_and_crossover_options() -> None:
    model = random_ising(60, seed=2, density=0.2).to_bqm()
    short = get_solver("tabu")().sample(model, seed=1, num_restarts=0, num_sweeps=5)
    longer = get_solver("tabu")().sample(model, seed=1, num_restarts=30, num_sweeps=5, tenure=7)
    assert 0 < short.info["flips"] < longer.info["flips"]
    found = get_solver("crossover")().sample(
        model, seed=1, num_reads=40, num_rounds=2, round_sweeps=10, num_populations=3
    )
    assert (np.diff(found.record.energy) >= 0).all()
    assert len(found) == 40
