"""Cells as charges that repel each other: the density of a placement, its energy and field.

Lu et al. 2015 (ePlace, ACM TODAES 20:17), §4: ∇²ψ = −ρ with no flux through the border, solved by
cosine transforms on a grid of bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft

from anneal.kernels.density import add_area, add_field
from anneal.placement.netlist import Floats

# A charge is spread over at least so many bins, or the field between bins would not see it.
LEAST_WIDTH = 2**0.5


class Boxes(NamedTuple):
    """Boxes in units of bins, all (boxes,): sizes as they are, and as charges of the same area."""

    width: Floats
    height: Floats
    charge_width: Floats
    charge_height: Floats
    share: Floats

    @classmethod
    def of(cls, width: Floats, height: Floats) -> Boxes:
        """Return boxes whose charges are as wide and as high as the grid can see.

        >>> Boxes.of(np.array([0.5]), np.array([2.0])).share.round(3)
        array([0.354])
        """
        wide, high = np.maximum(width, LEAST_WIDTH), np.maximum(height, LEAST_WIDTH)
        return cls(width, height, wide, high, width * height / (wide * high))

    @property
    def area(self) -> Floats:
        """What each covers."""
        return self.width * self.height


def fill(x: Floats, y: Floats, boxes: Boxes, shape: tuple[int, int]) -> Floats:
    """Return how much of each bin boxes cover, (columns, rows), added up where they overlap."""
    bins = np.zeros(shape)
    add_area(x, y, boxes.width, boxes.height, np.ones(len(x)), bins)
    return bins


class Field:
    """The potential of charges on a grid of bins with walls.

    >>> field = Field((8, 4))
    >>> energy, across, along = field.solve(np.ones((8, 4)))
    >>> round(energy, 9), bool(abs(across).max() < 1e-12)
    (0.0, True)
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.across = np.pi * np.arange(shape[0])[:, None] / shape[0]
        self.along = np.pi * np.arange(shape[1])[None, :] / shape[1]
        square = self.across**2 + self.along**2
        square[0, 0] = 1.0
        self.inverse = 1 / square
        self.inverse[0, 0] = 0.0

    def solve(self, density: Floats) -> tuple[float, Floats, Floats]:
        """Return ½ Σ ρψ and the field −∂ψ/∂x, −∂ψ/∂y of a density, (columns, rows)."""
        waves = scipy.fft.dctn(density, type=2)
        potential = waves * self.inverse
        psi = scipy.fft.idctn(potential, type=2)
        across = _sines(potential * self.across, 0)
        along = _sines(potential * self.along, 1)
        return float(np.sum(density * psi)) / 2, across, along


def _sines(waves: Floats, axis: int) -> Floats:
    """Return Σ a_u sin(π u (2n + 1) / 2N) along an axis, cosines along the other."""
    shifted = np.roll(waves, -1, axis)
    last = (slice(None), -1) if axis else (-1, slice(None))
    shifted[last] = 0.0
    partly = scipy.fft.idct(shifted, type=2, axis=1 - axis)
    found: Floats = scipy.fft.dst(partly, type=3, axis=axis) / (2 * waves.shape[axis])
    return found


def forces(
    x: Floats, y: Floats, boxes: Boxes, field: Field, density: Floats
) -> tuple[float, Floats, Floats]:
    """Return the energy of a density and the force on each of the boxes, along either axis."""
    energy, across, along = field.solve(density)
    found = np.zeros(len(x)), np.zeros(len(x))
    for part, force in zip((across, along), found, strict=True):
        add_field(x, y, boxes.charge_width, boxes.charge_height, boxes.share, part, force)
    return energy, found[0], found[1]


def charge(x: Floats, y: Floats, boxes: Boxes, density: Floats) -> None:
    """Add the charges of boxes to a density, (columns, rows)."""
    add_area(x, y, boxes.charge_width, boxes.charge_height, boxes.share, density)
