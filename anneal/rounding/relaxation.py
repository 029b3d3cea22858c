"""AdaRound's relaxation (Nagel et al. 2020, arXiv:2004.10568, §3.3) on the quadratic cost.

Between its two levels a weight stands at floor + h(V) with the rectified sigmoid h(V) =
clip(1.2·sigmoid(V) − 0.1, 0, 1) (eq. 23). Adam minimises the cost plus λ·Σ(1 − abs(2h − 1)^β)
(eqs. 21, 24), which after a fifth of the steps drives h to 0 or 1 while β falls from 20 to 2. The
expectation over all inputs stands in for the paper's batches of 32 images.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anneal.rounding.descent import flip
from anneal.rounding.neighbourhoods import SIZE, lns
from anneal.rounding.rows import LayerRows, Levels

STRETCH, SHIFT = 1.2, -0.1
NUM_STEPS = 10_000
WARM = 0.2
HOT, COLD = 20.0, 2.0
FIRST, SECOND, TINY = 0.9, 0.999, 1e-8  # Adam's


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
    threads = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        return _relaxed(rows, num_steps, rate, regularisation)
    finally:
        torch.set_num_threads(threads)


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


def _relaxed(rows: LayerRows, num_steps: int, rate: float, regularisation: float) -> Levels:
    floor = np.clip(np.floor(rows.target), rows.lower, np.maximum(rows.upper - 1, rows.lower))
    room = torch.from_numpy(np.minimum(rows.upper - floor, 1)).float()
    base = torch.from_numpy(floor - rows.target).float()
    hessian = torch.from_numpy(rows.hessian).float()
    weight = torch.from_numpy(rows.weight).float()[:, None]
    values = _first_values(torch.from_numpy(rows.target - floor).float())
    means = torch.zeros_like(values), torch.zeros_like(values)
    for step in range(1, num_steps + 1):
        share = (step / num_steps - WARM) / (1 - WARM)
        beta = COLD + (HOT - COLD) * max(0.0, 1 - share)
        part = torch.sigmoid(values)
        height = (part * STRETCH + SHIFT).clamp_(0, 1)
        error = torch.addcmul(base, height, room)
        slope = torch.matmul(error.view(len(hessian), -1, rows.fan_in), hessian)
        slope = slope.view_as(error).mul_(room).mul_(2 * weight)
        if share > 0:
            centred = 2 * height - 1
            power = centred.abs().pow_(beta - 1).mul_(torch.sign(centred))
            slope.add_(power, alpha=-2 * regularisation * beta)
        # h has no slope where it is clipped.
        inside = (height > 0) & (height < 1)
        slope.mul_(part.sub_(part.square())).mul_(inside).mul_(STRETCH)
        means[0].lerp_(slope, 1 - FIRST)
        means[1].mul_(SECOND).addcmul_(slope, slope, value=1 - SECOND)
        root = (means[1] / (1 - SECOND**step)).sqrt_().add_(TINY)
        values.addcdiv_(means[0], root, value=-rate / (1 - FIRST**step))
    up = (torch.sigmoid(values) * STRETCH + SHIFT >= 0.5) & (room > 0)
    found: Levels = (floor + up.numpy()).astype(np.int64)
    return found


def _first_values(fraction: Tensor) -> Tensor:
    """Return V with h(V) = fraction, kept off the ends where h has no slope."""
    return torch.logit((fraction.clamp(1e-4, 1 - 1e-4) - SHIFT) / STRETCH)
