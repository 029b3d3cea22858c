"""Floorplanning in `qbnn place`: rectangular blocks in little room."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qbnn.commands.shared import PROBLEMS, Json, Quiet, Seed, add, tell

OUTLINE = "Outline"


def floorplan(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Blocks: .blocks of GSRC, or .yal of MCNC.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the floorplan, figures and a page.")],
    wirelength: Annotated[
        float,
        typer.Option(min=0, max=1, help="Its weight: 0 counts area alone, 1 wirelength alone."),
    ] = 0.0,
    outline: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Keep the blocks within.", rich_help_panel=OUTLINE
        ),
    ] = None,
    whitespace: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Keep them within an outline with so much free, over their area.",
            rich_help_panel=OUTLINE,
        ),
    ] = None,
    aspect: Annotated[
        float,
        typer.Option(min=0.01, help="Width over height of that one.", rich_help_panel=OUTLINE),
    ] = 1.0,
    max_aspect: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Without an outline: how much longer a side may be, about. (the least area may "
            "be a long row)",
            rich_help_panel=OUTLINE,
        ),
    ] = None,
    moves: Annotated[float, typer.Option(min=1, help="Moves tried for each block.")] = 20_000.0,
    time: Annotated[
        float | None, typer.Option("--time-limit", min=0, help="Seconds; else --moves decides.")
    ] = None,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Lay blocks side by side in little area, turned where it helps, with short nets if wanted.

    Ctrl-C keeps the best so far, with exit code 130. Exit code 3: nothing within the outline was
    found; what comes closest is written.
    """
    from anneal.errors import InputError
    from qbnn.terminal.floorplan import parse_outline, run, summary

    if outline is not None and whitespace is not None:
        raise InputError("--outline and --whitespace exclude each other")
    found = run(
        file,
        out,
        wirelength=wirelength,
        outline=None if outline is None else parse_outline(outline),
        whitespace=whitespace,
        aspect=aspect,
        max_aspect=max_aspect,
        moves=moves,
        time_limit=time,
        seed=seed,
        quiet=quiet or json,
    )
    tell("place floorplan", str(file), found, json=json, quiet=quiet, human=summary(found))
    if quiet and not json:
        print(f"{found['area']:.12g}")
    if found["interrupted"]:
        raise typer.Exit(130)
    if not found.get("fits", True):
        raise typer.Exit(3)


def register(place: typer.Typer) -> None:
    """Add the command to the group."""
    add(
        place,
        floorplan,
        "qbnn place floorplan n100.blocks --out runs/n100 --time-limit 60 --seed 1",
        "qbnn place floorplan ami33.yal --wirelength 0.5 --whitespace 0.1 --out runs/ami33 --json",
        panel=PROBLEMS,
    )
