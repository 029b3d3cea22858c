"""Work in a fresh process: what it crashes, prints or keeps in memory is its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

from anneal.errors import InputError

Found = TypeVar("Found")


class Clock(NamedTuple):
    """Seconds of wall time, and of CPU time in all threads of the process."""

    seconds: float
    cpu_seconds: float


def clocked(work: Callable[[], Found]) -> tuple[Found, Clock]:
    """Return what ``work`` returns, and how long it took.

    >>> clocked(lambda: 3)[0]
    3
    """
    began, worked = time.perf_counter(), time.process_time()
    found = work()
    return found, Clock(time.perf_counter() - began, time.process_time() - worked)


def apart(function: Callable[..., Found], *arguments: Any) -> Found:
    """Return ``function(*arguments)``, called in a process of its own whose prints are dropped.

    Ctrl-C ends that process. Raises :class:`~anneal.errors.InputError` as the function does, and
    ``RuntimeError`` where the process ends otherwise.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(there, function, arguments), daemon=True)
    child.start()
    there.close()
    try:
        error, found = here.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"{function.__name__} ended with exit code {child.exitcode}") from None
    finally:
        # Some libraries' threads would keep a process that is done.
        child.terminate()
        child.join()
    if error is not None:
        raise InputError(error)
    result: Found = found
    return result


def _work(there: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Compiled code writes past sys.stdout.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        there.send((None, function(*arguments)))
    except InputError as error:
        there.send((str(error), None))
