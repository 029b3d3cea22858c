"""Layers as circuits against density matrices in numpy, one protocol after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anneal.errors import InputError
from qbnn.circuits.protocols import PROTOCOLS, layer_layouts, layer_qnode, marginals
from qbnn.deformation import FAMILIES
from qbnn.neuron import Neuron
from qbnn.states import Bits
from tests.qbnn import dense
from tests.qbnn.neurons import random_bits, random_neuron

Matrix = dense.Array


def oracle(neurons: Sequence[Neuron], bits: Bits, protocol: str) -> Matrix:
    """Return the law of all bits, (2^M,), by the density matrix of the activations."""
    state = dense.kron(*[dense.qubit(p) for p in bits.probability.tolist()])
    fresh = np.outer(state, state)
    branches = [fresh]
    for neuron in neurons:
        operations = read(neuron, whole=protocol == "sequential-count")
        branches = [
            after(neuron, branch, operations[bit]) for branch in branches for bit in (False, True)
        ]
        if protocol == "fresh":
            branches = [np.trace(branch) * fresh for branch in branches]
    return np.array([np.trace(branch).real for branch in branches])


def read(neuron: Neuron, *, whole: bool) -> dict[bool, list[Matrix]]:
    """Return, for silent and firing, the diagonals of the Kraus operators on the counted pairs.

    The register goes from |0⟩ to its amplitudes A, is read (whole, or its top bit), goes back by
    A†, and is forgotten.
    """
    num_wires, offset = neuron.counting_wires
    size, fan_in = 2**num_wires, neuron.fan_in
    values = np.ones(fan_in) if neuron.eigenvalues is None else neuron.eigenvalues.numpy()
    count = np.zeros(4**fan_in)
    for i, d in enumerate(values):
        count += d * dense.kron(np.ones(4**i), dense.AGREE, np.ones(4 ** (fan_in - 1 - i)))
    order = np.arange(size)
    fourier = np.exp(-2j * np.pi * np.outer(order, order) / size) / np.sqrt(size)
    signs = dense.kron(*[np.array([[1, 1], [1, -1]])] * num_wires) / np.sqrt(size)
    turns = np.exp(2j * np.pi * np.outer(count + offset, order) / size)
    amplitudes = np.einsum("ro,vo,of->vrf", fourier, turns, signs)
    steps = amplitudes.conj() * amplitudes[:, :, :1]
    found: dict[bool, list[Matrix]] = {False: [], True: []}
    for fired in found:
        readings = [r for r in range(size) if ((r >= size // 2) != neuron.flipped) == fired]
        parts = [[r] for r in readings] if whole else [readings]
        found[fired] = [steps[:, part, f].sum(1) for part in parts for f in range(size)]
    return found


def after(neuron: Neuron, activations: Matrix, diagonals: list[Matrix]) -> Matrix:
    """Return what is left on the activations, not normalised."""
    n = neuron.fan_in
    weight = dense.kron(*[dense.qubit(p) for p in neuron.weight.probability.tolist()])
    # From |w_1 w_2 … h_1 h_2 …⟩ to |w_1 h_1 w_2 h_2 …⟩ and back.
    order = [axis for i in range(n) for axis in (i, n + i)]
    both = np.kron(np.outer(weight, weight), activations).reshape([2] * (4 * n))
    state = both.transpose(order + [2 * n + axis for axis in order]).reshape(4**n, 4**n)
    gates = dense.kron(*neuron.gates.numpy())
    state = gates @ state @ gates.conj().T
    state = sum(d[:, None] * state * d.conj() for d in diagonals)
    state = (gates.conj().T @ state @ gates).reshape([2] * (4 * n))
    back = list(np.argsort(order))
    state = state.transpose(back + [2 * n + axis for axis in back]).reshape([2**n] * 4)
    return np.einsum("waub,wu->ab", state, np.eye(2**n))


def layer(family: str, fan_in: int, num_neurons: int) -> list[Neuron]:
    return [
        random_neuron(family, fan_in, seed=j, flipped=j == 1, kappa=1 + j % fan_in)
        for j in range(num_neurons)
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", ["none", "real4", "su4", "scaled"])
def test_the_law_of_all_bits_is_that_of_the_density_matrix(family: str, protocol: str) -> None:
    for fan_in in (2, 3) if family == "su4" else (2,):
        neurons, bits = layer(family, fan_in, 2), random_bits(fan_in, seed=8)
        found = layer_qnode(neurons, bits, protocol=protocol)()
        np.testing.assert_allclose(found, oracle(neurons, bits, protocol), atol=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_three_neurons_in_a_row(protocol: str) -> None:
    neurons, bits = layer("real4", 2, 3), random_bits(2, seed=8)
    found = layer_qnode(neurons, bits, protocol=protocol, reuse=protocol == "fresh")()
    np.testing.assert_allclose(found, oracle(neurons, bits, protocol), atol=1e-12)


def emulated(neurons: list[Neuron], bits: Bits) -> Tensor:
    return torch.stack([neuron.probability(bits) for neuron in neurons], -1)


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_activations_give_every_neuron_its_own_law(family: str) -> None:
    neurons, bits = layer(family, 2, 2), random_bits(3, 2, seed=5)
    found = marginals(layer_qnode(neurons, bits)())
    assert torch.allclose(found, emulated(neurons, bits), rtol=0, atol=1e-12)


@settings(max_examples=10)
@given(family=st.sampled_from(["none", "w-local"]), seed=st.integers(0, 99))
def test_undeformed_counts_commute(family: str, seed: int) -> None:
    neurons, bits = layer(family, 2, 2), random_bits(2, seed=seed)
    laws = [layer_qnode(neurons, bits, protocol=name)() for name in PROTOCOLS]
    for law in laws:
        assert torch.allclose(marginals(law), emulated(neurons, bits), rtol=0, atol=1e-12)
    # The bits of a layer that shares its activations are correlated all the same.
    assert torch.allclose(laws[1], laws[2], rtol=0, atol=1e-12)


def test_reading_disturbs_the_next_neuron_and_reading_more_disturbs_more() -> None:
    shifts = np.zeros((len(PROTOCOLS), 2))
    for seed in range(0, 80, 10):
        neurons = [random_neuron("real4", 2, seed=seed + j) for j in range(2)]
        bits = random_bits(2, seed=seed + 5)
        for row, protocol in enumerate(PROTOCOLS):
            found = marginals(layer_qnode(neurons, bits, protocol=protocol)())
            shifts[row] += (found - emulated(neurons, bits)).abs().numpy() / 8
    assert shifts[:, 0].max() < 1e-12
    assert shifts[0, 1] < 1e-12 < 0.01 < shifts[1, 1] < shifts[2, 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_wires_that_are_reset_serve_again(protocol: str) -> None:
    neurons, bits = layer("su4", 2, 2), random_bits(2, seed=4)
    used = [
        {
            wire
            for layout in layer_layouts(neurons, protocol=protocol, reuse=reuse)
            for wire in layout.wires
        }
        for reuse in (False, True)
    ]
    t = max(neuron.counting_wires[0] for neuron in neurons)
    assert len(used[0]) == (8 + 2 * t if protocol == "fresh" else 6 + t)
    assert len(used[1]) == 4 + t
    laws = [layer_qnode(neurons, bits, protocol=protocol, reuse=reuse)() for reuse in (False, True)]
    assert torch.allclose(*laws, rtol=0, atol=1e-12)


@pytest.mark.parametrize("device", ["lightning.qubit", "cirq.simulator"])
def test_other_devices_measure_in_the_middle(device: str) -> None:
    if device == "cirq.simulator":
        pytest.importorskip("pennylane_cirq")
    neurons, bits = layer("real4", 2, 2), random_bits(2, seed=4)
    found = layer_qnode(neurons, bits, device, protocol="sequential-bit")()
    np.testing.assert_allclose(found, oracle(neurons, bits, "sequential-bit"), atol=1e-6)


def test_gradients_flow_through_a_sequence() -> None:
    neurons = layer("real4", 2, 2)
    p = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)

    def second(p: Tensor) -> Tensor:
        law = layer_qnode(neurons, Bits.from_probability(p), protocol="sequential-bit")()
        return marginals(law)[1]

    assert torch.autograd.gradcheck(second, p)


def test_what_makes_no_layer_is_refused() -> None:
    neurons, bits = layer("none", 2, 2), random_bits(2, seed=4)
    with pytest.raises(InputError, match="did you mean 'sequential-bit'"):
        layer_qnode(neurons, bits, protocol="sequential")
    with pytest.raises(InputError, match=r"read the same bits, but these read \[2, 3\]"):
        layer_qnode([neurons[0], random_neuron("none", 3, seed=1)], bits)
    with pytest.raises(InputError, match="has none"):
        layer_qnode([], bits)
    options: Any = {"protocol": "sequential-bit", "wires": range(7)}
    with pytest.raises(InputError, match="needs 8 wires, but has 7"):
        layer_qnode(neurons, bits, **options)()
