"""How fast the kernels are: spin updates a nanosecond, tabu moves a second, neal beside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import neal
import numpy as np

from anneal.control import Control
from anneal.ising import Ising
from anneal.problem import Problem
from anneal.records import Record, RecordFile, Task
from anneal.replicas import choose_layout, random_states
from anneal.schedules import Schedule, closed_form
from anneal.solvers.tabu import Graph, Pool
from anneal.suites import Instance, generated_instance

REPEATS = 5  # the fastest counts: what disturbs a measurement only slows it
SWEEPS = 200
FLIPS = 200_000


@dataclass(frozen=True)
class Rate:
    """One measurement: a task's name, what it runs on, and the function that measures it once."""

    kernel: str
    instance: Instance
    measure: Callable[[Ising], float]


def annealing(ising: Ising) -> float:
    """Updates a nanosecond of CPU time by our annealing kernel over its closed-form schedule."""
    layout = choose_layout(ising.h, ising.J)
    replicas = layout.replicas(np.random.default_rng(1))
    schedule = closed_form(ising)
    each = max(1, 4096 // ising.num_spins)
    temperatures = schedule.temperatures(np.linspace(0, 1, SWEEPS))
    replicas.set_states(random_states(replicas.rng, layout.lanes, ising.num_spins))
    started = time.process_time()
    replicas.anneal(temperatures, each)
    spent = time.process_time() - started
    return ising.num_spins * layout.lanes * SWEEPS * each / spent / 1e9


def neal_annealing(ising: Ising) -> float:
    """Updates a nanosecond by neal over the same temperatures, its conversion included."""
    bqm = ising.to_bqm()
    schedule: Schedule = closed_form(ising)
    betas = 1 / schedule.temperatures(np.linspace(0, 1, SWEEPS))
    reads = max(1, 2_000_000 // (ising.num_spins * SWEEPS))
    started = time.process_time()
    neal.SimulatedAnnealingSampler().sample(
        bqm, num_reads=reads, beta_schedule_type="custom", beta_schedule=betas, seed=1
    )
    spent = time.process_time() - started
    return ising.num_spins * reads * SWEEPS / spent / 1e9


def tabu_moves(ising: Ising) -> float:
    """Flips a second of CPU time of one-flip tabu search, from a random state."""
    graph = Graph.of(choose_layout(ising.h, ising.J), ising.J)
    control = Control(time_limit=0.0)
    pool = Pool(graph, 1, control, np.random.default_rng(1), None)
    control.time_limit = 0.5
    control.started = time.perf_counter()
    started = time.process_time()
    pool.fill(random_states(pool.rng, 1, ising.num_spins), control.elapsed() + 0.5)
    return pool.flips / (time.process_time() - started)


def rates() -> list[Rate]:
    """Return what is measured: generated instances, so that they are the same everywhere."""
    random = generated_instance("maxcut", seed=1, num_vertices=2000, density=0.01)
    regular = generated_instance("maxcut", seed=1, family="regular", num_vertices=10000, degree=3)
    glass = generated_instance("sk", seed=1, num_spins=500)
    dense = generated_instance("qubo", seed=1, num_variables=3000, density=0.5)
    annealed = [random, regular, glass, dense]
    return [
        *(Rate("anneal", instance, annealing) for instance in annealed),
        *(Rate("neal", instance, neal_annealing) for instance in annealed),
        Rate("tabu", dense, tabu_moves),
    ]


def run_rates(
    records: RecordFile, *, progress: Callable[[float, str], None] | None = None
) -> list[Record]:
    """Measure every rate that has no row in ``records`` yet and return the rows of all."""
    known = {row.task.id: row for row in records.read()} if records.path.exists() else {}
    rows = []
    chosen = rates()
    for done, rate in enumerate(chosen):
        task = Task("rate", {"kernel": rate.kernel, "instance": rate.instance.spec})
        if task.id not in known:
            if progress is not None:
                progress(done / len(chosen), f"{rate.kernel} on {rate.instance.name}")
            known[task.id] = _measured(task, rate)
            records.append(known[task.id])
        rows.append(known[task.id])
    return rows


def _measured(task: Task, rate: Rate) -> Record:
    loaded = rate.instance.load()
    ising = Ising.from_bqm(loaded.bqm() if isinstance(loaded, Problem) else loaded)
    rate.measure(ising)  # compiles
    started = time.perf_counter()
    best = max(rate.measure(ising) for _ in range(REPEATS))
    unit = "moves/s" if rate.kernel == "tabu" else "updates/ns"
    result: dict[str, Any] = {"rate": best, "unit": unit, "repeats": REPEATS}
    return Record(task, result, time.perf_counter() - started)
