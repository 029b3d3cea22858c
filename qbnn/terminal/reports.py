"""Benchmarks and reports as the command line runs them: a folder of rows, tables and pictures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from anneal.bench import run_bench
from anneal.errors import InputError
from anneal.executors import Executor, open_executor
from anneal.files import Pathlike, write_bytes, write_text
from anneal.peers import check_name
from anneal.plots import comparison, performance_profile
from anneal.rates import run_rates
from anneal.records import Record, RecordFile
from anneal.report import grouped, report, summarise
from anneal.suites import Instance, select
from anneal.tables import (
    Column,
    Row,
    Table,
    column,
    show_energy,
    show_number,
    show_percent,
    to_csv,
    to_json,
    to_markdown,
)
from anneal.target_plots import share_at_target
from qbnn.terminal.console import check_file, make_folder, print_table, progress_bar, say

ROWS = "records.jsonl"
PICTURES = {
    "comparison": comparison,
    "profile": performance_profile,
    "targets": share_at_target,
}


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that a text means: a count, a range or a list.

    Raises :class:`~anneal.errors.InputError` for anything else.

    >>> parse_seeds("3"), parse_seeds("4-6"), parse_seeds("1,7")
    ([1, 2, 3], [4, 5, 6], [1, 7])
    """
    try:
        if "," in text:
            seeds = [int(word) for word in text.split(",")]
        else:
            first, dash, last = text.partition("-")
            seeds = list(range(int(first), int(last) + 1) if dash else range(1, int(first) + 1))
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise InputError(f"seeds are a count, a range like 1-10 or a list like 1,2,5, not '{text}'")
    return seeds


def rows_file(path: Pathlike) -> Path:
    """Return the file of rows that is meant by a file or by a folder that holds one."""
    given = Path(path)
    return given if given.suffix == ".jsonl" or given.is_file() else given / ROWS


