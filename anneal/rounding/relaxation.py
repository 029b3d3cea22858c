"""AdaRound's relaxation (Nagel et al. 2020, arXiv:2004.10568, §3.3) on the quadratic cost.

Between its two levels a weight stands at floor + h(V) with the rectified sigmoid h(V) =
clip(1.2·sigmoid(V) − 0.1, 0, 1) (eq. 23). Adam minimises the cost plus λ·Σ(1 − abs(2h − 1)^β)
(eqs. 21, 24), which after a fifth of the steps drives h to 0 or 1 while β falls from 20 to 2. The
expectation over all inputs stands in for the paper's batches of 32 images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anneal.kernels import rectified as kernels
from anneal.kernels.threads import over_rows
from anneal.rounding.descent import flip
from anneal.rounding.neighbourhoods import SIZE, lns
from anneal.rounding.rows import LayerRows, Levels

NUM_STEPS = 10_000
WARM = 0.2
HOT, COLD = 20.0, 2.0
# Weights whose numbers stay in a core's cache through all steps; and fewer rows than these would
# read the Hessian too often.
CACHED, LEAST_ROWS = 2**16, 64
FRACTIONS = 1e-4, 1 - 1e-4  # h begins between them: beyond it has no slope
WEIGHT = 0.002  # microseconds that a weight costs in a step
Singles = NDArray[np.float32]


class Step(NamedTuple):
    """λ and β of a step, and by what Adam multiplies it and the second mean."""

    regularisation: float
    beta: float
    rates: Singles


def relax(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    num_steps: int = NUM_STEPS,
    rate: float = 1e-2,
    regularisation: float = 0.01,
) -> Levels:
    """Round by AdaRound's relaxation; V begins where h is the fraction of each weight.

    Its gradient is written out: a product with the Hessian and one pass over the weights a step.
    """
    lowest = np.maximum(rows.upper - 1, rows.lower)
    floor = np.clip(np.floor(rows.target), rows.lower, lowest)
    base, room = floor - rows.target, np.minimum(rows.upper - floor, 1)
    steps = list(_schedule(num_steps, rate, regularisation))
    hessian = torch.from_numpy(rows.hessian).float()
    threads = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        for groups, part in _blocks(rows):
            arrays = [array[part].astype(np.float32) for array in (base, room, rows.weight)]
            heights = _heights(arrays, hessian[groups], steps, num_threads)
            floor[part] += (heights >= 0.5) & (room[part] > 0)
    finally:
        torch.set_num_threads(threads)
    return floor.astype(np.int64)


def relax_and_flip(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    num_steps: int = NUM_STEPS,
) -> Levels:
    """Round by the relaxation and descend from there; all levels are open to the descent."""
    found = relax(rows, rng=rng, num_threads=num_threads, num_steps=num_steps)
    return flip(rows, rng=rng, start=found, num_threads=num_threads)


def relax_and_search(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    num_steps: int = 1000,
    rate: float = 0.05,
    size: int = SIZE,
    num_rounds: int = 4,
) -> Levels:
    """Search neighbourhoods from where a short AdaRound relaxation ends.

    It sees all weights at once: on wide rows of low rank that is worth its time.
    """
    found = relax(rows, rng=rng, num_threads=num_threads, num_steps=num_steps, rate=rate)
    return lns(
        rows, rng=rng, start=found, size=size, num_rounds=num_rounds, num_threads=num_threads
    )


def _schedule(num_steps: int, rate: float, regularisation: float) -> Iterator[Step]:
    for step in range(1, num_steps + 1):
        share = (step / num_steps - WARM) / (1 - WARM)
        beta = COLD + (HOT - COLD) * max(0.0, 1 - share)
        rates = rate / (1 - kernels.FIRST**step), 1 / (1 - kernels.SECOND**step)
        yield Step(regularisation * (share > 0), beta, np.array(rates, np.float32))


def _blocks(rows: LayerRows) -> Iterator[tuple[slice, slice]]:
    """Yield groups and rows of theirs that stay in a cache together."""
    per, most = rows.rows_per_group, max(CACHED // rows.fan_in, LEAST_ROWS)
    if per <= most:
        for group in range(0, len(rows.hessian), most // per):
            end = min(group + most // per, len(rows.hessian))
            yield slice(group, end), slice(group * per, end * per)
        return
    for row in range(0, rows.num_rows, per):
        for first in range(row, row + per, most):
            yield slice(row // per, row // per + 1), slice(first, min(first + most, row + per))


def _heights(
    arrays: list[Singles], hessian: Tensor, steps: list[Step], num_threads: int
) -> Singles:
    """Return h(V), not yet clipped, after all steps, (rows, n).

    arrays: floor − target and what there is above the floor, (rows, n), and the squared steps,
    (rows,). hessian: (groups, n, n).
    """
    base, room, weight = arrays
    height = (-base).clip(*FRACTIONS)
    parts = (height - kernels.SHIFT) / kernels.STRETCH
    values, error = np.log(parts / (1 - parts)), base + height * room
    means, slopes = np.zeros((2, *base.shape), np.float32), np.empty_like(error)
    grouped = torch.from_numpy(error).view(len(hessian), -1, base.shape[1])
    product = torch.from_numpy(slopes).view_as(grouped)
    for step in steps:
        torch.matmul(grouped, hessian, out=product)
        over_rows(
            lambda *part, step=step: kernels.step(
                values, parts, means, base, room, weight, slopes, error, *step, *part
            ),
            len(base),
            microseconds=WEIGHT * base.shape[1],
            num_threads=num_threads,
        )
    return (parts * kernels.STRETCH + kernels.SHIFT).astype(np.float32)
