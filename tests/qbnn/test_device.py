"""The emulating device, against default.qubit on circuits of its family, and what it refuses."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from pennylane.devices.capabilities import DeviceCapabilities
from pennylane.exceptions import DeviceError, QuantumFunctionError

import qbnn.device
from qbnn.circuits.counter import Counter
from qbnn.circuits.neurons import neuron_qnode
from qbnn.circuits.protocols import layer_qnode, marginals
from qbnn.device import EmulatorDevice
from qbnn.neuron import Neuron
from qbnn.states import Bits
from qbnn.testing import assert_law, check_device
from tests.qbnn.counting import Circuit, circuits, measurements

TOML = Path(qbnn.device.__file__).with_name("emulator.toml")


def run(operations: list[Any], measured: list[Any], device: Any, **options: Any) -> Any:
    tape = qml.tape.QuantumScript(operations, measured, shots=options.pop("shots", None))
    return qml.execute([tape], device, **{"diff_method": None, **options})[0]


def shapes(result: Any) -> Any:
    """Return what a result is made of: nesting, numbers and shapes."""
    if isinstance(result, tuple | list):
        return [type(result), *map(shapes, result)]
    if isinstance(result, dict):
        return {type(key) for key in result} | {type(value) for value in result.values()}
    # default.qubit makes some real expectations complex.
    return np.real(result).dtype, np.shape(result)


# Analytic


@given(circuits())
@settings(max_examples=40)
def test_exact_results_are_those_of_default_qubit(circuit: Circuit) -> None:
    emulator = EmulatorDevice()
    operations, measured = circuit.build(circuit.angles), measurements(circuit.registers)
    with qml.Tracker(emulator) as tracker:
        found = run(operations, measured, emulator)
    assert tracker.history["path"] == ["emulated"]
    expected = run(operations, measured, qml.device("default.qubit"))
    assert shapes(found) == shapes(expected)
    for what, ours, theirs in zip(measured, found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=0, abs=1e-12), what


@given(circuits(batches=(None, 2)), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_torch_gradients_are_those_of_default_qubit(circuit: Circuit, seed: int) -> None:
    measured = measurements(circuit.registers)

    def slope(device: Any) -> Any:
        angles = torch.tensor(circuit.angles, requires_grad=True)
        found = run(circuit.build(angles), measured, device, diff_method="backprop")
        generator = torch.Generator().manual_seed(seed)
        total = angles.sum() * 0
        for value in found:
            tensor = torch.as_tensor(value)
            assert tensor.dtype == torch.float64 or device.name == "default.qubit"
            tensor = tensor.real
            total = total + (tensor * torch.rand(tensor.shape, generator=generator)).sum()
        return torch.autograd.grad(total, angles)[0].numpy() if len(angles) else np.zeros(0)

    expected = slope(qml.device("default.qubit"))
    assert slope(EmulatorDevice()) == pytest.approx(expected, rel=0, abs=1e-10)


def neuron(angles: Any, measured: Callable[[], Any], *, offset: float = 1.0) -> Any:
    """Queue three deformed pairs, angles (3, 3), and their counter."""
    for k in range(3):
        qml.RY(angles[k][0], f"w{k}")
        qml.RY(angles[k][1], f"h{k}")
        qml.IsingXY(angles[k][2], [f"w{k}", f"h{k}"])
    Counter([(f"w{k}", f"h{k}") for k in range(3)], ["top", "mid", "low"], offset=offset)
    return measured()


def top() -> Any:
    return qml.expval(qml.Z("top"))


ANGLES = np.random.default_rng(5).uniform(-2, 2, (3, 3))


@pytest.mark.parametrize("method", ["backprop", "best", "device", "parameter-shift"])
def test_gradients_of_every_method_agree(method: str) -> None:
    angles = qml.numpy.array(ANGLES, requires_grad=True)
    reference = qml.QNode(neuron, qml.device("default.qubit"), diff_method="backprop")
    ours = qml.QNode(neuron, EmulatorDevice(), diff_method=method)
    for offset in (1.0, 0.3):
        expected = qml.grad(reference)(angles, top, offset=offset)
        found = qml.grad(ours)(angles, top, offset=offset)
        assert np.array(found) == pytest.approx(np.array(expected), abs=1e-10)


def test_gradient_with_shots_is_that_of_shifted_circuits() -> None:
    angles = torch.tensor(ANGLES, requires_grad=True)
    exact = qml.QNode(neuron, EmulatorDevice())(angles, top)
    (expected,) = torch.autograd.grad(exact, angles)
    sampled = qml.set_shots(qml.QNode(neuron, EmulatorDevice(seed=1)), 20_000)(angles, top)
    (found,) = torch.autograd.grad(sampled, angles)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=0.05)
    with pytest.raises(QuantumFunctionError, match="does not support backprop"):
        qml.set_shots(qml.QNode(neuron, EmulatorDevice(), diff_method="backprop"), 10)(angles, top)


def test_single_precision_parameters_lose_nothing_later() -> None:
    node = qml.QNode(neuron, EmulatorDevice())
    single = torch.tensor(ANGLES, dtype=torch.float32, requires_grad=True)
    found = node(single, top)
    assert found.dtype == torch.float64
    assert float(found.detach()) == pytest.approx(
        node(single.detach().double().numpy(), top), abs=1e-14
    )
    mixed = [[row[0], row[1].item(), row[2]] for row in single]
    assert float(node(mixed, top).detach()) == pytest.approx(float(found.detach()), abs=1e-14)


def test_a_neuron_of_784_pairs() -> None:
    p, q = np.random.default_rng(1).uniform(size=(2, 784))
    law = np.ones(1)
    for agree in p * q + (1 - p) * (1 - q):
        law = np.convolve(law, [1 - agree, agree])
    expected = np.pad(law, (200, 2048 - 985))
    register = list(range(11))

    def circuit(measured: Callable[[], Any], eigenvalues: Any = None) -> Any:
        for k in range(784):
            qml.RY(2 * np.arcsin(np.sqrt(p[k])), f"w{k}")
            qml.RY(2 * np.arcsin(np.sqrt(q[k])), f"h{k}")
        pairs = [(f"w{k}", f"h{k}") for k in range(784)]
        Counter(pairs, register, offset=200, eigenvalues=eigenvalues)
        return measured()

    node = qml.QNode(circuit, EmulatorDevice(seed=1))
    found = node(functools.partial(qml.probs, wires=register))
    assert found == pytest.approx(expected, rel=0, abs=1e-13)
    likely = expected > 1e-250
    assert found[likely] == pytest.approx(expected[likely], rel=1e-9), "small ones lose digits"
    scaled = node(functools.partial(qml.probs, wires=register), np.ones(784))
    assert scaled == pytest.approx(expected, rel=0, abs=1e-13)
    third = functools.partial(qml.probs, wires=register[2])
    rates = qml.set_shots(node, 1000)(third)
    assert_law(1000 * rates, node(third))


# With shots


@given(circuits(), st.sampled_from([1, 7, [5, 5, 20], [1, (10, 3)]]))
@settings(max_examples=20)
def test_results_with_shots_have_the_shapes_of_default_qubit(circuit: Circuit, shots: Any) -> None:
    wires = [wire for register in circuit.registers for wire in register]
    product = qml.prod(*map(qml.Z, wires))
    measured = [
        *measurements(circuit.registers),
        qml.sample(wires=wires[::-1]),
        qml.sample(wires=wires[0]),
        qml.sample(qml.Z(wires[0])),
        qml.sample(product),
        qml.counts(wires=wires),
        qml.counts(wires=wires, all_outcomes=True),
        qml.counts(product),
        qml.counts(product, all_outcomes=True),
    ]
    operations = circuit.build(circuit.angles)
    found = run(operations, measured, EmulatorDevice(seed=1), shots=shots)
    expected = run(operations, measured, qml.device("default.qubit", seed=1), shots=shots)
    assert shapes(found) == shapes(expected)
    single = found if isinstance(shots, int) else found[0]
    bits, outcomes = np.asarray(single[-8])[..., ::-1], single[-4]
    for one in [outcomes] if isinstance(outcomes, dict) else outcomes:
        assert all(len(key) == len(wires) for key in one)
    assert np.asarray(single[-5]) == pytest.approx(np.prod(1 - 2 * bits, axis=-1)), (
        "one sample each"
    )


@given(circuits(batches=(None, 2)), st.integers(0, 2**31))
@settings(max_examples=30)
def test_shots_follow_the_law(circuit: Circuit, seed: int) -> None:
    wires = [wire for register in circuit.registers for wire in register]
    operations = circuit.build(circuit.angles)
    law = run(operations, [qml.probs(wires=wires)], qml.device("default.qubit"))
    measured = [qml.sample(wires=wires), qml.counts(wires=wires), qml.probs(wires=wires)]
    bits, counts, rates = run(operations, measured, EmulatorDevice(seed=seed), shots=2000)
    outcomes = np.atleast_2d(bits @ (1 << np.arange(len(wires))[::-1]))
    laws = np.atleast_2d(law)
    for row, expected in zip(outcomes.reshape(len(laws), -1), laws, strict=True):
        assert_law(
            np.bincount(row, minlength=len(expected)), np.where(expected < 1e-12, 0, expected)
        )
    first = counts[0] if isinstance(counts, list) else counts
    rate = np.atleast_2d(rates)[0]
    assert {key: number / 2000 for key, number in first.items()} == {
        f"{k:0{len(wires)}b}": value for k, value in enumerate(rate) if value
    }


def test_a_seed_decides_the_shots() -> None:
    def draw(seed: int) -> Any:
        node = qml.set_shots(qml.QNode(neuron, EmulatorDevice(seed=seed)), 50)
        bits = functools.partial(qml.sample, wires=["low", "top"])
        return np.stack([node(ANGLES, bits), node(ANGLES, bits)])

    before = np.random.get_state()[1].tolist()
    first = draw(3)
    assert (first == draw(3)).all()
    assert (first != draw(4)).any()
    assert (first[0] != first[1]).any(), "the second call repeats the first"
    assert np.random.get_state()[1].tolist() == before


# As PennyLane uses it


def test_tracker_tells_what_default_qubit_tells_and_the_path() -> None:
    emulator, reference = EmulatorDevice(seed=1), qml.device("default.qubit", seed=1)
    angles = qml.numpy.array(ANGLES, requires_grad=True)
    for shots in (None, 20):
        with qml.Tracker(emulator) as ours, qml.Tracker(reference) as theirs:
            for device in (emulator, reference):
                node = qml.QNode(neuron, device, diff_method="parameter-shift")
                qml.grad(qml.set_shots(node, shots))(angles, top)
        same = {"batches", "simulations", "executions", "shots"} & set(theirs.history)
        assert {key: ours.history[key] for key in same} == {k: theirs.history[k] for k in same}
        assert ours.history["path"] == ["emulated"] * ours.totals["executions"]
        assert ours.history["resources"][0].gate_types["Counter"] == 1


def test_found_by_name_and_conforming() -> None:
    assert isinstance(qml.device("qbnn.emulator", wires=["a"]), EmulatorDevice)
    check_device(qml.device("qbnn.emulator", wires=9, seed=1), seed=2, tolerance=1e-12)
    assert EmulatorDevice(wires=3).wires == qml.wires.Wires([0, 1, 2])


def described_gate(name: str, wires: range) -> Any:
    """Return a gate of the device's description on the first of the wires."""
    cls = getattr(qml, name)
    if name == "SpecialUnitary":
        return cls(np.linspace(0, 1, 15), wires[:2])
    if name == "ControlledQubitUnitary":
        return cls(qml.RX.compute_matrix(0.4), wires=wires[:2])
    if name in ("QubitUnitary", "DiagonalQubitUnitary"):
        diagonal = np.exp(1j * np.arange(4))
        return cls(diagonal if name.startswith("D") else np.diag(diagonal), wires=wires[:2])
    if name == "PauliRot":
        return cls(0.4, "XY", wires=wires[:2])
    number = cls.num_wires if isinstance(cls.num_wires, int) else 2
    return cls(*[0.4] * cls.num_params, wires=wires[:number])


