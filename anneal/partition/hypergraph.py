"""Hypergraphs: nets that join any number of vertices, what a partition cuts, and random ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.problem import Seed
from anneal.problems import edges


@dataclass(frozen=True, eq=False)
class Hypergraph:
    """Nets, vertices with an area, nets with a weight.

    Net e joins the vertices pins[start[e]] … pins[start[e+1] − 1]; start: (nets + 1,) int64, pins:
    int32. area: (vertices,), weight: (nets,), float64, at least 0; each 1 where it is not given. A
    vertex that a net names more than once counts once. Raises :class:`~anneal.errors.InputError`
    for starts that fall, vertices out of range, and numbers that are negative or not finite.

    >>> triangle = Hypergraph(3, [0, 2, 4, 6], [0, 1, 1, 2, 0, 2])
    >>> triangle.cut([0, 0, 1])
    2.0
    """

    num_vertices: int
    start: NDArray[np.int64]
    pins: NDArray[np.int32]
    area: NDArray[np.float64] = None  # type: ignore[assignment]
    weight: NDArray[np.float64] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        size = edges.whole("num_vertices", self.num_vertices, least=1)
        start, pins = _whole_numbers("start", self.start), _whole_numbers("pins", self.pins)
        if not start.size or start[0] != 0 or start[-1] != pins.size or np.any(np.diff(start) < 0):
            raise InputError(f"start must rise from 0 to the number of pins, {pins.size}")
        if pins.size and (pins.min() < 0 or pins.max() >= size):
            raise InputError(f"pins must lie in 0 … {size - 1}")
        start, pins = _once(start, pins, size)
        area = _amounts("area", self.area, size)
        weight = _amounts("weight", self.weight, start.size - 1)
        for name, array in (("start", start), ("pins", pins.astype(np.int32))):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "area", area)
        object.__setattr__(self, "weight", weight)

    @classmethod
    def from_nets(
        cls,
        num_vertices: int,
        nets: Iterable[Sequence[int]],
        *,
        area: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> Hypergraph:
        """Return the hypergraph of a list of nets.

        >>> Hypergraph.from_nets(4, [[0, 1, 2], [2, 3]]).start.tolist()
        [0, 3, 5]
        """
        lists = [list(net) for net in nets]
        start = np.cumsum([0, *map(len, lists)])
        pins = np.array([pin for net in lists for pin in net]) if start[-1] else np.zeros(0, int)
        return cls(num_vertices, start, pins, area, weight)  # type: ignore[arg-type]

    @property
    def num_nets(self) -> int:
        """Number of nets, those of one vertex or none included."""
        return len(self.start) - 1

    @property
    def total_area(self) -> float:
        """Area of all vertices."""
        return float(self.area.sum())

    def net(self, number: int) -> NDArray[np.int32]:
        """Return the vertices of a net."""
        return self.pins[self.start[number] : self.start[number + 1]]

    def connectivity(self, parts: ArrayLike) -> NDArray[np.int64]:
        """Return in how many parts each net has vertices, (nets,)."""
        part = self.check_parts(parts)
        net = np.repeat(np.arange(self.num_nets), np.diff(self.start))
        pairs = np.unique(net * (int(part.max()) + 1) + part[self.pins])
        return np.bincount(pairs // (int(part.max()) + 1), minlength=self.num_nets)

    def cut(self, parts: ArrayLike) -> float:
        """Return Σ_e w_e over the nets with vertices in more than one part.

        ``parts``: (vertices,), the part of each vertex, 0, 1, …
        """
        return float(self.weight[self.connectivity(parts) > 1].sum())

    def km1(self, parts: ArrayLike) -> float:
        """Return Σ_e w_e (λ_e − 1), λ_e being the number of parts in which net e has vertices.

        The connectivity metric of hMETIS and KaHyPar; of two parts it is the cut.

        >>> Hypergraph.from_nets(3, [[0, 1, 2]]).km1([0, 1, 2])
        2.0
        """
        return float(self.weight @ np.maximum(self.connectivity(parts) - 1, 0))

    def part_areas(self, parts: ArrayLike, num_parts: int = 0) -> NDArray[np.float64]:
        """Return the area of each part, at least ``num_parts`` of them."""
        areas = np.bincount(self.check_parts(parts), self.area, num_parts)
        return areas.astype(np.float64)

    def check_parts(self, parts: ArrayLike) -> NDArray[np.int64]:
        """Return ``parts`` as int64; raises :class:`~anneal.errors.InputError`."""
        part = _whole_numbers("parts", parts)
        if part.shape != (self.num_vertices,):
            raise InputError(
                f"parts must have shape ({self.num_vertices},), but has shape {part.shape}"
            )
        if part.min() < 0 or part.max() > self.num_vertices:
            raise InputError(f"parts must lie in 0 … {self.num_vertices}")
        return part


def planted_hypergraph(
    *,
    seed: Seed,
    num_vertices: int = 1000,
    num_parts: int = 2,
    nets_per_vertex: float = 1.0,
    p_cut: float = 0.03,
    most_pins: int = 6,
    most_area: int = 1,
) -> tuple[Hypergraph, NDArray[np.int64]]:
    """Return a random hypergraph and the parts that were planted in it.

    Parts have equal numbers of vertices, to one. A net has 2 … ``most_pins`` vertices (size m with
    probability ∝ 1/m²); with probability ``p_cut`` they are drawn from all vertices, else from one
    part. Areas are whole, 1 … ``most_area``. A better partition than the planted one may exist.
    Raises :class:`~anneal.errors.InputError` for numbers out of range.

    >>> hypergraph, parts = planted_hypergraph(seed=1, num_vertices=40)
    >>> hypergraph.num_nets, int(parts.sum())
    (40, 20)
    """
    rng = np.random.default_rng(seed)
    size = edges.whole("num_vertices", num_vertices, least=2)
    count = edges.whole("num_parts", num_parts, least=1, most=size // 2)
    most = edges.whole("most_pins", most_pins, least=2)
    p_cut = edges.number("p_cut", p_cut, least=0, most=1)
    areas = edges.whole("most_area", most_area, least=1, most=2**40)
    num_nets = round(edges.number("nets_per_vertex", nets_per_vertex, least=0, most=1e6) * size)
    parts = rng.permutation(np.arange(size) % count)
    members = [np.flatnonzero(parts == part) for part in range(count)]
    pins = np.arange(2, min(most, size) + 1)
    drawn = rng.choice(pins, num_nets, p=1 / pins**2 / np.sum(1 / pins**2))
    nets = []
    for wanted in drawn:
        inside = members[rng.integers(count)]
        pool = np.arange(size) if rng.random() < p_cut else inside
        nets.append(rng.choice(pool, min(wanted, len(pool)), replace=False))
    area = rng.integers(1, areas + 1, size).astype(np.float64)
    return Hypergraph.from_nets(size, nets, area=area), parts


def side_limits(
    total: float, shares: Sequence[float], *, tolerance: float, whole: bool
) -> NDArray[np.float64]:
    """Return the most area of each part: (1 + tolerance) · share · total.

    Where areas are whole numbers it is rounded up, as hMETIS and Mt-KaHyPar do with their
    imbalance ε: max part ≤ ⌈(1 + ε) total / k⌉. Otherwise 10⁻⁹ of it is added for rounding.

    >>> side_limits(11, [0.5, 0.5], tolerance=0.02, whole=True).tolist()
    [6.0, 6.0]
    """
    most = (1 + tolerance) * np.asarray(shares, np.float64) * total
    limit: NDArray[np.float64] = np.ceil(most * (1 - 1e-12)) if whole else most * (1 + 1e-9)
    return limit


def are_whole(values: NDArray[np.float64]) -> bool:
    """Return whether all values are whole numbers, and their sums exact."""
    return bool(np.all(values == np.floor(values)) and values.sum() < 2**53)


def _whole_numbers(name: str, values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise InputError(
            f"{name} must be a list of whole numbers, not {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _amounts(name: str, values: Any, size: int) -> NDArray[np.float64]:
    array = edges.read_only(name, np.ones(size) if values is None else values)
    if array.shape != (size,):
        raise InputError(f"{name} must have shape ({size},), but has shape {array.shape}")
    if array.size and (array.min() < 0 or not math.isfinite(array.sum())):
        raise InputError(f"{name} must not be negative")
    return array


def _once(
    start: NDArray[np.int64], pins: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the nets with each vertex once, in the order of its first pin."""
    net = np.repeat(np.arange(len(start) - 1), np.diff(start))
    _, kept = np.unique(net * size + pins, return_index=True)
    if kept.size == pins.size:
        return start, pins
    kept.sort()
    counts = np.bincount(net[kept], minlength=len(start) - 1)
    return np.concatenate([[0], np.cumsum(counts)]), pins[kept]
