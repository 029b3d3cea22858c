"""A rounding's folder and what it is judged by."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from anneal.errors import InputError
from anneal.rounding.graphs import trace
from anneal.rounding.judge import judge
from anneal.rounding.layers import RoundedLayer, RoundingOptions
from anneal.rounding.sequential import round_network
from anneal.rounding.stored import LAYERS, NETWORK, SETTINGS, Folder


def rounded_layers(**options: object) -> dict[str, RoundedLayer]:
    torch.manual_seed(0)
    traced = trace(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()), torch.zeros(1, 1, 5, 5))
    return round_network(traced, torch.randn(8, 1, 5, 5), RoundingOptions(**options)).layers  # type: ignore[arg-type]


@pytest.mark.parametrize("bounds", [False, True])
@pytest.mark.parametrize("activation_bits", [None, 8])
@pytest.mark.parametrize("bits", [1, 4])
def test_a_kept_layer_comes_back(
    tmp_path: Path, bits: int, activation_bits: int | None, bounds: bool
) -> None:
    folder = Folder(tmp_path / "run")
    folder.begin({"bits": bits}, resume=False)
    options = {"bits": bits, "activation_bits": activation_bits, "bounds": bounds}
    ((name, layer),) = rounded_layers(**options).items()
    assert folder.known(name) is None
    folder.keep(name, layer)
    found = folder.known(name)
    assert found is not None
    assert np.array_equal(found.levels, layer.levels) and np.array_equal(found.bias, layer.bias)
    assert np.array_equal(found.grid.weights(found.levels), layer.grid.weights(layer.levels))
    assert (found.cost, found.up, found.seconds) == (layer.cost, layer.up, layer.seconds)
    assert found.posed == layer.posed
    x = torch.randn(50)
    for one in (found, layer):
        assert (one.quantiser is None) == (activation_bits is None)
    if found.quantiser is not None and layer.quantiser is not None:
        assert torch.equal(found.quantiser(x), layer.quantiser(x))


def test_a_damaged_layer_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.begin({}, resume=False)
    ((name, layer),) = rounded_layers().items()
    folder.keep(name, layer)
    file = tmp_path / LAYERS / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(InputError, match="not a rounded layer"):
        folder.known(name)


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.begin({"bits": 4, "parameters": {"width": 8}}, resume=False)
    with pytest.raises(InputError, match="--resume"):
        folder.begin({"bits": 4, "parameters": {"width": 8}}, resume=False)
    with pytest.raises(InputError, match="of other bits"):
        folder.begin({"bits": 3, "parameters": {"width": 8}}, resume=True)
    with pytest.raises(InputError, match="of other parameters width"):
        folder.begin({"bits": 4, "parameters": {"width": 9}}, resume=True)
    folder.begin({"bits": 4, "parameters": {"width": 8}}, resume=True)


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run")
    folder.check({"bits": 4}, resume=False)
    assert not folder.path.exists() and not folder.holds("0")
    folder.path.write_text("")
    with pytest.raises(InputError, match="not a folder"):
        folder.check({"bits": 4}, resume=False)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_damaged_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(InputError, match="not settings"):
        Folder(tmp_path).check({}, resume=True)


def test_finished_weights_come_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(InputError, match="not come to its end"):
        folder.finished()
    traced = trace(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()), torch.zeros(1, 1, 5, 5))
    folder.finish(traced)
    state = traced.module.state_dict()
    assert all(torch.equal(state[name], found) for name, found in folder.finished().items())
    (tmp_path / NETWORK).write_bytes(b"nothing")
    with pytest.raises(InputError, match="no weights"):
        folder.finished()


class Logits(nn.Module):
    """The logits it was made with, whatever the images."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(images)]


def test_the_divergence_is_that_of_the_definition() -> None:
    before, after = Logits([[0.0, 0.0], [2.0, 0.0]]), Logits([[1.0, 0.0], [0.0, 1.0]])
    found = judge(before, after, torch.zeros(2, 1), torch.tensor([0, 1]))
    expected = 0.0
    for p, q in zip(before.logits, after.logits, strict=True):
        p, q = p.double().softmax(0), q.double().softmax(0)
        expected += float((p * (p / q).log()).sum()) / 2
    assert found.kl == pytest.approx(expected)
    assert (found.agreement, found.top1, found.float_top1) == (0.5, 1.0, 0.5)
    same = judge(before, before, torch.zeros(2, 1))
    assert (same.kl, same.agreement, same.top1) == (0.0, 1.0, None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        judge(Logits([[0.0, 1.0]]), Logits([[value, 0.0]]), torch.zeros(1, 1))