def described() -> dict[str, Any]:
    return tomllib.loads(TOML.read_text())


@pytest.mark.parametrize("name", sorted(set(described()["operators"]["gates"]) - {"Counter"}))
def test_described_gates_run(name: str) -> None:
    operations = [
        *(qml.Hadamard(wire) for wire in range(4)),
        described_gate(name, range(4)),
        *(qml.RX(0.7, wire) for wire in range(4)),
        Counter([(0, 1), (2, 3)], [4, 5]),
    ]
    measured = [qml.probs(wires=[4, 5])]
    expected = run(operations, measured, qml.device("default.qubit"))
    assert run(operations, measured, EmulatorDevice()) == pytest.approx(expected, abs=1e-12)


def test_description_is_valid_and_names_the_measurements() -> None:
    DeviceCapabilities.from_toml_file(str(TOML))
    sampled = [qml.sample(wires="a"), qml.counts(wires="a")]
    kinds = {type(item).__name__ for item in [*measurements([["a"]]), *sampled]}
    assert set(described()["measurement_processes"]) == kinds


def test_torch_layer() -> None:
    register = ["top", "mid", "low"]

    def circuit(inputs: Any, weights: Any) -> Any:
        for k in range(3):
            qml.RY(inputs[..., k], f"h{k}")
            qml.RY(weights[k], f"w{k}")
        Counter([(f"w{k}", f"h{k}") for k in range(3)], register)
        return qml.probs(wires=register)

    layer = qml.qnn.TorchLayer(qml.QNode(circuit, EmulatorDevice()), {"weights": (3,)})
    found = layer(torch.rand(5, 3, dtype=torch.float64))
    assert found.shape == (5, 8)
    found[:, 2].sum().backward()
    assert layer.weights.grad.abs().sum() > 0


