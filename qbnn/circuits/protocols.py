"""Layers as circuits: neurons that read the same activations, by a named protocol.

Deformed counts of different neurons do not commute, so what a layer does depends on what is read
and on whether the activations are prepared anew (docs/mathematics.md).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pennylane as qml
import torch
from pennylane.ops import MidMeasure
from torch import Tensor

from anneal.errors import InputError
from anneal.registry import unknown
from qbnn.circuits.neurons import Layout, apply_gates, check_bits, count, open_device, prepare
from qbnn.neuron import Neuron
from qbnn.states import Bits

PROTOCOLS = ("fresh", "sequential-bit", "sequential-count")


def layer_circuit(
    neurons: Sequence[Neuron],
    bits: Bits,
    *,
    protocol: str = "fresh",
    reuse: bool = False,
    wires: Iterable[Hashable] | None = None,
) -> list[Any]:
    """Queue the neurons of a layer one after the other; return the measured bit of each.

    ``fresh``: each neuron reads its own copy of the activations. ``sequential-bit``: all read the
    same; of each only the top bit is measured, then its counter and its gates are undone.
    ``sequential-count``: the same, but the whole count is measured. ``reuse`` resets the wires of a
    neuron for the next one instead of giving that its own. ``bits``: (N,) or (B, N). Raises
    :class:`~anneal.errors.InputError`.
    """
    layouts = layer_layouts(neurons, protocol=protocol, reuse=reuse, wires=wires)
    check_bits(neurons[0], bits)
    fired: list[Any] = []
    for neuron, layout in zip(neurons, layouts, strict=True):
        own = layout.wires if protocol == "fresh" else layout.weights
        if fired and reuse:
            reset(own)
        if protocol == "fresh" or not fired:
            prepare(bits, layout.activations)
        prepare(neuron.weight, layout.weights)
        apply_gates(neuron, layout)
        count(neuron, layout)
        read = layout.counting if protocol == "sequential-count" else layout.counting[:1]
        measured = [qml.measure(wire) for wire in read]
        fired.append(measured[0])
        if protocol != "fresh" and len(fired) < len(neurons):
            qml.adjoint(count)(neuron, layout)
            if neuron.eigenvalues is not None:
                reset(layout.counting)
            apply_gates(neuron, layout, inverse=True)
    return fired


def layer_qnode(
    neurons: Sequence[Neuron],
    bits: Bits,
    device: Any = "default.qubit",
    *,
    protocol: str = "fresh",
    reuse: bool = False,
    wires: Iterable[Hashable] | None = None,
    shots: Any = None,
    interface: str = "torch",
    diff_method: str = "best",
    mcm_method: str | None = None,
) -> qml.QNode:
    """Return a QNode of a layer; it takes other ``bits``, or none for these.

    It gives the probability of every pattern of M bits, (..., 2^M), the first neuron's bit the most
    significant; :func:`marginals` gives each neuron's. ``mcm_method``: PennyLane's way to measure
    in the middle; by default deferred, with a wire for every measurement. Other options as in
    :func:`layer_circuit`.

    >>> coin = Bits.from_probability(torch.tensor([0.5, 0.5, 0.5]))
    >>> neuron = Neuron(coin, torch.eye(4).expand(3, 4, 4), kappa=2)
    >>> marginals(layer_qnode([neuron, neuron], coin, protocol="sequential-bit")())
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    options: dict[str, Any] = {"protocol": protocol, "reuse": reuse}
    if isinstance(device, str):
        with qml.queuing.AnnotatedQueue() as queue:
            layer_circuit(neurons, bits, **options)
        tape = qml.tape.QuantumScript.from_queue(queue)
        # A measurement that is deferred takes a wire.
        num_measurements = sum(isinstance(gate, MidMeasure) for gate in tape.operations)
        device = open_device(device, len(tape.wires) + num_measurements)
    own = device.wires if wires is None else wires

    def circuit(bits: Bits = bits) -> Any:
        return qml.probs(op=layer_circuit(neurons, bits, wires=own, **options))

    qnode = qml.QNode(
        circuit, device, interface=interface, diff_method=diff_method, mcm_method=mcm_method
    )
    return qnode if shots is None else qml.set_shots(qnode, shots=shots)


def marginals(joint: Tensor) -> Tensor:
    """Return P(each neuron fires), (..., M), from the law of all bits, (..., 2^M).

    >>> marginals(torch.tensor([0.0, 0.25, 0.0, 0.75]))
    tensor([0.7500, 1.0000])
    """
    num_neurons = (joint.shape[-1] - 1).bit_length()
    law = joint.reshape(*joint.shape[:-1], *[2] * num_neurons)
    found = [
        law.movedim(axis - num_neurons, -1)[..., 1].flatten(joint.ndim - 1).sum(-1)
        for axis in range(num_neurons)
    ]
    return torch.stack(found, -1)


def layer_layouts(
    neurons: Sequence[Neuron],
    *,
    protocol: str = "fresh",
    reuse: bool = False,
    wires: Iterable[Hashable] | None = None,
) -> list[Layout]:
    """Return the wires of each neuron, taken from ``wires`` or from 0, 1, 2 …

    M neurons of N pairs need M(2N + t) wires if ``fresh``, NM + N + t otherwise, and 2N + t with
    ``reuse``. Raises :class:`~anneal.errors.InputError`.
    """
    if protocol not in PROTOCOLS:
        raise unknown(protocol, PROTOCOLS, kind="protocol")
    if not neurons:
        raise InputError("a layer has neurons, and this one has none")
    sizes = {neuron.fan_in for neuron in neurons}
    if len(sizes) != 1:
        raise InputError(
            f"the neurons of a layer read the same bits, but these read {sorted(sizes)}"
        )
    fan_in = sizes.pop()
    num_counting = [neuron.counting_wires[0] for neuron in neurons]
    block = 2 * fan_in + max(num_counting)
    step = 0 if reuse else block if protocol == "fresh" else fan_in
    size = block + (len(neurons) - 1) * step
    found = tuple(range(size) if wires is None else wires)
    if len(found) < size:
        raise InputError(f"the layer needs {size} wires, but has {len(found)}")
    layouts = []
    for index, used in enumerate(num_counting):
        layout = Layout.of(fan_in, max(num_counting), found)
        if protocol == "fresh":
            layout = Layout.of(fan_in, max(num_counting), found[index * step :])
        elif index and not reuse:
            layout = layout._replace(weights=found[block + (index - 1) * step :][:fan_in])
        layouts.append(layout._replace(counting=layout.counting[-used:]))
    return layouts


def reset(wires: Iterable[Hashable]) -> None:
    """Queue a measurement of every wire, its outcome dropped, and |0> after it."""
    for wire in wires:
        qml.measure(wire, reset=True)
