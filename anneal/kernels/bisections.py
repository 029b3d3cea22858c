"""Two sides of a hypergraph: moves of single vertices in buckets of gains, and sides that grow.

The arrays are those of :mod:`anneal.kernels.hypergraphs`; ``parts`` is (vertices,) int8, 0 or 1.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel

NUM_BUCKETS = 1024  # of either sign; whole gains below that have a bucket each
TINY = 1e-300  # what an area of 0 is divided by
LOOKS = 12  # vertices tried for one that fits before a side is given up


@inlined
def link(vertex, side, bucket, head, ahead, behind):  # type: ignore[no-untyped-def]
    """Put a vertex at the front of a bucket's list."""
    old = head[side, bucket]
    head[side, bucket] = vertex
    ahead[vertex] = old
    behind[vertex] = -1
    if old >= 0:
        behind[old] = vertex


@inlined
def unlink(vertex, side, bucket, head, ahead, behind):  # type: ignore[no-untyped-def]
    """Take a vertex out of its bucket's list."""
    if behind[vertex] >= 0:
        ahead[behind[vertex]] = ahead[vertex]
    else:
        head[side, bucket] = ahead[vertex]
    if ahead[vertex] >= 0:
        behind[ahead[vertex]] = behind[vertex]


@inlined
def regain(vertex, change, scale, parts, gain, bucket, head, ahead, behind, top):  # type: ignore[no-untyped-def]
    """Change the gain of a vertex that may move (bucket ≥ 0), and its bucket with it."""
    if bucket[vertex] >= 0:
        gain[vertex] += change
        place = np.int64(np.floor(gain[vertex] * scale + 0.5)) + NUM_BUCKETS
        if place != bucket[vertex]:
            side = parts[vertex]
            unlink(vertex, side, bucket[vertex], head, ahead, behind)
            link(vertex, side, place, head, ahead, behind)
            bucket[vertex] = place
            top[side] = max(top[side], place)


@inlined
def excess(area, limit):  # type: ignore[no-untyped-def]
    """Area beyond the limits of the two sides."""
    return max(0.0, area[0] - limit[0]) + max(0.0, area[1] - limit[1])


@inlined
def candidate(side, top, head, ahead, area, held, limit, over, slack):  # type: ignore[no-untyped-def]
    """Return the vertex of the highest gain that fits on the other side, or −1."""
    tried = 0
    while top[side] >= 0 and head[side, top[side]] < 0:
        top[side] -= 1
    place = top[side]
    other = 1 - side
    while place >= 0:
        vertex = head[side, place]
        while vertex >= 0:
            after = max(0.0, held[other] + area[vertex] - limit[other])
            after += max(0.0, held[side] - area[vertex] - limit[side])
            if after <= slack or after < over:
                return vertex
            tried += 1
            if tried >= LOOKS:
                return -1
            vertex = ahead[vertex]
        place -= 1
    return -1


@inlined
def gain_scale(weight, first, nets, fixed):  # type: ignore[no-untyped-def]
    """Return buckets a unit of gain: 1 where gains are whole and small, else as fine as fits."""
    whole = True
    for value in weight:
        whole = whole and value == np.floor(value)
    most = 0.0
    for vertex in range(fixed.size):
        if fixed[vertex] < 0:
            degree = 0.0
            for k in range(first[vertex], first[vertex + 1]):
                degree += weight[nets[k]]
            most = max(most, degree)
    fits = (NUM_BUCKETS - 1) / most if most > 0 else 1.0
    return min(1.0, fits) if whole else fits


@inlined
def move(vertex, parts, area, held, first, nets, count, names):  # type: ignore[no-untyped-def]
    """Bring a vertex to the other side."""
    side = parts[vertex]
    other = 1 - side
    parts[vertex] = other
    held[side] -= area[vertex]
    held[other] += area[vertex]
    for k in range(first[vertex], first[vertex + 1]):
        net = nets[k]
        count[net, side] -= 1
        count[net, other] += 1
        names[net, side] -= vertex
        names[net, other] += vertex


@inlined
def fill(weight, first, nets, fixed, parts, count, scale, gain, bucket, head, ahead, behind, top):  # type: ignore[no-untyped-def]
    """Put every free vertex into the bucket of its gain."""
    head[:] = -1
    top[:] = -1
    for vertex in range(fixed.size):
        bucket[vertex] = -1
        if fixed[vertex] >= 0:
            continue
        side = parts[vertex]
        total = 0.0
        for k in range(first[vertex], first[vertex + 1]):
            net = nets[k]
            if count[net, 1 - side] == 0:
                if count[net, side] > 1:
                    total -= weight[net]
            elif count[net, side] == 1:
                total += weight[net]
        gain[vertex] = total
        place = np.int64(np.floor(total * scale + 0.5)) + NUM_BUCKETS
        bucket[vertex] = place
        link(vertex, side, place, head, ahead, behind)
        top[side] = max(top[side], place)


@inlined
def tell(  # type: ignore[no-untyped-def]
    vertex, start, pins, weight, first, nets, parts, count, names, scale, gain, bucket, head, ahead,
    behind, top,
):  # fmt: skip
    """Change the gains of a moved vertex's neighbours; counts are those after the move.

    A net changes gains where it had 0 or 1 vertices on the new side, or has 0 or 1 on the old one.
    """
    new = parts[vertex]
    old = 1 - new
    for k in range(first[vertex], first[vertex + 1]):
        net = nets[k]
        value = weight[net]
        before, after = count[net, new] - 1, count[net, old]
        if before + after == 0:
            continue
        every = (value if before == 0 else 0.0) - (value if after == 0 else 0.0)
        if every != 0.0:
            for pin in pins[start[net] : start[net + 1]]:
                regain(pin, every, scale, parts, gain, bucket, head, ahead, behind, top)
        if before == 1:
            pin = names[net, new] - vertex
            regain(pin, -value, scale, parts, gain, bucket, head, ahead, behind, top)
        if after == 1:
            pin = names[net, old]
            regain(pin, value, scale, parts, gain, bucket, head, ahead, behind, top)


