"""What is annealed: B*-trees of blocks, or orders in which a skyline takes them."""

from __future__ import annotations

import abc
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.floorplan.blocks import Blocks, Floorplan, Outline, hpwl
from anneal.kernels.floorplans import BLOCK, LEFT, OUTSIDE, PARENT, RIGHT, anneal_tree, pack_tree
from anneal.kernels.random import new_state
from anneal.kernels.skylines import anneal_order
from anneal.placement.netlist import ORIENTATIONS, Floats

# Of what is beyond the outline, over its side: as much as so many times the blocks' area.
PENALTY = 4.0
# Temperatures, of costs of about 1. One move of n changes the more the fewer blocks there are.
HOT_TREE, COLD_TREE, COLD_SOFT = 0.03, 0.01, 0.001  # soft blocks fit ever more closely
HOT_ORDER, COLD_ORDER = 0.002, 0.002
PIECE = 500_000  # blocks placed without asking whether to stop: about a hundredth of a second
BLOCKS_AS_ONE = 4.0  # an order of so many blocks is packed as fast as a tree of them
FREE = 1e300  # sides of an outline where there is none


class Objective(NamedTuple):
    """weights: of area, wirelength, and what is beyond the outline, so that costs are about 1."""

    weights: Floats
    outline: Floats

    @classmethod
    def of(
        cls, blocks: Blocks, outline: Outline | None = None, max_aspect: float | None = None
    ) -> Objective:
        """Return that of area alone; a dead space of d costs 1 / (1 − d).

        ``max_aspect``: without an outline, of a box without dead space, longer over shorter side.
        """
        if outline is None and max_aspect is not None:
            longest = max(blocks.width.max(), blocks.height.max())
            outline = (max(np.sqrt(max_aspect * blocks.area), longest),) * 2
        sides = np.array(outline or (FREE, FREE)) * (1 + 1e-12)
        return cls(np.array([1 / blocks.area, 0.0, PENALTY]), sides)


class Engine(abc.ABC):
    """A state that is annealed, and the best floorplan it has been.

    ``hot``, ``cold``: temperatures to begin and to end with; ``piece``: moves of some milliseconds.
    """

    hot: float
    cold: float
    piece: int

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.costs = np.full(2, np.inf)
        self.best = np.zeros((5, count))
        self.random = new_state(rng)

    @abc.abstractmethod
    def restart(self) -> None:
        """Begin anew from another state; the best floorplan is kept."""

    @abc.abstractmethod
    def anneal(self, moves: int, temperature: float) -> None:
        """Propose so many moves."""

    @abc.abstractmethod
    def moves(self, moves_per_block: float) -> float:
        """How many moves of this engine are as much work as so many of a tree for each block."""

    @property
    def cost(self) -> float:
        """That of the best floorplan, which is within the outline if any has been."""
        return float(self.costs[1] - (OUTSIDE if self.costs[1] >= OUTSIDE else 0.0))

    @property
    def plan(self) -> Floorplan:
        """The best floorplan so far."""
        x, y, wide, high, turned = self.best.copy()
        orientation = np.where(turned > 0, ORIENTATIONS.index("E"), 0).astype(np.int8)
        return Floorplan(x, y, wide, high, orientation)


