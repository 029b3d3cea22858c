"""Simulated bifurcation: classical oscillators that fork into spins, all of them in one product a
step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.layouts import choose_layout
from anneal.sampler import IsingSampler, check_counts
from anneal.schedules import field_spread
from anneal.solvers.anneal import luby

STEP = 1.0  # of time; from about 2 on an oscillator leaves its well at once
SHORTEST = 200  # steps of a fork, the unit of Luby's sequence
LEAST = 50  # steps worth another fork
LOOK = 1e8  # products between two looks at the clock, some hundredths of a second
DENSE_ABOVE = 0.05  # a product with the full matrix is then the faster one
LARGEST_DENSE = 20_000  # spins, 1.6 GB
KICK = 0.1  # spread of the first momenta and positions


class BifurcationSampler(IsingSampler):
    """Simulated bifurcation (Goto et al. 2019, 2021), ``discrete`` or ``ballistic``.

    Positions x and momenta y of the replicas follow dy = −((1 − p) x + c (J·z + h)) dt, dx = y dt
    with walls at ``|x| = 1`` that take the momentum, and p from 0 to 1. z is the sign of x where it
    is discrete, x itself where it is ballistic; c = ½ over the root mean square of
    the fields of random spins. The
    signs of x are the spins, which a descent takes to a local minimum.

    num_reads: replicas (default 32). num_steps: of a fork (default 1000), or with a ``time_limit``
    forks of growing lengths, the best state of each replica. variant: ``"discrete"`` or
    ``"ballistic"``. device: ``"cpu"``, or ``"cuda"`` where torch and a GPU are.

    >>> result = BifurcationSampler().sample_ising({}, {(0, 1): 1.0, (1, 2): -1.0}, seed=1)
    >>> float(result.first.energy)
    -2.0
    """

    default_reads = 32

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        num_threads: int = 1,
        num_steps: int | None = None,
        variant: str = "discrete",
        device: str = "cpu",
    ) -> NDArray[np.int8]:
        if variant not in ("discrete", "ballistic"):
            raise InputError(f"variant must be discrete or ballistic, is {variant}")
        check_counts(num_steps=num_steps)
        if num_steps is None and control.time_limit is None:
            num_steps = 1000
        found = []
        for k, linear in enumerate(h):
            seconds = control.remaining() / (len(h) - k)
            forks = Forks(
                Ising(linear, J), num_reads or self.default_reads, variant == "discrete", device,
                initial, control, rng,
            )  # fmt: skip
            found.append(forks.run(num_steps, control.elapsed() + seconds))
        return np.stack(found)


class Forks:
    """Replicas of one problem, forked again and again; ``best``: (reads, n), their best states."""

    def __init__(
        self,
        ising: Ising,
        num_reads: int,
        discrete: bool,
        device: str,
        initial: NDArray[np.int8] | None,
        control: Control,
        rng: np.random.Generator,
    ) -> None:
        self.ising, self.control, self.rng = ising, control, rng
        self.shape = ising.num_spins, num_reads
        self.discrete = discrete
        self.initial = initial
        spread = field_spread(ising)
        unit = (
            float(np.sqrt(np.mean((spread / spread.max()) ** 2)) * spread.max())
            if len(spread)
            else 1.0
        )
        self.arrays: Any = np if device == "cpu" else _torch(device)
        self.bias = self._array((ising.h / (2 * unit))[:, np.newaxis])
        self.matrix = self._matrix(1 / (2 * unit), device)
        stored = self.matrix.nnz if sparse.issparse(self.matrix) else ising.num_spins**2
        self.chunk = max(1, int(LOOK / max(1, stored * num_reads)))
        self.layout: Any = choose_layout(ising.h, ising.J)
        self.best = np.empty((num_reads, ising.num_spins), np.int8)
        self.energies = np.full(num_reads, math.inf)

    def run(self, num_steps: int | None, until: float) -> NDArray[np.int8]:
        """One fork of so many steps, or forks of Luby's lengths until the time is up."""
        number, pace = 0, 0.0
        while number == 0 or (num_steps is None and self._time_for(LEAST * pace, until)):
            number += 1
            steps = num_steps or SHORTEST * luby(number)
            if num_steps is None and pace:
                steps = max(1, min(steps, int((until - self.control.elapsed()) / pace)))
            began = self.control.elapsed()
            self._keep(self._fork(steps, until if num_steps is None else math.inf))
            pace = (self.control.elapsed() - began) / steps
            self.initial = None
        return self.best

    def _time_for(self, seconds: float, until: float) -> bool:
        return self.control.elapsed() + seconds < until and not self.control.stop()

    def _fork(self, steps: int, until: float) -> NDArray[np.int8]:
        """Signs of the positions after the pump has risen to 1, or as far as there was time."""
        xp = self.arrays
        x = self._array(KICK * self.rng.uniform(-1, 1, self.shape))
        y = self._array(KICK * self.rng.uniform(-1, 1, self.shape))
        if self.initial is not None:
            x = abs(x) * self._array(self.initial[np.arange(self.shape[1]) % len(self.initial)].T)
        for start in range(0, steps, self.chunk):
            for step in range(start, min(steps, start + self.chunk)):
                z = xp.sign(x) if self.discrete else x
                y -= STEP * ((1 - (step + 0.5) / steps) * x + self.matrix @ z + self.bias)
                x += STEP * y
                outside = abs(x) > 1
                x = xp.where(outside, xp.sign(x), x)
                y = xp.where(outside, xp.zeros_like(y), y)
            self.control.done = max(self.control.done, min(1.0, (start + self.chunk) / steps))
            if self.control.stop() or self.control.elapsed() > until:
                break
        signs = x if xp is np else x.cpu().numpy()
        return np.where(signs.T >= 0, 1, -1).astype(np.int8)

    def _keep(self, states: NDArray[np.int8]) -> None:
        """Descend, and keep what is better than a replica's best."""
        lanes = self.layout.lanes
        for start in range(0, len(states), lanes):
            part = states[start : start + lanes]
            filled = part[np.minimum(np.arange(lanes), len(part) - 1)]
            replicas = self.layout.replicas(self.rng, spins=filled)
            replicas.descend(self.control)
            found, reached = replicas.states()[: len(part)], replicas.energies()[: len(part)]
            own = slice(start, start + len(part))
            better = reached < self.energies[own]
            self.best[own][better] = found[better]
            self.energies[own][better] = reached[better]
        self.control.improve(float(self.energies.min()))

    def _array(self, values: NDArray[Any]) -> Any:
        if self.arrays is np:
            return values.astype(np.float32)
        return self.arrays.asarray(values, dtype=self.arrays.float32, device="cuda")

    def _matrix(self, factor: float, device: str) -> Any:
        full = self.ising.density > DENSE_ABOVE and self.ising.num_spins <= LARGEST_DENSE
        if full:
            return self._array(factor * self.ising.dense())
        csr = (factor * self.ising.csr()).astype(np.float32)
        if self.arrays is np:
            return csr
        parts = (csr.indptr, csr.indices, csr.data)
        return self.arrays.sparse_csr_tensor(
            *(self.arrays.asarray(part, device="cuda") for part in parts), csr.shape
        )


def _torch(device: str) -> Any:
    """Torch, where it has the device; raises InputError elsewhere."""
    if device != "cuda":
        raise InputError(f"device must be cpu or cuda, is {device}")
    import torch

    if not torch.cuda.is_available():
        raise InputError("torch finds no GPU here: take device='cpu'")
    return torch
