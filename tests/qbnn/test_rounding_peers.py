"""Brevitas' rounding: what it does is what it is said to do, and what comes back computes it."""

from __future__ import annotations

import copy
import importlib.util
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.rounding.formulation import Formulation
from anneal.rounding.graphs import trace
from anneal.rounding.grids import Floats, Grid
from anneal.rounding.inputs import moments, weight_rows
from anneal.rounding.planes import gptq
from anneal.rounding.quantisers import Quantiser
from qbnn.paper import rounding_peers
from qbnn.paper.rounding_peers import brevitas_rounded
from tests.rounding.float_networks import NETWORKS, drawn, images, make

wants_brevitas = pytest.mark.skipif(
    importlib.util.find_spec("brevitas") is None, reason="brevitas is not installed"
)
ASKED: dict[str, Any] = {
    "bits": 4,
    "activation_bits": None,
    "gptq": False,
    "equalise": False,
    "correct_bias": False,
    "seed": 0,
}


class SamePadded(nn.Conv2d):
    """A convolution with its padding as a module inside, in the manner of EfficientNet."""

    def __init__(self) -> None:
        super().__init__(3, 6, 3, stride=2)
        self.padding_before = nn.ZeroPad2d((0, 1, 0, 1))

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(self.padding_before(input), self.weight, self.bias, self.stride)


SINGLE = {
    "conv": lambda: nn.Conv2d(3, 6, 3, stride=2, padding=1),
    "grouped": lambda: nn.Conv2d(3, 9, 3, groups=3),
    "padded": SamePadded,
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5)),
}


def rounded(network: nn.Module, calibration: Tensor, **asked: Any) -> nn.Module:
    return brevitas_rounded(network, calibration, **ASKED | asked)


@torch.no_grad()
def error(network: nn.Module, other: nn.Module) -> float:
    """Return the squared error of outputs on images that were held out, as a share."""
    x = images(64, seed=5)
    before, after = network(x), other(x)
    return float((after - before).square().mean() / before.var())


def best_grid(weights: Floats, bits: int) -> Grid:
    """Return the grid that brevitas is said to choose: of 20 steps that of least error."""
    highest = 2 ** (bits - 1) - 1
    largest = np.abs(weights).max(1)
    tried = [
        Grid(largest / highest * k / 20, np.zeros(len(weights)), -highest, highest)
        for k in range(1, 21)
    ]
    errors = [((grid.nearest(weights) - weights) ** 2).sum(1) for grid in tried]
    scales = np.stack([grid.scale for grid in tried])
    best = np.argmin(errors, 0)
    return Grid(scales[best, np.arange(len(weights))], tried[0].zero, -highest, highest)


def rows_of(network: nn.Module, name: str) -> NDArray[np.float64]:
    return network.get_submodule(name).weight.detach().flatten(1).double().numpy()


@wants_brevitas
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_nearest_is_ours_on_the_same_grid(kind: str, bits: int) -> None:
    network, calibration = make(kind, 1).eval(), images(8)
    traced = trace(network, calibration[:1])
    found = rounded(network, calibration, bits=bits)
    for name in traced.layers:
        weights = weight_rows(traced.layer(name))
        expected = best_grid(weights, bits).nearest(weights)
        np.testing.assert_allclose(rows_of(found, name), expected, rtol=1e-6)


@wants_brevitas
@pytest.mark.parametrize("kind", SINGLE)
def test_gptq_is_ours_on_the_same_grid(kind: str) -> None:
    network, calibration = drawn(SINGLE[kind]()).eval(), images(64)
    traced = trace(network, calibration[:1])
    (name,) = traced.layers
    weights = weight_rows(traced.layer(name))
    read: list[Tensor] = []
    traced.layer(name).register_forward_pre_hook(lambda layer, args: read.append(args[0]))
    traced.module(calibration)
    # Brevitas multiplies in single precision, and so do moments.
    seen = moments(traced.layer(name), read[0].float())
    formulation = Formulation(centred=False, asymmetric=False, ridge=0.01)
    grid = best_grid(weights, 4)
    levels = gptq(formulation.rows(weights, seen, grid), rng=np.random.default_rng(0))
    expected = grid.weights(levels)
    found = rows_of(rounded(network, calibration, gptq=True), name)
    same = np.isclose(found, expected, rtol=1e-6)
    assert same.mean() > 0.98
    assert not np.isclose(found, grid.nearest(weights)).all()


