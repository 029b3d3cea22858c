"""Compiled networks in safetensors files: arrays, and a JSON text that says of what. No torch."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes
from anneal.records import canonical_json

VERSION = 1
Arrays = Mapping[str, NDArray[Any]]
Document = Mapping[str, Any]


class Compiled(NamedTuple):
    """What a file holds: arrays, and what they are."""

    arrays: dict[str, NDArray[Any]]
    document: dict[str, Any]


def write_compiled(path: Pathlike, kind: str, arrays: Arrays, document: Document) -> int:
    """Write arrays and a document, whole or not at all, and return the number of bytes.

    Raises :class:`~anneal.errors.InputError` where the file cannot be written.
    """
    from safetensors.numpy import save

    body = {"format": f"qbnn-{kind}", "version": VERSION, **document}
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    words = {"qbnn": canonical_json(body), "checksum": str(checksum(plain, body))}
    data = save(plain, words)
    write_bytes(path, data)
    return len(data)


def read_compiled(path: Pathlike, kind: str) -> Compiled:
    """Return what :func:`write_compiled` wrote as this kind.

    Raises :class:`~anneal.errors.InputError` naming the file: missing, cut short, changed, of
    another kind or version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_bytes(path)
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        words = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        reason = f"not a whole safetensors file, or cut short: {error}"
        raise InputError(reason, path=path) from None
    try:
        body = json.loads(words["qbnn"])
        name, version, right = body["format"], body["version"], words["checksum"]
    except (KeyError, TypeError, ValueError):
        raise InputError("a safetensors file, but no compiled network", path=path) from None
    if (name, version) != (f"qbnn-{kind}", VERSION):
        reason = f"holds '{name}' of version {version}, not 'qbnn-{kind}' of version {VERSION}"
        raise InputError(reason, path=path)
    if right != str(checksum(arrays, body)):
        raise InputError("damaged: it does not hold what was written", path=path)
    return Compiled(arrays, body)


def checksum(arrays: Arrays, document: Document) -> int:
    """Return a CRC-32 of arrays, their names and a document.

    >>> checksum({"a": np.zeros(1)}, {}) == checksum({"b": np.zeros(1)}, {})
    False
    """
    found = zlib.crc32(canonical_json(document).encode())
    for name, array in sorted(arrays.items()):
        found = zlib.crc32(name.encode(), found)
        found = zlib.crc32(array.tobytes(), found)
    return found
