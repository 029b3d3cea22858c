"""What the rows of the comparison say: means over seeds, paired differences, and verdicts.

Everything is computed from rows of records. Intervals are Student's, of 95 %, over seeds; a
difference is taken seed by seed, so that what a seed decides for both rows drops out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from anneal.measure import Estimate
from anneal.records import Record
from anneal.tables import Column, Row, Table, column
from qbnn.paper.grid import SWEEP, TABLE
from qbnn.paper.networks import ARCHITECTURES, DEFORMED, MATCHED, ROWS, SAME_WIDTH

NOT_RUN = "not run"
# Fields of a task that are equal in all cells of one comparison.
_COMMON = ("dataset", "name", "num_train", "epochs", "batch_size", "schedule")


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Return the mean with Student's interval; of one value the interval is infinite.

    mean ± t(n − 1) s/√n, s the standard deviation with n − 1.

    >>> [round(x, 2) for x in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, -math.inf, math.inf)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Estimate(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Comparison:
    """The rows of one data set and architecture that were trained alike, by row and seed."""

    common: Mapping[str, Any]
    learning_rate: float | None
    found: Mapping[str, Mapping[int, Record]]
    failed: Mapping[str, int]

    @cached_property
    def title(self) -> str:
        """The data set and the letter of the architecture."""
        return f"{self.common['dataset']}, architecture {self.common['name']}"

    def values(self, row: str, key: str = "test_accuracy") -> dict[int, Any]:
        """Return a result of a row by seed."""
        runs = self.found.get(row, {})
        return {seed: record.result[key] for seed, record in sorted(runs.items())}

    def accuracy(self, row: str) -> Estimate | None:
        """Return the test accuracy; None where the row was not run."""
        values = self.values(row)
        return t_interval(list(values.values())) if values else None

    def difference(self, row: str, other: str) -> Estimate | None:
        """Return by how much the test accuracy of a row is higher, over the seeds of both."""
        mine, theirs = self.values(row), self.values(other)
        gains = [mine[seed] - theirs[seed] for seed in mine if seed in theirs]
        return t_interval(gains) if gains else None

    def curve(self, row: str) -> list[float]:
        """Return the validation accuracy of each epoch, the mean over seeds."""
        curves = list(self.values(row, "validation_accuracy").values())
        return np.mean(curves, axis=0).tolist() if curves else []

    def late_rise(self, row: str) -> float | None:
        """Return by how much the validation accuracy rose in the last two epochs."""
        curve = self.curve(row)
        return curve[-1] - curve[-3] if len(curve) > 2 else None

    def num_parameters(self, row: str) -> int | None:
        """Return the number of trained numbers; None where the row was not run."""
        return next(iter(self.values(row, "num_parameters").values()), None)

    def stages(self, row: str) -> str | None:
        """Return the architecture's text, which is another one for a wider network."""
        runs = self.found.get(row, {})
        return next((str(run.task.spec["architecture"]) for run in runs.values()), None)


def comparisons(records: Iterable[Record]) -> list[Comparison]:
    """Return the comparisons that rows belong to, in the order of the architectures."""
    rows = [record for record in records if record.task.job == TABLE]
    groups: dict[tuple[Any, ...], dict[str, list[Record]]] = {}
    for record in rows:
        spec = record.task.spec
        if not _has_own_rate(spec):
            key = (*(spec[name] for name in _COMMON), spec["learning_rate"])
            groups.setdefault(key, {}).setdefault(spec["row"], []).append(record)
    for record in rows:
        spec = record.task.spec
        if _has_own_rate(spec):
            common = tuple(spec[name] for name in _COMMON)
            for key in [key for key in groups if key[:-1] == common] or [(*common, None)]:
                groups.setdefault(key, {}).setdefault(spec["row"], []).append(record)
    found = [_comparison(key, group) for key, group in groups.items()]
    return sorted(found, key=lambda made: (made.common["name"], made.common["dataset"] != "mnist"))


def _has_own_rate(spec: Mapping[str, Any]) -> bool:
    return spec["row"] in ROWS and ROWS[spec["row"]].learning_rate is not None


