"""Blocks, pads and nets, and where the blocks lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.placement.netlist import ORIENTATIONS, TURNS, Bools, Floats, Ints, box_spans

Outline = tuple[float, float]

# What a plan may be beside the truth, as a share of its size: files round to 15 digits.
TOLERANCE = 1e-9
MOST = 1e50  # of lengths, so that no area and no sum overflows


class Floorplan(NamedTuple):
    """Lower left corners and sizes of all blocks as they lie, (blocks,).

    ``orientation``: numbers in ``ORIENTATIONS`` of :mod:`anneal.placement.netlist`; a block of
    orientation E is turned by 90° clockwise from how it is given, and its pins with it.
    """

    x: Floats
    y: Floats
    width: Floats
    height: Floats
    orientation: NDArray[np.int8]

    @classmethod
    def at(cls, blocks: Blocks, x: ArrayLike, y: ArrayLike) -> Floorplan:
        """Return blocks as they are given, at these places."""
        lying = np.zeros(len(blocks), np.int8)
        places = np.asarray(x, float), np.asarray(y, float)
        return cls(*places, blocks.width.copy(), blocks.height.copy(), lying)

    @property
    def aside(self) -> Bools:
        """Which blocks are as wide as they were high."""
        return self.orientation >= ORIENTATIONS.index("E")

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the smallest box around all blocks."""
        right, top = self.x + self.width, self.y + self.height
        return float(right.max() - self.x.min()), float(top.max() - self.y.min())


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rectangular blocks, pads at given places, and the nets that join them.

    ``width``, ``height``: of the blocks as given, (blocks,). ``least``, ``most``: bounds of width
    over height; a block between whose bounds there is room is soft: it keeps its area and may have
    any shape within them, and is not turned. ``pad_x``, ``pad_y``: (pads,). Net k has the pins
    ``start[k] … start[k + 1] - 1``: ``member`` holds the block of each, or the number of blocks
    plus that of a pad; ``dx``, ``dy``: where it is from the block's middle, as shares of the width
    and height of the block as given, ±½ at its edges.

    Raises :class:`~anneal.errors.InputError` for sizes that are not positive and finite, and arrays
    that do not fit together.
    """

    names: Sequence[str]
    width: Floats
    height: Floats
    least: Floats
    most: Floats
    pad_names: Sequence[str]
    pad_x: Floats
    pad_y: Floats
    net_names: Sequence[str]
    start: Ints
    member: Ints
    dx: Floats
    dy: Floats

    @classmethod
    def of(cls, width: Any, height: Any, names: Sequence[str] | None = None) -> Blocks:
        """Return hard blocks without pads and nets.

        >>> Blocks.of([2, 3], [1, 5]).area
        17.0
        """
        wide, high = np.asarray(width, float), np.asarray(height, float)
        if wide.ndim != 1 or wide.shape != high.shape:
            raise InputError("width and height must be as long as each other")
        with np.errstate(divide="ignore", invalid="ignore"):
            aspect = wide / high
        none, nothing = np.zeros(0), np.zeros(0, np.int64)
        labels = [f"b{number}" for number in range(len(wide))] if names is None else names
        return cls(
            labels, wide, high, aspect, aspect.copy(), [], none, none,
            [], np.zeros(1, np.int64), nothing, none, none,
        )  # fmt: skip

    def __post_init__(self) -> None:
        count, pads = len(self.names), len(self.pad_names)
        if not count:
            raise InputError("a floorplan wants at least one block")
        for name in ("width", "height", "least", "most"):
            values = getattr(self, name)
            if values.shape != (count,):
                raise InputError(f"{name} must have one entry for each of {count} blocks")
            wrong = ~(np.isfinite(values) & (values > 0))
            if wrong.any():
                which = int(np.argmax(wrong))
                raise InputError(
                    f"{name} of block {self.names[which]} must be positive and finite, "
                    f"not {values[which]:g}"
                )
        lengths = np.stack([self.width, self.height])
        if lengths.max() > MOST or lengths.min() < 1 / MOST:
            raise InputError(f"lengths must be within {1 / MOST:g} … {MOST:g}")
        if (self.least > self.most).any():
            which = int(np.argmax(self.least > self.most))
            raise InputError(f"the least aspect of block {self.names[which]} is above its most")
        for name in ("pad_x", "pad_y"):
            if getattr(self, name).shape != (pads,) or not np.isfinite(getattr(self, name)).all():
                raise InputError(f"{name} must be one finite number for each of {pads} pads")
        self._check_nets(count + pads)

    def _check_nets(self, count: int) -> None:
        start, pins = self.start, len(self.member)
        whole = len(start) == len(self.net_names) + 1 and start[0] == 0 and start[-1] == pins
        if not whole or (np.diff(start) < 0).any():
            raise InputError("start must divide the pins among the nets")
        if pins and not 0 <= self.member.min() <= self.member.max() < count:
            raise InputError("a net names a block that is not there")
        offsets = np.stack([self.dx, self.dy])
        if offsets.shape != (2, pins) or not np.isfinite(offsets).all():
            raise InputError("every pin wants a finite offset")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def area(self) -> float:
        """What all blocks cover."""
        return float(self.width @ self.height)

    @property
    def soft(self) -> Bools:
        """Which blocks may change their shape."""
        return self.most > self.least * (1 + TOLERANCE)

    @property
    def num_nets(self) -> int:
        """Nets, those of one pin among them."""
        return len(self.net_names)

    @property
    def num_pins(self) -> int:
        """Pins of all nets."""
        return len(self.member)

    def pins_at(self, plan: Floorplan) -> tuple[Floats, Floats]:
        """Return where all pins lie, (pins,); those of pads are where the pad is."""
        none = np.zeros(len(self.pad_names))
        orientation = np.concatenate([plan.orientation, none.astype(np.int8)])
        turn = TURNS[orientation[self.member]]
        across = turn[:, 0] * self.dx + turn[:, 1] * self.dy
        along = turn[:, 2] * self.dx + turn[:, 3] * self.dy
        found = []
        for low, size, pads, share in (
            (plan.x, plan.width, self.pad_x, across),
            (plan.y, plan.height, self.pad_y, along),
        ):
            middle = np.concatenate([low + size / 2, pads])[self.member]
            found.append(middle + np.concatenate([size, none])[self.member] * share)
        return found[0], found[1]


def hpwl(blocks: Blocks, plan: Floorplan) -> float:
    """Return the half-perimeter wirelength: Σ over nets of the width and height of the pins' box,
    pads among them.
    """
    return float(net_spans(blocks, plan).sum())


def net_spans(blocks: Blocks, plan: Floorplan) -> Floats:
    """Return width plus height of each net's box, (nets,); 0 of a net without pins."""
    return box_spans(blocks.start, blocks.pins_at(plan))


