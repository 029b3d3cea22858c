"""PresolveComposite keeps to dimod's rules, and its samples to the model's minimum."""

from __future__ import annotations

import unittest
from typing import Any

import dimod
import dimod.testing
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.presolve_composite import PresolveComposite
from anneal.solvers import get_solver
from anneal.squares import Squares


def test_dimods_conformance() -> None:
    @dimod.testing.load_sampler_bqm_tests(PresolveComposite(dimod.ExactSolver()))
    @dimod.testing.load_sampler_bqm_tests(PresolveComposite(get_solver("tabu")()))
    class Composed(unittest.TestCase):
        pass

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Composed)
    result = unittest.TestResult()
    suite.run(result)
    assert suite.countTestCases() > 30
    assert not result.failures + result.errors
    for child in (dimod.ExactSolver(), get_solver("anneal")()):
        dimod.testing.assert_composite_api(PresolveComposite(child))
        dimod.testing.assert_sampler_api(PresolveComposite(child))


@st.composite
def models(draw: Any) -> dimod.BinaryQuadraticModel:
    n = draw(st.integers(0, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    labels = [("a", k) if k % 2 else k for k in rng.permutation(n).tolist()]
    kind = draw(st.sampled_from(["integer", "dyadic", "real"]))
    biased = draw(st.booleans())
    model = dimod.BinaryQuadraticModel(draw(st.sampled_from(["SPIN", "BINARY"])))
    density = draw(st.sampled_from([0.2, 0.5, 1.0]))

    def number() -> float:
        if kind == "real":
            return float(rng.normal())
        return float(rng.integers(-4, 5)) / (1 if kind == "integer" else 8)

    for k, label in enumerate(labels):
        model.add_variable(label, number() if biased else 0.0)
        for other in labels[:k]:
            if rng.random() < density:
                model.add_quadratic(label, other, number())
    model.offset = number()
    return model


@given(model=models())
@settings(max_examples=200)
def test_the_minimum_is_the_models(model: dimod.BinaryQuadraticModel) -> None:
    found = PresolveComposite(dimod.ExactSolver()).sample(model)
    assert list(found.variables) == list(model.variables)
    assert found.vartype is model.vartype
    dimod.testing.assert_sampleset_energies(found, model, precision=9)
    if model.num_variables:
        least = dimod.ExactSolver().sample(model).first.energy
        assert found.first.energy == pytest.approx(least, abs=1e-12)
    assert sum(found.info["presolve"].values()) == model.num_variables


class Counted(dimod.Sampler):  # type: ignore[misc]
    """Tells what it was asked, and how often each sample came."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    parameters = {"initial_states": [], "num_reads": []}  # noqa: RUF012
    properties = {"of": "the child"}  # noqa: RUF012

    def sample(self, bqm: Any, **parameters: Any) -> dimod.SampleSet:
        self.asked = {"bqm": bqm, **parameters}
        first = dimod.ExactSolver().sample(bqm).aggregate().truncate(2, sorted_by="energy")
        values, variables = first.record.sample, list(first.variables)
        return dimod.SampleSet.from_samples_bqm(
            (values[:, ::-1], variables[::-1]), bqm, num_occurrences=[3, 1], info={"tells": 1}
        )


def complete(num_vertices: int) -> dimod.BinaryQuadraticModel:
    pairs = {(i, j): 1.0 for i in range(num_vertices) for j in range(i)}
    return dimod.BinaryQuadraticModel.from_ising({}, pairs)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_the_child_gets_what_is_left_and_its_keywords(vartype: str) -> None:
    model = complete(5).change_vartype(vartype, inplace=False)
    model.add_quadratic("leaf", 0, -0.5)
    child = Counted()
    sampler = PresolveComposite(child)
    start = dimod.SampleSet.from_samples({v: 1 for v in model.variables}, vartype, energy=[0.0])
    found = sampler.sample(model, num_reads=7, initial_states=start)
    assert child.asked["num_reads"] == 7
    assert set(child.asked["bqm"].variables) == set(range(5))
    assert child.asked["bqm"].vartype is model.vartype
    values, variables = child.asked["initial_states"]
    assert (values == 1).all() and set(variables) == set(range(5))
    assert found.record.num_occurrences.tolist() == [3, 1]
    assert found.info["tells"] == 1 and found.info["presolve"]["left"] == 5
    dimod.testing.assert_sampleset_energies(found, model)
    assert sampler.properties["child_properties"] == {"of": "the child"}
    assert "initial_states" in sampler.parameters


def test_nothing_left_is_not_sent_to_the_child() -> None:
    child = Counted()
    found = PresolveComposite(child).sample_ising({}, {"ab": 1.0, "bc": -1.0}, num_reads=3)
    assert not child.asked
    assert found.record.energy.tolist() == [-2.0] * 3


def test_what_cannot_be_presolved_is_refused() -> None:
    sampler = PresolveComposite(get_solver("anneal")())
    assert "squares" not in sampler.parameters
    with pytest.raises(InputError, match="squares"):
        sampler.sample(complete(4), squares=Squares(np.ones((1, 4))))
    with pytest.raises(InputError, match="every variable"):
        sampler.sample(complete(4), initial_states={0: 1})
