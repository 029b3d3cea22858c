"""Exact elimination of spins with at most two neighbours."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel


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
def eliminate(indptr, indices, weights, biases, order, neighbours, links, own):  # type: ignore[no-untyped-def]
    """Eliminate spins of degree 0, 1 and 2 until none is left; CSR arrays and biases are changed in
    place.

    A spin v with neighbours a, b is best at s_v = −sign(h + J_a s_a + J_b s_b) and then contributes
    −|h + J_a s_a + J_b s_b|, a function of two spins, which is c + x·s_a + y·s_b + z·s_a·s_b
    exactly. Its two half-edges become the edge a–b (or join the one that is there, which goes where
    that leaves nothing). Indices are sorted.

    order: (n,) receives the eliminated spins; neighbours (n, 2), links (n, 2), own (n,) what their
    rules need, −1 where a neighbour is missing. Returns (number eliminated, energy of the constant
    parts, mask of the living half-edges).
    """
    n = biases.size
    twin = half_edge_twins(indptr, indices)
    alive = np.ones(indices.size, np.bool_)
    back = np.empty(2, np.int64)
    degree = np.empty(n, np.int64)
    queue = np.empty(n, np.int64)
    queued = np.zeros(n, np.bool_)
    head, tail = 0, 0
    for i in range(n):
        degree[i] = indptr[i + 1] - indptr[i]
        if degree[i] <= 2:
            queue[tail] = i
            tail += 1
            queued[i] = True
    constant = 0.0
    while head < tail:
        v = queue[head]
        ends = neighbours[head]
        pull = links[head]
        order[head] = v
        own[head] = biases[v]
        ends[:] = -1
        pull[:] = 0.0
        found = 0
        for edge in range(indptr[v], indptr[v + 1]):
            if alive[edge]:
                alive[edge] = False
                back[found] = twin[edge]
                ends[found] = indices[edge]
                pull[found] = weights[edge]
                found += 1
        head += 1
        pp = -abs(own[head - 1] + pull[0] + pull[1])
        pm = -abs(own[head - 1] + pull[0] - pull[1])
        mp = -abs(own[head - 1] - pull[0] + pull[1])
        mm = -abs(own[head - 1] - pull[0] - pull[1])
        constant += (pp + pm + mp + mm) / 4
        if found >= 1:
            biases[ends[0]] += (pp + pm - mp - mm) / 4
        if found == 2:
            biases[ends[1]] += (pp - pm + mp - mm) / 4
        joined = (pp - pm - mp + mm) / 4
        known = -1
        if found == 2:
            a, b = ends[0], ends[1]
            if indptr[a + 1] - indptr[a] > indptr[b + 1] - indptr[b]:
                a, b = b, a  # the shorter row is searched
            known = find_edge(indptr, indices, alive, a, b)
        for k in range(found):
            a = ends[k]
            if found == 2 and joined != 0.0 and known < 0:
                indices[back[k]] = ends[1 - k]
                weights[back[k]] = joined
                twin[back[k]] = back[1 - k]
            else:
                alive[back[k]] = False
                degree[a] -= 1
        if known >= 0 and joined != 0.0:
            weights[known] += joined
            weights[twin[known]] = weights[known]
            if weights[known] == 0.0:
                alive[known] = alive[twin[known]] = False
                degree[ends[0]] -= 1
                degree[ends[1]] -= 1
        for k in range(found):
            a = ends[k]
            if degree[a] <= 2 and not queued[a]:
                queue[tail] = a
                tail += 1
                queued[a] = True
    return head, constant, alive


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
