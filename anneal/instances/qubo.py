"""qbsolv's text: ``p qubo topology maxNodes nNodes nCouplers``, then nodes, then couplers."""

from __future__ import annotations

import re

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import Qubo, check_sense, check_size

NAME = "qubo"
EXTENSIONS = (".qubo",)
DESCRIPTION = "QUBO of qbsolv: p qubo 0 n nodes couplers, then i j value, variables from 0"
HOLDS = "qubo"
OPTIONS = ("sense",)

_PROBLEM = re.compile(rb"^[ \t]*p\b[^\n]*", re.MULTILINE)
_OFFSET = re.compile(rb"^[ \t]*c[ \t]+offset[ \t]+(\S+)", re.MULTILINE)


def sniff(data: bytes) -> bool:
    """Tell whether a line starts with ``p qubo``."""
    return re.search(rb"^[ \t]*p[ \t]+qubo\b", data[: 1 << 16], re.MULTILINE) is not None


def parse(data: bytes, *, sense: str | None = None) -> Qubo:
    """Read a QUBO; where the file maximises, its values are negated.

    qbsolv minimises. Files that were converted from Beasley's OR-Library kept its sense, maximise,
    and name him in a comment: these are taken for ``"max"`` unless ``sense`` says otherwise. A
    comment ``c offset 1.5``, our own addition, sets the offset. Terms given more than once are
    added up.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed.

    >>> qubo = parse(b"c from beasley\\np qubo 0 2 1 1\\n0 0 3\\n0 1 -4\\n")
    >>> qubo.sense, qubo.value.tolist()
    ('max', [-3.0, 4.0])
    """
    whole = rows.clean(data)
    text, comments = rows.split_comments(whole, b"c")
    offset = rows.marked_number(whole, _OFFSET) if comments else 0.0
    if sense is None:
        sense = "max" if b"beasley" in comments.lower() else "min"
    check_sense(sense)
    sign = -1.0 if sense == "max" else 1.0
    text, line, (size, num_nodes, num_couplers) = _split_problem_line(text)
    check_size(size, "variables", line=line)
    found = rows.parse_rows(text, allow_empty=True)
    rows.check(
        found.lines > line, found.lines, lambda row: "numbers stand before the line 'p qubo …'"
    )
    table = found.table(0, len(found), "i j value")
    i, j = (
        rows.indices(column, found.lines, what="variable", last=size - 1)
        for column in table[:, :2].T
    )
    nodes, couplers = found.lines[i == j], found.lines[i != j]
    rows.check_count(len(nodes), num_nodes, nodes, "nodes", header_line=line)
    rows.check_count(len(couplers), num_couplers, couplers, "couplers", header_line=line)
    return Qubo(size, i, j, sign * table[:, 2], sign * offset, sense=sense)


def dump(instance: Qubo) -> bytes:
    """Return the text of a QUBO, to be minimised; labels are replaced by 0, 1, … in their order,
    and spins by bits.

    >>> dump(Qubo(2, [0, 0], [0, 1], [3.0, -4.0], offset=0.5)).decode().splitlines()
    ['c offset 0.5', 'p qubo 0 2 1 1', '0 0 3', '0 1 -4']
    """
    instance = instance.to_binary()
    node = instance.i == instance.j
    lines = [f"c offset {rows.number(instance.offset)}\n"] if instance.offset else []
    lines.append(f"p qubo 0 {instance.num_variables} {node.sum()} {(~node).sum()}\n")
    for part in (node, ~node):
        ends = (rows.whole(instance.i[part]), rows.whole(instance.j[part]))
        lines.append(rows.join_rows(*ends, rows.numbers(instance.value[part])))
    return "".join(lines).encode()


def _split_problem_line(text: bytes) -> tuple[bytes, int, list[int]]:
    """Return the text without the line ``p qubo …``, its number, and (maxNodes, nNodes,
    nCouplers)."""
    matches = list(_PROBLEM.finditer(text))
    if not matches:
        raise InputError("there is no line 'p qubo topology maxNodes nNodes nCouplers'")
    match = matches[-1]
    line = 1 + text.count(b"\n", 0, match.start())
    if len(matches) > 1:
        raise InputError("there is a second line 'p …'", line=line)
    words = match[0].split()
    if len(words) != 6 or words[1] != b"qubo":
        raise InputError("expected 'p qubo topology maxNodes nNodes nCouplers'", line=line)
    try:
        counts = rows.parse_rows(b" ".join(words[3:])).header(0, "maxNodes nNodes nCouplers")
    except InputError as error:
        raise InputError(error.reason, line=line) from None
    return text[: match.start()] + text[match.end() :], line, counts
