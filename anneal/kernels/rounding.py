"""Inner loops of rounding: rows of levels under one Hessian or a few.

Levels, targets and bounds are float64, (rows, n); what is rounded is whole. ``group`` rows in a row
share a matrix of (groups, n, n). Searches from plane to plane take the weights in the order in
which they decide, with H = MᵀDM: M (unit lower triangle) and its transpose, D (groups, n). Deciding
weight k then costs D_k(q_k − t_k + Σ_{j<k} M_kj e_j)², e being the errors before it.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.lanes import multiply_add
from anneal.kernels.random import next_below, next_word
from anneal.kernels.vector import above, load, select, splat, store

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
def _spread(  # type: ignore[no-untyped-def]
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
                num = _spread(
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
    any_moved = False
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
                moved = any_moved = True
    return any_moved


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
                num = _spread(
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
def anneal(  # type: ignore[no-untyped-def]
    levels, gradient, lower, upper, hessian, group, temperatures, states, least, start, stop
):
    """Anneal each row from where it is by moves of one level and of two at once; keep the best.

    temperatures: (groups, sweeps), falling, in units of the cost over the weight; states: (rows,
    1). In a sweep every level is offered a step up or down, in turn alone and with a partner that
    goes against it.
    """
    n = levels.shape[1]
    now, slope, best = np.empty(n), np.empty(n), np.empty(n)
    for row in range(start, stop):
        matrix, low, high, state = hessian[row // group], lower[row], upper[row], states[row]
        now[:], slope[:], best[:] = levels[row], gradient[row], levels[row]
        energy = lowest = 0.0
        for sweep in range(temperatures.shape[1]):
            heat = temperatures[row // group, sweep]
            for i in range(n):
                word = next_word(state)
                step = 1.0 if word & np.uint64(1 << 40) else -1.0
                if not low[i] <= now[i] + step <= high[i]:
                    step = -step
                if not low[i] <= now[i] + step <= high[i]:
                    continue
                rise = 2 * step * slope[i] + matrix[i, i]
                partner, other = -1, 0.0
                if word & np.uint64(1 << 41):
                    j = next_below(state, n)
                    back = -step if matrix[i, j] > 0 else step
                    if j != i and low[j] <= now[j] + back <= high[j]:
                        partner, other = j, back
                        rise += 2 * back * slope[j] + matrix[j, j] + 2 * step * back * matrix[i, j]
                # u = exp(−rise/heat) by the word's upper bits, without the exponential for rises.
                if rise > 0 and rise >= -heat * np.log(((word >> np.uint64(44)) + 0.5) / 1048576.0):
                    continue
                _change(i, step, now, slope, matrix)
                if partner >= 0:
                    _change(partner, other, now, slope, matrix)
                energy += rise
                if energy < lowest - least[row // group]:
                    lowest = energy
                    best[:] = now
        levels[row] = best
