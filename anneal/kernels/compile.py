"""How every kernel is compiled: without the GIL, cached where a cache can be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _stamp(folder: Path) -> tuple[tuple[float, int], ...]:
    """Time and size of every kernel source in ``folder``."""
    stats = (path.stat() for path in sorted(folder.glob("*.py")))
    return tuple((stat.st_mtime, stat.st_size) for stat in stats)


FOLDER = Path(__file__).parent
STAMP = _stamp(FOLDER)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile with numba, cached beside the source, else in the user's cache folder, else not at
    all.

    numba raises where it finds no folder to write to (a read-only installation without a home); the
    kernel then compiles anew in each process. numba takes a cached kernel for stale when its own
    file has changed; kernels are built from the other files here and beside them, so the stamp is
    that of all of these.
    """
    try:
        compiled = numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:
        return numba.njit(function, nogil=True, error_model="numpy")
    cache_file: Any = getattr(compiled._cache, "_cache_file", None)
    if hasattr(cache_file, "_source_stamp"):
        folder = Path(function.__code__.co_filename).parent
        cache_file._source_stamp = STAMP if folder == FOLDER else STAMP + _stamp(folder)
    return compiled


def inlined(function: Callable[..., Any]) -> Any:
    """A helper that is compiled into the kernels that call it."""
    return numba.njit(function, nogil=True, inline="always", error_model="numpy")
