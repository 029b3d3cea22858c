"""One neuron against the spectrum of its deformed count and the circuit that reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from qbnn.deformation import FAMILIES, make_deformation
from qbnn.neuron import Neuron
from qbnn.states import Bits
from tests.qbnn import dense

FAMILY = pytest.mark.parametrize("family", FAMILIES)
seeds = st.integers(0, 2**32 - 1)


def make_neuron(family: str, fan_in: int, seed: int, **options: Any) -> tuple[Neuron, Any]:
    """Return a random neuron, and P(weight bit = 1)."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(fan_in, dtype=torch.float64, generator=generator)
    deformation = make_deformation(family, (fan_in,), init_std=2.0, generator=generator).double()
    neuron = Neuron(
        Bits.from_probability(p),
        deformation.unitary().detach(),
        kappa=options.pop("kappa", (fan_in + 1) // 2),
        eigenvalues=None if family != "scaled" else deformation.eigenvalues().detach(),
        **options,
    )
    return neuron, p.numpy()


def activations(fan_in: int, seed: int, *batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.rand(*batch, fan_in, dtype=torch.float64, generator=generator)


@FAMILY
@given(seed=seeds, fan_in=st.integers(1, 3))
@settings(max_examples=10)
def test_the_count_is_the_spectrum_of_the_operator(family: str, seed: int, fan_in: int) -> None:
    neuron, weights = make_neuron(family, fan_in, seed)
    p = activations(fan_in, seed)
    law = dense.count_law(neuron.gates.numpy(), weights, p.numpy())
    assert np.allclose(neuron.count_law(Bits.from_probability(p)), law, atol=1e-12)


@pytest.mark.parametrize("family", ["real4", "su4"])
def test_four_pairs(family: str) -> None:
    neuron, weights = make_neuron(family, 4, 7)
    p = activations(4, 7)
    law = dense.count_law(neuron.gates.numpy(), weights, p.numpy())
    assert np.allclose(neuron.count_law(Bits.from_probability(p)), law, atol=1e-12)


@FAMILY
@given(seed=seeds, fan_in=st.integers(1, 3), data=st.data())
@settings(max_examples=10)
def test_the_register_and_its_top_bit(family: str, seed: int, fan_in: int, data: Any) -> None:
    """P(fires) is that of the top bit after phase estimation, leakage included."""
    kappa, flipped = data.draw(st.integers(0, fan_in + 1)), data.draw(st.booleans())
    neuron, weights = make_neuron(family, fan_in, seed, kappa=kappa, flipped=flipped)
    p = activations(fan_in, seed)
    bits = Bits.from_probability(p)
    d = np.ones(fan_in) if neuron.eigenvalues is None else neuron.eigenvalues.numpy()
    operator = dense.count_operator(neuron.gates.numpy(), d)
    t, c = neuron.counting_wires
    assert d.sum() + c <= 2**t
    expected = dense.register_law(operator, dense.product_state(weights, p.numpy()), t, c)
    assert np.allclose(neuron.register(bits), expected, atol=1e-10)
    top = expected[2 ** (t - 1) :].sum()
    assert neuron.probability(bits).item() == pytest.approx(1 - top if flipped else top, abs=1e-10)


@FAMILY
def test_a_batch_is_its_rows(family: str) -> None:
    neuron, _ = make_neuron(family, 6, 1)
    p = activations(6, 1, 2, 3)
    bits = Bits.from_probability(p)
    assert neuron.pair_means(bits).shape == (2, 3, 6)
    assert neuron.count_law(bits).shape == (2, 3, 7)
    for found, row in zip(neuron.probability(bits).flatten(), p.reshape(-1, 6), strict=True):
        assert torch.allclose(found, neuron.probability(Bits.from_probability(row)), atol=1e-14)


@FAMILY
def test_gradients_of_a_neuron(family: str) -> None:
    neuron, _ = make_neuron(family, 3, 1)

    def call(p: torch.Tensor) -> torch.Tensor:
        return neuron.probability(Bits.from_probability(p))

    assert torch.autograd.gradcheck(call, activations(3, 1, 2).requires_grad_())


def test_thresholds_out_of_range() -> None:
    bits = Bits.from_probability(activations(5, 1))
    for flipped in (False, True):
        always, _ = make_neuron("real4", 5, 1, kappa=0, flipped=flipped)
        never, _ = make_neuron("real4", 5, 1, kappa=6, flipped=flipped)
        assert always.probability(bits) == 1 - flipped
        assert never.probability(bits) == flipped


@given(seed=seeds, fan_in=st.integers(1, 9), data=st.data())
@settings(max_examples=40)
def test_some_of_the_pairs(seed: int, fan_in: int, data: Any) -> None:
    kappa = data.draw(st.integers(0, fan_in + 1))
    indices = data.draw(st.lists(st.integers(0, fan_in - 1), min_size=1, unique=True))
    neuron, _ = make_neuron("real4", fan_in, seed, kappa=kappa)
    part = neuron.subset(indices)
    p = activations(fan_in, seed)
    means = neuron.pair_means(Bits.from_probability(p))
    assert torch.equal(part.pair_means(Bits.from_probability(p[indices])), means[indices])
    # The share of agreeing pairs from which it fires is kept, half a count either way.
    share = (kappa - 0.5) / fan_in
    assert part.kappa == max(0, np.ceil(round(share * len(indices), 9)))
    assert (part.kappa == 0) <= (share * len(indices) <= 0)
    assert neuron.subset(range(fan_in)).kappa == kappa
    if kappa in (0, fan_in + 1):  # one that always or never fires still does
        assert part.kappa == (0 if kappa == 0 else len(indices) + 1)


def test_some_of_the_scaled_pairs() -> None:
    """The threshold is kept as a share of the sum of the eigenvalues."""
    d = torch.tensor([1.0, 1.0, 6.0, 6.0, 6.0, 6.0], dtype=torch.float64)
    whole, _ = make_neuron("none", 6, 1)
    neuron = Neuron(whole.weight, whole.gates, kappa=13, eigenvalues=d)
    assert neuron.subset(range(6)).kappa == 13
    assert neuron.subset([2, 3]).kappa == 6
    assert neuron.subset([0, 1]).kappa == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n.pair_means(Bits.from_probability(torch.rand(4))), "reads 5 bits.* given 4"),
        (
            lambda n: n.probability(Bits.from_probability(torch.rand(2, 6))),
            "reads 5 bits.* given 6",
        ),
        (lambda n: n.subset([]), "no pair was chosen"),
        (lambda n: n.subset([0, 5]), "no pair 5; the neuron has 5"),
        (lambda n: n.subset([-1]), "no pair -1; the neuron has 5"),
    ],
)
def test_refusals_are_one_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        call(make_neuron("real4", 5, 1)[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types(dtype: Any) -> None:
    neuron, _ = make_neuron("su4", 4, 1)
    single = Neuron(
        Bits(*(part.to(dtype) for part in neuron.weight)),
        neuron.gates.to(dtype.to_complex()),
        kappa=2,
    )
    bits = Bits.from_probability(activations(4, 1))
    expected = neuron.probability(bits)
    found = single.probability(Bits(*(part.to(dtype) for part in bits)))
    assert found.dtype == dtype
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
