"""GSRC floorplans: blocks in a .blocks file, nets in .nets, places in .pl beside it.

Blocks are ``hardrectilinear`` with four corners, which may take several lines, or
``softrectangular`` with area and the bounds of width over height. A pin may be ``%dx %dy`` away
from its block's middle, in per cent of the block's width and height, or ``dx dy`` without ``%`` in
the unit of its size. In a .pl file a block may have ``DIMS = (width, height)``, and an orientation.
Headers and counts may be missing, files may be compressed. Errors are
:class:`~anneal.errors.InputError` with file and line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anneal.errors import InputError
from anneal.files import Pathlike, write_text
from anneal.floorplan.blocks import Blocks, Floorplan
from anneal.instances.words import Words
from anneal.placement.netlist import ORIENTATIONS

_HARD, _SOFT = "NumHardRectilinearBlocks", "NumSoftRectangularBlocks"
_COUNTS = (_HARD, _SOFT, "NumTerminals", "NumNets", "NumPins")


def read(path: Pathlike) -> Blocks:
    """Return the blocks of a .blocks file, with nets and pads where the files beside it have them.

    Raises :class:`~anneal.errors.InputError` for what is missing, malformed or contradicts itself.
    """
    text = Words(path)
    names, shapes, pads = _blocks(text)
    places = np.zeros((len(pads), 2))
    plan = beside(path, "pl")
    if plan is not None:
        places = _pads(Words(plan), names, pads)
    elif pads:
        raise text.error(f"has {len(pads)} terminals, but no .pl file beside it places them")
    nets = beside(path, "nets")
    index = {name: at for at, name in enumerate([*names, *pads])}
    given = _nets(Words(nets), index, shapes) if nets is not None else _no_nets()
    try:
        return Blocks(
            names=names,
            **{key: column.copy() for key, column in zip(_Shape._fields, shapes.T, strict=True)},
            pad_names=pads,
            pad_x=places[:, 0].copy(),
            pad_y=places[:, 1].copy(),
            **given,
        )
    except InputError as error:
        raise InputError(error.reason, path=path) from None


def read_plan(path: Pathlike, blocks: Blocks) -> Floorplan:
    """Return the floorplan of a .pl file.

    Raises :class:`~anneal.errors.InputError` for a block that is not known, there twice or missing.
    """
    text = Words(path)
    index = {name: at for at, name in enumerate(blocks.names)}
    places = _places(text, {**index, **dict.fromkeys(blocks.pad_names, -1)})
    missing = [name for name in blocks.names if name not in places]
    if missing:
        raise text.error(f"{len(missing)} blocks have no place, {missing[0]} among them")
    found = [places[name] for name in blocks.names]
    x, y, wide, high = np.array([place[:4] for place in found]).T
    orientation = np.array([place.orientation for place in found], np.int8)
    aside = orientation >= ORIENTATIONS.index("E")
    wide = np.where(np.isnan(wide), np.where(aside, blocks.height, blocks.width), wide)
    high = np.where(np.isnan(high), np.where(aside, blocks.width, blocks.height), high)
    return Floorplan(x.copy(), y.copy(), wide, high, orientation)


def write_plan(path: Pathlike, blocks: Blocks, plan: Floorplan) -> None:
    """Write a .pl file, whole or not at all; soft blocks with their size, pads at the end."""
    lines = ["UCLA pl 1.0\n\n"]
    for at, name in enumerate(blocks.names):
        size = f" DIMS = ({plan.width[at]:.15g}, {plan.height[at]:.15g})" if blocks.soft[at] else ""
        turn = ORIENTATIONS[plan.orientation[at]]
        lines.append(f"{name} {plan.x[at]:.15g} {plan.y[at]:.15g}{size} : {turn}\n")
    pads = zip(blocks.pad_names, blocks.pad_x.tolist(), blocks.pad_y.tolist(), strict=True)
    lines += ["\n"] + [f"{name} {x:.15g} {y:.15g}\n" for name, x, y in pads]
    write_text(path, "".join(lines))


def write(path: Pathlike, blocks: Blocks, plan: Floorplan | None = None) -> None:
    """Write a .blocks file, and .nets and .pl beside it; blocks without a plan are at (0, 0)."""
    base = Path(path)
    none = np.zeros(len(blocks))
    write_plan(base.with_suffix(".pl"), blocks, plan or Floorplan.at(blocks, none, none))
    write_text(base.with_suffix(".nets"), _nets_text(blocks))
    write_text(base, _blocks_text(blocks))


class _Shape(NamedTuple):
    width: float
    height: float
    least: float
    most: float


class _Place(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    orientation: int


def beside(path: Pathlike, kind: str) -> Path | None:
    """Return the file of the same name and another kind, compressed or not."""
    base = Path(path)
    base = base.with_suffix("") if base.suffix == ".gz" else base
    plain = base.with_suffix(f".{kind}")
    return next((file for file in (plain, Path(f"{plain}.gz")) if file.exists()), None)


def _blocks(text: Words) -> tuple[list[str], Any, list[str]]:
    """Return names of blocks, their shapes (blocks, 4), and names of pads."""
    counts: dict[str, tuple[int, int]] = {}
    seen: dict[str, int] = {}
    shapes: dict[str, _Shape] = {}
    pads: list[str] = []
    found = {"soft": 0, "hard": 0}
    lines = _joined(text)
    for line, words in lines:
        if words[0] in _COUNTS:
            counts[words[0]] = _count(text, words, line)
            continue
        kind = words[1].lower() if len(words) > 1 else ""
        name = words[0]
        if seen.setdefault(name, line) != line:
            raise text.error(f"{name} is there twice", line)
        if words[-1].lower() == "terminal" and len(words) > 1:
            pads.append(name)
        elif kind == "softrectangular":
            shapes[name] = _soft(text, name, words[2:], line)
            found["soft"] += 1
        elif kind == "hardrectilinear":
            shapes[name] = _hard(text, name, words[2:], line)
            found["hard"] += 1
        else:
            raise text.error(
                "expected: name hardrectilinear 4 (x, y) …, name softrectangular area least most "
                "or name terminal",
                line,
            )
    if not shapes:
        raise text.error("holds no blocks")
    text.check(_SOFT, counts, found["soft"])
    text.check(_HARD, counts, found["hard"])
    text.check("NumTerminals", counts, len(pads))
    return list(shapes), np.array(list(shapes.values())), pads


def _joined(text: Words) -> list[tuple[int, list[str]]]:
    """Return lines without parentheses and commas, lines of corners alone with the one before."""
    joined: list[tuple[int, list[str]]] = []
    for line, words in text.lines("UCSC"):
        plain = " ".join(words).translate(str.maketrans("(),", "   ")).split()
        if words[0].startswith("(") and joined:
            joined[-1][1].extend(plain)
        elif plain:
            joined.append((line, plain))
    return joined


def _soft(text: Words, name: str, words: Sequence[str], line: int) -> _Shape:
    if len(words) < 3:
        raise text.error("expected: name softrectangular area least most", line)
    area, least, most = (
        _positive(text, word, line, f"{what} of block {name}")
        for word, what in zip(words, ("area", "least aspect", "most aspect"), strict=False)
    )
    if least > most:
        raise text.error(f"the least aspect of block {name} is above its most", line)
    aspect = min(max(1.0, least), most)
    return _Shape(math.sqrt(area * aspect), math.sqrt(area / aspect), least, most)


def _hard(text: Words, name: str, words: Sequence[str], line: int) -> _Shape:
    corners = [text.number(word, line, f"corner of block {name}") for word in words[1:]]
    if not words or words[0] != str(len(corners) // 2) or len(corners) % 2:
        said = words[0] if words else "no number"
        raise text.error(
            f"block {name} says {said} corners, but {len(corners)} numbers follow", line
        )
    x, y = corners[::2], corners[1::2]
    box = {(a, b) for a in (min(x), max(x)) for b in (min(y), max(y))} if x else set()
    if len(x) != 4 or set(zip(x, y, strict=True)) != box or len(box) != 4:
        raise text.error(f"block {name} is no rectangle", line)
    width, height = max(x) - min(x), max(y) - min(y)
    return _Shape(width, height, width / height, width / height)


def _positive(text: Words, word: str, line: int, what: str) -> float:
    found = text.number(word, line, what)
    if found <= 0:
        raise text.error(f"{what} must be positive, not {word}", line)
    return found


def _count(text: Words, words: Sequence[str], line: int) -> tuple[int, int]:
    if len(words) < 2 or not words[1].isdecimal():
        raise text.error(f"{words[0]} wants a whole number", line)
    return int(words[1]), line


def _places(text: Words, index: Mapping[str, int]) -> dict[str, _Place]:
    """Return where a file has blocks and pads; sizes that it does not tell are not a number."""
    found: dict[str, _Place] = {}
    for line, words in text.lines("UCLA"):
        name = words[0]
        if name not in index:
            raise text.error(f"block '{name}' is unknown", line)
        if name in found:
            raise text.error(f"{name} is there twice", line)
        if len(words) < 3:
            raise text.error("expected: name x y : orientation", line)
        x, y = text.number(words[1], line, "x"), text.number(words[2], line, "y")
        rest = " ".join(words[3:]).translate(str.maketrans("(),=", "    ")).split()
        wide = high = math.nan
        if rest and rest[0].upper() == "DIMS":
            if len(rest) < 3:
                raise text.error("expected: DIMS = (width, height)", line)
            wide = _positive(text, rest[1], line, f"width of block {name}")
            high = _positive(text, rest[2], line, f"height of block {name}")
            rest = rest[3:]
        turn = rest[0].upper() if rest and not rest[0].startswith("/") else "N"
        if turn not in ORIENTATIONS:
            raise text.error(f"'{turn}' is no orientation: {', '.join(ORIENTATIONS)}", line)
        found[name] = _Place(x, y, wide, high, ORIENTATIONS.index(turn))
    return found


def _pads(text: Words, names: Sequence[str], pads: Sequence[str]) -> Any:
    """Return where a .pl file has the pads, (pads, 2)."""
    places = _places(text, dict.fromkeys([*names, *pads], 0))
    missing = [name for name in pads if name not in places]
    if missing:
        raise text.error(f"{len(missing)} terminals have no place, {missing[0]} among them")
    return np.array([places[name][:2] for name in pads], float).reshape(-1, 2)


def _no_nets() -> dict[str, Any]:
    none = np.zeros(0)
    start = np.zeros(1, np.int64)
    return {"net_names": [], "start": start, "member": start[:0], "dx": none, "dy": none}


def _nets(text: Words, index: Mapping[str, int], shapes: Any) -> dict[str, Any]:
    counts: dict[str, tuple[int, int]] = {}
    names: list[str] = []
    start, member, offsets = list[int](), list[int](), list[tuple[float, float]]()
    wanted, opened = 0, 0
    for line, words in text.lines("UCLA"):
        if words[0] in _COUNTS:
            counts[words[0]] = _count(text, words, line)
        elif words[0] == "NetDegree":
            _check_degree(text, wanted, len(member) - (start[-1] if start else 0), opened)
            wanted, opened = _count(text, words, line)
            start.append(len(member))
            names.append(words[2] if len(words) > 2 else f"net{len(names)}")
        elif not names:
            raise text.error("a pin before any NetDegree", line)
        elif words[0] not in index:
            raise text.error(f"net {names[-1]} names the unknown block '{words[0]}'", line)
        else:
            at = index[words[0]]
            member.append(at)
            size = shapes[at, :2] if at < len(shapes) else None
            offsets.append(_offset(text, words, line, size))
    _check_degree(text, wanted, len(member) - (start[-1] if start else 0), opened)
    text.check("NumNets", counts, len(names))
    text.check("NumPins", counts, len(member))
    where = np.array(offsets, float).reshape(-1, 2)
    return {
        "net_names": names,
        "start": np.array([*start, len(member)] if names else [0], np.int64),
        "member": np.array(member, np.int64),
        "dx": where[:, 0].copy(),
        "dy": where[:, 1].copy(),
    }


def _check_degree(text: Words, wanted: int, found: int, opened: int) -> None:
    if found != wanted:
        raise text.error(f"NetDegree is {wanted}, but the net has {found} pins", opened)


def _offset(text: Words, words: Sequence[str], line: int, size: Any) -> tuple[float, float]:
    """Return a pin's offset from the middle as shares of its block's size; of a pad there is none.

    The direction before it may be missing, and so may the offset.
    """
    rest = words[2:] if len(words) > 1 and words[1].isalpha() else words[1:]
    if not rest or size is None:
        return 0.0, 0.0
    if len(rest) < 2:
        raise text.error("expected: block direction : %dx %dy", line)
    dx, dy = (text.number(word.lstrip("%"), line, "offset") for word in rest[:2])
    if rest[0].startswith("%"):
        return dx / 100, dy / 100
    return dx / size[0], dy / size[1]


def _blocks_text(blocks: Blocks) -> str:
    soft = blocks.soft
    lines = [
        f"UCSC blocks 1.0\n\n{_SOFT} : {soft.sum()}\n{_HARD} : {(~soft).sum()}\n"
        f"NumTerminals : {len(blocks.pad_names)}\n\n"
    ]
    columns = (blocks.width, blocks.height, blocks.least, blocks.most)
    for name, bends, w, h, least, most in zip(
        blocks.names, soft.tolist(), *(column.tolist() for column in columns), strict=True
    ):
        if bends:
            lines.append(f"{name} softrectangular {w * h:.15g} {least:.15g} {most:.15g}\n")
        else:
            corners = f"(0, 0) (0, {h:.15g}) ({w:.15g}, {h:.15g}) ({w:.15g}, 0)"
            lines.append(f"{name} hardrectilinear 4 {corners}\n")
    return "".join(lines + [f"{name} terminal\n" for name in blocks.pad_names])


def _nets_text(blocks: Blocks) -> str:
    lines = [f"UCLA nets 1.0\n\nNumNets : {blocks.num_nets}\nNumPins : {blocks.num_pins}\n"]
    names = [*blocks.names, *blocks.pad_names]
    pins = zip(blocks.member.tolist(), blocks.dx.tolist(), blocks.dy.tolist(), strict=True)
    for name, degree in zip(blocks.net_names, np.diff(blocks.start).tolist(), strict=True):
        lines.append(f"NetDegree : {degree} {name}\n")
        for _ in range(degree):
            member, dx, dy = next(pins)
            where = f" : %{100 * dx:.15g} %{100 * dy:.15g}" if dx or dy else ""
            lines.append(f"{names[member]} B{where}\n")
    return "".join(lines)
