from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import dimod
import numpy as np
import pytest

from anneal import suites
from anneal.bench import levels, run_bench, score, thin
from anneal.errors import InputError
from anneal.peers import PEERS, timed_peer
from anneal.problems import get_problem
from anneal.records import Record, RecordFile
from anneal.rivals import RIVALS
from anneal.suites import Instance

CALLS: list[dict[str, Any]] = []
# What the fake does next to answering; tests set it.
DURING: list[Callable[[], None]] = []


class Timed(dimod.Sampler):
    """Minds its own time, as our solvers do, and lies about its energies."""

    properties: ClassVar[dict[str, Any]] = {}
    parameters: ClassVar[dict[str, Any]] = {
        name: [] for name in ("time_limit", "seed", "num_threads", "interrupt_function")
    }

    def sample(self, bqm: dimod.BinaryQuadraticModel, **options: Any) -> dimod.SampleSet:
        CALLS.append(options)
        if options["time_limit"] > 0.1:
            for act in DURING:
                act()
        rng = np.random.default_rng(options["seed"])
        low = -1 if bqm.vartype is dimod.SPIN else 0
        states = np.where(rng.random((4, len(bqm.variables))) < 0.5, low, 1).astype(np.int8)
        return dimod.SampleSet.from_samples(
            (states, list(bqm.variables)),
            bqm.vartype,
            energy=np.full(4, -1e9),
            info={"trace": [(0.001 * k, -float(k)) for k in range(200)]},
        )


class Reads(dimod.Sampler):
    """Knows reads and a seed, no time."""

    properties: ClassVar[dict[str, Any]] = {}
    parameters: ClassVar[dict[str, Any]] = {"num_reads": [], "seed": []}

    def sample(self, bqm: dimod.BinaryQuadraticModel, **options: Any) -> dimod.SampleSet:
        CALLS.append(options)
        time.sleep(0.002)
        return dimod.RandomSampler().sample(bqm, **options)


class Refuses(dimod.Sampler):
    properties: ClassVar[dict[str, Any]] = {}
    parameters: ClassVar[dict[str, Any]] = {}

    def sample(self, bqm: dimod.BinaryQuadraticModel, **options: Any) -> dimod.SampleSet:
        raise ValueError("too many variables")


TIMED, READS, REFUSES = (f"{__name__}:{kind.__name__}" for kind in (Timed, Reads, Refuses))


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    CALLS.clear()
    DURING.clear()
    yield


@pytest.fixture
def rows(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "rows.jsonl")


def small(seed: int = 1) -> Instance:
    return suites.generated_instance("planted", seed=seed, length=4)


def never() -> bool:
    return False


def test_a_row_says_what_was_reached(rows: RecordFile) -> None:
    (row,) = run_bench([small()], [TIMED], seeds=[7], budgets=[0.2], records=rows)
    problem = get_problem("planted").generate(seed=1, length=4)
    found = row.result
    assert found["best_known"] == problem.best_known
    assert found["energy"] >= found["best_known"]
    assert found["energy"] == found["cost"] == min(found["energies"]["values"])
    assert found["gap"] == pytest.approx(found["energy"] / found["best_known"] * -1 + 1)
    assert found["num_reads"] == 4 == sum(found["energies"]["counts"])
    assert found["feasible"] is True and found["hit"] is (found["gap"] == 0)
    assert len(found["trace"]) == 50 and found["trace"][-1] == [0.199, -199.0]
    assert found["cpu_seconds"] >= 0 and row.seconds == found["wall_seconds"] > 0
    assert row.task.spec["seed"] == 7 and row.task.spec["budget"] == 0.2
    # A warm-up of at most 0.1 s, then the call.
    assert [call["time_limit"] for call in CALLS] == [0.1, 0.2]
    assert CALLS[-1]["seed"] == 7 and CALLS[-1]["num_threads"] == 1


