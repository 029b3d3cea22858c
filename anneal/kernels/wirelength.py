"""Wirelength of nets along one axis: smooth with its gradient, and exact."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def smooth_spans(start, cell, offset, middle, weight, gamma, gradient):  # type: ignore[no-untyped-def]
    """Return Σ weight · (smooth maximum − smooth minimum) of the nets' pins along one axis, and the
    same with the exact ones; add the gradient of the first.

    The weighted average of Hsu, Chang & Balabanov (DAC 2011): Σ x e^(x/γ) / Σ e^(x/γ), and the same
    with −γ. start: (nets + 1,), cell, offset: (pins,), middle, gradient: (cells,).
    """
    total = exact = 0.0
    for net in range(start.shape[0] - 1):
        first, last = start[net], start[net + 1]
        if last - first < 2:
            continue
        low = high = middle[cell[first]] + offset[first]
        for pin in range(first + 1, last):
            at = middle[cell[pin]] + offset[pin]
            low, high = min(low, at), max(high, at)
        up_sum = up_weighted = down_sum = down_weighted = 0.0
        for pin in range(first, last):
            at = middle[cell[pin]] + offset[pin]
            up, down = np.exp((at - high) / gamma), np.exp((low - at) / gamma)
            up_sum += up
            down_sum += down
            # Sums of what is left to the ends, so that large coordinates lose nothing.
            up_weighted += (at - high) * up
            down_weighted += (at - low) * down
        above, below = up_weighted / up_sum, down_weighted / down_sum
        total += weight[net] * (high - low + above - below)
        exact += weight[net] * (high - low)
        for pin in range(first, last):
            at = middle[cell[pin]] + offset[pin]
            up, down = np.exp((at - high) / gamma), np.exp((low - at) / gamma)
            pull = up / up_sum * (1 + (at - high - above) / gamma)
            pull -= down / down_sum * (1 - (at - low - below) / gamma)
            gradient[cell[pin]] += weight[net] * pull
    return total, exact
