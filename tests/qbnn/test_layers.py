"""Layers against the pairs that they count, state vectors, and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from anneal.errors import InputError
from qbnn.deformation import FAMILIES, SHARES, Real4
from qbnn.deformed import DeformedLayer
from qbnn.emulation import LAWS
from qbnn.layers import DeformedConv2d, DeformedLinear
from qbnn.states import Bits
from tests.qbnn import dense

FAMILY = pytest.mark.parametrize("family", FAMILIES)
LAW = pytest.mark.parametrize("law", LAWS)
SHARE = pytest.mark.parametrize("share", SHARES)
BORDERS = {"conv": (3, 1, 0), "border": (3, 1, 1), "stride": (2, 2, 0), "both": (3, 2, 2)}
KIND = pytest.mark.parametrize("kind", ["dense", *BORDERS])


def make_layer(kind: str, *, seed: int = 1, dtype: Any = torch.float64, **options: Any) -> Any:
    generator = torch.Generator().manual_seed(seed)
    given = {"init_std": 1.5, "generator": generator, **options}
    if kind == "dense":
        return DeformedLinear(18, 4, **given).to(dtype)
    size, stride, padding = BORDERS[kind]
    return DeformedConv2d(2, 3, size, stride=stride, padding=padding, **given).to(dtype)


def make_input(kind: str, *, seed: int = 1, dtype: Any = torch.float64) -> Any:
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(*((3, 18) if kind == "dense" else (3, 2, 5, 6)), generator=generator)
    return p.to(dtype)


def patches(kind: str, p: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every output site and the bits that its neurons read, in the weights' order."""
    values = p.detach().double().numpy()
    if kind == "dense":
        yield from (((b,), row) for b, row in enumerate(values))
        return
    size, stride, padding = BORDERS[kind]
    frame = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    values = np.pad(values, frame)  # a border of bits that are 0
    for b in range(len(values)):
        for row in range((values.shape[2] - size) // stride + 1):
            for column in range((values.shape[3] - size) // stride + 1):
                top, left = row * stride, column * stride
                yield (b, row, column), values[b, :, top : top + size, left : left + size].ravel()


def pairs_of(layer: Any) -> tuple[Any, Any, Any]:
    """Return gates, P(weight bit = 1) and eigenvalues, (out, N, …), from the definitions."""
    shape = layer.latent.shape
    gates = layer.deformation.unitary().expand(*shape, 4, 4).reshape(shape[0], -1, 4, 4)
    d = layer.deformation.eigenvalues()
    d = torch.ones(shape) if d is None else d.expand(shape)
    weights = 1 / (1 + torch.exp(-2 * layer.latent))
    flat = (part.double().flatten(1) for part in (weights, d))
    return tuple(part.detach().numpy() for part in (gates, *flat))


@KIND
@FAMILY
def test_pairs_are_those_of_state_vectors(family: str, kind: str) -> None:
    for share in SHARES if kind == "dense" else SHARES[:1]:
        layer, p = make_layer(kind, deformation=family, share=share), make_input(kind)
        means = layer.pair_means(Bits.from_probability(p)).detach().numpy()
        gates, weights, _ = pairs_of(layer)
        measured = gates.conj().swapaxes(-1, -2) @ dense.matrix("ZZ") @ gates
        for (b, *site), activations in patches(kind, p):
            for j, row in enumerate(weights):
                states = np.array(
                    [dense.pair(*each) for each in zip(row, activations, strict=True)]
                )
                expected = ((states[:, None] @ measured[j])[:, 0] * states).sum(-1).real
                assert np.allclose(means[(b, j, *site)], expected, atol=1e-13)


@KIND
@SHARE
@FAMILY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_are_sums_over_pairs(family: str, share: str, kind: str, dtype: Any) -> None:
    layer = make_layer(kind, deformation=family, share=share, dtype=dtype)
    bits = Bits.from_probability(make_input(kind, dtype=dtype))
    means = layer.pair_means(bits)
    d = torch.from_numpy(pairs_of(layer)[2]).to(dtype)
    d = d.view(len(d), *[1] * (means.dim() - 3), -1)
    exact = torch.finfo(dtype).eps * 1000
    for third in (False, True):
        found = layer.moments(bits, third=third)
        total = d.sum(-1)
        assert torch.allclose(found.mean, (d * means).sum(-1), atol=exact)
        spread = (d**2 * (1 - means**2)).sum(-1)
        assert torch.allclose(found.variance, spread, rtol=exact, atol=exact)
        assert torch.allclose(torch.as_tensor(found.total, dtype=dtype), total, rtol=exact)
        assert (found.third is None) is not third
    skew = -2 * (d**3 * (means - means**3)).sum(-1)
    assert torch.allclose(found.third, skew, rtol=exact, atol=exact)


@KIND
@FAMILY
def test_neurons_are_outputs(family: str, kind: str) -> None:
    layer, p = make_layer(kind, deformation=family, law="exact"), make_input(kind)
    means, out = layer.pair_means(Bits.from_probability(p)), None
    if family != "scaled":
        out = layer(p)
    for j in range(len(layer.latent)):
        neuron = layer.neuron(j)
        assert neuron.fan_in == layer.fan_in and not neuron.flipped
        for (b, *site), activations in list(patches(kind, p))[::7]:
            bits, at = Bits.from_probability(torch.from_numpy(activations)), (b, j, *site)
            assert torch.allclose(neuron.pair_means(bits), means[at], atol=1e-13)
            if out is not None:
                assert torch.allclose(neuron.probability(bits), out[at], atol=1e-13)


@FAMILY
def test_a_small_layer_fires_as_its_state_vector(family: str) -> None:
    """The exact law to rounding, the others to their error."""
    generator = torch.Generator().manual_seed(3)
    options: Any = {"deformation": family, "init_std": 1.0, "generator": generator}
    layer = DeformedLinear(4, 2, **options).double()
    p = torch.rand(5, 4, dtype=torch.float64, generator=generator)
    bits, expected = Bits.from_probability(p), np.empty((5, 2))
    gates, weights, d = pairs_of(layer)
    for j in range(2):
        values, vectors = np.linalg.eigh(dense.count_operator(gates[j], d[j]))
        for b in range(5):
            law = np.abs(vectors.conj().T @ dense.product_state(weights[j], p[b].numpy())) ** 2
            mean = law @ (2 * values - d[j].sum())
            found = layer.moments(bits, third=True)
            centred = 2 * values - d[j].sum() - mean
            assert found.mean[b, j].item() == pytest.approx(mean, abs=1e-12)
            assert found.variance[b, j].item() == pytest.approx(law @ centred**2, abs=1e-12)
            assert found.third[b, j].item() == pytest.approx(law @ centred**3, abs=1e-11)
            expected[b, j] = law[values > d[j].sum() / 2 - 1e-9].sum()
    if family != "scaled":
        for law, error in {"exact": 1e-13, "clt": 0.4, "clt-cc": 0.06, "edgeworth": 0.06}.items():
            layer.law = law
            assert np.abs(layer(p).detach().numpy() - expected).max() < error


@LAW
@FAMILY
@pytest.mark.parametrize("kind", ["dense", "both"])
def test_gradients_of_layers(family: str, law: str, kind: str) -> None:
    layer: Any = make_layer(kind, deformation=family, share="output", law=law, init_std=0.5)
    if law == "exact" and family == "scaled":
        with pytest.raises(InputError, match="law clt"):
            layer(make_input(kind))
        return
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(p: Any, *given: Any) -> Any:
        return functional_call(layer, dict(zip(names, given, strict=True)), (p,))

    p = make_input(kind)[:2, ..., :4] if kind == "both" else make_input(kind)[:2]
    leaves = [v.detach().clone().requires_grad_() for v in (0.1 + 0.8 * p, *values)]
    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


@KIND
@pytest.mark.parametrize(
    ("family", "share"),
    [*((family, "connection") for family in FAMILIES), *(("real4", share) for share in SHARES[1:])],
)
def test_float32_is_close_to_float64(family: str, share: str, kind: str) -> None:
    """Values and slopes, by whatever path each type takes."""
    found = []
    for dtype in (torch.float32, torch.float64):
        layer = make_layer(kind, deformation=family, share=share, dtype=dtype)
        p = make_input(kind, dtype=dtype).requires_grad_()
        moments = layer.moments(Bits.from_probability(p))
        loss = (moments.mean * moments.variance.sqrt()).sum()
        leaves = [p, *layer.parameters()]
        slopes = torch.autograd.grad(loss, leaves)
        found.append([moments.mean, moments.variance, *slopes])
    for single, double in zip(*found, strict=True):
        assert torch.allclose(single.double(), double, atol=1e-5 * (1 + double.abs().max().item()))


@FAMILY
@LAW
def test_slopes_are_finite_whatever_the_weights(family: str, law: str) -> None:
    if law == "exact" and family == "scaled":
        return
    generator = torch.Generator().manual_seed(1)
    for size in (0.0, 1.0, 30.0, 100.0, 1e4):
        options: Any = {"deformation": family, "law": law, "generator": generator}
        layer = DeformedLinear(12, 5, init_std=1.0, **options)
        with torch.no_grad():
            layer.latent.copy_(size * torch.randn(5, 12, generator=generator).sign())
        p = torch.cat([torch.eye(12), 1 - torch.eye(12), torch.full((1, 12), 0.5)])
        out = layer(p.requires_grad_())
        assert ((out >= 0) & (out <= 1)).all()
        for slope in torch.autograd.grad(out.sum(), [p, *layer.parameters()]):
            assert slope.isfinite().all()


@KIND
@pytest.mark.parametrize("law", ["clt-cc", "edgeworth", "exact"])
def test_certain_bits_are_a_binary_network(kind: str, law: str) -> None:
    """Weights and activations ±1: the neuron fires iff a ≥ 0, ties included."""
    layer = make_layer(kind, law=law)
    with torch.no_grad():
        layer.latent.copy_(60 * layer.latent.sign())
    p = make_input(kind).round()
    out = layer(p)
    for j in range(len(layer.latent)):
        weights = layer.latent[j].detach().sign().flatten().numpy()
        for (b, *site), activations in patches(kind, p):
            fires = weights @ (2 * activations - 1) >= 0
            assert out[(b, j, *site)].item() == pytest.approx(float(fires), abs=1e-9)


class Turned(Real4):
    """A child of another family: what the family has compiled is not its own."""

    words: ClassVar[tuple[str, ...]] = ("YI", "IX", "ZY", "XI")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_child_of_a_family_is_itself(dtype: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    turned = Turned((4, 18), init_std=1.0, generator=generator)
    layer = DeformedLinear(18, 4, deformation=turned, generator=generator).to(dtype)
    bits = Bits.from_probability(make_input("dense", dtype=dtype))
    means, moments = layer.pair_means(bits).sum(-1), layer.moments(bits)
    gates, weights, _ = pairs_of(layer)
    for (b,), activations in patches("dense", bits.probability):
        expected = sum(map(dense.pair_mean, gates[0], weights[0], activations))
        assert means[b, 0].item() == pytest.approx(expected, abs=1e-5)
        assert moments.mean[b, 0].item() == pytest.approx(expected, abs=1e-5)


# No tensor of shape batch × out × in.


class Largest(TorchDispatchMode):
    """Remember the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if isinstance(part, torch.Tensor):
                self.numel = max(self.numel, part.untyped_storage().nbytes() // part.itemsize)
        return out


@FAMILY
@pytest.mark.parametrize("law", ["clt", "edgeworth"])
@pytest.mark.parametrize("conv", [False, True])
def test_no_tensor_is_as_large_as_all_pairs(family: str, law: str, conv: bool) -> None:
    batch, out, fan = 40, 40, 45
    options: Any = {"deformation": family, "law": law, "init_std": 1.0}
    if conv:
        layer: DeformedLayer = DeformedConv2d(fan // 9, out, 3, padding=1, **options)
        p, sites, read = torch.rand(batch, fan // 9, 6, 7), 6 * 7, batch * (fan // 9) * 8 * 9
    else:
        layer = DeformedLinear(fan, out, **options)
        p, sites, read = torch.rand(batch, fan), 1, batch * fan
    with Largest() as largest:
        layer(p.requires_grad_()).sum().backward()
    # The features of a third moment are six times the input; of weights there are as many.
    assert largest.numel <= 8 * max(read, out * fan, batch * out * sites)
    assert largest.numel < batch * out * fan * sites / 4


# Real inputs, seeds and refusals.


def test_moments_of_real_inputs() -> None:
    for kind in ("dense", "both"):
        layer, values = make_layer(kind), 3 * make_input(kind) - 1
        found = layer.moments_of_values(values)
        theta = torch.tanh(layer.latent).detach().numpy().reshape(len(layer.latent), -1)
        for (b, *site), x in patches(kind, values):
            for j, row in enumerate(theta):
                assert found.mean[(b, j, *site)].item() == pytest.approx(row @ x, abs=1e-12)
                expected = (1 - row**2) @ x**2
                assert found.variance[(b, j, *site)].item() == pytest.approx(expected, abs=1e-12)


def test_spins_are_real_inputs_too() -> None:
    layer, p = make_layer("dense"), make_input("dense").round()
    bits = layer.moments(Bits.from_probability(p))
    values = layer.moments_of_values(2 * p - 1)
    assert torch.allclose(bits.mean, values.mean)
    assert torch.allclose(bits.variance, values.variance)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_a_generator_decides_the_layer(seed: int) -> None:
    before = torch.get_rng_state()
    first, again = (make_layer("both", seed=seed, deformation="su4") for _ in range(2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(before, torch.get_rng_state())


@KIND
@LAW
def test_an_empty_batch(kind: str, law: str) -> None:
    layer = make_layer(kind, deformation="real4", law=law, dtype=torch.float32)
    out = layer(make_input(kind, dtype=torch.float32)[:0])
    assert out.shape[0] == 0 and out.shape[1] == len(layer.latent)


def test_memory_format_and_strides_change_nothing() -> None:
    layer, p = make_layer("both", deformation="real4", dtype=torch.float32), make_input("both")
    p = p.float()
    expected = layer(p)
    assert torch.allclose(layer(p.to(memory_format=torch.channels_last)), expected, atol=1e-6)
    strided = torch.zeros(3, 2, 5, 12)
    strided[..., ::2] = p
    assert torch.allclose(layer(strided[..., ::2]), expected, atol=1e-6)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: make_layer("dense", law="exakt"), "unknown law 'exakt'; "),
    (lambda: make_layer("dense", deformation="real5"), "unknown deformation 'real5'"),
    (lambda: make_layer("dense", share="each"), "unknown share 'each'"),
    (lambda: make_layer("dense")(torch.rand(3, 9)), r"\(batch, 18\).*\(3, 9\)"),
    (lambda: make_layer("dense")(torch.rand(18)), r"\(batch, 18\).*\(18,\)"),
    (lambda: make_layer("conv")(torch.rand(3, 1, 5, 5)), r"\(batch, 2, .*\(3, 1, 5, 5\)"),
    (lambda: make_layer("conv")(torch.rand(2, 5, 5)), r"\(batch, 2, .*\(2, 5, 5\)"),
    (lambda: make_layer("conv")(torch.rand(3, 2, 2, 5)), r"≥3, ≥3\).*\(3, 2, 2, 5\)"),
    (lambda: make_layer("conv").moments_of_values(torch.rand(3, 4)), r"\(3, 4\)"),
    (
        lambda: make_layer("dense", deformation="h-local").moments_of_values(torch.rand(3, 18)),
        "undeformed",
    ),
    (lambda: make_layer("dense").neuron(4), "no neuron 4; the layer has 4"),
    (lambda: make_layer("dense").neuron(-1), "no neuron -1"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refusals_are_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