def test_forty_registers_are_never_joined() -> None:
    """A measurement in the middle is one at the end where nothing follows on its wire."""
    number = 40
    tops = [qml.Z(f"low{k}") for k in range(number)]

    def circuit() -> Any:
        bits = []
        for k in range(number):
            qml.RY(0.1 * k, f"w{k}")
            Counter([(f"w{k}", f"h{k}")], [f"top{k}", f"low{k}"])
            bits.append(qml.measure(f"low{k}"))
        return qml.expval(bits[3]), qml.probs(op=[bits[5], bits[4]]), qml.expval(qml.sum(*tops))

    agree = np.cos(0.05 * np.arange(number)) ** 2
    node = qml.QNode(circuit, EmulatorDevice(seed=1))
    one, two, mean = node()
    assert one == pytest.approx(agree[3])
    assert two[0] == pytest.approx((1 - agree[5]) * (1 - agree[4]))
    assert two[1] == pytest.approx((1 - agree[5]) * agree[4])
    assert mean == pytest.approx((1 - 2 * agree).sum())
    assert qml.set_shots(node, 4000)()[2] == pytest.approx(mean, abs=1)


def test_circuits_of_neurons_and_fresh_layers() -> None:
    generator = torch.Generator().manual_seed(1)
    real, imaginary = torch.randn(2, 60, 4, 4, dtype=torch.float64, generator=generator)
    gates, _ = torch.linalg.qr(torch.complex(real, imaginary))
    p, q = torch.rand(2, 60, dtype=torch.float64, generator=generator)
    bits, weight = Bits.from_probability(p), Bits.from_probability(q)
    neurons = [Neuron(weight, gates, kappa=kappa) for kappa in (28, 31)]
    expected = [float(item.probability(bits)) for item in neurons]
    device = EmulatorDevice()
    found = [float(neuron_qnode(item, bits, device)()) for item in neurons]
    assert found == pytest.approx(expected, abs=1e-12)
    assert marginals(layer_qnode(neurons, bits, device)()).tolist() == pytest.approx(found)
    for protocol in ("sequential-bit", "sequential-count"):
        with pytest.raises(DeviceError, match=r"use default\.qubit"):
            layer_qnode(neurons, bits, device, protocol=protocol)()
