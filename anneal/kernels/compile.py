"""How every kernel is compiled: without the GIL, cached where a cache can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Any:
    """Compile with numba, cached beside the source, else in the user's cache folder, else not at all.

    numba raises where it finds no folder to write to (a read-only installation without a home); the kernel then
    compiles anew in each process.
    """
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:
        return numba.njit(function, nogil=True, error_model="numpy")


def inlined(function: Callable[..., Any]) -> Any:
    """A helper that is compiled into the kernels that call it."""
    return numba.njit(function, nogil=True, inline="always", error_model="numpy")
