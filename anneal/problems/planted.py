"""Spin glasses on the square torus whose ground state is known: tile planting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.problem import Seed, Values
from anneal.problems import edges
from anneal.problems.spin_glass import SpinGlass


@dataclass(frozen=True, eq=False)
class TilePlanted(SpinGlass):
    """A frustrated square torus of known ground state (Hamze et al. 2018, Perera et al. 2020).

    The plaquettes of one colour of the checkerboard are the tiles; every bond lies in exactly one.
    Proof: the product of J s s around a tile does not depend on the spins; where it is negative
    (the tile is frustrated) the four bonds cannot all be satisfied, so the tile's energy is at
    least −Σ|J| + 2 min|J|, and −Σ|J| elsewhere. The planted state attains this bound in every tile
    at once, so it attains the least sum. The constructor checks just that, tile by tile, so
    ``best_known`` is certain. Bonds come four to a tile, in the order of :func:`tile_corners`.

    >>> planted = TilePlanted.generate(seed=1, length=6)
    >>> planted.cost(planted.ground_state) == planted.best_known
    True
    """

    ground_state: Values = field(kw_only=True)

    name: ClassVar[str] = "planted"
    small: ClassVar[Mapping[str, Any]] = {"length": 4}

    def __post_init__(self) -> None:
        super().__post_init__()
        corners = tile_corners(math.isqrt(self.num_spins))
        if not np.array_equal(self.i, corners.ravel()) or not np.array_equal(
            self.j, np.roll(corners, -1, axis=1).ravel()
        ):
            raise InputError("the bonds are not those of the tiles of a square torus")
        ground = self.decode(self.ground_state)
        ground.flags.writeable = False
        if np.any(self._tile_energy(ground) > self._tile_bound()):
            raise InputError("ground_state does not attain the least energy of every tile")
        object.__setattr__(self, "ground_state", ground)
        object.__setattr__(self, "best_known", self.cost(ground))

    def _tile_energy(self, spin: Values) -> NDArray[np.float64]:
        energy = self.coupling * spin[self.i] * spin[self.j]
        return np.asarray(energy.reshape(-1, 4).sum(axis=1))

    def _tile_bound(self) -> NDArray[np.float64]:
        tiles = self.coupling.reshape(-1, 4)
        size = np.abs(tiles)
        frustrated = np.prod(np.sign(tiles), axis=1) < 0
        return np.asarray(-size.sum(axis=1) + 2 * size.min(axis=1) * frustrated)

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        length: int = 16,
        probabilities: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
    ) -> TilePlanted:
        """Return a torus of length × length spins, its tiles drawn from the classes C1 … C4.

        In a tile of class Ck, k bonds have magnitude 1 and the others 2; one of the k, at random,
        is violated in the planted state, so the tile has k ground states up to a flip of all spins.
        Then spins are flipped at random with their couplings (a gauge), which hides the state.
        """
        rng = np.random.default_rng(seed)
        corners = tile_corners(edges.whole("length", length))
        mix = edges.read_only("probabilities", probabilities)
        if mix.shape != (4,) or mix.min() < 0 or mix.sum() <= 0:
            raise InputError("probabilities must be four numbers, none negative and not all zero")
        classes = 1 + rng.choice(4, size=len(corners), p=mix / mix.sum())
        # A random order of each tile's bonds: the first is violated, the first k have magnitude 1.
        rank = np.argsort(rng.random((len(corners), 4)), axis=1)
        tiles = np.where(rank < classes[:, np.newaxis], 1.0, 2.0) * np.where(rank == 0, 1.0, -1.0)
        ground = (2 * rng.integers(2, size=length * length) - 1).astype(np.int8)
        i, j = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
        coupling = (tiles.ravel() * ground[i] * ground[j]).astype(np.float64)
        return cls(length * length, i, j, coupling, ground_state=ground)


def tile_corners(length: int) -> NDArray[np.int32]:
    """Return the corners of each tile in cyclic order, (length²/2, 4), on a torus in C order.

    Raises :class:`~anneal.errors.InputError` where ``length`` is odd (no checkerboard) or less than
    4 (two bonds would join the same spins).

    >>> tile_corners(4)[0].tolist()
    [0, 1, 5, 4]
    """
    if length < 4 or length % 2:
        raise InputError(f"length must be an even number of at least 4, not {length}")
    edges.check_num_edges(2.0 * length * length)
    row, column = np.indices((length, length)).reshape(2, -1)
    even = (row + column) % 2 == 0
    row, column = row[even], column[even]
    below, right = (row + 1) % length, (column + 1) % length
    corners = [
        row * length + column,
        row * length + right,
        below * length + right,
        below * length + column,
    ]
    return np.stack(corners, axis=1).astype(np.int32)
