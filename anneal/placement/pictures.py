"""Pictures of placements: cells, nets as fly-lines, and how full the core is."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from numpy.typing import NDArray

from anneal.placement.analytic import bin_shape
from anneal.placement.netlist import Floats, Netlist, Placement, net_spans
from anneal.placement.spreading import Boxes, fill
from anneal.plots import ImageFormat, image_bytes, plane_axes

MAX_LINES = 3000
CELLS_OF_A_PATH = 400
MOVABLE, FIXED, LINES = "#4477aa", "#bbbbbb", "#cc3311"


def placement_picture(
    netlist: Netlist,
    placement: Placement,
    *,
    nets: int = 0,
    image: ImageFormat = "png",
) -> bytes:
    """Draw cells in their rows, with the ``nets`` longest nets as lines from their middles."""
    figure, axes = _core(netlist)
    for chosen, colour in ((netlist.movable, MOVABLE), (~netlist.movable, FIXED)):
        corners = _corners(netlist, placement, np.flatnonzero(chosen))
        axes.add_collection(
            PolyCollection(list(corners), facecolors=colour, edgecolors="white", linewidths=0.1)
        )
    if nets:
        lines = fly_lines(netlist, placement, min(nets, MAX_LINES))
        axes.add_collection(LineCollection(list(lines), colors=LINES, linewidths=0.3, alpha=0.6))
    return image_bytes(figure, image)


def placement_svg(netlist: Netlist, placement: Placement, *, nets: int = 0) -> str:
    """Return the same picture as a small SVG to stand in a page, a unit as wide as a site.

    Cells are in paths of a few hundred each: 200,000 make about 4 MB.

    >>> from anneal.placement.grids import grid_netlist
    >>> placement_svg(*grid_netlist(columns=2, rows=1)).count("h1v1h-1z")
    2
    """
    left, low, right, top = netlist.rows.core
    unit = float(netlist.rows.site[0])
    wide, high = (right - left) / unit, (top - low) / unit
    margin = 0.03 * max(wide, high)
    view = " ".join(
        _short(value) for value in (-margin, -margin, wide + 2 * margin, high + 2 * margin)
    )
    line = _short(0.04 * float(netlist.rows.height[0]) / unit)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">']
    for chosen, colour in ((netlist.movable, MOVABLE), (~netlist.movable, FIXED)):
        cells = np.flatnonzero(chosen)
        cells = cells[np.lexsort([placement.x[cells], placement.y[cells]])]
        parts.append(f'<g fill="{colour}" stroke="#fff" stroke-width="{line}">')
        for first in range(0, len(cells), CELLS_OF_A_PATH):
            some = cells[first : first + CELLS_OF_A_PATH]
            x, y = (placement.x[some] - left) / unit, (top - placement.y[some]) / unit
            size = netlist.width[some] / unit, netlist.height[some] / unit
            parts.append(f'<path d="{"".join(map(_box, x, y - size[1], *size))}"/>')
        parts.append("</g>")
    if nets:
        lines = fly_lines(netlist, placement, min(nets, MAX_LINES))
        ends = np.stack([lines[:, :, 0] - left, top - lines[:, :, 1]], 2) / unit
        drawn = "".join(
            f"M{_short(a)} {_short(b)}L{_short(c)} {_short(d)}"
            for a, b, c, d in ends.reshape(-1, 4).tolist()
        )
        parts.append(
            f'<path d="{drawn}" fill="none" stroke="{LINES}" stroke-opacity="0.6" '
            'stroke-width="0.6" vector-effect="non-scaling-stroke"/>'
        )
    core = f'<rect width="{_short(wide)}" height="{_short(high)}" fill="none" stroke="#555" '
    return "".join([*parts, core, 'stroke-width="1" vector-effect="non-scaling-stroke"/></svg>'])


def _box(x: float, y: float, width: float, height: float) -> str:
    across = _short(width)
    return f"M{_short(x)} {_short(y)}h{across}v{_short(height)}h-{across}z"


def _short(value: float) -> str:
    """Return a number with two places at most, and none where it is whole."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def density_picture(netlist: Netlist, placement: Placement, *, image: ImageFormat = "png") -> bytes:
    """Draw how full each bin of the core is, as a share of its area."""
    figure, axes = _core(netlist)
    shown = axes.imshow(
        density_map(netlist, placement).T,
        origin="lower",
        extent=_extent(netlist),
        vmin=0,
        vmax=1,
        cmap="viridis",
        interpolation="nearest",
    )
    figure.colorbar(shown, ax=axes, label="share of the area taken", shrink=0.8)
    return image_bytes(figure, image)


def density_map(netlist: Netlist, placement: Placement) -> Floats:
    """Return the share of each bin that cells take, (columns, rows), fixed ones among them."""
    left, low, right, top = netlist.rows.core
    columns, rows = (size // 2 for size in bin_shape(netlist.num_cells))
    wide, high = (right - left) / columns, (top - low) / rows
    chosen = netlist.movable | netlist.blocks
    boxes = Boxes.of((netlist.width / wide)[chosen], (netlist.height / high)[chosen])
    x = (placement.x + netlist.width / 2 - left) / wide
    y = (placement.y + netlist.height / 2 - low) / high
    return fill(x[chosen], y[chosen], boxes, (columns, rows))


def fullest(netlist: Netlist, placement: Placement) -> float:
    """Return what share of their area cells take in the fullest twentieth of the bins, of those of
    :func:`density_map`: how tightly a placement is packed where it is packed.

    >>> from anneal.placement.grids import grid_netlist
    >>> round(fullest(*grid_netlist(columns=20, rows=20, utilisation=1.0)), 6)
    1.0
    """
    bins = np.sort(density_map(netlist, placement), axis=None)
    return float(bins[-max(1, bins.size // 20) :].mean())


def fly_lines(netlist: Netlist, placement: Placement, count: int) -> NDArray[Any]:
    """Return lines, (lines, 2, 2), from the middle of each of the longest nets to its pins."""
    x, y = netlist.pins_at(placement)
    longest = np.argsort(-net_spans(netlist, placement), kind="stable")[:count]
    found = []
    for net in longest:
        pins = slice(netlist.start[net], netlist.start[net + 1])
        ends = np.stack([x[pins], y[pins]], 1)
        middle = np.broadcast_to(ends.mean(0), ends.shape)
        found.append(np.stack([middle, ends], 1))
    return np.concatenate(found) if found else np.zeros((0, 2, 2))


def _core(netlist: Netlist) -> tuple[Any, Any]:
    left, low, right, top = netlist.rows.core
    figure, axes = plane_axes((left, low, right, top), width=7.5)
    axes.plot([left, right, right, left, left], [low, low, top, top, low], color="0.3", lw=0.6)
    return figure, axes


def _extent(netlist: Netlist) -> tuple[float, float, float, float]:
    left, low, right, top = netlist.rows.core
    return left, right, low, top


def _corners(netlist: Netlist, placement: Placement, cells: NDArray[np.int64]) -> NDArray[Any]:
    x, y = placement.x[cells], placement.y[cells]
    right, top = x + netlist.width[cells], y + netlist.height[cells]
    return np.stack([x, y, right, y, right, top, x, top], 1).reshape(-1, 4, 2)
