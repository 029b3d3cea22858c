"""Orders of blocks, packed below a skyline: little area, whatever the nets.

After Wei, Oon, Zhu & Lim 2011 (A skyline heuristic for the 2D rectangular packing and strip packing
problems, EJOR): into the lowest gap goes the first block of the order among those that fit it best.
Here the order and the strip's width are annealed.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.floorplans import OUTSIDE, box_cost, uniform
from anneal.kernels.random import next_below

NEAR = 1e-9  # of the strip's width: lengths that are that close are equal


@inlined
def insert(edges, tops, count, at):  # type: ignore[no-untyped-def]
    """Make room for a segment of the skyline."""
    edges[count + 1] = edges[count]
    for index in range(count, at, -1):
        edges[index], tops[index] = edges[index - 1], tops[index - 1]


@inlined
def remove(edges, tops, count, at):  # type: ignore[no-untyped-def]
    """Let a segment become part of the one before it."""
    for index in range(at, count - 1):
        edges[index], tops[index] = edges[index + 1], tops[index + 1]
    edges[count - 1] = edges[count]


@kernel
def choose(rest, left, wide, high, gap, beside, other, near):  # type: ignore[no-untyped-def]
    """Return the place in ``rest`` of the block that suits a gap best, whether turned; −1 if none.

    ``gap``: its width; ``beside``, ``other``: how much higher its neighbours are. Best is as wide
    as the gap and as high as both, then one of them; as wide; as high as one; then any.
    """
    best, chosen, aside = 0, -1, False
    for index in range(left):
        block = rest[index]
        for turn in range(2):
            width = high[block] if turn else wide[block]
            height = wide[block] if turn else high[block]
            if width > gap + near:
                continue
            level = int(abs(height - beside) <= near) + int(abs(height - other) <= near)
            suits = 1 + (3 + level if width >= gap - near else min(level, 1))
            if suits > best:
                best, chosen, aside = suits, index, turn == 1
        if best == 6:
            break
    return chosen, aside


@kernel
def pack_order(order, wide, high, strip, limit, best, rest, edges, tops):  # type: ignore[no-untyped-def]
    """Pack blocks into a strip by their order; return the height, infinite once above ``limit``.

    best: x, y, width, height and turned, (5, n), are written. Segment s of the skyline is from
    ``edges[s]`` to ``edges[s + 1]``, at ``tops[s]``.
    """
    near, left, count, height = NEAR * strip, order.shape[0], 1, 0.0
    rest[:] = order
    edges[0], edges[1], tops[0] = 0.0, strip, 0.0
    while left > 0:
        at = 0
        for index in range(1, count):
            if tops[index] < tops[at]:
                at = index
        low, gap = tops[at], edges[at + 1] - edges[at]
        beside = tops[at - 1] - low if at > 0 else np.inf
        other = tops[at + 1] - low if at < count - 1 else np.inf
        chosen, aside = choose(rest, left, wide, high, gap, beside, other, near)
        if chosen < 0:
            if count == 1:
                return np.inf
            tops[at] = low + min(beside, other)
        else:
            block = rest[chosen]
            left -= 1
            for index in range(chosen, left):
                rest[index] = rest[index + 1]
            width = high[block] if aside else wide[block]
            tall = wide[block] if aside else high[block]
            if low + tall > limit:
                return np.inf
            height = max(height, low + tall)
            # To the side where it ends level, else to the higher one.
            rightward = abs(tall - beside) > near and (abs(tall - other) <= near or beside < other)
            if width < gap - near:
                insert(edges, tops, count, at)
                count += 1
                if rightward:
                    at += 1
                    edges[at] = edges[at + 1] - width
                else:
                    edges[at + 1] = edges[at] + width
            tops[at] = low + tall
            best[0, block], best[1, block] = edges[at], low
            best[2, block], best[3, block] = width, tall
            best[4, block] = 1.0 if aside else 0.0
        if at < count - 1 and abs(tops[at + 1] - tops[at]) <= near:
            remove(edges, tops, count, at + 1)
            count -= 1
        if at > 0 and abs(tops[at - 1] - tops[at]) <= near:
            remove(edges, tops, count, at)
            count -= 1
    return height


@inlined
def rotate(order, source, target):  # type: ignore[no-untyped-def]
    """Take one entry out and put it in elsewhere."""
    entry, step = order[source], 1 if source < target else -1
    for index in range(source, target, step):
        order[index] = order[index + step]
    order[target] = entry


@kernel
def anneal_order(  # type: ignore[no-untyped-def]
    order, strip, span, wide, high, weights, outline, costs, best, moves, temperature, state
):
    """Propose so many moves; costs: of the order and of the best floorplan so far.

    strip: width, (1,); span: its least and most. It changes by the difference of two lengths of
    blocks, so that blocks beside each other can fill it. weights, outline: as in ``anneal_tree``.
    """
    count = order.shape[0]
    rest, edges, tops = np.empty_like(order), np.zeros(count + 2), np.zeros(count + 2)
    plan = np.zeros((5, count))
    for _ in range(moves):
        bound = costs[0] - np.log(uniform(state)) * temperature
        kind, was = next_below(state, 10), strip[0]
        one, two = next_below(state, count), next_below(state, count)
        if kind == 0:
            longer = wide[one] if next_below(state, 2) else high[one]
            strip[0] += longer - (wide[two] if next_below(state, 2) else high[two])
            if strip[0] < span[0] or strip[0] > span[1]:
                strip[0] = was
                continue
        elif one == two:
            continue
        elif kind < 7:
            order[one], order[two] = order[two], order[one]
        else:
            rotate(order, one, two)
        limit = bound / (weights[0] * strip[0])
        height = pack_order(order, wide, high, strip[0], limit, plan, rest, edges, tops)
        cost = box_cost(strip[0], height, weights, outline) if height < np.inf else np.inf
        if cost <= bound:
            costs[0] = cost
            if height > outline[1]:
                cost += OUTSIDE
            if cost < costs[1]:
                costs[1] = cost
                best[:] = plan
        else:
            strip[0] = was
            if kind > 0 and kind < 7:
                order[one], order[two] = order[two], order[one]
            elif kind >= 7:
                rotate(order, two, one)
