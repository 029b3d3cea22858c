"""`qbnn place`: standard cells in rows, and what judges and draws these and floorplans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qbnn.commands import assign, floorplan, partition, toys
from qbnn.commands.shared import PROBLEMS, Json, Quiet, Seed, add, tell

Aux = Annotated[Path, typer.Argument(metavar="FILE.aux", help="Bookshelf netlist.")]
Placed = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Bookshelf netlist, .aux, or blocks, .blocks or .yal."),
]
Where = Annotated[
    Path | None,
    typer.Option("--placement", help="Its .pl file. (the one that FILE.aux names, or beside it)"),
]
Out = Annotated[Path, typer.Option(help="Folder for the placement, figures, pictures and a page.")]
Seconds = Annotated[
    float | None, typer.Option("--time-limit", min=0, help="Seconds; else --moves decides.")
]
Film = Annotated[
    bool,
    typer.Option("--film", help="Also write film.gif: cells from where they start to the end."),
]
Moves = Annotated[float, typer.Option(min=0, help="Moves tried for each cell.")]

place = typer.Typer(
    help="Assign facilities to sites, part hypergraphs, place standard cells in rows and blocks in "
    "little room; judge and draw placements.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def netlist(
    file: Aux,
    out: Out,
    density: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="How full rows may be anywhere; 1 packs cells."),
    ] = 1.0,
    moves: Moves = 1000.0,
    time: Seconds = None,
    film: Film = False,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Place a netlist: spread its cells, put them on sites, make it shorter by annealing.

    Ctrl-C keeps the best legal placement so far.
    """
    from qbnn.terminal.place import place_run, read, run

    given, _ = read(file)
    label, work = "place netlist", place_run(density, moves)
    told: dict[str, Any] = {"filmed": film, "seed": seed, "quiet": quiet or json}
    found = run(given, out, work, label=label, time_limit=time, **told)
    _tell(label, file, found, json=json, quiet=quiet)


def refine(
    file: Aux,
    out: Out,
    placement: Where = None,
    moves: Moves = 2000.0,
    time: Seconds = None,
    film: Film = False,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make anybody's legal placement shorter; it stays legal, and never becomes longer.

    Ctrl-C keeps the best so far.
    """
    from qbnn.terminal.place import read, refine_run, run

    given, start = read(file, placement)
    label, work = "place refine", refine_run(start, moves)
    told: dict[str, Any] = {
        "before": start,
        "time_limit": time,
        "filmed": film,
        "seed": seed,
        "quiet": quiet or json,
    }
    _tell(label, file, run(given, out, work, label=label, **told), json=json, quiet=quiet)


def evaluate(
    file: Placed, placement: Where = None, json: Json = False, quiet: Quiet = False
) -> None:
    """Print the wirelength of a placement, with the conventions that it is counted by."""
    kind = _terminal(file)
    found = kind.evaluated(*kind.read(file, placement))
    _tell("place evaluate", file, found, json=json, quiet=quiet)


def _terminal(file: Path) -> Any:
    """Return what knows files of this kind: of cells, or of blocks."""
    from anneal.floorplan.files import has_blocks
    from qbnn.terminal import floorplan, place

    return floorplan if has_blocks(file) else place


def _tell(label: str, file: Path, found: dict[str, Any], *, json: bool, quiet: bool) -> None:
    """Print what a placement is worth; of a quiet command the wirelength alone."""
    human = _terminal(file).summary(found)
    tell(label, str(file), found, json=json, quiet=quiet, human=human)
    if quiet and not json:
        print(f"{found['hpwl']:.12g}")


def verify(file: Placed, placement: Where = None, json: Json = False, quiet: Quiet = False) -> None:
    """Say whether a placement is legal, and what is wrong; exit code 1 if it is not.

    Cells between two sites are told, and are no reason for that.
    """
    kind = _terminal(file)
    found = kind.verified(*kind.read(file, placement))
    names = found["first"]
    human = {
        name.replace("_", " "): f"{found[name]:,}"
        + (f": {', '.join(map(_pair, names[name]))}" if names[name] else "")
        for name in names
    }
    title = "legal" if found["legal"] else "not legal"
    tell("place verify", f"{file}: {title}", found, json=json, quiet=quiet, human=human)
    if not found["legal"]:
        raise typer.Exit(1)


def _pair(names: str | list[str]) -> str:
    return names if isinstance(names, str) else "/".join(names)


def draw(
    file: Placed,
    out: Annotated[Path, typer.Option(help="A .png or .svg file.")],
    placement: Where = None,
    what: Annotated[Literal["cells", "density"], typer.Option(help="What to draw.")] = "cells",
    nets: Annotated[int, typer.Option(min=0, help="Draw so many of the longest nets.")] = 0,
) -> None:
    """Draw a placement: its cells or blocks, or how full the core is."""
    kind = _terminal(file)
    kind.draw(*kind.read(file, placement), out, what=what, nets=nets)
    print(out)


def generate(
    out: Annotated[
        Path,
        typer.Option(help="The .aux file, or .blocks file; the others are written beside it."),
    ],
    columns: Annotated[int, typer.Option(min=1, help="Cells in a row.")] = 100,
    rows: Annotated[int, typer.Option(min=1)] = 100,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the sites that cells take.")
    ] = 0.9,
    nets_per_cell: Annotated[float, typer.Option(min=0)] = 1.0,
    blocks: Annotated[
        int, typer.Option(min=1, help="How many, where a .blocks file is written.")
    ] = 100,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Write a netlist whose shortest wirelength is known, or blocks that fill a rectangle.

    Beside it is a placement that is as good as any.
    """
    from anneal.floorplan.files import has_blocks
    from qbnn.terminal import floorplan, place

    if has_blocks(out):
        made = floorplan.generated(out, num_blocks=blocks, seed=seed)
        tell("place generate", str(out), made, json=json)
        return
    found = place.generated(
        out,
        columns=columns,
        rows=rows,
        utilisation=utilisation,
        nets_per_cell=nets_per_cell,
        seed=seed,
    )
    tell("place generate", str(out), found, json=json)


def register(app: typer.Typer) -> None:
    """Add the group: assignment, partitioning, floorplans, toys, and what is in this module."""
    assign.register(place)
    partition.register(place)
    floorplan.register(place)
    toys.register(place)
    add(
        place,
        netlist,
        "qbnn place netlist ibm01.aux --out runs/ibm01 --seed 1",
        "qbnn place netlist ibm01.aux --out runs/ibm01 --time-limit 60 --film",
        panel=PROBLEMS,
    )
    add(
        place,
        refine,
        "qbnn place refine ibm01.aux --placement dragon.pl --out runs/dragon --time-limit 60",
        panel=PROBLEMS,
    )
    add(
        place,
        evaluate,
        "qbnn place evaluate ibm01.aux --placement dragon.pl --json",
        "qbnn place evaluate n100.blocks --placement runs/n100/floorplan.pl",
        panel=PROBLEMS,
    )
    add(place, verify, "qbnn place verify ibm01.aux --placement dragon.pl", panel=PROBLEMS)
    add(
        place,
        draw,
        "qbnn place draw ibm01.aux --placement dragon.pl --nets 500 --out dragon.png",
        "qbnn place draw ibm01.aux --what density --out density.svg",
        panel=PROBLEMS,
    )
    add(
        place,
        generate,
        "qbnn place generate --columns 400 --rows 500 --out runs/large.aux --seed 1",
        "qbnn place generate --blocks 50 --out runs/b50.blocks --seed 1",
        panel=PROBLEMS,
    )
    app.add_typer(place, name="place", rich_help_panel=PROBLEMS)
