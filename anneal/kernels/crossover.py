"""Partition crossover: the connected components in which two states differ are independent."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel
from anneal.kernels.random import next_word


@kernel
def absorb(indptr, indices, weights, biases, symmetric, elite, states, state):  # type: ignore[no-untyped-def]
    """Flip in ``elite`` every component of its difference to each of ``states`` that lowers the
    energy.

    Components of the graph induced on the spins where two states differ do not touch, so their
    energies add: the best of 2^components offspring is found one component at a time (Whitley et
    al. 2009; Tinós et al. 2015). A component of no effect is taken with probability ½, which moves
    the elite along plateaus. elite: (n,) int8, changed; states: (replicas, n) int8; biases: (n,);
    ``symmetric``: no bias, so of a state and its mirror the nearer is taken. Returns what the
    energy falls by.
    """
    n = elite.size
    member = np.zeros(n, np.uint8)  # 1: differs and not yet visited, 2: in the component at hand
    stack = np.empty(n, np.int32)
    component = np.empty(n, np.int32)
    total = 0.0
    for replica in range(states.shape[0]):
        other = states[replica]
        distance = 0
        for i in range(n):
            member[i] = other[i] != elite[i]
            distance += member[i]
        if symmetric and 2 * distance > n:
            for i in range(n):
                member[i] ^= 1
        for start in range(n):
            if member[start] != 1:
                continue
            member[start] = 2
            stack[0] = start
            height = 1
            size = 0
            while height:
                height -= 1
                i = stack[height]
                component[size] = i
                size += 1
                for edge in range(indptr[i], indptr[i + 1]):
                    j = indices[edge]
                    if member[j] == 1:
                        member[j] = 2
                        stack[height] = j
                        height += 1
            falls = 0.0
            for k in range(size):
                i = component[k]
                field = np.float64(biases[i])
                for edge in range(indptr[i], indptr[i + 1]):
                    j = indices[edge]
                    if member[j] != 2:
                        field += np.float64(weights[edge]) * elite[j]
                falls += 2.0 * elite[i] * field
            take = falls > 0 or (falls == 0 and next_word(state) >> np.uint64(63))
            for k in range(size):
                i = component[k]
                member[i] = 0
                if take:
                    elite[i] = -elite[i]
            if take:
                total += falls
    return total
