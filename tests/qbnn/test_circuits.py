"""A neuron's circuit has the law by which it is emulated: values, gradients, devices, noise."""

from __future__ import annotations

import importlib.util
from typing import Any

import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anneal.errors import InputError
from qbnn.circuits.neurons import (
    COUNTERS,
    Layout,
    network_qnode,
    neuron_circuit,
    neuron_qnode,
    read_neuron,
)
from qbnn.config import Config
from qbnn.deformation import FAMILIES
from qbnn.device import EmulatorDevice
from qbnn.models import Network
from qbnn.neuron import Neuron
from qbnn.states import Bits
from tests.qbnn.neurons import (
    assemble,
    probabilities,
    random_bits,
    random_deformation,
    random_neuron,
)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> bool:
    assert found.shape == expected.shape
    return torch.allclose(found, expected, rtol=0, atol=tolerance)


def emulated_counts(neuron: Neuron, bits: Bits) -> Tensor:
    """Return P(K = k), k modulo 2^t, from the law of the register."""
    return torch.roll(neuron.register(bits), -neuron.counting_wires[1], -1)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_circuit_fires_as_emulated(family: str, counter: str, flipped: bool) -> None:
    for fan_in in (1, 2, 3):
        neuron = random_neuron(family, fan_in, seed=fan_in, flipped=flipped)
        bits = random_bits(2, fan_in, seed=9)
        p = neuron.probability(bits)
        assert close(neuron_qnode(neuron, bits, counter=counter)(), p)
        found = neuron_qnode(neuron, bits, counter=counter, measure="bit")()
        assert close(found, torch.stack([1 - p, p], -1))
        found = neuron_qnode(neuron, bits, counter=counter, measure="count")()
        assert close(found, emulated_counts(neuron, bits))


@settings(max_examples=20)
@given(
    family=st.sampled_from(list(FAMILIES)),
    kappa=st.integers(0, 4),
    flipped=st.booleans(),
    uncompute=st.booleans(),
    p=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_any_threshold_and_any_activations(
    family: str, kappa: int, flipped: bool, uncompute: bool, p: list[float]
) -> None:
    neuron = random_neuron(family, 3, seed=4, kappa=kappa, flipped=flipped)
    bits = Bits.from_probability(torch.tensor(p, dtype=torch.float64))
    found = neuron_qnode(neuron, bits, uncompute=uncompute)()
    assert close(found, neuron.probability(bits))


@pytest.mark.parametrize(
    ("family", "fan_in"),
    [("real4", 4), *(pytest.param(name, 8, marks=pytest.mark.slow) for name in FAMILIES)],
)
def test_a_wider_neuron(family: str, fan_in: int) -> None:
    neuron, bits = random_neuron(family, fan_in, seed=2), random_bits(fan_in, seed=3)
    found = neuron_qnode(neuron, bits, measure="count")()
    assert close(found, emulated_counts(neuron, bits))
    assert close(neuron_qnode(neuron, bits)(), neuron.probability(bits))


@pytest.mark.parametrize(
    ("family", "fan_in"),
    [*((name, 3) for name in FAMILIES), pytest.param("real4", 8, marks=pytest.mark.slow)],
)
def test_gradients_are_those_of_the_emulation(family: str, fan_in: int) -> None:
    deformation = random_deformation(family, fan_in, seed=5)
    weights = probabilities(fan_in, seed=6).requires_grad_()
    p = probabilities(2, fan_in, seed=7).requires_grad_()
    neuron = assemble(weights, deformation, flipped=True)
    bits = Bits.from_probability(p)
    leaves = [weights, p, *(leaf for leaf in deformation.parameters() if leaf.numel())]
    factors = torch.tensor([1.0, -2.0], dtype=torch.float64)
    slopes = [
        torch.autograd.grad((values * factors).sum(), leaves, retain_graph=True)
        for values in (neuron_qnode(neuron, bits)(), neuron.probability(bits))
    ]
    for found, expected in zip(*slopes, strict=True):
        assert close(found, expected, 1e-10)


def test_shifted_parameters_give_the_same_gradient() -> None:
    neuron = random_neuron("real4", 2, seed=1)
    p = probabilities(2, seed=2).requires_grad_()
    bits = Bits.from_probability(p)
    shifted = neuron_qnode(neuron, bits, diff_method="parameter-shift")()
    slopes = [
        torch.autograd.grad(p_fires, p, retain_graph=True)[0]
        for p_fires in (shifted, neuron.probability(bits))
    ]
    assert close(slopes[0], slopes[1], 1e-10)


def test_a_qnode_takes_other_bits() -> None:
    neuron, bits = random_neuron("local", 3, seed=1), random_bits(5, 3, seed=2)
    qnode = neuron_qnode(neuron, random_bits(3, seed=3))
    assert close(qnode(bits), neuron.probability(bits))


def test_measured_bits_have_no_coherence() -> None:
    neuron = random_neuron("real4", 3, seed=1)
    bits = Bits.measured(torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], dtype=torch.float64))
    assert close(neuron_qnode(neuron, bits)(), neuron.probability(bits))


@pytest.mark.parametrize("counter", COUNTERS)
def test_uncomputing_gives_the_pairs_back_where_the_count_is_certain(counter: str) -> None:
    # The gates differ from the identity, but commute with what is counted.
    gate = torch.linalg.matrix_exp(0.7j * torch.ones(1, dtype=torch.complex128) * _XX)
    weight = Bits.measured(torch.tensor([1.0, 0.0], dtype=torch.float64))
    bits = Bits.measured(torch.tensor([1.0, 1.0], dtype=torch.float64))
    neuron = Neuron(weight, gate.expand(2, 4, 4), kappa=1)
    layout = Layout.of(2, neuron.counting_wires[0])

    @qml.qnode(qml.device("default.qubit"), interface="torch")
    def circuit() -> Any:
        neuron_circuit(neuron, bits, counter=counter, uncompute=True, layout=layout)
        return qml.probs(wires=[wire for pair in layout.pairs for wire in pair])

    assert circuit()[0b1101] == pytest.approx(1, abs=1e-12)


