"""What the command line prints: tables and JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anneal.errors import InfeasibleError, InputError
from anneal.files import Pathlike

if TYPE_CHECKING:
    from anneal.tables import Table as Rows

SCHEMA = 1
EXIT_CODES: list[tuple[type[BaseException], int]] = [
    (InputError, 2),
    (InfeasibleError, 3),
    (KeyboardInterrupt, 130),
    (Exception, 1),
]
# Where no terminal says how wide it is, a table's line is not worth breaking.
PIPED_WIDTH = 160


def exit_code(error: BaseException, *, debug: bool = False) -> int:
    """Print one line about ``error`` on stderr and return the exit code that it means.

    debug: print the traceback of anything but bad input as well.
    """
    code = next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    if debug and not isinstance(error, InputError):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return code
    text = " ".join(str(error).split()) or type(error).__name__
    if code == 1:
        hint = "" if debug else " (`qbnn --debug …` shows where)"
        text = f"{type(error).__name__}: {text}{hint}"
    say(f"error: {text}")
    return code


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def print_document(command: str, document: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout, a key a line, with ``schema`` and ``command`` first."""
    print(to_document(command, document), end="")


def to_document(command: str, document: Mapping[str, Any]) -> str:
    """Return what :func:`print_document` prints; infinities and NaN become null.

    >>> print(to_document("list", {"best": float("inf"), "formats": ["rudy"]}), end="")
    {
      "schema": 1,
      "command": "list",
      "best": null,
      "formats": ["rudy"]
    }
    """
    body = {"schema": SCHEMA, "command": command, **document}
    lines = (f"  {json.dumps(key)}: {_to_json(value)}" for key, value in body.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print a heading and a line for each fact that is known."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            grid.add_row(name.replace("_", " "), Text(_shown(value)))
    console = _stdout()
    console.print(Text(title, style="bold"))
    console.print(grid)


def print_table(rows: Rows, *, title: bool = True) -> None:
    """Print a table of :mod:`anneal.tables`."""
    heading = rows.name.replace("_", " ").capitalize() if title else None
    table = Table(title=heading, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place, column in enumerate(rows.columns):
        # The first column names the row.
        whole = place == 0
        table.add_column(Text(column.heading), header_style="dim", overflow="fold", no_wrap=whole)
    for row in rows.rows:
        table.add_row(*(Text(column.show(row)) for column in rows.columns))
    console = _stdout()
    console.print(table)
    console.print()


@contextlib.contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on stderr where that is a terminal; yield ``show(fraction, remark)``.

    It disappears at the end, and nothing is printed where it would not be seen.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda fraction, remark: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        # Without a total the bar only moves to and fro.
        task = bars.add_task(label, total=None, remark="")

        def show(fraction: float, remark: str) -> None:
            total = 1.0 if fraction > 0 else None
            bars.update(task, total=total, completed=fraction, remark=remark)

        yield show


def check_file(path: Pathlike | None) -> None:
    """Raise :class:`~anneal.errors.InputError` unless ``path`` can be written; leave nothing."""
    if path is None:
        return
    if Path(path).is_dir():
        raise InputError("cannot write: it is a folder", path=path)
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror or error}", path=path) from error


def make_folder(path: Pathlike) -> Path:
    """Create a folder to write to, and those above it, where they do not exist; return it."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror or error}", path=path) from error
    check_file(folder / "any")
    return folder


def _stdout() -> Console:
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console


def _shown(value: Any) -> str:
    from anneal.tables import show_energy

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return show_energy(value) if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return " … ".join(map(_shown, value))
    return str(value)


def _to_json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
