"""Partitioning in `qbnn place`: hypergraphs and netlists in parts with few nets between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands.shared import PROBLEMS, Json, Quiet, Seed, add, tell


def partition(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Hypergraph of hMETIS, .hgr, or a Bookshelf netlist, .aux."
        ),
    ],
    parts: Annotated[int, typer.Option(min=1, help="How many.")] = 2,
    tolerance: Annotated[
        float, typer.Option(min=0, help="How far a part may be above an equal share of the area.")
    ] = 0.02,
    objective: Annotated[
        Literal["cut", "km1"],
        typer.Option(help="Weight of the nets in several parts, once or for each part but one."),
    ] = "cut",
    fix: Annotated[
        Path | None,
        typer.Option(help="File with a line for each vertex: its part, or -1 where it is free."),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Multilevel starts, then recombined.")] = 8,
    sampler: Annotated[
        str,
        typer.Option(
            help="Parts the coarsest level, as an Ising model: a name in `qbnn list solvers`, or "
            "module:Class of any dimod sampler."
        ),
    ] = "anneal",
    time_limit: Annotated[
        float | None, typer.Option(min=0, help="Seconds, in which all is done again and again.")
    ] = None,
    seed: Seed = None,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads. (all cores)")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the parts, a line for each vertex.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Part the vertices of a hypergraph equally, so that few nets lie in several parts.

    Of a netlist, cells count by the sites that they take, and what is fixed by nothing.

    Ctrl-C keeps the best so far, with exit code 130. Exit code 3: no parts within the limit.
    """
    from qbnn.terminal.partition import run, summary

    found = run(
        file,
        num_parts=parts,
        objective=objective,
        tolerance=tolerance,
        fix=fix,
        num_starts=starts,
        sampler=sampler,
        time_limit=time_limit,
        num_threads=num_threads,
        seed=seed,
        out=out,
        quiet=quiet or json,
    )
    size = f"{found['num_vertices']:,} vertices, {found['num_nets']:,} nets"
    title = f"{file}: {size} in {parts} parts"
    tell("place partition", title, found, json=json, quiet=quiet, human=summary(found))
    if quiet and not json:
        print(f"{found[objective]:.12g}")
    if found["interrupted"]:
        raise typer.Exit(130)


def register(place: typer.Typer) -> None:
    """Add the command to the group."""
    add(
        place,
        partition,
        "qbnn place partition ibm01.aux --seed 1 --out ibm01.part.2",
        "qbnn place partition netlist.hgr --parts 8 --objective km1 --tolerance 0.03 --json",
        panel=PROBLEMS,
    )
