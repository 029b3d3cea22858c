"""Rows of one call shared among threads: kernels release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from anneal.errors import InputError

MICROSECONDS_PER_THREAD = 500.0  # below that, starting a thread takes longer than it saves


def over_rows(
    work: Callable[[int, int], None],
    num_rows: int,
    *,
    microseconds: float,
    num_threads: int | None = None,
) -> None:
    """Call ``work(start, stop)`` on parts of ``range(num_rows)``, side by side.

    microseconds: about what a row takes; a call with little work is not split. num_threads: at
    most so many parts (default: the cores that this process may use). What a part raises is
    raised here.

    >>> over_rows(print, 3, microseconds=1.0, num_threads=2)
    0 3
    """
    if num_threads is not None and num_threads < 1:
        raise InputError(f"num_threads must be at least 1, is {num_threads}")
    parts = int(num_rows * microseconds / MICROSECONDS_PER_THREAD)
    if parts > 1:
        parts = min(parts, num_rows, num_threads or _num_cores())
    if parts <= 1:
        work(0, num_rows)
        return
    edges = [num_rows * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
