"""`qbnn compile` on networks trained on digits: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import typer
from typer.testing import CliRunner

from anneal.errors import InputError
from qbnn.commands import deploy
from qbnn.config import make_config
from qbnn.data import load
from qbnn.deploy import compilation
from qbnn.deploy.compilation import CompileOptions, compile_run
from qbnn.deploy.packing import PackedEnsemble, load_packed
from qbnn.deploy.xnor_table import load_table
from qbnn.models import Network
from qbnn.training.checkpoints import save
from qbnn.training.train import TrainOptions, train

DIGITS = load("digits", limit=400)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of two epochs: undeformed, sampled, deformed and classical."""
    folder = tmp_path_factory.mktemp("runs")
    for name, config in {
        "none": {},
        "sample": {"mode": "sample", "input": "real"},
        "real4": {"family": "real4"},
        "sign": {"family": "sign"},
        "exact": {"law": "exact"},
    }.items():
        values = {"architecture": "6C3S2-MP2-20FC-SM10", "in_shape": DIGITS.in_shape, **config}
        network = Network(make_config(values))
        train(network, DIGITS, TrainOptions(epochs=2, batch_size=32, learning_rate=0.05))
        extra = {"data": "digits", "limit": 400, "seed": 0}
        (folder / name).mkdir()
        save(folder / name / "best.safetensors", network, extra)
    return folder


def compiled(run: Path, out: Path | None = None, **options: Any) -> dict[str, Any]:
    return compile_run(run, CompileOptions(num_members=3, num_draws=4, **options), out=out)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", "auto"),
        ("none", "ternary"),
        ("sample", "bits"),
        ("sample", "ensemble"),
        ("sign", "auto"),
    ],
)
def test_packed_bits_are_torchs(runs: Path, tmp_path: Path, name: str, kind: str) -> None:
    found = compiled(runs / name, tmp_path / "net", kind=kind)
    accuracy = found["accuracy"]
    assert found["agreement"] == 1 and accuracy["torch"] == accuracy["compiled"]
    assert found["largest_difference"] < 1e-5
    network = load_packed(tmp_path / "net")
    assert isinstance(network, PackedEnsemble) == (kind == "ensemble")
    images, labels = DIGITS.test.batch(torch.arange(len(DIGITS.test)))
    right = network.logits(images.numpy()).argmax(1) == labels.numpy()
    assert right.mean() == accuracy["compiled"]
    assert found["bytes"] == (tmp_path / "net").stat().st_size
    assert ("bits" in accuracy) == (kind in ("ternary", "ensemble"))


def test_reestimated_bits_are_others(runs: Path, tmp_path: Path) -> None:
    plain = compiled(runs / "none", tmp_path / "a")
    anew = compiled(runs / "none", tmp_path / "b", reestimated=True)
    assert anew["agreement"] == 1
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    assert plain["options"]["reestimated"] is False


@pytest.mark.parametrize("name", ["none", "real4"])
@torch.no_grad()
def test_onnx_has_the_logits_of_torch_on_digits(runs: Path, tmp_path: Path, name: str) -> None:
    found = compiled(runs / name, tmp_path / "net.onnx", kind="onnx")
    assert found["replaced"] == {"pool": "mean"} and found["agreement"] == 1
    session = onnxruntime.InferenceSession((tmp_path / "net.onnx").read_bytes())
    network = compilation.load(runs / name, changes={"pool": "mean"})[0]
    images, _ = DIGITS.test.batch(torch.arange(len(DIGITS.test)))
    ours, theirs = session.run(None, {"images": images.numpy()})[0], network(images).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
    np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1))


def test_a_deformed_network_becomes_a_table(runs: Path, tmp_path: Path) -> None:
    found = compiled(runs / "real4", tmp_path / "net")
    assert (found["kind"], found["replaced"]) == ("table", {"mode": "sample"})
    assert found["agreement"] is None
    assert abs(found["accuracy"]["torch"] - found["accuracy"]["compiled"]) < 0.15
    assert load_table(tmp_path / "net").probabilities(np.zeros((2, 1, 8, 8))).shape == (2, 10)


def test_another_law_can_be_taken(runs: Path, tmp_path: Path) -> None:
    options = CompileOptions(kind="onnx")
    with pytest.raises(InputError, match="not 'exact'"):
        compile_run(runs / "exact", options, out=tmp_path / "net")
    assert not list(tmp_path.iterdir())
    found = compile_run(runs / "exact", options, out=tmp_path / "net", law="clt-cc")
    assert found["agreement"] == 1


def test_what_disagrees_is_not_written(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = compilation.pack_twin(compilation.make_twin(compilation.load(runs / "none")[0], "bits"))

    class Wrong:
        save = right.save

        def logits(self, images: np.ndarray, *, num_threads: int | None) -> np.ndarray:
            return -right.logits(images)

    monkeypatch.setattr(compilation, "pack_twin", lambda twin: Wrong())
    with pytest.raises(RuntimeError, match="disagree on"):
        compiled(runs / "none", tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_and_nothing_is_written(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"before")
    for reason, run, options in [
        ("no deterministic binary twin", "real4", {"kind": "bits"}),
        ("has signs alone", "sign", {"kind": "ensemble"}),
        ("has none: kind 'bits'", "sign", {"kind": "onnx"}),
        ("counts no pairs", "sample", {"kind": "table"}),
        ("No such file", "nothing", {}),
    ]:
        with pytest.raises(InputError, match=reason):
            compiled(runs / run, tmp_path / "net", **options)
    with pytest.raises(InputError, match="cannot write"):
        compiled(runs / "none", tmp_path / "nowhere" / "net")
    assert (tmp_path / "net").read_bytes() == b"before"
    save(tmp_path / "alone", compilation.load(runs / "none")[0], {})
    with pytest.raises(InputError, match="name it by --data"):
        compiled(tmp_path / "alone", tmp_path / "net")


def command(*arguments: object) -> Any:
    app = typer.Typer()
    app.callback()(lambda debug=False: None)
    deploy.register(app)
    return CliRunner().invoke(app, ["compile", *map(str, arguments)])


def test_the_command_prints_facts_a_document_or_the_accuracy(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_bytes(
        (runs / "none" / "best.safetensors").read_bytes()
    )
    shown = command(tmp_path / "run")
    assert shown.exit_code == 0, shown.output
    assert "packed bits" in shown.output and "100.00 % of the test images" in shown.output
    assert (tmp_path / "run" / "compiled.bits.safetensors").exists()
    found = json.loads(command(tmp_path / "run", "--json", "--kind", "onnx").output)
    assert found["command"] == "compile" and found["agreement"] == 1
    assert found["out"] == str(tmp_path / "run" / "compiled.onnx")
    alone = command(tmp_path / "run", "--quiet").output
    assert float(alone) == pytest.approx(found["accuracy"]["original"], abs=0.6)


def test_the_command_ends_with_one_line_and_exit_code_2(runs: Path, tmp_path: Path) -> None:
    done = command(runs / "real4", "--kind", "bits", "--out", tmp_path / "net")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: kind 'bits' needs pairs") and done.stderr.count("\n") == 1
