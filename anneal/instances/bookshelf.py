"""Bookshelf: a netlist in .aux, .nodes, .nets, .wts and .scl files, a placement in a .pl file.

Read as tolerantly as what is found asks for: headers and counts may be missing, pads may lack
``/FIXED``, files may be compressed. Pin offsets are from the middle of the cell. Errors are
:class:`~anneal.errors.InputError` with file and line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anneal.files import Pathlike, write_text
from anneal.instances.words import Words
from anneal.placement.netlist import ORIENTATIONS, Netlist, Placement, SiteRows

KINDS = ("nodes", "nets", "pl", "scl")
_TERMINALS = ("terminal", "terminal_ni")


def read(path: Pathlike) -> Netlist:
    """Return the netlist of an .aux file, with the placement that its .pl file gives.

    Raises :class:`~anneal.errors.InputError` for what is missing, malformed or contradicts itself.
    """
    files = _files(Path(path))
    nodes = _nodes(Words(files["nodes"]))
    index = {name: at for at, name in enumerate(nodes["names"])}
    nets = _nets(Words(files["nets"]), index)
    weight = np.ones(len(nets["net_names"]))
    if "wts" in files:
        _weights(Words(files["wts"]), nets["net_names"], weight)
    placement, fixed = _placement(Words(files["pl"]), index)
    nodes["movable"] &= ~fixed
    rows = _rows(Words(files["scl"]))
    return Netlist(**nodes, **nets, weight=weight, rows=rows, given=placement)


def read_placement(path: Pathlike, netlist: Netlist) -> Placement:
    """Return the placement of a .pl file; cells that it does not name are where the netlist has
    them.

    Raises :class:`~anneal.errors.InputError` for a cell that the netlist does not have.
    """
    index = {name: at for at, name in enumerate(netlist.names)}
    return _placement(Words(path), index, start=netlist.given)[0]


def write_placement(path: Pathlike, netlist: Netlist, placement: Placement) -> None:
    """Write a .pl file, whole or not at all."""
    where = zip(
        netlist.names,
        placement.x.tolist(),
        placement.y.tolist(),
        placement.orientation.tolist(),
        netlist.movable.tolist(),
        strict=True,
    )
    lines = [
        f"{name} {x:.15g} {y:.15g} : {ORIENTATIONS[turn]}{'' if free else ' /FIXED'}\n"
        for name, x, y, turn, free in where
    ]
    write_text(path, "UCLA pl 1.0\n\n" + "".join(lines))


def write(path: Pathlike, netlist: Netlist, placement: Placement | None = None) -> None:
    """Write an .aux file and, beside it, the files that it names; the .aux comes last."""
    base = Path(path)
    names = {kind: base.with_suffix(f".{kind}") for kind in ("nodes", "nets", "wts", "pl", "scl")}
    write_text(names["nodes"], _nodes_text(netlist))
    write_text(names["nets"], _nets_text(netlist))
    weights = zip(netlist.net_names, netlist.weight.tolist(), strict=True)
    text = "".join(f"{name} {weight:.15g}\n" for name, weight in weights)
    write_text(names["wts"], f"UCLA wts 1.0\n\n{text}")
    write_placement(names["pl"], netlist, placement or netlist.given)
    write_text(names["scl"], _rows_text(netlist.rows))
    listed = " ".join(file.name for file in names.values())
    write_text(base, f"RowBasedPlacement : {listed}\n")


def _files(path: Path) -> dict[str, Path]:
    """Return the files that an .aux file names, by kind."""
    text = Words(path)
    found: dict[str, Path] = {}
    for _, words in text.lines():
        for word in words[1:]:
            plain = word.removesuffix(".gz")
            found[plain.rpartition(".")[2].lower()] = path.parent / word
    missing = [kind for kind in KINDS if kind not in found]
    if missing:
        raise text.error(f"names no .{missing[0]} file")
    return found


def _nodes(text: Words) -> dict[str, Any]:
    counts: dict[str, tuple[int, int]] = {}
    names: dict[str, int] = {}
    sizes: list[tuple[float, float]] = []
    kinds: list[str] = []
    for line, words in text.lines("UCLA"):
        if words[0] in ("NumNodes", "NumTerminals"):
            counts[words[0]] = _count(text, words, line)
            continue
        if names.setdefault(words[0], line) != line:
            raise text.error(f"cell {words[0]} is there twice", line)
        numbers = words[1:3]
        if len(numbers) < 2 or len(words) > 4:
            raise text.error("expected: name width height [terminal]", line)
        size = text.number(numbers[0], line, "width"), text.number(numbers[1], line, "height")
        if min(size) < 0:
            raise text.error(f"cell {words[0]} has a negative size", line)
        kind = words[3].lower() if len(words) == 4 else ""
        if kind and kind not in _TERMINALS:
            raise text.error(f"'{words[3]}' is not known; only terminal and terminal_NI are", line)
        sizes.append(size)
        kinds.append(kind)
    if not names:
        raise text.error("holds no cells")
    text.check("NumNodes", counts, len(names))
    text.check("NumTerminals", counts, sum(map(bool, kinds)))
    shape = np.array(sizes)
    return {
        "names": list(names),
        "width": shape[:, 0].copy(),
        "height": shape[:, 1].copy(),
        "movable": np.array([not kind for kind in kinds]),
        "blocks": np.array([kind != "terminal_ni" for kind in kinds]),
    }


def _nets(text: Words, index: Mapping[str, int]) -> dict[str, Any]:
    counts: dict[str, tuple[int, int]] = {}
    names: list[str] = []
    start, cells, offsets = [0], list[int](), list[tuple[float, float]]()
    wanted, opened = 0, 0
    for line, words in text.lines("UCLA"):
        if words[0] in ("NumNets", "NumPins"):
            counts[words[0]] = _count(text, words, line)
        elif words[0] == "NetDegree":
            _check_degree(text, wanted, len(cells) - start[-1], opened)
            if names:
                start.append(len(cells))
            wanted, opened = _count(text, words, line)
            names.append(words[2] if len(words) > 2 else f"net{len(names)}")
        else:
            if not names:
                raise text.error("a pin before any NetDegree", line)
            if words[0] not in index:
                raise text.error(f"net {names[-1]} names the unknown cell '{words[0]}'", line)
            cells.append(index[words[0]])
            offsets.append(_offset(text, words, line))
    _check_degree(text, wanted, len(cells) - start[-1], opened)
    if names:
        start.append(len(cells))
    text.check("NumNets", counts, len(names))
    text.check("NumPins", counts, len(cells))
    if len(set(names)) < len(names):
        raise text.error("two nets have one name")
    where = np.array(offsets, float).reshape(-1, 2)
    return {
        "net_names": names,
        "start": np.array(start, np.int64),
        "cell": np.array(cells, np.int64),
        "dx": where[:, 0].copy(),
        "dy": where[:, 1].copy(),
    }


def _check_degree(text: Words, wanted: int, found: int, opened: int) -> None:
    if found != wanted:
        raise text.error(f"NetDegree is {wanted}, but the net has {found} pins", opened)


def _offset(text: Words, words: list[str], line: int) -> tuple[float, float]:
    """Return a pin's offset; the direction before it may be missing, and so may the offset."""
    rest = words[2:] if len(words) > 1 and words[1].isalpha() else words[1:]
    if not rest:
        return 0.0, 0.0
    if len(rest) < 2:
        raise text.error("expected: cell direction : dx dy", line)
    return text.number(rest[0], line, "offset"), text.number(rest[1], line, "offset")


