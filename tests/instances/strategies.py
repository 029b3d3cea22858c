"""Hypothesis strategies for what instance files hold."""

from __future__ import annotations

import dimod
import numpy as np
from hypothesis import strategies as st

from anneal.instances import Graph, Program, QuadraticAssignment, Qubo

# Halves and doubles of these are exact, so Beasley's format can hold them too.
finite = st.floats(-1e300, 1e300, allow_subnormal=False).filter(lambda x: not 0 < abs(x) < 1e-300)
weights = st.one_of(st.integers(-1000, 1000).map(float), finite)


@st.composite
def pairs(draw: st.DrawFn, *, size: int, loops: bool) -> tuple[list[int], list[int], list[float]]:
    """Draw distinct pairs i <= j (or i < j) and a value for each."""
    every = [(i, j) for i in range(size) for j in range(i if loops else i + 1, size)]
    found = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    values = draw(st.lists(weights, min_size=len(found), max_size=len(found)))
    return [i for i, _ in found], [j for _, j in found], values


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw a graph of at most six vertices."""
    size = draw(st.integers(1, 6))
    return Graph(size, *draw(pairs(size=size, loops=False)))


@st.composite
def qubos(draw: st.DrawFn, *, vartype: str = "BINARY", offsets: bool = True) -> Qubo:
    """Draw a QUBO (or Ising energy) of at most six variables without labels."""
    size = draw(st.integers(1, 6))
    offset = draw(weights) if offsets else 0.0
    return Qubo(size, *draw(pairs(size=size, loops=True)), offset, vartype)


@st.composite
def bqms(draw: st.DrawFn) -> dimod.BinaryQuadraticModel:
    """Draw a labelled BQM of at most six variables."""
    qubo = draw(qubos(vartype=draw(st.sampled_from(["BINARY", "SPIN"]))))
    label = st.one_of(st.integers(-9, 2**40), st.text(max_size=5), st.tuples(st.text(max_size=2)))
    size = qubo.num_variables
    labels = draw(st.lists(label, min_size=size, max_size=size, unique=True))
    return qubo.to_bqm().relabel_variables(dict(enumerate(labels)), inplace=False)


@st.composite
def assignments(draw: st.DrawFn) -> QuadraticAssignment:
    """Draw a quadratic assignment problem of at most four places."""
    size = draw(st.integers(1, 4))
    values = draw(st.lists(weights, min_size=2 * size * size, max_size=2 * size * size))
    flow, distance = np.array(values).reshape(2, size, size)
    return QuadraticAssignment(flow, distance)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Draw a program of whole numbers, at most five variables and three constraints."""
    amounts = st.integers(-99, 99).map(float)
    size, num_rows = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    i, j, _ = draw(pairs(size=size, loops=True))
    value = draw(st.lists(amounts, min_size=len(i), max_size=len(i)))
    name = st.from_regex(r"v[a-z0-9_]{0,3}", fullmatch=True)
    labels = draw(st.lists(name, min_size=size, max_size=size, unique=True))
    offset = draw(st.one_of(amounts, st.just(1.5)))
    qubo = Qubo(size, np.array(i, int), np.array(j, int), value, offset, labels=tuple(labels))
    entries = [(row, column) for row in range(num_rows) for column in range(size)]
    found = draw(st.lists(st.sampled_from(entries), unique=True)) if entries else []
    values = draw(st.lists(amounts, min_size=len(found), max_size=len(found)))
    right = draw(st.lists(amounts, min_size=num_rows, max_size=num_rows))
    equal = draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows))
    row, column = np.array(found, int).reshape(-1, 2).T
    return Program(nonzero(qubo), row, column, np.array(values), np.array(right), np.array(equal))


def nonzero(qubo: Qubo) -> Qubo:
    """Return a QUBO without linear terms of zero, which no BQM tells from none at all."""
    kept = (qubo.i != qubo.j) | (qubo.value != 0)
    terms = qubo.i[kept], qubo.j[kept], qubo.value[kept]
    return Qubo(qubo.num_variables, *terms, qubo.offset, qubo.vartype, qubo.labels)


INSTANCES = {
    "rudy": graphs(),
    "qubo": qubos(),
    "coo": st.one_of(qubos(), qubos(vartype="SPIN")),
    "beasley": qubos(offsets=False),
    "bqm": bqms(),
    "bqm-json": bqms(),
    "qaplib": assignments(),
    "opb": programs(),
    "lp": programs(),
}
"""What each format can hold: a new format adds a line, and test_formats.py holds it to the laws."""
