"""The same results from every executor; a worker that dies costs its task alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import dimod
import numpy as np
import pytest

from anneal.bench import run_bench
from anneal.distributed import DistributedSampler
from anneal.errors import InputError
from anneal.executors import EXECUTORS, Executor, WorkerDied, open_executor
from anneal.problems import get_problem
from anneal.records import RecordFile
from anneal.solvers import get_solver
from anneal.suites import generated_instance


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request: Any) -> Iterator[Executor]:
    with open_executor(request.param, num_workers=2) as opened:
        yield opened


@pytest.fixture(scope="module", params=[name for name in EXECUTORS if name != "threads"])
def processes(request: Any) -> Iterator[Executor]:
    """Those whose workers may die."""
    with open_executor(request.param, num_workers=2) as opened:
        yield opened


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise InputError(f"no {x}")


def die(x: Any) -> Any:
    """Die the first time that a file is not there, and each time for what is no file."""
    if x == "always" or (isinstance(x, Path) and not x.exists()):
        if isinstance(x, Path):
            x.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return str(x)


def linger(x: float) -> float:
    time.sleep(x)
    return x


def test_every_task_is_done_once(executor: Executor) -> None:
    assert sorted(executor.run(square, range(20))) == [(k, k * k) for k in range(20)]
    assert list(executor.run(square, [])) == []


def test_what_a_task_raises_is_raised(executor: Executor) -> None:
    with pytest.raises(InputError, match="no 3"):
        list(executor.run(fail, [3]))
    assert list(executor.run(square, [4])) == [(0, 16)], "and the workers go on"


def test_a_stop_leaves_what_has_not_begun(executor: Executor) -> None:
    done: list[Any] = []
    for found in executor.run(linger, [0.0, *[1.0] * 20], stopped=lambda: bool(done)):
        done.append(found)
    assert done[0] == (0, 0.0) and len(done) < 6


def test_a_dead_worker_costs_its_task_alone(processes: Executor, tmp_path: Path) -> None:
    """Killed once, a task is tried again; killed again, it is given up and the others are not."""
    items = [tmp_path / "once", "a", "always", "b"]
    found = dict(processes.run(die, items))
    assert isinstance(found.pop(2), WorkerDied)
    assert found == {0: str(items[0]), 1: "a", 3: "b"}


def test_the_same_seed_gives_the_same_samples_everywhere(executor: Executor) -> None:
    bqm = get_problem("lattice").generate(seed=1, shape=(5, 5)).bqm()
    sampler = DistributedSampler(get_solver("anneal")(), executor)
    found = sampler.sample(bqm, num_reads=150, num_sweeps=20, seed=7)
    with open_executor("threads", num_workers=1) as one:
        alone = DistributedSampler(get_solver("anneal")(), one)
        same = alone.sample(bqm, num_reads=150, num_sweeps=20, seed=7)
    assert len(found) == 150 and found.info["parts"] == 3
    assert (found.record.sample == same.record.sample).all()
    assert len(np.unique(found.record.sample, axis=0)) > 3, "the parts have seeds of their own"


def test_reads_are_divided_and_watched(executor: Executor) -> None:
    bqm = dimod.BQM.from_ising({}, {("a", "b"): 1.0, ("b", "c"): 1.0})
    sampler = DistributedSampler(get_solver("anneal")(), executor)
    told: list[tuple[float, float]] = []
    found = sampler.sample(
        bqm, num_reads=5, time_limit=0.05, seed=1, progress=lambda *now: told.append(now)
    )
    assert len(found) == 5 and found.first.energy == -2.0
    assert found.info["parts"] == 2 and told == [(0.5, -2.0), (1.0, -2.0)]
    neal = DistributedSampler(get_solver("neal")(), executor)
    assert len(neal.sample(bqm, num_reads=70, seed=1)) == 70
    with pytest.raises(InputError, match="initial states"):
        sampler.sample(bqm, initial_states=found)
    with pytest.raises(InputError, match="num_reads"):
        sampler.sample(bqm, num_reads=0)


def test_parts_whose_workers_die_are_counted(processes: Executor) -> None:
    bqm = dimod.BQM.from_ising({}, {("a", "b"): 1.0})
    sampler = DistributedSampler(Deadly(), processes)
    found = sampler.sample(bqm, num_reads=192, seed=1)
    assert len(found) == 128 and found.info["lost_parts"] == 1 and not found.info["interrupted"]


class Deadly(dimod.Sampler):  # type: ignore[misc,name-defined]
    """Kills its process with the second of three seeds."""

    parameters: ClassVar[dict[str, Any]] = {"num_reads": [], "seed": []}
    properties: ClassVar[dict[str, Any]] = {}

    def sample(self, bqm: Any, *, num_reads: int, seed: int) -> dimod.SampleSet:
        if seed == int(np.random.default_rng(1).integers(2**31, size=3)[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return dimod.RandomSampler().sample(bqm, num_reads=num_reads)


def test_an_interrupted_search_in_processes_keeps_what_it_has() -> None:
    bqm = get_problem("lattice").generate(seed=1, shape=(6, 6)).bqm()
    with open_executor("processes", num_workers=2) as executor:
        sampler = DistributedSampler(get_solver("anneal")(), executor)
        sampler.sample(bqm, num_reads=2, time_limit=0.1)  # workers are up, kernels loaded
        began = time.monotonic()
        found = sampler.sample(
            bqm, time_limit=120.0, interrupt_function=lambda: time.monotonic() > began + 3
        )
    assert found.info["interrupted"] and time.monotonic() < began + 60
    assert found.first.energy == pytest.approx(min(found.record.energy))


def test_a_benchmark_has_the_same_rows_on_every_executor(
    executor: Executor, tmp_path: Path
) -> None:
    instances = [generated_instance("sk", seed=seed, num_spins=12) for seed in (1, 2)]
    rows = run_bench(
        instances, ["exact", "random"], seeds=[1, 2], budgets=[0.02], clock="wall",
        records=RecordFile(tmp_path / "rows.jsonl"), executor=executor,
    )  # fmt: skip
    plain = run_bench(
        instances, ["exact", "random"], seeds=[1, 2], budgets=[0.02], clock="wall",
        records=RecordFile(tmp_path / "plain.jsonl"),
    )  # fmt: skip
    assert [row.task.id for row in rows] == [row.task.id for row in plain]
    pairs = [(a, b) for a, b in zip(rows, plain, strict=True) if a.task.spec["solver"] == "exact"]
    assert all(a.result["energy"] == b.result["energy"] for a, b in pairs)
    again = run_bench(
        instances, ["exact", "random"], seeds=[1, 2], budgets=[0.02], clock="wall",
        records=RecordFile(tmp_path / "rows.jsonl"), executor=executor,
        progress=lambda *_: pytest.fail("measured again"),
    )  # fmt: skip
    assert [row.task.id for row in again] == [row.task.id for row in rows]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'threads'"):
        open_executor("thread")
    with pytest.raises(InputError, match="at least 1"):
        open_executor("processes", num_workers=0)
    with pytest.raises(InputError, match="Dask's"):
        open_executor("threads", scheduler="tcp://127.0.0.1:1")
    with open_executor("threads") as threads, pytest.raises(InputError, match="wall"):
        run_bench(
            [], [], seeds=[], budgets=[], records=RecordFile(tmp_path / "r"), executor=threads
        )


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anneal.executors.CONNECT", 1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        open_executor("dask", scheduler="tcp://127.0.0.1:9")


def test_a_scheduler_that_goes_ends_the_run() -> None:
    with open_executor("dask", num_workers=1) as ours:
        address = ours.cluster.scheduler_address  # type: ignore[attr-defined]
        other = open_executor("dask", scheduler=address)
        found = other.run(linger, [0.0, 30.0])
        assert next(found) == (0, 0.0)
        ours.close()
        with pytest.raises(ConnectionError, match="scheduler is gone"):
            next(found)
        other.close()


def test_no_worker_is_left() -> None:
    others = set(multiprocessing.active_children())
    with open_executor("processes", num_workers=2) as executor:
        assert len(list(executor.run(square, range(4)))) == 4
        assert set(multiprocessing.active_children()) - others
    assert not set(multiprocessing.active_children()) - others
