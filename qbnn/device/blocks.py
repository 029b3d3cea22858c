"""Which gates of a circuit reach which counter, and how they join wires into blocks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pennylane as qml
from pennylane.exceptions import DeviceError
from scipy.cluster.hierarchy import DisjointSet

from qbnn.circuits.counter import Counter

NAME = "qbnn.emulator"
# A block's state vector, and the matrices of its gates, stay this small.
MAX_BLOCK = 4
_IDLE = (qml.Identity, qml.GlobalPhase, qml.Barrier)


@dataclass(frozen=True)
class WireBlock:
    """Wires that gates or pairs join, the gates in order, and the pairs inside.

    ``indices``: which pairs of the counter these are. ``places``: where in ``wires`` the two wires
    of each pair stand.
    """

    wires: list[Hashable]
    gates: list[Any]
    indices: list[int]
    places: list[tuple[int, int]]


@dataclass(frozen=True)
class Register:
    """A counter and the blocks that it counts."""

    counter: Counter
    blocks: list[WireBlock]


def find_registers(operations: Sequence[Any]) -> list[Register]:
    """Return the circuit's counters, in order, with the blocks that each of them counts.

    Only a gate from which wires lead to a counter later on belongs to a block: whatever happens to
    system wires after they were counted leaves what the register reads as it is. Raises DeviceError
    where counters do not read independent blocks of at most 4 wires.
    """
    counters = [operation for operation in operations if isinstance(operation, Counter)]
    if not counters:
        raise DeviceError(
            f"{NAME} reads counts, and the circuit holds no Counter "
            "(qbnn.circuits.counter.Counter); use default.qubit"
        )
    counting = _counting_wires(counters)
    gates: list[list[Any]] = [[] for _ in counters]
    reaches: dict[Hashable, int] = {}
    current = len(counters)
    for operation in reversed(operations):
        if isinstance(operation, _IDLE):
            continue
        if isinstance(operation, qml.ops.MidMeasure):
            _check_final(operation, counting, current)
            # Another measurement before this one is refused as one before the counter is.
            counting[operation.wires[0]] = len(counters)
            continue
        if isinstance(operation, Counter):
            current -= 1
            wires = [wire for pair in operation.pairs for wire in pair]
            _check_counted(wires, counting, reaches)
            reaches |= dict.fromkeys(wires, current)
            continue
        for index in _reached(operation, counting, reaches):
            gates[index].append(operation)
            reaches |= dict.fromkeys(operation.wires, index)
    return [
        Register(counter, _blocks(counter, found[::-1]))
        for counter, found in zip(counters, gates, strict=True)
    ]


def _counting_wires(counters: Iterable[Counter]) -> dict[Hashable, int]:
    """Return which counter, by its place in the circuit, writes to which wire."""
    found: dict[Hashable, int] = {}
    for index, counter in enumerate(counters):
        if again := set(found).intersection(counter.counting_wires):
            raise DeviceError(
                f"{NAME}: two counters write to wire {again.pop()!r}; give each its own register, "
                "or use default.qubit"
            )
        found |= dict.fromkeys(counter.counting_wires, index)
    return found


def _check_counted(
    wires: Sequence[Hashable], counting: Mapping[Hashable, int], reaches: Mapping[Hashable, int]
) -> None:
    for wire in wires:
        if wire in counting:
            raise DeviceError(
                f"{NAME}: a counter reads wire {wire!r}, which is itself a counting wire; use "
                "default.qubit"
            )
        if wire in reaches:
            raise DeviceError(
                f"{NAME}: wire {wire!r} is counted, and read again by a later counter (a "
                "sequential protocol); use default.qubit, or a copy of the wires for each counter"
            )


def _check_final(measured: Any, counting: Mapping[Hashable, int], current: int) -> None:
    """Refuse a measurement unless it might as well be the circuit's last step."""
    (wire,) = measured.wires
    if measured.reset or measured.postselect is not None or counting.get(wire, current) >= current:
        raise DeviceError(
            f"{NAME}: in the middle of a circuit a counting wire can be measured once it is "
            f"written, without reset or postselection, but not so wire {wire!r}; use default.qubit"
        )


def _reached(
    gate: Any, counting: Mapping[Hashable, int], reaches: Mapping[Hashable, int]
) -> set[int]:
    """Return which counter a gate's wires lead to, if any."""
    if touched := [wire for wire in gate.wires if wire in counting]:
        raise DeviceError(
            f"{NAME}: gate {gate.name} acts on counting wire {touched[0]!r}; a register is written "
            "by its Counter alone, use default.qubit"
        )
    found = {reaches[wire] for wire in gate.wires if wire in reaches}
    if len(found) > 1:
        raise DeviceError(
            f"{NAME}: {gate} joins what two counters read, so their registers are not independent; "
            "use default.qubit, or count on copies of the wires"
        )
    return found


def _blocks(counter: Counter, gates: Sequence[Any]) -> list[WireBlock]:
    pairs = counter.pairs
    joined = DisjointSet()
    for wires in [*pairs, *(gate.wires for gate in gates)]:
        first, *others = wires
        joined.add(first)
        for wire in others:
            joined.add(wire)
            joined.merge(first, wire)
    blocks: dict[Hashable, WireBlock] = {}
    for wire in joined:
        blocks.setdefault(joined[wire], WireBlock([], [], [], [])).wires.append(wire)
    if (size := max(len(block.wires) for block in blocks.values())) > MAX_BLOCK:
        raise DeviceError(
            f"{NAME}: gates entangle a block of {size} wires (limit {MAX_BLOCK}); use "
            "default.qubit or default.tensor"
        )
    for index, (weight, activation) in enumerate(pairs):
        block = blocks[joined[weight]]
        block.indices.append(index)
        block.places.append((block.wires.index(weight), block.wires.index(activation)))
    for gate in gates:
        blocks[joined[gate.wires[0]]].gates.append(gate)
    return list(blocks.values())
