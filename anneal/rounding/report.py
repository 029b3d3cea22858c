"""What became of the layers of a network: a table, and pictures as PNG or SVG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from anneal.errors import InputError
from anneal.plots import COLOURS, ImageFormat, blank_figure, image_bytes, style_axes
from anneal.rounding.graphs import Traced
from anneal.rounding.inputs import weight_rows
from anneal.rounding.layers import RoundedLayer
from anneal.tables import Column, Row, Table, column, show_number

NUM_BINS = 20
_BLUE, _RED = COLOURS[:2]
_GREY = "#666666"


class RoundedUp(NamedTuple):
    """Which weights of a network went to the upper of the two levels around them.

    rows: how many outputs have each share of weights rounded up, in bins from 0 to 1. weights, up:
    how many weights have each fraction between the levels, and how many of those were rounded up.
    """

    rows: list[int]
    weights: list[int]
    up: list[int]


def rounded_up(traced: Traced, layers: Mapping[str, RoundedLayer]) -> RoundedUp:
    """Return which weights of a network, as it was before, were rounded up.

    Weights on a level or beyond the ends of the grid have no choice, and do not count.
    """
    rows, weights, up = (np.zeros(NUM_BINS, np.int64) for _ in range(3))
    for name, layer in layers.items():
        places = layer.grid.levels(weight_rows(traced.layer(name)))
        floor = np.floor(places)
        free = (places > layer.grid.lowest) & (places < layer.grid.highest) & (places > floor)
        raised = free & (layer.levels > floor)
        counts = free.sum(1)
        shares = raised.sum(1)[counts > 0] / counts[counts > 0]
        rows += np.histogram(shares, NUM_BINS, (0, 1))[0]
        weights += np.histogram((places - floor)[free], NUM_BINS, (0, 1))[0]
        up += np.histogram((places - floor)[raised], NUM_BINS, (0, 1))[0]
    return RoundedUp(rows.tolist(), weights.tolist(), up.tolist())


def layer_table(rows: Sequence[Row]) -> Table:
    """Return the table of the layers, without columns that none of them fills.

    Costs and bounds are in units of what the nearest levels cost.

    rows: as of :func:`anneal.rounding.runs.layer_rows`.
    """
    known = {key for row in rows for key, value in row.items() if value is not None}
    columns = [shown for needed, shown in _COLUMNS if needed <= known]
    return Table("layers", columns, rows)


def gap(row: Row) -> float | None:
    """Return by which share of the bound a layer's cost may be above the least there is.

    None without a bound, and where the bound is 0 and the cost is not.

    >>> gap({"cost": 1.2, "bound": 1.0})
    0.19999999999999996
    """
    cost, bound = row["cost"], row["bound"]
    if bound is None or (bound <= 0 < cost):
        return None
    return max(float(cost / bound) - 1, 0.0) if bound > 0 else 0.0


def cost_picture(rows: Sequence[Row], *, image: ImageFormat = "png") -> bytes:
    """Draw each layer's cost as a share of that of the nearest levels, and the bound below it.

    The axis is logarithmic. Raises :class:`~anneal.errors.InputError` where no layer has costs.
    """
    shown = [row for row in rows if row["cost"] is not None and row["nearest"]]
    if not shown:
        raise InputError("no layer has a cost to draw")
    ratios = [row["cost"] / row["nearest"] for row in shown]
    bounds = [row["bound"] / row["nearest"] for row in shown if row["bound"] is not None]
    least = min([number for number in (*ratios, *bounds) if number > 0], default=1.0)
    floor = max(0.8 * least, 1e-4)
    figure = blank_figure(7.5, 1.2 + 0.17 * len(shown))
    axes = figure.add_subplot()
    style_axes(axes)
    for place, (row, ratio) in enumerate(zip(shown, ratios, strict=True)):
        if row["bound"] is not None:
            bound = max(row["bound"] / row["nearest"], floor)
            axes.plot([bound, max(ratio, floor)], [place] * 2, color=_BLUE, lw=1.2, alpha=0.6)
            axes.plot(bound, place, "|", ms=7, color=_BLUE)
        axes.plot(max(ratio, floor), place, "o", ms=4.5, color=_BLUE)
    axes.axvline(1.0, color=_GREY, lw=1, ls="--")
    axes.set_xscale("log")
    axes.set_xlim(floor, max(1.3, 1.1 * max(ratios)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(shown)), [row["layer"] for row in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("cost, nearest = 1")
    return image_bytes(figure, image)


def up_picture(found: RoundedUp, *, image: ImageFormat = "png") -> bytes:
    """Draw how many outputs round which share of their weights up, and how likely a fraction is.

    Raises :class:`~anneal.errors.InputError` where no weight had a choice.
    """
    rows, weights, up = (np.asarray(part) for part in found)
    if not weights.sum():
        raise InputError("no weight had a choice")
    figure = blank_figure(8.0, 3.2)
    left, right = figure.subplots(1, 2)
    middles = 100 * (np.arange(NUM_BINS) + 0.5) / NUM_BINS
    left.bar(middles, rows, width=100 / NUM_BINS, color=_BLUE, edgecolor="white")
    left.set_xlabel("share of an output's weights rounded up, in %")
    left.set_ylabel("outputs")
    left.yaxis.set_major_formatter("{x:,.0f}")
    fractions, some = middles / 100, weights > 0
    right.step(
        [0, 0.5, 1], [0, 100, 100], where="post", color=_GREY, lw=1, ls="--", label="nearest"
    )
    right.plot(fractions[some], 100 * up[some] / weights[some], "o-", ms=4, color=_RED)
    right.lines[-1].set_label("here")
    right.set_xlabel("fraction of a weight between its two levels")
    right.set_ylabel("rounded up, in %")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    for axes in (left, right):
        style_axes(axes)
    return image_bytes(figure, image)


def _share(row: Row, key: str) -> str:
    """Return a cost in units of that of the nearest levels."""
    return show_number(row[key] / row["nearest"]) if row["nearest"] else "–"


def _gap(row: Row) -> str:
    found = gap(row)
    if found is None:
        return "–"
    return show_number(100 * found) if found > 1e-4 else "0.01"


# What a column needs of a row, and how it shows that.
_COLUMNS: list[tuple[set[str], Column]] = [
    (set(), column("layer")),
    (set(), column("rows")),
    (set(), column("fan_in", "fan-in")),
    ({"cost"}, Column("cost", lambda row: _share(row, "cost"))),
    ({"bound"}, Column("bound", lambda row: _share(row, "bound"))),
    ({"bound"}, Column("gap % at most", _gap)),
    (set(), column("ridge", "ridge", lambda value: f"{value:g}")),
    (set(), column("up", "rounded up %", lambda share: f"{100 * share:.1f}")),
    (set(), column("seconds", "s", lambda seconds: f"{seconds:.2f}")),
]
