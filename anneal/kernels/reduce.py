"""Exact reductions: spins of at most two neighbours, of a strong field or of a strong coupling."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel

NOTHING = 2.0**-48  # what is left of terms that cancel, beside them


@inlined
def find_edge(indptr, indices, alive, i, j):  # type: ignore[no-untyped-def]
    """The living half-edge from i to j, or −1."""
    for edge in range(indptr[i], indptr[i + 1]):
        if alive[edge] and indices[edge] == j:
            return edge
    return -1


@inlined
def half_edge_twins(indptr, indices):  # type: ignore[no-untyped-def]
    """The place of j→i for each half-edge i→j of a symmetric CSR structure with sorted indices."""
    twin = np.empty(indices.size, np.int64)
    reached = indptr[:-1].copy()
    for i in range(reached.size):
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            twin[edge] = reached[j]
            reached[j] += 1
    return twin


@kernel
def eliminate(indptr, indices, weights, biases, unit, order, neighbours, links, own, counts):  # type: ignore[no-untyped-def]
    """Fix spins whose field is as strong as their couplings together, and eliminate those of degree
    0, 1 and 2, until none is left; CSR arrays and biases are changed in place.

    A spin v with neighbours a, b is best at s_v = −sign(h + J_a s_a + J_b s_b) and then contributes
    −|h + J_a s_a + J_b s_b|, a function of two spins, which is c + x·s_a + y·s_b + z·s_a·s_b
    exactly. Its two half-edges become the edge a–b (or join the one that is there, which goes where
    that leaves nothing). Indices are sorted.

    unit: a spin stays where x, y or z are no multiples of it; 0: none does. order: (n,) receives
    the spins that went; neighbours (n, 2), links (n, 2), own (n,) what their rules need, −1 where a
    neighbour is missing; counts: (2,) the numbers of fixed and of eliminated ones. Returns (energy
    of the constant parts, mask of the living half-edges).
    """
    n = biases.size
    alive = np.ones(indices.size, np.bool_)
    degree = np.empty(n, np.int64)
    total = np.zeros(n)  # Σ |J| of the living couplings, up to rounding
    back = np.empty(2, np.int64)
    queue = np.empty(n, np.int64)  # a ring: a spin waits in one place at most
    waits = np.zeros(n, np.bool_)
    head, waiting, ruled = 0, 0, 0
    for i in range(n):
        degree[i] = indptr[i + 1] - indptr[i]
        for edge in range(indptr[i], indptr[i + 1]):
            total[i] += abs(weights[edge])
        if degree[i] <= 2 or abs(biases[i]) >= total[i]:
            queue[waiting] = i
            waiting += 1
            waits[i] = True
    constant = 0.0
    if not waiting:
        return constant, alive
    twin = half_edge_twins(indptr, indices)
    while waiting:
        v = queue[head]
        head = head + 1 if head + 1 < n else 0
        waiting -= 1
        waits[v] = False
        field = biases[v]
        ends = neighbours[ruled]
        pull = links[ruled]
        if abs(field) >= total[v]:
            exact = 0.0
            for edge in range(indptr[v], indptr[v + 1]):
                if alive[edge]:
                    exact += abs(weights[edge])
            total[v] = exact
        if abs(field) >= total[v]:
            spin = -1.0 if field > 0 else 1.0
            order[ruled], own[ruled] = v, field
            ends[:] = -1
            pull[:] = 0.0
            ruled += 1
            counts[0] += 1
            constant -= abs(field)
            for edge in range(indptr[v], indptr[v + 1]):
                if alive[edge]:
                    a = indices[edge]
                    alive[edge] = alive[twin[edge]] = False
                    biases[a] += weights[edge] * spin
                    total[a] -= abs(weights[edge])
                    degree[a] -= 1
                    if not waits[a] and (degree[a] <= 2 or abs(biases[a]) >= total[a]):
                        place = head + waiting
                        queue[place if place < n else place - n] = a
                        waiting += 1
                        waits[a] = True
            continue
        if degree[v] > 2:
            continue
        ends[:] = -1
        pull[:] = 0.0
        found = 0
        for edge in range(indptr[v], indptr[v + 1]):
            if alive[edge]:
                back[found] = twin[edge]
                ends[found] = indices[edge]
                pull[found] = weights[edge]
                found += 1
        pp = -abs(field + pull[0] + pull[1])
        pm = -abs(field + pull[0] - pull[1])
        mp = -abs(field - pull[0] + pull[1])
        mm = -abs(field - pull[0] - pull[1])
        x = (pp + pm - mp - mm) / 4
        y = (pp - pm + mp - mm) / 4
        joined = (pp - pm - mp + mm) / 4
        if abs(joined) <= NOTHING * (abs(field) + abs(pull[0]) + abs(pull[1])):
            joined = 0.0
        if unit > 0 and (x % unit != 0 or y % unit != 0 or joined % unit != 0):
            continue
        order[ruled], own[ruled] = v, field
        ruled += 1
        counts[1] += 1
        for edge in range(indptr[v], indptr[v + 1]):
            alive[edge] = False
        constant += (pp + pm + mp + mm) / 4
        biases[ends[0]] += x
        if found == 2:
            biases[ends[1]] += y
        known = -1
        if found == 2:
            a, b = ends[0], ends[1]
            if indptr[a + 1] - indptr[a] > indptr[b + 1] - indptr[b]:
                a, b = b, a  # the shorter row is searched
            known = find_edge(indptr, indices, alive, a, b)
        for k in range(found):
            a = ends[k]
            total[a] -= abs(pull[k])
            if found == 2 and joined != 0.0 and known < 0:
                indices[back[k]] = ends[1 - k]
                weights[back[k]] = joined
                twin[back[k]] = back[1 - k]
                total[a] += abs(joined)
            else:
                alive[back[k]] = False
                degree[a] -= 1
        if known >= 0 and joined != 0.0:
            sizes = abs(weights[known]) + abs(joined)
            change = -abs(weights[known])
            weights[known] += joined
            if abs(weights[known]) <= NOTHING * sizes:
                weights[known] = 0.0
            change += abs(weights[known])
            weights[twin[known]] = weights[known]
            for k in range(2):
                total[ends[k]] += change
            if weights[known] == 0.0:
                alive[known] = alive[twin[known]] = False
                degree[ends[0]] -= 1
                degree[ends[1]] -= 1
        for k in range(found):
            a = ends[k]
            if not waits[a] and (degree[a] <= 2 or abs(biases[a]) >= total[a]):
                place = head + waiting
                queue[place if place < n else place - n] = a
                waiting += 1
                waits[a] = True
    return constant, alive


@kernel
def compact(indptr, indices, weights, alive, place, kept):  # type: ignore[no-untyped-def]
    """The living half-edges of the spins ``kept``, numbered by ``place``: (indptr, indices,
    weights).
    """
    start = np.zeros(kept.size + 1, np.int64)
    for k in range(kept.size):
        count = 0
        for edge in range(indptr[kept[k]], indptr[kept[k] + 1]):
            count += alive[edge]
        start[k + 1] = start[k] + count
    columns = np.empty(start[-1], np.int32)
    values = np.empty(start[-1])
    at = 0
    for k in range(kept.size):
        for edge in range(indptr[kept[k]], indptr[kept[k] + 1]):
            if alive[edge]:
                columns[at] = place[indices[edge]]
                values[at] = weights[edge]
                at += 1
    return start, columns, values


@kernel
def follow_strong(indptr, indices, weights, biases, leader, sign):  # type: ignore[no-untyped-def]
    """Find, for each spin with a coupling as strong as its field and its other couplings together,
    whom it follows: s_v = sign·s_leader in some ground state, whatever the others are.

    Indices are sorted and of equals the first is followed, so no circle is longer than a pair.
    leader: (n,) int64, sign: (n,) receive the last one to be followed, or the spin itself. Returns
    how many follow.
    """
    n = biases.size
    for v in range(n):
        total, strongest, best = abs(biases[v]), 0.0, -1
        for edge in range(indptr[v], indptr[v + 1]):
            size = abs(weights[edge])
            total += size
            if size > strongest:
                strongest, best = size, edge
        leader[v], sign[v] = v, 1.0
        if best >= 0 and 2 * strongest >= total:
            leader[v] = indices[best]
            sign[v] = -1.0 if weights[best] > 0 else 1.0
    following = 0
    for v in range(n):
        if leader[v] != v and leader[leader[v]] == v:
            leader[v], sign[v] = v, 1.0
    for v in range(n):
        last, product = v, 1.0
        while leader[last] != last:
            product *= sign[last]
            last = leader[last]
        following += last != v
        at = v
        while leader[at] != at:  # the way is shortened for those who come after
            then, passed = leader[at], sign[at]
            leader[at], sign[at] = last, product
            product *= passed
            at = then
    return following


@kernel
def restore(order, neighbours, links, own, count, states):  # type: ignore[no-untyped-def]
    """Set the eliminated spins of ``states`` (reads, n) int8 to their best, the last eliminated
    first.
    """
    for read in range(states.shape[0]):
        spins = states[read]
        for k in range(count - 1, -1, -1):
            field = own[k]
            for side in range(2):
                if neighbours[k, side] >= 0:
                    field += links[k, side] * spins[neighbours[k, side]]
            spins[order[k]] = -1 if field > 0 else 1