def _count(text: Words, words: list[str], line: int) -> tuple[int, int]:
    if len(words) < 2 or not words[1].isdecimal():
        raise text.error(f"{words[0]} wants a whole number", line)
    return int(words[1]), line


def _weights(text: Words, names: list[str], weight: Any) -> None:
    """Take over the weights of nets; those of cells, which some files have, are left."""
    index = {name: at for at, name in enumerate(names)}
    for line, words in text.lines("UCLA"):
        if len(words) > 1 and words[0] in index:
            weight[index[words[0]]] = text.number(words[1], line, "weight")


def _placement(
    text: Words, index: Mapping[str, int], start: Placement | None = None
) -> tuple[Placement, Any]:
    """Return where a file has the cells, and which of them it fixes there."""
    found = start.copy() if start else _nowhere(len(index))
    fixed = np.zeros(len(index), bool)
    seen: dict[str, int] = {}
    for line, words in text.lines("UCLA"):
        if words[0] not in index:
            raise text.error(f"cell '{words[0]}' is unknown", line)
        if seen.setdefault(words[0], line) != line:
            raise text.error(f"cell {words[0]} is there twice", line)
        if len(words) < 3:
            raise text.error("expected: cell x y : orientation", line)
        at = index[words[0]]
        found.x[at] = text.number(words[1], line, "x")
        found.y[at] = text.number(words[2], line, "y")
        rest = [word.upper() for word in words[3:]]
        fixed[at] = any(word.startswith("/FIXED") for word in rest)
        turns = [word for word in rest if not word.startswith("/")]
        if turns and turns[0] not in ORIENTATIONS:
            raise text.error(f"'{turns[0]}' is no orientation: {', '.join(ORIENTATIONS)}", line)
        found.orientation[at] = ORIENTATIONS.index(turns[0]) if turns else 0
    return found, fixed


