"""Networks in `qbnn paper`: deformed ones beside their controls, speed, and a published network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qbnn.commands.shared import NETWORKS, Json, Quiet, add, spelled, words_of
from qbnn.commands.train import DataDir, Device, Limit

if TYPE_CHECKING:
    from anneal.records import Record
    from qbnn.paper.grid import Cell, Data, Outcome

RESULTS = Path("docs/results/deformed")
TRAINED = Path("docs/results/networks")


def deformed_table(
    out: Annotated[Path, typer.Option(help="Folder for rows, page and pictures.")] = RESULTS,
    datasets: Annotated[
        str | None, typer.Option(help="Names, joined by commas. (mnist,fashion-mnist)")
    ] = None,
    architectures: Annotated[
        str | None, typer.Option(help="A, B or C, joined by commas. (A,B,C; of --sweep A,B)")
    ] = None,
    families: Annotated[
        str | None,
        typer.Option(help="Rows of the table, joined by commas. (all; of C four)"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="A count, a range 1-10 or a list 1,2,5. (5; of C 3)")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="(as the page says of each architecture)")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of all rows but float. (0.1)")
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Instead try learning rates, judged by validation images alone."
        ),
    ] = False,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Begin no training after so long.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = 1,
    limit: Limit = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trainings and which of them are done.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Only write the page, from the rows that there are.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train deformed networks and their controls, and write the page that compares them.

    A training that has a row is not run again: Ctrl-C keeps what is done, and the same command
    goes on where it was.
    """
    from qbnn.paper.grid import Data
    from qbnn.paper.report import documents, read_rows, write_report
    from qbnn.terminal.console import make_folder, print_document

    chosen: dict[str, Any] = {"datasets": datasets, "architectures": architectures}
    chosen |= {"families": families, "seeds": seeds, "epochs": epochs}
    chosen |= {"learning_rate": learning_rate, "limit": limit}
    where = None if out == RESULTS else out
    command = spelled("qbnn paper deformed-table", {"out": where, **chosen})
    document: dict[str, Any] = {"out": str(out), "done": None, "left": None, "interrupted": False}
    if not report:
        cells = _cells(chosen, sweep=sweep)
        data = Data(data_dir, limit, device)
        if dry_run:
            _list(cells, data, out, json=json)
            return
        found = _run(cells, data, make_folder(out), jobs=jobs, hours=budget, quiet=quiet or json)
        document |= {"done": len(found.rows), "left": list(map(str, found.left))}
        document["interrupted"] = found.interrupted
    if report or found.rows:
        write_report(out, command=command)
        document["tables"] = documents(read_rows(out))
    if json:
        print_document("paper deformed-table", document)
    elif not quiet:
        print(out / "README.md")
    if document["interrupted"]:
        raise typer.Exit(130)


def speed(
    out: Annotated[Path, typer.Option(help="Folder for rows and page.")] = TRAINED,
    threads: Annotated[str, typer.Option(help="Numbers of threads, joined by commas.")] = "1,2",
    batch_sizes: Annotated[str, typer.Option(help="Images a step, joined by commas.")] = "128,256",
    networks: Annotated[
        str, typer.Option(help="Of dense, B, C and PBNet, joined by commas.")
    ] = "dense,B,C,PBNet",
    quiet: Quiet = False,
) -> None:
    """Time training steps, the exact law and packed bits beside their peers, in one run."""
    from anneal.errors import InputError
    from anneal.records import RecordFile
    from qbnn.paper.speed_page import write_page
    from qbnn.paper.step_rates import NETWORKS as KNOWN
    from qbnn.paper.step_rates import rates
    from qbnn.terminal.console import make_folder, say

    names = words_of(networks)
    if unknown := [name for name in names if name not in KNOWN]:
        raise InputError(f"unknown network '{unknown[0]}'; known: {', '.join(KNOWN)}")
    records, rows = RecordFile(make_folder(out) / "speed.jsonl"), []
    sizes, counts = _counts("--batch-sizes", batch_sizes), _counts("--threads", threads)
    for row in rates(batch_sizes=sizes, num_threads=counts, networks=names):
        records.append(row)
        rows.append(row)
        if not quiet:
            say(f"{row.task.job} {dict(row.task.spec)}: {dict(row.result)}")
    command = f"qbnn paper speed --networks {','.join(names)} --threads {threads}"
    write_page(out / "speed.md", rows, command=f"{command} --batch-sizes {batch_sizes}")
    if not quiet:
        print(out / "speed.md")


