"""Annealing of all rows of a layer in one call: a warm start, single moves and pair moves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.kernels import level_annealing as kernels
from anneal.kernels.random import exponential_quantiles, new_state
from anneal.kernels.threads import over_rows
from anneal.rounding.descent import flip
from anneal.rounding.grids import Floats
from anneal.rounding.planes import babai
from anneal.rounding.rows import LayerRows, Levels

Singles = NDArray[np.float32]
# The first and the last heat over what the softest move of one or two at a weight costs.
HOT, COLD = 0.1, 0.03
EVERY = 4  # sweeps to one that offers moves of two, which takes as long as several others
STRETCH = 256  # sweeps after which fields are computed anew: float32 loses a little with each move
OFFER = 8e-4  # microseconds that a sweep costs for each weight, and as much for its neighbours


class KernelArrays(NamedTuple):
    """What the kernel reads: padded to whole rows of lanes, in float32."""

    low: Singles
    high: Singles
    twice: Singles
    diagonal: Singles


def anneal(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    num_sweeps: int = 1000,
    num_reads: int = 2,
) -> Levels:
    """Anneal from ``start``, or from the nearest planes, and descend; the best read of each row.

    Every second read keeps to the two levels around each target: of long rows it finds lower costs
    among those than among all levels, of short ones it does not. The rows share their Hessians and
    differ in their fields, so that a layer is one call. It never ends worse than it began.
    """
    if start is None:
        start = babai(rows, rng=rng, num_threads=num_threads)
    best = flip(rows, rng=rng, start=start, num_threads=num_threads)
    begin, least = best, rows.costs(best)
    for read in range(num_reads):
        among = rows.around(rows.target) if read % 2 else rows
        inside = np.clip(begin, among.lower, among.upper)
        found = _annealed(among, inside, rng=rng, num_sweeps=num_sweeps, num_threads=num_threads)
        levels = flip(rows, rng=rng, start=found, num_threads=num_threads)
        costs = rows.costs(levels)
        best = np.where((costs < least)[:, None], levels, best)
        least = np.minimum(costs, least)
    return best


def _annealed(
    rows: LayerRows, levels: Levels, *, rng: np.random.Generator, num_sweeps: int, num_threads: int
) -> Levels:
    """Where one anneal leads."""
    arrays, quantiles = kernel_arrays(rows), exponential_quantiles(rng)
    states = np.stack([new_state(rng) for _ in range(rows.num_rows)])
    falling = HOT * (COLD / HOT) ** np.linspace(0, 1, num_sweeps)
    heats = (softness(rows.hessian)[:, None] * falling).astype(np.float32)
    for first in range(0, num_sweeps, STRETCH):
        part = np.ascontiguousarray(heats[:, first : first + STRETCH])
        now = padded(levels, arrays.low.shape[1])
        fields = padded(2 * rows.gradients(levels), arrays.low.shape[1])
        over_rows(
            lambda *span, now=now, fields=fields, part=part: kernels.anneal(
                now, fields, *arrays, rows.rows_per_group, part, EVERY, rows.fan_in,
                quantiles, states, *span,
            ),
            rows.num_rows,
            microseconds=part.shape[1] * rows.fan_in * OFFER * (1 + rows.fan_in / 100),
            num_threads=num_threads,
        )  # fmt: skip
        levels = now[:, : rows.fan_in].astype(np.int64)
    return levels


def softness(hessian: Floats) -> Floats:
    """Return the mean over weights of the least curvature of a move of one or two there, (groups,).

    Where all inputs have one large mean in common, H has one huge eigenvalue, and moves of two
    that keep their sum cost far less than moves of one.

    >>> softness(np.array([[[5.0, 4.0], [4.0, 5.0]]]))
    array([2.])
    """
    diagonal = np.einsum("gii->gi", hessian)
    found = np.empty(len(hessian))
    for group, (matrix, own) in enumerate(zip(hessian, diagonal, strict=True)):
        pairs = own[:, None] + own - 2 * np.abs(matrix)
        np.fill_diagonal(pairs, np.inf)
        found[group] = np.minimum(own, pairs.min(1)).mean()
    # Inputs that are copies of each other, rounded: no softer than float32 can tell.
    return found.clip(1e-6 * diagonal.mean(1))


def kernel_arrays(rows: LayerRows) -> KernelArrays:
    """Return what the kernel reads of rows."""
    width = -(-rows.fan_in // kernels.LANES) * kernels.LANES
    return KernelArrays(
        padded(rows.lower, width),
        padded(rows.upper, width),
        padded(2 * rows.hessian, width),
        padded(np.einsum("gii->gi", rows.hessian), width),
    )


def padded(array: NDArray[np.generic], width: int) -> Singles:
    """Return ``array`` as float32 with zeros up to ``width`` numbers in a row."""
    found = np.zeros((*array.shape[:-1], width), np.float32)
    found[..., : array.shape[-1]] = array
    return found
