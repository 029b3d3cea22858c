"""A run in Python: what its options allow, and the network that comes back from its folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anneal.errors import InputError
from anneal.rounding.bounds import Posed
from anneal.rounding.datafree import round_blind
from anneal.rounding.graphs import bias_of, trace
from anneal.rounding.judge import compare_runtime, judge
from anneal.rounding.layers import RoundingOptions
from anneal.rounding.quantisers import Quantiser
from anneal.rounding.runs import RunOptions, load_run, read_network, round_run
from anneal.rounding.sequential import round_network

PLAIN = RoundingOptions(method="nearest", centred=False, asymmetric=False)


def network() -> nn.Module:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU6(),
        nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    net(3 * torch.randn(20, 1, 9, 9) + 1)
    return net


def nothing_to_round() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(81))


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    sys.modules["run_networks"] = sys.modules[__name__]
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 256, (9, 9), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return RunOptions(
        "run_networks:network",
        images=str(tmp_path / "pictures"),
        size=9,
        channels=1,
        crop=1.0,
        mean=(100.0,),
        num_calibration=8,
    )


WAYS = {
    "lns": {},
    "inputs": {"rounding": RoundingOptions(activation_bits=6)},
    "equalised": {"equalise": True, "absorb": True, "ranges": "statistics"},
    "corrected": {"correction": "empirical", "rounding": PLAIN},
    "blind": {"images": None, "correction": "analytic", "rounding": replace(PLAIN, bits=6)},
    "blind inputs": {"images": None, "rounding": replace(PLAIN, activation_bits=8)},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_comes_back(tmp_path: Path, options: RunOptions, way: str) -> None:
    options, out = replace(options, **WAYS[way]), tmp_path / "run"
    result = round_run(options, out)
    found = load_run(out)
    x = torch.randn(5, 1, 9, 9)
    compared = compare_runtime(out / "network.onnx", found.traced.module, x)
    assert compared is not None and compared.difference < 1e-4 < compared.largest
    assert compared.agreement == 1
    assert result["onnx"]["difference"] < 1e-4
    for name, layer in found.layers.items():
        weight, bias = found.traced.layer(name).weight, bias_of(found.traced.layer(name))
        levels = torch.from_numpy(layer.grid.weights(layer.levels)).float()
        assert torch.equal(weight, levels.view_as(weight))
        assert np.allclose(bias, layer.bias)
    quantised = [m for m in found.traced.module.modules() if isinstance(m, Quantiser)]
    assert len(quantised) == (3 if "inputs" in way else 0)


def test_a_run_without_its_end_does_not_come_back(tmp_path: Path, options: RunOptions) -> None:
    out = tmp_path / "run"
    round_run(options, out)
    (out / "network.safetensors").unlink()
    with pytest.raises(InputError, match="not come to its end"):
        load_run(out)


def test_ranges_of_statistics_take_the_place_of_measured_ones(options: RunOptions) -> None:
    traced, preprocessing = read_network(options)
    images = torch.randn(4, 1, 9, 9)
    rounding = replace(PLAIN, activation_bits=8)
    given = {traced.layers[1]: (0.0, 6.0)}
    found = round_network(traced, images, rounding, ranges=given).layers
    blind = round_blind(traced, rounding, ranges=dict.fromkeys(traced.layers, (0.0, 6.0))).layers
    one, other = (each[traced.layers[1]].quantiser for each in (found, blind))
    assert one is not None and other is not None and one.scale == other.scale
    assert preprocessing.span() == (-100 / 128, 155 / 128)


@pytest.mark.parametrize("method", ["nearest", "stochastic"])
def test_rounding_without_images_is_that_with_images(options: RunOptions, method: str) -> None:
    traced, _ = read_network(options)
    rounding = replace(PLAIN, method=method, bits=3)
    blind = round_blind(traced, rounding, ranges={})
    seen = round_network(traced, torch.randn(4, 1, 9, 9), rounding)
    for name in traced.layers:
        assert np.array_equal(blind.layers[name].levels, seen.layers[name].levels)
        assert np.array_equal(blind.layers[name].bias, seen.layers[name].bias)
    layer = blind.layers[traced.layers[0]]
    change = traced.layer(traced.layers[0]).weight - blind.traced.layer(traced.layers[0]).weight
    assert isinstance(layer.posed, Posed)
    assert layer.posed.cost == pytest.approx(float(change.double().square().sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounding": RoundingOptions(method="lsn")}, "did you mean 'lns'"),
        ({"rounding": RoundingOptions(parameters={"widht": 1})}, "keyword of lns"),
        ({"correction": "analytic"}, "leave nothing to correct"),
        ({"images": None}, "without images the method is"),
        ({"images": None, "rounding": replace(PLAIN, centred=True)}, "not known without images"),
        ({"images": None, "rounding": replace(PLAIN, scale="hessian")}, "Hessian to scale"),
        (
            {"num_calibration": 0, "correction": "empirical", "rounding": PLAIN},
            "needs images to calibrate",
        ),
        ({"network": "run_networks:nothing_to_round"}, "no layer to round .*BatchNorm|no layer"),
        ({"size": 0}, "size of images"),
        ({"limit": 5}, "8 images for calibration"),
        ({"rounding": RoundingOptions(bits=0)}, "bits must be 1 … 16"),
        ({"rounding": RoundingOptions(bits=17)}, "bits must be 1 … 16"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, options: RunOptions, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        round_run(replace(options, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_file_that_no_runtime_reads_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="onnxruntime does not run it"):
        compare_runtime(tmp_path / "x.onnx", nn.Identity(), torch.zeros(1, 1))


def test_equalising_keeps_what_the_network_says(tmp_path: Path, options: RunOptions) -> None:
    # Sixteen bits change next to nothing, so that what is left is what equalising did.
    rounding = replace(PLAIN, bits=16, scale="minmax")
    options = replace(options, equalise=True, correction="none", rounding=rounding)
    result = round_run(options, tmp_path / "run")
    assert result["kl"] < 1e-6
    found = load_run(tmp_path / "run").traced.module
    x = torch.randn(6, 1, 9, 9)
    assert judge(trace(network().eval(), x).module, found, x).kl < 1e-6
