"""Equalisation: the same function, equal ranges, and the optimum of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from anneal.rounding.equalise import by_input, chain_scales, equalise, find_links
from anneal.rounding.graphs import Traced, trace
from tests.rounding.float_networks import NETWORKS, drawn, images, make

kinds = st.sampled_from(sorted(NETWORKS))
seeds = st.integers(0, 2**32)
ranges = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(st.floats(1e-2, 1e3), min_size=k, max_size=k), min_size=1)
)


class Between(nn.Module):
    """A convolution and a layer after it, with something between."""

    def __init__(self, function: Callable[[Tensor], Tensor], last: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.function = function
        self.last = last
        drawn(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def run(traced: Traced, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return traced.module(inputs)


def check_same(one: Traced, two: Traced, inputs: Tensor) -> None:
    wanted = run(one, inputs)
    scale = float(wanted.abs().max())
    torch.testing.assert_close(run(two, inputs), wanted, rtol=0, atol=1e-9 * scale)


def both_ranges(traced: Traced) -> list[tuple[Tensor, Tensor]]:
    """Return the ranges of each link's channels, on both of its sides."""
    return [
        (
            by_input(traced.layer(link.first)).abs().amax((2, 3)).flatten(),
            by_input(traced.layer(link.second), link.block).abs().amax((1, 3)).flatten(),
        )
        for link in find_links(traced)
    ]


# Laws


@settings(max_examples=40)
@given(kinds, seeds, st.booleans(), st.booleans())
def test_the_function_stays(kind: str, seed: int, relu6: bool, scale_clips: bool) -> None:
    traced = trace(make(kind, seed), images(1), replace_relu6=relu6)
    check_same(traced, equalise(traced, scale_clips=scale_clips), images(4, seed))


@settings(max_examples=40)
@given(kinds, seeds)
def test_ranges_are_equal_on_both_sides(kind: str, seed: int) -> None:
    found = equalise(trace(make(kind, seed), images(1), replace_relu6=True), scale_clips=True)
    for first, second in both_ranges(found):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=0)


@settings(max_examples=40)
@given(kinds, seeds)
def test_once_is_enough(kind: str, seed: int) -> None:
    once = equalise(trace(make(kind, seed), images(1)))
    twice = equalise(once)
    for name in once.layers:
        weights = once.layer(name).weight
        torch.testing.assert_close(twice.layer(name).weight, weights, rtol=1e-5, atol=0)


@settings(max_examples=40)
@given(kinds, seeds)
def test_statistics_have_the_unit_of_their_channels(kind: str, seed: int) -> None:
    traced = trace(make(kind, seed), images(1))
    found = equalise(traced, scale_clips=True)
    inputs = images(1, seed)
    for name, law in traced.statistics.items():
        before, after = (outputs(net, name, inputs) for net in (traced, found))
        for x, y in zip(law, found.statistics[name], strict=True):
            torch.testing.assert_close(x * after, y * before)


def outputs(traced: Traced, name: str, inputs: Tensor) -> Tensor:
    """Return the outputs of a layer at one place of one image, (channels,)."""
    seen: list[Tensor] = []
    hook = traced.layer(name).register_forward_hook(lambda *given: seen.append(given[2].clone()))
    run(traced, inputs)
    hook.remove()
    return seen[0].flatten(2)[0, :, 0] if seen[0].dim() == 4 else seen[0][0]


def test_the_network_that_was_given_stays() -> None:
    traced = trace(make("inverted", 1), images(1))
    before = {name: tensor.clone() for name, tensor in traced.module.state_dict().items()}
    equalise(traced, scale_clips=True)
    after = traced.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


# The formulas


@given(ranges)
def test_scales_of_a_chain(lists: list[list[float]]) -> None:
    given_ranges = torch.tensor(lists, dtype=torch.float64).T
    scales = chain_scales(given_ranges)
    ones = torch.ones(1, scales.shape[1])
    after = given_ranges * torch.cat([ones, scales]) / torch.cat([scales, ones])
    torch.testing.assert_close(after, given_ranges.log().mean(0).exp().expand_as(after))
    if len(given_ranges) == 2:
        one, two = given_ranges
        torch.testing.assert_close(scales[0], (one * two).sqrt() / two)
    if len(given_ranges) == 3:
        one, _, three = given_ranges
        mean = given_ranges.prod(0) ** (1 / 3)
        torch.testing.assert_close(scales, torch.stack([one / mean, mean / three]))


