"""Binary programs in CPLEX's LP text: a quadratic objective and linear constraints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from anneal.errors import InputError
from anneal.instances import rows
from anneal.instances.arrays import Program
from anneal.instances.polynomials import Builder, Polynomial, Word, is_number, product, split_words

NAME = "lp"
EXTENSIONS = (".lp",)
DESCRIPTION = "binary program in CPLEX's LP text: minimize, subject to, binary, end"
HOLDS = "program"
OPTIONS = ()

_NAME = re.compile(r"[A-Za-z!\"#$%&(),;?@_'`{}~][\w!\"#$%&(),;?@'`{}~.]*")
_WORD = re.compile(
    rf"[<>]=?|=[<>]?|[-+*/^:\[\]]|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|{_NAME.pattern}"
)
_SECTIONS = {
    **dict.fromkeys(["minimize", "minimise", "minimum", "min"], "min"),
    **dict.fromkeys(["maximize", "maximise", "maximum", "max"], "max"),
    **dict.fromkeys(["subject", "such", "st", "s.t.", "st."], "rows"),
    **dict.fromkeys(["bounds", "bound"], "bounds"),
    **dict.fromkeys(["binary", "binaries", "bin"], "binary"),
    **dict.fromkeys(["general", "generals", "gen", "integer", "integers", "int"], "integers"),
    **dict.fromkeys(["semi-continuous", "semi", "semis", "sos", "sos1", "sos2"], "others"),
    "end": "end",
}
_RELATIONS = {"<": "<=", "=<": "<=", "<=": "<=", ">": ">=", "=>": ">=", ">=": ">=", "=": "="}


def sniff(data: bytes) -> bool:
    """Tell whether the first word asks for a minimum or a maximum, and no colon follows it."""
    head = re.sub(r"\\[^\n]*", "", data[: 1 << 12].decode("latin-1").lstrip("ï»¿ \t\r\n"))
    return re.match(r"\s*(min|max)(imi[sz]e|imum)?\s+(?!:)", head, re.IGNORECASE) is not None


def parse(data: bytes) -> Program:
    """Read a program of binary variables, which keep their names and the order in which they occur.

    The objective may have products and squares in ``[ … ] / 2``. Raises
    :class:`~anneal.errors.InputError`, naming the line, for anything malformed and for what cannot
    be held: variables that are not binary, products in constraints, ranges, sets.

    >>> text = b"maximize x + [ 4 x * y ] / 2 subject to c: x + y <= 1 binary x y end"
    >>> parse(text).objective.value.tolist(), parse(text).right.tolist()
    ([-1.0, -2.0], [-1.0])
    """
    text = re.sub(rb"\\[^\n]*", b"", rows.clean(data))
    words = split_words(text, _WORD)
    if not words:
        raise InputError("the file is empty")
    builder, objective, maximise = Builder(), Polynomial(), False
    binary: set[str] = set()
    for number, (section, content) in enumerate(_sections(words)):
        line = content[0].line
        if (section.text in ("min", "max")) != (number == 0):
            raise InputError("a file has one objective, and begins with it", line=section.line)
        if section.text in ("min", "max"):
            objective, maximise = _objective(content[1:], builder), section.text == "max"
        elif section.text == "rows":
            _constraints(content[1:], builder)
        elif section.text == "bounds":
            _bounds(content[1:], builder)
        elif section.text == "binary":
            binary |= {_name(word, builder) for word in content[1:]}
        elif section.text in ("integers", "others"):
            raise InputError(f"'{content[0].text}': only binary variables can be held", line=line)
    left = [name for name in builder.labels if name not in binary]
    if left:
        line = next(word.line for word in words if word.text == left[0])
        raise InputError(f"variable '{left[0]}' is not declared binary", line=line)
    return builder.program(objective, maximise=maximise)


def dump(instance: Program) -> bytes:
    """Return the text of a program, to be minimised, all variables in the objective.

    They are named x1, x2, … where a label is no name in LP.

    >>> from anneal.instances.arrays import Qubo
    >>> print(dump(Program.unconstrained(Qubo(2, [0], [1], [-1.0]))).decode(), end="")
    Minimize
     obj: +0 x1 +0 x2 + [
      -2 x1 * x2
     ] / 2
    Subject To
    Binary
     x1 x2
    End
    """
    qubo = instance.objective
    names = [f"x{number}" for number in range(1, qubo.num_variables + 1)]
    if qubo.labels is not None and all(map(_is_name, qubo.labels)):
        names = [str(label) for label in qubo.labels]
    linear, pair = np.zeros(len(names)), qubo.i != qubo.j
    linear[qubo.i[~pair]] = qubo.value[~pair]
    terms = [f"{_signed(value)} {name}" for name, value in zip(names, linear, strict=True)]
    if qubo.offset:
        terms.append(_signed(qubo.offset))
    lines = ["Minimize", f" obj: {_lines(terms)}"]
    if pair.any():
        products = zip(qubo.i[pair], qubo.j[pair], 2 * qubo.value[pair], strict=True)
        squares = [f"{_signed(value)} {names[i]} * {names[j]}" for i, j, value in products]
        lines[-1] += f" + [\n  {_lines(squares)}\n ] / 2"
    lines.append("Subject To")
    bounds = np.searchsorted(instance.row, np.arange(instance.num_rows + 1))
    for row, (first, last) in enumerate(pairwise(bounds.tolist())):
        entries = zip(instance.column[first:last], instance.value[first:last], strict=True)
        left = [f"{_signed(value)} {names[column]}" for column, value in entries]
        relation = "=" if instance.equal[row] else ">="
        right = rows.number(instance.right[row])
        lines.append(f" c{row + 1}: {_lines(left or [f'+0 {names[0]}'])} {relation} {right}")
    return "\n".join([*lines, "Binary", f" {_lines(names)}", "End", ""]).encode()


def _sections(words: list[Word]) -> Iterable[tuple[Word, list[Word]]]:
    """Yield each section's kind and words, its keyword first, up to the end."""
    begins = [
        (_SECTIONS[word.text.lower()], place)
        for place, word in enumerate(words)
        if word.text.lower() in _SECTIONS and words[min(place + 1, len(words) - 1)].text != ":"
    ]
    if not begins or begins[0][1] > 0:
        raise InputError("expected 'minimize' or 'maximize'", line=words[0].line)
    for (kind, first), (_, last) in pairwise([*begins, ("", len(words))]):
        if kind == "end":
            if last < len(words) or first + 1 < len(words):
                raise InputError("something follows 'end'", line=words[first + 1].line)
            return
        content = words[first:last]
        if content[0].text.lower() in ("subject", "such"):
            if len(content) < 2 or content[1].text.lower() not in ("to", "that"):
                raise InputError(f"expected '{content[0].text} to'", line=content[0].line)
            content = content[1:]
        yield Word(kind, content[0].line), content
    raise InputError("'end' is missing", line=words[-1].line)


