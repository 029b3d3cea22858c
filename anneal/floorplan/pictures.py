"""Pictures of floorplans: blocks with their names, pads, and nets as fly-lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from anneal.floorplan.blocks import Blocks, Floorplan, Outline, net_spans
from anneal.plots import ImageFormat, image_bytes, plane_axes

MAX_LINES = 3000
HARD, SOFT, PADS, LINES = "#9fc5e8", "#b6d7a8", "#666666", "#cc3311"
INCHES, POINTS_PER_INCH = 7.0, 72


def floorplan_picture(
    blocks: Blocks,
    plan: Floorplan,
    *,
    outline: Outline | None = None,
    nets: int = 0,
    names: bool = True,
    image: ImageFormat = "png",
) -> bytes:
    """Draw blocks, with the ``nets`` longest nets as lines from their middles to their pins.

    Pads are drawn where they are on nets that are, or around the blocks; names where they have
    room. ``outline``: drawn dashed, from (0, 0) on.
    """
    figure, axes = plane_axes(_frame(blocks, plan, outline), width=INCHES)
    colours = np.where(blocks.soft, SOFT, HARD).tolist()
    corners = list(_corners(plan))
    axes.add_collection(PolyCollection(corners, facecolors=colours, edgecolors="0.2", lw=0.6))
    if outline is not None:
        axes.add_patch(Rectangle((0, 0), *outline, fill=False, edgecolor=LINES, lw=1, ls="--"))
    if len(blocks.pad_names):
        axes.plot(blocks.pad_x, blocks.pad_y, "s", ms=2, color=PADS)
    if nets:
        lines = fly_lines(blocks, plan, min(nets, MAX_LINES))
        axes.add_collection(LineCollection(list(lines), colors=LINES, linewidths=0.4, alpha=0.6))
    if names:
        _names(axes, blocks, plan, INCHES * POINTS_PER_INCH / float(np.diff(axes.get_xlim())[0]))
    return image_bytes(figure, image)


def fly_lines(blocks: Blocks, plan: Floorplan, count: int) -> NDArray[Any]:
    """Return lines, (lines, 2, 2), from the middle of each of the longest nets to its pins."""
    ends = np.stack(blocks.pins_at(plan), 1)
    longest = np.argsort(-net_spans(blocks, plan), kind="stable")[:count]
    found = [np.zeros((0, 2, 2))]
    for net in longest:
        pins = ends[blocks.start[net] : blocks.start[net + 1]]
        if len(pins):
            found.append(np.stack([np.broadcast_to(pins.mean(0), pins.shape), pins], 1))
    return np.concatenate(found)


def _frame(
    blocks: Blocks, plan: Floorplan, outline: Outline | None
) -> tuple[float, float, float, float]:
    """Return left, low, right and top of all that is drawn."""
    corner = np.array([(0.0, 0.0), outline] if outline else []).reshape(-1, 2)
    across = np.concatenate([plan.x, plan.x + plan.width, blocks.pad_x, corner[:, 0]])
    along = np.concatenate([plan.y, plan.y + plan.height, blocks.pad_y, corner[:, 1]])
    return float(across.min()), float(along.min()), float(across.max()), float(along.max())


def _corners(plan: Floorplan) -> NDArray[Any]:
    right, top = plan.x + plan.width, plan.y + plan.height
    sides = [plan.x, plan.y, right, plan.y, right, top, plan.x, top]
    return np.stack(sides, 1).reshape(-1, 4, 2)


def _names(axes: Any, blocks: Blocks, plan: Floorplan, points: float) -> None:
    """Write names that have room, along the longer side; ``points``: of a unit of length."""
    for name, x, y, wide, high in zip(
        blocks.names, *(column.tolist() for column in plan[:4]), strict=True
    ):
        along, across = max(wide, high) * points, min(wide, high) * points
        # A letter is about 0.6 as wide as high.
        size = min(9.0, 0.8 * across, along / (0.6 * max(len(name), 1)))
        if size >= 3:
            axes.text(
                x + wide / 2, y + high / 2, name, fontsize=size, ha="center", va="center",
                rotation=90 if high > wide else 0, clip_on=True,
            )  # fmt: skip
