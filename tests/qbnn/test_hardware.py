"""Shots, noise and protocols of a device, against density matrices and against statistics."""

from __future__ import annotations

from typing import Any

import pennylane as qml
import pytest
import torch
from torch import Tensor

from anneal.errors import InputError
from qbnn.circuits.neurons import apply_gates, count, neuron_layout, offset, prepare
from qbnn.circuits.protocols import layer_qnode, marginals
from qbnn.config import Config
from qbnn.deformation import FAMILIES
from qbnn.hardware.shots import Hardware, misread_register, on_hardware
from qbnn.models import Network
from qbnn.neuron import Neuron
from qbnn.states import Bits

UNSCALED = [name for name in FAMILIES if name != "scaled"]
NOISY = Hardware(noise=0.07, readout=0.04)


def network_of(
    family: str, architecture: str, shape: tuple[int, int, int], **values: Any
) -> Network:
    """Return a network in float64 whose normalisations differ from neuron to neuron."""
    config = Config(
        architecture=architecture, in_shape=shape, family=family, **{"init_std": 0.8, **values}
    )
    network = Network(config).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for block in network.blocks:
        block.norm.running_mean.uniform_(-2, 2, generator=generator)
        block.norm.gamma.data.uniform_(-1, 1, generator=generator)
    return network


