"""Pseudo-Boolean programs in OPB, the text of the pseudo-Boolean competitions."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import Program
from anneal.instances.polynomials import (
    Builder,
    Monomial,
    Polynomial,
    Word,
    is_number,
    product,
    split_words,
)

NAME = "opb"
EXTENSIONS = (".opb",)
DESCRIPTION = "pseudo-Boolean program: min: +1 x1 -2 x1 x2 ; then +1 x1 +1 x2 >= 1 ;"
HOLDS = "program"
OPTIONS = ()

_WORD = re.compile(r"min:|max:|>=|<=|=|[+-]|;|\d+(?!\w)|~?[A-Za-z_][\w\[\]{}^.]*")
_NAME = re.compile(r"[A-Za-z_][\w\[\]{}^.]*")
_OFFSET = re.compile(rb"^[ \t]*\*[ \t]*offset=[ \t]*(\S+)", re.MULTILINE)
_RELATIONS = (">=", "<=", "=")


def sniff(data: bytes) -> bool:
    """Tell whether a comment or an objective of this format begins the text."""
    head = data[: 1 << 12].decode("latin-1").lstrip("ï»¿ \t\r\n")
    statement = re.search(r"^[^*][^;]*;", head.replace("\r", "\n"), re.MULTILINE)
    if head.startswith("*"):
        return statement is not None or "#variable=" in head
    return head.startswith(("min:", "max:"))


def parse(data: bytes) -> Program:
    """Read a program: an objective, or none, and constraints, each ended by ``;``.

    A term is a whole number and the variables of a product, ``~x`` being 1 − x. The objective may
    have products of two variables, constraints none. Variables keep their names, and the order in
    which they occur. The format has no place for a constant: a comment ``* offset= 1.5``, our own
    addition, is one of the objective, and a term without variables is taken too.

    Raises :class:`~anneal.errors.InputError`, naming the line, for anything malformed and for what
    cannot be held: products of three, products in constraints, soft constraints, numbers that are
    not whole.

    >>> program = parse(b"min: +1 x1 -2 x1 ~x2 ;\\n+1 x1 +1 x2 >= 1 ;\\n")
    >>> program.objective.value.tolist(), program.objective.labels
    ([-1.0, 2.0], ('x1', 'x2'))
    """
    whole = rows.clean(data)
    text, comments = rows.split_comments(whole, b"*")
    words = split_words(text, _WORD)
    builder, objective, maximise = Builder(), None, False
    start = 0
    for end, word in enumerate(words):
        if word.text != ";":
            continue
        statement = words[start:end]
        if not statement:
            raise InputError("nothing stands before this ';'", line=word.line)
        if statement[0].text in ("min:", "max:"):
            if objective is not None or builder.right:
                raise InputError("the objective must stand first and once", line=statement[0].line)
            objective, maximise = _objective(statement[1:], builder), statement[0].text == "max:"
        else:
            _constraint(statement, builder)
        start = end + 1
    if start < len(words):
        raise InputError("this statement is not ended by ';'", line=words[start].line)
    objective = Polynomial() if objective is None else objective
    if comments and (offset := rows.marked_number(whole, _OFFSET)):
        objective.add((), offset, line=1)
    return builder.program(objective, maximise=maximise)


def dump(instance: Program) -> bytes:
    """Return the text of a program, to be minimised, all variables in the objective.

    They are named x1, x2, … where a label is no name in OPB. Raises
    :class:`~anneal.errors.InputError` for numbers that are not whole, which OPB has not.

    >>> from anneal.instances.arrays import Qubo
    >>> dump(Program(Qubo(2, [0], [1], [-1.0]), [0, 0], [0, 1], [1, 1], [1], [True])).decode()
    '* #variable= 2 #constraint= 1\\nmin: +0 x1 +0 x2 -1 x1 x2 ;\\n+1 x1 +1 x2 = 1 ;\\n'
    """
    qubo = instance.objective
    names = [f"x{number}" for number in range(1, qubo.num_variables + 1)]
    if qubo.labels is not None and all(
        isinstance(label, str) and _NAME.fullmatch(label) for label in qubo.labels
    ):
        names = [str(label) for label in qubo.labels]
    lines = [f"* #variable= {len(names)} #constraint= {instance.num_rows}"]
    if qubo.offset:
        lines.append(f"* offset= {rows.number(qubo.offset)}")
    linear, pair = np.zeros(len(names)), qubo.i != qubo.j
    linear[qubo.i[~pair]] = qubo.value[~pair]
    terms = [f"{_whole(value)} {name}" for name, value in zip(names, linear, strict=True)]
    terms += [
        f"{_whole(value)} {names[i]} {names[j]}"
        for i, j, value in zip(qubo.i[pair], qubo.j[pair], qubo.value[pair], strict=True)
    ]
    lines.append(f"min: {' '.join(terms)} ;")
    bounds = np.searchsorted(instance.row, np.arange(instance.num_rows + 1))
    for row, (first, last) in enumerate(pairwise(bounds.tolist())):
        entries = zip(instance.column[first:last], instance.value[first:last], strict=True)
        left = " ".join(f"{_whole(value)} {names[column]}" for column, value in entries)
        relation = "=" if instance.equal[row] else ">="
        right = _whole(instance.right[row]).removeprefix("+")
        lines.append(f"{left or f'+0 {names[0]}'} {relation} {right} ;")
    return ("\n".join(lines) + "\n").encode()


def _objective(statement: list[Word], builder: Builder) -> Polynomial:
    found = _polynomial(statement, builder)
    if found.degree > 2:
        raise InputError(
            "the objective holds a product of three variables or more; two are the most",
            line=statement[0].line,
        )
    return found


def _constraint(statement: list[Word], builder: Builder) -> None:
    first = statement[0].line
    places = [k for k, word in enumerate(statement) if word.text in _RELATIONS]
    if len(places) != 1:
        raise InputError("expected one of >=, <= and = in a constraint", line=first)
    left, relation, right = statement[: places[0]], statement[places[0]], statement[places[0] + 1 :]
    bound = _polynomial(right, builder)
    if not right or bound.degree:
        raise InputError(f"expected a number after {relation.text}", line=relation.line)
    if not left:
        raise InputError(f"expected terms before {relation.text}", line=relation.line)
    builder.constrain(_polynomial(left, builder), relation.text, bound.get((), 0.0), line=first)


def _polynomial(words: list[Word], builder: Builder) -> Polynomial:
    """Return the sum of terms, each a sign, a number and variables, one of the three at least."""
    found, place = Polynomial(), 0
    while place < len(words):
        line, value, begun = words[place].line, 1.0, place
        if words[place].text in ("+", "-"):
            value, place = (-1.0 if words[place].text == "-" else 1.0), place + 1
        if place < len(words) and is_number(words[place].text):
            value, place = value * _number(words[place]), place + 1
        elif begun < place and (place == len(words) or not _is_literal(words[place].text)):
            raise InputError("a sign must stand before a number or a variable", line=line)
        literals = []
        while place < len(words) and _is_literal(words[place].text):
            literals.append(words[place].text)
            place += 1
        if place == begun:
            raise InputError(f"{words[place].text!r} does not belong here", line=line)
        _add_product(found, value, literals, builder, line=line)
    return found


def _add_product(
    found: Polynomial, value: float, literals: list[str], builder: Builder, *, line: int
) -> None:
    """Add the product, 1 − x multiplied out for each ~x."""
    if len(set(literals)) > 2:
        raise InputError(
            f"a product of {len(literals)} variables: two are the most that can be held", line=line
        )
    terms: dict[Monomial, float] = {(): value}
    for literal in literals:
        variable, old = builder.variable(literal.removeprefix("~")), terms
        terms = {}
        for monomial, amount in old.items():
            longer, sign = product(monomial, variable), -1 if literal[0] == "~" else 1
            terms[longer] = terms.get(longer, 0.0) + sign * amount
            if sign < 0:
                terms[monomial] = terms.get(monomial, 0.0) + amount
    for monomial, amount in terms.items():
        found.add(monomial, amount, line=line)


def _is_literal(word: str) -> bool:
    return word[0].isalpha() or word[0] in "~_"


def _number(word: Word) -> float:
    if len(word.text) > 16 or int(word.text) > rows.MAX_INTEGER:
        raise InputError(f"{word.text[:40]} is larger than 2^53 − 1", line=word.line)
    return float(word.text)


def _whole(value: float) -> str:
    if value != np.rint(value) or abs(value) > rows.MAX_INTEGER:
        raise InputError(f"OPB has whole numbers only, not {rows.number(value)}")
    return f"{int(value):+d}"
