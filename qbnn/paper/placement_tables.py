"""The tables of the page on placement, from its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from anneal.tables import Column, Row, Table, column
from qbnn.paper.placement_goals import Rows, gap, grouped

METHODS = {
    "ours": "ours",
    "even": "ours, as even as Coloquinte",
    "coloquinte": "Coloquinte",
    "packed": "Coloquinte, packed",
    "dragon": "Dragon 3.01",
}


def tables(rows: Rows) -> Iterator[Table]:
    """Yield the tables of the parts of which there are rows."""
    for name, make in _TABLES.items():
        members = [row for row in rows if row["part"] == name]
        if members:
            yield from make(members)


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.3f}"


def _tenths(share: float) -> str:
    return f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def _length(value: float) -> str:
    return f"{value:,.0f}"


def _times(runs: Rows) -> Row:
    return {key: median(run[key] for run in runs) for key in ("seconds", "cpu_seconds")}


TIMES = [column("seconds", "seconds", _seconds), column("cpu_seconds", "CPU s", _seconds)]


def _lines(rows: Rows, keys: Sequence[str], facts: Any) -> list[Row]:
    """Return a line for each group of rows: its keys, its number, times, and ``facts(runs)``."""
    return [
        {**dict(zip(keys, key, strict=True)), "runs": len(runs), **_times(runs), **facts(runs)}
        for key, runs in grouped(rows, *keys).items()
    ]


def _assignment(rows: Rows) -> Iterator[Table]:
    alone = [row for row in rows if row["method"] == "memetic"]
    if alone:
        yield Table("assignment", _ASSIGNMENT, _lines(alone, ("instance", "time_limit"), _gaps))
    beside = [row for row in rows if row["method"] == "faq"]
    if beside:
        lines = _lines(beside, ("instance",), _against_faq)
        yield Table("assignment beside FAQ, in equal time", _AGAINST_FAQ, lines)


def _gaps(runs: Rows) -> Row:
    gaps = [gap(run) for run in runs]
    reached = f"{sum(run['reached'] for run in runs)}/{len(runs)}"
    return {
        "best_known": runs[0]["best_known"], "best": min(gaps), "mean": sum(gaps) / len(gaps),
        "worst": max(gaps), "reached": reached,
    }  # fmt: skip


def _against_faq(runs: Rows) -> Row:
    theirs = [run["faq_cost"] / run["best_known"] - 1 for run in runs]
    return {
        **_gaps(runs),
        "faq_mean": sum(theirs) / len(theirs),
        "faq_seconds": median(run["faq_seconds"] for run in runs),
        "faq_cpu_seconds": median(run["faq_cpu_seconds"] for run in runs),
        "worse": sum(run["cost"] > run["faq_cost"] for run in runs),
    }


_ASSIGNMENT = [
    column("instance"),
    column("best_known", "best known", _length),
    column("time_limit", "limit s", _number),
    column("reached"),
    column("best", "best gap %", _share),
    column("mean", "mean gap %", _share),
    column("worst", "worst gap %", _share),
    *TIMES,
]
_AGAINST_FAQ = [
    column("instance"),
    column("runs"),
    column("faq_mean", "FAQ mean gap %", _share),
    column("mean", "our mean gap %", _share),
    column("worse", "runs worse"),
    column("faq_seconds", "FAQ seconds", _seconds),
    column("faq_cpu_seconds", "FAQ CPU s", _seconds),
    column("seconds", "our seconds", _seconds),
    column("cpu_seconds", "our CPU s", _seconds),
]


def _partition(rows: Rows) -> Iterator[Table]:
    yield Table("partition", _PARTITION, _lines(rows, ("instance", "method", "tolerance"), _cuts))


def _cuts(runs: Rows) -> Row:
    cuts = [run["cut"] for run in runs]
    worst = max(run["imbalance"] for run in runs)
    return {"median": median(cuts), "least": min(cuts), "most": max(cuts), "imbalance": worst}


_PARTITION = [
    column("instance"),
    column("method"),
    column("runs"),
    column("tolerance", "tolerance %", lambda share: f"{100 * share:g}"),
    column("median", "median cut", _number),
    column("least", "least", _number),
    column("most", "most", _number),
    column("imbalance", "worst imbalance %", _share),
    *TIMES,
]


def _netlist(rows: Rows) -> Iterator[Table]:
    keys = ("instance", "method", "density", "time_limit")
    yield Table("netlist", _NETLIST, _lines(rows, keys, _lengths))


def _lengths(runs: Rows) -> Row:
    lengths = [run["hpwl"] for run in runs]
    most = {key: max(run[key] for run in runs) for key in ("overlaps", "off_site", "fullest")}
    return {"median": median(lengths), "least": min(lengths), **most,
            "legal": f"{sum(run['legal'] for run in runs)}/{len(runs)}"}  # fmt: skip


def _method(heading: str) -> Column:
    return column("method", heading, lambda name: METHODS.get(name, name))


_JUDGED = [
    column("legal"),
    column("overlaps"),
    column("off_site", "off sites", _length),
    column("fullest", "fullest %", _tenths),
]
_NETLIST = [
    column("instance"),
    _method("placed by"),
    column("density", show=_number),
    column("time_limit", "limit s", _number),
    column("runs"),
    column("median", "median wirelength", _length),
    column("least", "least", _length),
    *_JUDGED,
    *TIMES,
]


def _refine(rows: Rows) -> Iterator[Table]:
    lines = _lines(rows, ("instance", "method", "time_limit"), _shortened)
    yield Table("refine", _REFINE, lines)


def _shortened(runs: Rows) -> Row:
    shorter = [1 - run["hpwl"] / run["given"] for run in runs]
    same = {key: runs[0][key] for key in ("given", "before", "given_off_site", "given_fullest")}
    return {**same, **_lengths(runs), "shorter": median(shorter), "least_shorter": min(shorter)}


_REFINE = [
    column("instance"),
    _method("given by"),
    column("time_limit", "limit s", _number),
    column("runs"),
    column("given", "given", _length),
    column("given_off_site", "off sites", _length),
    column("given_fullest", "fullest %", _tenths),
    column("before", "before", _length),
    column("median", "after, median", _length),
    column("shorter", "shorter %", _share),
    column("least_shorter", "least %", _share),
    *_JUDGED,
    *TIMES,
]


def _floorplan(rows: Rows) -> Iterator[Table]:
    lines = _lines(rows, ("instance", "num_blocks", "time_limit"), _spaces)
    yield Table("floorplan", _FLOORPLAN, lines)


def _spaces(runs: Rows) -> Row:
    dead = [run["dead_space"] for run in runs]
    return {
        "best": min(dead), "median": median(dead), "worst": max(dead),
        "area": min(run["area"] for run in runs),
        "legal": f"{sum(run['legal'] for run in runs)}/{len(runs)}",
    }  # fmt: skip


_FLOORPLAN = [
    column("instance"),
    column("num_blocks", "blocks"),
    column("time_limit", "limit s", _number),
    column("runs"),
    column("best", "best dead space %", _share),
    column("median", "median %", _share),
    column("worst", "worst %", _share),
    column("area", "least area", _length),
    column("legal"),
    *TIMES,
]


def _large(rows: Rows) -> Iterator[Table]:
    yield Table("large", _LARGE, [dict(row) for row in rows])


def _legal(row: Mapping[str, Any]) -> str:
    wrong = row["off_site"] + row["overlaps"]
    return "yes" if row["legal"] and not wrong else "no"


_LARGE = [
    column("num_placed", "cells", _length),
    column("seed"),
    column("hpwl", "wirelength", _length),
    column("best_known", "shortest", _length),
    Column("over it %", lambda row: f"{100 * (row['hpwl'] / row['best_known'] - 1):.1f}"),
    Column("legal, on sites", _legal),
    column("peak_bytes", "memory GB", lambda size: f"{size / 1e9:.2f}"),
    *TIMES,
]

_TABLES = {
    "assignment": _assignment,
    "partition": _partition,
    "netlist": _netlist,
    "refine": _refine,
    "floorplan": _floorplan,
    "large": _large,
}
