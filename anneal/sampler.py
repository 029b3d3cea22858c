"""IsingSampler: the one adapter between dimod's calling rules and a search on Ising arrays."""

from __future__ import annotations

import abc
import inspect
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dimod
import numpy as np
from dimod.core.initialized import Initialized
from dimod.exceptions import SamplerUnknownArgWarning
from numpy.typing import NDArray

from anneal.control import Control, supervise
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.squares import Squares

Progress = Callable[[float, float], None]
SCORING = 2.5e-9  # seconds a sample and stored coupling, about, to score and hand over a sample


class IsingSampler(dimod.Sampler, Initialized):  # type: ignore[misc,name-defined]
    """A dimod sampler whose subclasses implement :meth:`search` alone.

    ``sample(bqm, **parameters)`` takes every keyword of neal and these:

    num_reads: samples returned. seed: 0 ≤ seed < 2³², or None. time_limit: seconds of wall time for
    the whole call. target_energy: stop once a sample is this low. interrupt_function: stop once it
    returns True. progress: called about 20 times a second with (fraction done, best energy).
    initial_states, initial_states_generator: as neal's. num_threads: threads to use (default all);
    with a seed and no time limit the samples do not depend on it.

    Callbacks run in the caller's thread. Ctrl-C ends the search, and the best so far is returned
    with ``info["interrupted"]``. ``info["timing"]`` has D-Wave's keys, ``info["trace"]`` the
    improvements as (seconds, energy). Raises InputError for NaN or infinite biases and for
    parameters out of range.
    """

    common = (
        "num_reads",
        "seed",
        "time_limit",
        "target_energy",
        "interrupt_function",
        "progress",
        "initial_states",
        "initial_states_generator",
        "num_threads",
        "num_sweeps",
        "num_sweeps_per_beta",
        "beta_range",
        "beta_schedule_type",
        "beta_schedule",
        "randomize_order",
        "proposal_acceptance_criteria",
    )

    default_reads = 1  # samples returned where num_reads is not given, about

    @abc.abstractmethod
    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        **parameters: Any,
    ) -> NDArray[np.int8]:
        """Minimise h_k·s + ½ sᵀJs for each row of h (m, n); return (m, reads, n) of ±1."""

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Keyword → properties that it depends on (none)."""
        own = [
            name
            for name, parameter in inspect.signature(self.search).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
            and name not in ("control", "rng", "initial")
        ]
        return {name: [] for name in dict.fromkeys([*self.common, *own])}

    @property
    def properties(self) -> dict[str, Any]:
        """What the sampler says of itself."""
        return {"seed_range": [0, 2**32 - 1]}

    def sample(
        self,
        bqm: dimod.BinaryQuadraticModel,
        *,
        num_reads: int | None = None,
        seed: int | np.random.Generator | None = None,
        time_limit: float | None = None,
        target_energy: float | None = None,
        interrupt_function: Callable[[], bool] | None = None,
        progress: Progress | None = None,
        initial_states: Any = None,
        initial_states_generator: str = "random",
        num_threads: int | None = None,
        **parameters: Any,
    ) -> dimod.SampleSet:
        """Sample a BQM; see the class for the keywords."""
        started = time.perf_counter()
        self._check(num_reads, time_limit, target_energy, num_threads)
        rng = generator(seed)
        ising = Ising.from_bqm(bqm)
        if "squares" in self.parameters:
            ising = with_squares(ising, parameters.get("squares"))
        if time_limit is not None:  # what scoring the samples will take is kept back
            time_limit -= (
                SCORING
                * (num_reads or self.default_reads)
                * (ising.num_spins + 2 * ising.num_couplings)
            )
        control = Control(
            time_limit=time_limit, target_energy=target_energy, offset=ising.offset, started=started
        )
        ising.energies(np.ones((1, ising.num_spins)))  # its kernel is loaded by now, not at the end
        initial = self._initial(bqm, initial_states, initial_states_generator, num_reads, rng)
        if initial is not None:
            num_reads = len(initial)
        given = {
            "num_reads": num_reads,
            "initial": initial,
            "num_threads": num_threads or available_threads(),
        }
        options = self._known({**parameters, **given})
        prepared = time.perf_counter()

        def work() -> NDArray[np.int8]:
            found = self.search(ising.h[None], ising.J, control=control, rng=rng, **options)
            return np.asarray(found[0])

        if ising.num_spins:
            states = supervise(work, control, interrupt_function, progress)
        else:
            states = np.empty((num_reads or 1, 0), np.int8)
        searched = time.perf_counter()
        return self._sample_set(bqm, ising, states, control, (started, prepared, searched))

    def _known(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """What search() takes of the caller's keywords; the unknown ones are warned about, as dimod
        asks.
        """
        taken = inspect.signature(self.search).parameters
        known = {*self.parameters, "initial"}
        for name in set(parameters) - known:
            warnings.warn(
                f"unknown parameter '{name}' is ignored", SamplerUnknownArgWarning, stacklevel=3
            )
        return {k: v for k, v in parameters.items() if k in taken and k in known and v is not None}

    @staticmethod
    def _check(num_reads: Any, time_limit: Any, target_energy: Any, num_threads: Any) -> None:
        check_counts(num_reads=num_reads, num_threads=num_threads)
        if time_limit is not None and not 0 <= time_limit < np.inf:
            raise InputError(f"time_limit must be a number of seconds, is {time_limit}")
        if target_energy is not None and np.isnan(target_energy):
            raise InputError("target_energy must be a number")

    def _initial(
        self,
        bqm: Any,
        states: Any,
        states_generator: Any,
        num_reads: int | None,
        rng: np.random.Generator,
    ) -> NDArray[np.int8] | None:
        if states is None and states_generator == "random":
            return None
        parsed = self.parse_initial_states(
            bqm, states, states_generator, num_reads, seed=int(rng.integers(2**31))
        )
        found = parsed.initial_states
        order = [found.variables.index(v) for v in bqm.variables]
        array = np.asarray(found.record.sample, dtype=np.int8)[:, order]
        return array if bqm.vartype is dimod.SPIN else (2 * array - 1).astype(np.int8)

    @staticmethod
    def _sample_set(
        bqm: Any,
        ising: Ising,
        states: NDArray[np.int8],
        control: Control,
        times: tuple[float, float, float],
    ) -> dimod.SampleSet:
        energies = ising.energies(states) if ising.num_spins else np.full(len(states), ising.offset)
        samples = states if bqm.vartype is dimod.SPIN else ((states + 1) // 2).astype(np.int8)
        started, prepared, searched = times
        info = {
            **control.info,
            "trace": _trace(control, float(energies.min())),
            "interrupted": control.interrupted,
            "timing": {
                "preprocessing_ns": int(1e9 * (prepared - started)),
                "sampling_ns": int(1e9 * (searched - prepared)),
                "postprocessing_ns": int(1e9 * (time.perf_counter() - searched)),
            },
        }
        found: dimod.SampleSet = dimod.SampleSet.from_samples(
            (samples, list(bqm.variables)),
            vartype=bqm.vartype,
            energy=energies,
            info=info,
            sort_labels=False,
        )
        return found


def _trace(control: Control, best: float) -> list[tuple[float, float]]:
    """The improvements down to the best that is returned; a state that was only passed does not
    count.
    """
    reached = next(
        (seconds for seconds, energy in control.trace if energy <= best), control.elapsed()
    )
    return [
        *((seconds, energy) for seconds, energy in control.trace if energy > best),
        (reached, best),
    ]


def with_squares(ising: Ising, squares: Squares | None) -> Ising:
    """Return the problem with constraints kept as squares; raises InputError for other sizes."""
    if squares is not None and not isinstance(squares, Squares):
        raise InputError(f"squares must be Squares, not {type(squares).__name__}")
    if squares is not None and squares.num_spins != ising.num_spins:
        raise InputError(
            f"the squares are of {squares.num_spins} variables, the model has {ising.num_spins}"
        )
    return replace(ising, squares=squares)


def check_counts(**counts: Any) -> None:
    """Raise InputError for a count, by its name, that is given and no positive integer."""
    for name, value in counts.items():
        if value is not None and not (1 <= value < np.inf and value == int(value)):
            raise InputError(f"{name} must be a positive integer, is {value}")


def generator(seed: int | np.random.Generator | None) -> np.random.Generator:
    """The generator of a seed; raises InputError for a negative or fractional one."""
    if seed is not None and not isinstance(seed, np.random.Generator):
        if isinstance(seed, bool) or not 0 <= seed < 2**32 or seed != int(seed):
            raise InputError(f"seed must be an integer in [0, 2**32), is {seed}")
        seed = int(seed)
    return np.random.default_rng(seed)


def available_threads() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[Any], Any], items: list[Any], num_threads: int) -> list[Any]:
    """``[work(item) for item in items]``, side by side; kernels release the GIL."""
    if num_threads <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(num_threads, len(items))) as pool:
        return list(pool.map(work, items))
