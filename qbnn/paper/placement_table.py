"""The comparison of what assigns, partitions and places: a row for each run, and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from anneal.errors import InputError
from anneal.kernels.__main__ import warm_up_partition, warm_up_permutations
from anneal.records import Record, RecordFile, Task
from anneal.registry import unknown
from qbnn.paper import placement_cells as cells
from qbnn.paper import placement_jobs as jobs
from qbnn.paper.pages import rows_of, write_rows_page
from qbnn.paper.placement_goals import goals_table, plain
from qbnn.paper.placement_jobs import NETLIST, Result, Spec, Wanted
from qbnn.paper.placement_tables import tables

JOB, ROW_FILE, PAGE = "placement-table", "records.jsonl", "README.md"


def _nothing() -> None:
    """What runs in a process of its own warms up there."""


class Part(NamedTuple):
    """specs: the tasks of a part; run: what one of them gives; warm_up: so that no compiling is
    timed; needs: what of the data folder it cannot do without.
    """

    specs: Callable[[Wanted], Iterator[Spec]]
    run: Callable[[Spec, Wanted], Result]
    warm_up: Callable[[], None]
    needs: Path | None = None


PARTS: Mapping[str, Part] = {
    "assignment": Part(
        jobs.assignment_specs, jobs.run_assignment, warm_up_permutations, Path("qaplib")
    ),
    "partition": Part(jobs.partition_specs, jobs.run_partition, warm_up_partition),
    "netlist": Part(cells.netlist_specs, cells.run_netlist, cells.warm_up, NETLIST),
    "refine": Part(cells.refine_specs, cells.run_refine, cells.warm_up, NETLIST),
    "floorplan": Part(jobs.floorplan_specs, jobs.run_floorplan, jobs.warm_up_floorplans),
    "large": Part(cells.large_specs, cells.run_large, _nothing),
}


def left_out(parts: Sequence[str], wanted: Wanted) -> dict[str, str]:
    """Return the parts that the data do not allow, and why.

    Raises :class:`~anneal.errors.InputError` for a part that is not known.

    >>> left_out(["large", "netlist"], Wanted())
    {'netlist': 'no ibm01-cu85/ibm01.aux in the folder that QBNN_DATA names'}
    """
    found = {}
    for name in parts:
        if name not in PARTS:
            raise unknown(name, PARTS, kind="part")
        needs = PARTS[name].needs
        if needs is not None and wanted.file(needs) is None:
            found[name] = f"no {needs.as_posix()} in the folder that QBNN_DATA names"
    return found


def table_tasks(parts: Sequence[str], wanted: Wanted) -> list[Task]:
    """Return the tasks of parts.

    Raises :class:`~anneal.errors.InputError` for an instance that none of them has.

    >>> table_tasks(["large"], Wanted(num_cells=100))[0].spec["instance"]
    'grid-100'
    """
    tasks = [
        Task(JOB, {"part": name, **spec}) for name in parts for spec in PARTS[name].specs(wanted)
    ]
    missing = set(wanted.instances or ()) - {task.spec["instance"] for task in tasks}
    if missing:
        raise InputError(f"no instance '{sorted(missing)[0]}' in {', '.join(parts)}")
    return tasks


def run_tasks(
    tasks: Sequence[Task],
    wanted: Wanted,
    records: RecordFile,
    *,
    progress: Callable[[int, int, Record], None] = lambda done, total, row: None,
) -> None:
    """Append the rows that are not there yet, or that only say what went wrong."""
    rows = records.read() if records.path.exists() else []
    done = {row.task.id for row in rows if "error" not in row.result}
    warm: set[str] = set()
    for number, task in enumerate(tasks, start=1):
        if task.id in done:
            continue
        name = task.spec["part"]
        if name not in warm:
            PARTS[name].warm_up()
            warm.add(name)
        row = run_task(task, wanted)
        records.append(row)
        progress(number, len(tasks), row)


def run_task(task: Task, wanted: Wanted) -> Record:
    """Return the row of a task. A peer that is not there, or fails, leaves one that says so."""
    started = time.perf_counter()
    try:
        result = PARTS[task.spec["part"]].run(dict(task.spec), wanted)
    except (InputError, RuntimeError) as error:
        if "peer" not in task.spec:
            raise
        result = {"error": str(error)}
    return Record(task, result, time.perf_counter() - started)


def write_page(folder: Path, *, command: str) -> None:
    """Write the page of the rows of a folder.

    Raises :class:`~anneal.errors.InputError` where there are none.
    """
    records = rows_of(folder / ROW_FILE, JOB)
    rows = plain(records)
    shown = [goals_table(rows), *tables(rows)]
    reading = f"{_READING}\n\n{_machines(records)}{_failed(records)}"
    write_rows_page(folder / PAGE, "Placement", reading=reading, command=command, tables=shown)


_READING = """\
What is equal: the machine, the run, the instance and the conventions by which all are judged: our
evaluators count cost, cut, wirelength and dead space of whatever was found, and our `verify`, which
shares no code with what places, counts overlaps and cells between two sites. Files are read and
code is compiled before the clock starts. Seconds are of wall time, CPU seconds are those of all
threads; where the one is much more than the other, more than one thread worked, or other work
ran beside it.

Assignment: best known costs are QAPLIB's; a run ends there, or with its time. Beside FAQ, scipy's
best of 30 random starts, our engine has one thread and exactly the seconds that FAQ took.
Partition: the same hypergraph, through an hMETIS file, the same tolerance and number of threads.
Netlist: Coloquinte, of default effort, makes cells wider until they cover the density and places
them so; *as even* is ours with cells as wide as these, so that both leave the same space free
everywhere; *packed* is Coloquinte with cells as they are, *ours* packs them too. *fullest* is how
full the fullest twentieth of the bins is. Refine: *before* is what was given, put on sites by our
legaliser where it was not; *shorter* is beside what was given, and of Coloquinte's, which leaves
space free, most of it comes from closing that. Floorplans are for area alone, with rotation, and
their sides are free.
Large: a netlist whose shortest wirelength is known; memory is the most that its process had."""


def _machines(records: Sequence[Record]) -> str:
    found = {f"{row.machine['cpu']}, {row.machine['cores']} cores" for row in records}
    threads = {row.task.spec["num_threads"] for row in records if "num_threads" in row.task.spec}
    asked = f"; threads where a number can be asked for: {', '.join(map(str, sorted(threads)))}"
    return f"Machine: {'; '.join(sorted(found))}{asked if threads else ''}."


def _failed(records: Sequence[Record]) -> str:
    """Return a paragraph for each peer that was not there or failed, and nothing else."""
    errors = {
        f"\n\n{row.task.spec['part']}, {row.task.spec['peer']}: {row.result['error']}"
        for row in records
        if "error" in row.result
    }
    return "".join(sorted(errors))
