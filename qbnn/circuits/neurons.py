"""Neurons and layers as circuits, for any PennyLane device.

Every qubit is prepared by one rotation, every pair of a weight and an activation gets its gate, and
a :class:`~qbnn.circuits.counter.Counter` counts the pairs that agree. The register's first wire is
its most significant, and its bit is the activation (docs/mathematics.md; Bondesan & Welling 2020,
arXiv:2010.11189).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pennylane as qml
import torch
import torch.nn.functional as F
from pennylane.measurements import ExpectationMP
from torch import Tensor

from anneal.errors import InputError
from anneal.registry import unknown
from qbnn.circuits.counter import Counter, count_by_rounds, gray
from qbnn.neuron import Neuron
from qbnn.states import Bits

if TYPE_CHECKING:
    from qbnn.models import Network

__all__ = [
    "Counter",
    "Layout",
    "network_qnode",
    "neuron_circuit",
    "neuron_qnode",
    "read_neuron",
]

COUNTERS = ("register", "gray", "iterative")
MEASURES = ("probability", "bit", "count")


class Layout(NamedTuple):
    """Which wires hold the weights, the activations and the count, most significant first.

    >>> Layout.of(2, 1)
    Layout(weights=(0, 2), activations=(1, 3), counting=(4,))
    """

    weights: tuple[Hashable, ...]
    activations: tuple[Hashable, ...]
    counting: tuple[Hashable, ...]

    @classmethod
    def of(cls, fan_in: int, num_counting: int, wires: Iterable[Hashable] | None = None) -> Layout:
        """Lay pairs side by side, the count after them, on ``wires`` or on 0, 1, 2 …

        Raises :class:`~anneal.errors.InputError` where ``wires`` are too few.
        """
        size = 2 * fan_in + num_counting
        found = tuple(range(size) if wires is None else wires)
        if len(found) < size:
            raise InputError(f"the circuit needs {size} wires, but has {len(found)}")
        end = 2 * fan_in
        return cls(found[:end:2], found[1:end:2], found[end:size])

    @classmethod
    def named(cls, fan_in: int, num_counting: int) -> Layout:
        """Lay out wires w0, h0, w1, h1 … and the count's k2, k1, k0, by the weight of its bits.

        >>> Layout.named(1, 2).counting
        ('k1', 'k0')
        """
        pairs = [f"{kind}{index}" for index in range(fan_in) for kind in "wh"]
        return cls.of(
            fan_in, num_counting, pairs + [f"k{bit}" for bit in reversed(range(num_counting))]
        )

    @property
    def pairs(self) -> list[tuple[Hashable, Hashable]]:
        """(weight wire, activation wire) of each pair."""
        return list(zip(self.weights, self.activations, strict=True))

    @property
    def wires(self) -> tuple[Hashable, ...]:
        """All wires, pairs first."""
        return (*(wire for pair in self.pairs for wire in pair), *self.counting)


def neuron_layout(
    neuron: Neuron, *, counter: str = "register", wires: Iterable[Hashable] | None = None
) -> Layout:
    """Return the wires of a neuron's circuit: 2N + t, or 2N + 1 where the count is iterative."""
    num_counting = 1 if counter == "iterative" else neuron.counting_wires[0]
    return Layout.of(neuron.fan_in, num_counting, wires)


def neuron_circuit(
    neuron: Neuron,
    bits: Bits,
    *,
    counter: str = "register",
    uncompute: bool = False,
    layout: Layout | None = None,
    noise: float = 0.0,
) -> list[Any]:
    """Queue the circuit of one neuron on activations ``bits``, (N,) or a batch (B, N).

    ``counter``: ``register`` is a :class:`Counter`, ``gray`` its form with the fewest CNOTs, and
    ``iterative`` measures one wire again and again; then the measured bits are returned, most
    significant first. ``uncompute`` undoes what counting and the gates did to the pairs.
    ``noise``: probability of a :class:`pennylane.DepolarizingChannel` on each prepared qubit, which
    shrinks its means to 1 - 4p/3, and of a :class:`pennylane.BitFlip` of the activation's bit.
    A flipped neuron adds half a turn to the offset, so that its bit is the activation too. Raises
    :class:`~anneal.errors.InputError`.
    """
    layout = neuron_layout(neuron, counter=counter) if layout is None else layout
    check_neuron(neuron, bits, counter=counter, noise=noise)
    prepare(neuron.weight, layout.weights, noise=noise)
    prepare(bits, layout.activations, noise=noise)
    apply_gates(neuron, layout)
    measured = count(neuron, layout, counter=counter, uncompute=uncompute)
    if uncompute:
        apply_gates(neuron, layout, inverse=True)
    if noise:
        qml.BitFlip(noise, wires=layout.counting[0])
    return measured