def evaluate(
    blocks: Blocks, plan: Floorplan, *, outline: Outline | None = None
) -> dict[str, float | bool]:
    """Return what a floorplan is worth: ``area`` of its box, the share ``dead_space`` of that
    which no block covers (as if none overlapped), ``hpwl``, ``width``, ``height``; with an outline
    ``fits``.

    The outline's lower left corner is at (0, 0).

    >>> blocks = Blocks.of([2, 3], [1, 5])
    >>> plan = Floorplan.at(blocks, x=[0, 2], y=[0, 0])
    >>> evaluate(blocks, plan)["area"], round(evaluate(blocks, plan)["dead_space"], 3)
    (25.0, 0.32)
    """
    width, height = plan.size
    found: dict[str, float | bool] = {
        "area": width * height,
        "block_area": blocks.area,
        "dead_space": 1 - blocks.area / (width * height),
        "hpwl": hpwl(blocks, plan),
        "width": width,
        "height": height,
    }
    if outline is not None:
        found["fits"] = fits(plan, outline)
    return found


def fits(plan: Floorplan, outline: Outline) -> bool:
    """Return whether all blocks are within an outline, width × height, from (0, 0) on."""
    slack = TOLERANCE * max(outline)
    right, top = plan.x + plan.width, plan.y + plan.height
    inside = plan.x.min() >= -slack and right.max() <= outline[0] + slack
    return bool(inside and plan.y.min() >= -slack and top.max() <= outline[1] + slack)


def outline_of(blocks: Blocks, *, aspect: float = 1.0, whitespace: float = 0.1) -> Outline:
    """Return width and height of an outline: ``aspect`` is width over height, ``whitespace`` what
    is free over what the blocks cover.

    >>> outline_of(Blocks.of([2, 3], [4, 8]), aspect=2.0, whitespace=0.0)
    (8.0, 4.0)
    """
    if not 0 < aspect < math.inf or not 0 <= whitespace < math.inf:
        raise InputError("an outline wants a positive aspect, and whitespace of 0 or more")
    height = math.sqrt(blocks.area * (1 + whitespace) / aspect)
    return aspect * height, height
