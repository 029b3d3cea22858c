"""Means of what rounding changes: closed forms against quadrature and draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.rounding.bias import (
    absorb_biases,
    clipped_mean,
    correct_biases,
    correct_biases_from,
    expected_inputs,
    input_ranges,
)
from anneal.rounding.equalise import equalise, find_links
from anneal.rounding.graphs import Normal, Traced, bias_of, trace
from tests.rounding.float_networks import NETWORKS, drawn, images, make

ends = st.one_of(st.just(math.inf), st.floats(-8, 8))


class Chain(nn.Module):
    """A folded convolution, a function, and a last layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], last: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.function = function
        self.last = last
        drawn(self, decades=0)
        self.norm.bias.data = torch.tensor([3, 1, 0.5, -1]).double()
        self.norm.weight.data = torch.tensor([0.5, -0.25, 1, 2]).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.norm(self.conv(x))))


def run(traced: Traced, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return traced.module(inputs)


def coarse(traced: Traced, *, step: float = 0.5) -> Traced:
    """Return the network with weights that are multiples of a large step."""
    found = traced.copy()
    for layer in map(found.layer, found.layers):
        unit = step * layer.weight.abs().mean()
        layer.weight.copy_((layer.weight / unit).round() * unit)
    return found


# The mean of a clipped normal


@settings(max_examples=50)
@given(st.floats(-5, 5), st.floats(0.01, 5), ends, ends)
def test_the_mean_of_a_clipped_normal_is_the_integral(
    mean: float, deviation: float, one: float, two: float
) -> None:
    low, high = min(-one, two), max(-one, two)
    assume(low < high)
    points = sorted({mean - 10 * deviation, mean, mean + 10 * deviation})
    inside = [p for p in (low, high) if points[0] < p < points[-1]]
    wanted, _ = quad(
        lambda x: np.clip(x, low, high) * norm.pdf(x, mean, deviation),
        points[0],
        points[-1],
        points=[*inside, mean],
        limit=200,
    )
    found = clipped_mean(Normal(torch.tensor(mean), torch.tensor(deviation)), low, high)
    assert float(found) == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_relu_is_the_formula_of_the_paper() -> None:
    beta, gamma = torch.linspace(-3, 3, 13).double(), torch.linspace(0.1, 2, 13).double()
    ratio = (-beta / gamma).numpy()
    wanted = gamma.numpy() * norm.pdf(ratio) + beta.numpy() * (1 - norm.cdf(ratio))
    np.testing.assert_allclose(clipped_mean(Normal(beta, gamma), 0, math.inf), wanted, atol=1e-12)


def test_limits_of_the_clipped_mean() -> None:
    law = Normal(torch.tensor([-1.0, 0.0, 2.0, 9.0]).double(), torch.zeros(4).double())
    assert clipped_mean(law, 0, 6).tolist() == pytest.approx([0, 0, 2, 6])
    wide = Normal(law.mean, law.deviation + 3)
    assert torch.equal(clipped_mean(wide, -math.inf, math.inf), law.mean)
    own = clipped_mean(wide, torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, math.inf]))
    for place, high in enumerate([1, 2, 3, math.inf]):
        assert own[place] == clipped_mean(wide, 0, high)[place]


# What is known without data

WAYS: dict[str, tuple[Callable[[Tensor], Tensor], nn.Module, tuple[float, float], int]] = {
    "identity": (lambda x: x, nn.Conv2d(4, 2, 1), (-math.inf, math.inf), 1),
    "relu": (F.relu, nn.Conv2d(4, 2, 3, padding=1), (0, math.inf), 1),
    "relu6": (F.relu6, nn.Conv2d(4, 2, 3), (0, 6), 1),
    "clamp": (lambda x: x.clamp(-1, 0.5), nn.Conv2d(4, 2, 3), (-1, 0.5), 1),
    "pooled": (lambda x: F.avg_pool2d(x.relu(), 2), nn.Conv2d(4, 2, 3), (0, math.inf), 1),
    "again": (lambda x: x.relu().mean((2, 3)).relu(), nn.Linear(4, 2), (0, math.inf), 1),
    "view": (lambda x: x.relu().view(x.size(0), -1), nn.Linear(256, 2), (0, math.inf), 64),
}


@pytest.mark.parametrize("name", WAYS)
def test_expected_inputs(name: str) -> None:
    function, last, (low, high), block = WAYS[name]
    traced = trace(Chain(function, last), images(1))
    law = traced.statistics["conv"]
    found = expected_inputs(traced)
    assert list(found) == ["last"]
    wanted = clipped_mean(law, low, high).repeat_interleave(block)
    torch.testing.assert_close(found["last"], wanted)
    least, most = (law.mean - 6 * law.deviation).min(), (law.mean + 6 * law.deviation).max()
    wanted_range = max(float(least), low), min(float(most), high)
    assert input_ranges(traced)["last"] == pytest.approx(wanted_range)