@given(seeds)
def test_no_other_scales_have_more_precision(seed: int) -> None:
    """Σ p₁p₂, p a channel's range beside its tensor's: appendix A of the paper."""
    model = drawn(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)))
    draws = torch.Generator().manual_seed(seed)
    for layer in (model[0], model[2]):
        layer.weight.data.normal_(generator=draws).exp_()
    ((first, second),) = both_ranges(equalise(trace(model, torch.zeros(1, 4).double())))

    def precision(one: Tensor, two: Tensor) -> Tensor:
        return (one / one.max(-1, True)[0] * two / two.max(-1, True)[0]).sum(-1)

    others = torch.randn(500, 6, generator=draws).double().exp()
    assert (precision(first / others, second * others) <= precision(first, second) + 1e-9).all()


@given(seeds)
def test_depthwise_layers_make_triples(seed: int) -> None:
    model = drawn(
        nn.Sequential(
            nn.Conv2d(3, 6, 1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, groups=6),
            nn.ReLU(),
            nn.Conv2d(6, 2, 1),
        )
    )
    draws = torch.Generator().manual_seed(seed)
    for layer in (model[0], model[2], model[4]):
        layer.weight.data.normal_(generator=draws).mul_(torch.rand(1, generator=draws) + 0.1)
    traced = trace(model, images(1))
    (one, two), (_, three) = both_ranges(traced)
    mean = (one * two * three) ** (1 / 3)
    for side in (side for link in both_ranges(equalise(traced)) for side in link):
        torch.testing.assert_close(side, mean)


# Links


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("plain", ["0 4 1", "4 8 1", "8 11 4 clip", "11 14 1"]),
        ("residual", ["one.0 two.0 1"]),
        ("perceptron", ["1 5 1", "5 7 1 clip"]),
        (
            "inverted",
            [
                *(
                    f"blocks.{i}.{j} blocks.{i}.{k} 1 clip"
                    for i in (0, 1)
                    for j, k in ((0, 3), (3, 6))
                ),
                "head.0 classify 1 clip",
            ],
        ),
    ],
)
def test_links_end_at_additions_and_branches(kind: str, wanted: list[str]) -> None:
    found = find_links(trace(make(kind, 1), images(1)))
    words = [f"{a} {b} {block}{' clip' if clips else ''}" for a, b, block, _, clips in found]
    assert words == wanted


THROUGH: dict[str, tuple[Callable[[Tensor], Tensor], nn.Module]] = {
    "flatten": (lambda x: x.relu().flatten(1), nn.Linear(144, 2)),
    "view": (lambda x: x.view(x.size(0), -1), nn.Linear(144, 2)),
    "shape": (lambda x: x.relu().view(x.shape[0], 144), nn.Linear(144, 2)),
    "reshape": (lambda x: F.max_pool2d(x, 2).reshape(-1, 36), nn.Linear(36, 2)),
    "relu after flatten": (lambda x: F.relu(torch.flatten(x, 1)), nn.Linear(144, 2)),
    "clip after flatten": (lambda x: F.relu6(torch.flatten(x, 1)), nn.Linear(144, 2)),
    "mean": (lambda x: torch.mean(x, dim=(-1, -2)), nn.Linear(4, 2)),
    "kept mean": (lambda x: x.mean((2, 3), keepdim=True), nn.Conv2d(4, 2, 1)),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), nn.Linear(4, 2)),
    "adaptive maximum": (lambda x: F.adaptive_max_pool2d(x, 2), nn.Conv2d(4, 2, 1)),
    "average": (lambda x: F.avg_pool2d(x, 3, 1, 1), nn.Conv2d(4, 2, 1)),
    "padding": (lambda x: F.pad(x, (1, 2, 0, 1)), nn.Conv2d(4, 2, 3)),
    "leaky": (lambda x: F.leaky_relu(x, 0.2), nn.Conv2d(4, 2, 3, groups=2)),
    "clamp": (lambda x: x.clamp(-1, 2), nn.Conv2d(4, 2, 3, padding=1)),
    "multiplier": (lambda x: x.relu(), nn.Conv2d(4, 8, 3, groups=4)),
    "module": (nn.Hardtanh(-1, 4), nn.Conv2d(4, 2, 3)),
}
NOT_THROUGH: dict[str, tuple[Callable[[Tensor], Tensor], nn.Module]] = {
    "sigmoid": (torch.sigmoid, nn.Conv2d(4, 2, 3)),
    "shift": (lambda x: x + 1, nn.Conv2d(4, 2, 3)),
    "twice": (lambda x: torch.cat([x, x], 1), nn.Conv2d(8, 2, 3)),
    "rows": (lambda x: x, nn.Linear(6, 2)),
    "rows of as many": (lambda x: x[..., :4], nn.Linear(4, 2)),
    "rows by view": (lambda x: x[..., :4].reshape(-1, 4), nn.Linear(4, 2)),
    "places": (lambda x: x.flatten(2), nn.Linear(36, 2)),
    "transposed": (lambda x: x.transpose(1, 2)[:, :4], nn.Conv2d(4, 2, 3)),
    "mean of channels": (lambda x: F.max_pool2d(x, 3, 1).mean((1, 2)), nn.Linear(4, 2)),
    "softmax": (lambda x: x.softmax(1), nn.Conv2d(4, 2, 3)),
    "padded with ones": (lambda x: F.pad(x, (1, 1), value=1.0), nn.Conv2d(4, 2, 3)),
    "mirrored": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), nn.Conv2d(4, 2, 3)),
    "divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), nn.Conv2d(4, 2, 3)),
    "bound of another": (lambda x: x.clamp(max=x.mean()), nn.Conv2d(4, 2, 3)),
    "size of another": (lambda x: x * x.shape[0], nn.Conv2d(4, 2, 3)),
}


