"""Standard cells, nets and rows of sites, and where the cells lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ORIENTATIONS = ("N", "S", "FN", "FS", "E", "W", "FE", "FW")
# What an orientation does to a pin's offset (dx, dy): its matrix, row by row.
TURNS = np.array(
    [
        (1, 0, 0, 1),
        (-1, 0, 0, -1),
        (-1, 0, 0, 1),
        (1, 0, 0, -1),
        (0, 1, -1, 0),
        (0, -1, 1, 0),
        (0, 1, 1, 0),
        (0, -1, -1, 0),
    ],
    float,
)


class Placement(NamedTuple):
    """Lower left corners of all cells, (cells,), and their orientations, numbers in
    ``ORIENTATIONS``.
    """

    x: Floats
    y: Floats
    orientation: NDArray[np.int8]

    def copy(self) -> Placement:
        """Return a placement of its own."""
        return Placement(self.x.copy(), self.y.copy(), self.orientation.copy())


# Is told the stage of the work and where the cells are; they may move on after the call.
Watch = Callable[[str, Placement], None]


@dataclass(frozen=True, eq=False)
class SiteRows:
    """Rows of sites, each of one height: all arrays (rows,).

    ``x``, ``y``: lower left corner; ``site``: from one site to the next; ``num_sites``: sites from
    ``x`` on. A row with gaps is several of them.
    """

    x: Floats
    y: Floats
    height: Floats
    site: Floats
    num_sites: Ints

    def __post_init__(self) -> None:
        for name in ("x", "y", "height", "site"):
            values = np.asarray(getattr(self, name), float)
            if not np.isfinite(values).all():
                raise InputError(f"{name} of a row is not finite")
            object.__setattr__(self, name, values)
        object.__setattr__(self, "num_sites", np.asarray(self.num_sites, np.int64))
        if (self.height <= 0).any() or (self.site <= 0).any() or (self.num_sites < 1).any():
            raise InputError("a row wants a height, a width of its sites and a number of them")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def right(self) -> Floats:
        """Where each row ends."""
        return self.x + self.site * self.num_sites

    @property
    def core(self) -> tuple[float, float, float, float]:
        """The smallest box around all rows: left, bottom, right, top."""
        top = self.y + self.height
        return (
            float(self.x.min()),
            float(self.y.min()),
            float(self.right.max()),
            float(top.max()),
        )

    @property
    def area(self) -> float:
        """What all sites together cover."""
        return float(np.sum(self.height * self.site * self.num_sites))


@dataclass(frozen=True, eq=False)
class Netlist:
    """Cells and the nets that join them, with rows to place them in.

    ``names``, ``width``, ``height``: of the cells, (cells,), pads among them; ``movable``: which
    may be placed; ``blocks``: which of the others keep cells off where they lie. The pins of net k
    are ``start[k] … start[k + 1] - 1``: ``cell`` holds the cell of each, ``dx`` and ``dy`` where it
    is from the middle of the cell as it lies in orientation N. ``weight``: of the nets. ``given``:
    where the file has the cells.

    Raises :class:`~anneal.errors.InputError` for sizes that are negative or not finite, and arrays
    that do not fit together.
    """

    names: Sequence[str]
    width: Floats
    height: Floats
    movable: Bools
    blocks: Bools
    net_names: Sequence[str]
    start: Ints
    cell: Ints
    dx: Floats
    dy: Floats
    weight: Floats
    rows: SiteRows
    given: Placement

    def __post_init__(self) -> None:
        count = len(self.names)
        for name in ("width", "height", "movable", "blocks"):
            if getattr(self, name).shape != (count,):
                raise InputError(f"{name} must have one entry for each of {count} cells")
        sizes = np.stack([self.width, self.height])
        wrong = ~(np.isfinite(sizes) & (sizes >= 0)).all(0)
        if wrong.any():
            raise InputError(f"cell {self.names[int(np.argmax(wrong))]} has no proper size")
        offsets = np.stack([self.dx, self.dy])
        if offsets.shape[1] != len(self.cell) or not np.isfinite(offsets).all():
            raise InputError("every pin wants a finite offset")
        if len(self.cell) and not 0 <= self.cell.min() <= self.cell.max() < count:
            raise InputError("a pin names a cell that is not there")
        if self.weight.shape != (self.num_nets,) or not (np.isfinite(self.weight).all()):
            raise InputError("every net wants a finite weight")

    @property
    def num_cells(self) -> int:
        """Cells that may be placed."""
        return int(self.movable.sum())

    @property
    def num_nets(self) -> int:
        """Nets, those of one pin among them."""
        return len(self.start) - 1

    @property
    def num_pins(self) -> int:
        """Pins of all nets."""
        return len(self.cell)

    @property
    def cell_area(self) -> float:
        """What the cells that may be placed cover."""
        return float(self.width[self.movable] @ self.height[self.movable])

    def pins_at(self, placement: Placement, *, centred: bool = False) -> tuple[Floats, Floats]:
        """Return where all pins lie; ``centred``: each in the middle of its cell.

        A cell that lies on its side (E, W, FE, FW) is as wide as it was high.
        """
        turn = TURNS[placement.orientation]
        aside = placement.orientation >= ORIENTATIONS.index("E")
        width = np.where(aside, self.height, self.width)
        height = np.where(aside, self.width, self.height)
        x, y = (placement.x + width / 2)[self.cell], (placement.y + height / 2)[self.cell]
        if centred:
            return x, y
        turned = turn[self.cell]
        return (
            x + turned[:, 0] * self.dx + turned[:, 1] * self.dy,
            y + turned[:, 2] * self.dx + turned[:, 3] * self.dy,
        )


def hpwl(
    netlist: Netlist,
    placement: Placement,
    *,
    centred: bool = False,
    weighted: bool = False,
    max_degree: int | None = None,
) -> float:
    """Return the half-perimeter wirelength: Σ over nets of the width and height of the pins' box.

    ``centred``: pins in the middle of their cells. ``weighted``: by the nets' weights.
    ``max_degree``: nets of more pins are left out.

    >>> from anneal.placement.grids import grid_netlist
    >>> netlist, best = grid_netlist(columns=3, rows=2)
    >>> hpwl(netlist, best)
    7.0
    """
    spans = net_spans(netlist, placement, centred=centred)
    keep = np.ones(netlist.num_nets, bool)
    if max_degree is not None:
        keep = np.diff(netlist.start) <= max_degree
    return float(np.sum((spans * netlist.weight if weighted else spans)[keep]))


def net_spans(netlist: Netlist, placement: Placement, *, centred: bool = False) -> Floats:
    """Return width plus height of each net's box, (nets,); 0 of a net without pins."""
    return box_spans(netlist.start, netlist.pins_at(placement, centred=centred))


def box_spans(start: Ints, axes: Iterable[Floats]) -> Floats:
    """Return the sides' sum of the box around each net's pins, (nets,); 0 of a net without pins.

    Net k has the pins ``start[k] … start[k + 1] - 1``; ``axes``: where all pins are, (pins,) each.

    >>> box_spans(np.array([0, 2, 2]), [np.array([1.0, 3.0]), np.array([5.0, 4.0])]).tolist()
    [3.0, 0.0]
    """
    filled = np.diff(start) > 0
    found = np.zeros(len(filled))
    if filled.any():
        first = start[:-1][filled]
        for at in axes:
            found[filled] += np.maximum.reduceat(at, first) - np.minimum.reduceat(at, first)
    return found