def _comparison(key: tuple[Any, ...], group: Mapping[str, list[Record]]) -> Comparison:
    found: dict[str, dict[int, Record]] = {}
    failed: dict[str, int] = {}
    for row, records in group.items():
        for record in records:
            if "error" in record.result:
                failed[row] = failed.get(row, 0) + 1
            else:
                found.setdefault(row, {})[record.task.spec["seed"]] = record
    return Comparison(dict(zip(_COMMON, key, strict=False)), key[-1], found, failed)


def results(made: Comparison) -> Table:
    """Return a line for every row of the comparison, also for those that were not run."""
    names = [*ROWS, *(row for row in made.found if row not in ROWS)]
    plan, rows = ARCHITECTURES.get(made.common["name"]), []
    for name in names:
        seconds = list(made.values(name, "cpu_seconds").values())
        losses = list(made.values(name, "test_cross_entropy").values())
        line: Row = {
            "row": name,
            "num_parameters": made.num_parameters(name),
            "num_seeds": len(made.values(name)),
            "num_failed": made.failed.get(name, 0),
            "num_planned": plan.num_seeds if plan and name in plan.rows else 0,
            "accuracy": made.accuracy(name),
            "cross_entropy": float(np.mean(losses)) if losses else None,
        }
        for control in (SAME_WIDTH, MATCHED):
            gain = made.difference(name, control) if name != control else None
            line |= {f"over_{control}": gain, f"verdict_{control}": verdict(gain)}
        line["late_rise"] = made.late_rise(name)
        line["cpu_seconds"] = float(np.mean(seconds)) if seconds else None
        rows.append(line)
    return Table(made.title, _RESULTS, rows)


def verdict(gain: Estimate | None) -> str | None:
    """Return what a difference with its interval says.

    >>> verdict(Estimate(0.02, 0.01, 0.03)), verdict(Estimate(0.02, -0.01, 0.05))
    ('better, outside the interval', 'within the interval')
    """
    if gain is None:
        return None
    if math.isinf(gain.low):
        return "one seed"
    if gain.low > 0:
        return "better, outside the interval"
    if gain.high < 0:
        return "worse, outside the interval"
    return "within the interval"


def finding(made: Comparison) -> str:
    """Return in words whether the deformed row is ahead, and what the controls took back."""
    gain, matched = made.difference(DEFORMED, SAME_WIDTH), made.difference(DEFORMED, MATCHED)
    if gain is None:
        return f"Not run: {DEFORMED} beside PBNet of the same width."
    words = {
        "better, outside the interval": f"{DEFORMED} beats PBNet of the same width",
        "worse, outside the interval": f"{DEFORMED} loses to PBNet of the same width",
    }
    said = words.get(str(verdict(gain)), f"{DEFORMED} does not beat PBNet of the same width")
    parts = [f"{said}: {show_gain(gain)} points ({verdict(gain)})."]
    if matched is None:
        parts.append("PBNet with as many parameters was not run.")
    elif matched.low > 0:
        parts.append(
            f"PBNet with as many parameters does not take that back: {DEFORMED} is ahead of it by "
            f"{show_gain(matched)}."
        )
    elif matched.high < 0:
        parts.append(
            f"PBNet with as many parameters is ahead of {DEFORMED}, whose difference to it is "
            f"{show_gain(matched)}: the wider network takes back the whole gain."
            if gain.low > 0
            else f"PBNet with as many parameters is ahead of it, too: {show_gain(matched)}."
        )
    else:
        parts.append(
            f"PBNet with as many parameters does as well: the difference of {DEFORMED} to it is "
            f"{show_gain(matched)}, {verdict(matched)}."
        )
    for row, words_of in _OTHERS.items():
        name, control = (DEFORMED, row) if row == "free" else (row, SAME_WIDTH)
        other = made.difference(name, control)
        shown = NOT_RUN if other is None else f"{show_gain(other)}, {verdict(other)}"
        parts.append(f"{words_of}: {shown}.")
    return " ".join(parts)


_OTHERS = {
    "free": f"{DEFORMED} over the classical control with free α, β, γ",
    "real4-layer": "One gate for a whole layer, over PBNet of the same width",
    "real4-frozen": "A random gate that is not trained, over the same",
}


