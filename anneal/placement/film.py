"""A film of a placement on its way: spread, put on sites, annealed."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.placement.netlist import Floats, Netlist, Placement, hpwl

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_OF_A_STAGE = 18
WIDTH, STRIP, MARGIN = 640, 26, 0.03  # pixels, of the caption too, and a share of the core
SHOWN, SHOWN_LAST = 120, 2500  # milliseconds of a frame
SHADES = (16, 15)  # colours across and along the core
# Of its corners: left and right below, left and right above (Okabe and Ito 2008).
CORNERS = np.array([[0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167]], float)
WHITE, GREY, DARK = 0, 1, 2  # in the palette, before the shades


class Snapshot(NamedTuple):
    """A placement and the stage that it belongs to."""

    stage: str
    placement: Placement


class Reel:
    """Snapshots, at most 18 of each stage and its last one, evenly spread.

    It is called with a stage and a placement, as often as one likes; a placement that changes
    afterwards does no harm.

    >>> reel = Reel()
    >>> here = Placement(np.zeros(1), np.zeros(1), np.zeros(1, np.int8))
    >>> for _ in range(1000):
    ...     reel("annealed", here)
    >>> 9 < len(reel.snapshots()) <= 19
    True
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[Placement]] = {}
        self._last: dict[str, Placement] = {}
        self._seen: dict[str, int] = {}
        self._stride: dict[str, int] = {}

    def __call__(self, stage: str, placement: Placement) -> None:
        """Note where the cells are."""
        kept = self._kept.setdefault(stage, [])
        seen, stride = self._seen.get(stage, 0), self._stride.setdefault(stage, 1)
        found = placement.copy()
        if seen % stride == 0:
            kept.append(found)
            if len(kept) > MOST_OF_A_STAGE:
                del kept[1::2]
                self._stride[stage] = 2 * stride
        self._seen[stage], self._last[stage] = seen + 1, found

    def snapshots(self) -> list[Snapshot]:
        """Return those that were kept, in the order of the stages."""
        found = []
        for stage, kept in self._kept.items():
            found += [Snapshot(stage, placement) for placement in kept]
            if self._last[stage] is not kept[-1]:
                found.append(Snapshot(stage, self._last[stage]))
        return found


def film(netlist: Netlist, snapshots: list[Snapshot]) -> bytes:
    """Return an animated GIF, each cell in the colour of the place where it ends.

    A caption tells the stage and the wirelength of each frame. Raises
    :class:`~anneal.errors.InputError` without snapshots.
    """
    if not snapshots:
        raise InputError("a film wants at least one snapshot")
    view = _View.of(netlist)
    colour = _colours(netlist, snapshots[-1].placement)
    frames = [_frame(netlist, one, view, colour) for one in snapshots]
    shown = [SHOWN] * (len(frames) - 1) + [SHOWN_LAST]
    for number, (one, after) in enumerate(pairwise(snapshots)):
        if one.stage != after.stage:
            shown[number] = 5 * SHOWN
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=shown, loop=0)
    return stream.getvalue()


class _View(NamedTuple):
    """What of the plane is on a frame, and how many pixels a unit has."""

    left: float
    top: float
    scale: float
    size: tuple[int, int]

    @classmethod
    def of(cls, netlist: Netlist) -> _View:
        left, low, right, top = netlist.rows.core
        margin = MARGIN * max(right - left, top - low)
        wide, high = right - left + 2 * margin, top - low + 2 * margin
        scale = WIDTH / max(wide, high / 1.5)
        return cls(left - margin, top + margin, scale, (round(wide * scale), round(high * scale)))

    def boxes(self, netlist: Netlist, placement: Placement) -> NDArray[np.int64]:
        """Return left, top, right and bottom of all cells in pixels, (cells, 4)."""
        x = (placement.x - self.left) * self.scale
        y = (self.top - placement.y) * self.scale + STRIP
        edges = np.stack([x, y - netlist.height * self.scale, x + netlist.width * self.scale, y], 1)
        found: NDArray[np.int64] = np.round(edges).astype(np.int64)
        # Between cells of three pixels and more there is room for a line.
        for low, high in ((0, 2), (1, 3)):
            gap = np.where(found[:, high] - found[:, low] >= 3, 2, 1)
            found[:, high] = np.maximum(found[:, high] - gap, found[:, low])
        return found


def _colours(netlist: Netlist, placement: Placement) -> NDArray[np.int64]:
    """Return the palette's number for each cell, by its place in the core."""
    left, low, right, top = netlist.rows.core
    across = (placement.x + netlist.width / 2 - left) / (right - left)
    along = (placement.y + netlist.height / 2 - low) / (top - low)
    column = np.clip((across * SHADES[0]).astype(np.int64), 0, SHADES[0] - 1)
    row = np.clip((along * SHADES[1]).astype(np.int64), 0, SHADES[1] - 1)
    return np.where(netlist.movable, DARK + 1 + row * SHADES[0] + column, GREY)


def _palette() -> list[int]:
    """Return red, green and blue of all colours, one after the other."""
    across = np.linspace(0, 1, SHADES[0])[None, :, None]
    along = np.linspace(0, 1, SHADES[1])[:, None, None]
    below = CORNERS[0] * (1 - across) + CORNERS[1] * across
    above = CORNERS[2] * (1 - across) + CORNERS[3] * across
    shades: Floats = below * (1 - along) + above * along
    fixed = [255, 255, 255, 187, 187, 187, 50, 50, 50]
    return fixed + np.round(shades).astype(int).ravel().tolist()


def _frame(netlist: Netlist, snapshot: Snapshot, view: _View, colour: NDArray[np.int64]) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    image: Any = Image.new("P", (view.size[0], view.size[1] + STRIP), WHITE)
    image.putpalette(_palette())
    draw = ImageDraw.Draw(image)
    placed = snapshot.placement
    boxes = view.boxes(netlist, placed).tolist()
    # Those that are fixed first: where cells overlap them, the cells are seen.
    for cell in np.argsort(netlist.movable, kind="stable").tolist():
        draw.rectangle(boxes[cell], fill=int(colour[cell]))
    left, low, right, top = netlist.rows.core
    corners = [(left, top), (right, low)]
    core = [((x - view.left) * view.scale, (view.top - y) * view.scale + STRIP) for x, y in corners]
    draw.rectangle(core, outline=DARK)
    draw.rectangle([0, 0, view.size[0], STRIP - 1], fill=WHITE)
    caption = f"{snapshot.stage}: wirelength {hpwl(netlist, placed):,.0f}"
    draw.text((8, 5), caption, fill=DARK, font=ImageFont.load_default(14))
    return image  # type: ignore[no-any-return]