class TreeEngine(Engine):
    """A B*-tree, for any blocks and objective; ``wirelength``: its weight, 0 … 1."""

    def __init__(
        self, blocks: Blocks, objective: Objective, wirelength: float, rng: np.random.Generator
    ) -> None:
        count = len(blocks)
        super().__init__(count, rng)
        self.hot = HOT_TREE
        self.cold = (COLD_SOFT if blocks.soft.any() else COLD_TREE) / count
        self.piece = max(1, PIECE // (count + (blocks.num_pins if wirelength > 0 else 0)))
        self.blocks = blocks
        self.restart()
        area = blocks.width * blocks.height
        bounds = np.sqrt(np.stack([area * blocks.least, area * blocks.most], 1))
        self.bounds = np.where(blocks.soft[:, None], bounds, 0.0)
        self.nets = (
            blocks.start, blocks.member, blocks.dx, blocks.dy, blocks.pad_x, blocks.pad_y
        )  # fmt: skip
        weights = objective.weights.copy()
        self._pack(weights, objective.outline)
        if wirelength > 0:
            # What a random floorplan costs is the unit of wirelength.
            weights[0] *= 1 - wirelength
            weights[1] = wirelength / (hpwl(blocks, self.plan) or 1.0)
        self.weights, self.outline = weights, objective.outline

    def restart(self) -> None:
        """Begin anew from a random tree; the best floorplan is kept."""
        self.tree = _random_tree(len(self.blocks), self.rng)
        self.wide, self.high = self.blocks.width.copy(), self.blocks.height.copy()
        self.turned = np.zeros(len(self.blocks))
        self.costs[0] = np.inf

    def moves(self, moves_per_block: float) -> float:
        """How many moves are as much work as so many of a tree for each block."""
        return moves_per_block * len(self.wide)

    def _pack(self, weights: Floats, outline: Floats) -> None:
        count = len(self.wide)
        x, y, right, top = np.zeros((4, count))
        following, before, stack = np.zeros((3, count), np.int32)
        pack_tree(
            self.tree, self.wide, self.high, x, y, right, top, following, before, stack,
            weights, outline, np.inf,
        )  # fmt: skip
        self.best[:] = x, y, self.wide, self.high, self.turned

    def anneal(self, moves: int, temperature: float) -> None:
        """Propose so many moves."""
        anneal_tree(
            self.tree, self.wide, self.high, self.turned, self.bounds, *self.nets, self.weights,
            self.outline, self.costs, self.best, moves, temperature, self.random,
        )  # fmt: skip


class OrderEngine(Engine):
    """An order of hard blocks that a skyline takes, for area alone."""

    def __init__(self, blocks: Blocks, objective: Objective, rng: np.random.Generator) -> None:
        count = len(blocks)
        super().__init__(count, rng)
        self.hot, self.cold = HOT_ORDER, COLD_ORDER / count
        self.piece = max(1, PIECE // count**2)
        self.wide, self.high = blocks.width, blocks.height
        self.objective = objective
        most, high = objective.outline.tolist()
        least = max(blocks.area / high, float(np.minimum(self.wide, self.high).max()))
        self.span = np.array([least, max(least, most)])
        self.side = float(np.sqrt(blocks.area))
        self.restart()

    def restart(self) -> None:
        """Begin anew from large blocks to small ones; the best floorplan is kept."""
        self.order = np.argsort(-self.wide * self.high, kind="stable").astype(np.int32)
        # A sum of lengths, as the moves change it by differences of them.
        sums = np.cumsum(self.rng.permutation(np.concatenate([self.wide, self.high])))
        self.strip = np.clip(sums[[np.searchsorted(sums, self.side)]], *self.span)
        self.costs[0] = np.inf

    def anneal(self, moves: int, temperature: float) -> None:
        """Propose so many moves."""
        anneal_order(
            self.order, self.strip, self.span, self.wide, self.high, *self.objective, self.costs,
            self.best, moves, temperature, self.random,
        )  # fmt: skip

    def moves(self, moves_per_block: float) -> float:
        """How many moves are as much work as so many of a tree for each block."""
        # A tree is packed in time that grows with the blocks, an order with their square.
        return moves_per_block * BLOCKS_AS_ONE


def _random_tree(count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return a tree as flat as can be, blocks in random order."""
    tree = np.full((4, count), -1, np.int32)
    node = np.arange(count)
    tree[PARENT, 1:] = (node[1:] - 1) // 2
    for side, child in ((LEFT, 2 * node + 1), (RIGHT, 2 * node + 2)):
        tree[side] = np.where(child < count, child, -1)
    tree[BLOCK] = rng.permutation(count)
    return tree
