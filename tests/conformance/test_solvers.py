"""Every registered solver against dimod's conformance and our laws.

``QBNN_SOLVERS="module:Class,…"`` adds others.
"""

from __future__ import annotations

import os
import unittest
from typing import Any, ClassVar

import dimod
import dimod.testing
import numpy as np
import pytest

from anneal.solvers import SOLVERS, get_solver
from anneal.testing import check_sampler

OTHERS = [name for name in os.environ.get("QBNN_SOLVERS", "").split(",") if name]
OURS = [name for name, target in SOLVERS.items() if target.startswith("anneal.")]
THEIRS = [name for name in SOLVERS if name not in OURS]
SMALL = 3  # variables of the largest of dimod's models


@pytest.mark.parametrize("name", [*OURS, *OTHERS])
def test_dimods_conformance(name: str) -> None:
    @dimod.testing.load_sampler_bqm_tests(get_solver(name))
    class Conformance(unittest.TestCase):
        pass

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Conformance)
    result = unittest.TestResult()
    suite.run(result)
    assert suite.countTestCases() >= 4 * (SMALL + 1)
    assert not result.failures + result.errors


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", [*OURS, *OTHERS])
def test_our_laws(name: str, seed: int) -> None:
    check_sampler(get_solver(name), seed=seed)


@pytest.mark.parametrize("name", THEIRS)
def test_solvers_of_others_are_samplers(name: str) -> None:
    """They keep to dimod's interface; what they do with a model is theirs."""
    sampler = get_solver(name)()
    dimod.testing.assert_sampler_api(sampler)
    model = dimod.BinaryQuadraticModel.from_ising({}, {("b", "a"): 2.0, "ac": -1.0, "cb": 1.0})
    found = sampler.sample(model)
    assert set(found.variables) == {"a", "b", "c"}
    if name != "dwave-rotor":  # the energies it tells are those of its rotors
        dimod.testing.assert_sampleset_energies(found, model)


class Liar(dimod.Sampler):  # type: ignore[misc]
    """A sampler of ours with one law broken."""

    properties: ClassVar[dict[str, Any]] = {}
    parameters: ClassVar[dict[str, Any]] = {}

    def __init__(self, law: str = "") -> None:
        self.law = law
        self.random = get_solver("random")()

    def sample(self, bqm: Any, **parameters: Any) -> Any:
        if self.law == "seed":
            parameters["seed"] = None if parameters.get("seed") in range(9) else parameters["seed"]
        if self.law == "num_reads":
            parameters["num_reads"] = 1
        if self.law == "interrupt":
            parameters.pop("interrupt_function", None)
            parameters["time_limit"] = min(parameters.get("time_limit") or 0, 1.0) or None
        if self.law == "target":
            parameters.pop("target_energy", None)
            parameters["time_limit"] = min(parameters.get("time_limit") or 0, 1.0) or None
        found = self.random.sample(bqm, **parameters)
        if self.law == "energies" and len(found.variables) > 1:
            found.record.energy[0] += 0.25
        if self.law == "trace" and len(found):
            found.info["trace"].append((0.0, 0.0))
        if self.law == "timing":
            del found.info["timing"]["sampling_ns"]
        return found


@pytest.mark.parametrize(
    "law", ["seed", "num_reads", "energies", "trace", "timing", "interrupt", "target"]
)
def test_a_broken_law_is_noticed(law: str) -> None:
    check_sampler(Liar, seed=3)  # without a lie, all is well
    with pytest.raises((AssertionError, KeyError)):
        check_sampler(lambda: Liar(law), seed=3)


GROUND = ["auto", "anneal", "crossover", "tabu", "exact"]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("density", [0.3, 1.0])
@pytest.mark.parametrize("name", GROUND)
def test_ground_states_with_the_default_budget(name: str, density: float, biased: bool) -> None:
    rng = np.random.default_rng(1)
    states = 2 * (np.arange(2**12)[:, np.newaxis] >> np.arange(12) & 1) - 1
    for unit in (1.0, np.pi):
        J = np.triu(rng.integers(-4, 5, (12, 12)) * (rng.random((12, 12)) < density), 1) * unit
        if unit != 1:
            J *= rng.random((12, 12))
        h = rng.integers(-2, 3, 12) * unit * biased
        model = dimod.BinaryQuadraticModel(h, J + 0.0, "SPIN")
        least = model.energies(states.astype(np.int8)).min()
        found = get_solver(name)().sample(model, seed=1)
        assert found.first.energy == pytest.approx(least, abs=1e-12)
