"""Quadratic assignment by swaps: what each swap would cost, kept right after every swap made.

A permutation's arrays: ``flow`` (layers, n, width) as it stands and ``distance`` (layers, n, width)
with rows and columns in the order of the facilities, so that row i is of the site where facility i
is; both with zero diagonals, and zeros from n up to the width, whole rows of lanes. Two layers are
a matrix and its transpose. A symmetric problem has one, with one of the matrices doubled.
``diagonals`` (2, width) hold what was taken out. The cost is half of Σ flow·distance over all
layers, and Σ_i of the diagonals' products.

With g_ij = Σ_l Σ_k flow^l_ik distance^l_jk, of which ``sums`` (width,) holds g_jj, the swap of r
and s changes the cost by

    Δ(r, s) = g_rs + g_sr − g_rr − g_ss + c·flow_rs·distance_rs + (f_rr − f_ss)(d_ss − d_rr),

flow_rs and distance_rs summed over layers, c = 2 for one layer and 1 for two. ``deltas`` (n,
width) holds Δ above the diagonal and infinity elsewhere. The swap of r and s adds
Σ_l (x_u − x_v)(y_u − y_v) to another pair's, with x = flow_r − flow_s, and y = distance_r −
distance_s as it was (Taillard 1991, section 3.2).
"""

from __future__ import annotations

import numpy as np

from anneal.kernels import vector
from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below


@inlined
def exchange(distance, diagonals, order, r, s):  # type: ignore[no-untyped-def]
    """Swap the sites of r and s: rows and columns of every layer, the diagonal and the order."""
    size = order.size
    for layer in range(distance.shape[0]):
        for j in range(size):
            held = distance[layer, r, j]
            distance[layer, r, j] = distance[layer, s, j]
            distance[layer, s, j] = held
        for j in range(size):
            held = distance[layer, j, r]
            distance[layer, j, r] = distance[layer, j, s]
            distance[layer, j, s] = held
    diagonals[1, r], diagonals[1, s] = diagonals[1, s], diagonals[1, r]
    order[r], order[s] = order[s], order[r]


@inlined
def cross_rows(flow, distance, r, s, rows):  # type: ignore[no-untyped-def]
    """rows[0] = g_rj + g_jr and rows[1] = g_sj + g_js for every j."""
    layers, size, width = flow.shape
    lanes = 64 // flow.itemsize
    for start in range(0, width, lanes):
        first = vector.splat(flow.dtype.type(0))
        second = first
        for layer in range(layers):
            for k in range(size):
                there = ((layers - 1 - layer) * size + k) * width + start
                site = vector.load(distance, there)
                other = vector.load(flow, there)
                part = vector.multiply(vector.splat(flow[layer, r, k]), site)
                first = vector.add(first, part)
                part = vector.multiply(vector.splat(distance[layer, r, k]), other)
                first = vector.add(first, part)
                part = vector.multiply(vector.splat(flow[layer, s, k]), site)
                second = vector.add(second, part)
                part = vector.multiply(vector.splat(distance[layer, s, k]), other)
                second = vector.add(second, part)
        vector.store(rows, start, first)
        vector.store(rows, width + start, second)


