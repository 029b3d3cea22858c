"""Bits and their coherences, at any certainty and in either precision."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbnn.states import Bits

FARTHEST = 40.0
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def scores(dtype: torch.dtype, *, graph: bool = False) -> torch.Tensor:
    return torch.linspace(-FARTHEST, FARTHEST, 2001, dtype=dtype, requires_grad=graph)


@given(p=st.floats(0, 1))
def test_a_bit_of_known_probability(p: float) -> None:
    bit = Bits.from_probability(torch.tensor(p, dtype=torch.float64))
    assert bit.probability.item() == pytest.approx(p, abs=1e-15)
    assert bit.coherence.item() == pytest.approx(2 * np.sqrt(p * (1 - p)), rel=1e-12)
    assert (bit.spin**2 + bit.coherence**2).item() == pytest.approx(1, abs=1e-12)


@TYPES
def test_certain_bits_have_a_gradient(dtype: torch.dtype) -> None:
    least = torch.finfo(dtype).tiny
    p = torch.tensor([0.0, 1.0, -0.0, least, 1 - 1e-7], dtype=dtype, requires_grad=True)
    spin, coherence = Bits.from_probability(p)
    (spin.sum() + coherence.sum()).backward()
    assert p.grad is not None and p.grad.isfinite().all()
    assert p.grad[:3].tolist() == [2, 2, 2]  # the spin's alone


@TYPES
def test_the_normal_law_to_the_far_tails(dtype: torch.dtype) -> None:
    z = scores(dtype)
    spin, coherence = Bits.from_z(z)
    far = z.double().numpy()
    expected = 2 * np.exp((scipy.stats.norm.logcdf(far) + scipy.stats.norm.logsf(far)) / 2)
    rounding = torch.finfo(dtype).eps
    assert np.abs(spin.numpy() - (2 * scipy.stats.norm.cdf(far) - 1)).max() < 4 * rounding
    # Rounding z alone moves the tail by z² of it; where the tail underflows, χ is below 1e-18.
    assert np.allclose(coherence.numpy(), expected, rtol=2000 * rounding, atol=1e-18)


@TYPES
def test_slopes_to_the_far_tails(dtype: torch.dtype) -> None:
    z = scores(dtype, graph=True)
    spin, coherence = Bits.from_z(z)
    (of_spin,) = torch.autograd.grad(spin.sum(), z, retain_graph=True)
    (of_coherence,) = torch.autograd.grad(coherence.sum(), z)
    far = z.detach().double().numpy()
    density = scipy.stats.norm.pdf(far)
    root = np.exp((scipy.stats.norm.logcdf(far) + scipy.stats.norm.logsf(far)) / 2)
    slope = (1 - 2 * scipy.stats.norm.cdf(far)) * density / root
    assert np.allclose(of_spin.numpy(), 2 * density, rtol=1e-4, atol=1e-37)
    assert np.allclose(of_coherence.numpy(), slope, rtol=1e-4, atol=torch.finfo(dtype).eps)


def test_gradients_are_those_of_the_values() -> None:
    z = torch.linspace(-8, 8, 17, dtype=torch.float64, requires_grad=True)
    p = torch.linspace(0.01, 0.99, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Bits.from_z, z)
    assert torch.autograd.gradcheck(Bits.from_probability, p)


@TYPES
def test_infinite_scores_are_certain_bits(dtype: torch.dtype) -> None:
    z = torch.tensor([-torch.inf, torch.inf], dtype=dtype, requires_grad=True)
    spin, coherence = Bits.from_z(z)
    (spin.sum() + coherence.sum()).backward()
    assert spin.tolist() == [-1, 1] and coherence.tolist() == [0, 0]
    assert z.grad is not None and z.grad.tolist() == [0, 0]


def test_opposite_scores_are_opposite_bits() -> None:
    left, right = Bits.from_z(scores(torch.float32)), Bits.from_z(-scores(torch.float32))
    assert torch.equal(left.spin, -right.spin)
    assert torch.equal(left.coherence, right.coherence)


def test_both_makers_agree() -> None:
    z = torch.linspace(-5, 5, 101, dtype=torch.float64)
    for a, b in zip(Bits.from_z(z), Bits.from_probability(torch.special.ndtr(z)), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-14)


def test_measured_bits_have_no_coherence() -> None:
    assert Bits.measured(torch.tensor([0.0, 1.0])).spin.tolist() == [-1, 1]
    assert Bits.measured(torch.tensor([0.0, 1.0])).coherence.tolist() == [0, 0]


def test_flatten_keeps_the_batch() -> None:
    bits = Bits.from_probability(torch.rand(2, 3, 4, 5)).flatten()
    assert bits.spin.shape == bits.coherence.shape == (2, 60)
