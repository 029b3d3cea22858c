"""How fast the kernels are: spin updates a nanosecond, tabu moves a second, neal beside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import neal
import numpy as np

from anneal.control import Control
from anneal.ising import Ising
from anneal.layouts import Numbers, choose_layout
from anneal.multispin import BitLayout
from anneal.problem import Problem
from anneal.records import Record, RecordFile, Task
from anneal.replicas import random_states
from anneal.schedules import Schedule, closed_form
from anneal.solvers.tabu import Graph, Pool
from anneal.suites import Instance, generated_instance

REPEATS = 5  # the fastest counts: what disturbs a measurement only slows it
SWEEPS = 200
FLIPS = 200_000


@dataclass(frozen=True)
class Rate:
    """One measurement: its name, what it runs on, the function that measures it once, its unit."""

    kernel: str
    instance: Instance
    measure: Callable[[Any], float]
    unit: str


def annealing(ising: Ising) -> float:
    """Updates a nanosecond of CPU time by our annealing kernel over its closed-form schedule."""
    return _annealing(ising, choose_layout(ising.h, ising.J))


def bit_annealing(ising: Ising) -> float:
    """As :func:`annealing`, with one bit a replica."""
    return _annealing(ising, BitLayout(ising.h, ising.J, Numbers.of(ising.h[np.newaxis], ising.J)))


def _annealing(ising: Ising, layout: Any) -> float:
    replicas = layout.replicas(np.random.default_rng(1))
    schedule = closed_form(ising)
    each = max(1, 4096 // ising.num_spins)
    temperatures = schedule.temperatures(np.linspace(0, 1, SWEEPS))
    replicas.set_states(random_states(replicas.rng, layout.lanes, ising.num_spins))
    started = time.process_time()
    replicas.anneal(temperatures, each)
    spent = time.process_time() - started
    return float(ising.num_spins * layout.lanes * SWEEPS * each / spent / 1e9)


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


def peak_memory(instance: Instance) -> float:
    """Peak memory in GB of a process of its own that generates the instance and runs `auto`."""
    spec = instance.spec
    code = MEMORY.format(problem=spec["problem"], seed=spec["seed"], parameters=spec["parameters"])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout)


MEMORY = """
import resource
from anneal import get_problem, get_solver
problem = get_problem("{problem}").generate(seed={seed}, **{parameters})
get_solver("auto")().sample(problem.bqm(), time_limit=10, seed=1, num_threads=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


def rates() -> list[Rate]:
    """Return what is measured: generated instances, so that they are the same everywhere."""
    random = generated_instance("maxcut", seed=1, num_vertices=2000, density=0.01)
    regular = generated_instance("maxcut", seed=1, family="regular", num_vertices=10000, degree=3)
    glass = generated_instance("sk", seed=1, num_spins=500)
    dense = generated_instance("qubo", seed=1, num_variables=3000, density=0.5)
    torus = generated_instance("lattice", seed=1, shape=(100, 200))
    huge = generated_instance("maxcut", seed=1, num_vertices=10**6, density=8e-6)
    annealed = [random, regular, glass, dense]
    of_bits = [random, regular, torus]
    return [
        *(Rate("anneal", instance, annealing, "updates/ns") for instance in annealed),
        *(Rate("anneal, bits", instance, bit_annealing, "updates/ns") for instance in of_bits),
        *(Rate("neal", instance, neal_annealing, "updates/ns") for instance in annealed),
        Rate("tabu", dense, tabu_moves, "moves/s"),
        Rate("auto, peak memory", huge, peak_memory, "GB"),
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
    """The fastest of several after one that compiles; memory once, in a process of its own."""
    started = time.perf_counter()
    if rate.measure is peak_memory:
        repeats, best = 1, peak_memory(rate.instance)
    else:
        found = rate.instance.load()
        ising = Ising.from_bqm(found.bqm() if isinstance(found, Problem) else found)
        rate.measure(ising)
        repeats, best = REPEATS, max(rate.measure(ising) for _ in range(REPEATS))
    result = {"rate": best, "unit": rate.unit, "repeats": repeats}
    return Record(task, result, time.perf_counter() - started)