def images_of(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def density_matrix(neuron: Neuron, bits: Bits, hardware: Hardware) -> Tensor:
    """Return the law of a neuron's register on a noisy device."""
    layout = neuron_layout(neuron)

    @qml.qnode(qml.device("default.mixed"), interface=None)
    def circuit() -> Any:
        prepare(neuron.weight, layout.weights, noise=hardware.noise)
        prepare(bits, layout.activations, noise=hardware.noise)
        apply_gates(neuron, layout)
        count(neuron, layout)
        for wire in layout.counting:
            qml.BitFlip(hardware.readout, wires=wire)
        return qml.probs(wires=layout.counting)

    # Of torch's phases default.mixed keeps single precision.
    return torch.as_tensor(qml.transforms.convert_to_numpy_parameters(circuit)())


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_is_that_of_a_density_matrix(family: str) -> None:
    """The head's top bits under `bce`, for fan-ins up to 3."""
    for fan_in in (1, 2, 3) if family in ("real4", "scaled") else (2,):
        network = network_of(family, "SM2", (1, 1, fan_in), head="bce")
        images = images_of(2, 1, 1, fan_in)
        found = on_hardware(network, NOISY)(images).sigmoid()
        bits = Bits.from_probability(images.flatten(1))
        for index in range(2):
            law = density_matrix(network.neuron(0, index), bits, NOISY)
            expected = law[:, law.shape[1] // 2 :].sum(1)
            assert torch.allclose(found[:, index], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("family", "fan_in"), [(name, 2) for name in UNSCALED] + [("real4", 3)])
def test_noise_of_hidden_bits(family: str, fan_in: int) -> None:
    network = network_of(family, "2FC-SM2", (1, 1, fan_in), law="exact")
    images = images_of(2, 1, 1, fan_in)
    *_, hidden = on_hardware(network, NOISY).hidden(images)
    for index in range(2):
        law = density_matrix(
            network.neuron(0, index), Bits.from_probability(images.flatten(1)), NOISY
        )
        expected = law[:, law.shape[1] // 2 :].sum(1)
        assert torch.allclose(hidden.probability[:, index], expected, rtol=0, atol=1e-12)
        # What is handed on is prepared anew, and pure.
        size = hidden.spin.square() + hidden.coherence.square()
        assert torch.allclose(size, torch.ones_like(size))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_counts_of_the_head(family: str) -> None:
    network = network_of(family, "SM2", (1, 1, 2))
    images = images_of(2, 1, 1, 2)
    bits = Bits.from_probability(images.flatten(1))
    moments = on_hardware(network, NOISY).blocks[0].layer.moments(bits)
    d = network.blocks[0].layer.eigenvalues()
    for index in range(2):
        neuron = network.neuron(0, index)
        law = density_matrix(neuron, bits, NOISY)
        size = law.shape[1]
        # The circuit of a flipped neuron is half a turn further; the head compares counts.
        law = torch.roll(law, size // 2, 1) if neuron.flipped else law
        assert (offset(neuron) + size // 2 * neuron.flipped) % size == neuron.counting_wires[1]
        values = 2 * (torch.arange(size) - neuron.counting_wires[1]).double()
        values -= 2 if d is None else float(d[index].sum())
        mean = law @ values
        assert torch.allclose(moments.mean[:, index], mean, rtol=0, atol=1e-12)
        variance = law @ values.square() - mean.square()
        assert torch.allclose(moments.variance[:, index], variance, rtol=0, atol=1e-11)


def test_a_perfect_device_changes_nothing() -> None:
    network = network_of("real4", "3C3P1-MP2-4FC-SM3", (1, 6, 6))
    images = images_of(4, 1, 6, 6)
    device = on_hardware(network, Hardware())
    network.reseed(1)
    device.reseed(1)
    assert torch.equal(network(images), device(images))


def test_white_noise_forgets_the_image() -> None:
    """At λ = ¾ nothing is left of a qubit."""
    network = network_of("real4", "4FC-SM3", (1, 2, 2))
    logits = on_hardware(network, Hardware(noise=0.75))(images_of(5, 1, 2, 2))
    assert torch.allclose(logits, logits[:1].expand_as(logits))
    network = network_of("none", "4FC-SM3", (1, 2, 2), head="bce")
    logits = on_hardware(network, Hardware(readout=0.5))(images_of(5, 1, 2, 2))
    assert torch.allclose(logits, torch.zeros_like(logits), atol=1e-12)


def test_the_same_seed_gives_the_same_shots() -> None:
    network = network_of("real4", "4FC-SM3", (1, 2, 2))
    device = on_hardware(network, Hardware(shots=20, noise=0.01))
    images = images_of(5, 1, 2, 2)
    draws = []
    for seed in (1, 1, 2):
        device.reseed(seed)
        draws.append(device(images))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_shots_of_hidden_bits_are_binomial() -> None:
    network = network_of("real4", "4FC-SM2", (1, 2, 2), law="exact")
    images = images_of(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    *_, exact = on_hardware(network, NOISY).hidden(images[:1])
    *_, drawn = on_hardware(network, Hardware(shots=7, noise=0.07, readout=0.04)).hidden(images)
    p, found = exact.probability[0], drawn.probability
    assert torch.allclose((7 * found).round() / 7, found)
    error = (p * (1 - p) / 7 / len(images)).sqrt()
    assert ((found.mean(0) - p).abs() < 5 * error).all()
    # The variance of a variance is about 2σ⁴/M.
    assert torch.allclose(found.var(0), p * (1 - p) / 7, rtol=0.06)


@pytest.mark.parametrize("family", ["real4", "scaled"])
def test_shots_of_the_heads_counts(family: str) -> None:
    network = network_of(family, "SM2", (1, 2, 2))
    bits = Bits.from_probability(images_of(1, 4).expand(20_000, -1))
    few = Bits(*(part[:1] for part in bits))
    exact = on_hardware(network, NOISY).blocks[0].layer.moments(few)
    shots = Hardware(shots=3, noise=0.07, readout=0.04)
    drawn = on_hardware(network, shots).blocks[0].layer.moments(bits)
    assert torch.allclose(drawn.variance, exact.variance.expand_as(drawn.variance))
    error = (exact.variance[0] / 3 / len(drawn.mean)).sqrt()
    assert ((drawn.mean.mean(0) - exact.mean[0]).abs() < 5 * error).all()
    assert torch.allclose(drawn.mean.var(0), exact.variance[0] / 3, rtol=0.06)


def test_shots_of_the_heads_bits_are_smoothed_frequencies() -> None:
    network = network_of("none", "SM2", (1, 2, 2), head="bce")
    images = images_of(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    p = network_of("none", "SM2", (1, 2, 2), head="bce", law="exact")(images[:1]).sigmoid()[0]
    found = on_hardware(network, Hardware(shots=10))(images).sigmoid()
    counts = found * 11 - 0.5
    assert torch.allclose(counts.round(), counts, rtol=0, atol=0.0011)
    error = (p * (1 - p) / 10 / len(images)).sqrt()
    assert ((counts.round().mean(0) / 10 - p).abs() < 5 * error).all()


def test_many_shots_are_exact() -> None:
    network = network_of("real4", "4FC-SM3", (1, 2, 2), law="exact")
    images = images_of(4, 1, 2, 2)
    found = on_hardware(network, Hardware(shots=1_000_000))(images)
    assert torch.allclose(found, network(images), rtol=0, atol=0.03)


def test_drawn_bits_take_one_shot() -> None:
    network = network_of("real4", "4FC-SM2", (1, 2, 2), mode="sample", law="exact")
    images = images_of(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    for hardware in (Hardware(shots=50, readout=0.1), Hardware(readout=0.1)):
        first, second = on_hardware(network, hardware).hidden(images)
        assert set(second.probability.unique().tolist()) == {0.0, 1.0}
        # The average of the law over the pixels that were drawn, misread.
        p = (
            network.blocks[0]
            .layer.fires(first, network.blocks[0].moments(first), "exact", lattice=True)
            .probability.mean(0)
        )
        expected = p + 0.1 * (1 - 2 * p)
        assert torch.allclose(second.probability.mean(0), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("protocol", ["sequential-bit", "sequential-count"])
@pytest.mark.parametrize("family", ["none", "real4"])
def test_a_sequential_layer_is_its_circuit(family: str, protocol: str) -> None:
    network = network_of(family, "3FC-SM2", (1, 1, 2))
    images = images_of(2, 1, 1, 2)
    *_, hidden = on_hardware(network, Hardware(protocol=protocol)).hidden(images)
    neurons = [network.neuron(0, index) for index in range(3)]
    bits = Bits.from_probability(images.flatten(1))
    expected = marginals(layer_qnode(neurons, bits, protocol=protocol)())
    assert torch.allclose(hidden.probability, expected, rtol=0, atol=1e-12)


def test_a_sequential_convolution_reads_window_by_window() -> None:
    network = network_of("real4", "2C2S2P0-MP2-SM2", (1, 4, 4), pool="or")
    images = images_of(2, 1, 4, 4)
    device = on_hardware(network, Hardware(protocol="sequential-bit"))
    neurons = [network.neuron(0, index) for index in range(2)]
    windows = network.blocks[0].layer.windows(Bits.from_probability(images))
    silent = torch.ones(2, 2, dtype=torch.float64)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        own = Bits(*(part[:, 0, row, column] for part in windows))
        silent *= 1 - marginals(layer_qnode(neurons, own, protocol="sequential-bit")())
    *_, hidden = device.hidden(images)
    assert torch.allclose(hidden.probability, 1 - silent, rtol=0, atol=1e-10)
    assert device(images).shape == (2, 2)


def test_shots_and_drawn_bits_of_a_sequential_layer() -> None:
    hardware = Hardware(protocol="sequential-bit", noise=0.05, readout=0.02)
    network = network_of("real4", "2FC-SM2", (1, 1, 2))
    images = images_of(1, 1, 1, 2).expand(5_000, -1, -1, -1)
    *_, exact = on_hardware(network, hardware).hidden(images[:1])
    p = exact.probability[0]
    many = Hardware(shots=4, protocol="sequential-bit", noise=0.05, readout=0.02)
    *_, drawn = on_hardware(network, many).hidden(images)
    error = (p * (1 - p) / 4 / len(images)).sqrt()
    assert ((drawn.probability.mean(0) - p).abs() < 5 * error).all()
    assert torch.allclose(drawn.probability.var(0), p * (1 - p) / 4, rtol=0.15)
    sampled = network_of("real4", "2FC-SM2", (1, 1, 2), mode="sample")
    *_, bits = on_hardware(sampled, hardware).hidden(images)
    assert set(bits.probability.unique().tolist()) == {0.0, 1.0}


def test_commuting_families_do_not_mind_the_protocol() -> None:
    images = images_of(3, 1, 2, 2)
    for family in ("none", "w-local"):
        network = network_of(family, "4FC-SM2", (1, 2, 2), law="exact")
        fresh = on_hardware(network, NOISY)(images)
        for protocol in ("sequential-bit", "sequential-count"):
            hardware = Hardware(noise=0.07, readout=0.04, protocol=protocol)
            assert torch.allclose(on_hardware(network, hardware)(images), fresh, atol=1e-10)


def test_every_kind_of_network_runs() -> None:
    images = images_of(3, 1, 6, 6).float()
    hardware = Hardware(shots=5, noise=0.01, readout=0.01)
    for values in (
        {"law": "edgeworth", "pool": "or"},
        {"law": "exact", "pool": "mean"},
        {"input": "real", "head": "bce"},
        {"mode": "sample", "head": "bce"},
        {"mode": "sample", "family": "scaled"},
    ):
        settings = {"family": "real4", **values}
        config = Config(architecture="2C3-MP2-4FC-SM3", in_shape=(1, 6, 6), **settings)
        logits = on_hardware(Network(config), hardware)(images)
        assert logits.shape == (3, 3)
        assert torch.isfinite(logits).all()


def test_readout_of_a_register() -> None:
    law = torch.rand(3, 8, generator=torch.Generator().manual_seed(2)).double()
    flips = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).double()
    expected = law @ torch.kron(torch.kron(flips, flips), flips)
    assert torch.allclose(misread_register(law, 0.1), expected, rtol=0, atol=1e-7)
    assert torch.equal(misread_register(law, 0.0), law)


def test_what_is_no_device() -> None:
    for wrong, reason in (
        ({"shots": 0}, "shots must be at least 1"),
        ({"noise": -0.1}, "noise must be a probability"),
        ({"noise": float("nan")}, "noise must be a probability"),
        ({"readout": 1.1}, "readout must be a probability"),
        ({"protocol": "freesh"}, "did you mean 'fresh'"),
    ):
        with pytest.raises(InputError, match=reason):
            Hardware(**wrong)
    for family in ("sign", "free"):
        network = Network(Config(architecture="4FC-SM2", in_shape=(1, 2, 2), family=family))
        with pytest.raises(InputError, match="no circuits"):
            on_hardware(network, Hardware(shots=3))
    wide = Network(Config(architecture="40FC-SM2", in_shape=(1, 8, 8), family="real4"))
    with pytest.raises(InputError, match="out of reach"):
        on_hardware(wide, Hardware(protocol="sequential-bit"))
