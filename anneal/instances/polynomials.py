"""Texts of polynomials and relations, as OPB and LP files have them: words, and sums of terms."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anneal.errors import InputError
from anneal.instances.arrays import Program, Qubo, check_size

Monomial = tuple[int, ...]
"""The variables of a product in their order, each once; () is the constant."""


class Word(NamedTuple):
    """A word of a text and the line it stands in."""

    text: str
    line: int


class Polynomial(dict[Monomial, float]):
    """Coefficients of products of bits."""

    def add(self, monomial: Monomial, value: float, *, line: int) -> None:
        """Add a term; raises :class:`~anneal.errors.InputError` where the sum is not finite."""
        total = self.get(monomial, 0.0) + value
        if not math.isfinite(total):
            raise InputError("the sum of a repeated term is not finite", line=line)
        self[monomial] = total

    @property
    def degree(self) -> int:
        """The number of variables of the longest product."""
        return max(map(len, self), default=0)


@dataclass
class Builder:
    """What a reader has found so far; :meth:`program` returns it as arrays."""

    labels: dict[str, int] = field(default_factory=dict)
    row: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    equal: list[bool] = field(default_factory=list)

    def variable(self, name: str) -> int:
        """Return the number of a variable, the next one where it is new."""
        return self.labels.setdefault(name, len(self.labels))

    def constrain(self, left: Polynomial, relation: str, right: float, *, line: int) -> None:
        """Add ``left`` >=, <= or = ``right``.

        Raises :class:`~anneal.errors.InputError` where the left side holds a product.
        """
        if left.degree > 1:
            raise InputError(
                "this constraint holds a product of variables; only the objective may", line=line
            )
        sign = -1.0 if relation == "<=" else 1.0
        for monomial, value in left.items():
            if monomial:
                self.row.append(len(self.right))
                self.column.append(monomial[0])
                self.value.append(sign * value)
        self.right.append(sign * (right - left.get((), 0.0)))
        self.equal.append(relation == "=")

    def program(self, objective: Polynomial, *, maximise: bool) -> Program:
        """Return the arrays; what is to be maximised is negated."""
        check_size(len(self.labels), "variables")
        sign = -1.0 if maximise else 1.0
        terms = [(m[0], m[-1], sign * value) for m, value in objective.items() if m]
        i, j, value = zip(*terms, strict=True) if terms else ((), (), ())
        qubo = Qubo(
            len(self.labels),
            np.array(i, np.int64),
            np.array(j, np.int64),
            np.array(value, np.float64),
            sign * objective.get((), 0.0) + 0.0,
            labels=tuple(self.labels),
            sense="max" if maximise else "min",
        )
        rows = np.array(self.row, np.int64), np.array(self.column, np.int64)
        return Program(qubo, *rows, np.array(self.value), np.array(self.right), self.equal)  # type: ignore[arg-type]


def split_words(text: bytes, pattern: re.Pattern[str]) -> list[Word]:
    """Return what ``pattern`` matches, one after the other, with only spaces between.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything else.

    >>> split_words(b"+2 x\\n;", re.compile(r"[+]|[0-9]+|[a-z]+|;"))[-1]
    Word(text=';', line=2)
    """
    words = []
    for line, content in enumerate(text.decode("latin-1").split("\n"), 1):
        place, end = 0, len(content)
        while True:
            while place < end and content[place] in " \t\f\v":
                place += 1
            if place == end:
                break
            match = pattern.match(content, place)
            if match is None or match.end() == place:
                raise InputError(f"{content[place : place + 20]!r} is not understood", line=line)
            words.append(Word(match[0], line))
            place = match.end()
    return words


def is_number(word: str) -> bool:
    """Tell whether a word begins as a number does."""
    return word[0].isdigit() or word[0] == "."


def product(one: Monomial, other: int) -> Monomial:
    """Return a product times a bit: x·x = x.

    >>> product((1, 3), 2), product((1, 3), 3)
    ((1, 2, 3), (1, 3))
    """
    return tuple(sorted({*one, other}))
