"""Pictures as PNG or SVG bytes; :func:`anneal.files.write_bytes` puts them into a file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from anneal.errors import InputError
from anneal.measure import gap, profile
from anneal.records import Record
from anneal.report import grouped, summarise, targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ImageFormat = Literal["png", "svg"]
Trace: TypeAlias = Sequence[Sequence[float]]

# Okabe and Ito (2008): told apart by every kind of colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = "osD^vP*X"  # one more than colours, so that the pairs differ
GREY = "#666666"


def energy_against_time(
    traces: Mapping[str, Trace],
    *,
    best_known: float | None = None,
    seconds: float | None = None,
    image: ImageFormat = "png",
) -> bytes:
    """Draw the best energy so far against time, a step line for each labelled trace.

    traces: label → improvements as ``(seconds, energy)``; ``seconds`` is where the lines end (by
    default the last improvement of all). Raises :class:`~anneal.errors.InputError` where no trace
    has a point.
    """
    shown = {label: np.asarray(trace, float) for label, trace in traces.items() if len(trace)}
    if not shown:
        raise InputError("no trace has a point to draw")
    figure, axes = _canvas(7.0, 4.2)
    end = max(float(points[-1, 0]) for points in shown.values())
    end = max(end * 1.05, 1e-3) if seconds is None else max(end, seconds)
    for index, (label, points) in enumerate(shown.items()):
        steps = np.vstack([points, [end, points[-1, 1]]])
        axes.step(steps[:, 0], steps[:, 1], where="post", color=_colour(index), label=label)
        axes.plot(*points[-1], "o", ms=4, color=_colour(index))
    first = min(float(points[0, 0]) for points in shown.values())
    axes.set_xscale("log")
    axes.set_xlim(max(first * 0.8, 1e-6), end * 1.03)
    _focus(axes, list(shown.values()), best_known, end)
    axes.set_xlabel("time in s")
    axes.set_ylabel("best energy so far")
    _legend(figure, axes)
    return image_bytes(figure, image)


def energy_distribution(
    energies: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    best_known: float | None = None,
    image: ImageFormat = "png",
) -> bytes:
    """Draw the distribution of the reads' energies, as shares of each solver's reads.

    energies: label → ``{"values": …, "counts": …}``, as :func:`anneal.bench.levels` makes them.
    """
    shown = {label: found for label, found in energies.items() if len(found["values"])}
    if not shown:
        raise InputError("no energies to draw")
    figure, axes = _canvas(7.0, 4.2)
    edges = _edges(np.concatenate([np.asarray(found["values"]) for found in shown.values()]))
    for index, (label, found) in enumerate(shown.items()):
        counts = np.asarray(found["counts"], float)
        share = 100 * counts / counts.sum()
        style: dict[str, Any] = {"color": _colour(index), "histtype": "stepfilled"}
        reads = int(counts.sum())
        label = f"{label} ({reads:,} read{'s' if reads != 1 else ''})"
        axes.hist(found["values"], edges.tolist(), weights=share, alpha=0.45, label=label, **style)
    if best_known is not None:
        _reference(axes, best_known, vertical=True)
    axes.set_xlabel("energy")
    axes.set_ylabel("share of reads in %")
    _legend(figure, axes)
    return image_bytes(figure, image)


def comparison(
    records: Iterable[Record], *, budget: float | None = None, image: ImageFormat = "png"
) -> bytes:
    """Draw every solver's median gap on every instance, a dot with its 95 % interval.

    budget: the seconds to compare at, by default the longest. The axis is logarithmic above the
    smallest gap and holds zero. Raises :class:`~anneal.errors.InputError` without rows.
    """
    rows = summarise(records).rows
    budget = max((row["budget"] for row in rows), default=0.0) if budget is None else budget
    rows = [row for row in rows if row["budget"] == budget]
    if not rows:
        raise InputError(f"no rows at a budget of {budget:g} s to draw")
    instances = list(dict.fromkeys(row["instance"] for row in rows))
    solvers = list(dict.fromkeys(row["solver"] for row in rows))
    figure, axes = _canvas(7.5, 1.6 + len(instances) * (0.16 + 0.09 * len(solvers)))
    for row in rows:
        index = solvers.index(row["solver"])
        spread = 0.7 * ((index + 0.5) / len(solvers) - 0.5)
        value, low, high = (100 * number for number in row["gap"])
        y = instances.index(row["instance"]) + spread
        axes.plot([low, high], [y, y], lw=1.5, color=_colour(index), solid_capstyle="butt")
        axes.plot(value, y, MARKERS[index % len(MARKERS)], ms=5, color=_colour(index))
    _name_rows(axes, instances)
    _gap_axis(axes, [100 * number for row in rows for number in row["gap"]])
    axes.set_xlabel(f"median gap to the best known in %, after {budget:g} s")
    for index, solver in enumerate(solvers):
        axes.plot([], [], MARKERS[index % len(MARKERS)], color=_colour(index), label=solver)
    _legend(figure, axes)
    return image_bytes(figure, image)


def performance_profile(
    records: Iterable[Record], *, budget: float | None = None, image: ImageFormat = "png"
) -> bytes:
    """Draw for each solver the share of runs that come within a gap of the best known.

    See :func:`anneal.measure.profile`; ``budget`` as in :func:`comparison`.
    """
    groups = grouped(records)
    budget = max((key[1] for key in groups), default=0.0) if budget is None else budget
    known = targets(groups)
    gaps: dict[str, list[float]] = {}
    for (instance, seconds, solver), runs in groups.items():
        if seconds == budget:
            energies = [run.result["energy"] for run in runs]
            found = gap(energies, known[instance][0])
            gaps.setdefault(solver, []).extend((100 * found).tolist())
    if not gaps:
        raise InputError(f"no rows at a budget of {budget:g} s to draw")
    figure, axes = _canvas(7.0, 4.2)
    right = _gap_axis(axes, [number for numbers in gaps.values() for number in numbers])
    for index, (solver, numbers) in enumerate(gaps.items()):
        levels = np.unique([0.0, *(number for number in numbers if 0 <= number < right), right])
        share = 100 * profile(numbers, levels)
        axes.step(levels, share, where="post", **line_style(index, len(gaps)), label=solver)
    axes.set_ylim(0, 103)
    axes.set_xlabel(f"gap to the best known in %, after {budget:g} s")
    axes.set_ylabel("share of runs within the gap in %")
    _legend(figure, axes)
    return image_bytes(figure, image)


def blank_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that no window shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plane_axes(box: tuple[float, float, float, float], *, width: float) -> tuple[Figure, Axes]:
    """Return a figure so many inches wide, and bare axes of one scale for what is in a box: left,
    low, right and top.
    """
    left, low, right, top = box
    figure = blank_figure(width, 7 * max(0.2, min(3.0, (top - low) / (right - left))))
    axes = figure.add_subplot()
    margin = 0.03 * max(right - left, top - low)
    axes.set_xlim(left - margin, right + margin)
    axes.set_ylim(low - margin, top + margin)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure, axes


def style_axes(axes: Axes) -> None:
    """Give axes the look of the house: two spines, and a light grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = blank_figure(width, height)
    axes = figure.add_subplot()
    style_axes(axes)
    return figure, axes


