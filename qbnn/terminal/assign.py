"""What `qbnn place qap` does: an engine, or a model with penalties, and the files of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from anneal import instances
from anneal.assignment import keywords
from anneal.assignment.penalised import PenaltyResult, sample_until_feasible
from anneal.assignment.penalised import with_measured_penalties as measured
from anneal.assignment.solving import solve_assignment
from anneal.bench import interruptible
from anneal.errors import InputError
from anneal.files import Pathlike, write_bytes, write_text
from anneal.instances import sln
from anneal.measure import gap
from anneal.plots import energy_against_time
from anneal.problems import from_instance
from anneal.problems.assignment import Assignment, Permutation
from anneal.problems.domain_wall import DomainWallAssignment
from anneal.records import machine, versions
from anneal.solvers import get_solver
from anneal.tables import show_energy
from qbnn.terminal import pages
from qbnn.terminal.console import check_file, make_folder, progress_bar, to_document
from qbnn.terminal.settings import check_keys, drawn_seed

READS = 100  # of a sampler that returns one unless told otherwise
SOLUTION, RESULT, PAGE = "solution.sln", "result.json", "index.html"
Show = Callable[[float, str], None]


def read(path: Pathlike) -> Assignment:
    """Return the problem of a QAPLIB file, with what a .sln beside it says is the best known."""
    return cast(Assignment, from_instance(instances.read(path, format="qaplib")))


def read_start(path: Pathlike, problem: Assignment) -> Permutation:
    """Return the permutation of a .sln file; raises :class:`~anneal.errors.InputError`."""
    stored = sln.read(path).permutation
    if stored is None or len(stored) != len(problem.flow):
        raise InputError(f"no permutation of {len(problem.flow)} facilities", path=path)
    return stored


def by_engine(
    problem: Assignment,
    *,
    engine: str,
    sampler: str | None,
    parameters: Mapping[str, Any],
    start: Permutation | None,
    seed: int,
    show: Show,
    **limits: Any,
) -> dict[str, Any]:
    """Return what an engine finds; ``limits``: time_limit, target_cost and num_threads.

    ``parameters`` that are not the engine's own are those of the sampler that chooses swaps.
    """
    own, rest = _split(engine, sampler, parameters)
    found = solve_assignment(
        problem,
        engine=engine,
        seed=seed,
        start=start,
        progress=lambda fraction, best: _tell(show, fraction, best),
        **limits,
        **own,
        **rest,
    )
    return {
        "engine": engine,
        "sampler": (sampler or "anneal") if engine == "swaps" else None,
        "before": None if start is None else problem.cost(start),
        **_worth(problem, found.permutation),
        "interrupted": found.interrupted,
        "counts": found.info,
        "trace": [list(point) for point in found.trace],
    }


def by_penalties(
    problem: Assignment,
    *,
    encoding: str,
    sampler: str,
    parameters: Mapping[str, Any],
    seed: int,
    time_limit: float | None,
    num_threads: int | None,
    show: Show,
) -> dict[str, Any]:
    """Return what samples of a model with penalties decode to, begun at the measured penalty.

    ``time_limit``: of each try, of a sampler that minds it. Raises
    :class:`~anneal.errors.InputError` for keywords that the sampler does not take.
    """
    chooser = get_solver(sampler)()
    limits = {"time_limit": time_limit, "num_threads": num_threads}
    given = {key: value for key, value in limits.items() if value is not None}
    check_keys([*given, *parameters], chooser.parameters, kind=f"keyword of sampler '{sampler}'")
    reads = {} if hasattr(chooser, "default_reads") else {"num_reads": READS}
    extras = {"progress": lambda fraction, best: _tell(show, fraction, best), **reads}
    started = {key: value for key, value in extras.items() if key in chooser.parameters}
    with interruptible() as stopped:
        if "interrupt_function" in chooser.parameters:
            started["interrupt_function"] = stopped
        found = sample_until_feasible(
            encoded(problem, encoding),
            chooser,
            seed=seed,
            parameters=started | given | dict(parameters),
            interrupt_function=stopped,
        )
        interrupted = stopped()
    return {
        "encoding": encoding,
        "sampler": sampler,
        **_worth(problem, found.permutation),
        **penalty_facts(found),
        "interrupted": interrupted,
    }


def encoded(problem: Assignment, encoding: str) -> Assignment | DomainWallAssignment:
    """Return the problem in an encoding, with the measured penalties.

    >>> line = Assignment([[0, 3], [1, 0]], [[0, 2], [5, 0]])
    >>> encoded(line, "domain-wall").bqm().num_variables
    2
    """
    return measured(problem if encoding == "one-hot" else DomainWallAssignment(problem))


def penalty_facts(found: PenaltyResult) -> dict[str, Any]:
    """Return the size of a model, its penalties, and what came of each try."""
    problem, model = found.problem, found.problem.bqm()
    return {
        "num_variables": model.num_variables,
        "num_interactions": model.num_interactions,
        "penalty": problem.penalty,
        "chain_strength": getattr(problem, "chain_strength", None),
        "feasible_fraction": found.feasible_fraction,
        "repaired": found.repaired,
        "tried": [list(one) for one in found.tried],
    }


def run(
    file: Path,
    work: Callable[[Assignment, int, Show], dict[str, Any]],
    *,
    title: str,
    seed: int | None,
    out: Path | None,
    save: Path | None,
    quiet: bool,
) -> dict[str, Any]:
    """Solve the problem in ``file`` and write what is asked for; return the document."""
    check_file(save)
    problem, drawn = read(file), drawn_seed(seed)
    folder = None if out is None else make_folder(out)
    started = time.perf_counter()
    with progress_bar(title, quiet=quiet) as show:
        found = work(problem, drawn, show)
    document = {
        "file": str(file),
        "out": None if out is None else str(out),
        "num_facilities": len(problem.flow),
        **found,
        "seed": drawn,
        "seconds": time.perf_counter() - started,
        "versions": versions(),
        "machine": machine(),
    }
    stored = sln.StoredAssignment(document["cost"], np.array(document["solution"]))
    if save is not None:
        sln.write(stored, save)
    if folder is not None:
        sln.write(stored, folder / SOLUTION)
        write_text(folder / RESULT, to_document("place qap", document))
        _write_page(folder, document, title=f"{file.name}: {title}")
    return document


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a run as a person reads them."""
    known, before = found["best_known"], found.get("before")
    chosen = f" by sampler {found['sampler']}" if found["sampler"] else ""
    return {
        "cost": show_energy(found["cost"]),
        "best_known": None if known is None else f"{show_energy(known)}{_percent(found['gap'])}",
        "before": None if before is None else show_energy(before),
        "engine": f"{found['engine']}{chosen}" if "engine" in found else None,
        **(_penalties(found) if "encoding" in found else {}),
        "time": f"{found['seconds']:.2f} s",
        "seed": found["seed"],
        "run": found["out"],
        "interrupted": "yes: this is the best so far" if found["interrupted"] else None,
    }