def _nowhere(count: int) -> Placement:
    return Placement(np.zeros(count), np.zeros(count), np.zeros(count, np.int8))


_ROW = ("coordinate", "height", "sitewidth", "sitespacing")


def _rows(text: Words) -> SiteRows:
    """Return the rows; a row of several SubrowOrigin is as many."""
    found: list[tuple[float, float, float, float, int]] = []
    said: int | None = None
    row: dict[str, float] | None = None
    opened = count = 0
    for line, words in text.lines("UCLA"):
        key = words[0].lower()
        if key == "numrows":
            said = _count(text, words, line)[0]
        elif key == "corerow":
            row, opened, count = {}, line, count + 1
        elif row is None:
            raise text.error(f"'{words[0]}' outside of a row", line)
        elif key == "end":
            row = None
        elif key == "subroworigin":
            found.append(_subrow(text, words, row, line))
        elif key in _ROW:
            if len(words) < 2:
                raise text.error(f"{words[0]} wants a number", line)
            row[key] = text.number(words[1], line, words[0])
    if row is not None:
        raise text.error("the last row has no End", opened)
    if said is not None and said != count:
        raise text.error(f"NumRows is {said:,}, but there are {count:,}")
    if not found:
        raise text.error("holds no rows")
    x, y, height, site, num = map(np.array, zip(*found, strict=True))
    return SiteRows(x, y, height, site, num)


def _subrow(
    text: Words, words: list[str], row: Mapping[str, float], line: int
) -> tuple[float, float, float, float, int]:
    if len(words) < 4 or words[2].lower() != "numsites":
        raise text.error("expected: SubrowOrigin : x NumSites : number", line)
    for key in ("coordinate", "height"):
        if key not in row:
            raise text.error(f"a subrow before the row's {key}", line)
    x, sites = text.number(words[1], line, "x"), text.number(words[3], line, "NumSites")
    site = row.get("sitespacing", row.get("sitewidth", 1.0))
    if sites != int(sites) or sites < 1 or site <= 0 or row["height"] <= 0:
        raise text.error("a row wants a height, and sites of some width", line)
    return x, row["coordinate"], row["height"], site, int(sites)


def _nodes_text(netlist: Netlist) -> str:
    lines = [f"NumNodes : {len(netlist.names)}\nNumTerminals : {int((~netlist.movable).sum())}\n"]
    columns = (netlist.names, netlist.width.tolist(), netlist.height.tolist())
    kinds = np.where(netlist.movable, "", np.where(netlist.blocks, " terminal", " terminal_NI"))
    for name, width, height, kind in zip(*columns, kinds.tolist(), strict=True):
        lines.append(f"{name} {width:.15g} {height:.15g}{kind}\n")
    return "UCLA nodes 1.0\n\n" + "".join(lines)


def _nets_text(netlist: Netlist) -> str:
    lines = [f"NumNets : {netlist.num_nets}\nNumPins : {netlist.num_pins}\n"]
    pins = zip(netlist.cell.tolist(), netlist.dx.tolist(), netlist.dy.tolist(), strict=True)
    for name, degree in zip(netlist.net_names, np.diff(netlist.start).tolist(), strict=True):
        lines.append(f"NetDegree : {degree} {name}\n")
        for _ in range(degree):
            cell, dx, dy = next(pins)
            lines.append(f"  {netlist.names[cell]} B : {dx:.15g} {dy:.15g}\n")
    return "UCLA nets 1.0\n\n" + "".join(lines)


def _rows_text(rows: SiteRows) -> str:
    columns = (rows.y, rows.height, rows.site, rows.x, rows.num_sites)
    lines = [
        f"CoreRow Horizontal\n  Coordinate : {y:.15g}\n  Height : {height:.15g}\n"
        f"  Sitewidth : {site:.15g}\n  Sitespacing : {site:.15g}\n"
        f"  SubrowOrigin : {x:.15g} NumSites : {sites}\nEnd\n"
        for y, height, site, x, sites in zip(*(part.tolist() for part in columns), strict=True)
    ]
    return f"UCLA scl 1.0\n\nNumRows : {len(rows)}\n\n" + "".join(lines)
