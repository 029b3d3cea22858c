"""Random circuits that count, and what can be measured of their registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from qbnn.circuits.counter import Counter

LABELS = [3, "w", 0, "top", 7, "h", 1, "x", 12, "low", 5, "z", 9, "y"]


class Gate(NamedTuple):
    """How a gate is made of angles and wires, and how many it takes of each."""

    make: Callable[..., Any]
    num_wires: int
    num_angles: int = 0
    broadcasts: bool = True


def plain(cls: Any, num_wires: int, num_angles: int = 0) -> Gate:
    return Gate(lambda angles, wires: cls(*angles, wires=wires), num_wires, num_angles)


def unitary(angles: Sequence[Any], wires: Any) -> Any:
    return qml.QubitUnitary(qml.PauliRot.compute_matrix(angles[0], pauli_word="XY"), wires=wires)


def layers(angles: Sequence[Any], wires: Any) -> Any:
    return qml.BasicEntanglerLayers(qml.math.stack([qml.math.stack(angles)]), wires=wires)


GATES = [
    *(plain(cls, 1, 1) for cls in (qml.RX, qml.RY, qml.RZ, qml.PhaseShift)),
    *(plain(cls, 1, 3) for cls in (qml.Rot, qml.U3)),
    *(plain(cls, 1) for cls in (qml.Hadamard, qml.S, qml.X, qml.Identity, qml.Barrier)),
    *(plain(cls, 2, 1) for cls in (qml.IsingXX, qml.IsingYY, qml.CRY, qml.MultiRZ)),
    *(plain(cls, 2) for cls in (qml.CNOT, qml.SWAP, qml.CZ, qml.CH)),
    *(plain(cls, 3) for cls in (qml.Toffoli, qml.CSWAP, qml.QFT)),
    plain(qml.DoubleExcitation, 4, 1),
    Gate(unitary, 2, 1),
    # PennyLane fails where its batch is to be differentiated by torch.
    plain(qml.IsingXY, 2, 1)._replace(broadcasts=False),
    Gate(layers, 2, 2, broadcasts=False),
    Gate(lambda angles, wires: qml.PauliRot(angles[0], "XYZ", wires=wires), 3, 1),
    Gate(lambda angles, wires: qml.adjoint(qml.RX(angles[0], wires=wires)), 1, 1),
    Gate(lambda angles, wires: qml.ctrl(qml.RY(angles[0], wires[1]), control=wires[:1]), 2, 1),
    Gate(lambda angles, wires: qml.BasisState([1, 0], wires=wires), 2),
    Gate(lambda angles, wires: qml.prod(qml.T(wires[0]), qml.RY(angles[0], wires[1])), 2, 1),
]


class Circuit(NamedTuple):
    """A circuit as a function of its angles, (angles, batch or 1), and its registers' wires."""

    build: Callable[[Any], list[Any]]
    angles: NDArray[np.float64]
    registers: list[list[Any]]


class Writer:
    """Collects the steps of a circuit; each takes its angles from a table that is given later."""

    def __init__(self, draw: st.DrawFn, batch: int | None) -> None:
        self.draw, self.batch = draw, batch
        self.labels = list(draw(st.permutations(LABELS)))
        self.steps: list[Callable[[Any], Any]] = []
        self.num_angles = 0

    def angles(self, number: int, *, batched: bool) -> Callable[[Any], list[Any]]:
        rows = range(self.num_angles, self.num_angles + number)
        self.num_angles += number
        return lambda table: [table[row] if batched else table[row, 0] for row in rows]

    def gates(self, wires: list[Any], most: int) -> None:
        """Draw up to ``most`` gates on some of the wires."""
        fitting = [gate for gate in GATES if gate.num_wires <= len(wires)]
        for gate in self.draw(st.lists(st.sampled_from(fitting), max_size=most)):
            chosen = self.draw(st.permutations(wires))[: gate.num_wires]
            batched = self.batch is not None and gate.broadcasts and self.draw(st.booleans())
            take = self.angles(gate.num_angles, batched=batched)
            self.steps.append(
                lambda table, make=gate.make, take=take, wires=chosen: make(take(table), wires)
            )

    def register(self, pairs_of_blocks: Sequence[int]) -> list[Any]:
        """Draw blocks of so many pairs, gates on each, a counter of all, and gates after it."""
        pairs, system = [], []
        for number in pairs_of_blocks:
            own = [(self.labels.pop(), self.labels.pop()) for _ in range(number)]
            block = [wire for pair in own for wire in pair]
            if number == 1 and self.draw(st.booleans()):
                block.append(self.labels.pop())
            self.gates(block, 5)
            pairs += own
            system += block
        pairs = self.draw(st.permutations(pairs))
        counting = [self.labels.pop() for _ in range(self.draw(st.integers(1, 3)))]
        offset = self.draw(st.sampled_from([0, 1, -2, 0.3, 5.75]))
        scaled = self.draw(st.booleans())
        take = self.angles(len(pairs) if scaled else 0, batched=False)
        self.steps.append(
            lambda table: Counter(
                pairs,
                counting,
                offset=offset,
                eigenvalues=qml.math.stack(take(table)) if scaled else None,
            )
        )
        self.gates(system, 3)
        return counting


@st.composite
def circuits(draw: st.DrawFn, *, batches: Sequence[int | None] = (None, 2, 3)) -> Circuit:
    """Draw a circuit of one or two registers, with labels of mixed types."""
    writer = Writer(draw, batch := draw(st.sampled_from(batches)))
    shapes = draw(st.sampled_from([[[1]], [[2]], [[1, 1]], [[2, 1]], [[1], [1]], [[1], [2]]]))
    registers = [writer.register(shape) for shape in shapes]
    seed = draw(st.integers(0, 2**32 - 1))
    angles = np.random.default_rng(seed).uniform(-4, 4, (writer.num_angles, batch or 1))
    return Circuit(lambda table: [step(table) for step in writer.steps], angles, registers)


def measurements(registers: Sequence[Sequence[Any]]) -> list[Any]:
    """Return one of each kind that needs no shots."""
    wires = [wire for register in registers for wire in register]
    top, product = qml.Z(wires[0]), qml.prod(*map(qml.Z, wires))
    mixed = 0.3 * top + product @ qml.Identity(wires[0]) - qml.Projector([1], wires=wires[-1])
    return [
        *(qml.probs(wires=register) for register in registers),
        qml.probs(wires=wires[::-1]),
        qml.probs(op=top),
        qml.expval(top),
        qml.expval(product),
        qml.expval(mixed),
        qml.expval(qml.Hamiltonian([0.5, -2.0], [product, top])),
        qml.expval(qml.Projector([0] * len(wires), wires=wires)),
        qml.var(product),
        qml.var(0.3 * top + product),
    ]
