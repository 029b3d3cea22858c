"""dimod's binary BQM file, what ``bqm.to_file()`` gives (versions 1 and 2)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from anneal.errors import InputError
from anneal.instances.arrays import Qubo, check_size
from anneal.instances.bqm_json import check_bqm, load_json, parse_labels

if TYPE_CHECKING:
    import dimod

NAME = "bqm"
EXTENSIONS = (".bqm",)
DESCRIPTION = "BQM in dimod's binary file, with labels"
HOLDS = "bqm"
OPTIONS = ()

_MAGIC = b"DIMODBQM"
_BIASES = ("float32", "float64")
_INDICES = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


def sniff(data: bytes) -> bool:
    """Tell whether the data start with dimod's magic word."""
    return data.startswith(_MAGIC)


def parse(data: bytes) -> dimod.BinaryQuadraticModel:
    """Read a BQM with its labels.

    The layout is checked here rather than by dimod, whose reader trusts the indices in the file.

    Raises :class:`~anneal.errors.InputError` for anything malformed.

    >>> import dimod
    >>> bqm = dimod.BinaryQuadraticModel({"a": 1}, {"ab": -1}, 0.5, "SPIN")
    >>> parse(dump(bqm)) == bqm
    True
    """
    header, version, start = _header(data)
    shape = header.get("shape")
    if (
        not isinstance(shape, list)
        or [type(size) for size in shape] != [int, int]
        or min(shape) < 0
    ):
        raise InputError("the header's 'shape' is not two counts")
    size, num_pairs = shape
    check_size(size, "variables")
    bias = _type(header, "dtype", _BIASES)
    linear_type = np.dtype([("start", _type(header, "ntype", _INDICES)), ("bias", bias)])
    pair_type = np.dtype([("other", _type(header, "itype", _INDICES)), ("bias", bias)])
    middle = start + bias.itemsize + size * linear_type.itemsize
    stop = middle + 2 * num_pairs * pair_type.itemsize
    if stop > len(data):
        raise InputError(f"the file is cut short: {stop} bytes are promised, {len(data)} are there")
    offset = np.frombuffer(data, bias, 1, start)[0]
    linear = np.frombuffer(data, linear_type, size, start + bias.itemsize)
    pairs = np.frombuffer(data, pair_type, 2 * num_pairs, middle)
    i, j, value = _pairs(linear["start"].astype(np.int64), pairs)
    every = np.arange(size)
    return Qubo(
        size,
        np.concatenate([every, i]),
        np.concatenate([every, j]),
        np.concatenate([linear["bias"], value]).astype(np.float64),
        float(offset),
        str(header.get("vartype")),
        _labels(data[stop:], header.get("variables"), version),
    ).to_bqm()


def dump(instance: dimod.BinaryQuadraticModel) -> bytes:
    """Return the bytes of a BQM; raises where ``bqm_json.check_bqm`` does."""
    check_bqm(instance)
    with instance.to_file() as stream:
        return bytes(stream.read())


def _header(data: bytes) -> tuple[dict[str, Any], int, int]:
    """Return the header, the major version, and where the numbers start."""
    length = int.from_bytes(data[10:14], "little")
    if not sniff(data) or len(data) < 14 + length:
        raise InputError("this is no BQM file of dimod, or it is cut short")
    if data[8] not in (1, 2):
        raise InputError(f"version {data[8]} of dimod's BQM file is not known")
    header = load_json(data[14 : 14 + length])
    if not isinstance(header, dict):
        raise InputError("the header is not a JSON object")
    return header, data[8], 14 + length


def _type(header: dict[str, Any], key: str, known: tuple[str, ...]) -> Any:
    if header.get(key) not in known:
        raise InputError(f"the header's '{key}' is none of {', '.join(known)}")
    return np.dtype(header[key]).newbyteorder("<")


def _pairs(starts: np.ndarray[Any, Any], pairs: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    """Return (i, j, bias) of the lower triangle; raise unless the upper one agrees and both are
    sorted."""
    size, ends = len(starts), np.append(starts, len(pairs))
    if ends[0] != 0 or (np.diff(ends) < 0).any():
        raise InputError("the variables' neighbourhoods overlap")
    row = np.repeat(np.arange(size), np.diff(ends))
    column = pairs["other"].astype(np.int64)
    if ((column < 0) | (column >= size) | (column == row)).any():
        raise InputError(f"a variable interacts with itself or is outside 0 to {size - 1}")
    key = row * size + column
    lower = column < row
    mirrored = column[lower] * size + row[lower]
    order = np.argsort(mirrored)
    agree = np.array_equal(mirrored[order], key[~lower]) and np.array_equal(
        pairs["bias"][lower][order], pairs["bias"][~lower]
    )
    if not agree or (np.diff(key) <= 0).any():
        raise InputError("the two directions of the interactions differ")
    return row[lower], column[lower], pairs["bias"][lower]


def _labels(rest: bytes, named: Any, version: int) -> tuple[Hashable, ...] | None:
    """Return the labels, which version 1 keeps in the header and version 2 behind the numbers."""
    if version == 1:
        return parse_labels(named)
    if not named:
        return None
    length = int.from_bytes(rest[4:8], "little")
    if not rest.startswith(b"VARS") or len(rest) < 8 + length:
        raise InputError("the variables' labels are missing")
    return parse_labels(load_json(rest[8 : 8 + length]))
