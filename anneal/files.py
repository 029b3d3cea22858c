"""Files read whole and written whole or not at all."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from pathlib import Path

from anneal.errors import InputError

Pathlike = str | os.PathLike[str]


def read_bytes(path: Pathlike) -> bytes:
    """Return the content of ``path``, decompressed where it starts with gzip's magic number.

    Raises :class:`~anneal.errors.InputError` where the file is missing, unreadable or a damaged
    gzip.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error), path=path) from error
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"damaged gzip: {error}", path=path) from error


def write_bytes(path: Pathlike, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it into place; compress where the name ends in
    ``.gz``.

    Raises :class:`~anneal.errors.InputError` where the folder is missing or cannot be written.
    """
    target = Path(path)
    if target.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    aside = None
    try:
        handle, aside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, target)
    except OSError as error:
        if aside is not None and os.path.exists(aside):
            os.unlink(aside)
        raise InputError(f"cannot write: {error.strerror or error}", path=path) from error


def write_text(path: Pathlike, text: str) -> None:
    """Write ``text`` as UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
