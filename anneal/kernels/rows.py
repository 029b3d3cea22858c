"""Cells into rows of sites without overlaps, each as near as can be to where it should be.

Spindler, Schlichtmann & Johannes 2008 (Abacus, ISPD), with whole sites: cells come from left to
right, each goes to the segment where it moves least, and there the cells that touch form clusters
that lie where the sum of their squared moves is least. Lengths are in sites.
"""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import inlined, kernel


@inlined
def pushed(want, width, low, high, last, place, total, pull, previous):  # type: ignore[no-untyped-def]
    """Return where a cell would end at the end of a segment whose last cluster is ``last``."""
    count, wide, sum_wanted = 1.0, width, want
    at = min(max(want, low), high - wide)
    while last >= 0 and place[last] + total[last, 1] > at:
        # Cells of the cluster keep their order, so what follows is wanted a cluster further left.
        sum_wanted = pull[last] + sum_wanted - count * total[last, 1]
        count += total[last, 0]
        wide += total[last, 1]
        at = min(max(sum_wanted / count, low), high - wide)
        last = previous[last]
    return at + wide - width


@kernel
def abacus(order, x, y, width, row_x, row_y, row_high, segment, result_x, result_row):  # type: ignore[no-untyped-def]
    """Write the site and the segment of each cell; return the first cell without room, or −1.

    order: cells from left to right. x, y: where they should be, y in the unit of ``row_y``.
    row_x, row_high: the first site and the end of each segment; segments are sorted by row_y.
    ``segment``: how much a move of one row costs in sites. Scratch is made here.
    """
    cells, segments = x.shape[0], row_x.shape[0]
    used = np.zeros(segments)
    last = np.full(segments, -1, np.int64)
    # A cluster has the number of its first cell.
    place, pull = np.zeros(cells), np.zeros(cells)
    total = np.zeros((cells, 2))
    previous = np.full(cells, -1, np.int64)
    final, following = np.full(cells, -1, np.int64), np.full(cells, -1, np.int64)
    for cell in order:
        best, chosen = np.inf, -1
        start = np.searchsorted(row_y, y[cell])
        for side in range(2):
            step = start - 1 if side == 0 else start
            while 0 <= step < segments:
                away = abs(row_y[step] - y[cell]) * segment
                if away >= best:
                    break
                if used[step] + width[cell] <= row_high[step] - row_x[step]:
                    at = pushed(
                        x[cell], width[cell], row_x[step], row_high[step], last[step],
                        place, total, pull, previous,
                    )  # fmt: skip
                    if away + abs(at - x[cell]) < best:
                        best, chosen = away + abs(at - x[cell]), step
                step += 1 if side else -1
        if chosen < 0:
            return cell
        append(cell, chosen, x, width, row_x, row_high, used, last, place, pull, total, previous,
               final, following, result_row)  # fmt: skip
    for step in range(segments):
        cluster = last[step]
        while cluster >= 0:
            at, cell = np.floor(place[cluster] + 0.5), cluster
            while cell >= 0:
                result_x[cell] = at
                at += width[cell]
                cell = following[cell]
            cluster = previous[cluster]
    return -1


@kernel
def append(  # type: ignore[no-untyped-def]
    cell, chosen, x, width, row_x, row_high, used, last, place, pull, total, previous,
    final, following, result_row,
):  # fmt: skip
    """Put a cell at the end of a segment and merge the clusters that touch."""
    result_row[cell] = chosen
    used[chosen] += width[cell]
    pull[cell], total[cell, 0], total[cell, 1] = x[cell], 1.0, width[cell]
    previous[cell], final[cell] = last[chosen], cell
    low, high = row_x[chosen], row_high[chosen]
    place[cell] = min(max(x[cell], low), high - width[cell])
    cluster = cell
    while previous[cluster] >= 0:
        before = previous[cluster]
        if place[before] + total[before, 1] <= place[cluster]:
            break
        pull[before] += pull[cluster] - total[cluster, 0] * total[before, 1]
        total[before, 0] += total[cluster, 0]
        total[before, 1] += total[cluster, 1]
        following[final[before]] = cluster
        final[before] = final[cluster]
        cluster = before
        place[cluster] = min(max(pull[cluster] / total[cluster, 0], low), high - total[cluster, 1])
    last[chosen] = cluster