def pbnet(
    out: Annotated[Path, typer.Option(help="Folder for rows and page.")] = TRAINED,
    run: Annotated[Path, typer.Option(help="Folder of the training.")] = Path("runs/pbnet"),
    data: Annotated[str, typer.Option(help="A name in `qbnn list datasets`.")] = "mnist",
    epochs: Annotated[int, typer.Option(min=1)] = 35,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Train the published PBNet with bits drawn, and judge it in each published way.

    Ctrl-C keeps the training so far, and the same command goes on.
    """
    from anneal.records import RecordFile
    from qbnn.paper.published import ROW_FILE, run_published, write_page
    from qbnn.terminal.console import make_folder, say

    def tell(row: Record) -> None:
        if not quiet:
            say(f"{row.task.spec['judged']['name']}: {100 * row.result['accuracy']:.2f} %")

    ended = run_published(
        run,
        RecordFile(make_folder(out) / ROW_FILE),
        data=data,
        epochs=epochs,
        seed=seed,
        data_dir=data_dir,
        num_threads=threads,
        quiet=quiet,
        progress=tell,
    )
    if not ended:
        raise typer.Exit(130)
    command = f"qbnn paper pbnet --data {data} --epochs {epochs} --seed {seed}"
    write_page(out, command=command)
    if not quiet:
        print(out / "pbnet.md")


def _counts(option: str, text: str) -> list[int]:
    from anneal.errors import InputError

    words = words_of(text)
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"{option} wants whole numbers above 0, joined by commas, not '{text}'")
    return [int(word) for word in words]


def _cells(chosen: dict[str, Any], *, sweep: bool) -> list[Cell]:
    """Return the trainings that options mean."""
    from anneal.errors import InputError
    from qbnn.paper.grid import sweep_cells, table_cells
    from qbnn.terminal.reports import parse_seeds

    given: dict[str, Any] = {
        key: words_of(chosen[name]) for key, name in _LISTS.items() if chosen[name] is not None
    }
    given |= {"epochs": chosen["epochs"]}
    if sweep:
        if chosen["seeds"] is not None or chosen["learning_rate"] is not None:
            raise InputError("a sweep has its own seed and learning rates")
        return sweep_cells(**given)
    if chosen["seeds"] is not None:
        given["seeds"] = parse_seeds(chosen["seeds"])
    if chosen["learning_rate"] is not None:
        given["learning_rate"] = chosen["learning_rate"]
    return table_cells(**given)


_LISTS = {"datasets": "datasets", "architectures": "architectures", "rows": "families"}


def _run(
    cells: list[Cell],
    data: Data,
    out: Path,
    *,
    jobs: int,
    hours: float | None,
    quiet: bool,
) -> Outcome:
    """Run the cells with a line on stderr for each, and say what is left."""
    from anneal.records import RecordFile
    from qbnn.paper.grid import run_cells
    from qbnn.paper.report import ROW_FILE
    from qbnn.terminal.console import say

    def tell(done: int, total: int, row: Record) -> None:
        if not quiet:
            say(f"{done}/{total} {_line(row)}")

    records = RecordFile(out / ROW_FILE)
    found = run_cells(cells, records, data, num_jobs=jobs, hours=hours, progress=tell)
    if found.left:
        say(f"{len(found.left)} of {len(cells)} trainings left; the same command goes on")
    return found


def _line(row: Record) -> str:
    """Return what a training came to, in one line."""
    spec, result = row.task.spec, row.result
    name = f"{spec['dataset']} {spec['name']} {spec['row']} seed {spec['seed']}"
    if "error" in result:
        return f"{name}: {result['error']}"
    if "test_accuracy" in result:
        shown = f"{100 * result['test_accuracy']:.2f} % of the test set"
    else:
        best = 100 * max(result["validation_accuracy"])
        shown = f"rate {spec['learning_rate']:g}, {best:.2f} % of the validation images"
    return f"{name}: {shown}, {row.seconds:.0f} s"


def _list(cells: list[Cell], data: Data, out: Path, *, json: bool) -> None:
    """Print the cells, and whether each is done."""
    from anneal.records import RecordFile
    from qbnn.paper.grid import read_dataset
    from qbnn.paper.report import ROW_FILE
    from qbnn.terminal.console import print_document

    done = RecordFile(out / ROW_FILE).done()
    states = {cell: cell.task(read_dataset(cell.dataset, data)).id in done for cell in cells}
    if json:
        listed = [{"cell": str(cell), "done": there} for cell, there in states.items()]
        print_document("paper deformed-table", {"out": str(out), "cells": listed})
        return
    for cell, there in states.items():
        print(f"{cell}{' done' if there else ''}")


def register(group: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    add(
        group,
        deformed_table,
        "qbnn paper deformed-table --jobs 2 --budget 6",
        "qbnn paper deformed-table --architectures A --datasets mnist --out runs/table",
        "qbnn paper deformed-table --datasets digits --epochs 2 --seeds 2 --out runs/tiny",
        "qbnn paper deformed-table --dry-run",
        "qbnn paper deformed-table --report",
        name="deformed-table",
        panel=NETWORKS,
    )
    add(
        group,
        speed,
        "qbnn paper speed --out runs/speed",
        "qbnn paper speed --networks B,C --threads 1 --batch-sizes 128",
        panel=NETWORKS,
    )
    add(
        group,
        pbnet,
        "qbnn paper pbnet --run runs/pbnet",
        "qbnn paper pbnet --data digits --epochs 3 --out runs/digits",
        panel=NETWORKS,
    )