def run(
    names: Sequence[str],
    solvers: Sequence[str],
    *,
    seeds: str,
    budgets: Sequence[float],
    out: Path,
    clock: str,
    num_threads: int,
    against: str | None,
    quiet: bool,
    command: str,
    with_rates: bool = False,
    executor: str | None = None,
    num_workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Run a benchmark into ``out``, write its report there and print its tables.

    Raises :class:`~anneal.errors.InputError` before the first run where something cannot be used.
    """
    if not names:
        raise InputError("name a suite (--suite tiny) or files to solve")
    if min(budgets) <= 0:
        raise InputError(f"a budget must be more than 0 seconds, not {min(budgets):g}")
    if against is not None and against not in solvers:
        raise InputError(f"nothing to compare with: '{against}' is not among the solvers")
    for solver in solvers:
        check_name(solver)
    file, instances, numbers = rows_file(out), select(names), parse_seeds(seeds)
    try:
        with ExitStack() as stack:
            opened = None
            if executor is not None:
                opened = open_executor(executor, num_workers=num_workers, scheduler=scheduler)
                stack.enter_context(opened)
            rows = bench(
                instances,
                solvers,
                seeds=numbers,
                budgets=budgets,
                file=file,
                clock=clock,
                num_threads=num_threads,
                quiet=quiet,
                executor=opened,
            )
    except KeyboardInterrupt:
        say(f"the rows so far are in {file}; the same command goes on from there")
        raise
    if with_rates:
        with progress_bar("kernels", quiet=quiet) as show:
            rows += run_rates(RecordFile(file), progress=show)
    against = _label(rows, against)
    if file != out:
        write_report(rows, out, title=out.name, against=against, command=command)
    if not quiet:
        print_results(rows, against=against)
        say(f"every table: qbnn report {shlex.quote(str(out))}")


def print_results(rows: Sequence[Record], *, against: str | None = None) -> None:
    """Print what fits on a screen: a line for each instance and solver, the tally, failures."""
    print_table(results(rows), title=False)
    for table in report(rows, against=against):
        if table.name in ("tally", "rates", "failures"):
            print_table(table)


def _label(rows: Sequence[Record], solver: str | None) -> str | None:
    """What tables call a solver, which may tell its clock and threads too; None without a row."""
    for (_, _, label), runs in grouped(rows).items():
        if runs[0].task.spec["solver"] == solver:
            return label
    return None


def results(rows: Sequence[Record]) -> Table:
    """Return a row for each instance, budget and solver, with few columns.

    A best known energy in parentheses is only the best of these rows. How many runs are feasible is
    told where not all are.
    """
    feasible: Counter[tuple[str, float, str]] = Counter()
    for (instance, budget, solver), runs in grouped(rows).items():
        feasible[instance, budget, solver] = sum(
            run.result["feasible"] is not False for run in runs
        )
    lines = [
        {**line, "feasible": feasible[line["instance"], line["budget"], line["solver"]]}
        for line in summarise(rows).rows
    ]
    columns = _COLUMNS
    if any(line["feasible"] < line["runs"] for line in lines):
        columns = [*columns, Column("feasible", lambda row: f"{row['feasible']}/{row['runs']}")]
    return Table("results", columns, lines)


def _target(row: Row) -> str:
    target = show_energy(row["target"])
    return target if row["known"] else f"({target})"


_COLUMNS = [
    column("instance"),
    column("budget", "s", lambda seconds: f"{seconds:g}"),
    column("solver"),
    Column("best known", _target),
    column("best", show=show_energy),
    Column("gap %", lambda row: show_percent(row["gap"].value)),
    Column("hits", lambda row: f"{row['hits']}/{row['runs']}"),
    Column("after s", lambda row: show_number(row["time_to_target"].value)),
]


def bench(
    instances: Sequence[Instance],
    solvers: Sequence[str],
    *,
    seeds: Iterable[int],
    budgets: Iterable[float],
    file: Path,
    label: str = "bench",
    clock: str = "cpu",
    num_threads: int = 1,
    quiet: bool = False,
    executor: Executor | None = None,
) -> list[Record]:
    """Run what has no row in ``file`` yet, with progress, and return the rows of all.

    Raises :class:`~anneal.errors.InputError` before the first run where it cannot be written.
    """
    make_folder(file.parent)
    check_file(file)
    with progress_bar(label, quiet=quiet) as show:

        def tell(done: int, total: int, row: Record) -> None:
            spec, energy = row.task.spec, row.result.get("energy")
            found = "failed" if energy is None else show_energy(energy)
            name = f"{spec['instance']['name']} {spec['solver']} seed {spec['seed']}"
            show(done / total, f"{done}/{total} {name}: {found}")

        return run_bench(
            instances,
            solvers,
            seeds=seeds,
            budgets=budgets,
            records=RecordFile(file),
            clock=clock,
            num_threads=num_threads,
            progress=tell,
            executor=executor,
        )


def read_rows(paths: Iterable[Pathlike]) -> list[Record]:
    """Return the benchmark rows of files and folders, the last of each task.

    Raises :class:`~anneal.errors.InputError` where there is none.
    """
    files = [rows_file(path) for path in paths]
    rows = {row.task.id: row for file in files for row in RecordFile(file).read()}
    found = [row for row in rows.values() if row.task.job in ("bench", "rate")]
    if not found:
        raise InputError("no benchmark rows", path=files[0])
    return found


def as_text(
    tables: Sequence[Table], records: Iterable[Record], *, format: str, table: str | None = None
) -> str:
    """Return tables as Markdown (``md``), CSV (one of them, the first by default) or JSON.

    Raises :class:`~anneal.errors.InputError` where ``table`` names none of them.
    """
    names = [each.name for each in tables]
    if table is not None and table not in names:
        raise InputError(f"no table '{table}' here; there is {', '.join(names)}")
    chosen = [each for each in tables if table in (None, each.name)]
    if format == "csv":
        return to_csv(chosen[0])
    return to_json(chosen, records=records) if format == "json" else to_markdown(chosen)


def draw(records: Sequence[Record], folder: Path) -> list[str]:
    """Draw the pictures of rows into ``folder``; return the files' names."""
    make_folder(folder)
    for name, picture in PICTURES.items():
        write_bytes(folder / f"{name}.png", picture(records))
    return [f"{name}.png" for name in PICTURES]


def write_report(
    records: Sequence[Record], folder: Path, *, title: str, against: str | None, command: str
) -> None:
    """Write ``report.md`` with every table and picture of a benchmark, and the command it is of."""
    parts = [f"# {title}\n", f"```sh\n{command}\n```\n", _environment(records)]
    parts.append(to_markdown(report(records, against=against)))
    if any("energy" in row.result for row in records):
        parts += [f"![{name[:-4]}]({name})\n" for name in draw(records, folder)]
    write_text(folder / "report.md", "\n".join(parts))


def _environment(records: Iterable[Record]) -> str:
    machines = dict.fromkeys(
        f"{row.machine['cpu']}, {row.machine['cores']} cores, {row.machine['system']}; "
        + ", ".join(f"{name} {version}" for name, version in row.versions.items())
        for row in records
    )
    return "".join(f"{line}\n" for line in machines)
