"""Annealing of a permutation by swaps: each proposal's change from two rows of each matrix.

The arrays are those of :mod:`anneal.kernels.permutations`.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.permutations import exchange
from anneal.kernels.random import OFFSET_SHIFT, next_below, next_word


@inlined
def swap_cost(flow, distance, diagonals, r, s, room):  # type: ignore[no-untyped-def]
    """Δ(r, s) = Σ_l Σ_k (f_rk − f_sk)(d_sk − d_rk), the terms of k = r and s put right, in O(n).

    ``room`` (lanes,) is overwritten.
    """
    layers, size, width = flow.shape
    lanes = 64 // flow.itemsize
    total = vector.splat(flow.dtype.type(0))
    here = there = flow.dtype.type(0)
    for layer in range(layers):
        first, second = (layer * size + r) * width, (layer * size + s) * width
        for start in range(0, width, lanes):
            flows = vector.subtract(
                vector.load(flow, first + start), vector.load(flow, second + start)
            )
            sites = vector.subtract(
                vector.load(distance, second + start), vector.load(distance, first + start)
            )
            total = vector.add(total, vector.multiply(flows, sites))
        here += flow[layer, r, s]
        there += distance[layer, r, s]
    vector.store(room, 0, total)
    half = lanes // 2
    while half:
        for lane in range(half):
            room[lane] += room[lane + half]
        half //= 2
    ends = (diagonals[0, r] - diagonals[0, s]) * (diagonals[1, s] - diagonals[1, r])
    return room[0] + here * (flow.dtype.type(2 // layers) * there) + ends


@kernel
def sampled_costs(flow, distance, diagonals, num_samples, state):  # type: ignore[no-untyped-def]
    """Δ of random pairs, (num_samples,)."""
    size = flow.shape[1]
    room = np.empty(64 // flow.itemsize, flow.dtype)
    found = np.empty(num_samples, flow.dtype)
    for sample in range(num_samples):
        r, s = next_below(state, size), next_below(state, size - 1)
        s += s >= r
        found[sample] = swap_cost(flow, distance, diagonals, r, s, room)
    return found


@kernel
def swap_anneal(  # type: ignore[no-untyped-def]
    flow, distance, diagonals, order, best, walk, temperatures, quantiles, state
):
    """One Metropolis sweep over all pairs at each temperature; returns the swaps made.

    Pairs come in turn (Connolly 1990) by labels drawn anew in each sweep. A swap is made where
    Δ ≤ T·E, E ~ Exp(1) from ``quantiles``. walk: (2,) float64, carried from call to call: cost
    above the start's and the least of that; ``best`` receives its order.
    """
    size = order.size
    room = np.empty(64 // flow.itemsize, flow.dtype)
    labels = np.arange(size)
    reached, record, made = walk[0], walk[1], 0
    for temperature in temperatures:
        for i in range(size - 1, 0, -1):
            j = next_below(state, i + 1)
            labels[i], labels[j] = labels[j], labels[i]
        for i in range(size - 1):
            for j in range(i + 1, size):
                r, s = labels[i], labels[j]
                delta = swap_cost(flow, distance, diagonals, r, s, room)
                draw = quantiles[np.int64(next_word(state) >> OFFSET_SHIFT)]
                if delta <= temperature * draw:
                    exchange(distance, diagonals, order, r, s)
                    reached += delta
                    made += 1
                    if reached < record:
                        record = reached
                        best[:] = order
    walk[0], walk[1] = reached, record
    return made
