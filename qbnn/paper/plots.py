"""Pictures of the comparison: how the rows learned, and what they reach with how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anneal.errors import InputError
from anneal.plots import COLOURS, ImageFormat, blank_figure, image_bytes, style_axes
from qbnn.paper.networks import DEFORMED, ROWS
from qbnn.paper.tables import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY, _BLACK = COLOURS
_GREY = "#888888"
# One colour for the deformed row and its kin, black for PBNet, grey for the other rungs.
_LOOKS: dict[str, tuple[str, str, str]] = {
    "none": (_BLACK, "-", "o"),
    "none-matched": (_BLACK, "--", "s"),
    "h-local": (_PINK, "-", "v"),
    "entangling": (_GREEN, "-", "^"),
    DEFORMED: (_BLUE, "-", "D"),
    "real4-layer": (_BLUE, "--", "P"),
    "su4": (_RED, "-", "*"),
    "real4-frozen": (_BLUE, ":", "X"),
    "free": (_ORANGE, "--", "h"),
    "sign": (_GREY, "-", "<"),
    "float": (_GREY, "--", ">"),
}


def learning_curves(made: Sequence[Comparison], *, image: ImageFormat = "png") -> bytes:
    """Draw the validation accuracy after each epoch, the mean over seeds, a panel a comparison.

    Rows far below the others are cut off. Raises :class:`~anneal.errors.InputError` without a row.
    """
    figure, grid = _panels(made)
    for axes, one in zip(grid, made, strict=True):
        ends = []
        for row in _drawn(one):
            colour, line, marker = _LOOKS[row]
            curve = [100 * value for value in one.curve(row)]
            ends += curve[1:] or curve
            look: dict[str, Any] = {"color": colour, "ls": line, "lw": 1.4}
            axes.plot(range(1, len(curve) + 1), curve, marker=marker, ms=3.5, label=row, **look)
        _focus(axes, ends)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation accuracy in %")
        axes.locator_params(axis="x", integer=True)
    _legend(figure, grid)
    return image_bytes(figure, image)


def accuracy_against_parameters(made: Sequence[Comparison], *, image: ImageFormat = "png") -> bytes:
    """Draw the test accuracy with its interval over the number of trained parameters."""
    figure, grid = _panels(made)
    for axes, one in zip(grid, made, strict=True):
        values = []
        for row, size in _spread(one).items():
            colour, _, marker = _LOOKS[row]
            found = one.accuracy(row)
            assert found is not None
            middle, low, high = (100 * value for value in found)
            if len(one.values(row)) > 1:
                axes.plot([size, size], [low, high], color=colour, lw=1.5)
            axes.plot(size, middle, marker, ms=6, color=colour, label=row, ls="none")
            values.append(middle)
        _log_axis(axes)
        _focus(axes, values)
        axes.set_xlabel("trained parameters")
        axes.set_ylabel("test accuracy in %")
    _legend(figure, grid)
    return image_bytes(figure, image)


def _drawn(one: Comparison) -> list[str]:
    return [row for row in ROWS if one.values(row)]


def _spread(one: Comparison) -> dict[str, float]:
    """Return the number of parameters of each row, equal ones a little apart so that all show."""
    sizes = {row: float(one.num_parameters(row) or 1) for row in _drawn(one)}
    placed: dict[str, float] = {}
    for row, size in sizes.items():
        alike = [other for other in sizes if abs(math.log(sizes[other] / size)) < 0.01]
        placed[row] = size * 1.04 ** (alike.index(row) - (len(alike) - 1) / 2)
    return placed


def _log_axis(axes: Axes) -> None:
    """Label a logarithmic axis with plain numbers, few enough to stand beside each other."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _panels(made: Sequence[Comparison]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each comparison, two in a line."""
    if not made:
        raise InputError("no row to draw")
    lines = (len(made) + 1) // 2
    figure = blank_figure(9.0 if len(made) > 1 else 5.0, 0.7 + 3.1 * lines)
    grid = list(figure.subplots(lines, min(len(made), 2), squeeze=False).flat)
    for axes in grid[len(made) :]:
        axes.remove()
    grid = grid[: len(made)]
    for axes, one in zip(grid, made, strict=True):
        style_axes(axes)
        axes.set_title(one.title, fontsize=10, loc="left")
    return figure, grid


def _focus(axes: Axes, values: Sequence[float]) -> None:
    """Show the upper part: what lies far below the median, like gates not trained, is cut off."""
    ordered = sorted(values)
    best, middle = ordered[-1], ordered[len(ordered) // 2]
    reach = max(2 * (best - middle), 4.0)
    lowest = min(value for value in ordered if value >= middle - reach)
    room = 0.06 * max(best - lowest, 0.2)
    axes.set_ylim(lowest - room, best + room)


def _legend(figure: Figure, grid: Sequence[Axes]) -> None:
    found: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    ordered = [row for row in ROWS if row in found]
    figure.legend(
        [found[row] for row in ordered],
        ordered,
        loc="outside upper left",
        ncols=6 if len(grid) > 1 else 3,
        frameon=False,
        fontsize=9,
    )