def sweep(records: Iterable[Record]) -> Table | None:
    """Return the best validation accuracy for each learning rate; None without rows of a sweep."""
    rows: dict[tuple[Any, ...], Row] = {}
    rates: set[float] = set()
    for record in records:
        spec = record.task.spec
        if record.task.job != SWEEP:
            continue
        key = tuple(spec[name] for name in ("dataset", "name", "row", "epochs"))
        line = rows.setdefault(
            key, dict(zip(("dataset", "name", "row", "epochs"), key, strict=True))
        )
        rate = float(spec["learning_rate"])
        curve = record.result.get("validation_accuracy")
        line[f"rate_{rate:g}"] = max(curve) if curve else math.nan
        rates.add(rate)
    if not rows:
        return None
    columns = [
        column("dataset", "data set"),
        column("name", "architecture"),
        column("row"),
        column("epochs"),
    ]
    columns += [_rate_column(rate) for rate in sorted(rates)]
    return Table("sweep", columns, [rows[key] for key in sorted(rows)])


def best_rates(line: Row) -> set[float]:
    """Return the rates of a line of :func:`sweep` with the highest accuracy.

    >>> best_rates({"row": "none", "rate_0.1": 0.9, "rate_0.3": 0.8})
    {0.1}
    """
    found = {name: value for name, value in line.items() if name.startswith("rate_")}
    top = max((value for value in found.values() if not math.isnan(value)), default=None)
    return {float(name.removeprefix("rate_")) for name, value in found.items() if value == top}


def _rate_column(rate: float) -> Column:
    key = f"rate_{rate:g}"

    def show(row: Row) -> str:
        if key not in row:
            return NOT_RUN
        if math.isnan(row[key]):
            return "not finite"
        text = f"{100 * row[key]:.2f}"
        return f"**{text}**" if rate in best_rates(row) else text

    return Column(f"{rate:g}", show)


def show_accuracy(found: Estimate | None) -> str:
    """Return a share in percent with half its interval.

    >>> show_accuracy(Estimate(0.9231, 0.9219, 0.9243)), show_accuracy(None)
    ('92.31 ± 0.12', 'not run')
    """
    if found is None:
        return NOT_RUN
    if math.isinf(found.low):
        return f"{100 * found.value:.2f} (one seed)"
    return f"{100 * found.value:.2f} ± {100 * (found.high - found.value):.2f}"


def show_gain(found: Estimate | None) -> str:
    """Return a difference of shares in points, with its sign; a dash where there is none.

    >>> show_gain(Estimate(-0.01, -0.012, -0.008)), show_gain(None)
    ('−1.00 ± 0.20', '–')
    """
    if found is None:
        return "–"
    sign = "−" if found.value < 0 else "+"
    rest = show_accuracy(Estimate(abs(found.value), found.low, abs(found.value) + _half(found)))
    return sign + rest


def _half(found: Estimate) -> float:
    return found.high - found.value


def _show_seeds(row: Row) -> str:
    planned = f" of {row['num_planned']}" if row["num_seeds"] < row["num_planned"] else ""
    failed = f", {row['num_failed']} not finite" if row["num_failed"] else ""
    return f"{row['num_seeds']}{planned}{failed}"


def _or_dash(pattern: str, factor: float = 1.0) -> Any:
    return lambda value: "–" if value is None else pattern.format(factor * value).replace("-", "−")


_RESULTS = [
    column("row"),
    column("num_parameters", "parameters", _or_dash("{:,.0f}")),
    Column("seeds", _show_seeds),
    column("accuracy", "test accuracy %", show_accuracy),
    column("cross_entropy", "cross entropy", _or_dash("{:.4f}")),
    column(f"over_{SAME_WIDTH}", "over PBNet of the same width", show_gain),
    column(f"verdict_{SAME_WIDTH}", "verdict", lambda value: value or "–"),
    column(f"over_{MATCHED}", f"over PBNet with as many parameters as {DEFORMED}", show_gain),
    column(f"verdict_{MATCHED}", "verdict", lambda value: value or "–"),
    column("late_rise", "rise in the last 2 epochs", _or_dash("{:+.2f}", 100)),
    column("cpu_seconds", "CPU s", _or_dash("{:.0f}")),
]


def missing(made: Sequence[Comparison], datasets: Sequence[str]) -> list[str]:
    """Return the data sets and architectures of the whole grid without a row."""
    there = {(one.common["dataset"], one.common["name"]) for one in made}
    return [
        f"{dataset}, architecture {name}"
        for name in ARCHITECTURES
        for dataset in datasets
        if (dataset, name) not in there
    ]
