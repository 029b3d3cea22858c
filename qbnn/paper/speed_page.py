"""The page of speed: what was measured, how it compares, and what had been set out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anneal.records import Record, machine
from anneal.tables import Column, Row, Table, column
from qbnn.paper.pages import write_rows_page
from qbnn.paper.step_rates import LAW, MEMORY, NETWORKS, PACKED, STEP, TITLES

# What was set out to be reached with one thread: a training step takes at most so many times as
# long as plain torch's, by network and family; the other two are so many times as fast.
MOST: dict[tuple[str, str], float] = {("dense", "real4"): 4.0}
MOST |= {(name, "real4"): 3.0 for name in ("B", "C", "PBNet")}
MOST |= {(name, "none"): 2.0 for name in NETWORKS}
LEAST = {(LAW, 784): 20.0, (PACKED, 1): 10.0, (PACKED, 256): 3.0}
MOST_MEMORY = 2e9  # bytes, C at a batch of 256


def tables(rows: Sequence[Record]) -> list[Table]:
    """Return a table for each kind of row: times in ms, how they compare, and what was the goal."""
    lines = [(row.task.job, {**row.task.spec, **row.result}) for row in rows]
    found = []
    for job, peer in TITLES.items():
        chosen = [line for of, line in lines if of == job]
        if chosen:
            named = [key for key in chosen[0] if key not in ("ours", "theirs", "ratio", "peer")]
            columns = [column(key, key.replace("_", " "), _number) for key in named]
            columns += [
                column("ours", "ours ms", _milliseconds),
                column("theirs", f"{peer} ms", _milliseconds),
                Column(f"times as {'long' if job == STEP else 'fast'}", partial(_compared, job)),
                Column("goal", partial(_goal, job)),
            ]
            found.append(Table(job.replace(" ", "_"), columns, chosen))
    memory = [line for of, line in lines if of == MEMORY]
    if memory:
        found.append(Table(MEMORY.replace(" ", "_"), _MEMORY, memory))
    return found


def _number(value: Any) -> str:
    return f"{value:.1g}" if isinstance(value, float) else str(value)


def _compared(job: str, line: Row) -> str:
    return f"{line['ratio'] if job == STEP else 1 / line['ratio']:.3g}"


def _goal(job: str, line: Row) -> str:
    """Return what was to be reached, and whether it was; empty where nothing was set out."""
    if line.get("num_threads", 1) != 1:
        return ""
    if job == MEMORY:
        wanted, met = f"≤ {MOST_MEMORY / 1e9:g}", line["bytes"] <= MOST_MEMORY
    elif job == STEP:
        name = next(name for name, stages in NETWORKS.items() if stages == line["network"])
        if (name, line["family"]) not in MOST:
            return ""
        most = MOST[name, line["family"]]
        wanted, met = f"≤ {most:g}", line["ratio"] <= most
    else:
        least = LEAST.get((job, line["fan_in"] if job == LAW else line["batch_size"]))
        if least is None:
            return ""
        wanted, met = f"≥ {least:g}", 1 / line["ratio"] >= least
    return f"{wanted}: {'met' if met else 'missed'}"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


_MEMORY = [
    *(column(key, key.replace("_", " ")) for key in ("network", "family", "batch_size")),
    column("bytes", "GB", lambda number: f"{number / 1e9:.2f}"),
    Column("goal", partial(_goal, MEMORY)),
]


def write_page(path: Path, rows: Sequence[Record], *, command: str) -> None:
    """Write the page of rows that were measured together."""
    reading = (
        "Each row is timed in turn with its peer in one run; a training step is forward, loss, "
        f"backward and Adam. Measured on {machine()['cpu']}, {machine()['cores']} cores. Goals are "
        "those of one thread."
    )
    write_rows_page(path, "Speed", reading=reading, command=command, tables=tables(rows))
