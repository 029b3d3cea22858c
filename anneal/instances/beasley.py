"""Beasley's OR-Library text for unconstrained binary quadratic programs (bqp50 … bqp2500)."""

from __future__ import annotations

import numpy as np

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import Qubo, check_sense, check_size

NAME = "beasley"
EXTENSIONS = (".bqp", ".sparse", ".txt")
DESCRIPTION = "QUBO of Beasley's OR-Library: problems, then n non-zeros, then i j q; maximise"
HOLDS = "qubo"
OPTIONS = ("problem", "sense")


def sniff(data: bytes) -> bool:
    """Tell whether the first lines have one, two and, if there is a third, three numbers."""
    counts = rows.word_counts(data)
    return counts in ([1, 2], [1, 2, 3])


def parse(data: bytes, *, problem: int = 1, sense: str | None = None) -> Qubo:
    """Read the ``problem``-th problem of a file, counted from 1.

    The file lists every entry of the symmetric matrix q once, and ``Σ_i Σ_j q_ij x_i x_j`` over all
    i and j is to be maximised (Beasley 1998, Heuristic algorithms for the unconstrained binary
    quadratic programming problem). So entries off the diagonal count twice, and all are negated
    unless ``sense="min"``.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed.

    >>> parse(b"1\\n2 2\\n1 1 5\\n1 2 -3\\n").value.tolist()
    [-5.0, 6.0]
    """
    sense = "max" if sense is None else sense
    check_sense(sense)
    found = rows.parse_rows(rows.clean(data))
    first = _find_problem(found, problem)
    size, count = found.header(first, "variables non-zeros")
    check_size(size, "variables", line=int(found.lines[first]))
    lines = found.lines[first + 1 : first + 1 + count]
    table = found.table(first + 1, first + 1 + count, "i j q")
    i, j = (
        rows.indices(column, lines, what="variable", first=1, last=size)
        for column in table[:, :2].T
    )
    repeat = rows.first_repeat(np.minimum(i, j) * (size + 1) + np.maximum(i, j))
    if repeat is not None:
        second, earlier = repeat
        raise InputError(
            f"entry {i[second]} {j[second]} was given in line {lines[earlier]} already",
            line=int(lines[second]),
        )
    with np.errstate(over="ignore"):
        value = table[:, 2] * np.where(i == j, 1.0, 2.0)
    rows.check(np.isfinite(value), lines, lambda row: "twice this entry is not finite")
    return Qubo(size, i - 1, j - 1, -value if sense == "max" else value, sense=sense)


def dump(instance: Qubo) -> bytes:
    """Return a file of one problem, to be maximised; labels are replaced by 1, 2, … in their order,
    and spins by bits.

    Raises :class:`~anneal.errors.InputError` where there is an offset, for which the format has no
    place, and where a coupling is too small to be halved.

    >>> dump(Qubo(2, [0, 0], [0, 1], [-5.0, 6.0]))
    b'1\\n2 2\\n1 1 5\\n1 2 -3\\n'
    """
    instance = instance.to_binary()
    if instance.offset:
        raise InputError(f"Beasley's format has no place for the offset {instance.offset}")
    value = -np.where(instance.i == instance.j, instance.value, instance.value / 2)
    if not (np.where(instance.i == instance.j, value, 2 * value) == -instance.value).all():
        raise InputError("a coupling is too small to be halved, as Beasley's format needs")
    ends = (rows.whole(instance.i + 1), rows.whole(instance.j + 1))
    entries = rows.join_rows(*ends, rows.numbers(value))
    return f"1\n{instance.num_variables} {len(value)}\n{entries}".encode()


def _find_problem(found: rows.Rows, problem: int) -> int:
    """Return the row of a problem's header, after walking all of them."""
    promised = found.header(0, "problems")[0]
    headers, row = [], 1
    while row < len(found):
        headers.append(row)
        count = found.header(row, "variables non-zeros")[1]
        row += 1 + count
        if row > len(found):
            raise InputError(
                f"the header promises {count} non-zeros, but {len(found) - headers[-1] - 1} follow",
                line=int(found.lines[headers[-1]]),
            )
    rows.check_count(
        len(headers), promised, found.lines[headers], "problems", header_line=int(found.lines[0])
    )
    if not 1 <= problem <= promised:
        raise InputError(f"problem {problem} is outside 1 to {promised}")
    return headers[problem - 1]
