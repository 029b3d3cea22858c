"""Elimination of spins one after the other, whatever their number of neighbours: an order for it,
and the tables of minima along it.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel


@inlined
def linked(lists, starts, sizes, a, b):  # type: ignore[no-untyped-def]
    """Whether a and b are neighbours: the shorter list is searched."""
    if sizes[a] > sizes[b]:
        a, b = b, a
    found = False
    for k in range(starts[a], starts[a] + sizes[a]):
        found = found or lists[k] == b
    return found


@kernel
def elimination_order(indptr, indices, by_fill, most, patience):  # type: ignore[no-untyped-def]
    """An order in which to eliminate the vertices of a graph, each linking its neighbours.

    Next is a vertex of least degree, or, ``by_fill``, one whose neighbours lack the fewest links
    (counted anew where an own neighbour went). Returns (order, bags, bag starts, cost): the bag of
    a vertex is its neighbours when it goes, cost is Σ 2^(1 + size of the bag). The order is cut
    short, and the cost infinite, where a bag or the cost is beyond 2^most, or ``patience`` looks
    into lists are spent.
    """
    n = indptr.size - 1
    room = max(16, 4 * indices.size)
    lists = np.empty(room, np.int64)
    starts, sizes, rooms = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    used = 0
    for v in range(n):
        starts[v] = used
        sizes[v] = rooms[v] = indptr[v + 1] - indptr[v]
        for k in range(indptr[v], indptr[v + 1]):
            lists[used] = indices[k]
            used += 1
    # Vertices of one score in a list of their own, linked both ways.
    levels = most * most + 2
    first = np.full(levels, -1, np.int64)
    after, before = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    score = np.full(n, -1, np.int64)
    stale = np.empty(n, np.int64)
    for v in range(n):
        stale[v] = n - 1 - v
    num_stale = n
    order, bag_starts = np.empty(n, np.int64), np.zeros(n + 1, np.int64)
    bags = np.empty(max(16, 4 * n), np.int64)
    cost, looks = 0.0, 0
    for step in range(n):
        for k in range(num_stale):
            v = stale[k]
            if score[v] >= 0:
                if before[v] >= 0:
                    after[before[v]] = after[v]
                else:
                    first[score[v]] = after[v]
                if after[v] >= 0:
                    before[after[v]] = before[v]
            value = sizes[v]
            if sizes[v] >= most:
                value = levels - 1
            elif by_fill:
                value = 0
                for i in range(starts[v], starts[v] + sizes[v]):
                    for j in range(starts[v], i):
                        value += not linked(lists, starts, sizes, lists[i], lists[j])
                        looks += 8
            score[v] = value
            before[v], after[v] = -1, first[value]
            if first[value] >= 0:
                before[first[value]] = v
            first[value] = v
        looks += num_stale
        level = 0
        while level < levels and first[level] < 0:
            level += 1
        v = first[level]
        size = sizes[v]
        if size < most:
            cost += 2.0 ** (1 + size)
        if size >= most or cost > 2.0**most or looks > patience:
            return order[:step], bags, bag_starts[: step + 1], np.inf
        first[level] = after[v]
        if after[v] >= 0:
            before[after[v]] = -1
        order[step] = v
        at = bag_starts[step]
        bag_starts[step + 1] = at + size
        if at + size > bags.size:
            more = np.empty(2 * (at + size), np.int64)
            for k in range(at):
                more[k] = bags[k]
            bags = more
        num_stale = size
        for i in range(size):
            bags[at + i] = stale[i] = lists[starts[v] + i]
        for i in range(size):
            a = bags[at + i]
            for k in range(starts[a], starts[a] + sizes[a]):
                looks += 1
                if lists[k] == v:
                    lists[k] = lists[starts[a] + sizes[a] - 1]
                    break
            sizes[a] -= 1
        for i in range(size):
            for j in range(i):
                a, b = bags[at + i], bags[at + j]
                looks += min(sizes[a], sizes[b])
                if linked(lists, starts, sizes, a, b):
                    continue
                for one, other in ((a, b), (b, a)):
                    if sizes[one] == rooms[one]:
                        wanted = 2 * sizes[one] + 4
                        if used + wanted > lists.size:
                            longer = np.empty(2 * (used + wanted), np.int64)
                            for k in range(used):
                                longer[k] = lists[k]
                            lists = longer
                        for k in range(sizes[one]):
                            lists[used + k] = lists[starts[one] + k]
                        starts[one], rooms[one] = used, wanted
                        used += wanted
                    lists[starts[one] + sizes[one]] = other
                    sizes[one] += 1
    return order, bags, bag_starts, cost


@kernel
def least_over_spin(field, pulls, tables, places, bits, first, count, least, choice):  # type: ignore[no-untyped-def]
    """Minimise over one spin, for Gray codes first…first + count of the k others in its bag.

    The energy is s·(field + Σ_j pulls[j]·s_j) plus the tables of those eliminated before. tables:
    (t,) where each begins in ``places``, the values of all of them; bits: (t, k + 1) int64, what
    spin j of the bag adds to a table's index when it is up, the eliminated spin last. least: (2ᵏ,)
    receives the minima, by index Σ 2ʲ [s_j up]; choice: (≥ 2ᵏ/8,) uint8, zero, a bit where the
    spin is up. Blocks of 8 codes or more, aligned, may be done side by side.
    """
    k = pulls.size
    code = first ^ (first >> 1)
    pull = field
    at = tables.copy()
    for j in range(k):
        if (code >> j) & 1:
            pull += pulls[j]
            for t in range(at.size):
                at[t] += bits[t, j]
        else:
            pull -= pulls[j]
    step = first
    while True:
        down, up = -pull, pull
        for t in range(at.size):
            down += places[at[t]]
            up += places[at[t] + bits[t, k]]
        if up < down:
            least[code] = up
            choice[code >> 3] |= np.uint8(1 << (code & 7))
        else:
            least[code] = down
        step += 1
        if step == first + count:
            break
        j = 0
        while not (step >> j) & 1:
            j += 1
        code ^= 1 << j
        if (code >> j) & 1:
            pull += 2 * pulls[j]
            for t in range(at.size):
                at[t] += bits[t, j]
        else:
            pull -= 2 * pulls[j]
            for t in range(at.size):
                at[t] -= bits[t, j]
