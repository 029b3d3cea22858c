"""Pages that are made from rows: title, how to read it, the command, tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anneal.errors import InputError
from anneal.files import write_text
from anneal.records import Record, RecordFile
from anneal.tables import Table, to_markdown


def rows_of(path: Path, job: str) -> list[Record]:
    """Return the rows of a job in a file.

    Raises :class:`~anneal.errors.InputError` where there are none.
    """
    rows = [row for row in RecordFile(path).read() if row.task.job == job]
    if not rows:
        raise InputError(f"holds no rows of {job}", path=path)
    return rows


def write_rows_page(
    path: Path, title: str, *, reading: str, command: str, tables: Iterable[Table]
) -> None:
    """Write a page of tables, and the command that makes their rows."""
    text = f"# {title}\n\n{reading}\n\nThe command: `{command}`\n\n"
    write_text(path, text + to_markdown(tables))
