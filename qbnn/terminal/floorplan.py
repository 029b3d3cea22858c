"""What `qbnn place` does with blocks: floorplan them, judge and draw floorplans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anneal.control import Control, supervise
from anneal.errors import InputError
from anneal.files import Pathlike, write_bytes, write_text
from anneal.floorplan import files
from anneal.floorplan.blocks import Blocks, Floorplan, Outline, evaluate, outline_of
from anneal.floorplan.floorplanning import floorplan
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.floorplan.pictures import floorplan_picture
from anneal.floorplan.verify import verify
from anneal.instances import gsrc
from anneal.plots import energy_against_time
from anneal.records import machine, versions
from qbnn.terminal import pages
from qbnn.terminal.console import check_file, make_folder, progress_bar, to_document
from qbnn.terminal.settings import drawn_seed

PLAN, RESULT, NAMED = "floorplan.pl", "result.json", 10
CAPTIONS = {
    "floorplan": "Blocks, soft ones in green, pads, and the longest nets as lines.",
    "cost": "The lowest cost so far.",
}
LINES = 50  # nets drawn on a run's page


def read(path: Path, placement: Pathlike | None = None) -> tuple[Blocks, Floorplan]:
    """Return blocks with a floorplan of theirs: of a file, or of the .pl file beside them."""
    blocks = files.read(path)
    given = gsrc.beside(path, "pl") if placement is None else placement
    if given is None:
        raise InputError("no .pl file lies beside it: name one with --placement", path=path)
    return blocks, gsrc.read_plan(given, blocks)


def parse_outline(text: str) -> Outline:
    """Return width and height of ``"300x200"``.

    >>> parse_outline("300x200.5")
    (300.0, 200.5)
    """
    try:
        width, height = (float(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"an outline is WIDTHxHEIGHT, not {text!r}") from None
    return width, height


def evaluated(blocks: Blocks, plan: Floorplan, outline: Outline | None = None) -> dict[str, Any]:
    """Return what a floorplan is worth."""
    return {
        **evaluate(blocks, plan, outline=outline),
        "num_blocks": len(blocks),
        "num_soft": int(blocks.soft.sum()),
        "num_nets": blocks.num_nets,
        "num_pins": blocks.num_pins,
        "outline": outline,
        "legal": verify(blocks, plan).is_legal,
    }


def verified(blocks: Blocks, plan: Floorplan) -> dict[str, Any]:
    """Return how many blocks break each rule, and the first of them."""
    wrong = verify(blocks, plan)
    counts = {name: len(found) for name, found in wrong._asdict().items()}
    first = {
        name: np.asarray(blocks.names)[found[:NAMED]].tolist()
        for name, found in wrong._asdict().items()
    }
    return {"legal": wrong.is_legal, **counts, "first": first}


def run(
    path: Path,
    out: Path,
    *,
    wirelength: float,
    outline: Outline | None,
    whitespace: float | None,
    aspect: float,
    max_aspect: float | None,
    moves: float,
    time_limit: float | None,
    seed: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Floorplan into a folder: the plan, figures, pictures and a page.

    ``whitespace``: of an outline of that ``aspect``, where no ``outline`` is given. Ctrl-C keeps
    the best so far. Raises :class:`~anneal.errors.InputError`, and
    :class:`~anneal.errors.InfeasibleError` where the blocks cannot be within the outline.
    """
    folder, blocks, drawn = make_folder(out), files.read(path), drawn_seed(seed)
    if outline is None and whitespace is not None:
        outline = outline_of(blocks, aspect=aspect, whitespace=whitespace)
    control = Control(time_limit=time_limit)

    def work() -> Floorplan:
        return floorplan(
            blocks,
            wirelength=wirelength,
            outline=outline,
            max_aspect=max_aspect,
            moves_per_block=moves,
            rng=np.random.default_rng(drawn),
            control=control,
        )

    with progress_bar("place floorplan", quiet=quiet) as show:
        found = supervise(
            work, control, progress=lambda share, best: show(share, f"cost {best:.4f}")
        )
    gsrc.write_plan(folder / PLAN, blocks, found)
    document = {
        "file": str(path),
        "out": str(out),
        "seed": drawn,
        "wirelength_weight": wirelength,
        "interrupted": control.interrupted,
        "seconds": control.elapsed(),
        **evaluated(blocks, found, outline),
        "trace": control.trace,
        "versions": versions(),
        "machine": machine(),
    }
    write_text(folder / RESULT, to_document("place floorplan", document))
    _write_page(folder, blocks, found, document)
    return document


def draw(blocks: Blocks, plan: Floorplan, out: Path, *, what: str = "cells", nets: int = 0) -> None:
    """Write one picture, a .png or .svg file; of blocks there is one kind, ``what`` "cells"."""
    if what != "cells":
        raise InputError("of blocks there is no picture of the density")
    check_file(out)
    image: Any = out.suffix.removeprefix(".")
    write_bytes(out, floorplan_picture(blocks, plan, nets=nets, image=image))


def generated(out: Path, *, num_blocks: int, seed: int | None) -> dict[str, Any]:
    """Write blocks that fill a rectangle without a gap, and the floorplan that does."""
    check_file(out)
    drawn = drawn_seed(seed)
    blocks, best = guillotine_blocks(num_blocks=num_blocks, seed=drawn)
    gsrc.write(out, blocks)
    gsrc.write_plan(out.with_suffix(".best.pl"), blocks, best)
    return {
        "file": str(out),
        "seed": drawn,
        "num_blocks": len(blocks),
        "num_nets": blocks.num_nets,
        "least_area": blocks.area,
    }


def _write_page(folder: Path, blocks: Blocks, plan: Floorplan, document: Mapping[str, Any]) -> None:
    made = {
        "floorplan": floorplan_picture(blocks, plan, outline=document["outline"], nets=LINES),
        "cost": energy_against_time({"cost": document["trace"]}, seconds=document["seconds"]),
    }
    for name, data in made.items():
        write_bytes(folder / f"{name}.png", data)
    shown = [pages.picture(data, CAPTIONS[name]) for name, data in made.items()]
    text = pages.page("place floorplan", [pages.facts(summary(document)), *shown])
    write_text(folder / "index.html", text)


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a floorplan as a person reads them."""
    soft = f", {found['num_soft']:,} of them soft" if found["num_soft"] else ""
    shown: dict[str, Any] = {
        "blocks": f"{found['num_blocks']:,}{soft}",
        "box": f"{found['width']:,.10g} × {found['height']:,.10g}",
        "area": f"{found['area']:,.10g}, blocks {found['block_area']:,.10g}",
        "dead_space": f"{100 * found['dead_space']:.2f} % of the box",
        "legal": "no overlaps" if found["legal"] else "no: see qbnn place verify",
    }
    if found["num_nets"]:
        shown["hpwl"] = f"{found['hpwl']:,.10g} ({found['num_nets']:,} nets, pads with them)"
    if found["outline"]:
        wide, high = found["outline"]
        shown["outline"] = f"{wide:,.10g} × {high:,.10g}: " + (
            "it fits" if found["fits"] else "it does not fit"
        )
    if "seconds" in found:
        shown |= {"time": f"{found['seconds']:.1f} s", "seed": found["seed"], "run": found["out"]}
    return shown
