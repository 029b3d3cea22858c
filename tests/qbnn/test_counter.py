"""The counter is phase estimation, whatever its form, and a valid PennyLane operation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from qbnn.circuits.counter import Counter, count_by_rounds, gray
from qbnn.emulation import register_law
from tests.qbnn import dense

FORMULA = {(3, 2): 20, (7, 3): 58, (9, 4): 99, (15, 4): 153, (31, 5): 367}


def make(num_pairs: int, num_counting: int, **options: Any) -> Counter:
    pairs = [(2 * i, 2 * i + 1) for i in range(num_pairs)]
    return Counter(pairs, range(2 * num_pairs, 2 * num_pairs + num_counting), **options)


def gray_tape(counter: Counter) -> qml.tape.QuantumScript:
    with qml.queuing.AnnotatedQueue() as queue:
        gray(*counter.data, wires=counter.wires, **counter.hyperparameters)
    return qml.tape.QuantumScript.from_queue(queue)


def tapes(counter: Counter) -> list[qml.tape.QuantumScript]:
    return [qml.tape.QuantumScript(counter.decomposition()), gray_tape(counter)]


def num_cnots(tape: qml.tape.QuantumScript) -> int:
    [tape], _ = qml.transforms.decompose(
        tape, gate_set={"CNOT", "PhaseShift", "Hadamard", "RZ", "GlobalPhase"}
    )
    return sum(gate.name == "CNOT" for gate in tape.operations)


def phase_estimation(eigenvalues: Any, offset: float, num_counting: int) -> Any:
    """Return the counter's matrix: for each state of the pairs, one matrix on the register."""
    size = 2**num_counting
    order = np.arange(size)
    hadamards = dense.kron(*[np.array([[1, 1], [1, -1]]) / np.sqrt(2)] * num_counting)
    fourier = np.exp(2j * np.pi * np.outer(order, order) / size) / np.sqrt(size)
    found = np.zeros((4 ** len(eigenvalues), size, 4 ** len(eigenvalues), size), complex)
    for index, bits in enumerate(itertools.product((0, 1), repeat=2 * len(eigenvalues))):
        value = np.sum(eigenvalues * np.equal(bits[::2], bits[1::2])) + offset
        phases = np.exp(2j * np.pi * order * value / size)
        found[index, :, index] = fourier.conj().T @ (phases[:, None] * hadamards)
    return found.reshape(4 ** len(eigenvalues) * size, -1)


@settings(max_examples=20)
@given(
    eigenvalues=st.lists(st.floats(-2, 2), min_size=1, max_size=2),
    num_counting=st.integers(1, 3),
    offset=st.floats(-9, 9),
)
def test_every_form_is_phase_estimation_on_any_state(
    eigenvalues: list[float], num_counting: int, offset: float
) -> None:
    counter = make(len(eigenvalues), num_counting, offset=offset, eigenvalues=eigenvalues)
    expected = phase_estimation(np.array(eigenvalues), offset, num_counting)
    for tape in tapes(counter):
        np.testing.assert_allclose(qml.matrix(tape, counter.wires), expected, atol=1e-13)


def test_integer_counts_are_read_without_leakage() -> None:
    counter = make(3, 3, offset=2)
    device = qml.device("default.qubit")
    for bits in itertools.product((0, 1), repeat=6):
        state = qml.BasisState(np.array(bits), wires=range(6))
        tape = qml.tape.QuantumScript([state, counter], [qml.probs(wires=[6, 7, 8])])
        found = qml.execute([tape], device)[0]
        assert found[sum(np.equal(bits[::2], bits[1::2])) + 2] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("values", [None, [1.0, 0.7]])
def test_without_uncomputing_the_parities_stay(values: list[float] | None) -> None:
    counter = make(2, 2, offset=1, eigenvalues=values)
    bare = make(2, 2, offset=1, eigenvalues=values, uncompute=False)
    parities = qml.matrix(qml.CNOT([0, 1]) @ qml.CNOT([2, 3]), counter.wires)
    for tape in tapes(bare):
        expected = parities @ qml.matrix(tapes(counter)[0], counter.wires)
        np.testing.assert_allclose(qml.matrix(tape, counter.wires), expected, atol=1e-13)


