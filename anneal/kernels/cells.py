"""Annealing of cells in rows of sites: swaps and moves into gaps, no cell ever over another.

``sites`` holds the cell on each site of all segments, −1 on an empty one, segment s from
``base[s]`` to ``base[s + 1]``. ``spot``: the site, in ``sites``, where each cell begins; ``where``:
its segment; ``width``: in sites.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below, next_word


@inlined
def gap_around(sites, base, where, target, cell, width):  # type: ignore[no-untyped-def]
    """Return the first free site around ``target`` and the end, no further than a width away.

    The sites of ``cell`` itself are free.
    """
    first = end = target
    low = max(base[where], target - width + 1)
    high = min(base[where + 1], target + width)
    while first > low and (sites[first - 1] < 0 or sites[first - 1] == cell):
        first -= 1
    while end < high and (sites[end] < 0 or sites[end] == cell):
        end += 1
    return first, end


@inlined
def put(  # type: ignore[no-untyped-def]
    sites, spot, where, middle_x, middle_y, cell, site, segment, width, half, left, base, low, pitch
):  # fmt: skip
    """Place a cell: its sites are written, those it had are not."""
    for number in range(site, site + width[cell]):
        sites[number] = cell
    spot[cell], where[cell] = site, segment
    middle_x[cell] = left[segment] + (site - base[segment]) * pitch + half[cell, 0]
    middle_y[cell] = low[segment] + half[cell, 1]


@inlined
def clear(sites, spot, width, cell):  # type: ignore[no-untyped-def]
    """Empty the sites of a cell."""
    for number in range(spot[cell], spot[cell] + width[cell]):
        sites[number] = -1


@kernel
def net_span(start, pin_cell, pin_x, pin_y, middle_x, middle_y, net):  # type: ignore[no-untyped-def]
    """Return width plus height of a net's box."""
    first = start[net]
    at = pin_cell[first]
    left = right = middle_x[at] + pin_x[first]
    low = high = middle_y[at] + pin_y[first]
    for pin in range(first + 1, start[net + 1]):
        at = pin_cell[pin]
        x, y = middle_x[at] + pin_x[pin], middle_y[at] + pin_y[pin]
        left, right = min(left, x), max(right, x)
        low, high = min(low, y), max(high, y)
    return right - left + high - low


@kernel
def anneal_cells(  # type: ignore[no-untyped-def]
    start, pin_cell, pin_x, pin_y, weight, cell_start, cell_net, spans,
    sites, base, left, low, pitch, spot, where, width, half, middle_x, middle_y,
    cells, window, hot, cold, moves, state,
):  # fmt: skip
    """Propose so many moves, from the temperature ``hot`` down to ``cold``; return the change.

    Half of the targets are near a cell of one of the cell's nets, half near the cell itself, at
    most ``window`` segments and sites away. A free target is moved to, a taken one swapped with.
    """
    stamp = np.zeros(spans.shape[0], np.int64)
    nets, news = np.empty(spans.shape[0], np.int64), np.empty(spans.shape[0])
    segments, changed = base.shape[0] - 1, 0.0
    for move in range(moves):
        temperature = hot * (cold / hot) ** (move / moves)
        cell = cells[next_below(state, cells.shape[0])]
        aim = cell
        count = cell_start[cell + 1] - cell_start[cell]
        if count and next_word(state) >> np.uint64(63):
            net = cell_net[cell_start[cell] + next_below(state, count)]
            aim = pin_cell[start[net] + next_below(state, start[net + 1] - start[net])]
            if where[aim] < 0:
                continue
        segment = where[aim] + next_below(state, 2 * window[0] + 1) - window[0]
        if segment < 0 or segment >= segments:
            continue
        # The same place in the other segment.
        x = middle_x[aim] + (next_below(state, 2 * window[1] + 1) - window[1]) * pitch
        target = base[segment] + int((x - left[segment]) / pitch)
        if target < base[segment] or target >= base[segment + 1]:
            continue
        other = sites[target]
        place, place_other, segment_other = -1, -1, where[cell]
        if other < 0 or other == cell:
            other = -1
            first, end = gap_around(sites, base, segment, target, cell, width[cell])
            if end - first < width[cell]:
                continue
            place = min(max(target - width[cell] // 2, first), end - width[cell])
            if place == spot[cell] and segment == where[cell]:
                continue
        else:
            place, place_other = exchange(sites, base, spot, where, width, cell, other)
            if place < 0:
                continue
        old, old_segment, old_other = spot[cell], where[cell], spot[max(other, 0)]
        clear(sites, spot, width, cell)
        if other >= 0:
            clear(sites, spot, width, other)
            put(sites, spot, where, middle_x, middle_y, other, place_other, segment_other, width,
                half, left, base, low, pitch)  # fmt: skip
        put(sites, spot, where, middle_x, middle_y, cell, place, segment, width, half, left, base,
            low, pitch)  # fmt: skip
        change, found = 0.0, 0
        for one in (cell, other):
            if one < 0:
                continue
            for index in range(cell_start[one], cell_start[one + 1]):
                net = cell_net[index]
                if stamp[net] == move + 1:
                    continue
                stamp[net] = move + 1
                news[found] = net_span(start, pin_cell, pin_x, pin_y, middle_x, middle_y, net)
                change += weight[net] * (news[found] - spans[net])
                nets[found] = net
                found += 1
        uniform = (float(next_word(state) >> np.uint64(11)) + 0.5) * 2.0**-53
        if change <= -np.log(uniform) * temperature:
            changed += change
            for index in range(found):
                spans[nets[index]] = news[index]
        else:
            clear(sites, spot, width, cell)
            if other >= 0:
                clear(sites, spot, width, other)
                put(sites, spot, where, middle_x, middle_y, other, old_other, segment, width, half,
                    left, base, low, pitch)  # fmt: skip
            put(sites, spot, where, middle_x, middle_y, cell, old, old_segment, width, half, left,
                base, low, pitch)  # fmt: skip
    return changed


@kernel
def exchange(sites, base, spot, where, width, cell, other):  # type: ignore[no-untyped-def]
    """Return where two cells go that change places, −1 where one of them has no room.

    Neighbours in a row change their order; else the wider one needs gaps beside the other.
    """
    one, two = where[cell], where[other]
    if one == two:
        front, back = (cell, other) if spot[cell] < spot[other] else (other, cell)
        between = spot[front] + width[front]
        while between < spot[back] and sites[between] < 0:
            between += 1
        if between == spot[back]:
            new_back, new_front = spot[front], spot[back] + width[back] - width[front]
            return (new_front, new_back) if front == cell else (new_back, new_front)
    if width[cell] == width[other]:
        return spot[other], spot[cell]
    wide, slim = (cell, other) if width[cell] > width[other] else (other, cell)
    room = width[wide] - width[slim]
    segment = where[slim]
    first, end = spot[slim], spot[slim] + width[slim]
    while first > base[segment] and spot[slim] - first < room and sites[first - 1] < 0:
        first -= 1
    while end < base[segment + 1] and end - spot[slim] < width[wide] and sites[end] < 0:
        end += 1
    if end - first < width[wide]:
        return -1, -1
    new_wide = min(max(spot[slim] - room // 2, first), end - width[wide])
    new_slim = spot[wide] + room // 2
    return (new_wide, new_slim) if wide == cell else (new_slim, new_wide)
