"""Rounding in `qbnn paper`: methods on networks, and solvers on layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qbnn.commands.shared import NETWORKS, Quiet, add, words_of
from qbnn.commands.train import DataDir

if TYPE_CHECKING:
    from anneal.records import Record

ROUNDING = Path("docs/results/rounding")


def adaround_table(
    out: Annotated[Path, typer.Option(help="Folder for rows and page.")] = ROUNDING,
    networks: Annotated[
        str | None,
        typer.Option(
            help="Names, joined by commas. (efficientnet-lite0,mnist,fashion-mnist; without "
            "photographs digits)"
        ),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(help="Of W4, W3, W4A8 and W8A8, joined by commas. (all)")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Rows of the table, joined by commas. (all)")
    ] = None,
    calibration: Annotated[int, typer.Option(min=2, help="Images to calibrate with.")] = 192,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge by so many images. (all)")] = None,
    size: Annotated[int, typer.Option(min=32, help="Of photographs, in pixels.")] = 160,
    seed: Annotated[int, typer.Option(min=0, help="Of draws and trainings.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Round networks by every method and write the page that compares them.

    What has a row is not done again: after Ctrl-C the same command goes on where it was.
    """
    from anneal.records import RecordFile
    from qbnn.paper.rounding_methods import networks_at_hand
    from qbnn.paper.rounding_table import ROW_FILE, roundings, run_roundings, write_page
    from qbnn.terminal.console import make_folder, say

    given = {"networks": networks, "widths": widths, "methods": methods}
    names = {key: words_of(text) for key, text in given.items() if text is not None}
    names.setdefault("networks", list(networks_at_hand(data_dir)))
    wanted = roundings(**names, num_calibration=calibration, limit=limit, size=size, seed=seed)

    numbers = {"calibration": (calibration, 192), "limit": (limit, None), "size": (size, 160)}
    numbers |= {"seed": (seed, 1), "threads": (threads, 1)}
    told = [f"--{key} {text}" for key, text in given.items() if text is not None]
    told += [f"--{key} {value}" for key, (value, usual) in numbers.items() if value != usual]
    command = " ".join(["qbnn paper adaround-table", *told])

    def tell(done: int, total: int, row: Record) -> None:
        write_page(out, command=command)
        if not quiet:
            say(f"{done}/{total} {_rounding_line(row)}")

    records = RecordFile(make_folder(out) / ROW_FILE)
    run_roundings(wanted, records, data_dir=data_dir, num_threads=threads, progress=tell)
    write_page(out, command=command)
    if not quiet:
        print(out / "README.md")


def rounding_layers(
    out: Annotated[Path, typer.Option(help="Folder for rows and page.")] = ROUNDING,
    network: Annotated[
        str, typer.Option(help="efficientnet-lite0, mnist, fashion-mnist or digits.")
    ] = "efficientnet-lite0",
    bits: Annotated[int, typer.Option(min=1, max=16, help="Of weights.")] = 4,
    images: Annotated[int, typer.Option(min=2, help="Half to solve for, half to judge.")] = 192,
    size: Annotated[int, typer.Option(min=32, help="Of photographs, in pixels.")] = 160,
    seed: Annotated[int, typer.Option(min=0, help="Of solvers, draws and trainings.")] = 1,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Solve layers of a network by every rounder, with bounds, and write the page.

    What has a row is not done again.
    """
    from anneal.records import RecordFile
    from qbnn.paper.rounding_layers import ROW_FILE, run_layers, write_page
    from qbnn.terminal.console import make_folder, say
    from qbnn.training.runs import threads

    command = f"qbnn paper rounding-layers --network {network} --bits {bits}"

    def tell(done: int, total: int, row: Record) -> None:
        if not quiet:
            spec, result = row.task.spec, row.result
            name = f"{spec['layer']} ({spec['fan_in']}) {spec['solver']}"
            say(f"{done}/{total} {name}: {result['cost']:.4f} of nearest, {row.seconds:.1f} s")

    records = RecordFile(make_folder(out) / ROW_FILE)
    with threads(1):
        run_layers(
            records,
            network=network,
            bits=bits,
            num_images=images,
            size=size,
            seed=seed,
            data_dir=data_dir,
            progress=tell,
        )
    write_page(out, command=command)
    if not quiet:
        print(out / "layers.md")


def _rounding_line(row: Record) -> str:
    """Return what a rounding came to, in one line."""
    from qbnn.paper.rounding_table import width_name

    spec, result = row.task.spec, row.result
    name = f"{spec['network']} {width_name(row)} {spec['method']}"
    if "error" in result:
        return f"{name}: {result['error']}"
    shares = f"agreement {100 * result['agreement']:.1f} %"
    return f"{name}: KL {result['kl']:.4f}, {shares}, {row.seconds:.0f} s"


def register(group: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    add(
        group,
        adaround_table,
        "qbnn paper adaround-table --networks efficientnet-lite0 --widths W4,W3",
        "qbnn paper adaround-table --networks digits --methods nearest,lns --out runs/table",
        name="adaround-table",
        panel=NETWORKS,
    )
    add(
        group,
        rounding_layers,
        "qbnn paper rounding-layers",
        "qbnn paper rounding-layers --network digits --images 64 --out runs/layers",
        name="rounding-layers",
        panel=NETWORKS,
    )
