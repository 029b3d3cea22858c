from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest

from anneal import peers, suites
from anneal.bench import run_bench
from anneal.errors import InputError
from anneal.peers import timed_peer
from anneal.records import RecordFile
from anneal.rivals import RIVALS, Rival, Run


def never() -> bool:
    return False


def model(*, named: bool = False) -> dimod.BinaryQuadraticModel:
    """Thirty binary variables with every bias there is."""
    rng = np.random.default_rng(1)
    i, j = np.triu_indices(30, 1)
    bqm = dimod.BQM.from_numpy_vectors(
        rng.normal(size=30), (i, j, rng.normal(size=i.size)), 2.5, dimod.BINARY
    )
    if named:
        bqm.relabel_variables({k: f"v{29 - k}" for k in range(30)})
    return bqm


@pytest.fixture(params=list(RIVALS))
def rival(request: pytest.FixtureRequest) -> Rival:
    found = RIVALS[request.param]
    if importlib.util.find_spec(found.module.partition(".")[0]) is None:
        pytest.skip(f"{found.package} is not installed")
    return found


def test_samples_are_of_the_problem(rival: Rival) -> None:
    bqm = model(named=True)
    found = rival.prepare(rival.load(), bqm)(4, 20, 3)
    assert len(found) == 4 and set(found.variables) == set(bqm.variables)
    found = found.change_vartype(dimod.BINARY, inplace=False)
    assert np.allclose(bqm.energies((found.record.sample, found.variables)), found.record.energy)


def test_samples_are_of_the_seed(rival: Rival) -> None:
    state = np.random.get_state()
    run = rival.prepare(rival.load(), dimod.generators.ran_r(1, 100, seed=1))
    first, again, other = (run(4, 5, seed).record.sample for seed in (3, 3, 40))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    # Reads of one batch are not copies of each other.
    assert len(np.unique(first, axis=0)) == 4
    assert np.array_equal(state[1], np.random.get_state()[1])  # type: ignore[index]


def test_more_steps_are_better(rival: Rival) -> None:
    bqm = dimod.generators.ran_r(1, 60, seed=1)
    run = rival.prepare(rival.load(), bqm)
    few, many = (run(8, steps, 1).record.energy.mean() for steps in (2, 500))
    assert many < few


def test_a_call_traces_what_it_finds(rival: Rival) -> None:
    name = next(name for name, each in RIVALS.items() if each is rival)
    bqm = model()
    found = timed_peer(name, bqm, budget=0.2)(3, never)
    energies = [energy for _, energy in found.info["trace"]]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] == pytest.approx(found.record.energy.min())
    assert found.info["trace"][0][0] > 0


def test_a_row_has_the_version_of_the_package(rival: Rival, tmp_path: Path) -> None:
    name = next(name for name, each in RIVALS.items() if each is rival)
    instance = suites.generated_instance("planted", seed=1, length=4)
    rows = RecordFile(tmp_path / "rows.jsonl")
    (row,) = run_bench([instance], [name], seeds=[1], budgets=[0.1], records=rows)
    assert row.versions[rival.package] == rival.versions()[rival.package]
    assert row.result["energy"] >= row.result["best_known"]


def counted(
    now: list[float], asked: list[tuple[int, int]], pace: list[float] | None = None
) -> Callable[..., Run]:
    """A package on a clock of its own: 0.1 s to take over, by default 0.1 ms a step and read."""

    def prepare(module: Any, bqm: dimod.BinaryQuadraticModel) -> Run:
        now[0] += 0.1

        def run(reads: int, steps: int, seed: int) -> dimod.SampleSet:
            asked.append((reads, steps))
            now[0] += (1e-4 if pace is None else pace[0]) * reads * steps
            found: dimod.SampleSet = dimod.RandomSampler().sample(bqm, num_reads=reads, seed=seed)
            return found

        return run

    return prepare


@pytest.mark.parametrize(
    ("budget", "reads", "steps"),
    [
        # 900 steps: the default length does not fit, nor do several reads side by side.
        (0.19, 1, [900]),
        # Four default reads; a second batch, twice as long, would not fit.
        (0.6, 4, [1250]),
        (0.1 + 0.1 * 16 * 3, 16, [1000, 2000]),
        (0.1 + 0.1 * 16 * 8, 16, [1143, 2286, 4571]),
    ],
)
def test_batches_double_and_fill_the_budget(budget: float, reads: int, steps: list[int]) -> None:
    now, asked = [0.0], list[tuple[int, int]]()
    plain = Rival("math", "math", counted(now, asked), reads=16)
    call = peers._rival(model(), budget, lambda: now[0], rival=plain)
    asked.clear()
    started = now[0]
    found = call(1, never)
    assert [count for count, _ in asked] == [reads] * len(steps)
    assert [length for _, length in asked] == pytest.approx(steps, abs=2)
    assert now[0] - started == pytest.approx(budget, rel=0.01)
    assert len(found) == reads * len(steps)
    asked.clear()
    call(1, lambda: True)
    assert len(asked) == 1


def test_what_was_measured_too_slow_is_run_again() -> None:
    now, pace = [0.0], [1e-3]
    plain = Rival("math", "math", counted(now, [], pace))
    call = peers._rival(model(), 1.0, lambda: now[0], rival=plain)
    pace[0], started = 1e-4, now[0]
    call(1, never)
    assert 0.9 <= now[0] - started <= 1.01


def test_what_takes_all_the_time_to_take_over_is_told() -> None:
    now = [0.0]
    slow = Rival("math", "math", counted(now, []))
    with pytest.raises(InputError, match=r"math takes 0.1 s to take this problem over, all of"):
        peers._rival(model(), 0.1, lambda: now[0], rival=slow)
    with pytest.raises(InputError, match="math wants a problem with couplings"):
        peers._rival(dimod.BQM({"a": 1}, {}, "SPIN"), 1.0, lambda: now[0], rival=slow)


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Rival("absent", "absent_module.part", counted([0.0], []))
    monkeypatch.setitem(peers.PEERS, "absent", partial(peers._rival, rival=absent))
    with pytest.raises(InputError, match=r"absent is wanted: pip install 'qbnn\[bench\]'"):
        timed_peer("absent", model(), budget=1.0)
    assert absent.versions() == {}


def test_a_dense_package_says_how_much_it_takes() -> None:
    prepare = RIVALS["simulated-bifurcation+discrete"].prepare
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="at most 10000 variables, not 10001"):
        prepare(None, dimod.BQM({k: 1.0 for k in range(10_001)}, {}, "SPIN"))
