"""Counting by phase estimation, as one PennyLane operation."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operation
from pennylane.wires import Wires

from anneal.errors import InputError

Pair = Sequence[Hashable]


class Counter(Operation):  # type: ignore[misc]
    r"""Write the count of agreeing pairs, plus an offset, into a register.

    Quantum phase estimation of ``U = exp(2 pi i (sum_i d_i n_i + c) / 2^t)`` on ``t`` counting
    wires, as one unitary on any state of the register: Hadamards, ``U^(2^m)`` controlled by the
    wire of weight ``2^m``, inverse Fourier transform. ``n_i = (1 + Z_w Z_h) / 2`` says whether the
    two qubits of pair i agree. A register in ``|0...0>`` ends in ``sum_i d_i n_i + c`` modulo
    ``2^t`` where that is an integer, and near it otherwise (Nielsen & Chuang, section 5.2; for
    neurons Schuld, Sinayskiy & Petruccione, arXiv:1412.3635).

    ``pairs``: (weight wire, activation wire) of each pair. ``counting``: the register's wires, most
    significant first. ``offset``: c. ``eigenvalues``: d, shape (pairs,), the operation's one
    trainable parameter; 1 each where it is None. ``uncompute=False`` leaves ``w xor h`` on the
    activation wires: as many CNOTs fewer as there are pairs, for circuits that read the register
    alone. Raises :class:`~anneal.errors.InputError`.

    >>> Counter([("w0", "h0"), ("w1", "h1")], ["top", "low"], offset=1).wires.tolist()
    ['w0', 'h0', 'w1', 'h1', 'top', 'low']
    """

    grad_method = None
    resource_keys = frozenset({"num_pairs", "num_counting", "uncompute"})

    def __init__(
        self,
        pairs: Iterable[Pair],
        counting: Any,
        *,
        offset: float = 0.0,
        eigenvalues: Any = None,
        uncompute: bool = True,
    ) -> None:
        pairs = [tuple(pair) for pair in pairs]
        counting = Wires(counting)
        check(pairs, counting, eigenvalues)
        self._hyperparameters = {
            "num_pairs": len(pairs),
            "offset": float(offset),
            "uncompute": bool(uncompute),
        }
        data = [] if eigenvalues is None else [as_tensor(eigenvalues)]
        super().__init__(*data, wires=[*(wire for pair in pairs for wire in pair), *counting])

    @property
    def num_pairs(self) -> int:
        """N: the most that an undeformed count can be."""
        return int(self.hyperparameters["num_pairs"])

    @property
    def offset(self) -> float:
        """c, which is added to the count."""
        return float(self.hyperparameters["offset"])

    @property
    def uncompute(self) -> bool:
        """Whether the activation wires get back what they held."""
        return bool(self.hyperparameters["uncompute"])

    @property
    def eigenvalues(self) -> Any:
        """d, shape (pairs,); None where every pair counts 1."""
        return self.data[0] if self.data else None

    @property
    def pairs(self) -> list[tuple[Hashable, Hashable]]:
        """(weight wire, activation wire) of each pair."""
        wires = self.wires.tolist()[: 2 * self.num_pairs]
        return list(zip(wires[::2], wires[1::2], strict=True))

    @property
    def counting_wires(self) -> Wires:
        """The register's wires, most significant first."""
        return self.wires[2 * self.num_pairs :]

    @property
    def resource_params(self) -> dict[str, Any]:
        """What the gate counts depend on."""
        return {
            "num_pairs": self.num_pairs,
            "num_counting": len(self.counting_wires),
            "uncompute": self.uncompute,
        }

    def _flatten(self) -> tuple[Any, Any]:
        return self.data, (self.wires, tuple(self.hyperparameters.items()))

    @classmethod
    def _unflatten(cls, data: Any, metadata: Any) -> Counter:
        wires, items = metadata
        options = dict(items)
        split = 2 * options.pop("num_pairs")
        pairs = list(zip(wires[:split:2], wires[1:split:2], strict=True))
        return cls(pairs, wires[split:], eigenvalues=data[0] if data else None, **options)

    @staticmethod
    def compute_decomposition(
        *data: Any, wires: Any, num_pairs: int, offset: float, uncompute: bool, **_: Any
    ) -> list[Operation]:
        """Return the textbook circuit.

        After its CNOT an activation wire holds 1 where the pair disagrees; so every counting wire
        turns by all of ``c + sum d`` and back by the ``d_i`` of each pair that disagrees.
        ``2 N + 2 t N + t (t - 1) + 3 floor(t / 2)`` CNOTs, N fewer without uncomputing.
        """
        pairs, counting, values = _parts(data, wires, num_pairs)
        gates = [qml.CNOT(wires=pair) for pair in pairs]
        for place, wire in enumerate(counting):
            turn = math.pi / 2**place
            whole = (offset + sum(values)) % 2 ** (place + 1)
            gates += [qml.Hadamard(wire), qml.PhaseShift(turn * whole, wires=wire)]
            for value, (_weight, activation) in zip(values, pairs, strict=True):
                gates.append(qml.ControlledPhaseShift(-turn * value, wires=[activation, wire]))
        gates.append(qml.adjoint(qml.QFT)(wires=counting))
        return gates + [qml.CNOT(wires=pair) for pair in pairs if uncompute]


