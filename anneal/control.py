"""Control: when one call to a solver has to stop, and what it has to tell meanwhile."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

Found = TypeVar("Found")
POLL_SECONDS = 0.05


class Control:
    """The time limit, the target and the best energy of one call, shared by its threads.

    A solver asks :meth:`stop` between pieces of work of a few milliseconds and tells
    :meth:`improve` the energies it finds. Energies here are those of the caller's BQM: ``offset``
    is added to the solver's own.
    """

    def __init__(
        self,
        *,
        time_limit: float | None = None,
        target_energy: float | None = None,
        offset: float = 0.0,
        started: float | None = None,
    ) -> None:
        self.started = time.perf_counter() if started is None else started
        self.time_limit = time_limit
        self.target_energy = -math.inf if target_energy is None else target_energy
        self.offset = offset
        self.best = math.inf
        self.done = 0.0
        self.trace: list[tuple[float, float]] = []
        self.info: dict[str, Any] = {}
        self.interrupted = False
        self._lock = threading.Lock()

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return time.perf_counter() - self.started

    def remaining(self) -> float:
        """Seconds left; infinity without a limit."""
        return math.inf if self.time_limit is None else self.time_limit - self.elapsed()

    def side_by_side(self, num_threads: int) -> int:
        """Populations where nobody said how many: one a thread against the clock, else one.

        Without a time limit the result may not depend on the number of threads.
        """
        return num_threads if self.time_limit is not None else 1

    def stop(self) -> bool:
        """True once the time is up, the target is reached or the call was interrupted."""
        return self.interrupted or self.best <= self.target_energy or self.remaining() <= 0

    def interrupt(self) -> None:
        """Ask the solver to return the best it has."""
        self.interrupted = True

    def improve(self, energy: float) -> None:
        """Note an energy (without the offset) that some state has reached."""
        energy += self.offset
        if energy < self.best:
            with self._lock:
                if energy < self.best:
                    self.best = float(energy)
                    self.trace.append((self.elapsed(), self.best))

    def fraction(self) -> float:
        """How much of the work is done, 0…1: by time where there is a limit, else as the solver
        last said.
        """
        if self.time_limit is None:
            return self.done
        return min(1.0, self.elapsed() / self.time_limit) if self.time_limit > 0 else 1.0


def supervise(
    work: Callable[[], Found],
    control: Control,
    interrupted: Callable[[], bool] | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Found:
    """Run ``work`` in a thread of its own while this one answers Ctrl-C and calls back.

    Ctrl-C, and ``interrupted`` once it is true, ask the work to return the best it has. progress:
    called about 20 times a second with (fraction done, best energy).
    """
    with ThreadPoolExecutor(1) as pool:
        future: Future[Found] = pool.submit(work)
        while not future.done():
            try:
                wait([future], timeout=POLL_SECONDS)  # a lock without timeout may not hear Ctrl-C
                if interrupted is not None and interrupted():
                    control.interrupt()
                if progress is not None:
                    progress(control.fraction(), control.best)
            except BaseException as error:
                control.interrupt()
                if not isinstance(error, KeyboardInterrupt):
                    raise
        return future.result()
