"""Ising arrays: exact to and from dimod, exact energies, exact units."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from anneal.errors import InputError
from anneal.ising import Ising, integer_scale

labels = st.one_of(
    st.integers(-5, 100),
    st.text("zyxab", max_size=3),
    st.tuples(st.integers(-3, 3), st.text("ba", max_size=2)),
)
quarters = st.integers(-4000, 4000).map(lambda k: k / 4)
small_floats = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def bqms(draw: Any, biases: Any = quarters, most: int = 9) -> dimod.BinaryQuadraticModel:
    """Models with labels of mixed types in no order, dense and sparse, of both vartypes."""
    names = draw(st.lists(labels, unique=True, max_size=most))
    model = draw(st.sampled_from([dimod.BinaryQuadraticModel, dimod.DictBQM]))(
        draw(st.sampled_from(["SPIN", "BINARY"]))
    )
    model.offset = draw(biases)
    for name in names:
        model.add_variable(name, draw(biases))
    for k, name in enumerate(names):
        for other in names[:k]:
            if draw(st.booleans()):
                model.add_quadratic(name, other, draw(biases))
    return model


def states_of(model: dimod.BinaryQuadraticModel, *, seed: int = 1) -> tuple[Any, Any]:
    """(spins, the same in the model's values), 16 random rows."""
    spins = np.random.default_rng(seed).choice([-1, 1], (16, model.num_variables)).astype(np.int8)
    return spins, spins if model.vartype is dimod.SPIN else (spins + 1) // 2


def dimod_energies(model: dimod.BinaryQuadraticModel, values: Any) -> Any:
    if isinstance(model, dimod.DictBQM):
        model = dimod.BinaryQuadraticModel(model)
    return model.energies((values, list(model.variables)))


@given(model=bqms())
def test_energies_are_dimods_to_the_last_bit(model: dimod.BinaryQuadraticModel) -> None:
    spins, values = states_of(model)
    assert (Ising.from_bqm(model).energies(spins) == dimod_energies(model, values)).all()


@given(model=bqms(small_floats))
@settings(max_examples=50)
def test_float_energies_are_dimods_up_to_rounding(model: dimod.BinaryQuadraticModel) -> None:
    spins, values = states_of(model)
    size = sum(map(abs, [*model.linear.values(), *model.quadratic.values(), model.offset]))
    error = np.abs(Ising.from_bqm(model).energies(spins) - dimod_energies(model, values))
    assert error.max() <= 1e-14 * float(size)


@given(model=bqms())
def test_there_and_back(model: dimod.BinaryQuadraticModel) -> None:
    ising = Ising.from_bqm(model)
    back = ising.to_bqm(list(model.variables))
    assert list(back.variables) == list(model.variables)
    spins, _ = states_of(model)
    assert (dimod_energies(back, spins) == ising.energies(spins)).all()
    again = Ising.from_bqm(back)
    assert (again.h == ising.h).all()
    assert (again.dense() == ising.dense()).all()
    assert again.offset == ising.offset


@given(model=bqms(), flipped=st.integers(0, 2**9 - 1), power=st.integers(-60, 60))
def test_gauge_vartype_and_powers_of_two_change_no_energy(
    model: dimod.BinaryQuadraticModel, flipped: int, power: int
) -> None:
    spins, _ = states_of(model)
    energies = Ising.from_bqm(model).energies(spins)
    other = dimod.BinaryQuadraticModel(model)
    gauge = np.array([-1 if flipped >> k & 1 else 1 for k in range(other.num_variables)], np.int8)
    for name, sign in zip(list(other.variables), gauge, strict=True):
        if sign < 0:
            other.flip_variable(name)
    assert (Ising.from_bqm(other).energies(spins * gauge) == energies).all()
    other = model.change_vartype("BINARY" if model.vartype is dimod.SPIN else "SPIN", inplace=False)
    assert (Ising.from_bqm(other).energies(spins) == energies).all()
    other = dimod.BinaryQuadraticModel(model)
    other.scale(2.0**power)
    assert (Ising.from_bqm(other).energies(spins) == energies * 2.0**power).all()


@pytest.mark.parametrize(
    "names", [[3, 1, 2], ["b", "c", "a"], [(2, 1), (0, 5), (1, 0)], [2, "b", (1,)]]
)
def test_labels_out_of_order_keep_their_places(names: list[Any]) -> None:
    model = dimod.BinaryQuadraticModel(
        {names[0]: 1.0, names[1]: 2.0, names[2]: 4.0}, {}, 0.0, "SPIN"
    )
    model.add_quadratic(names[2], names[0], 8.0)
    ising = Ising.from_bqm(model)
    assert ising.h.tolist() == [1, 2, 4]
    assert ising.dense().tolist() == [[0, 0, 8], [0, 0, 0], [8, 0, 0]]
    assert ising.to_bqm(names) == model


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_what_is_not_finite_is_refused(wrong: float, vartype: str) -> None:
    for linear, quadratic, offset in [(wrong, 1.0, 0.0), (1.0, wrong, 0.0), (1.0, 1.0, wrong)]:
        model = dimod.BinaryQuadraticModel({0: linear}, {(0, 1): quadratic}, offset, vartype)
        with pytest.raises(InputError, match="NaN or infinite"):
            Ising.from_bqm(model)
        J = np.array([[0, quadratic], [quadratic, 0]])
        for matrix in (J, sparse.csr_array(J)):
            with pytest.raises(InputError, match="NaN or infinite"):
                Ising.from_arrays([linear, 0.0], matrix, offset)


@pytest.mark.parametrize("form", [np.array, sparse.csr_array, sparse.coo_array, sparse.csc_matrix])
def test_matrices_of_any_form_with_a_diagonal(form: Any) -> None:
    rng = np.random.default_rng(1)
    J = rng.integers(-9, 10, (12, 12)) * (rng.random((12, 12)) < 0.3)
    J = J + J.T
    h = rng.integers(-9, 10, 12)
    spins = rng.choice([-1, 1], (20, 12))
    ising = Ising.from_arrays(h, form(J), 2.5)
    plain = spins @ h + np.einsum("ri,ij,rj->r", spins, J, spins) / 2 + 2.5
    assert (ising.energies(spins) == plain).all()
    assert not ising.dense().diagonal().any()
    assert ising.num_couplings == np.count_nonzero(np.triu(J, 1))
    assert (ising.csr().toarray() == ising.dense()).all()


@pytest.mark.parametrize(
    ("h", "J"),
    [
        ([0.0], np.zeros((2, 2))),
        ([0.0, 0.0], np.zeros((2, 3))),
        ([[0.0, 0.0]], np.zeros((2, 2))),
        ([0.0, 0.0], np.array([[0.0, 1.0], [0.0, 0.0]])),
        ([0.0, 0.0], sparse.csr_array(np.array([[0.0, 1.0], [2.0, 0.0]]))),
    ],
)
def test_shapes_and_symmetry_are_checked(h: Any, J: Any) -> None:
    with pytest.raises(InputError):
        Ising.from_arrays(h, J)


def test_small_and_empty_ones() -> None:
    empty = Ising.from_bqm(dimod.BinaryQuadraticModel({}, {}, 1.5, "BINARY"))
    assert (empty.num_spins, empty.num_couplings, empty.density, empty.largest_field()) == (
        0,
        0,
        0,
        0,
    )
    assert empty.energies(np.empty((3, 0))).tolist() == [1.5] * 3
    one = Ising.from_bqm(dimod.BinaryQuadraticModel({"x": -2.0}, {}, 0.5, "BINARY"))
    assert one.energies([[-1], [1]]).tolist() == [0.5, -1.5]
    assert one.energies(np.empty((0, 1))).shape == (0,)
    with pytest.raises(InputError, match=r"shape \(reads, 1\)"):
        one.energies([[1, 1]])


@given(model=bqms(biases=st.integers(-9, 9)))
@settings(max_examples=40)
def test_no_field_exceeds_the_bound(model: dimod.BinaryQuadraticModel) -> None:
    ising = Ising.from_bqm(model)
    spins, _ = states_of(model)
    if ising.num_spins:
        fields = np.abs(ising.h + spins @ ising.dense())
        assert fields.max() <= ising.largest_field()
        row = int(np.argmax(np.abs(ising.h) + np.abs(ising.dense()).sum(axis=1)))
        worst = np.where(ising.dense()[row] * (ising.h[row] or 1) >= 0, 1, -1)
        assert abs(ising.h[row] + worst @ ising.dense()[row]) == ising.largest_field()


@given(
    values=st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=8),
    unit=st.sampled_from([1.0, 0.5, 0.25, 2.0**-10, 0.1, 0.01, 1e-6, 3.0, 1e6]),
)
def test_integer_scale_finds_the_unit(values: list[int], unit: float) -> None:
    numbers = np.array(values) * unit
    scale = integer_scale(numbers)
    divisor = int(np.gcd.reduce(np.abs(values)))
    assert scale is not None
    if divisor:
        assert scale == pytest.approx(divisor * unit, rel=1e-12)
        whole = np.rint(numbers / scale)
        assert (whole == np.array(values) // divisor).all()


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([], 1.0),
        ([0.0, -0.0], 1.0),
        ([2.0**30, 1.0], 1.0),
        ([2.0**30 + 1, 1.0], None),
        ([2.0**31, 2.0], 2.0),
        ([-6.0, 4.0], 2.0),
        ([1e30], None),
        ([1e-30, 1.0], None),
        ([5e-324], None),
        ([1.0, 1 / 3], None),
        ([1e300, 1.0], None),
        ([1.7e308], None),
        ([1.0, 1 + 1e-10], None),
    ],
)
def test_integer_scale_at_its_edges(values: list[float], scale: float | None) -> None:
    assert integer_scale(np.array(values)) == scale
