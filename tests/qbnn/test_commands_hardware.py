"""`qbnn certify`, `circuit`, `resources`, and a quantum device for `eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

import cli
from anneal.errors import InputError
from qbnn.circuits.runs import parse_shape
from qbnn.circuits.selection import activations_of
from qbnn.config import Config
from qbnn.data import load as load_data
from qbnn.deformation import Real4, Rotations
from qbnn.models import Network
from qbnn.training.checkpoints import load, save


def qbnn(*arguments: object, code: int = 0) -> Result:
    wide = {"COLUMNS": "250"}
    result = CliRunner().invoke(cli.app, [str(item) for item in arguments], env=wide)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def document(*arguments: object, code: int = 0) -> dict[str, Any]:
    found = json.loads(qbnn(*arguments, "--json", code=code).stdout)
    assert found["schema"] == 1
    assert found["command"] == arguments[0]
    return dict(found)


def refusal(*arguments: object) -> str:
    """Return the one line of an error that is the user's."""
    error = qbnn(*arguments, code=2).stderr
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of digits that was never trained, but whose normalisations differ."""
    config = Config(
        architecture="3C2S2P0-MP2-SM10", in_shape=(1, 8, 8), family="real4", init_std=0.5
    )
    network = Network(config)
    network(torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    path = tmp_path_factory.mktemp("runs") / "digits"
    path.mkdir()
    save(path / "best.safetensors", network, {"data": "digits", "seed": 1})
    return path


def test_certify(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "certificate.json"
    found = document("certify", run, "--num-neurons", 1, "--fan-in", 3, "--out", kept)
    assert json.loads(kept.read_text(encoding="utf-8")) == found
    assert found["agrees"] is True
    assert found["largest_difference"] <= 1e-12
    assert found["largest_gradient_difference"] <= 1e-10
    assert {check["layer"] for check in found["checks"]} == {0, 1}
    assert {check["path"] for check in found["checks"]} == {"state vector", "emulated"}
    shown = qbnn("certify", run, "--num-neurons", 1, "--fan-in", 3).stdout
    assert "circuits and emulation agree" in shown
    assert "3 of 4" in shown and "all 12" in shown
    quiet = qbnn("certify", run, "--num-neurons", 1, "--fan-in", 2, "--quiet").stdout
    assert "agree" in quiet and "3C2S2P0" not in quiet


def test_certify_fails_where_a_gate_is_another(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Real4, "gates_of", lambda self, output: Rotations.gates_of(self, output).mH)
    found = document("certify", run, "--num-neurons", 1, "--fan-in", 2, code=1)
    assert found["agrees"] is False
    result = qbnn("certify", run, "--num-neurons", 1, "--fan-in", 2, code=1)
    assert "DISAGREE" in result.stdout
    assert result.stderr == "error: 6 of 6 comparisons disagree\n"


def test_certify_refuses(run: Path, tmp_path: Path) -> None:
    assert "No such file" in refusal("certify", tmp_path / "nothing")
    assert "no device 'quantum.computer'" in refusal("certify", run, "--device", "quantum.computer")
    assert "fan_in 30 takes" in refusal("certify", run, "--fan-in", 30)
    assert "unknown dataset 'digit'" in refusal("certify", run, "--data", "digit")
    path = tmp_path / "lost.safetensors"
    save(path, load(run)[0], {})
    assert "name the set by --data" in refusal("certify", path)
    other = tmp_path / "other.safetensors"
    save(other, Network(Config(architecture="SM10", in_shape=(1, 4, 4))), {})
    assert "reads images of shape (1, 4, 4)" in refusal("certify", other, "--data", "digits")


def test_circuit_of_a_random_neuron() -> None:
    result = qbnn("circuit", "--family", "real4", "--inputs", 2, "--seed", 1)
    assert "a neuron of family real4" in result.stdout
    assert "all 2" in result.stdout
    assert "w1: ──RY(" in result.stdout and "Counter" in result.stdout
    found = document("circuit", "--family", "real4", "--inputs", 3)
    assert (found["qubits"], found["two_qubit_gates"], found["depth"]) == (8, 26, 35)
    assert found["whole"] is True
    quiet = qbnn("circuit", "--quiet").stdout
    assert quiet.startswith("w0: ")
    opened = qbnn("circuit", "--expand", "--quiet").stdout
    assert "QFT†" in opened and "Counter" not in opened
    assert "┤↗" in qbnn("circuit", "--counter", "iterative", "--quiet").stdout


def test_circuit_of_a_run(run: Path) -> None:
    found = document("circuit", run, "--layer", 1, "--neuron", 4, "--image", 2)
    assert (found["inputs"], found["fan_in"], found["whole"]) == (3, 12, False)
    assert found["activations"] == "test image 2 of digits"
    shown = qbnn("circuit", run, "--layer", 1, "--neuron", 4, "--inputs", 5).stdout
    assert "layer 1 (SM10), neuron 4" in shown
    assert "5 of 12, drawn by lot; the threshold moved in proportion" in shown
    assert "fair coins" in shown
    whole = document("circuit", run, "--layer", 1, "--inputs", "all", "--image", 0)
    network, _ = load(run)
    images = load_data("digits").test.batch(torch.tensor([0]))[0]
    bits = activations_of(network, 1, images, seed=0)
    p = float(network.requires_grad_(False).neuron(1, 0).probability(bits))
    assert whole["neurons"][0]["p_fires"] == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize("protocol", ["fresh", "sequential-bit", "sequential-count"])
def test_circuit_of_a_layer(run: Path, protocol: str) -> None:
    options = ("--protocol", protocol, "--inputs", 2)
    found = document("circuit", run, *options)
    assert found["protocol"] == protocol
    assert len(found["neurons"]) == 2
    assert ("Counter†" in found["drawing"]) == (protocol != "fresh")
    three = document("circuit", run, *options, "--num-neurons", 3)
    assert three["two_qubit_gates"] > found["two_qubit_gates"]
    # Too many inputs to emulate can still be drawn.
    wide = document("circuit", "--protocol", protocol, "--inputs", 8)
    assert (wide["neurons"][0]["p_fires"] is None) == (protocol != "fresh")
    assert "P(fires)" not in qbnn("circuit", "--protocol", "sequential-bit", "--inputs", 8).stdout


def test_circuit_files(run: Path, tmp_path: Path) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        assert "wrote" in qbnn("circuit", run, "--out", tmp_path / name).stdout
        assert (tmp_path / name).read_bytes().startswith(start)
    qbnn("circuit", run, "--protocol", "sequential-bit", "--out", tmp_path / "layer.svg")
    path = tmp_path / "a.qasm"
    found = document("circuit", run, "--layer", 1, "--out", path)
    # The whole neuron, not a part of it, with the fewest CNOTs.
    assert (found["inputs"], found["counter"], found["drawing"]) == (12, "gray", None)
    program = path.read_text()
    assert "OPENQASM 2.0" in program
    assert program.count("cx ") == found["two_qubit_gates"]
    assert f"qreg q[{found['qubits']}]" in program


def test_circuit_refuses(run: Path, tmp_path: Path) -> None:
    assert "did you mean 'real4'" in refusal("circuit", "--family", "real5")
    assert "ends in .pdf, .png, .svg, .qasm" in refusal("circuit", "--out", tmp_path / "a.jpg")
    assert "cannot write" in refusal("circuit", "--out", tmp_path / "none" / "a.png")
    assert "a .qasm file holds any number" in refusal("circuit", "--inputs", 40)
    assert "at least one input" in refusal("circuit", "--inputs", 0)
    assert "a number, or all" in refusal("circuit", "--inputs", "few")
    assert "wants a RUN" in refusal("circuit", "--image", 1)
    assert "its own family" in refusal("circuit", run, "--family", "none")
    assert "wants a protocol" in refusal("circuit", run, "--num-neurons", 2)
    assert "no layer 7" in refusal("circuit", run, "--layer", 7)
    assert "no neuron 9" in refusal("circuit", run, "--neuron", 9)
    assert "no image 999" in refusal("circuit", run, "--image", 999)
    options = ("--protocol", "sequential-bit")
    assert "no protocol" in refusal("circuit", *options, "--out", tmp_path / "a.qasm")
    assert "'gray'" in refusal("circuit", *options, "--counter", "gray")
    iterative = ("--counter", "iterative", "--out", tmp_path / "a.qasm")
    assert "OpenQASM 2 has no" in refusal("circuit", *iterative)
    assert not list(tmp_path.iterdir())


def test_resources(run: Path) -> None:
    found = document("resources", run, "--precision", 0.1)
    assert [row["stage"] for row in found["layers"]] == ["3C2S2P0", "SM10"]
    assert found["total"]["circuits"] == 16 * 3 + 10
    assert found["total"]["executions"] == 25 * found["total"]["circuits"]
    assert found["shots"] == 25
    assert len(found["ways"]) == 9
    assert found["thresholds"] == "of the training"
    shown = qbnn("resources", run).stdout
    assert "total" in shown and "CNOTs/image" in shown and "By protocol and counter" in shown
    assert "an upper bound" not in shown
    other = qbnn("resources", run, "--protocol", "sequential-bit").stdout
    assert "an upper bound" in other
    assert "By protocol" not in qbnn("resources", run, "--quiet").stdout


def test_resources_before_training() -> None:
    found = document("resources", "--architecture", "a", "--family", "real4")
    assert (found["in_shape"], found["thresholds"]) == ([1, 28, 28], "a ≥ 0")
    # docs/mathematics.md: 784 pairs take t = 10.
    assert found["layers"][0]["counting_bits"] == [10, 10]
    assert found["total"]["qubits"] == 2 * 784 + 10
    assert found["layers"][0]["circuit_two_qubit_gates"] == 16_569 + 2 * 784
    small = document("resources", "--architecture", "SM10", "--in-shape", "1x8x8")
    assert small["layers"][0]["fan_in"] == 64


def test_resources_refuses(run: Path) -> None:
    assert "give a RUN, or --architecture" in refusal("resources")
    assert "one or the other" in refusal("resources", run, "--family", "none")
    assert "1,28,28" in refusal("resources", "--architecture", "a", "--in-shape", "28,28")
    assert "cannot read 'X'" in refusal("resources", "--architecture", "X-SM10")
    assert "'sign' has no circuits" in refusal(
        "resources", "--architecture", "a", "--family", "sign"
    )
    assert "reads more than the protocol" in refusal(
        "resources", run, "--protocol", "sequential-bit", "--counter", "direct"
    )
    assert "precision" in refusal("resources", run, "--precision", 0)
    with pytest.raises(InputError):
        parse_shape("1,2,0")


def test_eval_on_a_device(run: Path) -> None:
    plain = document("eval", run, "--limit", 40)
    assert (plain["shots"], plain["noise"], plain["protocol"]) == (None, 0.0, "fresh")
    options = ("--shots", 5, "--noise", 0.02, "--readout", 0.01, "--protocol", "sequential-bit")
    found = document("eval", run, "--limit", 40, *options)
    assert found["cross_entropy"] != plain["cross_entropy"]
    assert found == document("eval", run, "--limit", 40, *options)
    assert (found["shots"], found["readout"]) == (5, 0.01)
    shown = qbnn("eval", run, "--limit", 40, *options).stdout
    assert "5 shots, noise 0.02, readout 0.01, sequential-bit" in shown
    drawn = document("eval", run, "--limit", 40, "--mode", "sample", "--shots", 3)
    assert drawn["num_draws"] == 3


def test_eval_refuses(run: Path) -> None:
    assert "shots must be at least 1" in refusal("eval", run, "--shots", 0)
    assert "noise must be a probability" in refusal("eval", run, "--noise", 2)
    assert "no circuits" in refusal("eval", run, "--shots", 2, "--binarised")
    passes = ("--mode", "sample", "--shots", 2, "--num-draws", 2)
    assert "a shot is a pass" in refusal("eval", run, *passes)
