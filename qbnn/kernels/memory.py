"""Memory that goes round and round in a training."""

from __future__ import annotations

import ctypes
import sys

# Numbers of parameters of mallopt(3), and the largest value that glibc takes for the first.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST = -1, -3, 1 << 25


def keep_freed_memory() -> bool:
    """Have glibc keep freed blocks of up to 32 MiB for the next step; return whether it does.

    A training step frees what the next one asks for. By default large blocks go back to the
    system, which then has to hand out and to clear every page again: about a third of a step. It
    holds for the whole process, whose memory then shrinks only when it ends. Without glibc nothing
    happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