@pytest.mark.parametrize(("size", "formula"), FORMULA.items())
def test_cnots_are_those_of_the_formulas(size: tuple[int, int], formula: int) -> None:
    n, t = size
    fourier = t * (t - 1) + 3 * (t // 2)
    bare, whole = make(n, t, uncompute=False), make(n, t)
    assert num_cnots(qml.tape.QuantumScript([bare])) == formula == n + 2 * t * n + fourier
    assert num_cnots(qml.tape.QuantumScript([whole])) == formula + n
    assert num_cnots(gray_tape(whole)) == n * (t + 3) + 2 * (t - 1) + fourier
    assert num_cnots(gray_tape(bare)) == num_cnots(gray_tape(whole)) - n


# PennyLane's PhaseShift, differentiated by autograd, casts a complex slope to a real one.
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("uncompute", [True, False])
@pytest.mark.parametrize("values", [None, [1.0, 0.5]])
def test_pennylane_finds_the_operation_valid(values: list[float] | None, uncompute: bool) -> None:
    counter = Counter(
        [("a", 1), (2, "b")], ["top", 7], offset=1.5, eigenvalues=values, uncompute=uncompute
    )
    qml.ops.functions.assert_valid(counter)


def test_an_operation_says_what_it_was_made_of() -> None:
    counter = Counter([("w", "h")], ["k1", "k0"], offset=2, eigenvalues=[0.5])
    mapped = counter.map_wires({"w": 5, "h": 6, "k1": 7, "k0": 8})
    assert (counter.num_pairs, counter.offset, counter.uncompute) == (1, 2.0, True)
    assert (counter.pairs, counter.counting_wires.tolist()) == ([("w", "h")], ["k1", "k0"])
    assert (mapped.pairs, mapped.counting_wires.tolist()) == ([(5, 6)], [7, 8])
    assert mapped.eigenvalues.tolist() == [0.5] and make(1, 1).eigenvalues is None


def run(values: Any, angles: Any, *, rounds: bool) -> Any:
    @qml.qnode(qml.device("default.qubit"), interface="torch")
    def circuit() -> Any:
        for wire, angle in enumerate(angles):
            qml.RY(angle, wire)
        if rounds:
            pairs = [(2 * i, 2 * i + 1) for i in range(len(values))]
            bits = count_by_rounds(pairs, "k", num_bits=3, offset=1.0, eigenvalues=values)
            return qml.probs(op=bits)
        counter = make(len(values), 3, offset=1.0, eigenvalues=values)
        return qml.probs(wires=counter.counting_wires)

    return circuit()


@pytest.mark.parametrize("rounds", [False, True])
def test_scaled_counts_leak_as_emulated_and_so_do_their_slopes(rounds: bool) -> None:
    values = torch.tensor([1.0, 0.7], dtype=torch.float64, requires_grad=True)
    angles = torch.tensor([0.4, 1.3, 2.0, 0.9], dtype=torch.float64)
    r = (1 + torch.cos(angles[::2]) * torch.cos(angles[1::2])) / 2
    found, expected = run(values, angles, rounds=rounds), register_law(r, values, 3, 1.0)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    for entry in range(8):
        slopes = [
            torch.autograd.grad(law[entry], values, retain_graph=True)[0]
            for law in (found, expected)
        ]
        assert torch.allclose(*slopes, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("pairs", "counting", "values", "match"),
    [
        ([], [0], None, "at least one pair"),
        ([(0, 1)], [], None, "one counting wire"),
        ([(0, 1, 2)], [3], None, "a pair is"),
        ([(0, 1), (1, 2)], [3], None, "must differ"),
        ([(0, 1)], [1], None, "must differ"),
        ([(0, 1)], [2], [1.0, 2.0], r"shape \(1,\), but have \(2,\)"),
    ],
)
def test_what_makes_no_counter_is_refused(
    pairs: Any, counting: Any, values: Any, match: str
) -> None:
    with pytest.raises(InputError, match=match):
        Counter(pairs, counting, eigenvalues=values)