def prepare(bits: Bits, wires: Sequence[Hashable], *, noise: float = 0.0) -> None:
    """Queue the state sqrt(1 - p)|0> + sqrt(p)|1> of every bit: RY(atan2(chi, -phi))."""
    spins, coherences = bits.spin.double().unbind(-1), bits.coherence.double().unbind(-1)
    for spin, coherence, wire in zip(spins, coherences, wires, strict=True):
        qml.RY(torch.atan2(coherence, -spin), wires=wire)
        if noise:
            qml.DepolarizingChannel(noise, wires=wire)


def apply_gates(neuron: Neuron, layout: Layout, *, inverse: bool = False) -> None:
    """Queue P, or its inverse, on every pair; gates that are fixed and do nothing are left out."""
    gates = neuron.gates.to(torch.complex128)
    identity = torch.eye(4, dtype=gates.dtype, device=gates.device)
    for gate, pair in zip(gates.mH if inverse else gates, layout.pairs, strict=True):
        if gate.requires_grad or not torch.equal(gate, identity):
            qml.QubitUnitary(gate, wires=pair)


def count(
    neuron: Neuron, layout: Layout, *, counter: str = "register", uncompute: bool = False
) -> list[Any]:
    """Queue the counter of a neuron; return the bits that it measured, none for a register."""
    values = None if neuron.eigenvalues is None else neuron.eigenvalues.double()
    options: dict[str, Any] = {
        "offset": offset(neuron),
        "eigenvalues": values,
        "uncompute": uncompute,
    }
    if counter == "iterative":
        num_bits, _ = neuron.counting_wires
        return count_by_rounds(layout.pairs, layout.counting[0], num_bits=num_bits, **options)
    if counter == "register":
        Counter(layout.pairs, layout.counting, **options)
    else:
        with qml.QueuingManager.stop_recording():
            operation = Counter(layout.pairs, layout.counting, **options)
        gray(*operation.data, wires=operation.wires, **operation.hyperparameters)
    return []


