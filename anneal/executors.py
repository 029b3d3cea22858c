"""Where tasks run: in threads, in processes or on a Dask cluster."""

from __future__ import annotations

import abc
import math
import os
import queue
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from multiprocessing import connection, get_context
from types import TracebackType
from typing import Any

from anneal.errors import InputError
from anneal.registry import resolve
from anneal.sampler import available_threads

Stop = Callable[[], bool]
POLL = 0.1  # seconds between two looks whether to stop
GRACE = 5.0  # seconds for workers that were interrupted to hand over what they have
CONNECT = 10  # seconds for a scheduler to answer
TRIES = 2  # of a task whose worker dies


class WorkerDied(RuntimeError):
    """The worker of a task died each time that it was tried."""


class Executor(abc.ABC):
    """Runs tasks on ``num_workers`` workers; a context manager that ends them.

    A function and its items must be picklable for workers in other processes.
    """

    num_workers: int

    @abc.abstractmethod
    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], *, stopped: Stop = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        """Yield (index, ``function(items[index])``) as they come, until ``stopped()``.

        A task whose worker dies costs no other and is tried once more; if it dies again, a
        :class:`WorkerDied` stands for its result. Raises what the function raises.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """End the workers."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class Threads(Executor):
    """Threads of this process: kernels release the GIL."""

    def __init__(self, num_workers: int, scheduler: str | None = None) -> None:
        self.num_workers = num_workers

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], *, stopped: Stop = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        """Tasks that have begun when it is stopped are waited for, and dropped."""
        with ThreadPoolExecutor(self.num_workers) as pool:
            left = {pool.submit(function, item): index for index, item in enumerate(items)}
            try:
                while left and not stopped():
                    for future in wait(left, POLL, FIRST_COMPLETED).done:
                        yield left.pop(future), future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Nothing: each run has threads of its own."""


class Processes(Executor):
    """Processes of this machine, each with one task at a time; Ctrl-C reaches what they run."""

    def __init__(self, num_workers: int, scheduler: str | None = None) -> None:
        self.num_workers = num_workers
        self.context = get_context("spawn")
        self.idle: list[_Worker] = []

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], *, stopped: Stop = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        """Once stopped, workers are interrupted as by Ctrl-C, and what they still return counts."""
        waiting, deaths = deque(range(len(items))), Counter[int]()
        busy: dict[Any, tuple[_Worker, int]] = {}
        until = math.inf
        try:
            while busy or waiting:
                if stopped() and until == math.inf:
                    waiting.clear()
                    until = time.monotonic() + GRACE
                    for worker, _ in busy.values():
                        worker.interrupt()
                if time.monotonic() > until:
                    return
                while waiting and len(busy) < self.num_workers:
                    index = waiting.popleft()
                    worker = self.idle.pop() if self.idle else _Worker(self.context)
                    busy[worker.pipe] = worker, index
                    worker.give(function, items[index])
                for pipe in connection.wait(list(busy), POLL):
                    worker, index = busy.pop(pipe)
                    try:
                        result, error = worker.take()
                    except (EOFError, OSError):
                        worker.end()
                        deaths[index] += 1
                        if until < math.inf:
                            continue
                        if deaths[index] < TRIES:
                            waiting.appendleft(index)
                            continue
                        result, error = WorkerDied(f"the worker died, {TRIES} times"), None
                    else:
                        self.idle.append(worker)
                    if error is not None:
                        raise error
                    yield index, result
        finally:
            for worker, _ in busy.values():
                worker.end()

    def close(self) -> None:
        """End the workers at once."""
        while self.idle:
            self.idle.pop().end()


class _Worker:
    """A process that waits for tasks at a pipe."""

    def __init__(self, context: Any) -> None:
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there,), daemon=True)
        self.process.start()
        there.close()

    def give(self, function: Callable[[Any], Any], item: Any) -> None:
        self.pipe.send((function, item))

    def take(self) -> tuple[Any, Exception | None]:
        answer: tuple[Any, Exception | None] = self.pipe.recv()
        return answer

    def interrupt(self) -> None:
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Any) -> None:
    """Answer each task with (result, None) or (None, error), until the pipe is closed."""
    if hasattr(os, "setsid"):
        os.setsid()  # a terminal's Ctrl-C comes by way of the parent, once
    # A parent that runs in the background ignores it, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while True:
        try:
            function, item = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = function(item), None
        except KeyboardInterrupt:
            return
        except Exception as error:
            answer = None, error
        try:
            pipe.send(answer)
        except (TypeError, AttributeError) as error:  # what cannot be pickled
            pipe.send((None, RuntimeError(f"{answer[1] or answer[0]!r} cannot be sent: {error}")))


class Dask(Executor):
    """A Dask cluster: the one of a scheduler's address, or one of processes on this machine.

    A scheduler tries a task whose worker died as often as it is set to (three times; here twice).
    """

    def __init__(self, num_workers: int, scheduler: str | None = None) -> None:
        try:
            import dask
            import distributed
        except ImportError as error:
            raise InputError("no Dask here: pip install 'qbnn[dask]'") from error
        self.cluster = None
        if scheduler is None:
            # A death counts for every task that the worker has been given: so one at a time.
            settings = {"allowed-failures": TRIES - 1, "worker-saturation": 1.0}
            settings = {f"distributed.scheduler.{key}": value for key, value in settings.items()}
            with dask.config.set(settings):
                self.cluster = distributed.LocalCluster(
                    n_workers=num_workers, threads_per_worker=1, host="127.0.0.1",
                    dashboard_address="127.0.0.1:0", silence_logs="CRITICAL",
                )  # fmt: skip
        try:
            self.client = distributed.Client(self.cluster or scheduler, timeout=CONNECT)
        except (OSError, ValueError) as error:
            raise InputError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        self.num_workers = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], *, stopped: Stop = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        """Once stopped, what has not finished is cancelled. Raises ``ConnectionError`` where the
        scheduler is gone.
        """
        from distributed.scheduler import KilledWorker

        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = self.client.map(function, list(items), pure=False)
        left = {future.key: index for index, future in enumerate(futures)}
        for future in futures:
            future.add_done_callback(finished.put)
        try:
            while left and not stopped():
                try:
                    future = finished.get(timeout=POLL)
                except queue.Empty:
                    if self.client.status != "running":
                        raise ConnectionError("the Dask scheduler is gone") from None
                    continue
                if future.status in ("pending", "lost"):  # with its worker, and comes again
                    future.add_done_callback(finished.put)
                    continue
                if future.status not in ("finished", "error"):
                    raise ConnectionError("the Dask scheduler is gone")
                error = future.exception()
                if isinstance(error, KilledWorker):
                    yield left.pop(future.key), WorkerDied(str(error).splitlines()[0])
                elif error is not None:
                    raise error
                else:
                    yield left.pop(future.key), future.result()
        finally:
            if left and self.client.status == "running":
                self.client.cancel(futures)

    def close(self) -> None:
        """Leave the cluster, and end it where it is ours."""
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()


EXECUTORS = {
    "threads": "anneal.executors:Threads",
    "processes": "anneal.executors:Processes",
    "dask": "anneal.executors:Dask",
}


def open_executor(
    name: str, *, num_workers: int | None = None, scheduler: str | None = None
) -> Executor:
    """Return the executor of a name, to be used in a ``with`` block.

    num_workers: default all cores; a scheduler has its own. scheduler: address of a Dask scheduler,
    such as ``tcp://10.0.0.1:8786``. Raises :class:`~anneal.errors.InputError` for an unknown name,
    for a scheduler without Dask and where none answers.

    >>> with open_executor("threads", num_workers=2) as executor:
    ...     sorted(executor.run(abs, [-1, -2]))
    [(0, 1), (1, 2)]
    """
    if scheduler is not None and name != "dask":
        raise InputError(f"a scheduler is Dask's: take executor 'dask', not '{name}'")
    kind = resolve(EXECUTORS, name, kind="executor")
    if num_workers is not None and num_workers < 1:
        raise InputError(f"num_workers must be at least 1, is {num_workers}")
    executor: Executor = kind(num_workers or available_threads(), scheduler)
    return executor
