"""Formulas of costs, against the circuits that they are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane.ops import MidMeasure

from anneal.errors import InputError
from qbnn.circuits import protocols
from qbnn.circuits.neurons import apply_gates, count, neuron_layout, prepare
from qbnn.circuits.protocols import layer_circuit, reset
from qbnn.deformation import FAMILIES
from qbnn.hardware.costs import (
    ALLOWED,
    COUNTERS,
    PAIR_GATES,
    PROTOCOLS,
    Cost,
    counter_gates,
    neuron_cost,
    pair_gates,
    sequence_cost,
    shots_for,
)
from qbnn.neuron import Neuron
from qbnn.states import Bits
from tests.qbnn.neurons import random_bits, random_neuron


def is_basic(gate: Any) -> bool:
    return len(gate.wires) == 1 or gate.name in ("CNOT", "Adjoint(CNOT)")


def is_identity(gate: Any) -> bool:
    """PennyLane makes two gates of a product of two, whichever of them does nothing."""
    trace = abs(gate.matrix().trace()) if gate.name == "QubitUnitary" else 0
    return abs(trace - 2) < 1e-9


def measured_cost(circuit: Callable[[], Any]) -> Cost:
    """Return what PennyLane counts of a circuit in the basis of CNOT and one-qubit gates."""

    def measured() -> Any:
        circuit()
        return qml.state()

    qnode = qml.QNode(measured, qml.device("default.qubit"))
    # PennyLane splits gates of NumPy, not of torch, without a warning.
    qnode = qml.transforms.convert_to_numpy_parameters(qnode)
    basic = qml.transforms.decompose(qnode, stopping_condition=is_basic)
    tape = qml.workflow.construct_tape(basic, level="user")()
    found = qml.specs(basic, level="user")().resources
    measurements = [gate for gate in tape.operations if isinstance(gate, MidMeasure)]
    resets = [gate for gate in measurements if gate.reset]
    two = sum(len(gate.wires) == 2 for gate in tape.operations)
    idle = sum(map(is_identity, tape.operations))
    return Cost(
        qubits=len(tape.wires),
        one_qubit_gates=len(tape.operations) - two - idle - len(measurements),
        two_qubit_gates=two,
        depth=found.depth,
        measurements=len(measurements) - len(resets),
    )


def one_neuron(neuron: Neuron, bits: Bits, counter: str) -> None:
    layout = neuron_layout(neuron, counter="register" if counter == "direct" else counter)
    prepare(neuron.weight, layout.weights)
    prepare(bits, layout.activations)
    apply_gates(neuron, layout)
    if counter == "direct":
        for pair in layout.pairs:
            qml.CNOT(wires=pair)
            qml.measure(pair[1])
    else:
        count(neuron, layout, counter=counter)
        if counter != "iterative":
            qml.measure(layout.counting[0])


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_neuron_costs_what_its_circuit_does(family: str, counter: str) -> None:
    for fan_in, kappa in ((1, 1), (2, 1), (2, 0), (3, 2), (3, 4), (5, 1)):
        neuron = random_neuron(family, fan_in, seed=1, kappa=kappa)
        bits = random_bits(fan_in, seed=2)
        found = measured_cost(lambda n=neuron, b=bits: one_neuron(n, b, counter))
        expected = neuron_cost(fan_in, neuron.counting_wires[0], family=family, counter=counter)
        if counter == "iterative":
            # All but the last of its measurements reset their wire.
            assert found.measurements == 1
            found = Cost(**{**vars(found), "measurements": expected.measurements})
        assert found == expected


@settings(max_examples=15)
@given(
    family=st.sampled_from(list(FAMILIES)),
    protocol=st.sampled_from(PROTOCOLS[1:]),
    fan_in=st.integers(1, 3),
    kappas=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    reuse=st.booleans(),
)
def test_a_sequence_costs_what_its_circuit_does(
    family: str, protocol: str, fan_in: int, kappas: list[int], reuse: bool
) -> None:
    neurons = [
        random_neuron(family, fan_in, seed=seed, kappa=min(kappa, fan_in + 1))
        for seed, kappa in enumerate(kappas)
    ]
    bits = random_bits(fan_in, seed=2)
    found = measured_cost(lambda: layer_circuit(neurons, bits, protocol=protocol, reuse=reuse))
    sizes = [neuron.counting_wires[0] for neuron in neurons]
    expected = sequence_cost(fan_in, sizes, protocol=protocol, family=family, reuse=reuse)
    assert found.depth <= expected.depth <= found.depth + 4 * (len(neurons) - 1)
    assert Cost(**{**vars(found), "depth": expected.depth}) == expected


def test_an_iterative_sequence_costs_what_its_circuit_does() -> None:
    neurons, bits = (
        [random_neuron("real4", 3, seed=seed) for seed in (1, 2)],
        random_bits(3, seed=3),
    )

    def circuit() -> None:
        layout = neuron_layout(neurons[0], counter="iterative")
        prepare(bits, layout.activations)
        for place, neuron in enumerate(neurons):
            if place:
                reset([*layout.weights, *layout.counting])
            prepare(neuron.weight, layout.weights)
            apply_gates(neuron, layout)
            count(neuron, layout, counter="iterative", uncompute=not place)
            if not place:
                apply_gates(neuron, layout, inverse=True)

    found = measured_cost(circuit)
    options = {"protocol": "sequential-count", "family": "real4", "counter": "iterative"}
    expected = sequence_cost(3, [2, 2], **options)
    assert found.qubits == expected.qubits
    assert found.one_qubit_gates == expected.one_qubit_gates
    assert found.two_qubit_gates == expected.two_qubit_gates
    assert found.depth <= expected.depth
    assert expected.measurements == 4


@pytest.mark.parametrize(
    ("fan_in", "num_bits", "cnots"),
    [(3, 2, 20), (7, 3, 58), (9, 4, 99), (15, 4, 153), (31, 5, 367), (63, 6, 858)],
)
def test_known_counts(fan_in: int, num_bits: int, cnots: int) -> None:
    """docs/mathematics.md: CNOTs of an undeformed neuron."""
    found = neuron_cost(fan_in, num_bits)
    assert found.two_qubit_gates == cnots
    assert found.qubits == 2 * fan_in + num_bits


@given(st.integers(1, 1000), st.integers(2, 11))
def test_counters_by_cnots(fan_in: int, num_bits: int) -> None:
    direct, iterative, gray, register = (
        counter_gates(fan_in, num_bits, counter=name).two_qubit
        for name in ("direct", "iterative", "gray", "register")
    )
    assert direct == fan_in < iterative < register
    assert gray < register or fan_in < 3


def test_shots() -> None:
    assert [shots_for(precision) for precision in (0.5, 0.1, 0.05, 0.01)] == [1, 25, 100, 2500]
    for wrong in (0, -1, 0.6, float("nan")):
        with pytest.raises(InputError, match="precision"):
            shots_for(wrong)


def test_names() -> None:
    assert protocols.PROTOCOLS == PROTOCOLS == tuple(ALLOWED)
    assert set(PAIR_GATES) == set(FAMILIES)
    assert pair_gates("module:Mine") == PAIR_GATES["su4"]
    with pytest.raises(InputError, match="did you mean 'real4'"):
        pair_gates("real5")
    with pytest.raises(InputError, match="unknown counter"):
        neuron_cost(3, 2, counter="abacus")
    with pytest.raises(InputError, match="reads more than the protocol"):
        sequence_cost(3, [2], protocol="sequential-bit", counter="iterative")
