"""Graphs in rudy's text, the format of the G-set: ``n m``, then ``i j weight`` for every edge."""

from __future__ import annotations

import numpy as np

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import FloatArray, Graph, IntArray, check_size

NAME = "rudy"
EXTENSIONS = (".rud", ".mc", ".rudy", ".txt")
DESCRIPTION = "Max-Cut graphs (rudy, G-set): n m, then i j weight, vertices from 1"
HOLDS = "graph"
OPTIONS = ("base",)

_COMMENTS = b"#%c"


def sniff(data: bytes) -> bool:
    """Tell whether the first line that is no comment has two numbers and the next one, if any, two
    or three."""
    counts = rows.word_counts(data, _COMMENTS)
    return counts[:1] == [2] and (len(counts) == 1 or counts[1] in (2, 3))


def parse(data: bytes, *, base: int = 1) -> Graph:
    """Read a graph whose vertices are numbered from ``base``; edges without a weight weigh 1.

    Lines that start with ``#``, ``%`` or ``c`` are comments.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed: a self loop,
    an edge given twice, a vertex out of range, a number of edges that differs from the header's.

    >>> parse(b"3 2\\n1 2 -1\\n2 3 1\\n").weight.tolist()
    [-1.0, 1.0]
    """
    if base not in (0, 1):
        raise InputError(f"base is 0 or 1, not {base}")
    found = rows.parse_rows(rows.split_comments(rows.clean(data), _COMMENTS)[0])
    num_vertices, num_edges = found.header(0, "vertices edges")
    check_size(num_vertices, "vertices", line=int(found.lines[0]))
    lines = found.lines[1:]
    weighted = len(lines) == 0 or found.bounds[2] - found.bounds[1] != 2
    table = found.table(1, len(found), "i j weight" if weighted else "i j")
    rows.check_count(len(table), num_edges, lines, "edges", header_line=int(found.lines[0]))
    _check_base(table[:, :2], lines, base=base, num_vertices=num_vertices)
    i, j = (
        rows.indices(column, lines, what="vertex", first=base, last=num_vertices - 1 + base)
        for column in table[:, :2].T
    )
    rows.check(i != j, lines, lambda row: f"vertex {i[row]} has a self loop")
    _check_repeats(np.minimum(i, j), np.maximum(i, j), lines)
    return Graph(num_vertices, i - base, j - base, table[:, 2] if weighted else np.ones(len(i)))


def dump(instance: Graph) -> bytes:
    """Return the text of a graph, vertices numbered from 1.

    >>> dump(Graph(2, [0], [1], [0.5]))
    b'2 1\\n1 2 0.5\\n'
    """
    edges = rows.join_rows(
        rows.whole(instance.i + 1), rows.whole(instance.j + 1), rows.numbers(instance.weight)
    )
    return f"{instance.num_vertices} {instance.num_edges}\n{edges}".encode()


def _check_base(ends: FloatArray, lines: IntArray, *, base: int, num_vertices: int) -> None:
    """Say so where the vertices are counted from the other base."""
    outside = num_vertices if base == 0 else 0
    rows.check(
        (ends != outside).all(axis=1),
        lines,
        lambda row: (
            f"vertex {outside} is outside {base} to {num_vertices - 1 + base}: "
            f"vertices seem to be counted from {1 - base} (base={1 - base} reads such a file)"
        ),
    )


def _check_repeats(low: IntArray, high: IntArray, lines: IntArray) -> None:
    repeat = rows.first_repeat(low * (high.max(initial=0) + 1) + high)
    if repeat is not None:
        second, first = repeat
        raise InputError(
            f"edge {low[second]} {high[second]} was given in line {lines[first]} already",
            line=int(lines[second]),
        )
