"""The generator of Palubeckis' binary quadratic programs p3000 … p7000."""

from __future__ import annotations

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.problem import Seed
from anneal.problems import edges

MODULUS, FACTOR = 2**31 - 1, 16807

# The largest value known of each instance, by its number of variables, its density in percent and
# its seed (Palubeckis 2004, 2006; Glover, Lü and Hao 2010).
BEST_KNOWN = {
    (3000, 50, 31000): 3931583,
    (3000, 80, 32000): 5193073,
    (3000, 80, 33000): 5111533,
    (3000, 100, 34000): 5761822,
    (3000, 100, 35000): 5675625,
    (4000, 50, 41000): 6181830,
    (4000, 80, 42000): 7801355,
    (4000, 80, 43000): 7741685,
    (4000, 100, 44000): 8711822,
    (4000, 100, 45000): 8908979,
    (5000, 50, 51000): 8559680,
    (5000, 80, 52000): 10836019,
    (5000, 80, 53000): 10489137,
    (5000, 100, 54000): 12252318,
    (5000, 100, 55000): 12731803,
    (6000, 50, 61000): 11384976,
    (6000, 80, 62000): 14333855,
    (6000, 100, 64000): 16132915,
    (7000, 50, 71000): 14478676,
    (7000, 80, 72000): 18249948,
    (7000, 100, 74000): 20446407,
}


def generate(
    size: int, density: float, seed: Seed
) -> tuple[dimod.BinaryQuadraticModel, float | None]:
    """Return −xᵀQx as a model of bits, and the least energy known.

    Row by row, Q_ii and then, for each j > i, whether Q_ij is there and its value, each takes the
    next u of the generator x → 16807 x mod (2³¹ − 1), u = x / 2³¹ (Lehmer; Park and Miller 1988): a
    coupling is there where u ≤ ``density``, and a value is ⌊201 u − 100⌋. A seed that is no int is
    drawn. Raises :class:`~anneal.errors.InputError` for one outside 1 … 2³¹ − 2.

    >>> generate(2, 1.0, 1)[0].quadratic
    {(1, 0): -102.0}
    """
    if not isinstance(seed, int):
        seed = int(np.random.default_rng(seed).integers(1, MODULUS))
    state = edges.whole("the seed of family palubeckis", seed, least=1, most=MODULUS - 1)
    edges.check_num_edges(density * size * (size - 1) / 2)
    factors = _powers(2 * size)
    linear, ends, values = np.empty(size), [], []
    for i in range(size):
        states = state * factors[: 2 * (size - i) - 1] % MODULUS
        value = np.floor(states / 2.0**31 * 201.0 - 100.0)
        linear[i] = value[0]
        low = states[1:] / 2.0**31 <= density
        choices = 1 + _choices(low, size - i - 1)
        there = choices[low[choices - 1]]
        ends.append(i + 1 + np.flatnonzero(low[choices - 1]))
        values.append(2 * value[there + 1])
        state = int(states[size - i - 1 + len(there)])
    begins = np.repeat(np.arange(size), [len(end) for end in ends])
    model = dimod.BinaryQuadraticModel.from_numpy_vectors(
        -linear, (begins, np.concatenate(ends), -np.concatenate(values)), 0.0, dimod.BINARY
    )
    known = BEST_KNOWN.get((size, round(100 * density), seed))
    exact = known is not None and density == round(100 * density) / 100
    return model, -float(known) if exact and known is not None else None


def _powers(count: int) -> NDArray[np.int64]:
    """Return 16807¹ … 16807^count mod 2³¹ − 1."""
    powers = np.array([FACTOR], np.int64)
    while len(powers) < count:
        powers = np.concatenate([powers, powers * powers[-1] % MODULUS])
    return powers[:count]


def _choices(low: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Return which of the numbers decide about the ``count`` pairs of a row.

    ``low``: whether a number, if it decides, says that the pair is a coupling, whose value is the
    next number then; so a number decides unless the one before it does and is low. Within a run
    of low numbers every other one decides, its first among them.
    """
    place = np.arange(len(low))
    before = np.concatenate([[False], low[:-1]])
    first = np.maximum.accumulate(np.where(before, -1, place))
    return np.flatnonzero((place - first) % 2 == 0)[:count]
