"""Solutions of quadratic assignment problems, QAPLIB's ``.sln``: n, the cost, a permutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes
from anneal.instances import rows
from anneal.instances.arrays import IntArray, QuadraticAssignment


@dataclass(frozen=True, eq=False)
class StoredAssignment:
    """A cost and, where the file has one, the permutation (n,), 0-based, that is said to have it.

    Neither is to be believed unseen: some files store the permutation of the swapped matrices or
    the wrong cost.
    """

    cost: float
    permutation: IntArray | None


def parse(data: bytes) -> StoredAssignment:
    """Read a solution; numbers may be separated by commas, and the permutation may start at 0 or 1.

    Raises :class:`~anneal.errors.InputError`, naming the line, where n and the cost are missing or
    what follows is no permutation.

    >>> parse(b"3 40\\n2,3,1\\n").permutation.tolist()
    [1, 2, 0]
    """
    found = rows.parse_rows(rows.clean(data).replace(b",", b" "))
    if len(found.values) < 2:
        raise InputError("expected n and the cost", line=int(found.lines[0]))
    size = int(rows.indices(found.values[:1], found.lines[:1], what="n =", first=1)[0])
    cost, stored = float(found.values[1]), found.values[2:]
    if not stored.size:
        return StoredAssignment(cost, None)
    base = 0 if (stored == 0).any() else 1
    if stored.size != size or not (np.sort(stored) == np.arange(base, size + base)).all():
        raise InputError(f"this is no permutation of 1 to {size}", line=found.line_of(2))
    return StoredAssignment(cost, stored.astype(np.int64) - base)


def dump(solution: StoredAssignment) -> bytes:
    """Return the text of a solution, its permutation numbered from 1.

    >>> dump(StoredAssignment(40.0, np.array([1, 2, 0])))
    b'3 40\\n2 3 1\\n'
    """
    if solution.permutation is None:
        raise InputError("a solution without a permutation has no size to write")
    words = rows.whole(solution.permutation + 1)
    return f"{len(words)} {rows.number(solution.cost)}\n{' '.join(words)}\n".encode()


def read(path: Pathlike) -> StoredAssignment:
    """Read a solution file; raises :class:`~anneal.errors.InputError` with its name."""
    try:
        return parse(read_bytes(path))
    except InputError as error:
        raise InputError(error.reason, path=path, line=error.line) from None


def write(solution: StoredAssignment, path: Pathlike) -> None:
    """Write a solution file, whole or not at all."""
    write_bytes(path, dump(solution))


def best_known(instance: QuadraticAssignment, solution: StoredAssignment) -> float:
    """Return the least cost that ``solution`` reports or its permutation has, in either order of
    the matrices.

    A header may be too high (QAPLIB's kra32); what a permutation costs is certain, and its inverse
    solves the instance with the matrices swapped.

    >>> instance = QuadraticAssignment([[0, 1], [0, 0]], [[0, 5], [3, 0]])
    >>> best_known(instance, StoredAssignment(4.0, np.array([1, 0])))
    3.0
    """
    costs = [solution.cost]
    if solution.permutation is not None and len(solution.permutation) == len(instance.flow):
        order = np.ix_(solution.permutation, solution.permutation)
        costs.append(float((instance.flow * instance.distance[order]).sum()))
        costs.append(float((instance.flow[order] * instance.distance).sum()))
    return min(costs)
