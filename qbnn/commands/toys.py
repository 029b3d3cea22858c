"""Small placements as quantum computers see them: `qbnn place toys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qbnn.commands.shared import PROBLEMS, Json, Quiet, Seed, add


def toys(
    size: Annotated[
        list[str] | None,
        typer.Option(help="Columns and rows of cells; repeat. (2x2 and 3x3)"),
    ] = None,
    encoding: Annotated[
        list[str] | None, typer.Option(help="one-hot, domain-wall or swaps; repeat. (all)")
    ] = None,
    solver: Annotated[
        list[str] | None,
        typer.Option(help="A name in `qbnn list solvers`, or module:Class; repeat. (all)"),
    ] = None,
    num_reads: Annotated[
        int, typer.Option(min=1, help="Samples, of a solver that can be asked for a number.")
    ] = 100,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the rows, and the toys as .aux, .dat and .sln.")
    ] = None,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Solve placements of known best, in every encoding, by every solver: quantum and classical.

    Cells fill a grid and nets join two of them, so that wirelength is the cost of an assignment.
    Models with penalties are sampled once, at the measured penalty. Swaps have none, and are chosen
    in rounds.

    Ctrl-C prints the rows so far, with exit code 130.
    """
    from anneal.registry import unknown
    from qbnn.terminal.console import print_document, print_table
    from qbnn.terminal.toys import ENCODINGS, SIZES, run, tables

    for name in encoding or ():
        if name not in ENCODINGS:
            raise unknown(name, ENCODINGS, kind="encoding")
    found = run(
        size or SIZES,
        encoding or ENCODINGS,
        solver or (),
        seed=seed,
        num_reads=num_reads,
        out=out,
        quiet=quiet or json,
    )
    if json:
        print_document("place toys", found)
    else:
        for table in tables(found):
            print_table(table)
    if found["interrupted"]:
        raise typer.Exit(130)


def register(place: typer.Typer) -> None:
    """Add the command to the group."""
    add(
        place,
        toys,
        "qbnn place toys --seed 1",
        "qbnn place toys --size 2x2 --solver qaoa --solver exact --solver anneal --json",
        panel=PROBLEMS,
    )