@kernel
def improve(  # type: ignore[no-untyped-def]
    start, pins, weight, first, nets, area, fixed, parts, limit, slack, patience, most_passes
):
    """Move vertices one by one, in place, and return the cut: Fiduccia and Mattheyses (1982).

    In a pass every free vertex moves at most once, that of the highest gain first that fits, be it
    uphill; the pass ends after ``patience`` moves without a new best, and all moves after the best
    are taken back. The best has the least area beyond ``limit`` (2,), then the least cut, then the
    sides nearest to their shares. ``slack``: area by which a side may be over on the way. Passes
    end with one that makes neither area nor cut better, or with ``most_passes``.
    """
    size, num_nets = area.size, start.size - 1
    count = np.zeros((num_nets, 2), np.int32)
    names = np.zeros((num_nets, 2), np.int64)  # sum of the vertices on a side: of one, the vertex
    held = np.zeros(2)
    for vertex in range(size):
        held[parts[vertex]] += area[vertex]
    cut = 0.0
    for net in range(num_nets):
        for pin in pins[start[net] : start[net + 1]]:
            count[net, parts[pin]] += 1
            names[net, parts[pin]] += pin
        if count[net, 0] > 0 and count[net, 1] > 0:
            cut += weight[net]
    scale = gain_scale(weight, first, nets, fixed)
    gain = np.empty(size)
    bucket, ahead = np.empty(size, np.int32), np.empty(size, np.int32)
    behind, moved = np.empty(size, np.int32), np.empty(size, np.int32)
    head, top = np.empty((2, 2 * NUM_BUCKETS + 1), np.int32), np.empty(2, np.int64)
    share = limit[0] / max(limit[0] + limit[1], TINY) * (held[0] + held[1])
    for _ in range(most_passes):
        fill(
            weight, first, nets, fixed, parts, count, scale, gain, bucket, head, ahead, behind, top
        )
        over = excess(held, limit)
        best_over, best_cut, best_off = over, cut, abs(held[0] - share)
        first_over, first_cut = over, cut
        num_moves, kept = 0, 0
        while num_moves - kept < patience:
            left = candidate(0, top, head, ahead, area, held, limit, over, slack)
            right = candidate(1, top, head, ahead, area, held, limit, over, slack)
            if left < 0 and right < 0:
                break
            chosen = left if left >= 0 else right
            if left >= 0 and right >= 0 and gain[right] >= gain[left]:
                fuller = held[1] * limit[0] > held[0] * limit[1]
                chosen = right if fuller or gain[right] > gain[left] else left
            cut -= gain[chosen]
            unlink(chosen, parts[chosen], bucket[chosen], head, ahead, behind)
            bucket[chosen] = -1
            move(chosen, parts, area, held, first, nets, count, names)
            tell(
                chosen, start, pins, weight, first, nets, parts, count, names, scale, gain, bucket,
                head, ahead, behind, top,
            )  # fmt: skip
            moved[num_moves] = chosen
            num_moves += 1
            over = excess(held, limit)
            off = abs(held[0] - share)
            if over < best_over or (
                over == best_over and (cut < best_cut or (cut == best_cut and off < best_off))
            ):
                best_over, best_cut, best_off = over, cut, off
                kept = num_moves
        for k in range(num_moves - 1, kept - 1, -1):
            move(moved[k], parts, area, held, first, nets, count, names)
        cut = best_cut
        if not (best_over < first_over or (best_over == first_over and best_cut < first_cut)):
            break
    return cut


@kernel
def grow(start, pins, weight, first, nets, area, fixed, parts, goal, seed):  # type: ignore[no-untyped-def]
    """Grow side 1 from ``seed``, in place, until it has ``goal`` area: the vertex nearest to it
    next.

    ``parts`` holds the fixed vertices' sides and 0 for all others. Nearest is the highest sum over
    nets w_e / (size_e − 1) per vertex that is in already (greedy growing; Karypis and Kumar 1999);
    where nothing is next to side 1, the next free vertex in order.
    """
    size = area.size
    pull = np.zeros(size)
    waiting = np.zeros(size, np.bool_)
    line = np.empty(size, np.int32)
    held, length = 0.0, 0
    for vertex in range(size):
        if parts[vertex] == 1:
            held += area[vertex]
    chosen, spare = seed, 0
    while held < goal:
        if chosen < 0:
            while spare < size and (fixed[spare] >= 0 or parts[spare] == 1):
                spare += 1
            if spare == size:
                break
            chosen = spare
        parts[chosen] = 1
        held += area[chosen]
        for k in range(first[chosen], first[chosen + 1]):
            net = nets[k]
            wide = start[net + 1] - start[net]
            for pin in pins[start[net] : start[net + 1]]:
                if fixed[pin] < 0 and parts[pin] == 0:
                    pull[pin] += weight[net] / (wide - 1)
                    if not waiting[pin]:
                        waiting[pin] = True
                        line[length] = pin
                        length += 1
        best, chosen, k = 0.0, -1, 0
        while k < length:
            pin = line[k]
            if parts[pin] == 1:
                length -= 1
                line[k] = line[length]
                continue
            if pull[pin] > best:
                best, chosen = pull[pin], pin
            k += 1