@inlined
def finish_row(flow, distance, diagonals, sums, row, r):  # type: ignore[no-untyped-def]
    """From row[j] = g_rj + g_jr to row[j] = Δ(r, j)."""
    layers = flow.shape[0]
    twice = flow.dtype.type(2 // layers)
    for j in range(flow.shape[1]):
        here = flow[0, r, j]
        there = distance[0, r, j]
        if layers == 2:
            here += flow[1, r, j]
            there += distance[1, r, j]
        ends = (diagonals[0, r] - diagonals[0, j]) * (diagonals[1, j] - diagonals[1, r])
        row[j] += here * (twice * there) - sums[r] - sums[j] + ends


@kernel
def fill(flow, distance, diagonals, sums, deltas):  # type: ignore[no-untyped-def]
    """``sums`` and ``deltas`` from scratch, O(n³)."""
    layers, size, width = flow.shape
    rows = np.zeros((2, width), flow.dtype)
    sums[:] = 0
    for j in range(size):
        for layer in range(layers):
            for k in range(size):
                sums[j] += flow[layer, j, k] * distance[layer, j, k]
    deltas[:] = np.inf
    for r in range(size - 1):
        cross_rows(flow, distance, r, r, rows)
        finish_row(flow, distance, diagonals, sums, rows[0], r)
        deltas[r, r + 1 : size] = rows[0, r + 1 : size]


@inlined
def differences(flow, distance, r, s, steps):  # type: ignore[no-untyped-def]
    """steps[2·l] = x and steps[2·l + 1] = y of layer l, before r and s are swapped."""
    for layer in range(flow.shape[0]):
        for j in range(flow.shape[2]):
            steps[2 * layer, j] = flow[layer, r, j] - flow[layer, s, j]
            steps[2 * layer + 1, j] = distance[layer, r, j] - distance[layer, s, j]


@inlined
def make_swap(flow, distance, diagonals, order, sums, deltas, r, s, steps, rows):  # type: ignore[no-untyped-def]
    """Swap r and s; ``deltas`` of other pairs still lack Σ_l (x_u − x_v)(y_u − y_v) of ``steps``.

    Those of r and s are stored less the same terms, so that all may be given them alike.
    """
    layers, size = flow.shape[:2]
    differences(flow, distance, r, s, steps)
    exchange(distance, diagonals, order, r, s)
    for layer in range(layers):
        for j in range(size):
            sums[j] -= steps[2 * layer, j] * steps[2 * layer + 1, j]
    for i in (r, s):
        sums[i] = 0
        for layer in range(layers):
            for k in range(size):
                sums[i] += flow[layer, i, k] * distance[layer, i, k]
    cross_rows(flow, distance, r, s, rows)
    for index in range(2):
        i = s if index else r
        row = rows[index]
        finish_row(flow, distance, diagonals, sums, row, i)
        for layer in range(layers):
            x, y = steps[2 * layer], steps[2 * layer + 1]
            for j in range(size):
                row[j] -= (x[i] - x[j]) * (y[i] - y[j])
        for j in range(i):
            deltas[j, i] = row[j]
        for j in range(i + 1, size):
            deltas[i, j] = row[j]


@inlined
def add_terms(deltas, x, y):  # type: ignore[no-untyped-def]
    """deltas += (x_u − x_v)(y_u − y_v) for every pair above the diagonal."""
    size, width = deltas.shape
    lanes = 64 // deltas.itemsize
    for i in range(size - 1):
        at, to = vector.splat(x[i]), vector.splat(y[i])
        for start in range((i + 1) // lanes * lanes, width, lanes):
            term = vector.multiply(
                vector.subtract(at, vector.load(x, start)),
                vector.subtract(to, vector.load(y, start)),
            )
            place = i * width + start
            vector.store(deltas, place, vector.add(vector.load(deltas, place), term))


@inlined
def keep_away(until, blocked, r, s, first, second):  # type: ignore[no-untyped-def]
    """After the swap of r and s: they stay away from where they were, r until ``first``, s until
    ``second``.

    until[i, j]: when facility i may go to the site of j again; blocked, above the diagonal: when
    either of a pair may go to the other's.
    """
    size = until.shape[0]
    for i in range(size):
        until[i, r], until[i, s] = until[i, s], until[i, r]
    until[r, s], until[s, r] = first, second
    for i in range(size):
        if i != r:
            blocked[min(i, r), max(i, r)] = min(until[i, r], until[r, i])
        if i != s:
            blocked[min(i, s), max(i, s)] = min(until[i, s], until[s, i])


@inlined
def long_away(until, deltas, before):  # type: ignore[no-untyped-def]
    """The cheapest pair both of whose moves were last made before ``before``, as i·width + j; −1
    where there is none.
    """
    size, width = deltas.shape
    found, least = -1, np.inf
    for i in range(size - 1):
        for j in range(i + 1, size):
            old = until[i, j] < before and until[j, i] < before
            if old and deltas[i, j] < least:
                found, least = i * width + j, deltas[i, j]
    return found


@inlined
def least_lane(values):  # type: ignore[no-untyped-def]
    """The first lane with the least value."""
    found = 0
    for lane in range(1, values.size):
        if values[lane] < values[found]:
            found = lane
    return found


@kernel
def robust_tabu(  # type: ignore[no-untyped-def]
    flow,
    distance,
    diagonals,
    order,
    sums,
    deltas,
    until,
    blocked,
    best,
    walk,
    tenure,
    aspiration,
    num_swaps,
    state,
):
    """Make ``num_swaps`` swaps of robust tabu search (Taillard 1991).

    The best swap is made that does not bring both facilities back to sites they left less than
    their tenure ago, or that gives a new best. A facility's tenure is ``tenure`` times the cube of
    a uniform number (Taillard's code of 2002; its mean is a quarter). A pair that could have been
    swapped for ``aspiration`` swaps is swapped; one look every n swaps sees to that.

    until, blocked: (n, width) integers as in :func:`keep_away`, of as many bytes as ``deltas``;
    best: (n,) receives the best order. walk: (3,) float64, carried from call to call: cost above
    the start's, the least of that, swaps made.
    """
    layers, size, width = flow.shape
    lanes = 64 // flow.itemsize
    rows = np.zeros((2, width), flow.dtype)
    steps = np.zeros((2 * layers, width), flow.dtype)
    values = np.empty((2, lanes), flow.dtype)
    places = np.empty((2, lanes), until.dtype)
    ramp = vector.load(np.arange(lanes).astype(until.dtype), 0)
    stride = vector.splat(until.dtype.type(lanes))
    infinite = vector.splat(flow.dtype.type(np.inf))
    x, y = steps[2 * layers - 2], steps[2 * layers - 1]
    reached, record, made = walk[0], walk[1], np.int64(walk[2])
    stop = made + num_swaps
    while True:
        if layers == 2:
            add_terms(deltas, steps[0], steps[1])
        now = vector.splat(until.dtype.type(made))
        free, free_place, any_, any_place = infinite, ramp, infinite, ramp
        first_row = next_below(state, size - 1)
        for row in range(size - 1):
            i = row + first_row
            if i >= size - 1:
                i -= size - 1
            at, to = vector.splat(x[i]), vector.splat(y[i])
            first = (i + 1) // lanes * lanes
            index = vector.add(ramp, vector.splat(until.dtype.type(i * width + first)))
            for start in range(first, width, lanes):
                place = i * width + start
                term = vector.multiply(
                    vector.subtract(at, vector.load(x, start)),
                    vector.subtract(to, vector.load(y, start)),
                )
                delta = vector.add(vector.load(deltas, place), term)
                vector.store(deltas, place, delta)
                better = vector.above(any_, delta)
                any_ = vector.select(better, delta, any_)
                any_place = vector.select(better, index, any_place)
                better = vector.above(free, delta)
                better = vector.both(better, vector.at_least(now, vector.load(blocked, place)))
                free = vector.select(better, delta, free)
                free_place = vector.select(better, index, free_place)
                index = vector.add(index, stride)
        if reached < record:
            record = reached
            best[:] = order
        steps[:] = 0
        if made >= stop:
            break
        vector.store(values, 0, free)
        vector.store(places, 0, free_place)
        vector.store(values, lanes, any_)
        vector.store(places, lanes, any_place)
        lane, other = least_lane(values[0]), least_lane(values[1])
        chosen = np.int64(-1)
        if reached + values[1, other] < record:
            chosen = np.int64(places[1, other])
        elif made % size == 0:
            chosen = np.int64(long_away(until, deltas, made - aspiration))
        if chosen < 0 and values[0, lane] < np.inf:
            chosen = np.int64(places[0, lane])
        if chosen < 0:
            i, j = next_below(state, size), next_below(state, size - 1)
            j += j >= i
            chosen = min(i, j) * width + max(i, j)
        r, s = chosen // width, chosen % width
        reached += deltas[r, s]
        made += 1
        make_swap(flow, distance, diagonals, order, sums, deltas, r, s, steps, rows)
        u, v = next_below(state, 1 << 20) / (1 << 20), next_below(state, 1 << 20) / (1 << 20)
        first_end = made + np.int64(tenure * u * u * u)
        second_end = made + np.int64(tenure * v * v * v)
        keep_away(until, blocked, r, s, first_end, second_end)
    walk[0], walk[1], walk[2] = reached, record, made
