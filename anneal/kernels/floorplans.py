"""Annealing of floorplans: B*-trees for any objective, orders of blocks for area alone.

Blocks lie within ``wide[b]`` × ``high[b]``; best: x, y, width, height and 1 where turned, (5, n).
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.random import next_below, next_word

PARENT, LEFT, RIGHT, BLOCK = range(4)
OUTSIDE = 1e6  # added to the cost of what is not within the outline


@inlined
def uniform(state):  # type: ignore[no-untyped-def]
    """Return a number in (0, 1)."""
    return (float(next_word(state) >> np.uint64(11)) + 0.5) * 2.0**-53


@inlined
def coin(state):  # type: ignore[no-untyped-def]
    """Return 0 or 1."""
    return np.int64(next_word(state) >> np.uint64(63))


@kernel
def pack_tree(  # type: ignore[no-untyped-def]
    tree, wide, high, x, y, right, top, following, before, stack, weights, outline, bound
):
    """Place all blocks of a B*-tree; return width and height, too small once beyond ``bound``.

    Chang, Chang, Wu & Wu 2000 (B*-trees, DAC): a left child lies to the right of its parent, a
    right child above it at the same x; each as low as the contour lets it. tree: parent, left and
    right child and block of each node, (4, n); node 0 is the root. Of the contour's blocks, from
    left to right, ``following`` and ``before`` tell the neighbours, ``right`` and ``top`` the ends.
    A left child comes after its parent in the contour, a right child in its place, so the contour
    is never searched.
    """
    none = wide.shape[0]
    node, depth, block = 0, 0, tree[BLOCK, 0]
    x[block], y[block], right[block], top[block] = 0.0, 0.0, wide[block], high[block]
    following[block] = before[block] = none
    width, height = wide[block], high[block]
    while True:
        if tree[RIGHT, node] >= 0:
            stack[depth] = node
            depth += 1
        node = tree[LEFT, node]
        if node >= 0:
            left, last = right[block], block
            under = following[block]
        else:
            if depth == 0:
                return width, height
            depth -= 1
            above = tree[BLOCK, stack[depth]]
            node = tree[RIGHT, stack[depth]]
            left, last, under = x[above], before[above], above
        block = tree[BLOCK, node]
        end, low, covered = left + wide[block], 0.0, left
        while under != none and right[under] <= end:
            low, covered = max(low, top[under]), right[under]
            under = following[under]
        if under != none:
            if covered < end:
                low = max(low, top[under])
            before[under] = block
        if last != none:
            following[last] = block
        following[block], before[block] = under, last
        x[block], y[block], right[block], top[block] = left, low, end, low + high[block]
        if end > width or top[block] > height:
            width, height = max(width, end), max(height, top[block])
            if box_cost(width, height, weights, outline) > bound:
                return width, height


@inlined
def box_cost(width, height, weights, outline):  # type: ignore[no-untyped-def]
    """Return the cost of a box: its area, and what it is too large. Grows with both sides."""
    over = max(0.0, width / outline[0] - 1.0) + max(0.0, height / outline[1] - 1.0)
    return weights[0] * width * height + weights[2] * over


@kernel
def wirelength(start, member, dx, dy, x, y, wide, high, turned, pad_x, pad_y):  # type: ignore[no-untyped-def]
    """Return the half-perimeter of all nets; offsets are shares of a block's size as given."""
    total, blocks = 0.0, wide.shape[0]
    for net in range(start.shape[0] - 1):
        if start[net] == start[net + 1]:
            continue
        left = low = np.inf
        right = top = -np.inf
        for pin in range(start[net], start[net + 1]):
            at = member[pin]
            if at >= blocks:
                across, along = pad_x[at - blocks], pad_y[at - blocks]
            elif turned[at]:
                across = x[at] + wide[at] * (0.5 + dy[pin])
                along = y[at] + high[at] * (0.5 - dx[pin])
            else:
                across = x[at] + wide[at] * (0.5 + dx[pin])
                along = y[at] + high[at] * (0.5 + dy[pin])
            left, right = min(left, across), max(right, across)
            low, top = min(low, along), max(top, along)
        total += right - left + top - low
    return total


