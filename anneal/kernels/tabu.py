"""One-flip tabu search and path relinking: fields, best move and aspiration in one pass over rows of lanes.

``gains`` holds s_i·f_i, half of what flipping i lowers the energy by. The graph is a padded matrix as in
:mod:`anneal.kernels.dense`, or CSR (then the matrix has no rows).
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below, next_word


@inlined
def flip_sparse(i, indptr, indices, weights, spins, gains):  # type: ignore[no-untyped-def]
    """Flip spin i: gains of its neighbours and its own."""
    spins[i] = -spins[i]
    gains[i] = -gains[i]
    twice = spins[i] + spins[i]
    for edge in range(indptr[i], indptr[i + 1]):
        j = indices[edge]
        gains[j] += twice * spins[j] * weights[edge]


@inlined
def flip_dense(i, row, zero, spins, gains):  # type: ignore[no-untyped-def]
    """Flip spin i: every gain by one row of J."""
    own = -gains[i]
    spins[i] = -spins[i]
    new = vector.splat(spins[i])
    lanes = 64 // gains.itemsize
    for start in range(0, gains.size, lanes):
        change = vector.load_as(row, start, zero)
        change = vector.add(change, change)
        gain = vector.load(gains, start)
        spin = vector.load(spins, start)
        opposite = vector.differ(vector.above(zero, spin), vector.above(zero, new))
        more = vector.select(opposite, vector.subtract(zero, change), change)
        vector.store(gains, start, vector.add(gain, more))
    gains[i] = own


@kernel
def tabu_search(  # type: ignore[no-untyped-def]
    matrix, indptr, indices, weights, num_spins, spins, gains, until, best, tenure, spread, patience, most, state
):
    """Search from ``spins`` until ``patience`` flips bring no new best, ``most`` in all.

    After a flip a spin stays for tenure + U[0, spread) flips, unless flipping it gives a new best. spins, gains: (width,)
    of one type, gains set; until: (width,) integers of the same size, the flip up to which a spin stays; best: (width,)
    receives the best state. Returns (2·(best energy − first energy) / −4 as the gain, flips made).
    """
    zero = vector.splat(gains.dtype.type(0))
    lanes = 64 // gains.itemsize
    lowest = vector.splat(gains.dtype.type(-(2**30)))
    steps = np.arange(lanes).astype(until.dtype)
    free_gain = np.empty(lanes, gains.dtype)
    free_index = np.empty(lanes, until.dtype)
    any_gain = np.empty(lanes, gains.dtype)
    any_index = np.empty(lanes, until.dtype)
    stride = vector.splat(until.dtype.type(lanes))
    dense = matrix.shape[0] > 0
    best[:] = spins
    reached = 0.0
    record = 0.0
    last = 0
    flips = 0
    chosen = 0
    while True:
        top_free = lowest
        top_any = lowest
        index = vector.load(steps, 0)
        at_free = index
        at_any = index
        now = vector.splat(until.dtype.type(flips))
        if flips > 0 and dense:
            row = matrix[chosen]
            own = -gains[chosen]
            spins[chosen] = -spins[chosen]
            fresh_down = vector.above(zero, vector.splat(spins[chosen]))
            blocked = until[chosen]
            until[chosen] = 2**30  # while it is scanned its gain is not yet right
            for start in range(0, gains.size, lanes):
                change = vector.load_as(row, start, zero)
                change = vector.add(change, change)
                opposite = vector.differ(vector.above(zero, vector.load(spins, start)), fresh_down)
                more = vector.select(opposite, vector.subtract(zero, change), change)
                gain = vector.add(vector.load(gains, start), more)
                vector.store(gains, start, gain)
                better = vector.above(gain, top_any)
                top_any = vector.select(better, gain, top_any)
                at_any = vector.select(better, index, at_any)
                better = vector.above(gain, top_free)
                better = vector.both(better, vector.at_least(now, vector.load(until, start)))
                top_free = vector.select(better, gain, top_free)
                at_free = vector.select(better, index, at_free)
                index = vector.add(index, stride)
            until[chosen] = blocked
            gains[chosen] = own
        else:
            if flips > 0:
                flip_sparse(chosen, indptr, indices, weights, spins, gains)
            for start in range(0, gains.size, lanes):
                gain = vector.load(gains, start)
                better = vector.above(gain, top_any)
                top_any = vector.select(better, gain, top_any)
                at_any = vector.select(better, index, at_any)
                better = vector.above(gain, top_free)
                better = vector.both(better, vector.at_least(now, vector.load(until, start)))
                top_free = vector.select(better, gain, top_free)
                at_free = vector.select(better, index, at_free)
                index = vector.add(index, stride)
        if reached > record:
            record = reached
            last = flips
            best[:] = spins
        if flips - last >= patience or flips >= most:
            break
        vector.store(free_gain, 0, top_free)
        vector.store(free_index, 0, at_free)
        vector.store(any_gain, 0, top_any)
        vector.store(any_index, 0, at_any)
        free = -1
        aspiring = -1
        for lane in range(lanes):
            if free_gain[lane] > -(2**29) and free_index[lane] != chosen:
                if free < 0 or free_gain[lane] > free_gain[free]:
                    free = lane
            if any_gain[lane] > -(2**29) and any_index[lane] != chosen:
                if aspiring < 0 or any_gain[lane] > any_gain[aspiring]:
                    aspiring = lane
        if aspiring >= 0 and reached + any_gain[aspiring] > record:
            chosen = np.int64(any_index[aspiring])
        elif free >= 0:
            chosen = np.int64(free_index[free])
        else:
            chosen = next_below(state, num_spins)
        reached += gains[chosen]
        flips += 1
        until[chosen] = flips + tenure + next_below(state, spread)
    return record, flips


@kernel
def relink(matrix, indptr, indices, weights, spins, gains, goal, best):  # type: ignore[no-untyped-def]
    """Walk from ``spins`` to ``goal`` by the best flip each time; ``best`` receives the best state of the middle third.

    Glover's path relinking (1997). Returns half of what that state lies below the first (may be negative).
    """
    zero = vector.splat(gains.dtype.type(0))
    ahead = np.nonzero(spins != goal)[0]
    left = ahead.size
    third = left // 3
    reached = 0.0
    record = -np.inf
    best[:] = spins
    while left > third:
        top = 0
        for k in range(1, left):
            if gains[ahead[k]] > gains[ahead[top]]:
                top = k
        i = ahead[top]
        left -= 1
        ahead[top] = ahead[left]
        reached += gains[i]
        if matrix.shape[0] > 0:
            flip_dense(i, matrix[i], zero, spins, gains)
        else:
            flip_sparse(i, indptr, indices, weights, spins, gains)
        if left <= ahead.size - third and reached > record:
            record = reached
            best[:] = spins
    return record


@kernel
def perturb(matrix, indptr, indices, weights, num_spins, spins, gains, strength, state):  # type: ignore[no-untyped-def]
    """Flip ``strength`` spins at random, gains kept; returns half of what the energy falls by."""
    zero = vector.splat(gains.dtype.type(0))
    reached = 0.0
    for _ in range(strength):
        i = next_below(state, num_spins)
        reached += gains[i]
        if matrix.shape[0] > 0:
            flip_dense(i, matrix[i], zero, spins, gains)
        else:
            flip_sparse(i, indptr, indices, weights, spins, gains)
    return reached
