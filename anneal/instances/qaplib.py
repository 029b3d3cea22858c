"""Quadratic assignment problems in QAPLIB's ``.dat``: n, then two n · n matrices, in free form."""

from __future__ import annotations

import numpy as np

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import QuadraticAssignment

NAME = "qaplib"
EXTENSIONS = (".dat",)
DESCRIPTION = "quadratic assignment of QAPLIB: n, then flow and distance, n · n numbers each"
HOLDS = "assignment"
OPTIONS = ()


def sniff(data: bytes) -> bool:
    """Tell whether the file starts with an n that 2 · n · n numbers can follow."""
    words = data[: 1 << 16].split(maxsplit=1)
    if not words or not words[0].isdigit() or len(words[0]) > 6:
        return False
    wanted = 1 + 2 * int(words[0]) ** 2
    # A number and the space before it take two bytes at least.
    return 2 * wanted - 1 <= len(data) and len(data.split()) == wanted


def parse(data: bytes) -> QuadraticAssignment:
    """Read an instance; line breaks mean nothing.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed.

    >>> parse(b"2\\n0 1\\n1 0\\n\\n0 5\\n5 0\\n").distance.tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    found = rows.parse_rows(rows.clean(data))
    size = int(rows.indices(found.values[:1], found.lines[:1], what="n =", first=1)[0])
    wanted, given = 1 + 2 * size * size, len(found.values)
    if given != wanted:
        line = found.line_of(wanted) if given > wanted else int(found.lines[-1])
        raise InputError(
            f"n = {size} asks for {wanted - 1} numbers after it, but {given - 1} follow", line=line
        )
    flow, distance = found.values[1:].reshape(2, size, size)
    return QuadraticAssignment(flow, distance)


def dump(instance: QuadraticAssignment) -> bytes:
    """Return the text of an instance.

    >>> dump(QuadraticAssignment([[0.0]], [[1.5]]))
    b'1\\n\\n0\\n\\n1.5\\n'
    """
    parts = [f"{len(instance.flow)}\n"]
    for matrix in (instance.flow, instance.distance):
        words = np.array(rows.numbers(matrix.ravel()), dtype=object).reshape(matrix.shape)
        parts.append("\n" + "".join(f"{' '.join(row)}\n" for row in words))
    return "".join(parts).encode()
