"""What circuits of neurons cost: qubits, gates, depth and shots, by formula.

Gates are counted in the basis of CNOT and any rotation of one qubit, as the circuits of
:mod:`qbnn.circuits.neurons` decompose, without merging neighbours. Depth is the longest chain of
gates and measurements that share a wire, each of length one.

Protocols are those of :mod:`qbnn.circuits.protocols`. A counter is a ``register`` of t wires (phase
estimation), its ``gray`` form with fewer CNOTs, ``iterative`` with one wire that is read t times,
or ``direct``: no phase estimation, the agreement of every pair is measured and the results are
added. ``direct`` collapses every pair instead of the count alone, and ``iterative`` the whole count
instead of its top bit, so the protocols that read on want what collapses no more than they say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from anneal.errors import InputError
from anneal.registry import unknown

PROTOCOLS = ("fresh", "sequential-bit", "sequential-count")
COUNTERS = ("register", "gray", "iterative", "direct")
# Which counters collapse no more than the protocol reads.
ALLOWED = {
    "fresh": COUNTERS,
    "sequential-bit": ("register", "gray"),
    "sequential-count": ("register", "gray", "iterative"),
}


class Gates(NamedTuple):
    """Gates of one qubit, CNOTs, and depth."""

    one_qubit: int
    two_qubit: int
    depth: int


# One pair's gate P; P† costs the same. Two CNOTs make any real gate, three any gate (Vatan and
# Williams 2004, quant-ph/0308006); the rotations between them are those of PennyLane's circuits.
GENERAL_GATE = Gates(7, 3, 7)
PAIR_GATES = {
    "none": Gates(0, 0, 0),
    "scaled": Gates(0, 0, 0),
    "h-local": Gates(1, 0, 1),
    "w-local": Gates(1, 0, 1),
    "local": Gates(2, 0, 1),
    "entangling": Gates(6, 2, 5),
    "real4": Gates(6, 2, 5),
    "su4": GENERAL_GATE,
}


@dataclass(frozen=True)
class Cost:
    """What one circuit costs; ``measurements`` are bits that are read."""

    qubits: int
    one_qubit_gates: int
    two_qubit_gates: int
    depth: int
    measurements: int


def counter_gates(fan_in: int, num_bits: int, *, counter: str = "register") -> Gates:
    """Return what counting N pairs into t bits costs; nothing is undone.

    CNOTs: N + 2tN + t(t − 1) + 3⌊t/2⌋ for ``register``, N(t + 2) + 2(t − 1) + t(t − 1) + 3⌊t/2⌋
    for ``gray``, N + 2tN for ``iterative``, N for ``direct``. The measurements inside ``iterative``
    are part of its depth.

    >>> counter_gates(784, 10).two_qubit
    16569
    """
    n, t = fan_in, num_bits
    fourier = Gates(t + 3 * t * (t - 1) // 2, t * (t - 1) + 3 * (t // 2), 0)
    if counter == "register":
        # Controlled phases follow each other on a counting wire at a distance of four; each wire
        # is four behind the one before it, and the Fourier transform eight.
        depth = 4 * n + 12 * t - 8 - (t == 1)
        return Gates(2 * t + 3 * t * n + fourier[0], n + 2 * t * n + fourier[1], depth)
    if counter == "gray":
        depth = (t + 1) * n + 10 * t - 6 if t > 1 else max(2 * n + 3, 6)
        cnots = n * (t + 2) + 2 * (t - 1) + fourier[1]
        return Gates(2 * t + n * (t + 1) + fourier[0], cnots, depth)
    if counter == "iterative":
        turns = t * (t - 1) // 2
        return Gates(3 * t + 3 * t * n + turns, n + 2 * t * n, 4 * t * n + t * (t + 7) // 2)
    return Gates(0, n, 1)


def uncounting_gates(fan_in: int, num_bits: int, *, counter: str = "register") -> Gates:
    """Return what undoing a counter costs; of the iterative one only its first CNOTs are left."""
    if counter == "iterative":
        return Gates(0, fan_in, 1)
    return counter_gates(fan_in, num_bits, counter=counter)


def neuron_cost(
    fan_in: int, num_bits: int, *, family: str = "none", counter: str = "register"
) -> Cost:
    """Return the cost of one neuron that reads a copy of its own; everything is exact.

    >>> neuron_cost(3, 2).two_qubit_gates, neuron_cost(3, 2).qubits
    (20, 8)
    """
    check_names(counter=counter)
    pair, count = pair_gates(family), counter_gates(fan_in, num_bits, counter=counter)
    return Cost(
        qubits=2 * fan_in + {"iterative": 1, "direct": 0}.get(counter, num_bits),
        one_qubit_gates=fan_in * (2 + pair.one_qubit) + count.one_qubit,
        two_qubit_gates=fan_in * pair.two_qubit + count.two_qubit,
        # The iterative counter's depth includes its last measurement.
        depth=1 + pair.depth + count.depth + (counter != "iterative"),
        measurements=fan_in if counter == "direct" else num_bits if counter == "iterative" else 1,
    )


def sequence_cost(
    fan_in: int,
    num_bits: Sequence[int],
    *,
    protocol: str = "sequential-bit",
    family: str = "none",
    counter: str = "register",
    reuse: bool = True,
) -> Cost:
    """Return the cost of neurons that read the same activations one after the other.

    ``num_bits``: t of each. After each but the last its counting and its gates are undone.
    ``reuse`` resets the weight wires for the next neuron: 2N + t qubits instead of NM + N + t. The
    depth is that of the neurons laid end to end: an upper bound, as the first gates of one may be
    done while the last of another are (with a register, up to four for each neuron but one).

    >>> sequence_cost(3, [2, 2]).two_qubit_gates
    60
    """
    check_names(counter=counter, protocol=protocol)
    pair, last = pair_gates(family), len(num_bits) - 1
    one, two = fan_in, 0
    depth = measurements = 0
    for place, t in enumerate(num_bits):
        there = counter_gates(fan_in, t, counter=counter)
        back = uncounting_gates(fan_in, t, counter=counter)
        passes = 1 + (place < last)
        one += fan_in * (1 + passes * pair.one_qubit) + there.one_qubit
        two += fan_in * passes * pair.two_qubit + there.two_qubit
        depth += pair.depth * passes + there.depth + (counter != "iterative")
        depth += 2 if reuse and place else 0 if place else 1
        measurements += t if protocol == "sequential-count" else 1
        if place < last:
            one, two = one + back.one_qubit, two + back.two_qubit
            # Wires whose count is no integer do not come back to zero: they are reset.
            depth += back.depth + (family == "scaled")
    counting = 1 if counter == "iterative" else max(num_bits)
    qubits = 2 * fan_in + counting + (0 if reuse else last * fan_in)
    return Cost(qubits, one, two, depth, measurements)


def shots_for(precision: float) -> int:
    """Return the shots after which a probability has a standard error of at most ``precision``.

    1/(4ε²), from p(1 − p) ≤ ¼.

    >>> shots_for(0.05)
    100
    """
    if not 0 < precision <= 0.5:
        raise InputError(f"precision must be above 0 and at most 0.5, not {precision}")
    return math.ceil(1 / (4 * precision**2) - 1e-9)


def pair_gates(family: str) -> Gates:
    """Return what P costs; a family of another module is taken for a general gate."""
    if family not in PAIR_GATES and ":" not in family:
        raise unknown(family, PAIR_GATES, kind="family")
    return PAIR_GATES.get(family, GENERAL_GATE)


def check_names(*, counter: str = "register", protocol: str = "fresh") -> None:
    """Raise :class:`~anneal.errors.InputError` for a counter or protocol that is none."""
    if counter not in COUNTERS:
        raise unknown(counter, COUNTERS, kind="counter")
    if protocol not in PROTOCOLS:
        raise unknown(protocol, PROTOCOLS, kind="protocol")
    if counter not in ALLOWED[protocol]:
        raise InputError(
            f"counter '{counter}' reads more than the protocol '{protocol}' does; "
            f"it goes with {', '.join(ALLOWED[protocol])}"
        )
