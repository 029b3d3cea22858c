"""Circuits on paper: text, pictures, and OpenQASM that runs as it reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from anneal.errors import InputError
from qbnn.circuits.drawing import draw, draw_figure, to_qasm
from qbnn.circuits.neurons import COUNTERS
from qbnn.deformation import FAMILIES
from tests.qbnn import dense
from tests.qbnn.neurons import random_bits, random_neuron

HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def gate(name: str, angle: str | None) -> Any:
    """Return the matrix of a gate of qelib1.inc on one qubit."""
    if name == "h":
        return np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    value = float(str(angle))
    if name == "u1":
        return np.diag([1, np.exp(1j * value)])
    return expm(-0.5j * value * dense.LETTERS[name[1].upper()])


def interpret(program: str) -> tuple[Any, list[int]]:
    """Run OpenQASM line by line; return the final state and the qubits measured to c[0], c[1] …"""
    comment, version, include, qreg, creg, *lines = program.splitlines()
    assert comment.startswith("// weights q[0:") and version == "OPENQASM 2.0;"
    assert include == 'include "qelib1.inc";'
    size, bits = (int(re.findall(r"\d+", line)[0]) for line in (qreg, creg))
    state, measured = np.zeros([2] * size, complex), {}
    state[(0,) * size] = 1
    for line in lines:
        if found := re.fullmatch(r"measure q\[(\d+)\] -> c\[(\d+)\];", line):
            measured[int(found[2])] = int(found[1])
        elif found := re.fullmatch(r"cx q\[(\d+)\],q\[(\d+)\];", line):
            control, target = int(found[1]), int(found[2])
            one = np.moveaxis(state, control, 0)[1]
            axis = target - (control < target)
            one[...] = np.flip(one, axis).copy()
        else:
            found = re.fullmatch(r"(h|rx|ry|rz|u1)(?:\((.*)\))? q\[(\d+)\];", line)
            assert found, line
            wire = int(found[3])
            turned = np.tensordot(gate(found[1], found[2]), state, (1, wire))
            state = np.moveaxis(turned, 0, wire)
    return state, [measured[bit] for bit in range(bits)]


@pytest.mark.parametrize("counter", ["register", "gray"])
@pytest.mark.parametrize("family", FAMILIES)
def test_openqasm_runs_as_the_circuit_does(family: str, counter: str) -> None:
    for fan_in in (1, 2, 3):
        neuron = random_neuron(family, fan_in, seed=fan_in, flipped=fan_in == 2)
        bits = random_bits(fan_in, seed=7)
        state, measured = interpret(to_qasm(neuron, bits, counter=counter))
        assert measured == list(range(2 * fan_in, state.ndim))
        law = np.moveaxis(abs(state) ** 2, measured[0], 0).reshape(2, -1).sum(1)
        assert law[1] == pytest.approx(neuron.probability(bits).item(), abs=1e-9)


def test_gray_programs_have_fewer_cnots() -> None:
    neuron, bits = random_neuron("none", 15, seed=1), random_bits(15, seed=2)
    programs = [to_qasm(neuron, bits, counter=counter) for counter in ("gray", "register")]
    assert [program.count("cx q") for program in programs] == [114, 153]


def test_what_openqasm_cannot_say_is_refused() -> None:
    neuron = random_neuron("none", 2, seed=1)
    with pytest.raises(InputError, match="no gates on one measured bit"):
        to_qasm(neuron, random_bits(2, seed=2), counter="iterative")
    with pytest.raises(InputError, match="one input, not a batch"):
        to_qasm(neuron, random_bits(3, 2, seed=2))


def test_a_counter_is_a_box_that_opens() -> None:
    neuron, bits = random_neuron("real4", 2, seed=1), random_bits(2, seed=2)
    closed, opened = draw(neuron, bits), draw(neuron, bits, expand=True)
    assert closed.count("Counter") == 6 and closed.count("U(M") == 4
    assert "Counter" not in opened and "QFT†" in opened
    assert [line[:2] for line in closed.splitlines()] == ["w0", "h0", "w1", "h1", "k1", "k0"]


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("ending", HEADS)
def test_pictures_are_of_the_kind_their_name_says(
    tmp_path: Path, ending: str, counter: str
) -> None:
    neuron, bits = random_neuron("real4", 2, seed=1), random_bits(2, seed=2)
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in paths:
        draw_figure(neuron, bits, path, counter=counter, expand=True)
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(HEADS[ending]) and first == second


def test_a_picture_numbers_the_gates_by_their_pairs(tmp_path: Path) -> None:
    neuron, bits = random_neuron("real4", 3, seed=1), random_bits(3, seed=2)
    neuron.gates[1] = torch.eye(4)  # left out of the circuit
    draw_figure(neuron, bits, tmp_path / "circuit.svg")
    text = (tmp_path / "circuit.svg").read_text()
    assert [f"P_{{{pair}}}" in text for pair in range(3)] == [True, False, True]


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    neuron, bits = random_neuron("none", 1, seed=1), random_bits(1, seed=2)
    with pytest.raises(InputError, match=r"ends in \.pdf, \.png, \.svg"):
        draw_figure(neuron, bits, tmp_path / "circuit.txt")
