"""Circuits of neurons and layers to look at and to take away: text, picture, OpenQASM."""

from __future__ import annotations

import io
from collections import Counter as Counts
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pennylane as qml

from anneal.errors import InputError
from anneal.files import Pathlike, write_bytes
from anneal.plots import COLOURS
from qbnn.circuits.counter import Counter
from qbnn.circuits.neurons import Layout, neuron_circuit, neuron_layout, neuron_qnode
from qbnn.circuits.protocols import layer_qnode
from qbnn.neuron import Neuron
from qbnn.states import Bits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = {"pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None}}
QASM_GATES = ("RX", "RY", "RZ", "PhaseShift", "Hadamard", "CNOT", "GlobalPhase")


class Drawn(NamedTuple):
    """A circuit to draw: its wires, whose kinds have colours, and whether gates are undone in it.

    :func:`neuron_drawing` and :func:`layer_drawing` make one.
    """

    qnode: qml.QNode
    layout: Layout
    undone: bool = False


def draw(neuron: Neuron, bits: Bits, *, counter: str = "register", expand: bool = False) -> str:
    """Return the circuit of a neuron as text, 100 characters wide; ``expand`` opens the counter's
    box.

    >>> import torch
    >>> coin = Bits.from_probability(torch.tensor([0.5]))
    >>> print(draw(Neuron(coin, torch.eye(4)[None], kappa=1), coin))
    w0: ──RY(1.57)─╭Counter─┤
    h0: ──RY(1.57)─├Counter─┤
    k0: ───────────╰Counter─┤  <Z>
    """
    return as_text(neuron_drawing(neuron, bits, counter=counter, expand=expand))


def draw_figure(
    neuron: Neuron,
    bits: Bits,
    path: Pathlike,
    *,
    counter: str = "register",
    expand: bool = False,
) -> None:
    """Draw the circuit of a neuron into a file; see :func:`as_figure`."""
    as_figure(neuron_drawing(neuron, bits, counter=counter, expand=expand), path)


def neuron_drawing(
    neuron: Neuron, bits: Bits, *, counter: str = "register", expand: bool = False
) -> Drawn:
    """Return the circuit of a neuron, the counter's box opened with ``expand``."""
    num_counting = len(neuron_layout(neuron, counter=counter).counting)
    layout = Layout.named(neuron.fan_in, num_counting)
    qnode = neuron_qnode(neuron, bits, counter=counter, wires=layout.wires)
    return Drawn(_expanded(qnode) if expand else qnode, layout)


def layer_drawing(
    neurons: Sequence[Neuron], bits: Bits, *, protocol: str, expand: bool = False
) -> Drawn:
    """Return the circuit of neurons that follow each other on the same wires, by a protocol."""
    layout = Layout.named(neurons[0].fan_in, max(neuron.counting_wires[0] for neuron in neurons))
    qnode = layer_qnode(neurons, bits, protocol=protocol, reuse=True, wires=layout.wires)
    return Drawn(_expanded(qnode) if expand else qnode, layout, undone=protocol != "fresh")


def as_text(drawn: Drawn, *, width: int = 100) -> str:
    """Return a circuit as text, in parts below each other where it is wider."""
    drawer = qml.draw(
        drawn.qnode,
        wire_order=drawn.layout.wires,
        show_matrices=False,
        level="user",
        max_length=width,
    )
    return "\n".join(line.rstrip() for line in str(drawer()).splitlines())


def as_figure(drawn: Drawn, path: Pathlike) -> None:
    """Draw a circuit into a PNG, SVG or PDF file: wires of weights blue, of activations orange,
    of the count green.

    Raises :class:`~anneal.errors.InputError` for any other ending and where the file cannot be
    written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = Path(path).suffix[1:]
    if kind not in FORMATS:
        raise InputError(f"a picture's name ends in .{', .'.join(FORMATS)}", path=path)
    colours: dict[Any, Any] = {
        wire: {"color": colour, "linewidth": 1.6}
        for wires, colour in zip(drawn.layout, COLOURS, strict=False)
        for wire in wires
    }
    figure = Figure()
    FigureCanvasAgg(figure)
    drawer = qml.draw_mpl(
        drawn.qnode,
        wire_order=drawn.layout.wires,
        decimals=2,
        style="black_white",
        level="user",
        fig=figure,
        wire_options=colours,
    )
    _, axes = drawer()
    _name_gates(axes.texts, undone=drawn.undone)
    write_bytes(path, _picture(figure, kind))


def _name_gates(texts: Any, *, undone: bool) -> None:
    """Call a gate of pair i by P and i; every other one of a pair is the inverse if ``undone``."""
    seen: Counts[int] = Counts()
    for text in sorted(texts, key=lambda text: text.get_position()[0]):
        if text.get_text() == "U":
            # Midway between the wires of its pair, whose number is half that of the first.
            pair = int(text.get_position()[1]) // 2
            inverse = undone and seen[pair] % 2
            text.set_text(f"$P_{{{pair}}}" + (r"^\dagger$" if inverse else "$"))
            seen[pair] += 1


def _expanded(qnode: qml.QNode) -> qml.QNode:
    return qml.transforms.decompose(
        qnode, stopping_condition=lambda gate: not isinstance(gate, Counter)
    )


def _picture(figure: Figure, kind: str) -> bytes:
    import matplotlib

    stream = io.BytesIO()
    # A fixed salt and no date: the same picture is the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "qbnn"}):
        figure.savefig(stream, format=kind, dpi=120, metadata=FORMATS[kind])
    return stream.getvalue()


def to_qasm(neuron: Neuron, bits: Bits, *, counter: str = "gray") -> str:
    """Return the circuit in OpenQASM 2.0, its register measured: ``c[0]`` is the activation.

    Gates of ``qelib1.inc`` alone: rx, ry, rz, u1, h, cx. The first line says what qubits hold.
    ``counter`` is ``gray``, with the fewest CNOTs, or ``register``; an iterative one turns on
    single measured bits, which OpenQASM 2 cannot say. Raises
    :class:`~anneal.errors.InputError`.
    """
    if counter == "iterative":
        raise InputError(
            "OpenQASM 2 has no gates on one measured bit; counter 'gray' or 'register'"
        )
    if bits.spin.ndim != 1:
        raise InputError("OpenQASM is for one input, not a batch")
    layout = neuron_layout(neuron, counter=counter)
    with qml.queuing.AnnotatedQueue() as queue:
        neuron_circuit(neuron, bits, counter=counter, layout=layout)
        qml.probs(wires=layout.counting)
    tape = qml.tape.QuantumScript.from_queue(queue)
    [tape], _ = qml.transforms.convert_to_numpy_parameters(tape)
    [tape], _ = qml.transforms.decompose(tape, gate_set=set(QASM_GATES))
    gates = [gate for gate in tape.operations if gate.name != "GlobalPhase"]
    program = qml.to_openqasm(tape.copy(operations=gates), rotations=False, measure_all=False)
    n, size = neuron.fan_in, len(tape.wires)
    held = f"weights q[0:{n}], activations q[{n}:{2 * n}], count q[{2 * n}:{size}]"
    return f"// {held}, most significant first; c[0] is the activation\n{program}"
