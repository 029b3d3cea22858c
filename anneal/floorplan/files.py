"""Blocks from a file of any format that is known."""

from __future__ import annotations

from pathlib import Path

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.floorplan.blocks import Blocks
from anneal.instances import gsrc, yal

READERS = {".blocks": gsrc.read, ".yal": yal.read}


def read(path: Pathlike) -> Blocks:
    """Return the blocks of a GSRC .blocks or a .yal file, compressed or not.

    Raises :class:`~anneal.errors.InputError` for what is malformed, and any other name.
    """
    if not has_blocks(path):
        raise InputError(f"expected a file of {' or '.join(READERS)}", path=path)
    return READERS[_suffix(path)](path)


def has_blocks(path: Pathlike) -> bool:
    """Return whether a file is one of blocks, by its name.

    >>> has_blocks("n100.blocks.gz"), has_blocks("ibm01.aux")
    (True, False)
    """
    return _suffix(path) in READERS


def _suffix(path: Pathlike) -> str:
    return Path(Path(path).name.removesuffix(".gz")).suffix.lower()
