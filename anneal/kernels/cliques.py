"""Squares among couplings: what is left of a matrix without one, and cliques of equal couplings."""

from __future__ import annotations

import numpy as np

from anneal.kernels.compile import kernel


@kernel
def subtract_outer(matrix, amounts, unit, rounding, most):  # type: ignore[no-untyped-def]
    """Return CSR arrays of matrix − unit·a aᵀ off its diagonal, without what is below ``rounding``
    of a term; no more than ``most`` entries, a last ``indptr`` of −1 says that there are more.
    """
    n, count = matrix.shape[0], 0
    indptr, indices = np.zeros(n + 1, np.int64), np.empty(most, np.int32)
    values = np.empty(most, np.float64)
    for i in range(n):
        row, slope = matrix[i], unit * amounts[i]
        for j in range(n):
            term = slope * amounts[j]
            left = row[j] - term
            if abs(left) > rounding * abs(term) and i != j:
                if count == most:
                    indptr[n] = -1
                    return indptr, indices[:0], values[:0]
                indices[count], values[count] = j, left
                count += 1
        indptr[i + 1] = count
    return indptr, indices[:count], values[:count]


@kernel
def disjoint_cliques(indptr, indices, share, tries, patience):  # type: ignore[no-untyped-def]
    """Return groups of three or more that no edge is in two of: (start, members, edges within).

    A graph in CSR form, each edge twice. From an edge that is in no group yet, a group is its two
    ends and their common neighbours, and whoever is joined to a ``share`` of these; it counts where
    a ``share`` of its pairs are edges in no group. ``tries``: edges of a vertex that lead nowhere.
    ``patience``: looks at an edge, after which no more groups are begun.
    """
    n, groups, looks, within = indptr.size - 1, 0, 0, 0
    taken = np.zeros(indices.size, np.bool_)
    mark = np.full(n, -1, np.int64)
    count, touched, core = np.zeros(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    start, members = np.zeros(indices.size + 1, np.int64), np.empty(indices.size, np.int32)
    for i in range(n):
        misses = 0
        for edge in range(indptr[i], indptr[i + 1]):
            if misses == tries or looks > patience:
                break
            if taken[edge]:
                continue
            j = indices[edge]
            for k in range(indptr[i], indptr[i + 1]):
                if not taken[k]:
                    mark[indices[k]] = edge
            core[0], core[1], size = i, j, 2
            for k in range(indptr[j], indptr[j + 1]):
                if not taken[k] and mark[indices[k]] == edge:
                    core[size] = indices[k]
                    size += 1
            looks += indptr[i + 1] - indptr[i] + indptr[j + 1] - indptr[j]
            if size < 3:
                misses += 1
                continue
            num = 0
            for at in range(size):
                one = core[at]
                if count[one] == 0:
                    touched[num] = one
                    num += 1
                count[one] += 1
                for k in range(indptr[one], indptr[one + 1]):
                    if not taken[k]:
                        other = indices[k]
                        if count[other] == 0:
                            touched[num] = other
                            num += 1
                        count[other] += 1
                looks += indptr[one + 1] - indptr[one]
            first, last = start[groups], start[groups]
            for at in range(num):
                one = touched[at]
                if count[one] >= share * size and last < members.size:
                    members[last] = one
                    last += 1
                    mark[one] = -2 - edge
                count[one] = 0
            inside = 0
            for at in range(first, last):
                one = members[at]
                for k in range(indptr[one], indptr[one + 1]):
                    if not taken[k] and mark[indices[k]] == -2 - edge:
                        inside += 1
                looks += indptr[one + 1] - indptr[one]
            if last - first < 3 or inside < share * (last - first) * (last - first - 1):
                misses += 1
                continue
            for at in range(first, last):
                one = members[at]
                for k in range(indptr[one], indptr[one + 1]):
                    if mark[indices[k]] == -2 - edge:
                        taken[k] = True
            within += inside // 2
            groups += 1
            start[groups] = last
    return start[: groups + 1], members[: start[groups]], within
