"""Problems that a benchmark makes itself: tori of the G-set, rows of weights of a hard spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anneal.problems.maxcut import MaxCut
    from anneal.problems.rounding import Rounding

MODULUS = 2**31


def gset_torus(rows: int, columns: int, seed: int) -> MaxCut:
    """Return a torus with weights ±1 as Rinaldi's generator rudy makes it, edges in its order.

    It is rudy's ``-toroidal_grid_2D rows columns -random 0 1 seed -times 2 -plus -1``. G11 to G13
    are 100 × 8, 50 × 16 and 25 × 32 with the seeds 8001, 8002 and 8003, G32 and G33 are 100 × 20
    and 80 × 25 with 20003 and 20002.

    >>> torus = gset_torus(100, 8, 8001)
    >>> (torus.i[:3] + 1).tolist(), (torus.j[:3] + 1).tolist(), torus.weight[:3].tolist()
    ([1, 1, 1], [793, 9, 8], [1.0, -1.0, 1.0])
    """
    from anneal.problems.maxcut import MaxCut

    vertex = np.arange(rows * columns)
    row, column = np.divmod(vertex, columns)
    # Of each vertex the edges that no vertex before it has: up and left around the torus, down and
    # right within; −1 where there is none.
    ends = np.stack(
        [
            np.where(row == 0, vertex + (rows - 1) * columns, -1),
            np.where(row < rows - 1, vertex + columns, -1),
            np.where(column == 0, vertex + columns - 1, -1),
            np.where(column < columns - 1, vertex + 1, -1),
        ],
        axis=1,
    )
    begins = np.broadcast_to(vertex[:, np.newaxis], ends.shape)
    there = ends >= 0
    odd = _graphbase_numbers(seed, int(there.sum())) % 2 == 1
    return MaxCut(rows * columns, begins[there], ends[there], np.where(odd, 1.0, -1.0))


def _graphbase_numbers(seed: int, count: int) -> NDArray[np.int64]:
    """Return numbers 0 … 2³¹ − 1 of the Stanford GraphBase (Knuth 1993, GB_FLIP).

    x_n = (x_{n−55} − x_{n−24}) mod 2³¹, handed out backwards in blocks of 55.

    >>> int(_graphbase_numbers(-314159, 1)[0])
    119318998
    """
    state = np.zeros(56, np.int64)
    previous, following = seed % MODULUS, 1
    twisted = previous
    state[55] = previous
    for place in (21 * k % 55 for k in range(1, 55)):
        state[place] = following
        twisted = (twisted >> 1) + (2**30 if twisted & 1 else 0)
        previous, following = following, (previous - following - twisted) % MODULUS
    blocks = []
    for block in range(5 + count // 55 + 1):
        for low, high, back in ((1, 25, -31), (25, 49, 24), (49, 56, 24)):
            state[low:high] = (state[low:high] - state[low - back : high - back]) % MODULUS
        if block >= 4:
            blocks.append(state[:0:-1].copy())
    return np.concatenate(blocks)[1 : count + 1]


def steep_row(fan_in: int, seed: int) -> Rounding:
    """Return a row of ``fan_in`` weights to round up or down, hard for single flips.

    Its Hessian has one eigenvalue that outweighs all others, of a direction without a change of
    sign (the mean of inputs that are not negative), and the rest spread evenly in logarithm over
    six decades in random directions: 10, then 1 … 10⁻⁶.

    >>> steep_row(8, seed=1).bqm().num_variables
    8
    """
    from anneal.problems.rounding import Rounding

    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(fan_in, fan_in))
    directions[:, 0] = np.abs(directions[:, 0])
    basis = np.linalg.qr(directions)[0]
    values = np.append(10.0, np.geomspace(1.0, 1e-6, fan_in - 1))
    hessian = (basis * values) @ basis.T
    lower = np.zeros(fan_in, np.int64)
    return Rounding(rng.random(fan_in), (hessian + hessian.T) / 2, lower, lower + 1)
