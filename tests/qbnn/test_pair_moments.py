"""Moments of layers with real gates, pair by pair, against the definition in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from qbnn.deformed import DeformedLayer
from qbnn.layers import DeformedConv2d, DeformedLinear
from qbnn.states import Bits, Moments

# Inputs, outputs and batch; on both sides of lanes, groups of outputs and tiles of rows.
DENSE = [(1, 1, 1), (9, 3, 2), (16, 16, 8), (17, 21, 5), (130, 10, 131), (40, 33, 260)]
# Channels, outputs, height, width, size, stride and padding.
CONV = [
    (1, 5, 6, 7, 3, 1, 1),
    (3, 16, 9, 8, 3, 2, 0),
    (4, 17, 5, 5, 2, 3, 2),
    (17, 3, 4, 6, 3, 2, 1),
    (32, 20, 3, 3, 1, 1, 0),
    (5, 4, 4, 3, 1, 2, 1),
    (2, 3, 1, 1, 3, 1, 1),
]


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_dense(inputs: int, outputs: int, share: str = "connection") -> DeformedLayer:
    options: dict[str, Any] = {"deformation": "real4", "share": share, "init_std": 0.7}
    return DeformedLinear(inputs, outputs, **options, generator=generator())


def make_conv(sizes: tuple[int, ...], share: str = "connection") -> DeformedLayer:
    channels, outputs, _, _, size, stride, padding = sizes
    options: dict[str, Any] = {"deformation": "real4", "share": share, "init_std": 0.7}
    options |= {"stride": stride, "padding": padding, "generator": generator()}
    return DeformedConv2d(channels, outputs, size, **options)


def run(layer: DeformedLayer, p: Tensor, *, wanted: bool = True) -> tuple[Moments, list[Tensor]]:
    """Moments, and gradients of the parameters and, if wanted, of the inputs."""
    p = p.clone().requires_grad_(wanted)
    found = layer.moments(Bits.from_probability(p))
    weights = torch.randn(found.mean.shape, dtype=torch.float64, generator=generator(5)).to(p)
    total = (weights * found.mean).sum() + (weights.cos() * found.variance).sum()
    return found, list(torch.autograd.grad(total, [*layer.parameters(), *([p] if wanted else [])]))


def check(layer: DeformedLayer, p: Tensor, *, wanted: bool = True) -> None:
    found, gradients = run(layer, p, wanted=wanted)
    assert type(found.mean.grad_fn).__name__ == "Real4MomentsBackward"
    exact = copy.deepcopy(layer).double()
    expected, others = run(exact, p.double(), wanted=wanted)
    assert type(expected.mean.grad_fn).__name__ != "Real4MomentsBackward"
    means = exact.pair_means(Bits.from_probability(p.double()))
    direct = means.sum(-1), (1 - means.square()).sum(-1)
    pairs = [*zip(found[:2], expected[:2], strict=True), *zip(found[:2], direct, strict=True)]
    for a, b in [*pairs, *zip(gradients, others, strict=True)]:
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-5 * b.abs().max() + 1e-6


@pytest.mark.parametrize("inputs,outputs,batch", DENSE)
@pytest.mark.parametrize("wanted", [True, False])
def test_dense_layers(inputs: int, outputs: int, batch: int, wanted: bool) -> None:
    p = torch.rand(batch, inputs, generator=generator(1))
    check(make_dense(inputs, outputs), p, wanted=wanted)


@pytest.mark.parametrize("sizes", CONV)
@pytest.mark.parametrize("wanted", [True, False])
def test_convolutions(sizes: tuple[int, ...], wanted: bool) -> None:
    channels, _, height, width, *_ = sizes
    p = torch.rand(7, channels, height, width, generator=generator(1))
    check(make_conv(sizes), p, wanted=wanted)


@pytest.mark.parametrize("share", ["output", "input", "layer"])
def test_shared_gates(share: str) -> None:
    check(make_dense(18, 5, share), torch.rand(4, 18, generator=generator(1)))
    sizes = (2, 5, 5, 6, 3, 2, 1)
    check(make_conv(sizes, share), torch.rand(4, 2, 5, 6, generator=generator(1)))


def test_memory_in_either_order() -> None:
    layer, p = make_conv((8, 6, 5, 5, 3, 1, 1)), torch.rand(3, 8, 5, 5, generator=generator(1))
    last = p.contiguous(memory_format=torch.channels_last)
    for a, b in zip(run(layer, p)[1], run(layer, last)[1], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("conv", [False, True])
def test_threads_change_nothing(conv: bool) -> None:
    if conv:
        layer = make_conv((8, 16, 12, 12, 3, 1, 1))
        p = torch.rand(60, 8, 12, 12, generator=generator(1))
    else:
        layer, p = make_dense(512, 160), torch.rand(230, 512, generator=generator(1))
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found, gradients = run(layer, p)
            results.append([*found[:2], *gradients])
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
    check(layer, p)


def test_an_empty_batch_has_no_moments() -> None:
    found = make_dense(20, 3).moments(Bits.from_probability(torch.rand(0, 20)))
    assert found.mean.shape == found.variance.shape == (0, 3)
