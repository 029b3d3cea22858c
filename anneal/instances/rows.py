"""Lines of numbers: read fast as one array, and walked only to name what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anneal.errors import InputError
from anneal.instances.arrays import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

_SPACE = np.isin(np.arange(256), [9, 10, 11, 12, 13, 32])
_CHUNK = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_INTEGER = (1 << 53) - 1
"""Integers are read as doubles, which tell all whole numbers up to here apart."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The numbers of a text; row r is ``values[bounds[r]:bounds[r + 1]]`` and stood in line
    ``lines[r]``.

    Blank lines are no rows.
    """

    values: FloatArray
    bounds: IntArray
    lines: IntArray

    def __len__(self) -> int:
        return len(self.lines)

    def line_of(self, value: int) -> int:
        """Return the line in which ``values[value]`` stood."""
        return int(self.lines[np.searchsorted(self.bounds, value, side="right") - 1])

    def table(self, first: int, last: int, layout: str) -> FloatArray:
        """Return rows ``first … last - 1`` as one array with a column for every word of
        ``layout``."""
        width = len(layout.split())
        counts = np.diff(self.bounds[first : last + 1])
        check(
            counts == width,
            self.lines[first:last],
            lambda row: f"expected {width} columns ({layout}), found {counts[row]}",
        )
        return self.values[self.bounds[first] : self.bounds[last]].reshape(last - first, width)

    def header(self, row: int, layout: str) -> list[int]:
        """Return the counts in one row, one for every word of ``layout``."""
        line = self.lines[row : row + 1]
        return [
            int(indices(column, line, what=f"{name} =")[0])
            for name, column in zip(layout.split(), self.table(row, row + 1, layout).T, strict=True)
        ]


def clean(data: bytes) -> bytes:
    """Return ``data`` with plain line ends and without a byte order mark; raise where it is no
    text."""
    text = data.removeprefix(_BYTE_ORDER_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    zero = text.find(0)
    if zero >= 0:
        raise InputError("this is binary data, not text", line=1 + text.count(b"\n", 0, zero))
    return text


def split_comments(text: bytes, marks: bytes) -> tuple[bytes, bytes]:
    """Blank the lines that start with one of ``marks``; return the rest, with its line numbers, and
    the comments.

    >>> split_comments(b"# two\\n1 2\\n", b"#%")
    (b'\\n1 2\\n', b'# two')
    """
    if not any(mark in text for mark in marks):
        return text, b""
    pattern = re.compile(rb"^[ \t]*[" + re.escape(marks) + rb"][^\n]*", re.MULTILINE)
    return pattern.sub(b"", text), b"\n".join(pattern.findall(text))


def word_counts(data: bytes, marks: bytes = b"") -> list[int]:
    """Return how many words the first three lines have, comments and blank lines left out; none
    where the first of them is not all numbers.

    >>> word_counts(b"# two\\n1 2\\n\\n3 4 5\\n", b"#"), word_counts(b"a b\\n")
    ([2, 3], [])
    """
    head = data[: 1 << 16].removeprefix(_BYTE_ORDER_MARK).replace(b"\r", b"\n")
    lines = [line.split() for line in split_comments(head, marks)[0].split(b"\n")]
    used = [words for words in lines if words][:3]
    return [len(words) for words in used] if used and all(map(_is_number, used[0])) else []


def marked_number(text: bytes, pattern: re.Pattern[bytes]) -> float:
    """Return the number that ``pattern`` captures in its first match in ``text``, or 0 without a
    match."""
    match = pattern.search(text)
    if match is None:
        return 0.0
    if not _is_number(match[1]):
        line = 1 + text.count(b"\n", 0, match.start())
        raise InputError(f"'{_shown(match[1])}' is not a finite number", line=line)
    return float(match[1])


def parse_rows(text: bytes, *, allow_empty: bool = False) -> Rows:
    """Read lines of numbers.

    Raises :class:`~anneal.errors.InputError`, naming the line, where a word is not a finite number,
    and where there is none at all unless ``allow_empty``.

    >>> rows = parse_rows(b"3 1\\n\\n1 2 0.5\\n")
    >>> rows.values.tolist(), rows.bounds.tolist(), rows.lines.tolist()
    ([3.0, 1.0, 1.0, 2.0, 0.5], [0, 2, 5], [1, 3])
    """
    values = _floats(text)
    # float() takes 1_000 for a number, which no file format does.
    if values is None or b"_" in text or not np.isfinite(values).all():
        raise _bad_number(text)
    if not (values.size or allow_empty):
        raise InputError("the file is empty: it holds no numbers")
    counts = _words_per_line(text)
    used = np.flatnonzero(counts)
    return Rows(values, np.concatenate([[0], np.cumsum(counts[used])]), used + 1)


def check(valid: BoolArray, lines: IntArray, reason: Callable[[int], str]) -> None:
    """Raise for the first row that is not valid, naming its line."""
    if not valid.all():
        row = int(np.argmin(valid))
        raise InputError(reason(row), line=int(lines[row]))


def indices(
    column: FloatArray, lines: IntArray, *, what: str, first: int = 0, last: int = MAX_INTEGER
) -> IntArray:
    """Return a column as integers; raise, naming the line, unless all are whole and lie in ``first
    … last``."""
    check(
        column == np.floor(column),
        lines,
        lambda row: f"{what} {number(column[row])} is not an integer",
    )
    check(
        (column >= first) & (column <= last),
        lines,
        lambda row: f"{what} {number(column[row])} is outside {first} to {last}",
    )
    return column.astype(np.int64)


def check_count(found: int, promised: int, lines: IntArray, what: str, *, header_line: int) -> None:
    """Raise unless as many rows follow a header as it promises; ``lines`` are those of the rows
    found."""
    if found != promised:
        line = header_line if found < promised else int(lines[promised])
        raise InputError(f"the header promises {promised} {what}, but {found} follow", line=line)


def first_repeat(key: IntArray) -> tuple[int, int] | None:
    """Return where a key stands that stood before, and where that was; None where all differ.

    >>> first_repeat(np.array([7, 8, 7, 8]))
    (2, 0)
    """
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1]) + 1
    if not again.size:
        return None
    second = again[np.argmin(order[again])]
    return int(order[second]), int(order[second - 1])


def number(value: float) -> str:
    """Return the shortest text that reads as ``value``, without a trailing ``.0``.

    >>> number(3.0), number(0.1)
    ('3', '0.1')
    """
    return repr(float(value)).removesuffix(".0")


def whole(values: IntArray) -> list[str]:
    """Return the text of integers."""
    return list(map(str, values.tolist()))


def numbers(values: FloatArray) -> list[str]:
    """Return :func:`number` of every value."""
    if (values == np.rint(values)).all() and (np.abs(values) <= MAX_INTEGER).all():
        return whole(values.astype(np.int64))
    return list(map(number, values.tolist()))


def join_rows(*columns: list[str]) -> str:
    """Return lines of words separated by spaces, each ended."""
    return "".join(f"{' '.join(row)}\n" for row in zip(*columns, strict=True))


def _floats(text: bytes) -> FloatArray | None:
    """Return every number, or None where a word is none; in chunks, as words take ten times the
    space."""
    parts, start = [], 0
    while start < len(text):
        stop = text.find(b"\n", start + _CHUNK)
        stop = len(text) if stop < 0 else stop
        try:
            parts.append(np.fromiter(map(float, text[start:stop].split()), np.float64))
        except ValueError:
            return None
        start = stop
    return np.concatenate(parts) if parts else np.empty(0)


def _words_per_line(text: bytes) -> IntArray:
    characters = np.frombuffer(text, np.uint8)
    space = _SPACE[characters]
    starts = ~space
    starts[1:] &= space[:-1]
    ends = np.append(np.flatnonzero(characters == ord("\n")), characters.size)
    return np.diff(np.searchsorted(np.flatnonzero(starts), ends), prepend=0)


def _bad_number(text: bytes) -> InputError:
    for line, content in enumerate(text.split(b"\n"), start=1):
        for word in content.split():
            if not _is_number(word):
                return InputError(f"'{_shown(word)}' is not a finite number", line=line)
    raise AssertionError("called although every word is a number")


def _shown(word: bytes) -> str:
    return str(word[:40])[2:-1]


def _is_number(word: bytes) -> bool:
    try:
        return math.isfinite(float(word)) and b"_" not in word
    except ValueError:
        return False
