"""The normal form of traced networks: the same function, and what is said of the rest."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from anneal.errors import InputError
from anneal.rounding.graphs import trace
from tests.rounding.float_networks import NETWORKS, drawn, images, make

LAYERS = {
    "plain": ["0", "4", "8", "11", "14"],
    "residual": ["stem", "one.0", "two.0", "head"],
    "perceptron": ["1", "5", "7"],
}


class Calls(nn.Module):
    """A network that is one function of its modules."""

    def __init__(self, function: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)
        drawn(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def check_same(model: nn.Module, inputs: Tensor, **options: bool) -> None:
    model.eval()
    with torch.no_grad():
        found, wanted = trace(model, inputs[:1], **options).module(inputs), model(inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


# The function


@given(st.sampled_from(sorted(NETWORKS)), st.integers(0, 2**32))
def test_a_traced_network_is_the_same_function(kind: str, seed: int) -> None:
    check_same(make(kind, seed), images(3))


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_source_stays_and_shares_nothing(kind: str) -> None:
    model = make(kind, 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    traced = trace(model, images(1))
    for layer in map(traced.layer, traced.layers):
        layer.weight.zero_()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_a_copy_shares_nothing() -> None:
    traced = trace(make("plain", 1), images(1))
    copied = traced.copy()
    copied.layer("0").weight.zero_()
    copied.statistics["0"].mean.zero_()
    assert traced.layer("0").weight.abs().max() > 0
    assert traced.statistics["0"].mean.abs().max() > 0


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_named_in_the_order_in_which_they_run(kind: str) -> None:
    traced = trace(make(kind, 1), images(1))
    assert list(traced.layers) == LAYERS[kind]
    assert all(traced.layer(name).bias is not None for name in traced.layers)
    kinds = {type(module) for module in traced.module.modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout}


def test_random_numbers_are_not_drawn() -> None:
    model, state = drawn(Padded(3, 4, 3)), torch.random.get_rng_state()
    trace(nn.Sequential(model), images(1))
    assert torch.equal(torch.random.get_rng_state(), state)


# Normalisations


def test_statistics_are_those_of_the_folded_layers() -> None:
    model, inputs = make("residual", 3), images(400)
    norm = model.norm
    assert isinstance(model.stem, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        outputs = model.stem(inputs)
        norm.running_mean = outputs.mean((0, 2, 3))
        norm.running_var = outputs.var((0, 2, 3), correction=0) - norm.eps
        traced = trace(model, inputs[:1])
        outputs = traced.layer("stem")(inputs)
    law = traced.statistics["stem"]
    torch.testing.assert_close(law.mean, outputs.mean((0, 2, 3)))
    torch.testing.assert_close(law.deviation, outputs.std((0, 2, 3), correction=0))


def test_normalisations_may_have_no_scale_or_no_statistics() -> None:
    plain = drawn(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)))
    check_same(plain, images(2))
    assert trace(plain, images(1)).statistics["0"].deviation.tolist() == [1] * 4
    batch = nn.BatchNorm2d(4, track_running_stats=False)
    found = trace(drawn(nn.Sequential(nn.Conv2d(3, 4, 1), batch)), images(2))
    assert found.statistics == {}
    assert list(found.unsupported) == ["1"]


def test_two_normalisations_fold_into_one_layer() -> None:
    model = drawn(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    model[2].bias.data.fill_(7)
    check_same(model, images(2))
    assert trace(model, images(1)).statistics["0"].mean.tolist() == [7] * 4


@pytest.mark.parametrize(
    ("function", "modules"),
    [
        (lambda m, x: m.conv(F.relu(m.norm(x))), {"norm": nn.BatchNorm2d(3)}),
        (lambda m, x: m.norm(m.conv(x)) + m.conv.weight.sum(), {"norm": nn.BatchNorm2d(4)}),
        (lambda m, x: F.relu(y := m.conv(x)) + m.norm(y), {"norm": nn.BatchNorm2d(4)}),
        (lambda m, x: m.norm(m.conv(m.conv(x)[:, :3])), {"norm": nn.BatchNorm2d(4)}),
        (
            # The normalisation is over the second dimension, which here counts places.
            lambda m, x: m.norm(m.line(m.conv(x).flatten(2))),
            {"norm": nn.BatchNorm1d(4), "line": nn.Linear(64, 4)},
        ),
    ],
)
def test_other_normalisations_stay_and_are_named(
    function: Callable[..., Tensor], modules: dict[str, nn.Module]
) -> None:
    model = Calls(function, conv=nn.Conv2d(3, 4, 1), **modules)
    norm = model.norm
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    norm.running_var = torch.linspace(1, 2, norm.num_features).double()
    check_same(model, images(2))
    found = trace(model, images(1))
    assert "folded into" in found.unsupported["norm"]
    assert list(found.statistics) == ["norm"]


# Activations

CLIPS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(0, 6),
    "functional": F.relu6,
    "functional hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "in place": lambda x: F.hardtanh_(x, min_val=0, max_val=6),
    "method": lambda x: x.clamp(0, 6),
    "keywords": lambda x: torch.clamp(x, min=0, max=6),
    "mixed": lambda x: x.clip(0, max=6),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "hardtanh": F.hardtanh,
    "lower": lambda x: x.clamp(0, 5),
    "open": lambda x: x.clamp(min=0),
    "tensor": lambda x: x.clamp(min=x.mean(), max=x.amax()),
    "sigmoid": torch.sigmoid,
}


def clipped(function: Callable[[Tensor], Tensor]) -> nn.Module:
    last = function if isinstance(function, nn.Module) else Calls(lambda _, x: function(x))
    return drawn(nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), last=last)))


@pytest.mark.parametrize("name", CLIPS)
def test_relu6_becomes_relu_where_asked(name: str) -> None:
    model, inputs = clipped(CLIPS[name]), images(2)
    check_same(model, inputs)
    assert trace(model, inputs).replaced_relu6 == ()
    found = trace(model, inputs * 100, replace_relu6=True)
    assert len(found.replaced_relu6) == 1
    conv = model.get_submodule("conv")
    torch.testing.assert_close(found.module(100 * inputs), F.relu(conv(100 * inputs)))


@pytest.mark.parametrize("name", OTHERS)
def test_other_activations_stay(name: str) -> None:
    model = clipped(OTHERS[name])
    check_same(model, images(2), replace_relu6=True)
    assert trace(model, images(1), replace_relu6=True).replaced_relu6 == ()


# Layers by function


class Padded(nn.Conv2d):
    """A convolution that pads itself, more on one side than on the other."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes, stride=2, bias=False)
        self.stride = [2, 2]  # type: ignore[assignment]
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(self.pad(input), self.weight, self.bias, self.stride, groups=self.groups)