def _objective(content: list[Word], builder: Builder) -> Polynomial:
    content = _unlabelled(content)
    opened = [place for place, word in enumerate(content) if word.text == "["]
    if not opened:
        return _linear(content, builder)
    texts = [word.text for word in content]
    first, line = opened[0], content[opened[0]].line
    if len(opened) > 1 or texts[-3:] != ["]", "/", "2"]:
        raise InputError("expected products as one last '[ … ] / 2' of the objective", line=line)
    signed = first > 0 and texts[first - 1] in ("+", "-")
    found = _linear(content[: first - signed], builder)
    scale = -0.5 if signed and texts[first - 1] == "-" else 0.5
    for monomial, value in _products(content[first + 1 : -3], builder).items():
        found.add(monomial, scale * value, line=line)
    return found


def _constraints(content: list[Word], builder: Builder) -> None:
    """Read ``[name:] terms relation number``, one after the other."""
    place = 0
    while place < len(content):
        begun = place
        while place < len(content) and content[place].text not in _RELATIONS:
            place += 1
        if place == len(content):
            raise InputError("expected a relation in this constraint", line=content[begun].line)
        relation, left = content[place], _unlabelled(content[begun:place])
        if not left:
            raise InputError(f"expected terms before {relation.text}", line=relation.line)
        for word in left:
            if word.text in ("[", "*", "^"):
                raise InputError(
                    "this constraint holds a product of variables; only the objective may",
                    line=word.line,
                )
        right, place = _right(content, place)
        line = content[begun].line
        builder.constrain(_linear(left, builder), _RELATIONS[relation.text], right, line=line)


