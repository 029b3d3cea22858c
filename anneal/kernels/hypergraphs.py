"""Coarser hypergraphs: who is next to whom, which vertices go together, and what is left then.

A hypergraph is ``start`` (nets + 1,) int64 and ``pins`` int32: net e has the vertices
pins[start[e]] … pins[start[e+1] − 1], each once. ``first`` and ``nets`` are the same the other way
round: the nets of each vertex. weight: (nets,) and area: (vertices,), float64.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below

ALIKE = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: Fibonacci hashing (Knuth 3, 6.4)


@kernel
def incidence(start, pins, num_vertices):  # type: ignore[no-untyped-def]
    """Return (first, nets): the nets of each vertex, in increasing order."""
    first = np.zeros(num_vertices + 1, np.int64)
    for pin in pins:
        first[pin + 1] += 1
    for vertex in range(num_vertices):
        first[vertex + 1] += first[vertex]
    nets = np.empty(pins.size, np.int32)
    at = first[:-1].copy()
    for net in range(start.size - 1):
        for k in range(start[net], start[net + 1]):
            nets[at[pins[k]]] = net
            at[pins[k]] += 1
    return first, nets


@kernel
def cluster(  # type: ignore[no-untyped-def]
    start, pins, weight, first, nets, area, fixed, group, most, fewest, widest, state
):
    """Return (label, count): the cluster of each vertex, (vertices,) int32, and how many there are.

    Vertices come in random order; each that is still alone joins the neighbour, or its cluster, of
    the highest score Σ_e w_e / (size_e − 1) / area: the first choice of Karypis and Kumar (1999),
    with their heavy edges, and the penalty on area of KaHyPar (Schlag and others 2016). Only within
    a group, only of what is free (``fixed`` −1), not beyond ``most`` area together, and not to
    fewer than ``fewest`` clusters. Nets of more than ``widest`` vertices do not count.
    """
    size = area.size
    label = np.full(size, -1, np.int32)
    inside = np.zeros(size)  # area of a cluster, by the vertex that began it
    score = np.zeros(size)
    near = np.empty(size, np.int32)
    order = np.arange(size)
    for k in range(size - 1, 0, -1):
        other = next_below(state, k + 1)
        order[k], order[other] = order[other], order[k]
    for vertex in range(size):
        inside[vertex] = area[vertex]
    floor = 1e-3 * area.sum() / size + 1e-300  # vertices without area are not all of infinite score
    left = size
    for vertex in order:
        if left <= fewest:
            break
        if label[vertex] >= 0 or fixed[vertex] >= 0:
            continue
        found = 0
        for k in range(first[vertex], first[vertex + 1]):
            net = nets[k]
            wide = start[net + 1] - start[net]
            if wide > widest or wide < 2:
                continue
            share = weight[net] / (wide - 1)
            for pin in pins[start[net] : start[net + 1]]:
                if pin == vertex or fixed[pin] >= 0 or group[pin] != group[vertex]:
                    continue
                at = pin if label[pin] < 0 else label[pin]
                if score[at] == 0.0:
                    near[found] = at
                    found += 1
                score[at] += share
        best, most_score = -1, 0.0
        for k in range(found):
            at = near[k]
            value = score[at] / (inside[at] + floor)
            score[at] = 0.0
            if inside[at] + area[vertex] <= most and value > most_score:
                best, most_score = at, value
        if best >= 0:
            label[best] = best
            label[vertex] = best
            inside[best] += area[vertex]
            left -= 1
    return number_labels(label)


@inlined
def number_labels(label):  # type: ignore[no-untyped-def]
    """Number clusters, named by one of their vertices (−1: alone), from 0 in the order of these."""
    count = 0
    name = np.empty(label.size, np.int32)
    for vertex in range(label.size):
        if label[vertex] < 0 or label[vertex] == vertex:
            name[vertex] = count
            count += 1
    for vertex in range(label.size):
        label[vertex] = name[vertex if label[vertex] < 0 else label[vertex]]
    return label, count


@kernel
def contract(start, pins, weight, area, label, count, whole):  # type: ignore[no-untyped-def]
    """Return start, pins, weight and area of the hypergraph of clusters.

    Nets inside a cluster vanish; nets of the same clusters become one that has their weights. A
    vertex with label −1 is left out; a net that had it keeps the others, or is left out too where
    nets must be ``whole``.
    """
    num_nets = start.size - 1
    slots = 1
    while slots < 2 * num_nets:
        slots *= 2
    table = np.full(slots, -1, np.int32)
    seen = np.full(count, -1, np.int32)
    new_start = np.zeros(num_nets + 1, np.int64)
    new_pins = np.empty(pins.size, np.int32)
    new_weight = np.empty(num_nets)
    made, end = 0, 0
    for net in range(num_nets):
        begin = end
        key = np.uint64(0)
        for k in range(start[net], start[net + 1]):
            at = label[pins[k]]
            if at < 0:
                if whole:
                    end = begin
                    break
            elif seen[at] != net:
                seen[at] = net
                new_pins[end] = at
                end += 1
                word = (np.uint64(at) + np.uint64(1)) * ALIKE
                key += word ^ (word >> np.uint64(29))
        if end - begin < 2:
            end = begin
            continue
        slot = np.int64((key * ALIKE) >> np.uint64(20)) % slots
        same = -1
        while table[slot] >= 0:
            other = table[slot]
            if new_start[other + 1] - new_start[other] == end - begin:
                same = other
                for at in new_pins[new_start[other] : new_start[other + 1]]:
                    if seen[at] != net:
                        same = -1
                        break
                if same >= 0:
                    break
            slot = (slot + 1) % slots
        if same >= 0:
            new_weight[same] += weight[net]
            end = begin
            continue
        table[slot] = made
        new_weight[made] = weight[net]
        made += 1
        new_start[made] = end
    new_area = np.zeros(count)
    for vertex in range(area.size):
        if label[vertex] >= 0:
            new_area[label[vertex]] += area[vertex]
    return new_start[: made + 1].copy(), new_pins[:end].copy(), new_weight[:made].copy(), new_area


@kernel
def cut_weight(start, pins, weight, parts):  # type: ignore[no-untyped-def]
    """Return Σ w over the nets whose vertices are not all in one part."""
    total = 0.0
    for net in range(start.size - 1):
        for k in range(start[net] + 1, start[net + 1]):
            if parts[pins[k]] != parts[pins[start[net]]]:
                total += weight[net]
                break
    return total