def test_interrupted_work_resumes(rows: RecordFile) -> None:
    grid: dict[str, Any] = {"seeds": [1, 2], "budgets": [0.2, 0.3], "records": rows}
    run_bench([small()], [TIMED], seeds=[1], budgets=[0.3], records=rows)
    seen: list[tuple[int, int, int]] = []

    def progress(done: int, total: int, row: Record) -> None:
        seen.append((done, total, row.task.spec["seed"]))

    found = run_bench([small()], [TIMED], progress=progress, **grid)
    assert [(done, total) for done, total, _ in seen] == [(2, 4), (3, 4), (4, 4)]
    assert [(r.task.spec["budget"], r.task.spec["seed"]) for r in found] == [
        (0.2, 1),
        (0.2, 2),
        (0.3, 1),
        (0.3, 2),
    ]
    CALLS.clear()
    assert run_bench([small()], [TIMED], **grid) == found and CALLS == []
    # Other content is other work, though nothing else differs.
    run_bench([small(seed=2)], [TIMED], seeds=[1], budgets=[0.2], records=rows)
    assert len(CALLS) == 2 and len(rows.read()) == 5


def test_iterators_of_seeds_and_budgets_are_not_used_up(rows: RecordFile) -> None:
    found = run_bench(
        [small(1), small(2)], [TIMED], seeds=iter([1, 2]), budgets=iter([0.1]), records=rows
    )
    assert len(found) == 4


def test_solvers_alternate(rows: RecordFile) -> None:
    found = run_bench([small()], [TIMED, "neal"], seeds=[1, 2], budgets=[0.02], records=rows)
    assert [row.task.spec["solver"] for row in found] == [TIMED, "neal"] * 2


def test_what_cannot_be_solved_is_noted_and_tried_again(rows: RecordFile) -> None:
    for _ in range(2):
        seen: list[Any] = []
        (row,) = run_bench(
            [small()],
            [REFUSES],
            seeds=[1],
            budgets=[0.1],
            records=rows,
            progress=lambda *state: seen.append(state),  # noqa: B023
        )
        assert row.result == {"error": "too many variables"} and len(seen) == 1
    assert len(rows.read()) == 1


def test_what_cannot_be_planned_is_planned_once(
    rows: RecordFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: Any) -> Any:
        asked.append(1)
        raise InputError("not with me")

    monkeypatch.setitem(PEERS, "refusing", refuse)
    found = run_bench([small(5)], ["refusing"], seeds=[1, 2, 3], budgets=[0.1], records=rows)
    assert [row.result["error"] for row in found] == ["not with me"] * 3 and len(asked) == 1


@pytest.mark.parametrize("swallows", [True, False])
def test_ctrl_c_keeps_what_is_done_and_nothing_cut_off(rows: RecordFile, swallows: bool) -> None:
    def press() -> None:
        if CALLS[-1]["seed"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            assert CALLS[-1]["interrupt_function"]()
            if not swallows:
                # The second one is not held back.
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)

    DURING.append(press)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_bench([small()], [TIMED], seeds=range(1, 6), budgets=[0.2], records=rows)
    assert signal.getsignal(signal.SIGINT) is before
    assert [row.task.spec["seed"] for row in rows.read()] == [1, 2]
    DURING.clear()
    assert len(run_bench([small()], [TIMED], seeds=range(1, 6), budgets=[0.2], records=rows)) == 5


def test_runs_in_another_thread(rows: RecordFile) -> None:
    found: list[Record] = []
    thread = threading.Thread(
        target=lambda: found.extend(
            run_bench([small()], [TIMED], seeds=[1], budgets=[0.1], records=rows)
        )
    )
    thread.start()
    thread.join()
    assert len(found) == 1


def test_bad_names_are_told_before_any_work(rows: RecordFile) -> None:
    with pytest.raises(InputError, match=r"unknown solver 'nael'; did you mean 'neal'"):
        run_bench([small()], [TIMED, "nael"], seeds=[1], budgets=[0.1], records=rows)
    with pytest.raises(InputError, match="clock must be cpu or wall"):
        run_bench([small()], [TIMED], seeds=[1], budgets=[1], records=rows, clock="sun")
    assert CALLS == [] and not rows.path.exists()


@pytest.mark.parametrize("name", [*(name for name in PEERS if name not in RIVALS), READS])
def test_peers_trace_what_they_find(name: str) -> None:
    bqm = dimod.generators.ran_r(1, 60, seed=1)
    found = timed_peer(name, bqm, budget=0.1)(3, never)
    trace = found.info["trace"]
    energies = [energy for _, energy in trace]
    assert energies == sorted(energies, reverse=True) and len(set(energies)) == len(energies)
    assert trace[-1][1] == found.record.energy.min() and trace[0][0] > 0
    assert np.allclose(bqm.energies((found.record.sample, found.variables)), found.record.energy)