def image_bytes(figure: Figure, image: ImageFormat) -> bytes:
    """Return a figure as an image file, the same bytes for the same picture.

    Raises :class:`~anneal.errors.InputError` for another format than png and svg.
    """
    import matplotlib

    if image not in ("png", "svg"):
        raise InputError(f"image must be png or svg, not '{image}'")
    stream = io.BytesIO()
    metadata = {"Date": None} if image == "svg" else {"Software": None}
    # A fixed salt makes the same picture the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "anneal"}):
        figure.savefig(stream, format=image, dpi=150, metadata=metadata)
    return stream.getvalue()


def line_style(index: int, count: int) -> dict[str, Any]:
    """Return how matplotlib draws one of ``count`` lines: thinner and thinner, so that equal lines
    all show, and dashed where the colours come again.
    """
    dashed = (index // len(COLOURS)) % 2 == 1
    width = 1.2 + 2.4 * (1 - (index + 1) / count)
    return {"color": _colour(index), "lw": width, "ls": (0, (3, 1.5)) if dashed else "-"}


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9)


def _reference(axes: Axes, energy: float, *, vertical: bool) -> None:
    draw = axes.axvline if vertical else axes.axhline
    draw(energy, color=GREY, lw=1, ls="--", label=f"best known {energy:.10g}")


def _focus(
    axes: Axes, traces: Sequence[npt.NDArray[Any]], best_known: float | None, end: float
) -> None:
    """Show the lower part of the energies: the first states of a solve say nothing."""
    lowest = min(float(points[-1, 1]) for points in traces)
    if best_known is not None:
        _reference(axes, best_known, vertical=False)
        lowest = min(lowest, best_known)
    highest = max(_settled(points, end / 3) for points in traces)
    room = max(highest - lowest, 1e-9 * abs(lowest), 1e-12)
    axes.set_ylim(lowest - 0.06 * room, highest + 0.06 * room)
    axes.ticklabel_format(axis="y", useOffset=False)


def _settled(points: npt.NDArray[Any], seconds: float) -> float:
    """The best energy after ``seconds``, or the median of a trace that only begins later."""
    before = points[points[:, 0] <= seconds, 1]
    return float(before[-1] if len(before) else np.median(points[:, 1]))


def _edges(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """At most 60 bins, each of the same number of levels where the levels are evenly spaced."""
    levels = np.unique(values)
    extent = float(levels[-1] - levels[0])
    step = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
    width = max(step * np.ceil((extent / step + 1) / 60), 1e-12 * float(np.abs(levels).max()))
    bins = int(np.ceil((extent + step / 2) / width))
    return np.asarray(levels[0] - step / 2 + width * np.arange(bins + 1))


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color="#dddddd", lw=0.6)


def _gap_axis(axes: Axes, percents: Sequence[float]) -> float:
    """Logarithmic down to the smallest gap, linear from there to zero; return the right end."""
    finite = [number for number in percents if np.isfinite(number)]
    positive = [number for number in finite if number > 0]
    smallest = 10.0 ** np.floor(np.log10(min(positive, default=0.1)))
    right = max(positive, default=smallest) * 1.5
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    axes.set_xlim(min([-0.15 * smallest, *(1.5 * number for number in finite)]), right)
    ticks = [0.0, *10.0 ** np.arange(np.log10(smallest), np.log10(right) + 1e-9)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    return float(right)
