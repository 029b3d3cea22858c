"""Annealing with couplings and squares Σ_r P_r v_r², v_r = c_r + Σ_i a_ri s_i, by flips of one spin
and exchanges of two or four.

The squares of spin i are ``square[first[i]:first[i + 1]]``, with a_ri in ``amount`` beside them. A
replica keeps its fields f = h + J·s and its values v, and the spins of each square with those that
are up in front: ``members[start[r]:start[r + 1]]``, ``ups[r]`` of them up. ``entry`` says of a
member where it is in ``square``, and ``place`` the other way round. J is ``dense`` (n, n) where
that holds anything, else CSR with sorted indices.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import OFFSET_SHIFT, next_below, next_word

COIN = np.uint64(63)


@kernel
def flip_cost(first, square, amount, penalty, spins, fields, values, i):  # type: ignore[no-untyped-def]
    """Return the change of energy where spin i is flipped."""
    spin = np.float64(spins[i])
    cost = -2.0 * spin * fields[i]
    for k in range(first[i], first[i + 1]):
        step = -2.0 * amount[k] * spin
        cost += penalty[square[k]] * step * (step + 2.0 * values[square[k]])
    return cost


@inlined
def coupling(indptr, indices, weights, dense, i, j):  # type: ignore[no-untyped-def]
    """Return J_ij, of CSR by bisection of the row of i."""
    if dense.size:
        return dense[i, j]
    low, high = indptr[i], indptr[i + 1]
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < j:
            low = middle + 1
        else:
            high = middle
    return weights[low] if low < indptr[i + 1] and indices[low] == j else 0.0


@kernel
def together(  # type: ignore[no-untyped-def]
    indptr, indices, weights, dense, first, square, amount, penalty, spins, i, j
):  # fmt: skip
    """Return by how much flipping both i and j costs more than each alone."""
    total = coupling(indptr, indices, weights, dense, i, j)
    one, two = first[i], first[j]
    while one < first[i + 1] and two < first[j + 1]:
        if square[one] == square[two]:
            total += 2.0 * penalty[square[one]] * amount[one] * amount[two]
            one += 1
            two += 1
        elif square[one] < square[two]:
            one += 1
        else:
            two += 1
    return 4.0 * np.float64(spins[i]) * np.float64(spins[j]) * total


@kernel
def crossing(keys, spin_of, num_squares, one, two):  # type: ignore[no-untyped-def]
    """Return the spin whose squares are ``one`` and ``two``, −1 where there is none."""
    key = np.int64(min(one, two)) * num_squares + max(one, two)
    low, high = 0, keys.size
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return np.int64(spin_of[low]) if low < keys.size and keys[low] == key else np.int64(-1)


@kernel
def draw_pair(start, members, ups, square, chosen, state):  # type: ignore[no-untyped-def]
    """Choose a spin that is up and one that is down in a square drawn by its size; 2, or 0."""
    r = square[next_below(state, square.size)]
    size = start[r + 1] - start[r]
    if ups[r] == 0 or ups[r] == size:
        return 0
    chosen[0] = members[start[r] + next_below(state, ups[r])]
    chosen[1] = members[start[r] + ups[r] + next_below(state, size - ups[r])]
    return 2


@kernel
def draw_crossed(  # type: ignore[no-untyped-def]
    start, members, ups, first, square, keys, spin_of, spins, chosen, state
):  # fmt: skip
    """Choose up spins of squares (r, b) and (q, d), and the down ones of (r, d) and (q, b); 4 or 0.

    r and q are drawn by their sizes. Turned over, the ups of every square are as many as before,
    and the same r and q lead back as probably.
    """
    r = square[next_below(state, square.size)]
    q = square[next_below(state, square.size)]
    if r == q or ups[r] == 0 or ups[q] == 0:
        return 0
    up = np.int64(members[start[r] + next_below(state, ups[r])])
    other = np.int64(members[start[q] + next_below(state, ups[q])])
    if first[up + 1] - first[up] != 2 or first[other + 1] - first[other] != 2:
        return 0
    b = square[first[up]] + square[first[up] + 1] - r
    d = square[first[other]] + square[first[other] + 1] - q
    one = crossing(keys, spin_of, start.size - 1, r, d)
    two = crossing(keys, spin_of, start.size - 1, q, b)
    if one < 0 or two < 0 or one == two or spins[one] > 0 or spins[two] > 0:
        return 0
    chosen[0], chosen[1], chosen[2], chosen[3] = up, other, one, two
    return 4


@inlined
def draw_exchange(  # type: ignore[no-untyped-def]
    start, members, ups, first, square, keys, spin_of, spins, chosen, state
):  # fmt: skip
    """Choose the spins of an exchange, crossed or not; how many."""
    if keys.size and next_word(state) >> COIN:
        return draw_crossed(start, members, ups, first, square, keys, spin_of, spins, chosen, state)
    return draw_pair(start, members, ups, square, chosen, state)


@inlined
def exchange_cost(  # type: ignore[no-untyped-def]
    indptr, indices, weights, dense, first, square, amount, penalty, spins, fields, values,
    chosen, num,
):  # fmt: skip
    """Return the change of energy where the first ``num`` of ``chosen`` are flipped."""
    cost = 0.0
    for k in range(num):
        cost += flip_cost(first, square, amount, penalty, spins, fields, values, chosen[k])
        for other in range(k):
            cost += together(
                indptr, indices, weights, dense, first, square, amount, penalty, spins,
                chosen[k], chosen[other],
            )  # fmt: skip
    return cost


@kernel
def turn_over(  # type: ignore[no-untyped-def]
    indptr, indices, weights, dense, first, square, amount, start, entry, place, members, ups,
    spins, fields, values, i,
):  # fmt: skip
    """Flip spin i: its neighbours' fields, and its squares' values and lists follow."""
    twice = -2.0 * spins[i]
    if dense.size:
        row = dense[i]
        for j in range(fields.size):
            fields[j] += twice * row[j]
    else:
        for edge in range(indptr[i], indptr[i + 1]):
            fields[indices[edge]] += twice * weights[edge]
    for k in range(first[i], first[i + 1]):
        r = square[k]
        values[r] += twice * amount[k]
        # It goes over the border between ups and downs: first it takes the place beside it.
        if spins[i] < 0:
            border = start[r] + ups[r]
            ups[r] += 1
        else:
            ups[r] -= 1
            border = start[r] + ups[r]
        at, other = place[k], entry[border]
        entry[border], entry[at] = k, other
        members[border], members[at] = i, members[border]
        place[k], place[other] = border, at
    spins[i] = -spins[i]


@kernel
def squares_anneal(  # type: ignore[no-untyped-def]
    indptr, indices, weights, dense, first, square, amount, penalty, start, keys, spin_of,
    entries, places, member_lists, up_counts, spins, fields, values, energies, least, best,
    order, quantiles, temperatures, num_sweeps, state,
):  # fmt: skip
    """``num_sweeps`` Metropolis sweeps of each replica at each temperature; returns flips.

    ``energies`` (replicas,) follow; where one falls below ``least``, that and ``best`` (replicas,
    n), the spins, are what is there then.

    A sweep tries each spin in ``order`` (at random where that is empty), and after each one
    exchange. The bound of a move is T·E, E one of ``quantiles``.
    """
    n, flips, chosen = spins.shape[1], 0, np.empty(4, np.int64)
    for replica in range(spins.shape[0]):
        spin, field, value = spins[replica], fields[replica], values[replica]
        entry, place = entries[replica], places[replica]
        members, ups = member_lists[replica], up_counts[replica]
        energy, record = energies[replica], least[replica]
        for temperature in temperatures:
            for visit in range(num_sweeps * n):
                chosen[0] = order[visit % n] if order.size else next_below(state, n)
                num = 1
                for _ in range(2 if square.size else 1):
                    bound = temperature * quantiles[np.int64(next_word(state) >> OFFSET_SHIFT)]
                    cost = exchange_cost(
                        indptr, indices, weights, dense, first, square, amount, penalty, spin,
                        field, value, chosen, num,
                    )  # fmt: skip
                    if num and cost <= bound:
                        for k in range(num):
                            turn_over(
                                indptr, indices, weights, dense, first, square, amount, start,
                                entry, place, members, ups, spin, field, value, chosen[k],
                            )  # fmt: skip
                        flips += num
                        energy += cost
                        if energy < record:
                            record = energy
                            best[replica, :] = spin
                    num = draw_exchange(
                        start, members, ups, first, square, keys, spin_of, spin, chosen, state
                    )
        energies[replica], least[replica] = energy, record
    return flips


@kernel
def move_costs(  # type: ignore[no-untyped-def]
    indptr, indices, weights, dense, first, square, amount, penalty, start, keys, spin_of,
    member_lists, up_counts, spins, fields, values, costs, state,
):  # fmt: skip
    """Write half of what flips and random exchanges cost into ``costs`` (replicas, 2, n)."""
    chosen = np.empty(4, np.int64)
    for replica in range(spins.shape[0]):
        spin, field, value = spins[replica], fields[replica], values[replica]
        for i in range(spins.shape[1]):
            costs[replica, 0, i] = 0.5 * flip_cost(
                first, square, amount, penalty, spin, field, value, i
            )
            num = 0
            if square.size:
                num = draw_exchange(
                    start, member_lists[replica], up_counts[replica], first, square, keys,
                    spin_of, spin, chosen, state,
                )  # fmt: skip
            costs[replica, 1, i] = 0.5 * exchange_cost(
                indptr, indices, weights, dense, first, square, amount, penalty, spin, field,
                value, chosen, num,
            )  # fmt: skip
