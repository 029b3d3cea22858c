"""dimod's coordinate text: ``# vartype=BINARY``, then ``i j value``, with ``i i value`` for a
linear bias."""

from __future__ import annotations

import re
from numbers import Integral
from typing import Any

import numpy as np

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import FloatArray, Qubo, check_size

NAME = "coo"
EXTENSIONS = (".coo", ".txt")
DESCRIPTION = "BQM in dimod's COO text: # vartype=BINARY or SPIN, then i j value"
HOLDS = "qubo"
OPTIONS = ("vartype",)

# dimod's own rule for the header: any comment in which vartype= (or vartype:) stands.
_VARTYPE = re.compile(rb"^[ \t\f]*#.*?vartype[:=][ \t]*([-_.a-zA-Z0-9]+)", re.MULTILINE)
_OFFSET = re.compile(rb"^[ \t]*#[ \t]*offset=(\S+)", re.MULTILINE)


def sniff(data: bytes) -> bool:
    """Tell whether a comment names the vartype, or the first lines all have three numbers."""
    counts = rows.word_counts(data, b"#")
    return _VARTYPE.search(data[: 1 << 16]) is not None or (bool(counts) and set(counts) == {3})


def parse(data: bytes, *, vartype: str | None = None) -> Qubo:
    """Read a BQM; the indices that occur are its labels, and terms given more than once are added
    up.

    The vartype stands in a comment ``# vartype=SPIN`` or is given. The format has no place for an
    offset: a comment ``# offset=1.5``, our own addition that dimod skips, sets it.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed, and where
    the vartype is not known or given and named differently.

    >>> qubo = parse(b"# vartype=SPIN\\n1 1 -0.5\\n1 7 2\\n")
    >>> qubo.to_bqm()
    BinaryQuadraticModel({1: -0.5, 7: 0.0}, {(7, 1): 2.0}, 0.0, 'SPIN')
    """
    whole = rows.clean(data)
    text, comments = rows.split_comments(whole, b"#")
    offset = rows.marked_number(whole, _OFFSET) if comments else 0.0
    vartype = _vartype(comments, vartype)
    found = rows.parse_rows(text)
    table = found.table(0, len(found), "i j value")
    ends = [rows.indices(column, found.lines, what="variable") for column in table[:, :2].T]
    labels, position = np.unique(np.concatenate(ends), return_inverse=True)
    check_size(len(labels), "variables")
    i, j = np.split(position, 2)
    named = None if labels[-1] == len(labels) - 1 else tuple(labels.tolist())
    return Qubo(len(labels), i, j, table[:, 2], offset, vartype, named)


def dump(instance: Qubo) -> bytes:
    """Return the text of a BQM, which dimod reads too: no exponents, and a line for every variable.

    Raises :class:`~anneal.errors.InputError` where a label is no integer ≥ 0.

    >>> dump(Qubo(2, [0], [1], [1e-7], vartype="SPIN")).decode().splitlines()
    ['# vartype=SPIN', '0 0 0', '1 1 0', '0 1 0.0000001']
    """
    labels = instance.labels or range(instance.num_variables)
    names = np.array([_index(label) for label in labels], dtype=np.int64)
    pair = instance.i != instance.j
    linear = np.zeros(instance.num_variables)
    linear[instance.i[~pair]] = instance.value[~pair]
    lines = [f"# vartype={instance.vartype}\n"]
    if instance.offset:
        lines.append(f"# offset={rows.number(instance.offset)}\n")
    lines.append(rows.join_rows(rows.whole(names), rows.whole(names), _numbers(linear)))
    ends = (rows.whole(names[instance.i[pair]]), rows.whole(names[instance.j[pair]]))
    lines.append(rows.join_rows(*ends, _numbers(instance.value[pair])))
    return "".join(lines).encode()


def _vartype(comments: bytes, given: str | None) -> str:
    named: set[str] = {match.decode() for match in _VARTYPE.findall(comments)}
    if given is not None:
        named.add(given)
    if not named:
        raise InputError("no comment '# vartype=BINARY' or '# vartype=SPIN': pass vartype")
    if len(named) > 1:
        raise InputError(f"the vartype is ambiguous: {' and '.join(sorted(named))}")
    return named.pop()


def _index(label: Any) -> int:
    if not isinstance(label, Integral) or not 0 <= int(label) <= rows.MAX_INTEGER:
        raise InputError(f"labels in COO text are integers from 0, not {label!r}")
    return int(label)


def _numbers(values: FloatArray) -> list[str]:
    """Return the shortest exact texts without exponents, which dimod's reader skips without a
    word."""
    texts: list[str] = [
        np.format_float_positional(float(text), trim="-") if "e" in text else text
        for text in rows.numbers(values)
    ]
    return texts
