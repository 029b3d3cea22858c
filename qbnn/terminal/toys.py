"""What `qbnn place toys` does: every solver on every model of small placements."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anneal.assignment.penalised import sample_until_feasible
from anneal.assignment.swaps import swaps
from anneal.bench import interruptible
from anneal.control import Control
from anneal.errors import InputError, first_line
from anneal.files import write_text
from anneal.instances import bookshelf, sln
from anneal.placement.toys import MOST_FACILITIES, Toy, least_cost, toy
from anneal.problems import write_problem
from anneal.records import machine, versions
from anneal.solvers import SOLVERS, get_solver
from anneal.tables import Column, Table, column, show_energy
from qbnn.terminal.assign import encoded, penalty_facts
from qbnn.terminal.console import make_folder, progress_bar, to_document
from qbnn.terminal.settings import drawn_seed

ENCODINGS = ("one-hot", "domain-wall", "swaps")
SIZES = ("2x2", "3x3")
# Their first sample is the best of all states, or as good as they can; others would only be worse.
BEST_FIRST = ("auto", "exact")
MOST_STATES = 30  # bits of which the exhaustive search sees all states in a few seconds
ROUNDS = 2  # of swaps, times the number of cells
TOYS = "toys.json"


def run(
    sizes: Sequence[str],
    encodings: Sequence[str],
    solvers: Sequence[str],
    *,
    seed: int | None,
    num_reads: int,
    out: Path | None,
    quiet: bool,
) -> dict[str, Any]:
    """Solve every model of every toy by every solver; return a row for each.

    Ctrl-C ends it after the row that is being made.
    With ``out``, a folder gets the rows and each toy as .aux, .dat and .sln. Raises
    :class:`~anneal.errors.InputError` for sizes and names that are not known.
    """
    drawn = drawn_seed(seed)
    toys = {size: made(size, drawn) for size in sizes}
    for name in solvers or SOLVERS:
        get_solver(name)
    folder = None if out is None else make_folder(out)
    tasks = [
        (size, encoding, solver)
        for size in toys
        for encoding in encodings or ENCODINGS
        for solver in solvers or SOLVERS
    ]
    rows = []
    with interruptible() as stopped, progress_bar("toys", quiet=quiet) as show:
        for number, (size, encoding, solver) in enumerate(tasks):
            if stopped():
                break
            show(number / len(tasks), f"{size}, {encoding}, {solver}")
            worth = row(toys[size], encoding, solver, seed=drawn, num_reads=num_reads)
            rows.append({"size": size, "encoding": encoding, "solver": solver, **worth})
        interrupted = stopped()
    document = {
        "out": None if out is None else str(out),
        "seed": drawn,
        "num_reads": num_reads,
        "optima": {size: known(one) for size, one in toys.items()},
        "rows": rows,
        "interrupted": interrupted,
        "versions": versions(),
        "machine": machine(),
    }
    if folder is not None:
        for size, one in toys.items():
            save(one, folder / f"toy-{size}")
        write_text(folder / TOYS, to_document("place toys", document))
    return document


def made(size: str, seed: int) -> Toy:
    """Return the toy of a size, columns and rows.

    >>> made("2x3", 1).netlist.num_cells
    6
    """
    found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", size)
    if found is None:
        raise InputError(f"size must be columns and rows as in 2x3, not '{size}'")
    return toy(columns=int(found[1]), rows=int(found[2]), seed=seed)


def known(one: Toy) -> dict[str, Any]:
    """Return the known optimum, and what looking at all permutations says where it can."""
    small = len(one.best) <= MOST_FACILITIES
    return {
        "known": one.problem.best_known,
        "exhaustive": least_cost(one.problem) if small else None,
    }


def row(one: Toy, encoding: str, solver: str, *, seed: int, num_reads: int) -> dict[str, Any]:
    """Return what a solver finds by one model, or why it does not take it.

    Models with penalties are sampled once, at the measured penalty, so that all solvers see the
    same one. Of swaps there are two rounds a cell at most, which share the samples, and the last is
    that which reaches the optimum.
    """
    sampler = get_solver(solver)()
    counted = "num_reads" in sampler.parameters and solver not in BEST_FIRST
    size = len(one.best)
    width = {"one-hot": size * size, "domain-wall": size * (size - 1), "swaps": size // 2}
    found: dict[str, Any] = {"num_variables": width[encoding]}
    started = time.perf_counter()
    try:
        if solver == "exact" and found["num_variables"] > MOST_STATES:
            raise InputError(f"more than 2^{MOST_STATES} states")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a package about models as small as these
            work = _by_swaps if encoding == "swaps" else _by_penalties
            found |= work(one, encoding, sampler, num_reads if counted else None, seed)
    except Exception as error:  # whatever another package raises for a model that it cannot take
        return found | {"reason": first_line(error)}
    return found | {
        "best_known": one.problem.best_known,
        "seconds": time.perf_counter() - started,
    }


def _by_swaps(
    one: Toy, encoding: str, sampler: Any, num_reads: int | None, seed: int
) -> dict[str, Any]:
    rounds = ROUNDS * len(one.best)
    order, _ = swaps(
        one.problem,
        # A stream of its own: that of the seed alone would begin with the order that is planted.
        rng=np.random.default_rng([seed, len(one.best)]),
        control=Control(target_energy=one.problem.best_known),
        sampler=sampler,
        num_rounds=rounds,
        parameters={} if num_reads is None else {"num_reads": max(1, num_reads // rounds)},
    )
    return {"cost": one.problem.cost(order), "penalty": None, "feasible_fraction": 1.0}


def _by_penalties(
    one: Toy, encoding: str, sampler: Any, num_reads: int | None, seed: int
) -> dict[str, Any]:
    found = sample_until_feasible(
        encoded(one.problem, encoding),
        sampler,
        seed=seed,
        num_tries=1,
        parameters={} if num_reads is None else {"num_reads": num_reads},
    )
    facts = penalty_facts(found)
    kept = ("penalty", "chain_strength", "feasible_fraction", "repaired")
    return {"cost": found.cost, **{key: facts[key] for key in kept}}


def save(one: Toy, path: Path) -> None:
    """Write a toy as a netlist, as an assignment, and its best assignment."""
    bookshelf.write(path.with_suffix(".aux"), one.netlist)
    write_problem(one.problem, path.with_suffix(".dat"))
    cost = float(one.problem.best_known or 0)
    sln.write(sln.StoredAssignment(cost, one.best), path.with_suffix(".sln"))


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Return a table for each size, its rows those of one model after the other."""
    for size, best in found["optima"].items():
        checked = "" if best["exhaustive"] is None else ", by exhaustive search too"
        name = f"{size} cells, seed {found['seed']}: optimum {show_energy(best['known'])}{checked}"
        rows = [one for one in found["rows"] if one["size"] == size]
        yield Table(name, COLUMNS, rows)


def _penalty(one: Mapping[str, Any]) -> str:
    if one.get("penalty") is None:
        return "" if "reason" in one else "none"
    chain = one.get("chain_strength")
    return f"{one['penalty']:.4g}" + (f", {chain:.4g}" if chain else "")


def _found(one: Mapping[str, Any]) -> str:
    if "reason" in one:
        return str(one["reason"])
    mark = ", repaired" if one.get("repaired") else ""
    return f"{show_energy(one['cost'])} / {show_energy(one['best_known'])}{mark}"


COLUMNS = [
    column("encoding"),
    column("num_variables", "variables"),
    column("solver"),
    Column("penalty", _penalty),
    Column(
        "feasible %",
        lambda one: "" if "reason" in one else f"{100 * one['feasible_fraction']:.0f}",
    ),
    Column("cost / optimum", _found),
    Column("s", lambda one: "" if "reason" in one else f"{one['seconds']:.2f}"),
]
