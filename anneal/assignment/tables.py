"""A quadratic assignment problem as its kernels want it, and one tabu walk over permutations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.kernels import permutations as kernels
from anneal.kernels.random import new_state
from anneal.problems.assignment import Assignment, Permutation

ROW_BYTES = 64
CHUNK_WORK = 2**23  # deltas looked at between two looks at the clock, a few milliseconds
LATEST = 2**29  # the swap at which counting starts again
TENURE = 8  # times n, and
ASPIRATION = 5  # times n²: Taillard's code of 2002


@dataclass(frozen=True, eq=False)
class QapTables:
    """Matrices as :mod:`anneal.kernels.permutations` has them, the distances by site.

    Where either matrix is symmetric, the other counts by its symmetric part alone, and one layer
    does. Whole numbers are float32 where every sum stays exact, below 2²⁴; others are float64.
    """

    problem: Assignment
    flow: NDArray[Any]
    distance: NDArray[Any]
    diagonals: NDArray[Any]

    @classmethod
    def of(cls, problem: Assignment) -> QapTables:
        """From the problem.

        >>> QapTables.of(Assignment([[0, 3], [1, 0]], [[0, 2], [2, 0]])).flow[:, :, :2].tolist()
        [[[0.0, 4.0], [4.0, 0.0]]]
        """
        flow, distance = problem.flow, problem.distance
        symmetric = [bool((matrix == matrix.T).all()) for matrix in (flow, distance)]
        if any(symmetric):
            # Doubled, once for each order of a pair; halves of whole numbers would not be whole.
            flows = [flow + flow.T]
            distances = [distance if symmetric[1] else distance + distance.T]
            if not symmetric[1]:
                flows = [flow]
        else:
            flows, distances = [flow, flow.T], [distance, distance.T]
        diagonals = np.stack([np.diag(flow), np.diag(distance)])
        kind = _number_type(np.stack(flows), np.stack(distances), diagonals)
        return cls(
            problem,
            _padded(np.stack(flows), kind),
            _padded(np.stack(distances), kind),
            _padded(diagonals[None], kind, clear=False)[0],
        )

    @property
    def size(self) -> int:
        """Number of facilities."""
        return len(self.problem.flow)

    def arrays(self, order: Permutation) -> tuple[NDArray[Any], ...]:
        """Flow, distance, diagonals and order that a walk from ``order`` starts with."""
        sites = np.concatenate([order, np.arange(self.size, self.flow.shape[2])])
        distance = np.ascontiguousarray(self.distance[:, order][:, :, sites])
        diagonals = np.stack([self.diagonals[0], self.diagonals[1, sites]])
        return self.flow, distance, diagonals, order.astype(np.int64)


def _number_type(
    flows: NDArray[Any], distances: NDArray[Any], diagonals: NDArray[Any]
) -> np.dtype[Any]:
    """float32 where no sum of the kernels leaves its whole numbers, else float64."""
    largest = float(np.abs(flows).max()), float(np.abs(distances).max())
    whole = all((array == np.floor(array)).all() for array in (flows, distances, diagonals))
    rows = float(np.abs(flows).sum(axis=(0, 2)).max())
    # Four sums of a row, the terms of a swap less those that are added later, and the diagonals.
    bound = largest[1] * (4 * rows + 48 * largest[0])
    bound += 4 * float(np.abs(diagonals[0]).max()) * float(np.abs(diagonals[1]).max())
    return np.dtype(np.float32 if whole and bound < 2**24 else np.float64)


def _padded(matrices: NDArray[Any], kind: np.dtype[Any], *, clear: bool = True) -> NDArray[Any]:
    """Zero pads up to whole rows of lanes; diagonals cleared."""
    size, lanes = matrices.shape[2], ROW_BYTES // kind.itemsize
    padded = np.zeros((*matrices.shape[:2], -(-size // lanes) * lanes), kind)
    padded[:, :, :size] = matrices
    if clear:
        padded[:, np.arange(size), np.arange(size)] = 0
    return padded


class TabuWalk:
    """Robust tabu search from one permutation after the other, on the same tables.

    ``best`` and ``cost`` are the best since :meth:`begin`, its cost summed anew; ``made`` counts
    all swaps.
    """

    def __init__(self, tables: QapTables, rng: np.random.Generator) -> None:
        self.tables = tables
        self.state = new_state(rng)
        self.made = 0

    def begin(self, order: Permutation, control: Control) -> None:
        """Start from ``order`` with empty lists."""
        tables = self.tables
        self.arrays = tables.arrays(order)
        size, width = tables.flow.shape[1:]
        kind = tables.flow.dtype
        self.sums, self.deltas = np.zeros(width, kind), np.zeros((size, width), kind)
        kernels.fill(*self.arrays[:3], self.sums, self.deltas)
        counts = np.int32 if kind.itemsize == 4 else np.int64
        # As if each had left its sites one after the other, so that not all come due at once.
        self.until = -np.arange(size * width, dtype=counts).reshape(size, width)
        self.blocked = self.until.copy()
        self.best, self.cost = order.copy(), tables.problem.cost(order)
        self.walk = np.zeros(3)
        control.improve(self.cost)

    def run(self, num_swaps: int, control: Control) -> None:
        """Make ``num_swaps`` swaps, fewer where ``control`` says stop."""
        size = self.tables.size
        if size < 2:
            return
        chunk = max(1, CHUNK_WORK // self.deltas.size)
        while num_swaps > 0:
            swaps, record = min(chunk, num_swaps), self.walk[1]
            kernels.robust_tabu(
                *self.arrays, self.sums, self.deltas, self.until, self.blocked, self.best,
                self.walk, TENURE * size, ASPIRATION * size * size, swaps, self.state,
            )  # fmt: skip
            num_swaps -= swaps
            self.made += swaps
            if self.walk[1] < record:
                self.cost = self.tables.problem.cost(self.best)
                control.improve(self.cost)
            if control.stop():
                break
            if self.walk[2] > LATEST:
                self._turn_back()

    def _turn_back(self) -> None:
        """Count swaps from 0 again, before the numbers get too large."""
        now = int(self.walk[2])
        for times in (self.until, self.blocked):
            np.maximum(times - now, -LATEST, out=times)
        self.walk[2] = 0


def starting_orders(
    problem: Assignment, start: Permutation | None, count: int, rng: np.random.Generator
) -> list[Permutation]:
    """``start``, where it is given, and random permutations up to ``count``."""
    given = [] if start is None else [start]
    return given + [problem.random_solution(rng) for _ in range(count - len(given))]
