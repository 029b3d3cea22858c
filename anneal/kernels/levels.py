"""Moves of levels from where they are: one or two at a time, and a few solved anew.

Levels and bounds are float64, (rows, n), and whole; the gradient H(q − t) goes along. ``group``
rows in a row share a Hessian of (groups, n, n).
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.lanes import multiply_add
from anneal.kernels.planes import LANES, spread
from anneal.kernels.vector import above, load, select, splat, store


@inlined
def _change(i, step, levels, gradient, hessian):  # type: ignore[no-untyped-def]
    """Move a level by ``step``; the gradient H(q − t) follows."""
    levels[i] += step
    for j in range(gradient.size):
        gradient[j] += step * hessian[i, j]


@inlined
def _descend_singles(levels, gradient, lower, upper, hessian, least):  # type: ignore[no-untyped-def]
    """Take each level to the best for the others as they are, until none changes."""
    moved = True
    while moved:
        moved = False
        for i in range(levels.size):
            curve = hessian[i, i]
            if curve <= 0:
                continue
            best = min(max(np.rint(levels[i] - gradient[i] / curve), lower[i]), upper[i])
            step = best - levels[i]
            if step != 0 and step * (2 * gradient[i] + step * curve) < -least:
                _change(i, step, levels, gradient, hessian)
                moved = True


@inlined
def _rises(j, levels, gradient, lower, upper, hessian, up, down):  # type: ignore[no-untyped-def]
    """What moving level j up or down by one costs, infinite where there is no such level."""
    up[j] = hessian[j, j] + 2 * gradient[j] if levels[j] < upper[j] else np.inf
    down[j] = hessian[j, j] - 2 * gradient[j] if levels[j] > lower[j] else np.inf


@inlined
def _least_rise(line, by, up, down):  # type: ignore[no-untyped-def]
    """The least of up_j + by·line_j and down_j − by·line_j."""
    n = up.size
    best = splat(np.inf)
    plus, minus = splat(by), splat(-by)
    for j in range(0, n - n % LANES, LANES):
        row = load(line, j)
        rise = multiply_add(plus, row, load(up, j))
        best = select(above(best, rise), rise, best)
        rise = multiply_add(minus, row, load(down, j))
        best = select(above(best, rise), rise, best)
    parts = np.empty(LANES)
    store(parts, 0, best)
    least = parts.min()
    for j in range(n - n % LANES, n):
        least = min(least, up[j] + by * line[j], down[j] - by * line[j])
    return least


@inlined
def _descend_pairs(levels, gradient, lower, upper, hessian, least, up, down):  # type: ignore[no-untyped-def]
    """One pass over the weights, each moved by one with the best partner where that pays."""
    n = levels.size
    moved = False
    for j in range(n):
        _rises(j, levels, gradient, lower, upper, hessian, up, down)
    for i in range(n):
        own_up, own_down = up[i], down[i]
        up[i] = down[i] = np.inf
        changed = False
        for step in (1.0, -1.0):
            own = own_up if step > 0 else own_down
            rise = own + _least_rise(hessian[i], 2 * step, up, down)
            if changed or rise >= -least:
                continue
            for j in range(n):
                by = 2 * step * hessian[i, j]
                # The lanes round once where this rounds twice.
                if min(up[j] + by, down[j] - by) <= rise - own + least / 2:
                    other = 1.0 if up[j] + by < down[j] - by else -1.0
                    _change(i, step, levels, gradient, hessian)
                    _change(j, other, levels, gradient, hessian)
                    changed = moved = True
                    break
        if changed:
            for j in range(n):
                _rises(j, levels, gradient, lower, upper, hessian, up, down)
        else:
            up[i], down[i] = own_up, own_down
    return moved


@kernel
def descend(levels, gradient, lower, upper, hessian, group, least, pairs, start, stop):  # type: ignore[no-untyped-def]
    """Descend by single levels, and with ``pairs`` by two at once, to where neither pays.

    ``gradient`` is H(q − t) and follows. A move has to pay more than ``least``, (groups,).
    """
    up, down = np.empty(levels.shape[1]), np.empty(levels.shape[1])
    for row in range(start, stop):
        matrix, worth = hessian[row // group], least[row // group]
        now, slope = levels[row], gradient[row]
        low, high = lower[row], upper[row]
        _descend_singles(now, slope, low, high, matrix, worth)
        while pairs and _descend_pairs(now, slope, low, high, matrix, worth, up, down):
            _descend_singles(now, slope, low, high, matrix, worth)


@kernel
def neighbourhoods(  # type: ignore[no-untyped-def]
    levels, gradient, lower, upper, hessian, group, least,
    members, lower_triangle, pivots, inverses, width, start, stop,
):  # fmt: skip
    """Solve sub-problems of a few weights anew with all others fixed; keep what pays.

    members: (groups, num, k), the weights of each sub-problem in the order in which they decide;
    lower_triangle, inverses: (groups, num, k, k), M and the inverse of H there; pivots: (groups,
    num, k). Each is searched by a beam.
    """
    k = members.shape[2]
    center, errors, swapped = np.empty(k), np.empty((k, width)), np.empty((k, width))
    totals, costs, centers = np.empty(width), np.empty(width), np.empty(width)
    parents, chosen = np.empty(width, np.int64), np.empty(width)
    history, links, best = np.empty((k, width)), np.empty((k, width), np.int64), np.empty(k)
    for row in range(start, stop):
        of, now, slope = row // group, levels[row], gradient[row]
        for number in range(members.shape[1]):
            which, inverse = members[of, number], inverses[of, number]
            matrix, weights = lower_triangle[of, number], pivots[of, number]
            for a in range(k):
                center[a] = now[which[a]]
                for b in range(k):
                    center[a] -= inverse[a, b] * slope[which[b]]
            num = 1
            totals[0] = 0.0
            for a in range(k):
                i = which[a]
                for b in range(num):
                    centers[b] = 0.0
                for j in range(a):
                    for b in range(num):
                        centers[b] += matrix[a, j] * errors[j, b]
                num = spread(
                    center[a], centers, lower[row, i], upper[row, i], weights[a],
                    totals, num, costs, parents, chosen,
                )  # fmt: skip
                for j in range(a):
                    for b in range(num):
                        swapped[j, b] = errors[j, parents[b]]
                for b in range(num):
                    totals[b] = costs[b]
                    swapped[a, b] = chosen[b] - center[a]
                    history[a, b], links[a, b] = chosen[b], parents[b]
                errors, swapped = swapped, errors
            at = 0
            for a in range(k - 1, -1, -1):
                best[a] = history[a, at] - now[which[a]]
                at = links[a, at]
            gain = 0.0
            for a in range(k):
                if best[a] != 0:
                    gain += 2 * best[a] * slope[which[a]]
                    for b in range(k):
                        gain += best[a] * best[b] * hessian[of, which[a], which[b]]
            if gain < -least[of]:
                for a in range(k):
                    if best[a] != 0:
                        _change(which[a], best[a], now, slope, hessian[of])
