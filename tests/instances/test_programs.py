"""Programs in OPB and LP: what they mean, against dimod's reader and by exhaustive search."""

from __future__ import annotations

import itertools
from pathlib import Path

import dimod
import numpy as np
import pytest
from hypothesis import given, settings

from anneal.instances import Program, Qubo, detect_format, get_format, read, write
from tests.instances.strategies import programs


def values(program: Program, bits: tuple[int, ...]) -> tuple[float, list[bool]]:
    """Return the objective, and which constraints hold."""
    x, qubo = np.array(bits, float), program.objective
    left = np.bincount(program.row, program.value * x[program.column], program.num_rows)
    held = np.where(program.equal, left == program.right, left >= program.right)
    return qubo.offset + float(qubo.value @ (x[qubo.i] * x[qubo.j])), held.tolist()


@given(program=programs())
@settings(max_examples=30)
def test_dimod_reads_our_lp(program: Program) -> None:
    model = dimod.lp.loads(get_format("lp").dump(program).decode())
    labels = program.objective.labels
    assert labels is not None
    for bits in itertools.product([0, 1], repeat=len(labels)):
        sample = dict(zip(labels, bits, strict=True))
        energy, held = values(program, bits)
        assert model.objective.energy(sample) == pytest.approx(energy)
        assert model.check_feasible(sample) == all(held)


def test_lp_says_what_it_means() -> None:
    text = b"""\\ a comment
    Maximize
     profit: 3 a - 2.5 b + 1 - [ a ^ 2 + 4 a * b ] / 2
    Subject To
     one: a + 2b - c < 2
     a - c => -.5
     c = 1
    Bounds
     0 <= a <= 1
     b = 0
    Binaries
     a b c
    End
    """
    found = get_format("lp").parse(text)
    assert found.sense == "max" and found.objective.labels == ("a", "b", "c")
    for a, b, c in itertools.product([0, 1], repeat=3):
        energy = -(3 * a - 2.5 * b + 1 - (a + 4 * a * b) / 2)
        held = [a + 2 * b - c <= 2, a - c >= -0.5, c == 1, b == 0]
        assert values(found, (a, b, c)) == (energy, held)


def test_opb_says_what_it_means() -> None:
    text = b"""* #variable= 3 #constraint= 2
    max: +2 x1 ~x2 -3 ~x3
      +1 x1 x1 ;
    +1 x1 +2 ~x2 - 1 x3 <= 2 ; -1 x1 = -1 ;
    """
    found = get_format("opb").parse(text)
    assert found.objective.labels == ("x1", "x2", "x3")
    for a, b, c in itertools.product([0, 1], repeat=3):
        energy = -(2 * a * (1 - b) - 3 * (1 - c) + a)
        held = [a + 2 * (1 - b) - c <= 2, a == 1]
        assert values(found, (a, b, c)) == (energy, held)


def test_constraints_alone_are_an_opb() -> None:
    found = get_format("opb").parse(b"+1 x1 +1 x2 = 1 ;\n")
    assert found.num_rows == 1 and not found.objective.value.any()


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("p", b"* #variable= 1 #constraint= 0\nmin: 1 x1 ;\n", "opb"),
        ("p", b"min: 1 x1 ;\n", "opb"),
        ("p", b"\\ made by hand\nMinimize\n x\nBinary\n x\nEnd\n", "lp"),
        ("p.lp", b"whatever", "lp"),
        ("p.opb.gz", b"whatever", "opb"),
    ],
)
def test_programs_are_told_by_name_and_content(file: str, text: bytes, found: str) -> None:
    assert detect_format(file, text) == found


@pytest.mark.parametrize("format", ["opb", "lp"])
def test_names_that_a_format_has_not_are_replaced(format: str, tmp_path: Path) -> None:
    qubo = Qubo(3, [0], [1], [1.0], labels=("e1", "end", (1, 2)))
    path = tmp_path / f"p.{format}"
    write(Program.unconstrained(qubo), path)
    found = read(path)
    assert isinstance(found, Program)
    assert found.objective.labels == ("x1", "x2", "x3")