def as_tensor(eigenvalues: Any) -> Any:
    """Return a tensor of any framework as it is, and anything else as an array."""
    if qml.math.get_interface(eigenvalues) in ("builtins", "numpy"):
        return np.asarray(eigenvalues, dtype=float)
    return eigenvalues


def check(pairs: Sequence[Pair], counting: Wires, eigenvalues: Any) -> None:
    """Raise :class:`~anneal.errors.InputError` for what makes no counter."""
    if not pairs or not len(counting):
        raise InputError("a counter needs at least one pair and one counting wire")
    for pair in pairs:
        if len(pair) != 2:
            raise InputError(f"a pair is (weight wire, activation wire), not {pair}")
    wires = [*(wire for pair in pairs for wire in pair), *counting]
    if len(set(wires)) < len(wires):
        raise InputError("the wires of a counter must differ from each other")
    if eigenvalues is not None and qml.math.shape(eigenvalues) != (len(pairs),):
        shape = tuple(qml.math.shape(eigenvalues))
        raise InputError(f"eigenvalues must have shape ({len(pairs)},), but have {shape}")


def _parts(data: Any, wires: Any, num_pairs: int) -> tuple[list[Any], Any, Any]:
    """Return the pairs, the counting wires and the eigenvalues."""
    wires = Wires(wires)
    pairs = [wires[2 * index : 2 * index + 2] for index in range(num_pairs)]
    return pairs, wires[2 * num_pairs :], data[0] if data else np.ones(num_pairs)


def _textbook_gates(*, num_pairs: int, num_counting: int, uncompute: bool) -> dict[Any, int]:
    return {
        qml.CNOT: num_pairs * (1 + uncompute),
        qml.Hadamard: num_counting,
        qml.PhaseShift: num_counting,
        qml.ControlledPhaseShift: num_pairs * num_counting,
        _inverse_fourier(num_counting): 1,
    }


def _gray_gates(*, num_pairs: int, num_counting: int, uncompute: bool) -> dict[Any, int]:
    cnots = num_pairs * (num_counting + 2 + uncompute) + 2 * (num_counting - 1)
    return {
        qml.CNOT: cnots,
        qml.Hadamard: num_counting,
        qml.PhaseShift: num_counting + num_pairs * (num_counting + 1),
        _inverse_fourier(num_counting): 1,
    }


def _inverse_fourier(num_wires: int) -> Any:
    return qml.decomposition.adjoint_resource_rep(qml.QFT, {"num_wires": num_wires})