def _right(content: list[Word], relation: int) -> tuple[float, int]:
    """Return the number after a relation, and the place after it, which begins a line."""
    place, sign = relation + 1, 1.0
    if place < len(content) and content[place].text in ("+", "-"):
        sign, place = (-1.0 if content[place].text == "-" else 1.0), place + 1
    line = content[relation].line
    if place == len(content) or not is_number(content[place].text):
        raise InputError(f"expected a number after {content[relation].text}", line=line)
    if place + 1 < len(content) and content[place + 1].line == content[place].line:
        raise InputError("expected a new line after the right side", line=content[place].line)
    return sign * _number(content[place]), place + 1


def _bounds(content: list[Word], builder: Builder) -> None:
    """Take bounds of 0 and 1, which bits keep, and fixed values; refuse all others."""
    by_line: dict[int, list[str]] = {}
    for word in content:
        by_line.setdefault(word.line, []).append(_RELATIONS.get(word.text, word.text))
    for line, texts in by_line.items():
        name = next((text for text in texts if _NAME.fullmatch(text)), "?")
        shape = " ".join("x" if text == name else text for text in texts)
        if shape in ("x = 0", "x = 1"):
            fixed = Polynomial({(builder.variable(name),): 1.0})
            builder.constrain(fixed, "=", float(texts[2]), line=line)
        elif shape not in ("0 <= x <= 1", "x >= 0", "x <= 1", "0 <= x", "1 >= x"):
            raise InputError(f"bounds other than 0 and 1: {' '.join(texts)}", line=line)


def _linear(words: list[Word], builder: Builder) -> Polynomial:
    """Return the sum of terms: signs, then a number, a variable, or both."""
    found, place = Polynomial(), 0
    while place < len(words):
        value, place, line = *_coefficient(words, place), words[place].line
        if place < len(words) and _NAME.fullmatch(words[place].text):
            found.add((builder.variable(words[place].text),), value, line=line)
            place += 1
        elif is_number(words[place - 1].text):
            found.add((), value, line=line)
        else:
            wrong = words[min(place, len(words) - 1)]
            raise InputError(f"{wrong.text!r} does not belong here", line=wrong.line)
    return found


def _products(words: list[Word], builder: Builder) -> Polynomial:
    """Return the sum of terms with ``x * y`` or ``x ^ 2``."""
    found, place = Polynomial(), 0
    while place < len(words):
        value, place, line = *_coefficient(words, place), words[place].line
        texts = [word.text for word in words[place : place + 3]]
        if len(texts) < 3 or not _NAME.fullmatch(texts[0]):
            raise InputError("expected x * y or x ^ 2 between the brackets", line=line)
        first = builder.variable(texts[0])
        if texts[1:] == ["^", "2"]:
            found.add((first,), value, line=line)
        elif texts[1] == "*" and _NAME.fullmatch(texts[2]):
            found.add(product((first,), builder.variable(texts[2])), value, line=line)
        else:
            raise InputError("expected x * y or x ^ 2 between the brackets", line=line)
        place += 3
    return found


def _coefficient(words: list[Word], place: int) -> tuple[float, int]:
    """Return signs and a number, or 1, and the place after them."""
    value = 1.0
    while place < len(words) and words[place].text in ("+", "-"):
        value, place = (-value if words[place].text == "-" else value), place + 1
    if place < len(words) and is_number(words[place].text):
        return value * _number(words[place]), place + 1
    return value, place


def _unlabelled(words: list[Word]) -> list[Word]:
    return words[2:] if len(words) > 1 and words[1].text == ":" else words


def _name(word: Word, builder: Builder) -> str:
    if not _NAME.fullmatch(word.text):
        raise InputError(f"{word.text!r} is no name of a variable", line=word.line)
    builder.variable(word.text)
    return word.text


def _number(word: Word) -> float:
    value = float(word.text)
    if not np.isfinite(value):
        raise InputError(f"'{word.text[:40]}' is not a finite number", line=word.line)
    return value


def _is_name(label: object) -> bool:
    """Tell whether a label is a name that cannot be taken for a number or a keyword."""
    if not isinstance(label, str) or not _NAME.fullmatch(label):
        return False
    return label.isascii() and label[0] not in "eE" and label.lower() not in _SECTIONS


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{rows.number(abs(value))}"


def _lines(words: list[str]) -> str:
    """Return words in lines of six: LP lines are short."""
    return "\n  ".join(" ".join(words[k : k + 6]) for k in range(0, len(words), 6))
