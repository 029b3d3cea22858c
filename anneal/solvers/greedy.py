"""Descent from random states to local minima: the floor that a heuristic has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.ising import Couplings
from anneal.layouts import choose_layout
from anneal.sampler import IsingSampler, in_threads
from anneal.solvers.anneal import Group, Reads


class GreedySampler(IsingSampler):
    """One-flip descent: sweeps that flip what lowers the energy, until nothing does.

    num_reads: local minima (default one row of lanes); with a ``time_limit`` only those found in
    time are improved.

    >>> sampleset = GreedySampler().sample_ising({0: 1.0, 1: -1.0}, {}, num_reads=2, seed=1)
    >>> sampleset.record.energy.tolist()
    [-2.0, -2.0]
    """

    default_reads = 64

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
    ) -> NDArray[np.int8]:
        layout: Any = choose_layout(h, J)
        reads = Reads(h, layout, num_reads or layout.lanes, initial)
        groups = reads.groups(rng)

        def work(group: Group) -> NDArray[np.int8]:
            replicas = group.replicas()
            if group is groups[0] or not control.stop():
                replicas.descend()
            control.improve(float(replicas.energies()[: len(group.members)].min()))
            return replicas.states()

        return reads.gather(groups, in_threads(work, groups, num_threads))
