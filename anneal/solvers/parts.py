"""Problems that fall apart: their components, solved one by one and joined."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.control import Control
from anneal.ising import Ising

PASSES = 6  # where there is a target: the first has 1/32 of the time


class PartControl(Control):
    """The control of a part: it stops with the whole, or after ``seconds``, and tells the whole
    its energies with those of the ``rest`` added.
    """

    def __init__(self, whole: Control, *, seconds: float = math.inf, rest: float = 0.0) -> None:
        limit = min(seconds, whole.remaining())
        super().__init__(time_limit=max(0.0, limit) if math.isfinite(limit) else None)
        self.whole = whole
        self.rest = rest

    def stop(self) -> bool:
        """True once the whole has to stop, or the time of the part is up."""
        return self.whole.stop() or self.remaining() <= 0

    def improve(self, energy: float) -> None:
        """Note an energy that a state of the part has reached."""
        super().improve(energy)
        self.whole.improve(energy + self.rest)


def components(ising: Ising) -> list[NDArray[np.int64]]:
    """Return the spins of each connected component, the largest first, each in ascending order.

    >>> pairs = np.array([0, 3]), np.array([2, 4]), np.ones(2)
    >>> [part.tolist() for part in components(Ising.from_pairs(np.zeros(5), *pairs, 0.0))]
    [[0, 2], [3, 4], [1]]
    """
    if not sparse.issparse(ising.J) and _connected(ising.J):
        return [np.arange(ising.num_spins)]
    count, label = sparse.csgraph.connected_components(ising.csr(), directed=False)
    order = np.argsort(label, kind="stable")
    found = np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1]) if count else []
    return sorted(found, key=len, reverse=True)


def _connected(matrix: NDArray[np.float64]) -> bool:
    """Whether all spins hang together; where most are coupled, a few rows tell."""
    reached, waiting = np.arange(len(matrix)) == 0, [0]
    while waiting and not reached.all():
        found = np.flatnonzero((matrix[waiting.pop()] != 0) & ~reached)
        reached[found] = True
        waiting.extend(found.tolist())
    return bool(reached.all())


def part_of(ising: Ising, spins: NDArray[np.int64]) -> Ising:
    """Return the problem of some spins that have no coupling to others, without the offset."""
    if len(spins) == ising.num_spins:
        return Ising(ising.h, ising.J)
    if sparse.issparse(ising.J):
        matrix = sparse.csr_array(ising.csr()[spins][:, spins])
        matrix.sort_indices()
        return Ising(ising.h[spins], matrix)
    return Ising(ising.h[spins], np.ascontiguousarray(ising.dense()[np.ix_(spins, spins)]))


def solve_apart(
    ising: Ising,
    parts: list[NDArray[np.int64]],
    solve: Callable[[int, Ising, PartControl], NDArray[np.int8]],
    *,
    control: Control,
    rng: np.random.Generator,
    start: NDArray[np.int8],
) -> NDArray[np.int8]:
    """Solve parts that share no coupling and join their reads, (reads, n).

    solve: gets a part's number, problem and control, and returns reads of it. The time is shared by
    the number of spins and couplings; where a target may end it early, in passes, each as long as
    all before it. start: (n,) a state, to begin with. The first read joins the best of each part;
    the others join reads at random, so that they stay as independent as the parts'.
    """
    problems = [part_of(ising, spins) for spins in parts]
    sizes = np.array([part.num_spins + 2 * part.num_couplings for part in problems], float)
    best = [start[spins] for spins in parts]
    energies = [float(p.energies(s)[0]) for p, s in zip(problems, best, strict=True)]
    control.improve(sum(energies))
    reads = [state[np.newaxis] for state in best]
    for until in _passes(control):
        for k, part in enumerate(problems):
            seconds = max(0.0, until - control.elapsed()) * sizes[k] / sizes[k:].sum()
            rest = sum(energies) - energies[k]
            reads[k] = solve(k, part, PartControl(control, seconds=seconds, rest=rest))
            reached = part.energies(reads[k])
            if reached.min() <= energies[k]:
                energies[k] = float(reached.min())
                best[k] = reads[k][int(np.argmin(reached))].copy()
        if control.stop():
            break
    whole = np.empty((max(map(len, reads)), ising.num_spins), np.int8)
    for spins, state, states in zip(parts, best, reads, strict=True):
        order = rng.permutation(len(states))
        whole[:, spins] = states[order[np.arange(len(whole)) % len(states)]]
        whole[0, spins] = state
    return whole


def _passes(control: Control) -> list[float]:
    """When each pass ends, in seconds of the control's clock."""
    now, left = control.elapsed(), control.remaining()
    if math.isinf(left) or control.target_energy == -math.inf:
        return [now + left]
    return [now + left / 2**k for k in range(PASSES - 1, -1, -1)]