@pytest.mark.parametrize(
    ("function", "last"),
    [
        (lambda x: F.max_pool2d(x, 2), nn.Conv2d(4, 2, 3)),
        (lambda x: (F.max_pool2d(x, 2)).relu(), nn.Conv2d(4, 2, 3)),
    ],
)
def test_a_maximum_has_a_range_but_no_known_mean(
    function: Callable[[Tensor], Tensor], last: nn.Module
) -> None:
    traced = trace(Chain(function, last), images(1))
    assert expected_inputs(traced) == {}
    assert list(input_ranges(traced)) == ["last"]


@pytest.mark.parametrize(
    ("function", "last"),
    [
        (torch.sigmoid, nn.Conv2d(4, 2, 3)),
        (lambda x: x + 1, nn.Conv2d(4, 2, 3)),
        (lambda x: torch.add(x, x.relu(), alpha=2), nn.Conv2d(4, 2, 3)),
        (lambda x: x.relu() + x.mean((2, 3), keepdim=True), nn.Conv2d(4, 2, 3)),
        (lambda x: x, nn.Linear(8, 2)),
    ],
)
def test_nothing_is_known_beyond_other_functions(
    function: Callable[[Tensor], Tensor], last: nn.Module
) -> None:
    traced = trace(Chain(function, last), images(1))
    assert expected_inputs(traced) == input_ranges(traced) == {}


def test_means_and_ranges_add() -> None:
    traced = trace(Chain(lambda x: x.relu() + x.clamp(max=1), nn.Conv2d(4, 2, 3)), images(1))
    law = traced.statistics["conv"]
    wanted = clipped_mean(law, 0, math.inf) + clipped_mean(law, -math.inf, 1)
    torch.testing.assert_close(expected_inputs(traced)["last"], wanted)
    low, high = input_ranges(traced)["last"]
    assert low == pytest.approx(-1 - 6 * 2)
    assert high == pytest.approx(-1 + 6 * 2 + 1)


def test_zeros_of_padding_are_in_the_range() -> None:
    traced = trace(Chain(nn.ZeroPad2d(1), nn.Conv2d(4, 2, 3)), images(1))
    traced.statistics["conv"].mean.fill_(50)
    assert input_ranges(traced, width=1)["last"] == (0, 52)


def test_what_reads_the_images_has_the_range_of_pixels() -> None:
    network = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Conv2d(4, 2, 1))
    traced = trace(network.double(), images(1))
    assert input_ranges(traced, image=(-1.0, 2.0)) == {"1": (-1.0, 2.0)}
    assert input_ranges(traced, image=(1.0, 2.0)) == {"1": (0.0, 2.0)}
    assert input_ranges(traced) == {} == expected_inputs(traced)


def test_what_a_normalisation_tells_that_stays() -> None:
    model = drawn(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)))
    found = expected_inputs(trace(model, images(1)))["2"]
    torch.testing.assert_close(found, torch.full((3,), 1 / math.sqrt(2 * math.pi)).double())


@given(st.sampled_from(sorted(NETWORKS)), st.integers(0, 2**32))
@settings(max_examples=20)
def test_equalisation_leaves_the_expected_outputs(kind: str, seed: int) -> None:
    traced = trace(make(kind, seed), images(1))
    found = equalise(traced, scale_clips=True)
    assert expected_inputs(traced).keys() == expected_inputs(found).keys()
    # Without weights, the correction of a bias is all of W E[x].
    before, after = (correct_biases(net, without_weights(net)) for net in (traced, found))
    for name in set(traced.layers) - {link.first for link in find_links(traced)}:
        torch.testing.assert_close(bias_of(after.layer(name)), bias_of(before.layer(name)))


def without_weights(traced: Traced) -> Traced:
    found = traced.copy()
    for name in found.layers:
        found.layer(name).weight.zero_()
    return found


# Absorption


def test_biases_are_absorbed() -> None:
    """Of β = (3, 1, ½, −1), γ = (½, −¼, 1, 2), the first two exceed 3|γ|, by 1½ and ¼."""
    model = Chain(lambda x: F.max_pool2d(x.relu(), 2), nn.Conv2d(4, 2, 3))
    traced = trace(model, images(1))
    found = absorb_biases(traced)
    excess = torch.tensor([1.5, 0.25, 0, 0]).double()
    torch.testing.assert_close(bias_of(traced.layer("conv")) - bias_of(found.layer("conv")), excess)
    gain = bias_of(found.layer("last")) - bias_of(traced.layer("last"))
    torch.testing.assert_close(gain, traced.layer("last").weight.sum((2, 3)) @ excess)
    law = found.statistics["conv"]
    torch.testing.assert_close(law.mean, traced.statistics["conv"].mean - excess)
    assert torch.equal(law.deviation, traced.statistics["conv"].deviation)


