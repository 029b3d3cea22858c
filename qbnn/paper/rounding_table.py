"""The comparison of rounding methods on networks: a row for each, and the page made from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import torch

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.records import Record, RecordFile, Task
from anneal.registry import unknown
from anneal.rounding.judge import judge
from anneal.tables import Row, Table, column
from qbnn.paper.pages import rows_of, write_rows_page
from qbnn.paper.rounding_methods import (
    ARCHITECTURE,
    EPOCHS,
    IMAGENET,
    METHODS,
    NETWORKS,
    WIDTHS,
    Case,
    load_case,
    rounded,
)
from qbnn.training.runs import threads

JOB, ROW_FILE, PAGE = "adaround-table", "records.jsonl", "README.md"


@dataclass(frozen=True)
class NetworkRounding:
    """One rounding of one network: all that decides its row."""

    network: str
    width: str
    method: str
    num_calibration: int
    limit: int | None
    size: int
    seed: int

    @property
    def task(self) -> Task:
        """The job and its exact inputs."""
        bits, activation_bits = WIDTHS[self.width]
        spec: dict[str, Any] = {
            "network": self.network,
            "method": self.method,
            "how": METHODS[self.method].spec(),
            "bits": bits,
            "activation_bits": activation_bits,
            "num_calibration": self.num_calibration,
            "limit": self.limit,
            "seed": self.seed,
        }
        if self.network == IMAGENET:
            return Task(JOB, spec | {"size": self.size})
        return Task(JOB, spec | {"architecture": ARCHITECTURE, "epochs": EPOCHS})


def roundings(
    *,
    networks: Sequence[str] = NETWORKS,
    widths: Sequence[str] = tuple(WIDTHS),
    methods: Sequence[str] = tuple(METHODS),
    num_calibration: int = 192,
    limit: int | None = None,
    size: int = 160,
    seed: int = 1,
) -> list[NetworkRounding]:
    """Return the roundings of the table; raise :class:`~anneal.errors.InputError` for no such name.

    >>> len(roundings(networks=["mnist"], widths=["W4"]))
    19
    """
    for names, known, kind in ((widths, WIDTHS, "width"), (methods, METHODS, "method")):
        for name in names:
            if name not in known:
                raise unknown(name, known, kind=kind)
    return [
        NetworkRounding(network, width, method, num_calibration, limit, size, seed)
        for network, width, method in product(networks, widths, methods)
    ]


def run_roundings(
    wanted: Sequence[NetworkRounding],
    records: RecordFile,
    *,
    data_dir: Pathlike | None = None,
    num_threads: int = 1,
    progress: Callable[[int, int, Record], None] = lambda done, total, row: None,
) -> None:
    """Append the rows that are not there yet; a network is loaded, or trained, once."""
    done = records.done() if records.path.exists() else set()
    todo = [one for one in wanted if one.task.id not in done]
    number = len(wanted) - len(todo)
    for _, group in groupby(todo, key=lambda one: (one.network, one.size, one.seed)):
        members = list(group)
        case = load_case(
            members[0].network,
            data_dir=data_dir,
            num_calibration=members[0].num_calibration,
            limit=members[0].limit,
            size=members[0].size,
            seed=members[0].seed,
        )
        for one in members:
            row = run_rounding(one, case, num_threads=num_threads)
            records.append(row)
            number += 1
            progress(number, len(wanted), row)


def run_rounding(one: NetworkRounding, case: Case, *, num_threads: int = 1) -> Record:
    """Round and judge; seconds are those of the rounding. A peer that is not there leaves a row
    that says so.
    """
    bits, activation_bits = WIDTHS[one.width]
    started = time.perf_counter()
    with threads(num_threads):
        try:
            network = rounded(
                case,
                METHODS[one.method],
                bits,
                activation_bits,
                seed=one.seed,
                num_threads=num_threads,
            )
        except InputError as error:
            if METHODS[one.method].peer is None:
                raise
            return Record(one.task, {"error": str(error)}, time.perf_counter() - started)
        seconds = time.perf_counter() - started
        judged = judge(case.traced.module, network, case.images, case.labels)
    result = {**judged._asdict(), "num_threads": torch.get_num_threads()}
    return Record(one.task, result, seconds)


def write_page(folder: Path, *, command: str) -> None:
    """Write the page of the rows of a folder.

    Raises :class:`~anneal.errors.InputError` where there are none.
    """
    rows = rows_of(folder / ROW_FILE, JOB)
    methods = Table(
        "methods",
        [column("name", "method"), column("is", "what it is")],
        [{"name": name, "is": method.description} for name, method in METHODS.items()],
    )
    shown = [*tables(rows), methods]
    title = "Rounding methods"
    write_rows_page(folder / PAGE, title, reading=_READING, command=command, tables=shown)


_READING = (
    "Every method has the same images to calibrate with, the same bits, a grid of its own for each "
    "output (symmetric, of least squared error where nothing else is said), and rounds every "
    "layer. *KL* is the divergence of the float network's probabilities from the rounded one's, in "
    "nats, *agreement* the share of images with the same first class, both on images that no "
    "method has seen; seconds are those of one rounding, and of no use where other work ran "
    "beside it. What brevitas does in its own way, `qbnn.paper.rounding_peers` says."
)


def tables(rows: Sequence[Record]) -> Iterator[Table]:
    """Yield a table for each network and width, methods in the order of ``METHODS``."""
    order = list(METHODS)
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        spec, result = row.task.spec, row.result
        if "error" in result or spec["method"] not in METHODS:
            continue
        title = (
            f"{spec['network']} {width_name(row)}: {spec['num_calibration']} images to calibrate "
            f"with, {result['num_images']:,} to judge by, float top-1 "
            f"{_percent(result['float_top1'])} %"
        )
        line = {**result, "method": spec["method"], "seconds": row.seconds}
        found.setdefault(title, {})[spec["method"]] = line
    for title, lines in found.items():
        chosen = [lines[name] for name in sorted(lines, key=order.index)]
        yield Table(title, _COLUMNS, chosen)


def width_name(row: Record) -> str:
    """Return the name in ``WIDTHS`` of what a row was rounded to."""
    bits = row.task.spec["bits"], row.task.spec["activation_bits"]
    return next(name for name, width in WIDTHS.items() if width == bits)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


_COLUMNS = [
    column("method"),
    column("kl", "KL", "{:.4f}".format),
    column("agreement", "agreement %", _percent),
    column("top1", "top-1 %", _percent),
    column("seconds", show="{:.1f}".format),
]