def offset(neuron: Neuron) -> int:
    """Return what is added to the count so that the register's top bit is the activation.

    Half a turn more for a flipped neuron: 2^(t-1), modulo 2^t, inverts that bit and no other.
    """
    num_wires, added = neuron.counting_wires
    size = 2**num_wires
    return (added + size // 2) % size if neuron.flipped else added


def neuron_qnode(
    neuron: Neuron,
    bits: Bits,
    device: Any = "default.qubit",
    *,
    measure: str = "probability",
    counter: str = "register",
    uncompute: bool = False,
    noise: float = 0.0,
    wires: Iterable[Hashable] | None = None,
    shots: Any = None,
    interface: str = "torch",
    diff_method: str = "best",
    mcm_method: str | None = None,
) -> qml.QNode:
    """Return a QNode of one neuron; it takes other ``bits``, or none for these.

    ``measure``: ``probability`` gives P(fires), (...); ``bit`` P(silent) and P(fires), (..., 2);
    ``count`` P(K = k), (..., 2^t), k modulo 2^t: zero beyond N, but for leakage and noise.
    ``device``: a name or a device, whose wires are taken where it has any and ``wires`` are not
    given. ``noise`` wants a device of density matrices, as ``default.mixed``. ``mcm_method``:
    PennyLane's way to measure in the middle. Gradients reach probabilities, gates and eigenvalues
    by backpropagation; a method that shifts parameters takes no batch of trainable ones. Raises
    :class:`~anneal.errors.InputError`.

    >>> coin = Bits.from_probability(torch.tensor([0.5, 0.5, 0.5]))
    >>> neuron = Neuron(coin, torch.eye(4).expand(3, 4, 4), kappa=2)
    >>> neuron_qnode(neuron, coin)().round(decimals=6)
    tensor(0.5000, dtype=torch.float64)
    """
    if measure not in MEASURES:
        raise unknown(measure, MEASURES, kind="measure")
    check_neuron(neuron, bits, counter=counter, noise=noise)
    # An iterative counter has one wire, and where measurements are deferred one for each bit.
    device = open_device(device, 2 * neuron.fan_in + 1 + neuron.counting_wires[0])
    layout = neuron_layout(neuron, counter=counter, wires=device.wires if wires is None else wires)

    def circuit(bits: Bits = bits) -> Any:
        measured = neuron_circuit(
            neuron, bits, counter=counter, uncompute=uncompute, layout=layout, noise=noise
        )
        return _measurement(measure, measured, layout)

    qnode = qml.QNode(
        circuit, device, interface=interface, diff_method=diff_method, mcm_method=mcm_method
    )
    if measure == "count":
        qnode = _counts(qnode, offset=offset(neuron))
    elif measure == "probability":
        qnode = _probability(qnode)
    return qnode if shots is None else qml.set_shots(qnode, shots=shots)


def network_qnode(
    network: Network,
    layer: int,
    index: int,
    images: Tensor,
    device: Any = "default.qubit",
    *,
    position: int = 0,
    pairs: Sequence[int] | None = None,
    measure: str = "probability",
    counter: str = "register",
    shots: Any = None,
) -> qml.QNode:
    """Return a QNode of one neuron of a network, fed with what that reads of ``images``.

    See :func:`read_neuron` for ``position`` and ``pairs``, :func:`neuron_qnode` for the rest.
    """
    neuron, bits = read_neuron(network, layer, index, images, position=position, pairs=pairs)
    return neuron_qnode(neuron, bits, device, measure=measure, counter=counter, shots=shots)


def read_neuron(
    network: Network,
    layer: int,
    index: int,
    images: Tensor,
    *,
    position: int = 0,
    pairs: Sequence[int] | None = None,
) -> tuple[Neuron, Bits]:
    """Return a neuron of a network and the bits that it reads of images (B, C, H, W), (B, N).

    ``position``: the output pixel of a convolution, row by row. ``pairs``: numbers of the pairs to
    keep, where all are too many for a state vector. Raises :class:`~anneal.errors.InputError`.
    """
    neuron = network.neuron(layer, index)
    bits = next(itertools.islice(network.hidden(images), layer, None))
    if bits.spin.ndim > 2:
        bits = _window(network.blocks[layer].layer, bits, position)
    if pairs is not None:
        neuron, bits = neuron.subset(pairs), Bits(*(part[:, list(pairs)] for part in bits))
    return neuron, bits


def _window(layer: Any, bits: Bits, position: int) -> Bits:
    """Return what one output pixel of a convolution reads; its border is the bit 0."""
    size = layer.latent.shape[-1]
    parts = [
        F.unfold(part - border, size, stride=layer.stride, padding=layer.padding) + border
        for part, border in zip(bits, (-1.0, 0.0), strict=True)
    ]
    if not 0 <= position < parts[0].shape[-1]:
        raise InputError(f"no position {position}; the layer has {parts[0].shape[-1]}")
    return Bits(*(part[..., position] for part in parts))


def _measurement(measure: str, measured: list[Any], layout: Layout) -> Any:
    if measure == "count":
        return qml.probs(op=measured) if measured else qml.probs(wires=layout.counting)
    if measure == "bit":
        top = layout.counting[0]
        return qml.probs(op=measured[0]) if measured else qml.probs(wires=top)
    return qml.probs(op=measured[0]) if measured else qml.expval(qml.Z(layout.counting[0]))


@qml.transform  # type: ignore[untyped-decorator]
def _counts(tape: Any, offset: int) -> Any:
    """Turn probabilities of the register into those of the count, k = register - offset."""

    def turn(results: Any) -> Any:
        size = results.shape[-1]
        return results[..., [(k + offset) % size for k in range(size)]]

    return (tape,), lambda results: _each(turn, results[0])


@qml.transform  # type: ignore[untyped-decorator]
def _probability(tape: Any) -> Any:
    """Turn <Z> of the top wire, or the law of its measured bit, into P(fires)."""

    def turn(result: Any) -> Any:
        if isinstance(tape.measurements[0], ExpectationMP):
            return (1 - result) / 2
        return result[..., 1]

    return (tape,), lambda results: _each(turn, results[0])


def _each(function: Callable[[Any], Any], results: Any) -> Any:
    """Apply a function to a result, or to each where a shot vector made several."""
    if isinstance(results, (tuple, list)):
        return tuple(function(result) for result in results)
    return function(results)


def open_device(device: Any, num_wires: int) -> Any:
    """Return a device by name; one of the old kind is told the number of its wires."""
    if not isinstance(device, str):
        return device
    try:
        return qml.device(device)
    except TypeError:
        return qml.device(device, wires=num_wires)


def check_neuron(neuron: Neuron, bits: Bits, *, counter: str, noise: float) -> None:
    """Raise :class:`~anneal.errors.InputError` for what makes no circuit."""
    if counter not in COUNTERS:
        raise unknown(counter, COUNTERS, kind="counter")
    if not 0 <= noise <= 1:
        raise InputError(f"noise must be a probability, not {noise}")
    if noise and counter == "iterative":
        raise InputError("noise wants a counter with a register, not 'iterative'")
    check_bits(neuron, bits)


def check_bits(neuron: Neuron, bits: Bits) -> None:
    """Raise :class:`~anneal.errors.InputError` unless bits are (N,) or (B, N)."""
    shape = tuple(bits.spin.shape)
    if len(shape) not in (1, 2) or shape[-1] != neuron.fan_in:
        raise InputError(
            f"bits must have shape ({neuron.fan_in},) or (B, {neuron.fan_in}), but have {shape}"
        )
