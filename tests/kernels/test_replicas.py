"""State that the kernels keep incrementally is what its definition says, after any sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anneal.ising import Ising
from anneal.kernels.sparse import lane_energies
from anneal.layouts import DenseLayout, Numbers, SparseLayout, choose_layout
from anneal.multispin import BitLayout
from tests.kernels.reference import FIELDS, FLOATS, LAYOUTS, forced_layout, random_ising

TEMPERATURES = np.geomspace(20, 0.2, 40)


def exact_fields(ising: Ising, states: Any) -> Any:
    return ising.h + states.astype(np.float64) @ ising.dense()


def fields_of(replicas: Any) -> Any:
    """(lanes, n), whichever way round the replicas keep them."""
    fields = replicas.local_fields()
    return fields.T if isinstance(replicas.layout, SparseLayout) else fields


@pytest.mark.parametrize("num_spins", [1, 2, 15, 16, 17, 40])
@pytest.mark.parametrize(("family", "kind"), LAYOUTS)
def test_fields_and_energies_follow_the_spins(family: str, kind: str, num_spins: int) -> None:
    ising = random_ising(num_spins, seed=num_spins, density=0.4)
    replicas = forced_layout(ising, family, kind).replicas(np.random.default_rng(1))
    for _ in range(3):
        replicas.anneal(TEMPERATURES)
        states = replicas.states()
        assert np.isin(states, [-1, 1]).all()
        fields = fields_of(replicas)
        assert (fields == exact_fields(ising, states)[: len(fields)]).all()
        assert (replicas.energies() == ising.energies(states)).all()


@pytest.mark.parametrize(("family", "kind"), FLOATS)
def test_float_fields_do_not_drift(family: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    J = np.triu(rng.normal(size=(30, 30)), 1)
    ising = Ising.from_arrays(rng.normal(size=30), J + J.T)
    replicas = forced_layout(ising, family, kind).replicas(np.random.default_rng(1))
    replicas.anneal(np.geomspace(20, 0.5, 3000))
    rounding = 30 * np.finfo(kind).eps * ising.largest_field()
    assert np.abs(fields_of(replicas) - exact_fields(ising, replicas.states())).max() < rounding
    assert np.abs(replicas.energies() - ising.energies(replicas.states())).max() < 30 * rounding


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("family", "kind"), LAYOUTS)
def test_descent_ends_where_no_flip_lowers_the_energy(family: str, kind: str, biased: bool) -> None:
    ising = random_ising(60, seed=6, density=0.2, biased=biased)
    replicas = forced_layout(ising, family, kind).replicas(np.random.default_rng(1))
    before = replicas.energies()
    replicas.descend()
    states = replicas.states()
    assert (states * exact_fields(ising, states) <= 0).all()
    assert (replicas.energies() <= before).all()


@pytest.mark.parametrize("small", [np.pi * k for k in (1e-4, 3.3e-7, 1e-7, 1e-12, 1e-14)])
@pytest.mark.parametrize("family", [SparseLayout, DenseLayout])
def test_descent_follows_small_fields_too(family: Any, small: float) -> None:
    h, J = np.array([1.0, small, -small]), np.zeros((3, 3))
    replicas = family(h, J, Numbers.of(h[np.newaxis], J)).replicas(np.random.default_rng(1))
    replicas.descend()
    assert (replicas.states() == [-1, -1, 1]).all()


def test_random_visits_descend_to_a_minimum_as_well() -> None:
    ising = Ising.from_arrays(np.ones(200), np.zeros((200, 200)))
    layout = forced_layout(ising, "sparse", "int8")
    replicas = layout.replicas(np.random.default_rng(1), shuffled=True)
    replicas.descend()
    assert (replicas.states() == -1).all()


@pytest.mark.parametrize(("family", "kind"), LAYOUTS)
def test_states_that_are_set_are_the_states(family: str, kind: str) -> None:
    ising = random_ising(21, seed=7, density=0.3)
    replicas = forced_layout(ising, family, kind).replicas(np.random.default_rng(1))
    states = np.random.default_rng(2).choice([-1, 1], replicas.states().shape).astype(np.int8)
    replicas.set_states(states)
    assert (replicas.states() == states).all()
    assert (replicas.energies() == ising.energies(states)).all()


@pytest.mark.parametrize(("family", "kind"), FIELDS)
def test_each_lane_may_have_its_own_biases(family: str, kind: str) -> None:
    ising = random_ising(20, seed=8, density=0.3)
    h = np.random.default_rng(1).integers(-3, 4, (64, 20)).astype(np.float64)
    layout = forced_layout(Ising(h, ising.J), family, kind)
    h = h[: layout.lanes]
    biases = layout.numbers.convert(h, layout.kind)
    biases = np.ascontiguousarray(biases.T) if family == "sparse" else biases
    replicas = layout.replicas(np.random.default_rng(1), biases=biases)
    replicas.anneal(TEMPERATURES)
    for linear, state, energy in zip(h, replicas.states(), replicas.energies(), strict=True):
        assert energy == Ising(linear, ising.J).energies(state)[0]


def field_kind(h: Any, J: Any = None, family: Any = SparseLayout) -> np.dtype[Any]:
    h = np.asarray(h, np.float64)
    J = np.zeros((len(h), len(h))) if J is None else J
    kind: np.dtype[Any] = family(h, J, Numbers.of(h[np.newaxis], J)).kind
    return kind


@pytest.mark.parametrize(
    ("largest", "kind"),
    [
        (127, np.int8),
        (128, np.int16),
        (32767, np.int16),
        (32768, np.int32),
        (2**28 - 1, np.int32),
        (2**28, np.float64),
        (2**31, np.float64),
    ],
)
def test_the_field_type_holds_the_largest_field(largest: int, kind: Any) -> None:
    assert field_kind([largest, 1]) == np.dtype(kind)


@pytest.mark.parametrize("degree", [125, 127, 128, 251, 252, 253, 300, 600])
def test_a_hub_gets_a_type_that_holds_its_field(degree: int) -> None:
    J = np.zeros((degree + 1, degree + 1))
    J[0, 1:] = J[1:, 0] = 1
    assert field_kind(np.zeros(degree + 1), J) == np.dtype(np.int8 if degree <= 252 else np.int16)
    assert field_kind(np.zeros(degree + 1), J, DenseLayout) == np.dtype(np.int32)


@pytest.mark.parametrize("top", [1, 127, 128, 129, 32767, 32768, 2**26])
def test_the_matrix_holds_the_largest_coupling(top: int) -> None:
    J = np.array([[0, top, 1], [top, 0, -top], [1, -top, 0.0]])
    h = np.zeros(3)
    layout = DenseLayout(h, J, Numbers.of(h[np.newaxis], J))
    assert (layout.matrix[:, :3] == J).all()
    assert not layout.matrix[:, 3:].any()


def test_units_are_taken_out_and_energies_stay() -> None:
    ising = random_ising(30, seed=9, density=0.2)
    scaled = Ising(ising.h * 1e6, ising.J * 1e6)
    layout = choose_layout(scaled.h, scaled.J)
    assert (layout.kind, layout.numbers.scale) == (np.dtype(np.int8), 1e6)
    replicas = layout.replicas(np.random.default_rng(1))
    assert (replicas.energies() == scaled.energies(replicas.states())).all()


def test_dense_problems_go_by_rows_and_the_rest_by_lanes() -> None:
    dense, sparse = random_ising(120, seed=1), random_ising(120, seed=1, density=0.03)
    assert isinstance(choose_layout(dense.h, dense.J), DenseLayout)
    assert isinstance(choose_layout(dense.h, dense.J, lanes_only=True), SparseLayout)
    assert isinstance(choose_layout(sparse.h, sparse.J), SparseLayout)


@pytest.mark.parametrize(
    ("largest", "degree"), [(1, 3), (3, 1), (7, 2), (1, 62), (62, 1), (1, 254), (60, 4)]
)
def test_bits_count_any_small_integers(largest: int, degree: int) -> None:
    """Whatever their bits and signs, up to the largest sum."""
    n = degree + 2
    J = np.zeros((n, n))
    J[0, 1 : degree + 1] = J[1 : degree + 1, 0] = largest * (-1.0) ** np.arange(degree)
    h = np.zeros(n)
    h[1:3] = 254 - largest, -1
    numbers = Numbers.of(h[np.newaxis], J)
    assert BitLayout.fits(h[np.newaxis], J, numbers)
    ising = Ising.from_arrays(h, J)
    replicas = BitLayout(h, J, numbers).replicas(np.random.default_rng(1))
    for temperatures in (TEMPERATURES, [np.inf], TEMPERATURES[-1:]):
        replicas.anneal(np.array(temperatures), 3)
        assert (replicas.energies() == ising.energies(replicas.states())).all()
    replicas.descend()
    states = replicas.states()
    assert (states * exact_fields(ising, states) <= 0).all()


def test_bits_take_one_problem_of_small_integers_alone() -> None:
    def fit(h: Any, J: Any) -> bool:
        return BitLayout.fits(h, J, Numbers.of(h, J))

    assert fit(np.full((1, 2), 253.0), np.array([[0, 1], [1, 0.0]]))
    assert not fit(np.full((1, 2), 254.0), np.array([[0, 1], [1, 0.0]]))
    assert not fit(np.full((1, 2), 0.1), np.array([[0, np.pi], [np.pi, 0.0]]))
    assert not fit(np.ones((2, 2)), np.zeros((2, 2)))


def test_lane_energies_are_float64_and_do_not_wrap() -> None:
    n = 3000
    spins, halves = np.ones((n, 64), np.int8), np.full((n, 64), 126, np.int8)
    biases, parity = np.zeros((n, 64), np.int8), np.ones(n, np.int8)
    assert (lane_energies(biases, parity, spins, halves) == 253.0 / 2 * n).all()


@pytest.mark.parametrize("degree", [127, 128, 251, 252])
def test_half_fields_of_a_hub_reach_their_ends(degree: int) -> None:
    J = np.zeros((degree + 1, degree + 1))
    J[0, 1:] = J[1:, 0] = 1
    replicas = SparseLayout(
        np.zeros(degree + 1), J, Numbers.of(np.zeros((1, degree + 1)), J)
    ).replicas(np.random.default_rng(1))
    assert replicas.kind == np.int8
    for sign in (1, -1):
        replicas.set_states(np.full((64, degree + 1), sign, np.int8))
        assert (replicas.local_fields()[0] == sign * degree).all()
        assert (replicas.local_fields()[1:] == sign).all()
        replicas.descend()  # every leaf against the hub: the other end of the range
        states = replicas.states()
        assert (replicas.local_fields() == J @ states.T).all()
        assert (replicas.energies() == -degree).all()
