"""One solve of one file: load, run with progress and Ctrl-C, and say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.bench import interruptible, levels, thin
from anneal.errors import InputError
from anneal.files import Pathlike, write_bytes, write_text
from anneal.measure import gap
from anneal.peers import timed_peer
from anneal.problem import Given, Problem, Solution, models_of
from anneal.problems import from_instance
from anneal.records import Record, RecordFile, Task, canonical_json, machine, versions
from anneal.solvers import get_solver
from anneal.suites import file_instance
from anneal.tables import show_energy
from qbnn.terminal.console import check_file, make_folder, progress_bar, to_document
from qbnn.terminal.settings import SolveSettings, check_keys

DEFAULT_SECONDS = 10.0
Show = Callable[[float, str], None]


@dataclass(frozen=True)
class Loaded:
    """A problem from a file. sense: ``max`` where the file maximises what the BQM minimises."""

    path: Path
    problem: Problem
    sense: str
    seconds: float

    @cached_property
    def models(self) -> tuple[dimod.BinaryQuadraticModel, Given | None]:
        """The problem's model and its constraints apart, made once."""
        return models_of(self.problem)

    @property
    def bqm(self) -> dimod.BinaryQuadraticModel:
        """The problem's model, constraints multiplied out."""
        return self.models[0]


def load(
    path: Pathlike, *, format: str | None = None, sense: str | None = None, **options: Any
) -> Loaded:
    """Read a file of any format; ``options`` are keywords of :func:`anneal.instances.read`.

    Raises :class:`~anneal.errors.InputError`.
    """
    from anneal import instances

    check_keys(options, ("base", "problem", "vartype"), kind="format keyword")
    started = time.perf_counter()
    instance = instances.read(path, format=format, sense=sense, **options)
    try:
        problem = from_instance(instance)
    except InputError as error:
        raise InputError(error.reason, path=path) from error
    kept = str(getattr(instance, "sense", "min"))
    loaded = Loaded(Path(path), problem, kept, time.perf_counter() - started)
    if not loaded.bqm.num_variables:
        raise InputError("the instance has no variables", path=path)
    return loaded


def solve(
    loaded: Loaded, settings: SolveSettings, *, show: Show = lambda fraction, remark: None
) -> dict[str, Any]:
    """Run the solver that the settings name and return the JSON document of the command.

    ``show`` is called with the fraction done and the best energy. Ctrl-C ends the search, and the
    best so far counts. Raises :class:`~anneal.errors.InputError` for keywords that the solver does
    not take.
    """
    call, time_limit = plan(settings, loaded, show=show)
    started = time.perf_counter()
    with interruptible() as stopped:
        found = call(stopped)
        interrupted = stopped() or bool(found.info.get("interrupted"))
    seconds = time.perf_counter() - started
    if not len(found):
        raise RuntimeError(f"solver '{settings.solver}' returned no sample")
    return {
        "file": str(loaded.path),
        "problem": loaded.problem.name,
        "sense": loaded.sense,
        "num_variables": loaded.bqm.num_variables,
        "num_interactions": loaded.bqm.num_interactions,
        **outcome(loaded.problem, loaded.bqm, found),
        "solver": settings.solver,
        "chosen": found.info.get("solver", settings.solver),
        "reason": found.info.get("reason"),
        "details": details(found.info),
        "seed": settings.seed,
        "time_limit": time_limit,
        "interrupted": interrupted,
        "timing": {
            "read_seconds": loaded.seconds,
            "solve_seconds": seconds,
            **found.info.get("timing", {}),
        },
        "trace": [list(point) for point in found.info.get("trace", [])],
        "versions": versions(),
        "machine": machine(),
    }


Call = Callable[[Callable[[], bool]], dimod.SampleSet]


def plan(settings: SolveSettings, loaded: Loaded, *, show: Show) -> tuple[Call, float | None]:
    """Return a call that asks ``stopped`` now and then, and its time limit.

    A solver that minds the time gets 10 s unless a limit or a number of sweeps is given; ``exact``
    has to finish. Any other solver runs as often as fits in the limit, or once without one.
    """
    sampler = get_solver(settings.solver)()
    bqm, apart = loaded.models
    known, limit = set(sampler.parameters), settings.time_limit
    names = ("num_reads", "num_sweeps", "num_threads", "tune")
    given = {name: getattr(settings, name) for name in names}
    options = {name: value for name, value in given.items() if value is not None}
    options |= {} if settings.target is None else {"target_energy": settings.target}
    options |= settings.set
    check_keys(options, known, kind="solver keyword")
    for name in options.keys() & {"seed", "progress", "interrupt_function"}:
        raise InputError(f"'{name}' is not for --set" + (": use --seed" if name == "seed" else ""))
    if settings.executor is not None:
        known |= {"seed", "interrupt_function", "progress"}
    if "time_limit" not in known and limit is not None:
        return _by_the_clock(settings, bqm, options), limit
    if limit is None and "time_limit" in known and settings.solver != "exact":
        limit = None if {"num_sweeps", "time_limit"} & options.keys() else DEFAULT_SECONDS
    if apart is not None and "squares" in known:
        bqm = apart[0]
        options |= apart[1]
    extras = {"seed": settings.seed, "time_limit": limit, "progress": partial(_tell, show)}
    options |= {key: value for key, value in extras.items() if key in known and value is not None}

    def call(stopped: Callable[[], bool]) -> dimod.SampleSet:
        more = {"interrupt_function": stopped} if "interrupt_function" in known else {}
        with shared_out(sampler, settings) as chosen:
            found: dimod.SampleSet = chosen.sample(bqm, **options, **more)
        return found

    return call, options.get("time_limit")


