"""Hypergraph bisection as a BQM: bits for vertices, for large nets, and for the balance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InfeasibleError, InputError
from anneal.partition.hypergraph import Hypergraph, are_whole, side_limits
from anneal.penalties import above
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges
from anneal.squares import Squares, joined

MOST_AREA = 10**6  # of all vertices: which sums of areas exist is kept as that many bits


@dataclass(frozen=True, eq=False)
class HypergraphBisection(Problem):
    """Two parts of little cut; a solution is the part of each vertex, int8 0 or 1.

    cost = cut. Neither part has more area than ⌈(1 + tolerance) total / 2⌉. Areas must be whole
    numbers, 10⁶ together at most. Exact for nets of any size: 2 and 3 vertices as a clique, more of
    them with two bits a net. Raises :class:`~anneal.errors.InputError` for other areas, and
    :class:`~anneal.errors.InfeasibleError` where no two parts keep the limit.

    Without a ``penalty`` for the balance a sufficient one is taken: a sample that breaks it pays
    the penalty at least, and comes into balance by moving vertices, which cuts no more than all
    nets; where all areas are equal, moving one at a time lowers the penalty's square by 1 at least
    and cuts no more than the nets of one vertex.

    >>> path = HypergraphBisection(Hypergraph.from_nets(4, [[0, 1], [1, 2], [2, 3]]))
    >>> path.cost([0, 0, 1, 1])
    1.0
    """

    hypergraph: Hypergraph
    tolerance: float = 0.02
    penalty: float | None = None
    best_known: float | None = None

    name: ClassVar[str] = "partition"
    small: ClassVar[Mapping[str, Any]] = {
        "num_vertices": 8,
        "most_pins": 4,
        "num_nets": 9,
        "num_large": 2,
        "tolerance": 0.25,
    }

    def __post_init__(self) -> None:
        if not isinstance(self.hypergraph, Hypergraph):
            raise InputError(f"hypergraph must be a Hypergraph, not {type(self.hypergraph)}")
        area = self.hypergraph.area
        if not are_whole(area) or area.sum() > MOST_AREA:
            raise InputError(f"areas must be whole numbers, at most {MOST_AREA} together")
        tolerance = edges.number("tolerance", self.tolerance, least=0, most=1e9)
        object.__setattr__(self, "tolerance", tolerance)
        if self.penalty is None:
            object.__setattr__(self, "penalty", self._sufficient_penalty())
        penalty = edges.number("penalty", self.penalty, least=0, most=1e300)
        if penalty == 0:
            raise InputError("penalty must be greater than 0")
        object.__setattr__(self, "penalty", penalty)
        self._balanced_sum()

    @property
    def limit(self) -> int:
        """The most area of a part."""
        total = self.hypergraph.total_area
        limit = side_limits(total, [0.5], tolerance=self.tolerance, whole=True)[0]
        return int(min(limit, total))

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the cut, and the penalty P (Σ_v a_v x_v + slack − limit)².

        Variables: x_v, the part of vertex v; of each net of 4 vertices or more y (does it touch
        part 1) and z (is it within part 1); then bits of the slack, which spans the areas that part
        1 may have. A net of 2 or 3 vertices costs w/(m − 1) for each pair that is parted. A larger
        one costs w (y − z + Σ_v x_v (1 − y) + Σ_v z (1 − x_v)), of which the least over y and z is
        the cut: y = 0 costs w for each vertex in part 1, and z = 1 for each in part 0.
        """
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares | None]:
        """Return the cut, and the square of the balance where there is an area."""
        model = dimod.BinaryQuadraticModel(dimod.BINARY)
        model.add_linear_from((variable, 0.0) for variable in range(self._num_variables()))
        large = self._large()
        aux = dict(
            zip(large.tolist(), range(self.hypergraph.num_vertices, 10**12, 2), strict=False)
        )
        for net, weight in enumerate(self.hypergraph.weight.tolist()):
            pins = self.hypergraph.net(net).tolist()
            if net in aux:
                _add_net(model, pins, weight, aux[net])
                continue
            share = weight / max(1, len(pins) - 1)
            for k, pin in enumerate(pins):
                for other in pins[:k]:
                    model.add_linear_from(((pin, share), (other, share)))
                    model.add_quadratic(pin, other, -2 * share)
        row = np.zeros((1, model.num_variables))
        row[0, : self.hypergraph.num_vertices] = self.hypergraph.area
        slack = self._slack()
        row[0, model.num_variables - len(slack) :] = slack
        if not row.any():
            return model, None
        return model, Squares(row, float(self.limit), float(self.penalty or 0))

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return parts, the bits of large nets, and the slack."""
        parts = self._parts(solution)
        bits = [parts]
        for net in self._large():
            inside = parts[self.hypergraph.net(net)]
            bits.append(np.array([inside.max(), inside.min()], np.int8))
        left = self.limit - round(float(self.hypergraph.area @ parts))
        slack = np.zeros(len(self._slack()), np.int8)
        # The last weight is the odd one out, so it is taken first where it fits.
        for k in reversed(range(len(slack))):
            weight = self._slack()[k]
            if left >= weight:
                slack[k], left = 1, left - weight
        return as_sample(np.concatenate([*bits, slack]), range(self._num_variables()))

    def decode(self, sample: Sample) -> Values:
        """Return the parts; where the balance is broken, vertices move that cut the least.

        They move one by one while each lowers what is over the limit. Where none does, any balanced
        parts are returned.
        """
        values = sample_values(sample, range(self._num_variables()), vartype=dimod.BINARY)
        parts = values[: self.hypergraph.num_vertices].copy()
        area, total = self.hypergraph.area, self.hypergraph.total_area
        while (over := max(float(area @ parts), total - float(area @ parts)) - self.limit) > 0:
            heavy = int(2 * float(area @ parts) > total)
            room = self.limit - (total - float(area @ parts) if heavy else float(area @ parts))
            usable = np.flatnonzero((parts == heavy) & (area > 0))
            usable = usable[np.maximum(0, area[usable] - room) < over]
            if not usable.size:
                return self._any_balanced()
            costs = []
            for vertex in usable:
                parts[vertex] ^= 1
                costs.append((self.hypergraph.cut(parts), float(-area[vertex]), int(vertex)))
                parts[vertex] ^= 1
            parts[min(costs)[2]] ^= 1
        return parts

    def cost(self, solution: Solution) -> float:
        """Return the cut."""
        return self.hypergraph.cut(self._parts(solution))

    def feasible(self, sample: Sample) -> bool:
        """Return whether the balance is kept and each net's bits are right."""
        values = sample_values(sample, range(self._num_variables()), vartype=dimod.BINARY)
        size = self.hypergraph.num_vertices
        parts, slack = values[:size], self._slack()
        spent = values[len(values) - len(slack) :] @ np.array(slack, np.int64) if slack else 0
        if float(self.hypergraph.area @ parts) + spent != self.limit:
            return False
        for number, net in enumerate(self._large()):
            ones = int(parts[self.hypergraph.net(net)].sum())
            zeros = len(self.hypergraph.net(net)) - ones
            y, z = values[size + 2 * number : size + 2 * number + 2].tolist()
            units = y - z + ones * (1 - y) + zeros * z
            if self.hypergraph.weight[net] > 0 and units != (ones > 0 and zeros > 0):
                return False
        return True

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem, and numbers of vertices and nets, limit and penalty."""
        return super().describe() | {
            "num_vertices": self.hypergraph.num_vertices,
            "num_nets": self.hypergraph.num_nets,
            "limit": self.limit,
            "penalty": self.penalty,
        }

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        num_vertices: int = 60,
        num_nets: int = 90,
        num_large: int = 10,
        most_pins: int = 6,
        tolerance: float = 0.02,
        penalty: float | None = None,
    ) -> HypergraphBisection:
        """Return a random instance with two planted parts, few nets between them.

        Nets have 2 or 3 vertices, but for ``num_large`` of 4 … ``most_pins``; one in ten is drawn
        from all vertices, the others from one part. Vertices have an area of 1.

        >>> HypergraphBisection.generate(seed=1, num_vertices=10).hypergraph.num_nets
        90
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_vertices", num_vertices, least=2, most=10_000)
        large = edges.whole("num_large", num_large, most=10_000)
        small = edges.whole("num_nets", num_nets, least=large, most=100_000) - large
        most = edges.whole("most_pins", most_pins, least=2)
        parts = rng.permutation(np.arange(size) % 2)
        nets = []
        for number in range(small + large):
            least, up_to = (2, min(3, most)) if number < small else (min(4, most), most)
            inside = np.flatnonzero(parts == rng.integers(2))
            pool = np.arange(size) if rng.random() < 0.1 else inside
            count = min(int(rng.integers(least, up_to + 1)), len(pool))
            nets.append(rng.choice(pool, count, replace=False).tolist())
        return cls(Hypergraph.from_nets(size, nets), tolerance, penalty)

    def _large(self) -> NDArray[np.intp]:
        """Return the nets that have bits of their own."""
        return np.flatnonzero(np.diff(self.hypergraph.start) > 3)

    def _slack(self) -> list[int]:
        """Return weights of bits that add up to every number of 0 … 2 · limit − total."""
        span = 2 * self.limit - round(self.hypergraph.total_area)
        weights: list[int] = []
        while span > 0:
            weights.append(min(1 << len(weights), span))
            span -= weights[-1]
        return weights

    def _num_variables(self) -> int:
        return self.hypergraph.num_vertices + 2 * len(self._large()) + len(self._slack())

    def _sufficient_penalty(self) -> float:
        weight = self.hypergraph.weight
        whole = are_whole(weight)
        if np.ptp(self.hypergraph.area) > 0:
            return above(float(weight.sum()), whole=whole)
        each = np.repeat(weight, np.diff(self.hypergraph.start))
        degrees = np.bincount(self.hypergraph.pins, each, self.hypergraph.num_vertices)
        return above(float(degrees.max()), whole=whole)

    def _any_balanced(self) -> Values:
        """Return parts within the limits: part 1 has the least sum of areas that keeps them."""
        wanted = self._balanced_sum()
        area = self.hypergraph.area.astype(np.int64).tolist()
        reached = [1]
        for one in area:
            reached.append(reached[-1] | reached[-1] << one)
        parts = np.zeros(len(area), np.int8)
        for vertex in reversed(range(len(area))):
            if not reached[vertex] >> wanted & 1:
                parts[vertex] = 1
                wanted -= area[vertex]
        return parts

    def _balanced_sum(self) -> int:
        """Return the least area that part 1 may have; raises InfeasibleError."""
        reached = 1
        for one in self.hypergraph.area.astype(np.int64).tolist():
            reached |= reached << one
        low = round(self.hypergraph.total_area) - self.limit
        above_low = reached >> low
        found = low + ((above_low & -above_low).bit_length() - 1) if above_low else -1
        if not low <= found <= self.limit:
            raise InfeasibleError(f"no two parts of these vertices have area {self.limit} at most")
        return found

    def _parts(self, solution: ArrayLike) -> Values:
        parts = self.hypergraph.check_parts(solution)
        heavier = max(
            float(self.hypergraph.area @ parts), float(self.hypergraph.area @ (1 - parts))
        )
        if parts.max() > 1 or heavier > self.limit:
            raise InputError(f"a solution must be parts 0 and 1 of area at most {self.limit}")
        return parts.astype(np.int8)


def _add_net(model: dimod.BinaryQuadraticModel, pins: list[int], weight: float, first: int) -> None:
    """Add w (y − z + Σ x (1 − y) + Σ z (1 − x)), y and z being variables first and first + 1."""
    model.add_linear_from(((first, weight), (first + 1, weight * (len(pins) - 1))))
    for pin in pins:
        model.add_linear(pin, weight)
        model.add_quadratic(pin, first, -weight)
        model.add_quadratic(pin, first + 1, -weight)
