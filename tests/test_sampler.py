"""The adapter between dimod and a search: seeds, initial states, stopping, neal's keywords."""

from __future__ import annotations

import _thread
import math
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import dimod
import neal
import numpy as np
import pytest
from dimod.exceptions import SamplerUnknownArgWarning

from anneal.control import Control
from anneal.errors import InputError
from anneal.sampler import IsingSampler, in_threads
from anneal.solvers import get_solver
from tests.kernels.reference import random_ising

MODEL = random_ising(40, seed=1, density=0.2).to_bqm()
NAMES = ["anneal", "tabu", "crossover", "auto", "greedy", "random"]


class Recorder(IsingSampler):
    """Keeps what its search was given and returns the initial states, or all spins up."""

    def search(
        self, h: Any, J: Any, *, control: Control, rng: Any, num_reads: Any = None,
        initial: Any = None, num_threads: int = 1, num_sweeps: Any = None, wish: Any = None,
    ) -> Any:  # fmt: skip
        self.given = {"h": h, "initial": initial, "num_threads": num_threads, "wish": wish}
        states = (
            np.ones((1, num_reads or 1, h.shape[1]), np.int8)
            if initial is None
            else initial[np.newaxis]
        )
        return states


def test_a_solver_names_its_own_keywords() -> None:
    sampler = Recorder()
    assert "wish" in sampler.parameters
    assert {"control", "rng", "initial"}.isdisjoint(sampler.parameters)
    sampler.sample(MODEL, wish=3, num_threads=2)
    assert (sampler.given["wish"], sampler.given["num_threads"]) == (3, 2)


@pytest.mark.parametrize("name", ["h", "J", "rng", "control", "no_such"])
def test_names_of_our_own_are_no_keywords(name: str) -> None:
    with pytest.warns(SamplerUnknownArgWarning, match=name):
        found = Recorder().sample(MODEL, **{name: 1})
    assert len(found) == 1


def test_initial_states_reach_the_search_in_the_models_order() -> None:
    model = dimod.BinaryQuadraticModel({"c": 1.0, "a": 2.0, "b": 3.0}, {}, 0.0, "BINARY")
    sampler = Recorder()
    sampler.sample(model, initial_states=([[0, 1, 1]], ["a", "b", "c"]))
    assert sampler.given["h"].tolist() == [[0.5, 1.0, 1.5]]
    assert sampler.given["initial"].tolist() == [[1, -1, 1]]
    sampler.sample(
        model, initial_states={"a": -1, "b": 1, "c": -1}
    )  # spins are taken, as neal does
    assert sampler.given["initial"].tolist() == [[-1, -1, 1]]
    sampler.sample(model)
    assert sampler.given["initial"] is None


@pytest.mark.parametrize(
    ("num_reads", "generator", "rows"), [(5, "tile", 5), (5, "random", 5), (1, "none", 1)]
)
def test_initial_states_are_filled_up_as_asked(num_reads: int, generator: str, rows: int) -> None:
    states = (np.array([[1] * 40, [-1] * 40]), range(40))
    sampler = Recorder()
    sampler.sample(
        MODEL,
        num_reads=num_reads,
        initial_states=states,
        initial_states_generator=generator,
        seed=1,
    )
    given = sampler.given["initial"]
    assert given.shape == (rows, 40)
    assert (given[0] == 1).all()
    if generator == "tile":
        assert given[:, 0].tolist() == [1, -1, 1, -1, 1]
    if generator == "random":
        assert abs(given[2:].astype(int).sum()) < 100


def neals_keywords() -> list[dict[str, Any]]:
    states = (np.ones((2, 40), np.int8), range(40))
    geometric = {"beta_range": (0.1, 4.0), "beta_schedule_type": "geometric"}
    custom = {"beta_schedule": np.linspace(0.1, 3, 30), "beta_schedule_type": "custom"}
    return [
        {"beta_range": [0.1, 4.0]},
        {"beta_range": (0.0, 4.0), "beta_schedule_type": "linear"},
        {**geometric, "num_sweeps": 100, "num_sweeps_per_beta": 5},
        {**custom, "num_sweeps_per_beta": 3},
        {"num_sweeps": 7},
        {"num_sweeps": 0},
        {"randomize_order": True, "proposal_acceptance_criteria": "Gibbs"},
        {"proposal_acceptance_criteria": "Metropolis"},
        {"initial_states": states, "initial_states_generator": "tile"},
        {"initial_states": states, "initial_states_generator": "random"},
        {"interrupt_function": lambda: False},
        {"seed": 2**31 - 1},
    ]


