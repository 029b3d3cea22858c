"""When runs reach the best known energy, drawn for every instance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anneal.errors import InputError
from anneal.plots import GREY, ImageFormat, blank_figure, image_bytes, line_style, style_axes
from anneal.records import Record
from anneal.report import grouped, targets, times_to_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS, LEGEND_COLUMNS = 6, 3
ALL = "all instances"


def share_at_target(
    records: Iterable[Record], *, budget: float | None = None, image: ImageFormat = "png"
) -> bytes:
    """Draw for each solver the share of runs that have reached the best known energy, against time.

    A panel for all instances together, where there are several, then one for each. The best energy
    of all rows is meant where nobody knows a better one. budget: the seconds of the runs, by
    default the longest. Raises :class:`~anneal.errors.InputError` without rows.

    Aiex, Resende, Ribeiro (2007), TTT plots, Optim. Lett. 1.
    """
    groups = grouped(records)
    budget = max((key[1] for key in groups), default=0.0) if budget is None else budget
    known = targets(groups)
    times: dict[str, dict[str, list[float]]] = {}
    for (instance, seconds, solver), runs in groups.items():
        if seconds == budget:
            found = times_to_target(runs, known[instance][0])
            times.setdefault(instance, {})[solver] = found
    if not times:
        raise InputError(f"no rows at a budget of {budget:g} s to draw")
    solvers = list(dict.fromkeys(solver for panel in times.values() for solver in panel))
    return _draw(_with_all(times, solvers), solvers, image)


def _with_all(
    times: Mapping[str, Mapping[str, Sequence[float]]], solvers: Sequence[str]
) -> dict[str, Mapping[str, Sequence[float]]]:
    """The panels, before them one of all runs of those instances that every solver has rows of."""
    whole = [panel for panel in times.values() if len(panel) == len(solvers)]
    if len(times) < 2 or not whole:
        return dict(times)
    pooled = {solver: [t for panel in whole for t in panel[solver]] for solver in solvers}
    title = ALL if len(whole) == len(times) else f"{len(whole)} instances"
    return {title: pooled, **times}


def _draw(
    panels: Mapping[str, Mapping[str, Sequence[float]]], solvers: Sequence[str], image: ImageFormat
) -> bytes:
    figure, grid = _grid(len(panels), math.ceil(len(solvers) / LEGEND_COLUMNS))
    reached = [t for panel in panels.values() for found in panel.values() for t in found]
    finite = [t for t in reached if math.isfinite(t)] or [1.0]
    ends = max(min(finite) / 1.5, 1e-6), max(finite) * 1.1
    for axes, (title, panel) in zip(grid, panels.items(), strict=True):
        _panel(axes, panel, solvers, ends)
        axes.set_title(title, fontsize=9, pad=3)
    handles = [
        grid[0].plot([], [], **line_style(index, len(solvers)), label=solver)[0]
        for index, solver in enumerate(solvers)
    ]
    figure.legend(
        handles=handles, loc="upper left", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9
    )
    return image_bytes(figure, image)


def _grid(count: int, legend_lines: int) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row; sizes are in inches."""
    columns = min(MOST_COLUMNS, math.ceil(math.sqrt(count)))
    lines = math.ceil(count / columns)
    margin, (between, below) = (0.8, 0.6), (0.12, 0.45)
    wide = min(9.4 / columns, 5.2) - between
    high = 0.65 * wide
    width = margin[0] + columns * (wide + between)
    top = 0.35 + 0.22 * legend_lines
    height = margin[1] + lines * (high + below) - below + top
    figure = blank_figure(width, height)
    figure.set_layout_engine(None)
    panels: list[Axes] = []
    for index in range(count):
        line, column = divmod(index, columns)
        left, low = margin[0] + column * (wide + between), height - top - line * (high + below)
        box = left / width, (low - high) / height, wide / width, high / height
        axes = figure.add_axes(box)
        # Numbers where no panel is beneath, or to the left.
        axes.tick_params(labelbottom=index + columns >= count, labelleft=column == 0)
        panels.append(axes)
    middle = (margin[0] + columns * (wide + between) / 2) / width
    figure.text(middle, 0.12 / height, "time in s", ha="center", fontsize=10)
    words = "share of runs at the best known in %"
    centre = (height + margin[1] - top) / 2 / height
    figure.text(0.18 / width, centre, words, rotation=90, va="center", ha="center", fontsize=10)
    return figure, panels


def _panel(
    axes: Axes,
    panel: Mapping[str, Sequence[float]],
    solvers: Sequence[str],
    ends: tuple[float, float],
) -> None:
    style_axes(axes)
    left, right = ends
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    decades = 10.0 ** np.arange(math.ceil(math.log10(left)), math.floor(math.log10(right)) + 1)
    axes.set_xticks(decades, [f"{decade:g}" for decade in decades])
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 50, 100])
    axes.tick_params(labelsize=8)
    axes.minorticks_off()
    for solver, found in panel.items():
        index = solvers.index(solver)
        inside = np.sort([t for t in found if math.isfinite(t)])
        share = 100 * np.arange(len(inside) + 1) / len(found)
        steps = np.concatenate([[left], inside, [right]])
        style = line_style(index, len(solvers))
        axes.step(steps, np.append(share, share[-1]), where="post", **style)
    if not any(math.isfinite(t) for found in panel.values() for t in found):
        middle: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
        axes.annotate("not reached", (0.5, 0.5), color=GREY, fontsize=8, **middle)
