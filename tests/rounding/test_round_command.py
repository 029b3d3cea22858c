"""`qbnn round`: a run's folder, resuming, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner, Result

import cli
from anneal.rounding.judge import judge
from anneal.rounding.sources import Source

RUNNER = CliRunner()


def small_network() -> nn.Module:
    """What the tests name as a factory."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for number in range(24):
        path = folder / str(number % 4) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = rng.integers(0, 256, (5, 5, 3), np.uint8)
        Image.fromarray(blocks).resize((40, 40)).save(path)
    return folder


def run(pictures: Path, out: Path, *words: str) -> Result:
    sys.modules["small_networks"] = sys.modules[__name__]
    given = "--images", str(pictures), "--out", str(out), "--num-calibration", "16", "--size", "20"
    return RUNNER.invoke(cli.app, ["round", "small_networks:small_network", *given, *words])


def test_a_run_leaves_its_network_and_says_how_far_it_is(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "run"
    result = run(pictures, out, "--labels", "folders", "--bits", "6", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["num_images"] == 8 and found["num_calibration"] == 16
    assert 0 <= found["kl"] < 0.01 and found["agreement"] >= 0.75
    assert {row["layer"] for row in found["layers"]} == {"0", "4"}
    assert json.loads((out / "result.json").read_text())["kl"] == found["kl"]
    state, source = load_file(out / "network.safetensors"), small_network().state_dict()
    assert state.keys() == source.keys()
    assert len(state["4.weight"][0].unique()) < len(source["4.weight"][0].unique())


def test_a_run_goes_on(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    first = run(pictures, out, "--json")
    assert run(pictures, out).exit_code == 2
    assert run(pictures, out, "--resume", "--bits", "5").exit_code == 2
    (out / "layers" / "4.safetensors").unlink()
    again = run(pictures, out, "--resume", "--json")
    one, other = (json.loads(found.stdout) for found in (first, again))
    assert one["kl"] == other["kl"]
    assert one["layers"][0]["seconds"] == other["layers"][0]["seconds"]  # It was not done again.


def test_activations_are_on_grids_too(tmp_path: Path, pictures: Path) -> None:
    plain = json.loads(run(pictures, tmp_path / "a", "--bits", "8", "--json").stdout)
    words = "--bits", "8", "--activation-bits", "3", "--json"
    coarse = json.loads(run(pictures, tmp_path / "b", *words).stdout)
    assert coarse["kl"] > plain["kl"]
    assert "0_input.scale" in load_file(tmp_path / "b" / "network.safetensors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "lnss"], "did you mean 'lns'"),
        (["--ridge", "-1"], "ridge must be"),
        (["--num-calibration", "24"], "24 images for calibration"),
        (["--labels", "names", "--limit", "3"], "images for calibration"),
        (["--weights", "none.pt"], "no such file"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, pictures: Path, words: list[str], message: str
) -> None:
    result = run(pictures, tmp_path / "run", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "run" / "network.safetensors").exists()


def test_a_damaged_image_is_named(tmp_path: Path, pictures: Path) -> None:
    (pictures / "1" / "zz.png").write_bytes(b"no image")
    result = run(pictures, tmp_path / "run")
    assert result.exit_code == 2 and "zz.png" in result.stderr


def test_the_named_network_is_traced_whole() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'round' is not installed")
    from anneal.rounding.graphs import trace
    from anneal.rounding.sources import load_network

    source: Source = load_network("efficientnet-lite0")
    example = torch.randn(2, 3, 96, 96)
    traced = trace(source.network, example[:1])
    assert len(traced.layers) == 50 and not traced.unsupported
    assert judge(source.network, traced.module, example).kl < 1e-6
