"""Hypothesis strategies for what instance files hold."""

from __future__ import annotations

import dimod
import numpy as np
from hypothesis import strategies as st

from anneal.instances import Graph, QuadraticAssignment, Qubo

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


INSTANCES = {
    "rudy": graphs(),
    "qubo": qubos(),
    "coo": st.one_of(qubos(), qubos(vartype="SPIN")),
    "beasley": qubos(offsets=False),
    "bqm": bqms(),
    "bqm-json": bqms(),
    "qaplib": assignments(),
}
"""What each format can hold: a new format adds a line, and test_formats.py holds it to the laws."""
