"""Signs, pseudo-gradients and binary layers against closed forms and integer counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from anneal.errors import InputError
from anneal.registry import resolve
from qbnn.binary import (
    PSEUDO_GRADIENTS,
    BinaryConv2d,
    BinaryLayer,
    BinaryLinear,
    annealed_sharpness,
    bits_to_spins,
    bits_to_z,
    sign,
    spins_to_bits,
)
from qbnn.kernels import packed
from qbnn.kernels.packed import Layer, pack, unpack

SHARPNESSES = (0.3, 1.0, 5.0)


def smooth_sign(name: str, a: Tensor, sharpness: float) -> Tensor:
    """The functions whose slopes the papers take, as the papers give them."""
    x = sharpness * a
    if name == "clip":
        return x.clamp(-1, 1)
    if name == "identity":
        return x
    if name == "polynomial":
        inside = torch.where(x < 0, 2 * x + x**2, 2 * x - x**2)
        return torch.where(x.abs() < 1, inside, torch.sign(x))
    if name == "swish":
        half = torch.sigmoid(x)
        return 2 * half * (1 + x * (1 - half)) - 1
    return max(1 / sharpness, 1) * torch.tanh(x)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw_spins(*shape: int, seed: int = 1) -> Tensor:
    return bits_to_spins(torch.randint(0, 2, shape, generator=generator(seed)).float())


def bits_of(spins: Tensor) -> np.ndarray:
    return spins_to_bits(spins.detach()).numpy()


# Signs


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_bits_spins_and_z_are_one_thing(dtype: torch.dtype) -> None:
    bits = torch.tensor([0, 1, 1], dtype=dtype)
    assert bits_to_spins(bits).tolist() == [-1, 1, 1]
    assert bits_to_z(bits).tolist() == [1, -1, -1]
    assert torch.equal(bits_to_z(bits), -bits_to_spins(bits))
    assert spins_to_bits(bits_to_spins(bits)).tolist() == [0, 1, 1]


def test_probabilities_become_spin_means() -> None:
    p = torch.tensor([0.25, 1.0], requires_grad=True)
    assert bits_to_spins(p).tolist() == [-0.5, 1]
    assert torch.equal(spins_to_bits(bits_to_spins(p)), p)
    bits_to_spins(p).sum().backward()
    assert p.grad is not None and p.grad.tolist() == [2, 2]


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_zero_fires(name: str) -> None:
    a = torch.tensor([-1e-30, -0.0, 0.0, 1e-30, -torch.inf, torch.inf])
    assert sign(a, name).tolist() == [-1, 1, 1, 1, -1, 1]
    assert sign(a.double(), name).dtype == torch.float64


@pytest.mark.parametrize("sharpness", SHARPNESSES)
@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_pseudo_gradients_are_the_slopes_of_smooth_signs(name: str, sharpness: float) -> None:
    a = torch.linspace(-4, 4, 4001, dtype=torch.float64)[1:-1:7]
    a = a[(a.abs() * sharpness - 1).abs() > 1e-6].requires_grad_()
    outer = torch.linspace(-1, 2, len(a), dtype=torch.float64)
    (wanted,) = torch.autograd.grad(smooth_sign(name, a, sharpness), a, outer)
    (found,) = torch.autograd.grad(sign(a, name, sharpness=sharpness), a, outer)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_pseudo_gradients_are_finite_far_out(name: str) -> None:
    far = torch.tensor([-1e6, -89.0, 0.0, 89.0, 1e6], requires_grad=True)
    sign(far, name).sum().backward()
    assert far.grad is not None and far.grad.isfinite().all()
    assert torch.equal(far.grad, far.grad.flip(0))


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_defaults_are_the_papers(name: str) -> None:
    slope = resolve(PSEUDO_GRADIENTS, name, kind="pseudo-gradient")
    at_zero = {"clip": 1, "identity": 1, "polynomial": 2, "swish": 5, "tanh": 1}
    assert slope(torch.zeros(1)).item() == at_zero[name]


def test_sharpness_is_annealed_from_a_tenth_to_ten() -> None:
    betas = [annealed_sharpness(progress) for progress in (0, 0.25, 0.5, 1)]
    assert betas == pytest.approx([0.1, 10**-0.5, 1, 10])


def test_an_unknown_pseudo_gradient_is_named() -> None:
    with pytest.raises(InputError, match="unknown pseudo-gradient 'clop'; did you mean 'clip'"):
        sign(torch.zeros(1), "clop")
    with pytest.raises(InputError, match="unknown pseudo-gradient"):
        BinaryLinear(2, 2, pseudo_gradient="clop")


# Layers


@given(st.sampled_from([1, 9, 64, 100, 784]), st.integers(1, 70), st.integers(0, 99))
@settings(max_examples=30)
def test_a_dense_layer_is_twice_the_count_less_the_fan_in(
    fan_in: int, num_outputs: int, seed: int
) -> None:
    layer = BinaryLinear(fan_in, num_outputs, generator=generator(seed))
    spins = draw_spins(5, fan_in, seed=seed)
    words = pack(bits_of(layer.weight))
    counts = packed.dense_counts(pack(bits_of(spins)), Layer.of(words, fan_in=fan_in))
    a = layer(spins)
    assert np.array_equal(a.detach().numpy(), 2 * counts - fan_in)
    half = Layer.of(words, kappa=-(-fan_in // 2), fan_in=fan_in)
    fired = unpack(packed.dense(pack(bits_of(spins)), half), num_outputs)
    assert np.array_equal(fired, bits_of(sign(a)))


@pytest.mark.parametrize(
    ("channels", "width", "size", "stride", "padding"),
    [(1, 8, 3, 1, 1), (3, 16, 3, 2, 0), (70, 5, 2, 2, 1), (64, 33, 5, 1, 2)],
)
def test_a_convolution_is_twice_the_count_less_the_fan_in(
    channels: int, width: int, size: int, stride: int, padding: int
) -> None:
    layer = BinaryConv2d(
        channels, width, size, stride=stride, padding=padding, generator=generator()
    )
    spins = draw_spins(3, channels, 7, 6)
    a = layer(spins)
    assert torch.equal(a, a.round()) and bool((a.abs() <= layer.fan_in).all())
    assert bool(((a + layer.fan_in) % 2 == 0).all())
    weights = pack(bits_of(layer.weight).transpose(0, 2, 3, 1).reshape(width, -1))
    images = pack(bits_of(spins).transpose(0, 2, 3, 1))
    for kappa in (layer.fan_in // 2, -(-layer.fan_in // 2), 1 + layer.fan_in // 2):
        fired = packed.conv2d(
            images,
            Layer.of(weights, kappa, fan_in=layer.fan_in),
            channels=channels,
            kernel_size=size,
            stride=stride,
            padding=padding,
        )
        wanted = (a >= 2 * kappa - layer.fan_in).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(unpack(fired, width), wanted)


def test_the_fan_in_is_the_same_at_the_border() -> None:
    layer = BinaryConv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        layer.latent.fill_(-1.0)
    assert torch.equal(layer(-torch.ones(1, 1, 4, 4)), torch.full((1, 1, 4, 4), 9.0))


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_latent_weights_learn_by_the_pseudo_gradient(name: str) -> None:
    layer = BinaryLinear(6, 4, pseudo_gradient=name, generator=generator()).double()
    layer.sharpness = 0.7
    spins = draw_spins(5, 6).double()
    outer = torch.randn(5, 4, generator=generator(), dtype=torch.float64)
    layer(spins).backward(outer)
    slope = resolve(PSEUDO_GRADIENTS, name, kind="pseudo-gradient")
    wanted = outer.T @ spins * slope(layer.latent.detach(), 0.7)
    assert layer.latent.grad is not None
    torch.testing.assert_close(layer.latent.grad, wanted)


def test_layers_are_linear_in_what_they_read() -> None:
    dense = BinaryLinear(6, 4, generator=generator()).double()
    conv = BinaryConv2d(2, 3, 3, stride=2, padding=1, generator=generator()).double()
    for layer, shape in ((dense, (3, 6)), (conv, (2, 2, 5, 5))):
        inputs = torch.randn(shape, generator=generator(), dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(layer, inputs)


@pytest.mark.parametrize("layer", [BinaryLinear(30, 20), BinaryConv2d(3, 20, 3)])
def test_latent_weights_begin_small_and_are_clipped(layer: BinaryLayer) -> None:
    fan_out = layer.latent.numel() // layer.latent.shape[1]
    bound = (6 / (layer.fan_in + fan_out)) ** 0.5
    assert 0.9 * bound < layer.latent.abs().max() <= bound
    with torch.no_grad():
        layer.latent.mul_(10)
    signs = layer.weight.detach().clone()
    layer.clip_latent_()
    assert layer.latent.abs().max() == 1
    assert torch.equal(layer.weight, signs)
    assert layer.latent.requires_grad


def test_a_seed_gives_the_same_weights() -> None:
    first, second = (BinaryLinear(9, 4, generator=generator(3)) for _ in range(2))
    assert torch.equal(first.latent, second.latent)


def test_a_small_net_learns_parity_of_three() -> None:
    """Every state of three spins, their product: no single binary neuron can say it."""
    first = BinaryLinear(3, 32, generator=generator())
    second = BinaryLinear(32, 1, generator=generator(2))
    norm = torch.nn.BatchNorm1d(32)
    spins = bits_to_spins(torch.tensor([[k >> j & 1 for j in range(3)] for k in range(8)]).float())
    wanted = spins_to_bits(spins.prod(1))
    parameters = [*first.parameters(), *second.parameters(), *norm.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        logits = second(sign(norm(first(spins))))[:, 0] / 4
        F.binary_cross_entropy_with_logits(logits, wanted).backward()
        optimiser.step()
        first.clip_latent_()
        second.clip_latent_()
    assert torch.equal(spins_to_bits(sign(logits)), wanted)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InputError, match=r"spins of shape \(…, 4\), but was given \(2, 3\)"):
        BinaryLinear(4, 2)(torch.ones(2, 3))
    with pytest.raises(InputError, match=r"\(batch, 2, rows, columns\), but was given \(1, 3, 4,"):
        BinaryConv2d(2, 2, 3)(torch.ones(1, 3, 4, 4))
