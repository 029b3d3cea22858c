"""Every family against dense 4×4 algebra, closed forms and the count of its parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from qbnn.deformation import (
    FAMILIES,
    SHARES,
    SU4,
    Deformation,
    Real4,
    Rotations,
    make_deformation,
    pauli_word,
)
from tests.qbnn import dense

FAMILY = pytest.mark.parametrize("family", FAMILIES)
NUM_PARAMETERS = {
    "none": 0, "h-local": 1, "w-local": 1, "local": 2, "entangling": 2, "real4": 4, "su4": 8,
    "scaled": 1,
}  # fmt: skip
seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-7, 7)


def random_deformation(family: str, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return make_deformation(family, (2, 3), generator=generator, init_std=2.0).double()


def gates(deformation: Deformation) -> Any:
    return deformation.unitary().detach().numpy().reshape(-1, 4, 4)


def words(coefficients: dict[str, torch.Tensor]) -> torch.Tensor:
    zero = torch.zeros_like(next(iter(coefficients.values())))
    return torch.stack([coefficients.get(word, zero) for word in dense.WORDS])


@FAMILY
@given(seed=seeds)
@settings(max_examples=20)
def test_the_observable_is_that_of_the_gate(family: str, seed: int) -> None:
    deformation = random_deformation(family, seed)
    derived = words(deformation.conjugated()).detach().numpy().reshape(15, -1).T
    for gate, found in zip(gates(deformation), derived, strict=True):
        assert np.allclose(gate.conj().T @ gate, np.eye(4), atol=1e-14)
        assert np.allclose(found, dense.coefficients(gate), atol=1e-14)
    general = words(Deformation.conjugated(deformation)).detach().numpy().reshape(15, -1).T
    assert np.allclose(general, derived, atol=1e-14)


@FAMILY
@given(seed=seeds, weight=st.floats(0, 1), activation=st.floats(0, 1))
@settings(max_examples=20)
def test_means_are_expectations(family: str, seed: int, weight: float, activation: float) -> None:
    deformation = random_deformation(family, seed)
    theta, phi = 2 * weight - 1, 2 * activation - 1
    x, chi = 2 * np.sqrt([weight * (1 - weight), activation * (1 - activation)])
    C = deformation.observable().detach().numpy()
    means = np.einsum("a,ab...,b->...", [1, x, theta], C, [1, chi, phi])
    full = torch.full((2, 3), 1.0, dtype=torch.float64)
    alpha, beta, gamma = (
        0 if part is None else part.detach().numpy()
        for part in deformation.coefficients(full * theta, full * x)
    )
    expected = [dense.pair_mean(gate, weight, activation) for gate in gates(deformation)]
    assert np.allclose(means.flatten(), expected, atol=1e-14)
    assert np.allclose((alpha + beta * phi + gamma * chi).flatten(), expected, atol=1e-14)


@FAMILY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_zero_are_the_exclusive_nor(family: str, dtype: torch.dtype) -> None:
    deformation = make_deformation(family, (2, 3), trainable=False).to(dtype)
    assert torch.equal(deformation.unitary().real, torch.eye(4, dtype=dtype).expand(2, 3, 4, 4))
    expected = torch.zeros(3, 3, 2, 3, dtype=dtype)
    expected[2, 2] = 1
    assert torch.equal(deformation.observable(), expected)
    eigenvalues = deformation.eigenvalues()
    assert eigenvalues is None or torch.equal(eigenvalues, torch.ones(2, 3, dtype=dtype))


@FAMILY
def test_how_many_angles_a_gate_has(family: str) -> None:
    """``check_deformation`` holds that each of them moves what is counted."""
    parameters = make_deformation(family, (1, 1)).parameters()
    assert sum(parameter.numel() for parameter in parameters) == NUM_PARAMETERS[family]


class Surplus(Rotations):
    """All eight words, and after them those that commute with ZZ."""

    words: ClassVar[tuple[str, ...]] = (*SU4.words, "XX", "YY", "ZZ", "XY", "YX", "IZ", "ZI")


@given(seed=seeds)
@settings(max_examples=20)
def test_gates_that_commute_with_counting_drop_out(seed: int) -> None:
    full = Surplus((3,), init_std=2.0, generator=torch.Generator().manual_seed(seed)).double()
    core = SU4((3,)).double()
    with torch.no_grad():
        core.angles.copy_(full.angles[:8])
    expected = words(core.conjugated())
    assert torch.allclose(words(full.conjugated()), expected, atol=1e-14)
    assert torch.allclose(words(Deformation.conjugated(full)), expected, atol=1e-14)
    weights = torch.linspace(-1, 1, 15, dtype=torch.float64)
    (slope,) = torch.autograd.grad((weights[:, None] * words(full.conjugated())).sum(), full.angles)
    assert (slope[8:].abs() < 1e-14).all()


# Closed forms: α, β and γ of docs/mathematics.md.


def closed_form(n: Any, m: Any, theta: Any, x: Any) -> tuple[Any, Any, Any]:
    alpha = n[0] * m[1] * x - n[0] * m[2] * theta
    beta = n[1] * m[1] * theta + n[1] * m[2] * x - n[2] * m[0]
    gamma = n[1] * m[0] + n[2] * m[1] * theta + n[2] * m[2] * x
    return alpha, beta, gamma


def on_sphere(u: Any, v: Any) -> Any:
    return np.array([np.sin(u), np.cos(u) * np.cos(v), np.cos(u) * np.sin(v)])


def found_coefficients(family: str, turn: list[float], theta: float) -> tuple[float, ...]:
    deformation = make_deformation(family, (1, 1)).double()
    with torch.no_grad():
        deformation.angles[:, 0, 0] = torch.tensor(turn, dtype=torch.float64)
    spin = torch.full((1, 1), theta, dtype=torch.float64)
    found = deformation.coefficients(spin, (1 - spin**2).sqrt())
    return tuple(0.0 if part is None else part.item() for part in found)


@given(turn=st.lists(angles, min_size=4, max_size=4), theta=st.floats(-1, 1))
def test_closed_form_of_the_complete_real_family(turn: list[float], theta: float) -> None:
    v, v_weight, u, u_weight = turn
    n, m = on_sphere(-u, v), on_sphere(-u_weight, v_weight)
    expected = closed_form(n, m, theta, np.sqrt(1 - theta**2))
    assert found_coefficients("real4", turn, theta) == pytest.approx(expected, abs=1e-14)


@given(b=angles, c=angles, theta=st.floats(-1, 1))
def test_closed_forms_of_its_parts(b: float, c: float, theta: float) -> None:
    x = np.sqrt(1 - theta**2)
    turned = theta * np.cos(c) + x * np.sin(c)
    expected = {
        "none": (0, theta, 0),
        "h-local": (0, theta * np.cos(b), theta * np.sin(b)),
        "w-local": (0, turned, 0),
        "local": (0, turned * np.cos(b), turned * np.sin(b)),
        "entangling": closed_form(on_sphere(-b, 0), on_sphere(-c, 0), theta, x),
    }
    turns = {"none": [], "h-local": [b], "w-local": [c], "local": [c, b], "entangling": [b, c]}
    for family, turn in turns.items():
        found = found_coefficients(family, turn, theta)
        assert found == pytest.approx(expected[family], abs=1e-14)


@given(seed=seeds)
def test_every_real_gate_is_one_of_the_complete_real_family(seed: int) -> None:
    """O of a random SO(4) gate is Σ n_a m_b A_a B_b: a rank of one gives the four angles."""
    gate = dense.haar(4, np.random.default_rng(seed), real=True)
    first = [dense.matrix(word) for word in ("IY", "YX", "YZ")]
    second = [dense.matrix(word) for word in ("YI", "XY", "ZY")]
    counted = dense.observable(gate)
    table = np.array([[np.trace(counted @ a @ b).real / 4 for b in second] for a in first])
    left, sizes, right = np.linalg.svd(table)
    assert sizes == pytest.approx([1, 0, 0], abs=1e-12)
    n, m = left[:, 0], right[0]
    turn = [np.arctan2(n[2], n[1]), np.arctan2(m[2], m[1]), -np.arcsin(n[0]), -np.arcsin(m[0])]
    deformation = Real4(()).double()
    with torch.no_grad():
        deformation.angles.copy_(torch.tensor(turn))
    assert np.allclose(words(deformation.conjugated()).detach(), dense.coefficients(gate))


def test_every_gate_is_one_of_the_complete_family() -> None:
    """Eight angles are found that give O of a random SU(4) gate."""
    generator = torch.Generator().manual_seed(1)
    for seed in range(10):
        gate = dense.haar(4, np.random.default_rng(seed))
        target = torch.from_numpy(dense.coefficients(gate))
        assert distance(target, generator) < 1e-7


def distance(target: torch.Tensor, generator: torch.Generator) -> float:
    deformation = SU4((), init_std=1.5, generator=generator).double()
    optimizer = torch.optim.LBFGS(
        deformation.parameters(), max_iter=500, line_search_fn="strong_wolfe",
        tolerance_grad=1e-14, tolerance_change=1e-18,
    )  # fmt: skip

    def square() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (words(deformation.conjugated()) - target).square().sum()
        loss.backward()
        return loss

    optimizer.step(square)
    return square().detach().sqrt().item()


# What is shared, trained and refused.


@FAMILY
@pytest.mark.parametrize("weight_shape", [(5, 4), (5, 4, 3, 3)])
def test_what_shares_a_gate(family: str, weight_shape: tuple[int, ...]) -> None:
    ones = (1,) * (len(weight_shape) - 2)
    expected = {
        "connection": weight_shape,
        "output": (5, 1, *ones),
        "input": (1, *weight_shape[1:]),
        "layer": (1, 1, *ones),
    }
    for share in SHARES:
        deformation = make_deformation(family, weight_shape, share=share)
        assert deformation.shape == expected[share]
        assert deformation.unitary().shape == (*expected[share], 4, 4)
        assert deformation.observable().shape == (3, 3, *expected[share])
        spin = torch.zeros(weight_shape)
        for part in deformation.coefficients(spin, 1 - spin):
            assert part is None or part.shape == weight_shape


@FAMILY
def test_a_generator_decides_the_angles(family: str) -> None:
    first, again, other = (random_deformation(family, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    moved = [name for name in first if not torch.equal(first[name], other[name])]
    assert bool(moved) == (family != "none")


@FAMILY
def test_frozen_angles_are_saved_but_not_trained(family: str) -> None:
    frozen = make_deformation(family, (2, 3), trainable=False, init_std=1.0)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    again = make_deformation(family, (2, 3), trainable=False)
    again.load_state_dict(frozen.state_dict())
    assert torch.equal(again.observable(), frozen.observable())


@FAMILY
def test_slopes_of_the_observable(family: str) -> None:
    deformation = random_deformation(family, 3)
    if family == "none":
        assert not list(deformation.parameters())
        return
    ((name, parameter),) = deformation.named_parameters()
    what = "eigenvalues" if family == "scaled" else "observable"
    deformation.forward = getattr(deformation, what)

    def observed(values: torch.Tensor) -> Any:
        return torch.func.functional_call(deformation, {name: values}, ())

    assert torch.autograd.gradcheck(observed, parameter.detach().clone().requires_grad_())


def test_wrong_names() -> None:
    with pytest.raises(InputError, match="unknown deformation 'real5'; did you mean 'real4'"):
        make_deformation("real5", (2, 3))
    with pytest.raises(InputError, match=r"unknown share 'channel'; known: connection, output"):
        make_deformation("real4", (2, 3), share="channel")


def test_pauli_words_are_krons() -> None:
    for word in dense.WORDS:
        assert np.array_equal(pauli_word(word).numpy(), dense.matrix(word))