@qml.register_resources(_textbook_gates)  # type: ignore[untyped-decorator]
def textbook(*data: Any, wires: Any, **hyperparameters: Any) -> None:
    """Queue :meth:`Counter.compute_decomposition`, for PennyLane's graph of decompositions."""
    Counter.compute_decomposition(*data, wires=wires, **hyperparameters)


@qml.register_resources(_gray_gates)  # type: ignore[untyped-decorator]
def gray(*data: Any, wires: Any, num_pairs: int, offset: float, uncompute: bool, **_: Any) -> None:
    """Queue the same unitary with N (t + 3) + 2 (t - 1) CNOTs before the Fourier transform, in
    place of 2 N (t + 1).

    A controlled phase is three phases, ``pc = (p + c - p xor c) / 2``. An activation wire passes
    from ``p xor c_k`` to ``p xor c_(k+1)`` by one CNOT from a wire that holds ``c_k xor c_(k+1)``,
    for which the next counting wire serves all pairs at a time (a Gray code, as in Welch et al.
    2014, arXiv:1306.3991).
    """
    pairs, counting, values = _parts(data, wires, num_pairs)
    for pair, value in zip(pairs, values, strict=True):
        qml.CNOT(wires=pair)
        qml.PhaseShift(-value * math.pi * (1 - 0.5 ** len(counting)), wires=pair[1])
    for place, wire in enumerate(counting):
        turn = math.pi / 2**place
        qml.Hadamard(wire)
        qml.PhaseShift(turn * ((offset + sum(values) / 2) % 2 ** (place + 1)), wires=wire)
        if place:
            qml.CNOT(wires=[counting[place - 1], wire])
        for pair, value in zip(pairs, values, strict=True):
            qml.CNOT(wires=[wire, pair[1]])
            qml.PhaseShift(turn * value / 2, wires=pair[1])
        if place:
            qml.CNOT(wires=[counting[place - 1], wire])
    for pair in pairs:
        qml.CNOT(wires=[counting[-1], pair[1]])
    qml.adjoint(qml.QFT)(wires=counting)
    for pair in pairs if uncompute else ():
        qml.CNOT(wires=pair)


qml.add_decomps(Counter, textbook, gray)


def count_by_rounds(
    pairs: Iterable[Pair],
    wire: Hashable,
    *,
    num_bits: int,
    offset: float = 0.0,
    eigenvalues: Any = None,
    uncompute: bool = True,
) -> list[Any]:
    """Queue a counter of one wire, read once for every bit, and return the bits as measurement
    values, most significant first.

    Iterative phase estimation (Kitaev; Griffiths & Niu 1996, quant-ph/9511007): the least
    significant bit comes first, each bit turns the rounds after it, and the wire is reset in
    between; the last bit is the activation. The bits have the same law as the register of
    :class:`Counter`.
    """
    pairs = [tuple(pair) for pair in pairs]
    check(pairs, Wires(wire), eigenvalues)
    values = np.ones(len(pairs)) if eigenvalues is None else as_tensor(eigenvalues)
    for pair in pairs:
        qml.CNOT(wires=pair)
    bits: list[Any] = []
    for place in range(num_bits):
        turn = math.pi / 2**place
        qml.Hadamard(wire)
        qml.PhaseShift(turn * ((offset + sum(values)) % 2 ** (place + 1)), wires=wire)
        for value, (_weight, activation) in zip(values, pairs, strict=True):
            qml.ControlledPhaseShift(-turn * value, wires=[activation, wire])
        for distance, bit in enumerate(bits, start=1):
            qml.cond(bit, qml.PhaseShift)(-math.pi / 2**distance, wires=wire)
        qml.Hadamard(wire)
        bits.insert(0, qml.measure(wire, reset=place < num_bits - 1))
    for pair in pairs if uncompute else ():
        qml.CNOT(wires=pair)
    return bits
