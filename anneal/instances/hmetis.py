"""Hypergraphs in hMETIS's ``.hgr``, and parts of them, one number a line.

The first line holds the numbers of nets and of vertices, and a format: 1 where nets have weights,
10 where vertices have (their areas here), 11 both, 0 or nothing neither. A line for each net
follows, its weight first, then its vertices, counted from 1; then a line for each vertex. Lines
that begin with ``%`` are comments (Karypis and Kumar, the hMETIS manual).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes
from anneal.instances import rows
from anneal.partition.hypergraph import Hypergraph

_FORMATS = (0, 1, 10, 11)


def parse(data: bytes) -> Hypergraph:
    """Read a hypergraph; weights may be any numbers that are not negative.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed.

    >>> graph = parse(b"2 3 1\\n5 1 2\\n7 2 3\\n")
    >>> graph.pins.tolist(), graph.weight.tolist()
    ([0, 1, 1, 2], [5.0, 7.0])
    """
    text, _ = rows.split_comments(rows.clean(data), b"%")
    found = rows.parse_rows(text)
    num_nets, num_vertices, kind = _header(found)
    wanted = 1 + num_nets + (num_vertices if kind >= 10 else 0)
    if len(found) != wanted:
        line = int(found.lines[min(len(found), wanted + 1) - 1])
        more = f" and {num_vertices} of vertices" if kind >= 10 else ""
        raise InputError(
            f"the first line asks for {num_nets} lines of nets{more}, but {len(found) - 1} follow",
            line=line,
        )
    weighted = kind % 10
    counts = np.diff(found.bounds[1 : num_nets + 2])
    lines = found.lines[1 : num_nets + 1]
    rows.check(counts > weighted, lines, lambda row: f"net {row + 1} has no vertices")
    weight = None
    named = np.ones(found.bounds[num_nets + 1] - found.bounds[1], bool)
    if weighted:
        first = found.bounds[1 : num_nets + 1]
        weight = _amounts(found.values[first], lines, "weight")
        named[first - found.bounds[1]] = False
    pins = rows.indices(
        found.values[found.bounds[1] : found.bounds[num_nets + 1]][named],
        np.repeat(lines, counts - weighted), what="vertex", first=1, last=num_vertices,
    )  # fmt: skip
    area = None
    if kind >= 10:
        table = found.table(1 + num_nets, wanted, "weight")
        area = _amounts(table[:, 0], found.lines[1 + num_nets :], "weight")
    start = np.concatenate([[0], np.cumsum(counts - weighted)])
    return Hypergraph(num_vertices, start, pins - 1, area, weight)  # type: ignore[arg-type]


def dump(hypergraph: Hypergraph) -> bytes:
    """Return the text, with weights where they are not all 1.

    Raises :class:`~anneal.errors.InputError` for weights or areas that are not whole, which hMETIS
    does not take, and for a net without vertices.

    >>> dump(Hypergraph.from_nets(3, [[0, 1], [1, 2]], area=[1, 1, 4]))
    b'2 3 10\\n1 2\\n2 3\\n1\\n1\\n4\\n'
    """
    for name, values in (("areas", hypergraph.area), ("weights", hypergraph.weight)):
        if np.any(values != np.floor(values)) or np.any(values > rows.MAX_INTEGER):
            raise InputError(f"hMETIS takes whole {name} only: scale and round them before")
    if np.any(np.diff(hypergraph.start) == 0):
        raise InputError("hMETIS takes no net without vertices")
    weighted = bool(np.any(hypergraph.weight != 1))
    kind = weighted + 10 * bool(np.any(hypergraph.area != 1))
    head = [str(hypergraph.num_nets), str(hypergraph.num_vertices)] + [str(kind)] * (kind > 0)
    words = rows.whole(hypergraph.pins.astype(np.int64) + 1)
    weights = rows.whole(hypergraph.weight.astype(np.int64))
    lines = [" ".join(head)]
    start = hypergraph.start.tolist()
    for net in range(hypergraph.num_nets):
        pins = words[start[net] : start[net + 1]]
        lines.append(" ".join([weights[net], *pins] if weighted else pins))
    if kind >= 10:
        lines += rows.whole(hypergraph.area.astype(np.int64))
    return ("\n".join(lines) + "\n").encode()


def read(path: Pathlike) -> Hypergraph:
    """Read a file, gzip or not; raises :class:`~anneal.errors.InputError` with its name."""
    try:
        return parse(read_bytes(path))
    except InputError as error:
        raise InputError(error.reason, path=path, line=error.line) from None


def write(hypergraph: Hypergraph, path: Pathlike) -> None:
    """Write a file, whole or not at all; compressed where the name ends in ``.gz``."""
    write_bytes(path, dump(hypergraph))


def parse_parts(data: bytes, num_vertices: int, *, least: int = 0) -> NDArray[np.int64]:
    """Read a part for each vertex, (vertices,), a line each.

    ``least``: −1 for files of fixed vertices, where −1 is one that is free. Raises
    :class:`~anneal.errors.InputError`, naming the line.

    >>> parse_parts(b"0\\n1\\n1\\n", 3).tolist()
    [0, 1, 1]
    """
    text, _ = rows.split_comments(rows.clean(data), b"%")
    found = rows.parse_rows(text)
    if len(found) != num_vertices:
        line = int(found.lines[min(len(found), num_vertices + 1) - 1])
        raise InputError(f"expected {num_vertices} lines, found {len(found)}", line=line)
    column = found.table(0, num_vertices, "part")[:, 0]
    return rows.indices(column, found.lines, what="part", first=least)


def dump_parts(parts: ArrayLike) -> bytes:
    """Return the text of the parts of all vertices.

    >>> dump_parts([0, 1])
    b'0\\n1\\n'
    """
    return "".join(f"{part}\n" for part in np.asarray(parts).tolist()).encode()


def read_parts(path: Pathlike, num_vertices: int, *, least: int = 0) -> NDArray[np.int64]:
    """Read a file of parts; raises :class:`~anneal.errors.InputError` with its name."""
    try:
        return parse_parts(read_bytes(path), num_vertices, least=least)
    except InputError as error:
        raise InputError(error.reason, path=path, line=error.line) from None


def write_parts(parts: ArrayLike, path: Pathlike) -> None:
    """Write a file of parts, whole or not at all."""
    write_bytes(path, dump_parts(parts))


def _header(found: rows.Rows) -> tuple[int, int, int]:
    """Return the numbers of nets and vertices, and the format."""
    given = int(found.bounds[1])
    if given not in (2, 3):
        raise InputError(
            f"expected nets, vertices and perhaps a format, found {given} numbers",
            line=int(found.lines[0]),
        )
    num_nets, num_vertices, *rest = found.header(0, "nets vertices" + " format" * (given == 3))
    kind = rest[0] if rest else 0
    line = int(found.lines[0])
    if kind not in _FORMATS:
        raise InputError(f"the format must be 0, 1, 10 or 11, not {kind}", line=line)
    if num_vertices < 1:
        raise InputError("a hypergraph has at least one vertex", line=line)
    return num_nets, num_vertices, kind


def _amounts(
    values: NDArray[np.float64], lines: NDArray[np.int64], what: str
) -> NDArray[np.float64]:
    """Return values that are not negative."""
    rows.check(
        values >= 0, lines, lambda row: f"{what} {rows.number(values[row])} must not be negative"
    )
    return values
