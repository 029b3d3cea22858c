"""YAL, the language of the MCNC benchmarks: modules, their pins, and the network that joins them.

A block is an instance in the network of the module of type PARENT, with the shape and the pins of
another module; the parent's own pins are pads. Blocks have the names of their modules where none is
there twice, else those of the instances. The signals of an instance are those of its module's pins,
in their order. Statements end with ``;``, and ``/* … */`` is a comment (Kozminski 1991, Benchmarks
for layout synthesis). Errors are :class:`~anneal.errors.InputError` with file and line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anneal.files import Pathlike
from anneal.floorplan.blocks import Blocks
from anneal.instances.words import Words

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
# Where a side is in the box, as shares of its width and height; the pin's position is the other.
_SIDES = {"BOTTOM": (None, 0.0), "TOP": (None, 1.0), "LEFT": (0.0, None), "RIGHT": (1.0, None)}
_SECTIONS = {"IOLIST": "ENDIOLIST", "NETWORK": "ENDNETWORK"}

Statement = tuple[int, list[str]]


@dataclass
class _Module:
    """A module as it stands in the file; pins have shares of the box, −½ … ½ from its middle."""

    name: str
    line: int
    kind: str = ""
    left: float = 0.0
    low: float = 0.0
    width: float = 0.0
    height: float = 0.0
    pins: list[tuple[str, float, float]] = field(default_factory=list)
    network: list[Statement] = field(default_factory=list)


def read(path: Pathlike) -> Blocks:
    """Return the blocks, pads and nets of a .yal file.

    Raises :class:`~anneal.errors.InputError` for what is missing, malformed or contradicts itself.
    """
    text = Words(path)
    modules = _modules(text)
    parents = [module for module in modules.values() if module.kind == "PARENT"]
    if len(parents) != 1:
        raise text.error(f"expected one module of type PARENT, found {len(parents)}")
    parent = parents[0]
    if not parent.network:
        raise text.error(f"module {parent.name} has no network", parent.line)
    shapes = [_shape(text, modules, statement) for statement in parent.network]
    names = [module.name for module in shapes]
    if len(set(names)) < len(names):
        names = [words[0] for _, words in parent.network]
    if len(set(names)) < len(names):
        raise text.error("two instances have one name", parent.line)
    nets: dict[str, list[tuple[int, float, float]]] = {}
    for block, (module, (_, words)) in enumerate(zip(shapes, parent.network, strict=True)):
        for signal, (_, dx, dy) in zip(words[2:], module.pins, strict=True):
            nets.setdefault(signal, []).append((block, dx, dy))
    for pad, (signal, _, _) in enumerate(parent.pins):
        nets.setdefault(signal, []).append((len(names) + pad, 0.0, 0.0))
    pins = np.array([pin for found in nets.values() for pin in found], float).reshape(-1, 3)
    width = np.array([module.width for module in shapes])
    height = np.array([module.height for module in shapes])
    places = np.array([pin[1:] for pin in parent.pins], float).reshape(-1, 2) + 0.5
    return Blocks(
        names=names,
        width=width,
        height=height,
        least=width / height,
        most=width / height,
        pad_names=_pad_names(parent, names),
        pad_x=parent.left + parent.width * places[:, 0],
        pad_y=parent.low + parent.height * places[:, 1],
        net_names=list(nets),
        start=np.cumsum([0, *map(len, nets.values())]),
        member=pins[:, 0].astype(np.int64),
        dx=pins[:, 1].copy(),
        dy=pins[:, 2].copy(),
    )


def _statements(text: Words) -> Iterator[Statement]:
    """Yield line and words of all that ends with a semicolon."""
    plain = _COMMENT.sub(lambda found: "\n" * found[0].count("\n") + " ", text.text)
    line, first, words = 1, 1, list[str]()
    for part in re.findall(r"\n|;|[^\s;]+", plain):
        if part == "\n":
            line += 1
        elif part == ";":
            if words:
                yield first, words
            words = []
        else:
            first = first if words else line
            words.append(part)

    if words:
        raise text.error(f"'{words[0]}' has no semicolon at its end", first)


def _modules(text: Words) -> dict[str, _Module]:
    found: dict[str, _Module] = {}
    module: _Module | None = None
    section = ""
    for line, words in _statements(text):
        key = words[0].upper()
        if module is None:
            if key != "MODULE" or len(words) != 2:
                raise text.error(f"expected: MODULE name;, found '{' '.join(words[:3])}'", line)
            if words[1] in found:
                raise text.error(f"module {words[1]} is there twice", line)
            module = found[words[1]] = _Module(words[1], line)
        elif section:
            if key == _SECTIONS[section]:
                section = ""
            elif section == "IOLIST":
                module.pins.append(_pin(text, module, line, words))
            else:
                module.network.append((line, words))
        elif key in _SECTIONS:
            if module.width == 0:
                raise text.error(f"module {module.name} has no DIMENSIONS before {key}", line)
            section = key
        elif key == "ENDMODULE":
            module = None
        elif key == "TYPE" and len(words) == 2:
            module.kind = words[1].upper()
        elif key == "DIMENSIONS":
            _dimensions(text, module, line, words[1:])
        elif key not in ("PROFILE", "PLACEMENT", "CRITICALNETS"):
            raise text.error(f"'{' '.join(words[:3])}' is not known in a module", line)
    if module is not None:
        raise text.error(f"module {module.name} has no {_SECTIONS.get(section, 'ENDMODULE')}",
                         module.line)  # fmt: skip
    if not found:
        raise text.error("holds no modules")
    return found


def _dimensions(text: Words, module: _Module, line: int, words: Sequence[str]) -> None:
    numbers = [text.number(word, line, "dimension") for word in words]
    x, y = numbers[::2], numbers[1::2]
    corners = {(a, b) for a in x for b in y}
    if len(numbers) != 8 or len(corners) != 4 or set(zip(x, y, strict=True)) != corners:
        raise text.error(f"module {module.name} is no rectangle of four corners", line)
    module.left, module.low = min(x), min(y)
    module.width, module.height = max(x) - min(x), max(y) - min(y)


def _pin(text: Words, module: _Module, line: int, words: Sequence[str]) -> tuple[str, float, float]:
    """Return name and place: ``name type x y …`` or ``name type side position …``."""
    if len(words) < 4:
        raise text.error("expected: name type x y", line)
    side = _SIDES.get(words[2].upper())
    along = text.number(words[3], line, "position")
    if side is None:
        x = (text.number(words[2], line, "position") - module.left) / module.width
        y = (along - module.low) / module.height
    else:
        x = (along - module.left) / module.width if side[0] is None else side[0]
        y = (along - module.low) / module.height if side[1] is None else side[1]
    return words[0], x - 0.5, y - 0.5


def _shape(text: Words, modules: Mapping[str, _Module], statement: Statement) -> _Module:
    """Return the module of an instance, which has a signal for each of its pins."""
    line, words = statement
    if len(words) < 2 or words[1] not in modules:
        named = f"names the unknown block '{words[1]}'" if len(words) > 1 else "names no module"
        raise text.error(f"instance {words[0]} {named}", line)
    module = modules[words[1]]
    if module.kind == "PARENT":
        raise text.error(f"instance {words[0]} is of the parent itself", line)
    if len(words) - 2 != len(module.pins):
        raise text.error(
            f"instance {words[0]} has {len(words) - 2} signals, "
            f"but {module.name} has {len(module.pins)} pins",
            line,
        )
    if module.width == 0:
        raise text.error(f"module {module.name} has no DIMENSIONS", module.line)
    return module


def _pad_names(parent: _Module, blocks: Sequence[str]) -> list[str]:
    """Return names of the parent's pins; those there twice are numbered, as in GSRC's files."""
    count = Counter(name for name, _, _ in parent.pins)
    count.update(blocks)
    used: Counter[str] = Counter()
    names = []
    for name, _, _ in parent.pins:
        names.append(name if count[name] == 1 else f"{name}@{used[name]}")
        used[name] += 1
    return names
