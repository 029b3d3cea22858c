"""Rounding from plane to plane: weights are decided one after the other, for many rows.

Levels, targets and bounds are float64, (rows, n); what is rounded is whole. ``group`` rows in a row
share a matrix of (groups, n, n). Weights stand in the order in which they decide, with H = MᵀDM: M
(unit lower triangle) and its transpose, D (groups, n). Deciding weight k then costs
D_k(q_k − t_k + Σ_{j<k} M_kj e_j)², e being the errors before it.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel
from anneal.kernels.lanes import multiply_add
from anneal.kernels.vector import load, splat, store

LANES = 8  # float64 numbers that one operation takes
ROWS = 16  # rows that are rounded together
BLOCK = 16  # weights that a beam decides before its other shifts follow


@kernel
def nearest_planes(target, lower, upper, transposed, group, levels, start, stop):  # type: ignore[no-untyped-def]
    """Round one weight after the other to the nearest level; errors shift those behind."""
    n = target.shape[1]
    shift, error = np.empty(n * ROWS), np.empty(ROWS)
    row = start
    while row < stop:
        count = min(ROWS, stop - row, group - row % group)
        rows = transposed[row // group]
        shift[:] = 0.0
        error[:] = 0.0
        for k in range(n):
            for lane in range(count):
                at = row + lane
                level = np.rint(target[at, k] - shift[k * ROWS + lane])
                level = min(max(level, lower[at, k]), upper[at, k])
                levels[at, k] = level
                error[lane] = level - target[at, k]
            for half in range(0, count, LANES):
                by = load(error, half)
                for j in range(k + 1, n):
                    at = j * ROWS + half
                    store(shift, at, multiply_add(splat(rows[k, j]), by, load(shift, at)))
        row += count


@kernel
def _insert(cost, parent, level, costs, parents, levels, count):  # type: ignore[no-untyped-def]
    """Put a candidate where it belongs among the best, ascending; return how many there are."""
    size = costs.size
    if count == size:
        if cost >= costs[size - 1]:
            return count
        count -= 1
    at = count
    while at > 0 and costs[at - 1] > cost:
        costs[at], parents[at], levels[at] = costs[at - 1], parents[at - 1], levels[at - 1]
        at -= 1
    costs[at], parents[at], levels[at] = cost, parent, level
    return count + 1


@kernel
def spread(  # type: ignore[no-untyped-def]
    wanted, centers, low, high, weight, totals, num, costs, parents, levels
):
    """Continue each of ``num`` partial roundings by the two levels nearest to its centre."""
    count = 0
    for b in range(num):
        if count == costs.size and totals[b] >= costs[count - 1]:
            break  # They ascend, and none can get cheaper.
        center = wanted - centers[b]
        first = min(max(np.rint(center), low), high)
        off = first - center
        count = _insert(totals[b] + weight * off * off, b, first, costs, parents, levels, count)
        second = first + 1.0 if off <= 0 else first - 1.0
        if low <= second <= high:
            off = second - center
            cost = totals[b] + weight * off * off
            count = _insert(cost, b, second, costs, parents, levels, count)
    return count


@kernel
def _add_errors(row, count, errors, width, sums, at):  # type: ignore[no-untyped-def]
    """Add Σ_i row_i e_i, i below ``count``, to the beam's sums from place ``at`` on."""
    for b in range(0, width, LANES):
        total = load(sums, at + b)
        for i in range(count):
            total = multiply_add(splat(row[i]), load(errors, i * width + b), total)
        store(sums, at + b, total)


