"""What `qbnn place` does with netlists: read, place or refine, judge, and write a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anneal.control import Control, supervise
from anneal.files import Pathlike, write_bytes, write_text
from anneal.instances import bookshelf
from anneal.placement.film import Reel, film
from anneal.placement.grids import DEGREES, grid_netlist, known_wirelength
from anneal.placement.netlist import Netlist, Placement, Watch, hpwl
from anneal.placement.pictures import (
    density_picture,
    fullest,
    placement_picture,
    placement_svg,
)
from anneal.placement.place import place
from anneal.placement.refine import refine
from anneal.placement.verify import MAX_PAIRS, verify
from anneal.plots import energy_against_time
from anneal.records import machine, versions
from qbnn.terminal import pages
from qbnn.terminal.console import check_file, make_folder, progress_bar, to_document
from qbnn.terminal.settings import drawn_seed

PLACEMENT, RESULT, FILM, NAMED = "placement.pl", "result.json", "film.gif", 10
LINES = 200
CAPTIONS = {
    "placement": "Cells, what is fixed in grey, and the longest nets as lines from their middles.",
    "density": "How full the core is.",
    "cost": "The shortest wirelength so far, from the first legal placement on.",
}
Work = Callable[[Netlist, Control, np.random.Generator, Watch | None], Placement]


def read(path: Pathlike, placement: Pathlike | None = None) -> tuple[Netlist, Placement]:
    """Return the netlist of an .aux file with its placement, or with one of its own file."""
    netlist = bookshelf.read(path)
    if placement is None:
        return netlist, netlist.given
    return netlist, bookshelf.read_placement(placement, netlist)


def evaluated(netlist: Netlist, placement: Placement) -> dict[str, Any]:
    """Return what a placement is worth, with the conventions of each number."""
    wrong = verify(netlist, placement)
    return {
        "hpwl": hpwl(netlist, placement),
        "hpwl_centred": hpwl(netlist, placement, centred=True),
        "hpwl_weighted": hpwl(netlist, placement, weighted=True),
        "pins": "offsets of the file, from the middle of the cell",
        "nets": "all, each counted once",
        "num_cells": netlist.num_cells,
        "num_fixed": len(netlist.names) - netlist.num_cells,
        "num_nets": netlist.num_nets,
        "num_pins": netlist.num_pins,
        "utilisation": netlist.cell_area / netlist.rows.area,
        "density": fullest(netlist, placement),
        "legal": wrong.is_legal,
        "aligned": wrong.is_aligned,
    }


def verified(netlist: Netlist, placement: Placement) -> dict[str, Any]:
    """Return how many cells break each rule, and the first of them."""
    wrong = verify(netlist, placement)
    counts = {name: len(found) for name, found in wrong._asdict().items()}
    return {
        "legal": wrong.is_legal,
        "aligned": wrong.is_aligned,
        **counts,
        "at_least": counts["overlaps"] >= MAX_PAIRS,
        "first": {name: _names(netlist, found) for name, found in wrong._asdict().items()},
    }


def _names(netlist: Netlist, found: np.ndarray[Any, Any]) -> list[Any]:
    if found.ndim == 2:
        return [[netlist.names[one], netlist.names[two]] for one, two in found[:NAMED]]
    return [netlist.names[one] for one in found[:NAMED]]


def generated(
    out: Path,
    *,
    columns: int,
    rows: int,
    utilisation: float,
    nets_per_cell: float,
    seed: int | None,
) -> dict[str, Any]:
    """Write a netlist whose shortest wirelength is known; return facts about it."""
    check_file(out)
    drawn = drawn_seed(seed)
    netlist, best = grid_netlist(
        columns=columns,
        rows=rows,
        degrees=DEGREES,
        nets_per_cell=nets_per_cell,
        utilisation=utilisation,
        seed=drawn,
    )
    bookshelf.write(out, netlist)
    bookshelf.write_placement(out.with_suffix(".best.pl"), netlist, best)
    return {
        "file": str(out),
        "seed": drawn,
        "num_cells": netlist.num_cells,
        "num_nets": netlist.num_nets,
        "best_known": float(known_wirelength(netlist).sum()),
    }


def run(
    netlist: Netlist,
    out: Path,
    work: Work,
    *,
    label: str,
    before: Placement | None = None,
    time_limit: float | None,
    seed: int | None,
    filmed: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Place into a folder: the placement, figures, pictures, a page, and a film where wanted.

    Ctrl-C keeps the best legal placement so far. ``before``: what it is compared with.
    """
    folder = make_folder(out)
    drawn = drawn_seed(seed)
    control = Control(time_limit=time_limit)
    reel = Reel() if filmed else None
    if reel is not None and before is not None:
        reel("before", before)
    with progress_bar(label, quiet=quiet) as show:
        found = supervise(
            lambda: work(netlist, control, np.random.default_rng(drawn), reel),
            control,
            progress=lambda fraction, best: show(
                fraction, f"HPWL {best:,.0f}" if np.isfinite(best) else "spreading"
            ),
        )
    bookshelf.write_placement(folder / PLACEMENT, netlist, found)
    if reel is not None:
        reel("best", found)
        write_bytes(folder / FILM, film(netlist, reel.snapshots()))
    document = {
        "out": str(out),
        "seed": drawn,
        "interrupted": control.interrupted,
        "seconds": control.elapsed(),
        "before": None if before is None else hpwl(netlist, before),
        **evaluated(netlist, found),
        "trace": control.trace,
        "film": str(out / FILM) if filmed else None,
        "versions": versions(),
        "machine": machine(),
    }
    write_text(folder / RESULT, to_document(label, document))
    _write_page(folder, netlist, found, document, title=label)
    return document