@wants_brevitas
@pytest.mark.parametrize("kind", NETWORKS)
def test_many_bits_are_nearly_float_and_the_network_stays(kind: str) -> None:
    network, calibration = make(kind, 2).eval(), images(4)
    before = copy.deepcopy(network.state_dict())
    # Equalisation keeps the function: with 16 bits nothing else is left to differ by.
    assert error(network, rounded(network, calibration, bits=16, equalise=True)) < 1e-6
    assert error(network, rounded(network, calibration, bits=8)) < 3e-3
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[key])


@wants_brevitas
def test_equalisation_changes_what_is_rounded() -> None:
    network, calibration = make("residual", 1).eval(), images(8)
    plain, equalised = (rounded(network, calibration, equalise=each) for each in (False, True))
    assert not np.allclose(rows_of(plain, "one.0"), rows_of(equalised, "one.0"))


@wants_brevitas
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_gptq_loses_less_than_nearest(kind: str) -> None:
    network, calibration = make(kind, 1).eval(), images(64)
    nearest, better = (rounded(network, calibration, gptq=each) for each in (False, True))
    assert error(network, better) < 0.6 * error(network, nearest)


@wants_brevitas
@pytest.mark.parametrize("with_gptq", [False, True])
@pytest.mark.parametrize("kind", SINGLE)
def test_corrected_biases_keep_the_mean(kind: str, with_gptq: bool) -> None:
    network, calibration = drawn(SINGLE[kind]()).eval(), images(48) + 1
    off, corrected = (
        rounded(network, calibration, gptq=with_gptq, correct_bias=each)(calibration)
        for each in (False, True)
    )
    wanted = network(calibration)
    shift, left = (
        (found - wanted).transpose(0, 1).flatten(1).mean(1).abs().max()
        for found in (off, corrected)
    )
    assert left < 1e-9 < shift


@wants_brevitas
@pytest.mark.parametrize("kind", ["residual", "inverted"])
def test_what_comes_back_computes_what_brevitas_does(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[nn.Module] = []
    convert = rounding_peers._in_torch

    def keep(plain: Any, quantised: nn.Module, bits: int | None) -> nn.Module:
        kept.append(quantised)
        return convert(plain, quantised, bits)

    monkeypatch.setattr(rounding_peers, "_in_torch", keep)
    network, calibration = make(kind, 3).eval(), images(8)
    asked: dict[str, Any] = {"activation_bits": 8, "gptq": True, "correct_bias": True}
    found = rounded(network, calibration, **asked)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        expected = kept[0](calibration)
    # Steps of activations are of single precision, so that a tie may fall to the other side.
    torch.testing.assert_close(found(calibration), expected, rtol=1e-3, atol=1e-3)
    quantisers = [part for part in found.modules() if isinstance(part, Quantiser)]
    assert len(quantisers) == len(trace(network, calibration[:1]).layers)
    assert {part.bits for part in quantisers} == {8}


@wants_brevitas
def test_layers_that_ours_leave_in_float_stay() -> None:
    network = drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU(), nn.Conv2d(4, 2, 1)
        )
    ).eval()
    found = rounded(network, images(8), gptq=True)
    np.testing.assert_array_equal(rows_of(found, "0"), rows_of(network, "0"))
    assert not np.allclose(rows_of(found, "2"), rows_of(network, "2"))


@wants_brevitas
def test_what_gptq_gives_up_is_an_error() -> None:
    network = drawn(SINGLE["conv"]()).float().eval()
    with pytest.raises(InputError, match=r"GPTQ: Failed .* for layer"):
        rounded(network, images(8).float() * 1e30, gptq=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"bits": 1}, "bits must be 2 … 16, is 1"),
        ({"bits": 17}, "bits must be 2 … 16, is 17"),
        ({"activation_bits": 1}, "activation_bits must be 2 … 16, is 1"),
        ({"num": 1}, "at least two images"),
        ({"value": float("nan")}, "calibration must be finite"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], said: str) -> None:
    told = dict(asked)
    calibration = images(told.pop("num", 4)) * told.pop("value", 1.0)
    with pytest.raises(InputError, match=said):
        rounded(make("plain", 1), calibration, **told)


def test_without_brevitas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "brevitas"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brevitas", None)
    with pytest.raises(InputError, match=r"pip install 'qbnn\[bench-rounding\]'"):
        rounded(make("plain", 1), images(4))
