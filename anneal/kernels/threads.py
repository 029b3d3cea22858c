"""Rows of one call shared among threads: kernels release the GIL.

Where torch computes with GNU's OpenMP, parts run on its own threads. Those wait for their next work
in a loop that keeps a core busy for milliseconds; other threads would have to share it with them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path

from anneal.errors import InputError

MICROSECONDS_PER_THREAD = 200.0  # below that, waking a thread takes longer than it saves
MOST_THREADS = 256
REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # what every thread of an OpenMP team runs


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
    left = deque(pairwise(edges))
    failures: list[BaseException] = []

    def take() -> None:
        """Work on parts until there are none, or one fails."""
        while not failures:
            try:
                part = left.popleft()
            except IndexError:
                return
            try:
                work(*part)
            except BaseException as error:  # It cannot pass through foreign code.
                failures.append(error)

    team = _openmp_team() if "torch" in sys.modules else None
    (team or _pool_team)(take, parts)
    if failures:
        raise failures[0]


def _num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


Team = Callable[[Callable[[], None], int], None]


@functools.cache
def _openmp_team() -> Team | None:
    """Return what runs a function in each thread of a team of torch's OpenMP, if that is GNU's."""
    loaded = getattr(os, "RTLD_NOLOAD", None)  # Windows has none.
    folder = Path(str(sys.modules["torch"].__file__)).parent
    found = [*folder.glob("lib/libgomp*.so*"), *folder.parent.glob("torch.libs/libgomp*.so*")]
    if loaded is None or not found:
        return None
    try:
        parallel = ctypes.CDLL(str(found[0]), mode=loaded).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None

    def run(function: Callable[[], None], num_threads: int) -> None:
        parallel(REGION(lambda _: function()), None, num_threads, 0)

    return run


def _pool_team(function: Callable[[], None], num_threads: int) -> None:
    """Run a function here and in other threads, those of a pool that stays."""
    helpers = [_pool(os.getpid()).submit(function) for _ in range(num_threads - 1)]
    function()
    running = [helper for helper in helpers if not helper.cancel()]
    try:
        wait(running)
    finally:  # An interrupt leaves nobody behind who writes.
        wait(running)


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the pool of a process: a fork has none of its parent's threads."""
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="rows")