def test_layers_by_function_take_the_name_of_their_owner() -> None:
    model = drawn(nn.Sequential(Padded(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Padded(4, 2, 3)))
    check_same(model, images(2))
    traced = trace(model, images(1))
    assert traced.layers == ("0", "3")
    assert not traced.unsupported
    assert isinstance(traced.module.get_submodule("0.pad"), nn.ZeroPad2d)
    layer = traced.layer("0")
    assert type(layer) is nn.Conv2d and layer.stride == (2, 2)


class Bare(nn.Module):
    """Weights of its own, by names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.linspace(-1, 2, 960).view(5, 192).double())
        self.second = nn.Parameter(torch.linspace(-2, 1, 10).view(2, 5).double())
        self.shift = nn.Parameter(torch.ones(2).double())

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x.flatten(1), self.first).relu()
        return F.linear(x, bias=self.shift, weight=self.second)


def test_weights_without_an_owner_become_layers_too() -> None:
    check_same(Bare(), images(2))
    traced = trace(Bare(), images(1))
    assert len(traced.layers) == 2
    assert not traced.unsupported
    check_same(drawn(Padded(3, 4, 3)), images(2))


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (5, 1), (1, 1)])
def test_padding_by_word_becomes_numbers(kernel: int, dilation: int) -> None:
    for padding in ("same", "valid"):
        model = drawn(
            nn.Sequential(nn.Conv2d(3, 2, (kernel, 3), padding=padding, dilation=dilation))
        )
        check_same(model, images(2))
        layer = trace(model, images(1)).layer("0")
        assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)


def test_other_arguments_keep_their_defaults() -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor, mask: Tensor | None = None, *, twice: bool = False) -> Tensor:
            x = self.conv(x) if mask is None else self.conv(x * mask)
            return 2 * x if twice else x

    check_same(drawn(Optional()), images(2))


# What cannot be rounded

TIED = nn.Linear(8, 8)
OTHER = nn.Linear(8, 8)
OTHER.weight = TIED.weight
UNSUPPORTED: dict[str, tuple[nn.Module, str, str]] = {
    "transposed": (nn.ConvTranspose2d(3, 3, 1), "a", "ConvTranspose2d is neither"),
    "one dimension": (nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 2, 3)), "a.1", "Conv1d"),
    "three": (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 2, 1)), "a.1", "Conv3d"),
    "recurrent": (nn.Sequential(nn.Flatten(2), nn.GRU(64, 2)), "a.1", "GRU"),
    "mirrored": (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "a", "mode 'reflect'"),
    "even": (nn.Conv2d(3, 3, 2, padding="same"), "a", "even kernel"),
    "twice": (nn.Sequential(linear := nn.Linear(8, 8), linear), "a.0", "used in 2 places"),
    "tied": (nn.Sequential(TIED, nn.ReLU(), OTHER), "a.0", "used in 2 places"),
    "parametrised": (weight_norm(nn.Conv2d(3, 3, 1)), "a", "ParametrizedConv2d"),
    "layer norm": (nn.LayerNorm(8), "a", "LayerNorm is neither"),
    "slopes": (nn.PReLU(3), "a", "PReLU is neither"),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_rounded_is_named(name: str) -> None:
    module, where, why = UNSUPPORTED[name]
    model = Calls(lambda m, x: m.a(m.conv(x)), conv=nn.Conv2d(3, 3, 1), a=module)
    traced = trace(model, images(1))
    assert traced.layers == ("conv",)
    assert why in traced.unsupported[where]
    if name != "recurrent":
        check_same(model, images(2))


def test_a_layer_that_a_function_shares_is_named() -> None:
    def shared(m: nn.Module, x: Tensor) -> Tensor:
        conv = m.get_submodule("conv")
        assert isinstance(conv, nn.Conv2d)
        return F.conv2d(conv(x), conv.weight)

    model = Calls(shared, conv=nn.Conv2d(3, 3, 1))
    check_same(model, images(2))
    assert "2 places" in trace(model, images(1)).unsupported["conv"]


def test_attention_and_embeddings_are_named() -> None:
    attention = nn.MultiheadAttention(4, 2)
    model = Calls(
        lambda m, x: m.line(m.attention(y := m.words(x), y, y)[0]),
        words=nn.Embedding(5, 4),
        attention=attention,
        line=nn.Linear(4, 2),
    )
    traced = trace(model, torch.zeros(3, 2, dtype=torch.int64))
    assert traced.layers == ("line",)
    assert set(traced.unsupported) == {"words", "attention"}


def test_a_parameter_outside_of_a_layer_is_named() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.gain = nn.Parameter(torch.ones(3, 3, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(self.conv(x), self.conv.weight * self.gain)

    traced = trace(drawn(Scaled()), images(1))
    assert traced.layers == ()
    assert set(traced.unsupported) == {"conv", "conv.weight", "gain"}
    check_same(drawn(Scaled()), images(2))


# Bad input


def branching(model: nn.Module, x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_refused_with_the_place() -> None:
    with pytest.raises(InputError, match=r"cannot trace 'a\.0' at test_graphs\.py:\d+: .*control"):
        trace(Calls(lambda m, x: m.a(x), a=nn.Sequential(Calls(branching))), images(1))
    with pytest.raises(InputError, match=r"cannot trace 'Two'.*missing 1 required"):

        class Two(nn.Module):
            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                return x + y

        trace(Two(), images(1))


def test_bad_input_is_refused() -> None:
    model = make("plain", 1)
    with pytest.raises(InputError, match=r"does not run on an input of shape \(1, 2, 8, 8\)"):
        trace(model, images(1)[:, :2])
    model[0].weight.data[0, 0, 0, 0] = math.nan  # type: ignore[index]
    with pytest.raises(InputError, match=r"'0\.weight' of the network holds NaN"):
        trace(model, images(1))


# A network from elsewhere


def test_efficientnet_lite_is_one_of_plain_layers() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    model = package.EfficientNet.from_name("efficientnet-lite0", image_size=64)
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    traced = trace(model, inputs[:1], replace_relu6=True)
    assert len(traced.layers) == 50
    assert len(traced.replaced_relu6) == 33
    assert not traced.unsupported
    assert traced.statistics.keys() == set(traced.layers) - {"_fc"}
    check_same(model, inputs)