@kernel
def move_block(tree, node, target, state):  # type: ignore[no-untyped-def]
    """Take a node's block out of a tree, and put it in below another node."""
    count = tree.shape[1]
    block = tree[BLOCK, node]
    while tree[LEFT, node] >= 0 and tree[RIGHT, node] >= 0:
        child = tree[LEFT + coin(state), node]
        tree[BLOCK, node] = tree[BLOCK, child]
        node = child
    child = max(tree[LEFT, node], tree[RIGHT, node])
    if node == 0:
        # The root keeps its number: its only child takes its place, and is the one that is free.
        for link in range(LEFT, BLOCK + 1):
            tree[link, 0] = tree[link, child]
        for link in range(LEFT, BLOCK):
            if tree[link, 0] >= 0:
                tree[PARENT, tree[link, 0]] = 0
        node = child
    else:
        parent = tree[PARENT, node]
        tree[LEFT if tree[LEFT, parent] == node else RIGHT, parent] = child
        if child >= 0:
            tree[PARENT, child] = parent
    if target == node:
        target = (node + 1) % count
    side = LEFT + coin(state)
    below = tree[side, target]
    tree[side, target] = node
    tree[PARENT, node], tree[BLOCK, node] = target, block
    tree[LEFT, node] = tree[RIGHT, node] = -1
    if below >= 0:
        tree[LEFT + coin(state), node] = below
        tree[PARENT, below] = node


@kernel
def reshape(block, wide, high, turned, bounds, state):  # type: ignore[no-untyped-def]
    """Turn a hard block, or give a soft one another width within ``bounds``."""
    if bounds[block, 1] <= 0.0:
        wide[block], high[block] = high[block], wide[block]
        turned[block] = 1 - turned[block]
    else:
        # Steps of all sizes, from the whole range down to a thousandth of it.
        area = wide[block] * high[block]
        step = (2.0 * uniform(state) - 1.0) * 10.0 ** (-3.0 * uniform(state))
        width = wide[block] * (bounds[block, 1] / bounds[block, 0]) ** step
        wide[block] = min(max(width, bounds[block, 0]), bounds[block, 1])
        high[block] = area / wide[block]


@kernel
def anneal_tree(  # type: ignore[no-untyped-def]
    tree, wide, high, turned, bounds, start, member, dx, dy, pad_x, pad_y, weights, outline,
    costs, best, moves, temperature, state,
):  # fmt: skip
    """Propose so many moves; costs: of the tree and of the best floorplan so far.

    weights: of area, wirelength, and what is beyond the outline. A floorplan within it is better
    than any that is not. bounds: least and most width of soft blocks, 0 of hard ones, (n, 2).
    """
    count = wide.shape[0]
    x, y, right, top = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    following, before = np.zeros(count, np.int32), np.zeros(count, np.int32)
    stack, kept = np.zeros(count, np.int32), tree.copy()
    for _ in range(moves):
        bound = costs[0] - np.log(uniform(state)) * temperature
        kind, node = next_below(state, 3) if count > 1 else 0, next_below(state, count)
        block, other = tree[BLOCK, node], next_below(state, count)
        was_wide, was_high, was_turned = wide[block], high[block], turned[block]
        if kind == 0 or (kind == 2 and coin(state)):
            reshape(block, wide, high, turned, bounds, state)
        if kind == 1:
            tree[BLOCK, node], tree[BLOCK, other] = tree[BLOCK, other], block
        elif kind == 2:
            kept[:] = tree
            move_block(tree, node, other, state)
        width, height = pack_tree(
            tree, wide, high, x, y, right, top, following, before, stack, weights, outline, bound
        )
        cost = box_cost(width, height, weights, outline)
        if weights[1] > 0.0 and cost <= bound:
            cost += weights[1] * wirelength(
                start, member, dx, dy, x, y, wide, high, turned, pad_x, pad_y
            )
        if cost <= bound:
            costs[0] = cost
            inside = width <= outline[0] and height <= outline[1]
            if not inside:
                cost += OUTSIDE
            if cost < costs[1]:
                costs[1] = cost
                best[0], best[1], best[2], best[3], best[4] = x, y, wide, high, turned
        else:
            wide[block], high[block], turned[block] = was_wide, was_high, was_turned
            if kind == 1:
                tree[BLOCK, node], tree[BLOCK, other] = block, tree[BLOCK, node]
            elif kind == 2:
                tree[:] = kept
