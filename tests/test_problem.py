"""The laws of a problem have teeth: each is broken by a problem that breaks nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dimod
import numpy as np
import pytest

from anneal.errors import InputError
from anneal.problem import sample_values
from anneal.problems.assignment import Assignment
from anneal.problems.maxcut import MaxCut
from anneal.testing import check_problem

PATH = {"num_vertices": 4, "i": [0, 1, 2], "j": [1, 2, 3], "weight": [1.0, 2.0, 3.0]}


class NoOffset(MaxCut):
    def bqm(self) -> dimod.BinaryQuadraticModel:
        model = super().bqm()
        model.offset = 0.0
        return model


class Flipped(MaxCut):
    def decode(self, sample: Any) -> Any:
        return -super().decode(sample) if isinstance(sample, dict) else super().decode(sample)


class Partial(MaxCut):
    def encode(self, solution: Any) -> Any:
        return {0: 1}


class Unfeasible(MaxCut):
    def feasible(self, sample: Any) -> bool:
        return False


class Reversed(Assignment):
    def decode(self, sample: Any) -> Any:
        return super().decode(sample)[::-1]


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (NoOffset(**PATH), "missing offset"),
        (Flipped(**PATH), "decode"),
        (Partial(**PATH), "every variable"),
        (Unfeasible(**PATH), "refuses"),
        (Reversed(np.ones((3, 3)), np.arange(9.0).reshape(3, 3)), "not"),
    ],
)
def test_a_broken_problem_is_told(problem: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_problem(problem, seed=0)


def test_a_best_known_below_the_ground_state_is_told() -> None:
    check_problem(MaxCut(**PATH, best_known=-6.0), seed=0)
    with pytest.raises(AssertionError, match="best_known"):
        check_problem(MaxCut(**PATH, best_known=-7.0), seed=0)


def test_a_penalty_too_small_is_told() -> None:
    problem = Assignment.generate(seed=3, num_facilities=4)
    check_problem(problem, seed=0)
    with pytest.raises(AssertionError, match="penalty is too small"):
        check_problem(replace(problem, penalty=1.0), seed=0)


@pytest.mark.parametrize("bad", [{"a": 1}, [1], [1, 0], [1, float("nan")], [[1, 1]]])
def test_bad_samples_are_refused(bad: Any) -> None:
    with pytest.raises(InputError):
        sample_values(bad, ["a", "b"], vartype=dimod.SPIN)


def test_samples_of_dimod_are_read() -> None:
    found = dimod.ExactSolver().sample(MaxCut(**PATH).bqm()).first.sample
    assert MaxCut(**PATH).cost(found) == -6