@pytest.mark.parametrize(
    ("function", "last"),
    [
        (F.relu, nn.Conv2d(4, 2, 3)),
        (F.relu, nn.Conv2d(4, 6, 3, groups=2)),
        (lambda x: F.leaky_relu(F.max_pool2d(x, 2, padding=1)), nn.Conv2d(4, 4, 3, groups=4)),
        (lambda x: F.avg_pool2d(x.relu(), 2).flatten(1), nn.Linear(64, 2)),
        (lambda x: x.relu().mean((2, 3)), nn.Linear(4, 2)),
    ],
)
def test_absorption_leaves_the_function_above_what_is_absorbed(
    function: Callable[[Tensor], Tensor], last: nn.Module
) -> None:
    traced = trace(Chain(function, last), images(1))
    found = absorb_biases(traced)
    # The first two channels, which give, stay above what they give: 3 ± 1½ and 1 ± ¾.
    inputs = images(50)
    outputs = traced.layer("conv")(inputs)
    excess = (bias_of(traced.layer("conv")) - bias_of(found.layer("conv"))).view(-1, 1, 1)
    inputs = inputs[((outputs > excess) | (excess == 0)).flatten(1).all(1)]
    assert len(inputs) > 5
    torch.testing.assert_close(run(found, inputs), run(traced, inputs))


@pytest.mark.parametrize(
    ("function", "last"),
    [
        (F.relu, nn.Conv2d(4, 2, 3, padding=1)),
        (lambda x: F.pad(x.relu(), (1, 1)), nn.Conv2d(4, 2, 3)),
        (lambda x: F.avg_pool2d(x.relu(), 3, 1, padding=1), nn.Conv2d(4, 2, 3)),
    ],
)
def test_padded_layers_take_biases_where_asked(
    function: Callable[[Tensor], Tensor], last: nn.Module
) -> None:
    traced = trace(Chain(function, last), images(1))
    same = absorb_biases(traced)
    assert torch.equal(run(same, images(2)), run(traced, images(2)))
    assert not torch.equal(
        bias_of(absorb_biases(traced, padded=True).layer("conv")), bias_of(traced.layer("conv"))
    )


def test_clipped_layers_keep_their_biases() -> None:
    traced = trace(Chain(F.relu6, nn.Conv2d(4, 2, 3)), images(1))
    for net in (traced, equalise(traced, scale_clips=True)):
        assert torch.equal(bias_of(absorb_biases(net).layer("conv")), bias_of(net.layer("conv")))


# Correction


@pytest.mark.parametrize("function", [F.relu, F.relu6, lambda x: x.clamp(-0.5, 1), lambda x: x])
def test_corrected_biases_keep_the_mean_of_normal_inputs(
    function: Callable[[Tensor], Tensor],
) -> None:
    model = Chain(function, nn.Conv2d(4, 5, 1))
    # Normal images make the outputs of the first layer normal, with these statistics.
    model.norm.running_mean = model.conv.bias.data.clone()
    model.norm.running_var = model.conv.weight.data.square().sum((1, 2, 3))
    model.norm.eps = 0.0
    traced = trace(model, images(1))
    rounded = traced.copy()
    rounded.layer("last").weight.copy_(coarse(traced).layer("last").weight)
    corrected = correct_biases(traced, rounded)
    inputs = images(3000)
    error = [(run(n, inputs) - run(traced, inputs)).movedim(1, -1) for n in (corrected, rounded)]
    mean, spread = (error[0].flatten(0, -2).mean(0), error[0].flatten(0, -2).std(0))
    assert (mean.abs() < 5 * spread / math.sqrt(error[0][..., 0].numel())).all()
    assert error[1].flatten(0, -2).mean(0).abs().max() > 10 * mean.abs().max()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_corrections_sum_over_the_kernel(groups: int) -> None:
    model = Chain(F.relu, nn.Conv2d(4, 8, 3, groups=groups))
    traced = trace(model, images(1))
    rounded = coarse(traced)
    mean = expected_inputs(traced)["last"]
    constant = mean.view(1, -1, 1, 1).expand(1, 4, 3, 3)
    with torch.no_grad():
        wanted = traced.layer("last")(constant)
        found = correct_biases(traced, rounded).layer("last")(constant)
    torch.testing.assert_close(found, wanted)
    first = correct_biases(traced, rounded).layer("conv")
    assert torch.equal(bias_of(first), bias_of(traced.layer("conv")))


@pytest.mark.parametrize("kind", NETWORKS)
def test_corrected_biases_keep_the_means_over_images(kind: str) -> None:
    traced = trace(make(kind, 1), images(1))
    rounded = coarse(traced)
    before = {name: tensor.clone() for name, tensor in rounded.module.state_dict().items()}
    found = correct_biases_from(traced, rounded, images(50))
    for name in traced.layers:
        wanted, given_mean = (channel_means(net, name, images(50)) for net in (traced, found))
        torch.testing.assert_close(given_mean, wanted)
        assert torch.equal(found.layer(name).weight, rounded.layer(name).weight)
    assert all(torch.equal(t, before[name]) for name, t in rounded.module.state_dict().items())


def channel_means(traced: Traced, name: str, inputs: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = traced.layer(name).register_forward_hook(lambda *given: seen.append(given[2].clone()))
    run(traced, inputs)
    hook.remove()
    return seen[0].flatten(2).mean((0, 2)) if seen[0].dim() == 4 else seen[0].mean(0)


def test_no_images_are_refused() -> None:
    traced = trace(make("plain", 1), images(1))
    with pytest.raises(InputError, match="at least one image"):
        correct_biases_from(traced, coarse(traced), images(0))