@contextmanager
def shared_out(sampler: Any, settings: SolveSettings) -> Iterator[Any]:
    """Give the sampler, or one that shares its reads out to the workers that the settings name."""
    if settings.executor is None:
        yield sampler
        return
    from anneal.distributed import DistributedSampler
    from anneal.executors import open_executor

    count, scheduler = settings.workers, settings.scheduler
    with open_executor(settings.executor, num_workers=count, scheduler=scheduler) as executor:
        yield DistributedSampler(sampler, executor)


def outcome(
    problem: Problem, bqm: dimod.BinaryQuadraticModel, found: dimod.SampleSet
) -> dict[str, Any]:
    """Return the best energy, scored anew, its sample and what that decodes to.

    ``feasible`` says whether the best sample breaks no constraint; ``feasible_energy`` is that of
    the best sample that breaks none, None where all do. ``cost`` is that of ``solution``, which is
    the best sample decoded and repaired. ``sample`` has a character for each variable, 1 for a
    spin that is up.
    """
    samples = ordered(found, bqm)
    energies = np.asarray(bqm.energies((samples, list(bqm.variables))), float)
    order = np.argsort(energies, kind="stable")
    best = samples[order[0]]
    feasible = next((k for k in order if problem.feasible(samples[k])), None)
    solution = problem.decode(best)
    energy, known = float(energies[order[0]]), problem.best_known
    distance = None if known is None else float(gap(energy, known))
    labels = list(bqm.variables)
    return {
        "energy": energy,
        "cost": float(problem.cost(solution)),
        "feasible": bool(feasible == order[0]),
        "feasible_energy": None if feasible is None else float(energies[feasible]),
        "best_known": known,
        "gap": distance if distance is None or np.isfinite(distance) else None,
        "num_reads": int(found.record.num_occurrences.sum()),
        "energies": levels(energies, found.record.num_occurrences),
        "solution": as_plain(solution),
        "sample": (best > 0).astype(np.uint8).tobytes().translate(_DIGITS).decode(),
        "vartype": bqm.vartype.name,
        "variables": None if labels == list(range(len(labels))) else [as_plain(v) for v in labels],
    }


_DIGITS = bytes([ord("0"), ord("1")]) + bytes(254)


