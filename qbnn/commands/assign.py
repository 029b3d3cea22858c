"""Quadratic assignment in `qbnn place`: engines, and models with penalties."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qbnn.commands.shared import PROBLEMS, Json, Quiet, Seed, add, tell

if TYPE_CHECKING:
    from anneal.problems.assignment import Assignment

Dat = Annotated[Path, typer.Argument(metavar="FILE.dat", help="Instance of QAPLIB.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads. (all cores)")]
ENGINE, MODEL = "Engines", "A QUBO with penalties"


def qap(
    file: Dat,
    engine: Annotated[
        str | None,
        typer.Option(
            help="memetic, tabu, anneal, swaps, or module:function. (memetic)",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    encoding: Annotated[
        Literal["one-hot", "domain-wall"] | None,
        typer.Option(
            help="Sample this model instead, with penalties as measured, and larger ones while "
            "most samples are infeasible.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="A name in `qbnn list solvers`, or module:Class of any dimod sampler: of an "
            "encoding, or of engine swaps, where it chooses among swaps. (anneal)"
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds; of an encoding, of each try. (the engine's own length)"),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Stop at a cost this low.", rich_help_panel=ENGINE)
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="A .sln file to start from.", rich_help_panel=ENGINE)
    ] = None,
    seed: Seed = None,
    num_threads: Threads = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Keyword of the engine or the sampler; repeat."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for solution, result, a picture and a page.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="A .sln file for the solution.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Solve a quadratic assignment problem: by an engine, or as a QUBO by any dimod sampler.

    Engines go from permutation to permutation and need no penalties. Of an encoding the penalties
    that applied and the feasible share are told; infeasible samples are repaired.

    Ctrl-C ends the search and prints the best so far, with exit code 130.
    """
    from anneal.errors import InputError
    from qbnn.terminal import assign
    from qbnn.terminal.settings import parse_pairs

    parameters = parse_pairs(parameter)
    if encoding is not None and (engine, target, start) != (None, None, None):
        raise InputError("--engine, --target and --start are for engines, not for an encoding")

    def work(problem: Assignment, drawn: int, show: assign.Show) -> dict[str, object]:
        if encoding is not None:
            return assign.by_penalties(
                problem, encoding=encoding, sampler=sampler or "anneal", parameters=parameters,
                seed=drawn, time_limit=time_limit, num_threads=num_threads, show=show,
            )  # fmt: skip
        begun = None if start is None else assign.read_start(start, problem)
        return assign.by_engine(
            problem, engine=engine or "memetic", sampler=sampler, parameters=parameters,
            start=begun, seed=drawn, show=show, time_limit=time_limit, target_cost=target,
            num_threads=num_threads,
        )  # fmt: skip

    title = f"{encoding} model" if encoding else engine or "memetic"
    silent = quiet or json
    found = assign.run(file, work, title=title, seed=seed, out=out, save=save, quiet=silent)
    size = f"{file}: quadratic assignment, {found['num_facilities']} facilities"
    tell("place qap", size, found, json=json, quiet=quiet, human=assign.summary(found))
    if quiet and not json:
        print(f"{found['cost']:.12g}")
    if found["interrupted"]:
        raise typer.Exit(130)


def export(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A QAPLIB instance, .dat, or a netlist, .aux."),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File to write: .coo, .bqm, .json, .qubo or .lp; of a netlist, .hgr."),
    ],
    encoding: Annotated[
        Literal["one-hot", "domain-wall", "swaps"] | None,
        typer.Option(
            help="Models with penalties, or which of n/2 disjoint swaps to make, without. (one-hot)"
        ),
    ] = None,
    penalty: Annotated[
        Literal["measured", "sufficient"],
        typer.Option(help="As samplers do best with, or as is proven to be enough."),
    ] = "measured",
    start: Annotated[
        Path | None, typer.Option(help="A .sln file: where swaps start. (drawn)")
    ] = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Write what hardware or another tool takes: the model of an assignment, or a hypergraph.

    Of swaps, --json tells the permutation that they start from.
    """
    from qbnn.terminal.export import export, summary

    made = export(file, out, encoding=encoding, penalty=penalty, start=start, seed=seed)
    tell("place export", f"wrote {out}", made, json=json, human=summary(made))


def register(place: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    add(
        place,
        qap,
        "qbnn place qap nug30.dat --time-limit 5 --seed 1 --out runs/nug30",
        "qbnn place qap nug12.dat --engine swaps --sampler neal --save nug12.best.sln",
        "qbnn place qap nug12.dat --encoding one-hot --sampler neal --set num_reads=200",
        panel=PROBLEMS,
    )
    add(
        place,
        export,
        "qbnn place export nug12.dat --encoding domain-wall --out nug12.coo",
        "qbnn place export nug12.dat --encoding swaps --seed 1 --out swaps.bqm --json",
        "qbnn place export ibm01.aux --out ibm01.hgr",
        panel=PROBLEMS,
    )