def _penalties(found: Mapping[str, Any]) -> dict[str, Any]:
    chain = found["chain_strength"]
    size = f"{found['num_variables']} variables, {found['num_interactions']} interactions"
    tries = [f"{penalty:.6g}: {100 * share:.0f} %" for penalty, share in found["tried"]]
    return {
        "encoding": f"{found['encoding']}, {size}",
        "sampler": found["sampler"],
        "penalty": f"{found['penalty']:.6g}" + (f", chains {chain:.6g}" if chain else ""),
        "feasible": f"{100 * found['feasible_fraction']:.0f} % of the samples",
        "tried": "; ".join(tries),
        "repaired": "yes: the best sample breaks a constraint" if found["repaired"] else None,
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f", gap {share:.3%}"


def _worth(problem: Assignment, order: Permutation) -> dict[str, Any]:
    """Return a permutation, its cost, and how far that is from the best known."""
    cost, known = problem.cost(order), problem.best_known
    distance = None if known is None else float(gap(cost, known))
    return {
        "cost": cost,
        "best_known": known,
        "gap": distance if distance is None or np.isfinite(distance) else None,
        "solution": order.tolist(),
    }


def _split(
    engine: str, sampler: str | None, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return keywords of the engine, and those that hand the others on to its sampler."""
    known = keywords(engine)
    own = {key: value for key, value in parameters.items() if key in known}
    others = {key: value for key, value in parameters.items() if key not in known}
    if "sampler" not in known:
        if sampler is not None:
            raise InputError(f"engine '{engine}' takes no sampler: swaps does, and an encoding")
        return dict(parameters), {}
    if set(own) & {"sampler", "parameters"}:
        raise InputError("use --sampler, and --set for each of its keywords")
    chooser = get_solver(sampler or "anneal")()
    check_keys(others, [*known, *chooser.parameters], kind=f"keyword of engine '{engine}'")
    rest = {"sampler": sampler or "anneal"}
    return own, rest | ({"parameters": others} if others else {})


def _tell(show: Show, fraction: float, best: float) -> None:
    show(fraction, f"best {best:.10g}" if np.isfinite(best) else "")


def _write_page(folder: Path, document: Mapping[str, Any], *, title: str) -> None:
    parts = [pages.facts(summary(document))]
    if document.get("trace"):
        drawn = energy_against_time(
            {str(document["engine"]): document["trace"]},
            best_known=document["best_known"],
            seconds=document["seconds"],
        )
        write_bytes(folder / "cost.png", drawn)
        parts.append(pages.picture(drawn, "The least cost so far."))
    write_text(folder / PAGE, pages.page(title, parts))