def test_reads_are_repeated_until_the_time_is_up() -> None:
    # A clock that counts 10 ms an asking: no test should measure the machine.
    ticks = iter(np.arange(0, 1e3, 0.01))
    bqm = dimod.generators.ran_r(1, 9, seed=1)
    found = timed_peer(READS, bqm, budget=1.0, clock=lambda: float(next(ticks)))(3, never)
    assert float(next(ticks)) == pytest.approx(1.0, abs=0.03)
    assert len({call["seed"] for call in CALLS}) == len(CALLS) > 20
    # Batches double while they are short.
    assert CALLS[0]["num_reads"] == 1 and len(found) == sum(call["num_reads"] for call in CALLS)


@pytest.mark.parametrize("name", ["neal", "neal+schedule", "neal+schedule+reads"])
def test_peers_stop_when_asked_and_repeat_with_their_seed(name: str) -> None:
    bqm = get_problem("lattice").generate(seed=1, shape=(20, 20)).bqm()
    call = timed_peer(name, bqm, budget=0.05)
    first, again, other = (call(seed, lambda: True) for seed in (3, 3, 4))
    assert len(first) == 1
    assert np.array_equal(first.record.sample, again.record.sample)
    assert not np.array_equal(first.record.sample, other.record.sample)


def test_a_read_longer_than_the_budget_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Slow:
        def sample(self, bqm: Any, **options: Any) -> dimod.SampleSet:
            asked.append(options)
            now[0] += 0.1 + 0.01 * options["num_sweeps"]
            if "interrupt_function" in options:
                options["interrupt_function"]()
            return dimod.RandomSampler().sample(bqm, num_reads=1)

    now = [0.0]
    monkeypatch.setattr("anneal.peers.SimulatedAnnealingSampler", Slow)
    bqm = dimod.generators.ran_r(1, 9, seed=1)
    call = timed_peer("neal", bqm, budget=1.1, clock=lambda: now[0])
    started = now[0]
    call(1, never)
    # 0.1 s of overhead and 100 sweeps of 0.01 s.
    assert asked[-1]["num_sweeps"] == pytest.approx(100, abs=2)
    assert now[0] - started == pytest.approx(1.1, abs=0.03)


def test_one_call_is_enough_where_a_seed_changes_nothing() -> None:
    found = timed_peer("dimod:ExactSolver", dimod.BQM({"a": 1}, {}, "BINARY"), budget=5.0)
    assert len(found(1, never)) == 2


def test_score_believes_no_energy_and_takes_any_vartype() -> None:
    bqm = dimod.BQM({"a": 1.0, "b": -2.0}, {("a", "b"): 3.0}, 0.5, "BINARY")
    found = dimod.SampleSet.from_samples(
        [{"b": 1, "a": -1}, {"a": 1, "b": 1}], "SPIN", energy=[-50, -60], num_occurrences=[3, 1]
    )
    told = score(found, bqm, best_known=0.0)
    assert told["energy"] == -1.5 and told["num_reads"] == 4
    assert told["energies"] == {"values": [-1.5, 2.5], "counts": [3, 1]}
    assert told["gap"] is None and told["hit"] is True and told["feasible"] is None


def test_score_of_a_broken_constraint() -> None:
    problem = get_problem("assignment").generate(seed=1, num_facilities=3)
    bqm = problem.bqm()
    nothing = dimod.SampleSet.from_samples([dict.fromkeys(bqm.variables, 0)], "BINARY", energy=0)
    told = score(nothing, bqm, problem=problem)
    assert told["feasible"] is False
    assert told["cost"] == problem.cost(problem.decode(dict.fromkeys(bqm.variables, 0)))
    assert told["best_known"] is None and told["gap"] is None and told["hit"] is None


def test_levels_keep_the_best_and_the_number_of_reads() -> None:
    rng = np.random.default_rng(1)
    energies, counts = rng.normal(size=5000), rng.integers(1, 4, 5000)
    found = levels(energies, counts)
    assert len(found["values"]) <= 50 and found["values"][0] == energies.min()
    assert sum(found["counts"]) == counts.sum()
    below = found["values"][10]
    assert sum(found["counts"][:10]) == counts[energies < below].sum()


