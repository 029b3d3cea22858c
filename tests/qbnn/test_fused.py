"""Compiled passes against the definitions in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbnn import fused
from qbnn.config import make_config
from qbnn.deformation import FAMILIES
from qbnn.deformed import DeformedLayer
from qbnn.emulation import VARIANCE_FLOOR, z_score
from qbnn.layers import DeformedConv2d, DeformedLinear
from qbnn.models import Network
from qbnn.states import Bits, Moments
from qbnn.stochastic import StochasticBatchNorm, pool, pool_index, pool_moments

Shape = tuple[int, ...]
SHAPES = [(1, 1), (5, 3), (300, 16), (2, 17), (3, 33), (4, 5, 3, 2), (3, 8, 7, 7), (2, 20, 3, 1)]


def normals(shape: Shape, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_moments(shape: Shape, seed: int, *, spread: float = 3.0) -> Moments:
    """Moments in channels-last memory, some of them beside others, with extreme ones among them."""
    both = spread * normals((shape[0], 2 * shape[1], *shape[2:]), seed)
    if len(shape) == 4:
        both = both.contiguous(memory_format=torch.channels_last)
    mean, variance = both.chunk(2, 1)
    ones = [1] * (len(shape) - 2)
    scale, shift = (normals((shape[1],), seed + k).view(-1, *ones) for k in (1, 2))
    return Moments(mean, variance.square() * 0.2, 9.0, None, scale, shift)


def gradients(output: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch.autograd.grad(output, inputs))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coherent", [True, False])
@pytest.mark.parametrize("border", [0.0, 1.0])
def test_features_are_those_of_the_smooth_law(shape: Shape, coherent: bool, border: float) -> None:
    moments = make_moments(shape, 0)
    leaves = [part.detach().clone() for part in (*moments[:2], *moments[4:]) if part is not None]
    found, expected = [], []
    for dtype, into in ((torch.float32, found), (torch.float64, expected)):
        inputs = [leaf.to(dtype).requires_grad_() for leaf in leaves]
        state = Moments(inputs[0], inputs[1], 9.0, None, inputs[2], inputs[3])
        if dtype == torch.float32:
            features = fused.smooth_features(state, coherent=coherent, border=border)
            line, square = features
        else:
            spin, chi = Bits.from_z(z_score(state, lattice=False))
            parts = [spin + border, chi][: 1 + coherent], [spin**2 - border, spin * chi]
            line, square = torch.cat(parts[0], 1), torch.cat(parts[1][: 1 + coherent], 1)
        weights = normals(tuple(line.shape), 5).to(dtype), normals(tuple(line.shape), 6).to(dtype)
        total = (weights[0] * line).sum() + (weights[1] * square).sum()
        into += [line, square, *gradients(total, inputs)]
    for a, b in zip(found, expected, strict=True):
        scale = 1 + b.abs().max()
        assert a.shape == b.shape
        assert (a - b).abs().max() < 2e-5 * scale


@pytest.mark.parametrize("classes", [2, 10])
def test_logits_are_those_of_the_definition(classes: int) -> None:
    """Also where no variance is left, and where a scale is zero or negative."""
    generator, results = torch.Generator().manual_seed(classes), []
    mean, variance = 3 * torch.randn(2, 40, classes, generator=generator)
    variance = variance.clamp_min(0)
    scale = torch.linspace(-1, 0.5, classes).where(torch.arange(classes) > 0, torch.zeros(()))
    shift, weights = torch.randn(2, classes, generator=generator)
    for dtype in (torch.float32, torch.float64):
        inputs = [part.to(dtype).requires_grad_() for part in (mean, variance, scale, shift)]
        if dtype == torch.float32:
            logits = fused.ProbitLogits.apply(*inputs)
        else:
            m, v, a, b = inputs
            spread = v.clamp_min(VARIANCE_FLOOR) * a.square()
            logits = (a * m + b) / torch.sqrt(1 + math.pi / 8 * spread)
        results.append([logits, *gradients((weights.to(dtype) * logits.sin()).sum(), inputs)])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() < 2e-5 * (1 + b.abs().max())


@given(z=st.floats(-1e4, 1e4, width=32))
def test_bits_of_any_z_are_those_of_the_definition(z: float) -> None:
    mean = torch.full((1, 1), z, requires_grad=True)
    one, zero = torch.ones(1), torch.zeros(1)
    found = fused.smooth_bits(Moments(mean, torch.ones(1, 1), 1.0, None, one, zero))
    exact = Bits.from_z(torch.tensor(z, dtype=torch.float64))
    assert abs(found.spin.item() - exact.spin.item()) < 3e-7
    # z² is rounded before its exponential is taken.
    error = abs(found.coherence.item() - exact.coherence.item())
    assert error <= 1e-18 + (1e-6 + 1e-7 * z * z) * exact.coherence.item()
    [slope] = gradients(found.spin.sum() + found.coherence.sum(), [mean])
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] > 1])
def test_normalisation_is_that_of_torch(shape: Shape) -> None:
    moments = make_moments(shape, 3)
    results = []
    for dtype in (torch.float32, torch.float64):
        norm = StochasticBatchNorm(shape[1]).to(dtype)
        mean = moments.mean.detach().to(dtype).requires_grad_()
        variance = moments.variance.detach().to(dtype).requires_grad_()
        found = norm(Moments(mean, variance, 9.0))
        assert found.scale is not None
        assert found.shift is not None
        value = found.scale * found.mean.square() + found.variance.sin() * found.shift
        total = (normals(shape, 9).to(dtype) * value).sum()
        grads = gradients(total, [mean, variance, norm.gamma, norm.beta])
        results.append([found.scale, found.shift, norm.running_mean, norm.running_variance, *grads])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() < 1e-4 * (1 + b.abs().max())


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 17, 5, 7), (1, 32, 6, 6), (2, 5, 2, 2)])
@pytest.mark.parametrize("kind", ["sample", "mean"])
@pytest.mark.parametrize("size", [2, 3])
def test_pooling_in_one_pass_is_that_by_index(shape: Shape, kind: str, size: int) -> None:
    if min(shape[2:]) < size:
        pytest.skip("no window fits")
    moments, found = make_moments(shape, 0), []
    for quick in (True, False):
        leaves = [part.detach().clone().requires_grad_() for part in moments[:2]]
        state = moments._replace(mean=leaves[0], variance=leaves[1])
        generator = torch.Generator().manual_seed(4)
        if quick:
            pooled = pool(state, size, kind, generator=generator)
            assert type(pooled.mean.grad_fn).__name__ == "StochasticPoolBackward"
        else:
            index = pool_index(state, size, kind, generator=generator)
            pooled = pool_moments(state, index)
        weights = normals(tuple(pooled.mean.shape), 7)
        total = (weights * pooled.mean).sum() + (weights.sin() * pooled.variance).sum()
        found.append([pooled.mean, pooled.variance, *gradients(total, leaves)])
    for quick_part, part in zip(*found, strict=True):
        assert torch.equal(quick_part, part)


def test_threads_do_not_change_features() -> None:
    moments = make_moments((600, 64, 6, 6), 1)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(fused.smooth_features(moments, coherent=True, border=0.0))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0].line, found[1].line)
    assert torch.equal(found[0].square, found[1].square)


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_moments_in_float32_are_those_in_float64(family: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(2)
    options = {"deformation": family, "init_std": 0.5, "generator": generator}
    layer: DeformedLayer
    if kind == "dense":
        layer, shape = DeformedLinear(18, 5, **options), (4, 18)
    else:
        layer, shape = DeformedConv2d(2, 5, 3, padding=1, stride=2, **options), (4, 2, 5, 6)
    p = torch.rand(shape, generator=generator)
    results = []
    for dtype in (torch.float32, torch.float64):
        layer.to(dtype)
        probability = p.to(dtype).requires_grad_()
        bits = Bits.from_probability(probability)
        moments = layer.moments(bits)
        means = layer.pair_means(bits)
        size = layer.eigenvalues()
        if size is None:
            direct = means.sum(-1), layer.fan_in - means.square().sum(-1)
            assert torch.allclose(moments.mean, direct[0], atol=1e-5)
            assert torch.allclose(moments.variance, direct[1], atol=1e-5)
        total = (moments.mean.sin() + moments.variance).sum()
        parameters = [probability, *layer.parameters()]
        results.append([moments.mean, moments.variance, *gradients(total, parameters)])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() < 2e-5 * (1 + b.abs().max())


@pytest.mark.parametrize("family", ["none", "real4", "h-local", "su4"])
@pytest.mark.parametrize("architecture", ["8C3S2P1-6C3-MP2-7FC-SM3", "5FC-20FC-SM3"])
def test_a_training_step_in_float32_is_that_in_float64(family: str, architecture: str) -> None:
    config = make_config(
        {
            "architecture": architecture,
            "in_shape": (1, 12, 12),
            "family": family,
            "init_std": 0.3,
            "pool": "mean",
        }
    )
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, 1, 12, 12, generator=generator)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    results = []
    for dtype in (torch.float32, torch.float64):
        network = Network(config).to(dtype)
        loss = network.loss(images.to(dtype), labels)
        results.append([loss, *gradients(loss, list(network.parameters()))])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() < 3e-4 * (0.05 + b.abs().max())