def details(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a solver says of itself besides what the document has a place for.

    >>> details({"proven": True, "timing": {}})
    {'proven': True}
    """
    placed = {"interrupted", "reason", "solver", "timing", "trace"}
    return {key: as_plain(value) for key, value in info.items() if key not in placed}


def ordered(found: dimod.SampleSet, bqm: dimod.BinaryQuadraticModel) -> NDArray[np.int8]:
    """Return the samples, (rows, n), in the order and of the kind of the BQM's variables."""
    found = found.change_vartype(bqm.vartype, inplace=False)
    samples = np.asarray(found.record.sample, np.int8)
    if list(found.variables) == list(bqm.variables):
        return samples
    return samples[:, [found.variables.index(label) for label in bqm.variables]]


def as_plain(value: Solution) -> Any:
    """Return what JSON can hold: an array as a list, and what it does not know as its text."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    return [as_plain(item) for item in value] if isinstance(value, Iterable) else str(value)


def task_of(loaded: Loaded, settings: SolveSettings) -> Task:
    """Return the task of a solve: the file's content and the settings."""
    task = Task("solve", {"instance": file_instance(loaded.path).spec, **settings.model_dump()})
    canonical_json(task.spec)
    return task


def save_solution(document: Mapping[str, Any], path: Pathlike) -> None:
    """Write the sample as ``variable value`` lines, ``.json`` as the document, ``.sln`` for a QAP.

    Raises :class:`~anneal.errors.InputError` where the file cannot be written.
    """
    name = Path(path).name.removesuffix(".gz")
    if name.endswith(".json"):
        write_text(path, to_document("solve", document))
    elif name.endswith(".sln"):
        from anneal.instances import sln

        if document["problem"] != "assignment":
            raise InputError("a .sln holds a permutation, this is none", path=path)
        stored = sln.StoredAssignment(document["cost"], np.array(document["solution"]))
        write_bytes(path, sln.dump(stored))
    else:
        labels = document["variables"] or range(document["num_variables"])
        low = "-1" if document["vartype"] == "SPIN" else "0"
        pairs = zip(labels, document["sample"], strict=True)
        lines = (f"{label} {'1' if bit == '1' else low}\n" for label, bit in pairs)
        write_text(path, "".join(lines))


def save_run(
    document: Mapping[str, Any], folder: Path, *, settings: SolveSettings, task: Task
) -> None:
    """Write settings, result, environment, solution, pictures and a row of records.

    The settings are complete: ``qbnn solve FILE --config`` with them does the same again.
    """
    from anneal.plots import energy_against_time, energy_distribution

    known, label = document["best_known"], str(document["solver"])
    write_text(folder / "config.toml", settings.to_toml())
    write_text(folder / "result.json", to_document("solve", document))
    about = {"versions": document["versions"], "machine": document["machine"]}
    write_text(folder / "environment.json", to_document("solve", about))
    save_solution(document, folder / "solution.txt")
    if document["trace"]:
        drawn = energy_against_time(
            {label: document["trace"]},
            best_known=known,
            seconds=document["timing"]["solve_seconds"],
        )
        write_bytes(folder / "energy-against-time.png", drawn)
    drawn = energy_distribution({label: document["energies"]}, best_known=known)
    write_bytes(folder / "energies.png", drawn)
    left_out = {"solution", "sample", "variables", "versions", "machine"}
    result = {key: value for key, value in document.items() if key not in left_out}
    result["trace"] = thin(document["trace"])
    seconds = document["timing"]["solve_seconds"]
    RecordFile(folder / "records.jsonl").append(Record(task, result, seconds))


def _by_the_clock(
    settings: SolveSettings, bqm: dimod.BinaryQuadraticModel, options: Mapping[str, Any]
) -> Call:
    if options or settings.executor is not None:
        options = options or {"executor": settings.executor}
        raise InputError(
            f"solver '{settings.solver}' minds no time limit itself: it takes either a time limit "
            f"or {', '.join(options)}"
        )
    seconds, seed = settings.time_limit or 0.0, settings.seed or 0
    return partial(timed_peer(settings.solver, bqm, budget=seconds, clock=time.perf_counter), seed)


def _tell(show: Show, fraction: float, best: float) -> None:
    show(fraction, f"best {best:.10g}" if np.isfinite(best) else "")


def run_file(
    file: Pathlike,
    settings: SolveSettings,
    *,
    out: Path | None = None,
    save: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Solve a file with progress on stderr, write what is asked for and return the document.

    What is to be written is checked before the search begins. Raises
    :class:`~anneal.errors.InputError`.
    """
    check_file(save)
    settings = settings.seeded()
    loaded = load(file, format=settings.format, sense=settings.sense, **settings.read)
    task = task_of(loaded, settings) if out is not None else None
    folder = make_folder(out) if out is not None else None
    with progress_bar(settings.solver, quiet=quiet) as show:
        document = solve(loaded, settings, show=show)
    if save is not None:
        save_solution(document, save)
    if folder is not None and task is not None:
        save_run(document, folder, settings=settings, task=task)
    return document


def _tuned(report: Mapping[str, Any] | None) -> str | None:
    """What the races said, in words."""
    if report is None:
        return None
    restarts = report["restart_sweeps"]
    length = f", restarts of {restarts} sweeps" if restarts else ""
    return f"{report['chosen']}{length}, by races of {report['seconds']:.2f} s"


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's facts as a person reads them."""
    energy, cost, known = document["energy"], document["cost"], document["best_known"]
    repaired = "no: the best sample breaks a constraint, its solution is repaired"
    chosen, solver = document["chosen"], document["solver"]
    distance = "" if document["gap"] is None else f", gap {document['gap']:.3%}"
    timing = document["timing"]
    return {
        "energy": energy,
        "value": -energy if document["sense"] == "max" else None,
        "cost": None if cost == energy else cost,
        "best_known": None if known is None else f"{show_energy(known)}{distance}",
        "feasible": None if document["feasible"] else repaired,
        "feasible_energy": None if document["feasible"] else document["feasible_energy"],
        "solver": solver if chosen == solver else f"{solver}, which took {chosen}",
        "reason": document["reason"],
        "schedule": _tuned(document["details"].get("tune")),
        "proven": "yes, no energy is lower" if document["details"].get("proven") else None,
        "time": f"{timing['solve_seconds']:.2f} s, {timing['read_seconds']:.2f} s of reading",
        "reads": document["num_reads"],
        "seed": document["seed"],
        "interrupted": "yes: this is the best so far" if document["interrupted"] else None,
    }