@pytest.mark.parametrize("size", [0, 1, 2, 49, 50, 51, 1000])
def test_thin_keeps_the_ends(size: int) -> None:
    trace = [(float(k), -float(k)) for k in range(size)]
    found = thin(trace)
    assert len(found) == min(size, 50)
    assert not size or (found[0] == [0.0, 0.0] and found[-1] == [size - 1, 1 - size])


def test_suites_name_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = tmp_path / "g 1.txt"
    graph.write_text("3 2\n1 2 1\n2 3 1\n")
    first = suites.file_instance(graph, best_known=-2.0)
    graph.write_text("3 2\n1 2 1\n2 3 5\n")
    second = suites.file_instance(graph)
    assert first.name == second.name == "g 1" and first.spec != second.spec
    assert str(tmp_path) not in str(first.spec)
    loaded: Any = second.load()
    assert loaded.bqm().num_variables == 3
    assert suites.select([str(graph)]) == [second]


def test_tiny_suite_can_be_made() -> None:
    made = [instance.load() for instance in suites.tiny()]
    sizes = [problem.bqm().num_variables for problem in made]  # type: ignore[union-attr]
    assert len(set(map(str, suites.tiny()))) == len(sizes) and max(sizes) <= 400


def test_large_suite_is_what_is_published() -> None:
    p3000, p5000, torus = suites.large()
    assert [instance.name for instance in (p3000, p5000, torus)] == ["p3000.1", "p5000.1", "G81"]
    assert [instance.spec["name"] for instance in suites.large()] == ["p3000.1", "p5000.1", "G81"]
    assert (suites.select(["G81"]), torus.best_known) == ([torus], -14060)
    loaded: Any = p3000.load()
    assert loaded.best_known == -3931583 and len(loaded.bqm().variables) == 3000
    graph: Any = torus.load()
    assert graph.num_vertices == 20000 and graph.weight.size == 40000
    assert set(graph.weight) == {-1.0, 1.0}


def test_halves_are_of_one_size_in_each_suite() -> None:
    assert set(suites.HELD_OUT) >= set(suites.BEST_KNOWN)
    held = sum(suites.HELD_OUT[name] for name in suites.BEST_KNOWN)
    assert held == len(suites.BEST_KNOWN) // 2
    for size in (50, 100, 250, 500, 1000):
        assert suites.HELD_OUT[f"bqp{size}_2"] and not suites.HELD_OUT[f"bqp{size}_1"]


@pytest.mark.parametrize("value", [None, "", "/does/not/exist"])
def test_missing_data_says_how_to_set_it(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QBNN_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("QBNN_DATA", value)
    with pytest.raises(InputError, match=r"QBNN_DATA .*export QBNN_DATA="):
        suites.core()


def test_select_suggests() -> None:
    with pytest.raises(InputError, match=r"did you mean .*G14"):
        suites.select(["G141"])


@pytest.mark.skipif(not os.environ.get("QBNN_DATA"), reason="QBNN_DATA is not set")
def test_penalty_suite_can_be_made() -> None:
    made: list[Any] = [instance.load() for instance in suites.penalties()]
    assert [problem.bqm().num_variables for problem in made] == [1296, 2000, 64, 240, 600]
    assert suites.penalties()[0].best_known == 9526


@pytest.mark.skipif(not os.environ.get("QBNN_DATA"), reason="QBNN_DATA is not set")
def test_core_suite_has_its_best_known_energies() -> None:
    found = suites.core()
    assert len(found) == 33 and all(instance.best_known for instance in found)
    (nug12,) = (instance for instance in found if instance.name == "nug12")
    problem: Any = nug12.load()
    order = np.array([12, 7, 9, 3, 4, 8, 11, 1, 5, 6, 10, 2]) - 1
    assert problem.cost(order) == nug12.best_known
    (bqp,) = suites.select(["bqp50_1"])
    loaded: Any = bqp.load()
    found_by_neal = timed_peer("neal", loaded.bqm(), budget=0.2)(1, never)
    assert score(found_by_neal, loaded.bqm(), best_known=bqp.best_known)["hit"]
