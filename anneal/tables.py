"""A table of plain values, printed as Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anneal.measure import Estimate
from anneal.records import Record

SCHEMA = 1
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column as Markdown shows it: its heading (with unit) and its text from a row."""

    heading: str
    show: Callable[[Row], str]


@dataclass(frozen=True)
class Table:
    """Rows of plain values, :class:`~anneal.measure.Estimate` where a value has an interval."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Row]


def column(key: str, heading: str | None = None, show: Callable[[Any], str] = str) -> Column:
    """Return the column that shows one value of a row.

    >>> column("gap", "gap %", show_percent).show({"gap": 0.001})
    '0.100'
    """
    return Column(heading or key, lambda row: show(row[key]))


def to_markdown(tables: Iterable[Table]) -> str:
    """Return the tables in GitHub's Markdown, columns aligned.

    >>> columns = [column("gap", "gap %", show_percent)]
    >>> print(to_markdown([Table("summary", columns, [{"gap": 0.001}])]))
    ## Summary
    <BLANKLINE>
    | gap % |
    | ----- |
    | 0.100 |
    <BLANKLINE>
    """
    parts = []
    for table in tables:
        cells = [[column.heading for column in table.columns]]
        for row in table.rows:
            shown = (column.show(row) for column in table.columns)
            cells.append([text.replace("|", "\\|") for text in shown])
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
        title = table.name.replace("_", " ")
        parts.append("\n".join([f"## {title[:1].upper()}{title[1:]}", "", *lines, ""]))
    return "\n".join(parts)


def to_csv(table: Table) -> str:
    """Return one table as CSV, its keys as the header, an estimate in three columns.

    Unknown values are empty; a time that was never reached is ``inf``.

    >>> rows = [{"tts": Estimate(2.0, 1.0, math.inf)}]
    >>> print(to_csv(Table("times", [column("tts")], rows)))
    tts,tts_low,tts_high
    2.0,1.0,inf
    <BLANKLINE>
    """
    rows = [_flat(row) for row in table.rows]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def to_json(tables: Iterable[Table], *, records: Iterable[Record] = ()) -> str:
    """Return the tables as JSON: ``schema``, ``tables`` by name, and what the rows were made with.

    An estimate becomes three keys. JSON has no infinity: a value that is unknown or never reached
    is null.
    """
    records = list(records)
    body = {
        "schema": SCHEMA,
        "tables": {table.name: [_finite(_flat(row)) for row in table.rows] for table in tables},
        "versions": _distinct(record.versions for record in records),
        "machines": _distinct(record.machine for record in records),
    }
    return json.dumps(body, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def show_number(value: float) -> str:
    """Return three figures, without an exponent between 10⁻⁴ and 10⁶.

    >>> [show_number(value) for value in (0.0, 0.01234, 12.34, 123456.7, math.inf)]
    ['0', '0.0123', '12.3', '123457', '∞']
    """
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 < size < 7:
        return f"{value:.{2}e}"
    return f"{value:.{max(0, 2 - size)}f}"


def show_energy(value: float) -> str:
    """Return an energy in full where it is whole.

    >>> show_energy(-13359.0), show_energy(-1 / 3)
    ('-13359', '-0.33333333')
    """
    return f"{value:.0f}" if value == int(value) else f"{value:.8g}"


def show_percent(value: float) -> str:
    """Return a share as percent, the sign left to the heading.

    >>> show_percent(0.00125)
    '0.125'
    """
    return show_number(100 * value)


def with_interval(show: Callable[[float], str]) -> Callable[[Estimate], str]:
    """Return a way to write an estimate with its interval.

    >>> with_interval(show_percent)(Estimate(0.001, 0.0, 0.002))
    '0.100 [0, 0.200]'
    """
    return lambda found: f"{show(found.value)} [{show(found.low)}, {show(found.high)}]"


def _flat(row: Mapping[str, Any]) -> Row:
    flat: Row = {}
    for key, value in row.items():
        if isinstance(value, Estimate):
            flat |= {key: value.value, f"{key}_low": value.low, f"{key}_high": value.high}
        else:
            flat[key] = value
    return flat


def _finite(row: Row) -> Row:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _distinct(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({json.dumps(item, sort_keys=True): item for item in items}.values())
