"""AdaRound's relaxation as one writes it down: autograd and torch's Adam, a peer for ours."""

from __future__ import annotations

import numpy as np
import torch

from anneal.rounding.relaxation import NUM_STEPS
from anneal.rounding.rows import LayerRows, Levels


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
    """Round as :func:`anneal.rounding.relaxation.relax` does (Nagel et al. 2020, eqs. 21-25)."""
    highest = np.maximum(rows.upper - 1, rows.lower)
    floor = torch.from_numpy(np.clip(np.floor(rows.target), rows.lower, highest)).float()
    upper = torch.minimum(floor + 1, torch.from_numpy(rows.upper).float())
    target, hessian = torch.from_numpy(rows.target).float(), torch.from_numpy(rows.hessian).float()
    weight = torch.from_numpy(rows.weight).float()[:, None]
    fraction = (target - floor).clamp(1e-4, 1 - 1e-4)
    values = torch.logit((fraction + 0.1) / 1.2).requires_grad_()
    optimizer = torch.optim.Adam([values], lr=rate)
    for step in range(1, num_steps + 1):
        height = (torch.sigmoid(values) * 1.2 - 0.1).clamp(0, 1)  # eq. 23
        error = torch.minimum(floor + height, upper) - target  # eq. 22
        grouped = error.view(len(hessian), -1, rows.fan_in)
        loss = (weight * (grouped @ hessian).view_as(error) * error).sum()  # eq. 21
        share = (step / num_steps - 0.2) / 0.8
        if share > 0:
            beta = 20 + (2 - 20) * share
            loss = loss + regularisation * (1 - (2 * height - 1).abs() ** beta).sum()  # eq. 24
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    up = (torch.sigmoid(values.detach()) * 1.2 - 0.1 >= 0.5) & (upper > floor)
    found: Levels = (floor + up).numpy().astype(np.int64)
    return found