_XX = torch.eye(4, dtype=torch.complex128).flip(0)

DEVICES = ["default.qubit", "lightning.qubit", "default.mixed", "default.tensor", "cirq.simulator"]
NEEDED = {"default.tensor": "quimb", "cirq.simulator": "pennylane_cirq"}


def skip_without(device: str) -> None:
    module = NEEDED.get(device)
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{device} needs {module}")


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("device", DEVICES)
def test_any_device_runs_the_circuit(device: str, counter: str) -> None:
    skip_without(device)
    if device == "default.tensor" and counter == "iterative":
        pytest.skip("default.tensor does not measure in the middle of a circuit")
    for family in ("su4", "scaled"):
        neuron, bits = random_neuron(family, 2, seed=1), random_bits(2, seed=2)
        found = neuron_qnode(neuron, bits, device, counter=counter)()
        assert close(found.double(), neuron.probability(bits), 1e-6)


def test_the_wires_of_a_device_are_used_in_their_order() -> None:
    neuron, bits = random_neuron("real4", 2, seed=1), random_bits(2, seed=2)
    device = qml.device("default.qubit", wires=list("wvhgkl"))
    assert close(neuron_qnode(neuron, bits, device)(), neuron.probability(bits))
    with pytest.raises(InputError, match="needs 6 wires, but has 5"):
        neuron_qnode(neuron, bits, qml.device("default.qubit", wires=5))


@pytest.mark.parametrize("counter", COUNTERS)
def test_shots_estimate_the_same_probability(counter: str) -> None:
    neuron, bits = random_neuron("real4", 2, seed=1, flipped=True), random_bits(2, seed=2)
    p = neuron.probability(bits).item()
    device = qml.device("default.qubit", seed=7)
    options: dict[str, Any] = {"counter": counter, "mcm_method": "deferred"}
    found = neuron_qnode(neuron, bits, device, shots=(1000, 4000), **options)()
    for estimate, shots in zip(found, (1000, 4000), strict=True):
        # Six standard deviations: once in 10⁹ draws.
        assert abs(estimate.item() - p) < 6 * (p * (1 - p) / shots) ** 0.5
    counts = neuron_qnode(neuron, bits, device, measure="count", shots=500, **options)()
    assert counts.sum() == pytest.approx(1) and counts[3:].sum() == 0


@pytest.mark.parametrize("family", ["none", "real4", "su4"])
def test_noise_shrinks_every_mean_and_flips_the_bit(family: str) -> None:
    noise = 0.06
    neuron, bits = random_neuron(family, 2, seed=1), random_bits(2, seed=2)
    found = neuron_qnode(neuron, bits, "default.mixed", noise=noise)()

    def shrunk(state: Bits) -> Bits:
        return Bits(*((1 - 4 * noise / 3) * part for part in state))

    quiet = Neuron(shrunk(neuron.weight), neuron.gates, neuron.kappa).probability(shrunk(bits))
    assert close(found, quiet + noise * (1 - 2 * quiet))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"measure": "spin"}, "unknown measure 'spin'"),
        ({"counter": "grey"}, "did you mean 'gray'"),
        ({"noise": 1.5}, "noise must be a probability, not 1.5"),
        ({"noise": 0.1, "counter": "iterative"}, "noise wants a counter with a register"),
    ],
)
def test_what_makes_no_circuit_is_refused(options: Any, match: str) -> None:
    neuron = random_neuron("none", 2, seed=1)
    with pytest.raises(InputError, match=match):
        neuron_qnode(neuron, random_bits(2, seed=2), **options)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1, 2)])
def test_bits_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"bits must have shape \(2,\) or \(B, 2\)"):
        neuron_qnode(random_neuron("none", 2, seed=1), random_bits(*shape, seed=2))


def small_network(family: str) -> Network:
    """Return a network whose convolution reads the border."""
    config = Config(
        architecture="2C2S2P1-3FC-SM2", in_shape=(1, 3, 3), family=family, law="exact", init_std=1.0
    )
    return Network(config).double().eval()


@torch.no_grad()
@pytest.mark.parametrize("family", ["none", "real4"])
def test_a_neuron_of_a_network_fires_as_the_network_says(family: str) -> None:
    network, images = small_network(family), probabilities(2, 1, 3, 3, seed=3)
    _, second, third = network.hidden(images)
    for position in range(4):
        found = network_qnode(network, 0, 1, images, position=position)()
        assert close(found, second.probability[:, 4 + position])
    found = network_qnode(network, 1, 2, images, EmulatorDevice())()
    assert close(found, third.probability[:, 2])
    with pytest.raises(InputError, match="no position 4; the layer has 4"):
        read_neuron(network, 0, 1, images, position=4)


@torch.no_grad()
def test_some_pairs_of_a_neuron_fit_a_state_vector() -> None:
    network, images = small_network("real4"), probabilities(2, 1, 3, 3, seed=3)
    neuron, bits = read_neuron(network, 1, 2, images, pairs=[1, 6])
    assert (neuron.fan_in, bits.spin.shape) == (2, (2, 2))
    found = network_qnode(network, 1, 2, images, pairs=[1, 6])()
    assert close(found, neuron.probability(bits))
