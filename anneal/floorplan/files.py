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
    name = Path(path).name.removesuffix(".gz")
    suffix = Path(name).suffix.lower()
    if suffix not in READERS:
        raise InputError(f"expected a file of {' or '.join(READERS)}", path=path)
    return READERS[suffix](path)
