"""The laws of a count against enumeration, state vectors, exact arithmetic and each other."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from qbnn.emulation import (
    LAWS,
    MOMENT_LAWS,
    count_law,
    counting_wires,
    exact_probability,
    exact_tail,
    fires,
    firing_counts,
    monte_carlo,
    register_law,
    threshold_count,
    z_score,
)
from qbnn.states import Bits, Moments
from tests.qbnn import dense

LAW = pytest.mark.parametrize("law", LAWS)
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
seeds = st.integers(0, 2**32 - 1)
units = st.floats(0, 1, width=32)
probabilities = st.lists(units, min_size=1, max_size=10)


def moments_of(means: torch.Tensor, **normalisation: torch.Tensor) -> Moments:
    """Return the moments of a = Σ s_i of independent spins with these means, (…, N)."""
    return Moments(
        means.sum(-1),
        (1 - means.square()).sum(-1),
        float(means.shape[-1]),
        -2 * (means - means**3).sum(-1),
        normalisation.get("scale"),
        normalisation.get("shift"),
    )


def firing(means: torch.Tensor, law: str, *, lattice: bool, **normalisation: Any) -> torch.Tensor:
    """Return P(fires) by any law, in the manner of a layer."""
    moments = moments_of(means, **normalisation)
    if law == "exact":
        return exact_probability((1 + means) / 2, moments, lattice=lattice)
    return fires(moments, law, lattice=lattice).probability


def random_means(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(*shape, dtype=dtype, generator=generator) - 1


# Thresholds and the register.


@given(fan_in=st.integers(0, 50), threshold=st.floats(allow_nan=False))
def test_a_threshold_is_the_least_count_above(fan_in: int, threshold: float) -> None:
    above = [k for k in range(fan_in + 1) if Fraction(2 * k - fan_in) >= as_fraction(threshold)]
    assume(abs(threshold) > 1e-12 or threshold == 0)  # N + T is rounded
    assert threshold_count(fan_in, threshold) == min(above, default=fan_in + 1)


def as_fraction(x: float) -> Fraction:
    return Fraction(x) if math.isfinite(x) else Fraction(math.copysign(1e300, x))


def test_the_top_bit_of_the_register_is_the_activation() -> None:
    for fan_in in range(40):
        for kappa in range(fan_in + 2):
            t, c = counting_wires(fan_in, kappa)
            assert c >= 0 and c + fan_in < 2**t
            assert [(k + c) >> (t - 1) for k in range(fan_in + 1)] == [
                int(k >= kappa) for k in range(fan_in + 1)
            ]
            # One wire less would not do, whatever the offset.
            assert t == 1 or kappa > 2 ** (t - 2) or fan_in + 1 - kappa > 2 ** (t - 2)


def test_wires_that_the_specification_names() -> None:
    wires = {3: 2, 7: 3, 9: 4, 15: 4, 63: 6, 784: 10}
    assert {n: counting_wires(n, threshold_count(n))[0] for n in wires} == wires


@given(
    fan_in=st.integers(1, 40),
    scale=st.floats(-1e3, 1e3, width=32) | st.integers(-4, 4),
    shift=st.floats(-1e4, 1e4, width=32) | st.integers(-50, 50),
    double=st.booleans(),
)
@settings(max_examples=500)
def test_firing_counts_in_exact_arithmetic(
    fan_in: int, scale: float, shift: float, double: bool
) -> None:
    dtype = torch.float64 if double else torch.float32
    given = torch.tensor([scale], dtype=dtype), torch.tensor([shift], dtype=dtype)
    moments = Moments(torch.zeros(1), torch.ones(1), float(fan_in), None, *given)
    kappa, flipped = (part.item() for part in firing_counts(moments))
    exact = [Fraction(part.item()) for part in given]
    for count in range(fan_in + 1):
        expected = exact[0] * (2 * count - fan_in) + exact[1] >= 0
        assert ((count >= kappa) != flipped) == expected, (count, kappa, flipped)
    assert 0 <= kappa <= fan_in + 1
    assert flipped == (scale < 0)


def test_half_a_normalisation_is_one() -> None:
    """``None`` stands for a scale of 1, and for a shift of 0."""
    means = random_means(6, 5)
    one, zero = torch.ones(6, dtype=means.dtype), torch.zeros(6, dtype=means.dtype)
    for lattice in (True, False):
        for law in LAWS:
            flipped = firing(means, law, lattice=lattice, scale=-one)
            whole = firing(means, law, lattice=lattice, scale=-one, shift=zero)
            assert torch.equal(flipped, whole)
            moved = firing(means, law, lattice=lattice, shift=one)
            assert torch.equal(moved, firing(means, law, lattice=lattice, scale=one, shift=one))


@given(kappa=st.integers(-3, 14), r=probabilities)
def test_counts_out_of_range(kappa: int, r: list[float]) -> None:
    tail = exact_tail(torch.tensor(r, dtype=torch.float64), torch.tensor(kappa)).item()
    if kappa <= 0:
        assert tail == 1
    if kappa > len(r):
        assert tail == 0


# The exact law.


@given(r=probabilities)
@settings(max_examples=40)
def test_the_exact_law_is_that_of_all_bits(r: list[float]) -> None:
    given = torch.tensor(r, dtype=torch.float64)
    law = dense.enumerated_law(given.numpy())
    assert np.allclose(count_law(given), law, atol=1e-14)
    tails = [exact_tail(given, torch.tensor(k)).item() for k in range(len(r) + 2)]
    assert np.allclose(tails, [*law[::-1].cumsum()[::-1], 0], atol=1e-14)


@pytest.mark.parametrize("num_bits", [12, 16])
def test_the_exact_law_of_sixteen_bits(num_bits: int) -> None:
    r = np.random.default_rng(num_bits).random(num_bits)
    states = np.arange(2**num_bits)[:, None] >> np.arange(num_bits) & 1
    weight = np.prod(np.where(states, r, 1 - r), axis=1)
    law = np.bincount(states.sum(1), weight, minlength=num_bits + 1)
    rows = torch.from_numpy(r).expand(num_bits + 1, num_bits)
    tails = exact_tail(rows, torch.arange(num_bits + 1))
    assert np.allclose(count_law(torch.from_numpy(r)), law, atol=1e-14)
    assert np.allclose(tails, law[::-1].cumsum()[::-1], atol=1e-14)


@TYPES
def test_shapes_and_types_of_the_exact_law(dtype: torch.dtype) -> None:
    r = torch.rand(2, 3, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))
    kappa = torch.tensor([1, 2, 5])
    tail = exact_tail(r, kappa)
    assert tail.shape == (2, 3) and tail.dtype == dtype
    law = count_law(r)
    assert law.shape == (2, 3, 5) and law.dtype == dtype
    for j, k in enumerate(kappa):
        assert torch.allclose(tail[:, j], law[:, j, k:].sum(-1), atol=1e-6)


@given(r=st.lists(units, min_size=1, max_size=7), kappa=st.integers(0, 8))
@settings(max_examples=40)
def test_slope_of_the_tail(r: list[float], kappa: int) -> None:
    """dP(K ≥ κ)/dr_i = P(K − n_i = κ − 1), for certain bits too."""
    given = torch.tensor(r, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(exact_tail(given, torch.tensor(kappa)), given)
    for i in range(len(r)):
        others = dense.enumerated_law(np.delete(given.detach().numpy(), i))
        expected = others[kappa - 1] if 1 <= kappa <= len(r) else 0
        assert slope[i].item() == pytest.approx(expected, abs=1e-13)


def test_gradients_of_the_exact_law() -> None:
    r = torch.rand(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kappa = torch.tensor([0, 2, 5])
    assert torch.autograd.gradcheck(lambda r: exact_tail(r, kappa), r.requires_grad_())
    assert torch.autograd.gradcheck(count_law, r)


# The approximate laws.

# Largest errors of P(a ≥ 0), docs/mathematics.md: m = θφ, both uniform in (−1, 1).
STATED = {
    "clt": {16: 0.112, 72: 0.051, 784: 0.015},
    "clt-cc": {16: 0.0038, 72: 0.0009, 784: 0.00006},
    "edgeworth": {16: 0.0016, 72: 0.0002, 784: 0.000008},
}


@pytest.mark.parametrize("fan_in", [16, 72, 784])
@pytest.mark.parametrize("law", MOMENT_LAWS)
def test_errors_of_the_specification(law: str, fan_in: int) -> None:
    means = random_means(2, 300 if fan_in < 100 else 60, fan_in).prod(0)
    error = firing(means, law, lattice=True) - firing(means, "exact", lattice=True)
    assert STATED[law][fan_in] / 3 < error.abs().max().item() < 3 * STATED[law][fan_in]


@given(seed=seeds, fan_in=st.integers(1, 12), lattice=st.booleans())
@settings(max_examples=50)
def test_formulas_of_the_moment_laws(seed: int, fan_in: int, lattice: bool) -> None:
    r = np.random.default_rng(seed).uniform(0.1, 0.9, fan_in)
    kappa, mean, deviation = math.ceil(fan_in / 2), r.sum(), math.sqrt((r * (1 - r)).sum())
    skewness = (r * (1 - r) * (1 - 2 * r)).sum() / deviation**3
    middle = kappa - 0.5 if lattice else fan_in / 2
    y = (middle - mean) / deviation
    normal = scipy.stats.norm
    expected = {
        "clt": normal.cdf((mean - fan_in / 2) / deviation),
        "clt-cc": normal.sf(y),
        "edgeworth": 1 - (normal.cdf(y) + skewness * (1 - y**2) * normal.pdf(y) / 6),
    }
    means = torch.from_numpy(2 * r - 1)
    for law in MOMENT_LAWS:
        found = firing(means, law, lattice=lattice).item()
        assert found == pytest.approx(np.clip(expected[law], 0, 1), abs=1e-12)


@LAW
@pytest.mark.parametrize("lattice", [True, False])
@given(seed=seeds, scale=st.integers(-9, 9), shift=st.integers(-40, 40))
@settings(max_examples=60)
def test_counting_disagreements_is_the_same_neuron(
    law: str, lattice: bool, seed: int, scale: int, shift: int
) -> None:
    """−a with −scale is a with scale: the tie at the threshold stays a firing one."""
    assume(lattice or (scale, shift) != (0, 0))
    means = random_means(4, 9, seed=seed)
    given = {"shift": torch.tensor([shift / 4]).double(), "lattice": lattice}
    left = firing(means, law, scale=torch.tensor([scale / 4]).double(), **given)
    right = firing(-means, law, scale=torch.tensor([-scale / 4]).double(), **given)
    assert torch.allclose(left, right, atol=1e-12)


@LAW
@pytest.mark.parametrize("lattice", [True, False])
def test_a_scale_of_zero_leaves_the_sign_of_the_shift(law: str, lattice: bool) -> None:
    means = random_means(3, 9)
    for zero in (0.0, -0.0):
        for shift in (-300.0, -5.0, -1e-3, 1e-3, 5.0, 300.0):
            for dtype in (torch.float32, torch.float64):
                leaf = means.to(dtype).requires_grad_()
                scale = torch.tensor([zero], dtype=dtype, requires_grad=True)
                threshold = torch.tensor([shift], dtype=dtype, requires_grad=True)
                found = firing(leaf, law, lattice=lattice, scale=scale, shift=threshold)
                assert found.tolist() == [float(shift > 0)] * 3
                slopes = torch.autograd.grad(
                    found.sum(), [leaf, scale, threshold], allow_unused=True
                )
                assert all(slope is None or slope.isfinite().all() for slope in slopes)


@LAW
@TYPES
@pytest.mark.parametrize("lattice", [True, False])
def test_nothing_is_ever_infinite(law: str, dtype: torch.dtype, lattice: bool) -> None:
    """Constant neurons, thresholds at nothing and everything, scales from none to huge."""
    rows = torch.cat(
        [torch.eye(5), -torch.ones(1, 5), torch.ones(1, 5), random_means(3, 5).float()]
    )
    for size in (0.0, 1e-30, 1e-6, 1.0, 1e6, 1e30):
        for sign in (-1.0, 1.0):
            for shift in (0.0, -1e-30, 0.3, -7.0, 1e4, -1e30):
                means = rows.to(dtype).requires_grad_()
                scale = torch.tensor([size * sign], dtype=dtype, requires_grad=True)
                moved = torch.tensor([shift], dtype=dtype, requires_grad=True)
                found = firing(means, law, lattice=lattice, scale=scale, shift=moved)
                assert ((found >= 0) & (found <= 1)).all()
                leaves = [means, scale, moved]
                for slope in torch.autograd.grad(found.sum(), leaves, allow_unused=True):
                    assert slope is None or slope.isfinite().all(), (size, sign, shift)


@LAW
def test_constant_neurons_fire_or_do_not(law: str) -> None:
    for fan_in in (1, 4, 9):
        ones = torch.ones(1, fan_in)
        means = torch.cat([ones, -ones]).requires_grad_()
        found = firing(means, law, lattice=True)
        assert found.tolist() == pytest.approx([1, 0], abs=1e-6)
        (slope,) = torch.autograd.grad(found.sum(), means)
        assert slope.isfinite().all()


@pytest.mark.parametrize("law", MOMENT_LAWS)
@pytest.mark.parametrize("lattice", [True, False])
def test_float32_is_close_to_float64_as_far_as_forty(law: str, lattice: bool) -> None:
    scores = torch.linspace(-40, 40, 401, dtype=torch.float64)
    third = 30 * torch.cos(scores)
    for variance in (1e-3, 1.0, 100.0):
        slopes, values = [], []
        deviation = math.sqrt(max(variance, 0.01))
        for dtype in (torch.float32, torch.float64):
            mean = (scores * deviation).to(dtype).requires_grad_()
            moments = Moments(
                mean, torch.full_like(mean, variance), 784.0, third.to(dtype) * deviation**3 / 100
            )
            bits = fires(moments, law, lattice=lattice)
            (slope,) = torch.autograd.grad(bits.spin.sum() + bits.coherence.sum(), mean)
            assert bits.spin.isfinite().all() and bits.coherence.isfinite().all()
            assert slope.isfinite().all()
            values.append(torch.stack([bits.spin, bits.coherence]).double())
            slopes.append(slope.double() * deviation)
        # An edgeworth probability near 0 or 1 has a coherence of its square root.
        loose = law == "edgeworth"
        assert torch.allclose(values[0], values[1], atol=2e-3 if loose else 2e-5)
        if not loose:
            assert torch.allclose(slopes[0], slopes[1], atol=2e-5)


@pytest.mark.parametrize("law", MOMENT_LAWS)
@pytest.mark.parametrize("lattice", [True, False])
def test_gradients_of_the_moment_laws(law: str, lattice: bool) -> None:
    means = random_means(3, 6).requires_grad_()
    scale = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([0.3, 0.6, -1.7], dtype=torch.float64, requires_grad=True)

    def call(means: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> Bits:
        return fires(moments_of(means, scale=scale, shift=shift), law, lattice=lattice)

    assert torch.autograd.gradcheck(call, (means, scale, shift))


def test_gradients_of_the_smooth_exact_law() -> None:
    r = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scale = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([0.3, 0.6, -1.7], dtype=torch.float64, requires_grad=True)

    def call(r: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        moments = moments_of(2 * r - 1, scale=scale, shift=shift)
        return exact_probability(r, moments, lattice=False)

    assert torch.autograd.gradcheck(call, (r.requires_grad_(), scale, shift))


@given(seed=seeds, scale=st.sampled_from([-2.0, -0.5, 0.5, 3.0]), kappa=st.integers(0, 8))
def test_smooth_is_exact_between_two_counts(seed: int, scale: float, kappa: int) -> None:
    """A threshold halfway between κ − 1 and κ: the smooth law is that of the lattice."""
    means = random_means(2, 7, seed=seed)
    shift = torch.tensor([-scale * (2 * kappa - 1 - 7)], dtype=torch.float64)
    given = {"scale": torch.tensor([scale], dtype=torch.float64), "shift": shift}
    smooth = firing(means, "exact", lattice=False, **given)
    assert torch.allclose(smooth, firing(means, "exact", lattice=True, **given), atol=1e-14)
    inside = 1 <= kappa <= 7
    if inside:
        z = z_score(moments_of(means, **given), lattice=False)
        assert torch.allclose(z, z_score(moments_of(means, **given), lattice=True), atol=1e-12)


@pytest.mark.parametrize("law", ["clt", "exact"])
@pytest.mark.parametrize("scale", [-1.5, 0.8])
def test_smooth_rises_with_the_shift(law: str, scale: float) -> None:
    shift = torch.linspace(-30, 30, 301, dtype=torch.float64)
    means = random_means(7).expand(301, 7)
    found = firing(
        means, law, lattice=False, scale=torch.full_like(shift, scale), shift=shift
    )  # fmt: skip
    assert (found.diff() >= -1e-15).all()
    assert found[0] < 1e-6 and found[-1] > 1 - 1e-6


def test_a_law_without_its_moments() -> None:
    with pytest.raises(InputError, match="third=True"):
        fires(Moments(torch.zeros(1), torch.ones(1), 4.0), "edgeworth", lattice=True)


# Draws, and a register that leaks.


def test_monte_carlo_agrees_with_the_exact_law() -> None:
    r = torch.rand(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kappa = torch.tensor([0, 3, 4, 5, 6, 10])
    draws = 4000
    found = monte_carlo(r, kappa, num_samples=draws, generator=torch.Generator().manual_seed(2))
    exact = exact_tail(r, kappa)
    assert found[0] == 1 and found[5] == 0
    for share, p in zip(found[1:5].tolist(), exact[1:5].tolist(), strict=True):
        hits = round(share * draws)
        best = scipy.stats.binom.logpmf(hits, draws, share)
        assert best - scipy.stats.binom.logpmf(hits, draws, p) < math.log(1e9)
    again = monte_carlo(r, kappa, num_samples=draws, generator=torch.Generator().manual_seed(2))
    assert torch.equal(found, again)


@given(
    seed=seeds,
    num_pairs=st.integers(1, 4),
    num_wires=st.integers(1, 5),
    whole=st.booleans(),
)
@settings(max_examples=40)
def test_the_register_is_that_of_phase_estimation(
    seed: int, num_pairs: int, num_wires: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    eigenvalues = np.ones(num_pairs) if whole else rng.uniform(0.2, 2, num_pairs)
    offset = float(rng.integers(0, 4)) if whole else rng.uniform(0, 4)
    gates = np.array([dense.haar(4, rng) for _ in range(num_pairs)])
    weights, activations = rng.random((2, num_pairs))
    operator = dense.count_operator(gates, eigenvalues)
    state = dense.product_state(weights, activations)
    expected = dense.register_law(operator, state, num_wires, offset)
    r = [(1 + dense.pair_mean(*each)) / 2 for each in zip(gates, weights, activations, strict=True)]
    found = register_law(torch.tensor(r), torch.from_numpy(eigenvalues), num_wires, offset)
    assert np.allclose(found, expected, atol=1e-12)


@given(value=st.floats(0, 7), num_wires=st.integers(1, 4))
def test_one_value_leaks_by_the_kernel_of_fejer(value: float, num_wires: int) -> None:
    size = 2**num_wires
    one = torch.ones(1, dtype=torch.float64)
    found = register_law(one, torch.tensor([value]), num_wires, 0.0)
    value = torch.tensor(value).item()
    u = value - np.arange(size)
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = np.sin(np.pi * u) ** 2 / (size * np.sin(np.pi * u / size)) ** 2
    near = np.abs((u + size / 2) % size - size / 2) < 1e-6
    kernel[near] = 1
    assert np.allclose(found, kernel, atol=1e-9)


def test_gradients_of_the_register() -> None:
    r = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    d = torch.tensor([0.7, 1.1, 1.9], dtype=torch.float64, requires_grad=True)

    def call(r: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return register_law(r, d.expand_as(r), 3, 0.5)

    assert torch.autograd.gradcheck(call, (r.requires_grad_(), d))
