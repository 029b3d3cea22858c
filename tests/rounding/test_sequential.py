"""Rounding of whole networks: what a layer minimises, and what a network becomes."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.rounding.formulation import RIDGES, Formulation, InputMoments, output_error
from anneal.rounding.graphs import bias_of, trace
from anneal.rounding.grids import make_grid
from anneal.rounding.inputs import active_moments, moments, unfolded, weight_rows
from anneal.rounding.layers import RoundedLayer, RoundingOptions
from anneal.rounding.quantisers import Quantiser, range_of
from anneal.rounding.sequential import round_network


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, stride=2, groups=6), nn.ReLU(),
        nn.Conv2d(6, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 5),
    ).eval()  # fmt: skip


def images(num: int = 24, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    smooth = F.avg_pool2d(torch.rand(num, 1, 16, 16, generator=generator), 2)
    return (smooth - 0.4) * 4


def random_moments(
    groups: int, fan_in: int, seed: int
) -> tuple[np.ndarray, np.ndarray, InputMoments]:
    rng = np.random.default_rng(seed)
    floats = np.maximum(rng.normal(size=(groups, 40, fan_in)) + 0.5, 0)
    inputs = floats + 0.2 * rng.normal(size=floats.shape)
    return inputs, floats, InputMoments.of(inputs, floats)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 8, (3, 2), padding=(0, 1), dilation=(1, 2), groups=2, bias=False),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.Conv2d(4, 6, 1, stride=2, groups=2, bias=False),
        nn.Linear(7, 3, bias=False),
    ],
)
def test_unfolded_inputs_times_weights_are_the_outputs(layer: nn.Conv2d | nn.Linear) -> None:
    x = torch.randn(3, 7) if isinstance(layer, nn.Linear) else torch.randn(3, 4, 9, 8)
    rows = unfolded(layer, x)
    weights = layer.weight.flatten(1).view(len(rows), -1, rows.shape[1])
    expected = layer(x)
    expected = expected if expected.dim() == 2 else expected.movedim(1, -1).flatten(0, -2)
    found = (weights @ rows).flatten(0, 1).T
    assert torch.allclose(found, expected, atol=1e-5)


def test_moments_are_symmetric_to_the_last_bit() -> None:
    """A problem of one row is refused where they are not, however large the mean is."""
    layer = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    found = moments(
        layer, 100 + torch.randn(7, 4, 19, 19, generator=torch.Generator().manual_seed(1))
    )
    assert np.array_equal(found.second, found.second.transpose(0, 2, 1))
    rows = Formulation(centred=True, ridge=0.0).rows(
        weight_rows(layer), found, make_grid(weight_rows(layer), 4)
    )
    assert rows.row(0).bqm().num_variables


def test_moments_of_batches_add() -> None:
    layer = nn.Conv2d(2, 4, 3, groups=2)
    x, f = torch.randn(6, 2, 5, 5), torch.randn(6, 2, 5, 5)
    whole = moments(layer, x, f)
    parts = moments(layer, x[:2], f[:2]) + moments(layer, x[2:], f[2:])
    for name in ("second", "mean", "cross", "float_mean"):
        assert np.allclose(getattr(whole, name), getattr(parts, name), atol=1e-5)
    assert whole.count == parts.count == 6 * 9
    other = InputMoments.of(*(unfolded(layer, part).mT.double().numpy() for part in (x, f)))
    assert np.allclose(whole.cross, other.cross, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 3),
    fan_in=st.integers(1, 6),
    centred=st.booleans(),
    asymmetric=st.booleans(),
    seed=st.integers(0, 99),
)
def test_costs_are_what_the_outputs_lose(
    groups: int, fan_in: int, centred: bool, asymmetric: bool, seed: int
) -> None:
    # Up to a constant of each row and the ridge, the cost is the mean squared error of the outputs.
    inputs, floats, found = random_moments(groups, fan_in, seed)
    if not asymmetric:
        floats, found = inputs, InputMoments.of(inputs)
    rng = np.random.default_rng(seed + 1)
    weights, bias = rng.normal(size=(2 * groups, fan_in)), rng.normal(size=2 * groups)
    formulation = Formulation(centred, asymmetric, ridge=0.0)
    grid = make_grid(weights, 3)
    rows = formulation.rows(weights, found, grid)
    losses, costs = [], []
    for _ in range(3):
        levels = rng.integers(-4, 4, size=weights.shape)
        new = grid.weights(levels)
        new_bias = formulation.bias(weights, new, bias, found)
        y = np.einsum("gpi,gri->grp", inputs, new.reshape(groups, 2, -1)).reshape(2 * groups, -1)
        z = np.einsum("gpi,gri->grp", floats, weights.reshape(groups, 2, -1))
        wanted = z.reshape(2 * groups, -1) + bias[:, None]
        losses.append(((y + new_bias[:, None] - wanted) ** 2).mean(1))
        costs.append(rows.costs(levels))
        judged = output_error(weights, new, bias, new_bias, found)
        constant = (z.reshape(2 * groups, -1) ** 2).mean(1)
        assert np.allclose(judged + constant, losses[-1], rtol=1e-6, atol=1e-8)
    if centred or not asymmetric:
        differences = np.array(losses) - np.array(costs)
        assert np.allclose(differences, differences[0], rtol=1e-5, atol=1e-6)


def test_no_bias_does_better_than_the_closed_form() -> None:
    _inputs, _floats, found = random_moments(1, 5, 3)
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(4, 5)), rng.normal(size=4)
    new = make_grid(weights, 2).nearest(weights)
    best = Formulation().bias(weights, new, bias, found)
    least = output_error(weights, new, bias, best, found)
    for shift in (-0.1, 0.01, 0.3):
        assert (output_error(weights, new, bias, best + shift, found) > least).all()


def test_a_dead_input_keeps_its_weight() -> None:
    inputs, floats, _ = random_moments(1, 5, 3)
    inputs[..., 2] = floats[..., 2] = 0
    weights = np.random.default_rng(0).normal(size=(4, 5))
    target = Formulation().target(weights, InputMoments.of(inputs, floats))
    assert np.allclose(target[:, 2], weights[:, 2])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 4),
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.Conv2d(3, 4, 1, bias=False),
        nn.Conv2d(4, 4, 3, stride=2, groups=4),
    ],
)
@pytest.mark.parametrize("ends", [(0.0, 0.3), (0.0, math.inf), (50.0, 60.0)])
def test_active_moments_are_those_of_the_places_that_are_passed_on(
    layer: nn.Conv2d | nn.Linear, ends: tuple[float, float]
) -> None:
    """Of two batches that are added, also for outputs that nothing passes on."""
    torch.manual_seed(0)
    size = (6, 5) if isinstance(layer, nn.Linear) else (6, layer.in_channels, 5, 5)
    x, f = torch.randn(2, *size)
    parts = zip(x.split(4), f.split(4), strict=True)
    one, other = (active_moments(layer, *part, ends) for part in parts)
    found = one + other
    rows, across = (unfolded(layer, part).double().numpy() for part in (x, f))
    groups = len(rows)
    weights = weight_rows(layer).reshape(groups, -1, rows.shape[1])
    bias = np.zeros(weights.shape[:2]) if layer.bias is None else layer.bias.detach().numpy()
    outputs = weights @ across + bias.reshape(groups, -1, 1)
    for index, output in enumerate(outputs.reshape(-1, outputs.shape[2])):
        inside = (output > ends[0]) & (output < ends[1])
        a, b = (part[index // weights.shape[1]][:, inside] for part in (rows, across))
        count = max(inside.sum(), 1)
        assert found.count[index] == inside.sum()
        for ours, theirs in (
            (found.second, a @ a.T), (found.cross, a @ b.T),
            (found.mean, a.sum(1)), (found.float_mean, b.sum(1)),
        ):  # fmt: skip
            assert np.allclose(ours[index], theirs / count, atol=1e-5)


@pytest.mark.parametrize("method", ["gptq", "lns"])
def test_counting_what_is_passed_on_keeps_more_of_it(method: str) -> None:
    """Of inputs that were not seen, with biases by which a third of the outputs is passed on."""
    losses = np.zeros(2)
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 5)).eval()
        x = torch.randn(4000, 6) @ torch.randn(6, 24) + 0.2 * torch.randn(4000, 24)
        with torch.no_grad():
            first = model[0]
            assert isinstance(first, nn.Linear)
            first.bias -= 0.5 * first(x).std(0)
            wanted = model[:2](x[2000:])
            for aware in (False, True):
                told = RoundingOptions(bits=3, method=method, ridge=0.01, activation_aware=aware)
                found = round_network(trace(model, x[:1]), x[:2000], told).traced.layer("0")
                losses[int(aware)] += float((F.relu(found(x[2000:])) - wanted).square().mean())
    assert losses[1] < 0.95 * losses[0]


def test_without_a_clip_there_is_nothing_to_be_aware_of() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 3)).eval()
    x = torch.rand(60, 8)
    levels = [
        round_network(trace(model, x[:1]), x, RoundingOptions(activation_aware=aware)).layers
        for aware in (False, True)
    ]
    for name in levels[0]:
        assert np.array_equal(levels[0][name].levels, levels[1][name].levels)


@pytest.mark.parametrize("method", ["gptq", "lns"])
@pytest.mark.parametrize("ridge", ["held-out", 0.01, 0.0])
def test_inputs_that_hardly_vary_have_a_problem_all_the_same(method: str, ridge: Any) -> None:
    """Images that are one and the same, and wide sigmoids, whose mean is all there is."""
    torch.manual_seed(3)
    wide = nn.Sequential(nn.Linear(64, 256), nn.Sigmoid(), nn.Linear(256, 256), nn.Sigmoid())
    model = nn.Sequential(*wide, nn.Linear(256, 10)).eval()
    options = RoundingOptions(method=method, ridge=ridge)
    for pixels in (torch.rand(1, 64).expand(40, 64), torch.rand(200, 64)):
        traced = trace(model, pixels[:1])
        found = round_network(traced, pixels, options)
        for layer in found.layers.values():
            assert np.isfinite(layer.bias).all() and np.isfinite(layer.cost)


@pytest.mark.parametrize("method", ["nearest", "babai", "lns"])
@pytest.mark.parametrize("activation_bits", [None, 8])
def test_many_bits_keep_the_network(method: str, activation_bits: int | None) -> None:
    traced = trace(net(), images()[:1])
    options = RoundingOptions(bits=12, method=method, activation_bits=activation_bits)
    found = round_network(traced, images(), options, batch_size=8)
    x = images(seed=1)
    change = (found.traced.module(x) - traced.module(x)).norm() / traced.module(x).norm()
    assert change < (2e-2 if activation_bits else 2e-3)
    assert list(found.layers) == list(traced.layers)


def test_better_rounding_loses_less() -> None:
    traced, x = trace(net(), images()[:1]), images(96, seed=1)
    losses = {}
    for name, options in {
        "nearest": RoundingOptions(bits=3, method="nearest", centred=False, asymmetric=False),
        "babai": RoundingOptions(bits=3, method="babai", centred=False, asymmetric=False),
        "lns": RoundingOptions(bits=3),
    }.items():
        found = round_network(traced, images(96), options, batch_size=32)
        losses[name] = float((found.traced.module(x) - traced.module(x)).square().mean())
    assert losses["lns"] < losses["babai"] < losses["nearest"]


@pytest.mark.parametrize("activation_bits", [None, 3])
def test_the_best_biases_keep_the_mean_output(activation_bits: int | None) -> None:
    """So the inputs that a layer is rounded for are those that it reads in the end."""
    traced, x = trace(net(), images()[:1]), images()
    options = RoundingOptions(bits=3, method="babai", activation_bits=activation_bits)
    found = round_network(traced, x, options, batch_size=8)
    with torch.no_grad():
        before, after = traced.module(x).mean(0), found.traced.module(x).mean(0)
    assert torch.allclose(before, after, atol=1e-5)


def test_a_corrected_bias_makes_up_for_what_its_layer_changes() -> None:
    """E[Ŵx + b̂] = E[Wx + b] over inputs as the layers before leave them, layer after layer."""
    traced, x = trace(net(), images()[:1]), images()
    told: dict[str, Any] = {"bits": 2, "method": "nearest", "centred": False, "asymmetric": False}
    found = round_network(traced, x, RoundingOptions(**told, correct=True), batch_size=8)
    seen: dict[str, Tensor] = {}
    for name in found.layers:
        layer = found.traced.layer(name)
        layer.register_forward_pre_hook(
            lambda layer, inputs, name=name: seen.__setitem__(name, inputs[0])
        )
    with torch.no_grad():
        found.traced.module(x)
        for name, inputs in seen.items():
            means = [
                one.layer(name)(inputs).movedim(1, -1).flatten(0, -2).mean(0)
                for one in (traced, found.traced)
            ]
            assert torch.allclose(*means, atol=1e-5)
    kept = round_network(traced, x, RoundingOptions(**told))
    for name, rounded in kept.layers.items():
        assert np.allclose(rounded.bias, bias_of(traced.layer(name)).detach())


def test_the_source_is_not_changed_and_the_levels_are_in_the_result() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    traced = trace(model, images()[:1])
    float_before = copy.deepcopy(traced.module.state_dict())
    found = round_network(traced, images(), RoundingOptions(bits=4))
    for name, tensor in before.items():
        assert torch.equal(tensor, model.state_dict()[name])
    for name, tensor in float_before.items():
        assert torch.equal(tensor, traced.module.state_dict()[name])
    for name, layer in found.layers.items():
        weights = weight_rows(found.traced.layer(name))
        levels = layer.grid.levels(weights)
        assert np.allclose(levels, np.rint(levels), atol=1e-4)
        assert layer.cost <= layer.nearest
        assert 0 <= layer.up <= 1


def test_an_interrupted_run_goes_on_to_the_same_network() -> None:
    traced, kept = trace(net(), images()[:1]), {}
    options = RoundingOptions(bits=3, activation_bits=8)
    whole = round_network(traced, images(), options, keep=kept.__setitem__)
    asked: list[str] = []

    def known(name: str) -> RoundedLayer | None:
        asked.append(name)
        return kept[name] if len(asked) <= 2 else None

    again = round_network(traced, images(), options, known=known)
    x = images(seed=2)
    assert torch.equal(whole.traced.module(x), again.traced.module(x))
    assert asked == list(traced.layers)


@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_held_out_ridge_is_one_of_those_tried(batch_size: int) -> None:
    options = RoundingOptions(ridge="held-out")
    found = round_network(trace(net(), images()[:1]), images(), options, batch_size=batch_size)
    assert {layer.ridge for layer in found.layers.values()} <= {ridge / 2 for ridge in RIDGES}


def test_a_residual_network_keeps_its_streams_apart() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.second(torch.relu(self.first(x)) + x)

    torch.manual_seed(1)
    traced = trace(Residual(), images()[:1])
    found = round_network(traced, images(), RoundingOptions(bits=10, ridge=1e-6))
    x = images(seed=1)
    assert torch.allclose(found.traced.module(x), traced.module(x), atol=2e-2)


@pytest.mark.parametrize("kind", ["minmax", "mse", "percentile"])
def test_a_range_of_activations_serves(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.relu(torch.randn(1000, generator=generator)) for _ in range(3)]
    low, high = range_of(batches, 8, kind)
    assert low == 0 and 0 < high <= max(float(batch.max()) for batch in batches)
    values = torch.cat(batches)
    assert (Quantiser.over(low, high, 8)(values) - values).abs().mean() < 0.01


def test_a_range_sees_every_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anneal.rounding.quantisers.MAX_VALUES", 2048)
    generator = torch.Generator().manual_seed(0)
    # A thirty-second of the values, so that each thirty-second value is of one channel alone.
    batch = torch.rand(64, 32, 4, 8, generator=generator) * torch.linspace(0.01, 1, 32).view(
        -1, 1, 1
    )
    turned = batch.movedim(1, -1).contiguous()
    for values in (batch, turned):
        for kind in ("mse", "percentile"):
            low, high = range_of([values], 8, kind)
            assert low >= 0 and high > 0.9


def test_levels_of_activations_hold_zero() -> None:
    for low, high in ((-0.3, 1.0), (0.5, 2.0), (-2.0, -0.5), (0.0, 0.0)):
        quantiser = Quantiser.over(low, high, 4)
        assert float(quantiser(torch.zeros(1))) == 0.0
        values = quantiser(torch.linspace(low - 1, high + 1, 500))
        assert len(values.unique()) <= 16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda traced: round_network(traced, images(1), RoundingOptions()), "two images"),
        (
            lambda traced: round_network(traced, images(), RoundingOptions(activation_bits=1)),
            "bits of activations",
        ),
        (
            lambda traced: round_network(
                traced, images(), RoundingOptions(activation_bits=8, activation_range="best")
            ),
            "unknown range",
        ),
        (
            lambda traced: round_network(
                traced, images() * float("nan"), RoundingOptions(bits=4)
            ),
            "not finite",
        ),
        (lambda traced: round_network(traced, images(), RoundingOptions(method="lsn")), "lns"),
    ],
)  # fmt: skip
def test_what_cannot_be_rounded_is_refused(call: object, message: str) -> None:
    traced = trace(net(), images()[:1])
    with pytest.raises(InputError, match=message):
        call(traced)  # type: ignore[operator]


def test_what_exact_may_search_is_what_is_proved() -> None:
    network, x = net(), images()
    options = RoundingOptions(bits=2, method="exact", parameters={"max_nodes": 2})
    few, many = (
        round_network(trace(network, x), x, one).layers["0"].posed
        for one in (options, replace(options, parameters={}))
    )
    assert few is not None and few.bound is not None
    assert many is not None and many.bound == pytest.approx(many.cost, rel=1e-4)
    assert few.bound < many.bound
