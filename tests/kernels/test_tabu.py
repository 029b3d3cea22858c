"""Tabu search, relinking and shaking against plain Python, move by move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anneal.ising import Ising
from anneal.kernels.tabu import perturb, relink, tabu_search
from anneal.solvers.tabu import Graph
from tests.kernels.reference import DENSE_KINDS, energies_of, forced_layout, random_ising, tabu

GRAPHS = [(family, kind) for family in ("sparse", "dense") for kind in DENSE_KINDS]


class Search:
    """One kernel's arrays, kept between calls."""

    def __init__(self, ising: Ising, family: str, kind: str, *, seed: int = 1) -> None:
        self.ising = ising
        self.graph = Graph.of(forced_layout(ising, family, kind), ising.J)
        self.lanes = 64 // self.graph.biases.itemsize
        self.spins = np.ones(len(self.graph.biases), self.graph.biases.dtype)
        start = np.random.default_rng(seed).choice([-1, 1], ising.num_spins)
        self.spins[: ising.num_spins] = start
        self.start = start.astype(np.int8)
        self.gains = self.graph.gains(self.spins)
        self.until = np.zeros(len(self.spins), np.int64 if self.lanes == 8 else np.int32)
        self.best = self.spins.copy()
        self.walk = np.zeros(4)
        self.state = np.array([12345], np.uint64)

    def run(self, flips: int, *, tenure: int = 5, spread: int = 1, patience: int = 10**9) -> None:
        tabu_search(
            *self.graph.arrays, self.ising.num_spins, self.spins, self.gains, self.until, self.best,
            self.walk, tenure, spread, patience, flips, self.state,
        )  # fmt: skip

    def states(self) -> tuple[Any, Any]:
        n = self.ising.num_spins
        return self.spins[:n].astype(np.int8), self.best[:n].astype(np.int8)

    def check(self) -> None:
        """Spins are ±1, gains are s·f exactly, and the walk's numbers are those of its states."""
        n, h, J = self.ising.num_spins, self.ising.h, self.ising.dense()
        spins, best = self.states()
        assert np.isin(spins, [-1, 1]).all()
        assert (self.spins[n:] == 1).all()
        assert (self.gains[:n] == spins * (h + J @ spins)).all()
        first, now, least = energies_of(h, J, [self.start, spins, best])
        assert (first - now, first - least) == (2 * self.walk[0], 2 * self.walk[1])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("num_spins", [9, 16, 33, 70])
@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_moves_are_those_of_the_plain_search(
    family: str, kind: str, num_spins: int, biased: bool
) -> None:
    for seed in range(4):
        ising = random_ising(num_spins, seed=seed, largest=9, biased=biased)
        search = Search(ising, family, kind, seed=seed)
        tenure = num_spins // 3
        plain = tabu(
            ising.h, ising.dense(), search.start, tenure=tenure, flips=150, lanes=search.lanes
        )
        assert not plain.stuck
        search.run(150, tenure=tenure)
        search.check()
        assert search.walk[:2].tolist() == [plain.reached, plain.record]
        assert (search.states()[0] == plain.spins).all()
        assert (search.states()[1] == plain.best).all()


@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_a_spin_that_has_to_stay_moves_for_a_new_best(family: str, kind: str) -> None:
    """Aspiration, where the spin before it in its lane looks better while the two are scanned."""
    aspired = 0
    for seed in range(12):
        ising = random_ising(40, seed=seed, largest=9)
        search = Search(ising, family, kind, seed=seed)
        plain = tabu(ising.h, ising.dense(), search.start, tenure=30, flips=60, lanes=search.lanes)
        assert not plain.stuck
        search.run(60, tenure=30)
        assert (search.states()[0] == plain.spins).all()
        assert search.walk[:2].tolist() == [plain.reached, plain.record]
        aspired += plain.aspired
    assert aspired > 0


@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_calls_in_a_row_are_one_search(family: str, kind: str) -> None:
    ising = random_ising(40, seed=3, density=0.5)
    whole, parts = Search(ising, family, kind), Search(ising, family, kind)
    whole.run(300)
    for _ in range(3):
        parts.run(100)
        parts.check()
    assert (whole.states()[1] == parts.states()[1]).all()
    assert whole.walk[1] == parts.walk[1]


@pytest.mark.parametrize("num_spins", [1, 2, 3, 20])
@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_gains_stay_right_with_random_tenure(family: str, kind: str, num_spins: int) -> None:
    """Few spins: often all have to stay, and the next is drawn at random."""
    search = Search(random_ising(num_spins, seed=4), family, kind)
    for _ in range(4):
        search.run(250, tenure=2, spread=10)
        search.check()
    assert search.walk[3] == 1000


@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_a_flipped_spin_stays_for_its_tenure(family: str, kind: str) -> None:
    """Without aspiration (from the ground state on), a spin's visits lie over a tenure apart."""
    ising = random_ising(12, seed=5)
    search = Search(ising, family, kind)
    search.run(2000, tenure=3)
    search.spins[:12] = search.best[:12]
    search.gains = search.graph.gains(search.spins)
    search.walk[:] = 0
    search.until[:] = 0
    last = dict.fromkeys(range(12), -100)
    for now in range(60):
        before = search.states()[0]
        search.run(1, tenure=6)
        (flipped,) = np.flatnonzero(search.states()[0] != before)
        assert now - last[int(flipped)] > 6
        last[int(flipped)] = now


@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_patience_ends_a_search(family: str, kind: str) -> None:
    search = Search(random_ising(30, seed=6), family, kind)
    search.run(100_000, patience=50)
    assert search.walk[3] == search.walk[2] + 50
    search.check()


@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_relinking_returns_the_best_of_the_middle_third(family: str, kind: str) -> None:
    for seed in range(6):
        ising = random_ising(40, seed=seed, density=0.4)
        h, J = ising.h, ising.dense()
        search, other = Search(ising, family, kind, seed=seed), Search(ising, family, kind, seed=99)
        record = relink(*search.graph.arrays, search.spins, search.gains, other.spins, search.best)
        search.gains = search.graph.gains(search.spins)
        spins, best = search.start.astype(np.int64), None
        ahead = list(np.flatnonzero(spins != other.start))
        distance, lowest = len(ahead), np.inf
        while len(ahead) > distance // 3:
            gains = spins * (h + J @ spins)
            i = max(ahead, key=gains.__getitem__)
            top = [k for k in ahead if gains[k] == gains[i]]
            spins[i] = -spins[i]
            ahead.remove(i)
            energy = energies_of(h, J, [spins])[0]
            if len(ahead) <= distance - distance // 3:
                lowest = min(lowest, energy)
            if len(top) > 1:
                best = "tied"
        walked = search.states()[1]
        first, found = energies_of(h, J, [search.start, walked])
        assert first - found == 2 * record
        assert distance // 3 <= (walked != search.start).sum() <= distance - distance // 3
        if best != "tied":
            assert found == lowest


@pytest.mark.parametrize(("family", "kind"), GRAPHS)
def test_shaking_keeps_gains_and_tells_the_change(family: str, kind: str) -> None:
    search = Search(random_ising(25, seed=7), family, kind)
    n = search.ising.num_spins
    search.walk[0] = perturb(
        *search.graph.arrays, n, search.spins, search.gains, 9, search.state
    )  # fmt: skip
    search.check()
    assert 1 <= (search.states()[0] != search.start).sum() <= 9
