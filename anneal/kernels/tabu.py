"""One-flip tabu search and path relinking: fields, best move and aspiration in one pass over rows
of lanes.

``gains`` holds s_i·f_i, half of what flipping i lowers the energy by. The graph is a padded matrix
as in :mod:`anneal.kernels.dense`, or CSR (then the matrix has no rows).
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below

NOTHING = -(2.0**29)  # below every gain, above the pads'


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


@inlined
def best_lane(values, indices, banned):  # type: ignore[no-untyped-def]
    """The lane with the greatest value whose index is not ``banned``; −1 where there is none."""
    found = -1
    for lane in range(values.size):
        allowed = values[lane] > NOTHING / 2 and indices[lane] != banned
        if allowed and (found < 0 or values[lane] > values[found]):
            found = lane
    return found


@kernel
def tabu_search(  # type: ignore[no-untyped-def]
    matrix,
    indptr,
    indices,
    weights,
    num_spins,
    spins,
    gains,
    until,
    best,
    walk,
    tenure,
    spread,
    patience,
    most,
    state,
):
    """Up to ``most`` flips of one-flip tabu search; ends where ``patience`` flips in a row brought
    no new best.

    A flipped spin stays for tenure + U[0, spread) flips, unless flipping it gives a new best
    (Glover 1989; the tenure of Palubeckis 2004). spins, gains: (width,) of one type, padded so that
    a pad is never chosen; until: (width,) integers of the same size, the flip up to which a spin
    stays; best: (width,) receives the best state. walk: (4,) float64, carried from call to call:
    half of what the energy has fallen by since the start, the most of that, the flip at which it
    was reached, flips made.
    """
    zero = vector.splat(gains.dtype.type(0))
    lanes = 64 // gains.itemsize
    lowest = vector.splat(gains.dtype.type(NOTHING))
    steps = np.arange(lanes).astype(until.dtype)
    stride = vector.splat(until.dtype.type(lanes))
    values = np.empty((2, lanes), gains.dtype)
    places = np.empty((2, lanes), until.dtype)
    dense = matrix.shape[0] > 0
    row = matrix[0] if dense else matrix.reshape(-1)
    reached, record, last, flips = walk[0], walk[1], np.int64(walk[2]), np.int64(walk[3])
    stop = flips + most
    chosen = np.int64(-1)
    while True:
        fused = dense and chosen >= 0
        fresh_down = vector.above(zero, zero)
        own = gains[0]
        if fused:
            row = matrix[chosen]
            own = -gains[chosen]
            spins[chosen] = -spins[chosen]
            gains[chosen] = gains.dtype.type(
                NOTHING
            )  # it is not chosen again, and must not hide its lane
            fresh_down = vector.above(zero, vector.splat(spins[chosen]))
        elif chosen >= 0:
            flip_sparse(chosen, indptr, indices, weights, spins, gains)
        free_gain, any_gain = lowest, lowest
        index = vector.load(steps, 0)
        free_place, any_place = index, index
        now = vector.splat(until.dtype.type(flips))
        for start in range(0, gains.size, lanes):
            gain = vector.load(gains, start)
            if fused:
                change = vector.load_as(row, start, zero)
                change = vector.add(change, change)
                opposite = vector.differ(vector.above(zero, vector.load(spins, start)), fresh_down)
                gain = vector.add(
                    gain, vector.select(opposite, vector.subtract(zero, change), change)
                )
                vector.store(gains, start, gain)
            better = vector.above(gain, any_gain)
            any_gain = vector.select(better, gain, any_gain)
            any_place = vector.select(better, index, any_place)
            better = vector.above(gain, free_gain)
            better = vector.both(better, vector.at_least(now, vector.load(until, start)))
            free_gain = vector.select(better, gain, free_gain)
            free_place = vector.select(better, index, free_place)
            index = vector.add(index, stride)
        if fused:
            gains[chosen] = own
        if reached > record:
            record = reached
            last = flips
            best[:] = spins
        if flips - last >= patience or flips >= stop:
            break
        vector.store(values[0], 0, free_gain)
        vector.store(places[0], 0, free_place)
        vector.store(values[1], 0, any_gain)
        vector.store(places[1], 0, any_place)
        free = best_lane(values[0], places[0], chosen)
        aspiring = best_lane(values[1], places[1], chosen)
        if aspiring >= 0 and reached + values[1, aspiring] > record:
            chosen = np.int64(places[1, aspiring])
        elif free >= 0:
            chosen = np.int64(places[0, free])
        else:
            chosen = next_below(state, num_spins)
        reached += gains[chosen]
        flips += 1
        until[chosen] = flips + tenure + next_below(state, spread)
    walk[0], walk[1], walk[2], walk[3] = reached, record, last, flips


@kernel
def relink(matrix, indptr, indices, weights, spins, gains, goal, best):  # type: ignore[no-untyped-def]
    """Walk from ``spins`` to ``goal`` by the best flip each time; ``best`` receives the best state
    of the middle third.

    Glover's path relinking (1997). Returns half of what that state lies below the first (may be
    negative).
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
