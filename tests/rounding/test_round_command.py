"""`qbnn round`: a run's folder, resuming, runs without images, and what is refused."""

from __future__ import annotations

import io
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner, Result

import cli
from anneal.rounding import stored
from anneal.rounding.graphs import trace
from anneal.rounding.judge import judge
from anneal.rounding.sources import Source
from qbnn.terminal import rounding

RUNNER = CliRunner()


def small_network() -> nn.Module:
    """What the tests name as a factory."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


class Broken(nn.Module):
    """A layer that cannot be rounded, between two that can."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.between = nn.ConvTranspose2d(4, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x).relu()).mean([2, 3]))


def normalised() -> nn.Module:
    """A network with statistics: means, ranges and equal channels are known without data."""
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip
    network(torch.randn(20, 3, 20, 20))
    return network


def with_dead_channels() -> nn.Module:
    """A network some of whose weights and channels are constant."""
    network = small_network()
    with torch.no_grad():
        network[0].weight[1] = 0
        network[0].weight[2], network[0].bias[2] = 0, 3.0
        network[4].weight[0] = 0
    return network


def with_nan() -> nn.Module:
    network = small_network()
    with torch.no_grad():
        network[4].weight[1, 2] = float("nan")
    return network


def overflowing() -> nn.Module:
    network = small_network()
    with torch.no_grad():
        network[0].weight *= 1e38
    return network


SHARED = small_network()


def shared_network() -> nn.Module:
    """The same network whenever it is asked for."""
    return SHARED


@pytest.fixture
def drawn() -> None:
    """Let a run draw its page."""


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pages of tests that do not look at them: pictures take most of the time."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(rounding, "write_page", lambda *given, **named: None)


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


def run(pictures: Path | None, out: Path, *words: str, factory: str = "small_network") -> Result:
    sys.modules["small_networks"] = sys.modules[__name__]
    given = ["--out", str(out), "--num-calibration", "16", "--size", "20"]
    given += [] if pictures is None else ["--images", str(pictures)]
    return RUNNER.invoke(cli.app, ["round", f"small_networks:{factory}", *given, *words])


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


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
    assert found["onnx"]["file"] == "network.onnx" and found["onnx"]["difference"] < 1e-5
    assert (out / "network.onnx").stat().st_size > 0