@pytest.mark.parametrize("name", THROUGH)
def test_links_go_through(name: str) -> None:
    traced = trace(Between(*THROUGH[name]), images(1))
    assert len(find_links(traced)) == 1
    found = equalise(traced, scale_clips=True)
    check_same(traced, found, images(3))
    for first, second in both_ranges(found):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NOT_THROUGH)
def test_links_do_not_go_through(name: str) -> None:
    traced = trace(Between(*NOT_THROUGH[name]), images(2))
    assert find_links(traced) == []
    check_same(traced, equalise(traced, scale_clips=True), images(2))


@pytest.mark.parametrize(
    "between",
    [
        nn.MaxPool2d(3, 1, 1),  # over places and features together
        nn.Flatten(),
        nn.Sequential(nn.Flatten(1, 2), nn.Unflatten(1, (4, 4))),
    ],
)
def test_features_of_a_linear_map_lie_last(between: nn.Module) -> None:
    width = 64 if isinstance(between, nn.Flatten) else 4
    model = drawn(nn.Sequential(nn.Linear(5, 4), between, nn.Linear(width, 2)))
    inputs = 9 * torch.randn(3, 4, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    traced = trace(model, inputs)
    assert find_links(traced) == []
    plain = trace(drawn(nn.Sequential(nn.Linear(5, 4), nn.ReLU6(), nn.Linear(4, 2))), inputs)
    assert len(find_links(plain)) == 1
    check_same(plain, equalise(plain, scale_clips=True), inputs)


# Details


def test_relu6_ends_a_link_unless_its_clip_is_scaled() -> None:
    traced = trace(make("inverted", 1), images(1))
    same = equalise(traced)
    for name in traced.layers:
        assert torch.equal(same.layer(name).weight, traced.layer(name).weight)
    replaced = trace(make("inverted", 1), images(1), replace_relu6=True)
    first, second = both_ranges(equalise(replaced))[0]
    torch.testing.assert_close(first, second, rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [0.0, 1e-9])
def test_dead_channels_stay(size: float) -> None:
    model = make("perceptron", 1)
    model[1].weight.data[2] = size  # type: ignore[index]
    model[5].weight.data[:, 4] *= size  # type: ignore[index]
    traced = trace(model, images(1))
    found = equalise(traced)
    check_same(traced, found, images(2))
    before, after = (net.layer("1").weight for net in (traced, found))
    assert torch.equal(before[[2, 4]], after[[2, 4]])
    assert not torch.equal(before[3], after[3])
    assert math.isfinite(float(after.abs().max()))


def test_weights_may_lie_channels_last() -> None:
    traced = trace(make("plain", 1).to(memory_format=torch.channels_last), images(1))
    check_same(traced, equalise(traced), images(2))


def test_single_precision_is_kept() -> None:
    traced = trace(make("inverted", 1).float(), images(1).float())
    found = equalise(traced, scale_clips=True)
    assert {tensor.dtype for tensor in found.module.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(
        run(found, images(4).float()), run(traced, images(4).float()), rtol=1e-4, atol=1e-4
    )
