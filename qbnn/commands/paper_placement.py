"""Placement in `qbnn paper`: what assigns, partitions and places, beside its peers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qbnn.commands.shared import PROBLEMS, Quiet, add, spelled, words_of

if TYPE_CHECKING:
    from anneal.records import Record

PLACEMENT = Path("docs/results/placement")


def placement_table(
    out: Annotated[Path, typer.Option(help="Folder for rows and page.")] = PLACEMENT,
    parts: Annotated[
        str | None,
        typer.Option(
            help="Of assignment, partition, netlist, refine, floorplan and large, joined by "
            "commas. (all that the data allow)"
        ),
    ] = None,
    instances: Annotated[
        str | None, typer.Option(help="Names as in the tables, joined by commas. (all)")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each. (as the part has it)")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0.01, help="Seconds of a run that has a limit. (as the part has it)"),
    ] = None,
    cells: Annotated[int, typer.Option(min=16, help="Of the large netlist.")] = 200_000,
    threads: Annotated[int, typer.Option(min=1, help="Where a number can be asked for.")] = 1,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder that holds qaplib/, ibm01-cu85/ and floorplan/. (QBNN_DATA)"),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Only write the page, from the rows that there are.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Assign, partition, place and floorplan beside other packages, and write the page of it.

    What has a row is not done again: after Ctrl-C the same command goes on where it was. Without
    data, hypergraphs, blocks and netlists are generated, and parts that cannot do with these are
    left out.
    """
    from qbnn.paper.placement_jobs import Wanted
    from qbnn.paper.placement_table import write_page

    given = {"parts": parts, "instances": instances, "seeds": seeds, "time_limit": time_limit}
    given |= {"cells": None if cells == 200_000 else cells}
    given |= {"threads": None if threads == 1 else threads}
    command = spelled("qbnn paper placement-table", given)
    if not report:
        folder = data_dir or (Path(named) if (named := os.environ.get("QBNN_DATA")) else None)
        names = None if instances is None else words_of(instances)
        wanted = Wanted(folder, names, seeds, time_limit, threads, cells)
        _run(None if parts is None else words_of(parts), wanted, out, command, quiet=quiet)
    write_page(out, command=command)
    if not quiet:
        print(out / "README.md")


def _run(parts: list[str] | None, wanted: Any, out: Path, command: str, *, quiet: bool) -> None:
    """Run the tasks with a line on stderr for each; the page is written after every one."""
    from anneal.errors import InputError
    from anneal.records import RecordFile
    from qbnn.paper import placement_table as table
    from qbnn.terminal.console import make_folder, say

    names = list(table.PARTS) if parts is None else parts
    missing = table.left_out(names, wanted)
    for name, why in missing.items():
        if parts is not None:
            raise InputError(f"part {name}: {why}")
        say(f"{name} left out: {why}")
    tasks = table.table_tasks([name for name in names if name not in missing], wanted)

    def tell(done: int, total: int, row: Record) -> None:
        table.write_page(out, command=command)
        if not quiet:
            say(f"{done}/{total} {_line(row)}")

    records = RecordFile(make_folder(out) / table.ROW_FILE)
    table.run_tasks(tasks, wanted, records, progress=tell)


def _line(row: Record) -> str:
    """Return what a run came to, in one line."""
    spec, result = row.task.spec, row.result
    words = (spec["part"], spec["instance"], spec.get("method"), f"seed {spec['seed']}")
    name = " ".join(word for word in words if word)
    if "error" in result:
        return f"{name}: {result['error']}"
    told = [f"{key} {result[key]:,.6g}" for key in _FIGURES if key in result]
    return f"{name}: {', '.join(told)}, {row.seconds:.1f} s"


_FIGURES = ("cost", "faq_cost", "best_known", "cut", "given", "hpwl", "dead_space")


def register(group: typer.Typer) -> None:
    """Add the command of this module to the group."""
    add(
        group,
        placement_table,
        "qbnn paper placement-table",
        "qbnn paper placement-table --parts assignment --instances nug12,nug30 --out runs/table",
        "qbnn paper placement-table --parts large --cells 2000 --out runs/tiny",
        "qbnn paper placement-table --report",
        name="placement-table",
        panel=PROBLEMS,
    )