@pytest.mark.parametrize("case", range(len(neals_keywords())))
@pytest.mark.parametrize("name", NAMES)
def test_neals_keywords_are_taken(name: str, case: int) -> None:
    keywords = {"num_reads": 3, **neals_keywords()[case]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        neal.SimulatedAnnealingSampler().sample(MODEL, **keywords)
        found = get_solver(name)().sample(MODEL, **keywords)
    assert len(found) == 3
    assert found.record.energy == pytest.approx(MODEL.energies(found))


@pytest.mark.parametrize(
    "keywords",
    [
        {"seed": True},
        {"seed": -1},
        {"seed": 2**32},
        {"num_reads": 2.5},
        {"num_threads": 0},
        {"time_limit": -1.0},
        {"initial_states_generator": "whatever"},
        {"initial_states_generator": "none"},
    ],
)
def test_what_cannot_be_is_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Recorder().sample(MODEL, **keywords)


@pytest.mark.parametrize(
    "keywords",
    [{"proposal_acceptance_criteria": "Heat"}, {"num_sweeps": -2}, {"num_sweeps_per_beta": 0}],
)
def test_an_anneal_refuses_what_it_does_not_know(keywords: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        get_solver("anneal")().sample(MODEL, **keywords)


def test_a_generator_is_a_seed_and_moves_on() -> None:
    rng = np.random.default_rng(1)
    sampler = get_solver("random")()
    first, second = (sampler.sample(MODEL, seed=rng).record.sample for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.fixture
def control_c() -> Iterator[None]:
    """Ctrl-C interrupts, as in a terminal; a shell makes what it starts in the background deaf."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("control_c")
@pytest.mark.parametrize("name", ["anneal", "crossover", "tabu", "random"])
def test_control_c_returns_the_best_so_far(name: str) -> None:
    timer = threading.Timer(0.15, _thread.interrupt_main)
    timer.start()
    found = get_solver(name)().sample(MODEL, time_limit=60.0, num_threads=2)
    assert found.info["interrupted"]
    assert found.first.energy == MODEL.energies(found.first.sample)[0]


def test_an_error_in_a_callback_or_a_search_comes_out() -> None:
    def fail(*_: float) -> bool:
        raise ZeroDivisionError

    for callback in ("progress", "interrupt_function"):
        with pytest.raises(ZeroDivisionError):
            get_solver("anneal")().sample(MODEL, time_limit=60.0, **{callback: fail})
    with pytest.raises(InputError, match="at most 250"):
        get_solver("exact")().sample(random_ising(260, seed=1, largest=1).to_bqm())


def test_progress_runs_from_none_to_all_in_the_callers_thread() -> None:
    calls: list[tuple[float, float, int]] = []
    found = get_solver("anneal")().sample(
        MODEL, time_limit=0.4, progress=lambda *told: calls.append((*told, threading.get_ident()))
    )
    fractions, best, threads = zip(*calls, strict=True)
    assert set(threads) == {threading.get_ident()}
    assert list(fractions) == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1
    assert list(best) == sorted(best, reverse=True)
    assert best[-1] >= found.first.energy - 1e-9 or math.isinf(best[-1])


def test_the_target_has_to_be_reached_by_a_sample_that_is_returned() -> None:
    """One read uses one lane of many: what the others reach is not its own."""
    for name in ("anneal", "greedy", "tabu", "crossover"):
        sampler = get_solver(name)()
        target = get_solver("tabu")().sample(MODEL, seed=1).first.energy
        for seed in range(5):
            found = sampler.sample(MODEL, num_reads=1, seed=seed, target_energy=target)
            assert len(found) == 1
            assert found.info["trace"][-1][1] == found.first.energy
            assert name == "greedy" or found.first.energy == target


def test_threads_keep_the_order_and_pass_errors_on() -> None:
    assert in_threads(lambda x: x * x, list(range(9)), 3) == [x * x for x in range(9)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 // x, [1, 0, 2], 3)


def test_control_tells_when_to_stop_and_keeps_the_best() -> None:
    control = Control(target_energy=-3.0, offset=1.0)
    assert control.remaining() == math.inf
    for energy in (5.0, 7.0, -2.0):
        control.improve(energy)
    assert (control.best, [energy for _, energy in control.trace]) == (-1.0, [6.0, -1.0])
    assert not control.stop()
    control.improve(-4.0)
    assert control.stop()
    assert Control(time_limit=0.0).stop()
    assert Control(time_limit=0.0).fraction() == 1.0
    control = Control(time_limit=1e9)
    assert not control.stop()
    assert 0 <= control.fraction() < 1e-3
    control.interrupt()
    assert control.stop() and control.interrupted