def test_a_page_says_it_all(tmp_path: Path, pictures: Path, drawn: None) -> None:
    out = tmp_path / "run"
    result = run(pictures, out, factory="Broken")
    assert result.exit_code == 0, result.output
    page = (out / "index.html").read_text()
    for words in ("Left in float", "between", "ConvTranspose2d", "gap % at most", "agreement"):
        assert words in page
    assert "between" in result.stdout and "layers within 1 %" in result.stdout
    outside = {at for at in re.findall(r'(?:src|href)="([^"]{5})', page) if at != "data:"}
    assert not outside
    for name in ("costs.png", "rounded-up.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    rows = json.loads((out / "result.json").read_text())["layers"]
    for row in rows:
        assert 0 < row["bound"] <= row["cost"] <= row["nearest"]


def test_quiet_is_one_number(tmp_path: Path, pictures: Path) -> None:
    result = run(pictures, tmp_path / "a", "--quiet")
    found = json.loads((tmp_path / "a" / "result.json").read_text())
    assert float(result.stdout) == pytest.approx(found["kl"])
    assert run(None, tmp_path / "b", "--quiet").stdout.split() == [str(tmp_path / "b")]


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


def test_no_run_goes_on_with_other_images(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "run"
    assert run(pictures, out).exit_code == 0
    for file in (pictures / "1").iterdir():
        Image.new("RGB", (16, 16), (9, 99, 200)).save(file)
    again = run(pictures, out, "--resume")
    assert again.exit_code == 2 and "contents of images" in again.stderr


def test_the_folder_is_looked_at_before_the_images(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "run"
    (pictures / "1" / "zz.png").write_bytes(b"no image")
    assert "zz.png" in run(pictures, out).stderr
    assert not out.exists()
    (pictures / "1" / "zz.png").unlink()
    assert run(pictures, out).exit_code == 0
    (pictures / "1" / "zz.png").write_bytes(b"no image")
    again = run(pictures, out)
    assert again.exit_code == 2 and "--resume" in again.stderr
    file = tmp_path / "file"
    file.write_text("")
    assert "not a folder" in run(pictures, file).stderr


def test_ctrl_c_leaves_a_run_that_goes_on(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = told(run(pictures, tmp_path / "whole", "--json"))
    out, keep = tmp_path / "run", stored.Folder.keep

    def stop(folder: stored.Folder, name: str, layer: Any) -> None:
        keep(folder, name, layer)
        raise KeyboardInterrupt

    monkeypatch.setattr(stored.Folder, "keep", stop)
    result = run(pictures, out)
    assert result.exit_code == 130
    lines = result.stderr.splitlines()
    assert len(lines) == 2 and "--resume" in lines[0] and str(out) in lines[0]
    monkeypatch.undo()
    assert [path.name for path in (out / "layers").iterdir()] == ["0.safetensors"]
    again = told(run(pictures, out, "--resume", "--json"))
    assert again["kl"] == whole["kl"]


def test_without_images_the_network_alone_is_looked_at(tmp_path: Path, pictures: Path) -> None:
    words = "--bits", "8", "--activation-bits", "8", "--equalise", "--absorb", "--json"
    blind = told(run(None, tmp_path / "a", *words, factory="normalised"))
    assert (blind["kl"], blind["num_images"], blind["num_calibration"]) == (None, None, 0)
    assert (blind["method"], blind["bias"]) == ("nearest", "analytic")
    assert blind["onnx"]["difference"] < 1e-4
    # The same network comes out when images are there to judge it.
    more = *words, "--num-calibration", "0"
    judged = told(run(pictures, tmp_path / "b", *more, factory="normalised"))
    assert judged["num_images"] == 24 and judged["kl"] < 0.01
    one, other = (load_file(tmp_path / name / "network.safetensors") for name in "ab")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("factory", ["small_network", "normalised"])
@pytest.mark.parametrize("bias", ["none", "analytic", "empirical", "sequential"])
def test_biases_are_corrected(tmp_path: Path, pictures: Path, bias: str, factory: str) -> None:
    words = "--method", "nearest", "--bits", "3", "--target", "layer", "--bias", bias, "--json"
    found = told(run(pictures, tmp_path / "run", *words, factory=factory))
    assert found["bias"] == bias
    state = load_file(tmp_path / "run" / "network.safetensors")
    traced = trace(globals()[factory](), torch.zeros(1, 3, 20, 20))
    last = traced.layers[-1]
    shift = (state[f"{last}.bias"] - traced.layer(last).bias).abs().max()
    told_by_statistics = factory == "normalised" or bias in ("empirical", "sequential")
    assert (shift > 1e-4) == (bias != "none" and told_by_statistics)


def test_constant_channels_are_rounded(tmp_path: Path, pictures: Path) -> None:
    words = "--bits", "8", "--activation-bits", "8", "--json"
    for number, more in enumerate([[], ["--asymmetric", "--scale", "hessian", "--equalise"]]):
        out = tmp_path / str(number)
        found = told(run(pictures, out, *words, *more, factory="with_dead_channels"))
        assert found["kl"] < 0.01
        assert all(row["bound"] <= row["cost"] for row in found["layers"])


def test_the_source_is_never_changed(tmp_path: Path, pictures: Path) -> None:
    before = {name: tensor.clone() for name, tensor in SHARED.state_dict().items()}
    keys = SHARED.__dict__.keys()
    words = "--equalise", "--absorb", "--activation-bits", "4", "--bits", "2", "--method", "nearest"
    run(pictures, tmp_path / "a", *words, "--bias", "empirical", factory="shared_network")
    run(None, tmp_path / "b", "--equalise", factory="shared_network")
    after = SHARED.state_dict()
    assert before.keys() == after.keys() and SHARED.__dict__.keys() == keys
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_pixels_become_what_is_said(tmp_path: Path, pictures: Path) -> None:
    words = "--mean", "124,116,104", "--std", "58,57,57", "--crop", "1", "--json"
    other = told(run(pictures, tmp_path / "a", *words))
    assert other["kl"] != told(run(pictures, tmp_path / "b", "--json"))["kl"]
    settings = json.loads((tmp_path / "a" / "settings.json").read_text())
    assert settings["mean"] == [124.0, 116.0, 104.0] and settings["crop"] == 1.0
    assert run(pictures, tmp_path / "a", "--resume", *words).exit_code == 0


def test_an_onnx_file_is_rounded_into_another(tmp_path: Path, pictures: Path) -> None:
    data, file = io.BytesIO(), tmp_path / "small.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(small_network(), (torch.zeros(1, 3, 20, 20),), data, dynamo=False)  # type: ignore[arg-type]
    file.write_bytes(data.getvalue())
    given = ["--images", str(pictures), "--num-calibration", "16", "--json"]
    result = RUNNER.invoke(cli.app, ["round", str(file), "--out", str(tmp_path / "a"), *given])
    found, other = told(result), told(run(pictures, tmp_path / "b", "--json"))
    assert found["kl"] == pytest.approx(other["kl"]) and found["onnx"]["difference"] < 1e-4
    again = RUNNER.invoke(
        cli.app, ["round", str(tmp_path / "a" / "network.onnx"), "--out", str(tmp_path / "c")]
    )
    assert again.exit_code == 2 and "already quantised" in again.stderr


def test_without_onnx_the_result_says_so(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = told(run(pictures, tmp_path / "a", "--json"))
    assert found["onnx"]["file"] is None and "qbnn[onnx]" in found["onnx"]["reason"]
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = told(run(pictures, tmp_path / "b", "--json"))
    assert found["onnx"].pop("file") == "network.onnx"
    assert set(found["onnx"].values()) == {None}


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
        (["--set", "widht=3"], "did you mean 'width'"),
        (["--set", "width"], "is not key=value"),
        (["--num-calibration", "1"], "at least 2"),
        (["--num-calibration", "0", "--method", "lns"], "without images"),
        (["--bits", "17"], "--bits"),
        (["--bits", "0"], "--bits"),
        (["--mean", "1,2"], "one for each channel"),
        (["--std", "0"], "std must be positive"),
        (["--mean", "red"], "must be a number"),
        (["--crop", "0"], "crop must be"),
        (["--channels", "2"], "1 or 3 channels"),
        (["--channels", "1"], "does not run on an input"),
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "lns"], "without images"),
        (["--bias", "empirical"], "needs images"),
        (["--bias", "sequential"], "without images"),
        (["--scale", "searched"], "without images"),
        (["--bias", "optimal"], "without images"),
        (["--scale", "hessian"], "without images"),
        (["--activation-bits", "8"], "layer '4': the range of its inputs"),
    ],
)
def test_what_needs_images_is_refused_without(
    tmp_path: Path, words: list[str], message: str
) -> None:
    words = words if "--method" in words else [*words, "--method", "nearest"]
    result = run(None, tmp_path / "run", *words)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("factory", "message"), [("with_nan", "'4.weight'"), ("overflowing", "layer '4'")]
)
def test_numbers_that_are_not_finite_are_named(
    tmp_path: Path, pictures: Path, factory: str, message: str
) -> None:
    result = run(pictures, tmp_path / "run", factory=factory)
    assert result.exit_code == 2 and message in result.stderr


def test_the_named_network_is_traced_whole() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'round' is not installed")
    from anneal.rounding.sources import load_network

    source: Source = load_network("efficientnet-lite0")
    example = torch.randn(2, 3, 96, 96)
    traced = trace(source.network, example[:1])
    assert len(traced.layers) == 50 and not traced.unsupported
    assert judge(source.network, traced.module, example).kl < 1e-6
