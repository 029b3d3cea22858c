"""Uniformly random states: the baseline that anything has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.ising import Couplings, Ising
from anneal.replicas import random_states
from anneal.sampler import IsingSampler


class RandomSampler(IsingSampler):
    """Random states; with a ``time_limit`` the best ``num_reads`` of all that were drawn in time.

    >>> len(RandomSampler().sample_ising({0: 1.0}, {}, num_reads=5, seed=1))
    5
    """

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
    ) -> NDArray[np.int8]:
        reads = num_reads or 1
        m, n = h.shape
        best = np.stack([random_states(rng, reads, n) for _ in range(m)])
        isings = [Ising(linear, J) for linear in h]
        while True:
            for k, ising in enumerate(isings):
                control.improve(float(ising.energies(best[k]).min()))
            if control.time_limit is None or control.stop():
                return best
            for k, ising in enumerate(isings):
                drawn = np.concatenate([best[k], random_states(rng, max(16, reads), n)])
                best[k] = drawn[np.argsort(ising.energies(drawn), kind="stable")[:reads]]