def place_run(density: float, moves: float) -> Work:
    """Return how to place a netlist from nothing."""
    return lambda netlist, control, rng, watch: place(
        netlist, density=density, moves_per_cell=moves, rng=rng, control=control, watch=watch
    )


def refine_run(start: Placement, moves: float) -> Work:
    """Return how to make a legal placement shorter."""
    return lambda netlist, control, rng, watch: refine(
        netlist, start, moves_per_cell=moves, rng=rng, control=control, watch=watch
    )


def draw(netlist: Netlist, placement: Placement, out: Path, *, what: str, nets: int) -> None:
    """Write one picture, a .png or .svg file."""
    check_file(out)
    image: Any = out.suffix.removeprefix(".")
    if what == "density":
        write_bytes(out, density_picture(netlist, placement, image=image))
    else:
        write_bytes(out, placement_picture(netlist, placement, nets=nets, image=image))


def _write_page(
    folder: Path,
    netlist: Netlist,
    placement: Placement,
    document: Mapping[str, Any],
    *,
    title: str,
) -> None:
    made = {
        "placement": placement_picture(netlist, placement, nets=LINES),
        "density": density_picture(netlist, placement),
        "cost": energy_against_time({"HPWL": document["trace"]}, seconds=document["seconds"]),
    }
    for name, data in made.items():
        write_bytes(folder / f"{name}.png", data)
    # On the page the cells are lines and boxes, so that they can be looked at closely.
    cells = placement_svg(netlist, placement, nets=LINES)
    parts = [
        pages.facts(summary(document)),
        pages.zoomable(cells, CAPTIONS["placement"]),
        *(pages.picture(made[name], CAPTIONS[name]) for name in ("density", "cost")),
    ]
    write_text(folder / "index.html", pages.page(title, parts))


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a placement as a person reads them."""
    legal = "on sites, no overlaps" if found["aligned"] else "no overlaps, not all on sites"
    shown = {
        "hpwl": f"{found['hpwl']:,.0f} (pins: {found['pins']}; nets: {found['nets']})",
        "hpwl_centred": f"{found['hpwl_centred']:,.0f} (pins in the middle of their cells)",
        "cells": f"{found['num_cells']:,}, fixed {found['num_fixed']:,}",
        "nets": f"{found['num_nets']:,} of {found['num_pins']:,} pins",
        "utilisation": f"{100 * found['utilisation']:.2f} % of the rows",
        "density": f"{100 * found['density']:.1f} % in the fullest twentieth of the bins",
        "legal": legal if found["legal"] else "no: see qbnn place verify",
    }
    if found.get("before"):
        shorter = 100 * (1 - found["hpwl"] / found["before"])
        shown["shorter"] = f"{shorter:.2f} % than {found['before']:,.0f}"
    if "seconds" in found:
        shown |= {"time": f"{found['seconds']:.1f} s", "seed": found["seed"], "run": found["out"]}
        shown["film"] = found["film"]
    return shown