@kernel
def beam(target, lower, upper, blocks, pivots, group, width, levels, start, stop):  # type: ignore[no-untyped-def]
    """Keep the ``width`` cheapest partial roundings from weight to weight; write the cheapest.

    ``width`` is a multiple of 8. blocks: (groups, ⌈n/16⌉, n, 16), the columns of M 16 at a
    time: the shifts of what is decided later follow once for each.
    """
    n = target.shape[1]
    shift, moved = np.empty(n * width), np.empty(n * width)
    errors, swapped = np.empty(BLOCK * width), np.empty(BLOCK * width)
    totals, costs, centers = np.empty(width), np.empty(width), np.empty(width)
    parents, chosen = np.empty(width, np.int64), np.empty(width)
    origin, carried = np.empty(width, np.int64), np.empty(width, np.int64)
    history, links = np.empty((n, width)), np.empty((n, width), np.int64)
    for row in range(start, stop):
        weights = pivots[row // group]
        num = 1
        totals[0] = 0.0
        shift[:] = 0.0
        for first in range(0, n, BLOCK):
            last, matrix = min(first + BLOCK, n), blocks[row // group, first // BLOCK]
            for b in range(width):
                origin[b] = b
            errors[:] = 0.0
            for k in range(first, last):
                for b in range(width):
                    centers[b] = shift[k * width + origin[b]]
                _add_errors(matrix[k], k - first, errors, width, centers, 0)
                num = spread(
                    target[row, k], centers, lower[row, k], upper[row, k], weights[k],
                    totals, num, costs, parents, chosen,
                )  # fmt: skip
                for b in range(num):
                    totals[b] = costs[b]
                    carried[b] = origin[parents[b]]
                    history[k, b], links[k, b] = chosen[b], parents[b]
                    for j in range(k - first):
                        swapped[j * width + b] = errors[j * width + parents[b]]
                    swapped[(k - first) * width + b] = chosen[b] - target[row, k]
                for b in range(num):
                    origin[b] = carried[b]
                errors, swapped = swapped, errors
            if last < n:
                for b in range(num, width):
                    origin[b] = b
                    for i in range(last - first):
                        errors[i * width + b] = 0.0
                for j in range(last, n):
                    for b in range(width):
                        moved[j * width + b] = shift[j * width + origin[b]]
                    _add_errors(matrix[j], BLOCK, errors, width, moved, j * width)
                shift, moved = moved, shift
        at = 0
        for k in range(n - 1, -1, -1):
            levels[row, k] = history[k, at]
            at = links[k, at]


@kernel
def spheres(  # type: ignore[no-untyped-def]
    target, lower, upper, triangle, pivots, group, levels, totals, bounds, max_nodes, start, stop
):
    """Search all levels depth first, the nearest first, cutting what costs as much as the best.

    ``levels`` holds a rounding to beat and gets the best, ``totals`` its cost. ``bounds`` gets the
    same number where the search is complete, else the least that what is left open may cost.
    Schnorr and Euchner 1994; ``max_nodes`` for each row.
    """
    n = target.shape[1]
    error, center, spent = np.empty(n), np.empty(n), np.empty(n + 1)
    below, over, current = np.empty(n), np.empty(n), np.empty(n)
    for row in range(start, stop):
        matrix, weights = triangle[row // group], pivots[row // group]
        best, nodes, k = totals[row], 0, 0
        spent[0] = 0.0
        fresh = True
        while k >= 0:
            if fresh:
                wanted = target[row, k]
                for j in range(k):
                    wanted -= matrix[k, j] * error[j]
                center[k] = wanted
                below[k] = min(np.floor(wanted), upper[row, k])
                over[k] = max(below[k] + 1, lower[row, k])
                fresh = False
            down, up = below[k] >= lower[row, k], over[k] <= upper[row, k]
            if not (down or up):
                k -= 1
                continue
            if down and (not up or center[k] - below[k] <= over[k] - center[k]):
                level = below[k]
                below[k] -= 1
            else:
                level = over[k]
                over[k] += 1
            cost = spent[k] + weights[k] * (level - center[k]) ** 2
            if cost >= best:
                k -= 1  # Levels come by their distance: all others here cost more.
                continue
            nodes += 1
            current[k], error[k] = level, level - target[row, k]
            spent[k + 1] = cost
            if k == n - 1:
                best = cost
                levels[row] = current
            elif nodes >= max_nodes:
                break
            else:
                k += 1
                fresh = True
        bounds[row] = totals[row] = best
        if k >= 0:
            # Open are what was just reached and, above it, the next levels of each weight.
            open_ = spent[k + 1]
            for i in range(k + 1):
                if below[i] >= lower[row, i]:
                    open_ = min(open_, spent[i] + weights[i] * (below[i] - center[i]) ** 2)
                if over[i] <= upper[row, i]:
                    open_ = min(open_, spent[i] + weights[i] * (over[i] - center[i]) ** 2)
            bounds[row] = min(best, open_)


@kernel
def pivot_orders(matrices, orders, start, stop):  # type: ignore[no-untyped-def]
    """Write the order in which weights decide: last what matters least given all others, and so on.

    ``matrices``, (groups, n, n), are used up. An order begins with −1 where a matrix is not
    positive definite.
    """
    n = matrices.shape[1]
    line = np.empty(n)
    for group in range(start, stop):
        left, order = matrices[group], orders[group]
        order[:] = np.arange(n)
        for last in range(n - 1, -1, -1):
            chosen = 0
            for i in range(1, last + 1):
                if left[i, i] < left[chosen, chosen]:
                    chosen = i
            pivot = left[chosen, chosen]
            if not pivot > 0:
                order[0] = -1
                break
            order[chosen], order[last] = order[last], order[chosen]
            line[: last + 1] = left[chosen, : last + 1]
            # The last takes the place of the chosen, so that what is left stays in one piece.
            line[chosen] = line[last]
            left[chosen, :last] = left[last, :last]
            left[:last, chosen] = left[last, :last]
            left[chosen, chosen] = left[last, last]
            for i in range(last):
                share = line[i] / pivot
                for j in range(last):
                    left[i, j] -= share * line[j]
