"""The real files, where QBNN_DATA names their folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anneal.instances import Graph, QuadraticAssignment, Qubo, detect_format, read, sln

# (vertices, edges) as published with the G-set.
GSET = {
    "G1": (800, 19176),
    "G11": (800, 1600),
    "G14": (800, 4694),
    "G22": (2000, 19990),
    "G32": (2000, 4000),
    "G35": (2000, 11778),
    "G43": (1000, 9990),
    "G48": (3000, 6000),
    "G51": (1000, 5909),
    "G55": (5000, 12498),
    "G60": (7000, 17148),
    "G70": (10000, 9999),
}
BEST_KNOWN = {
    "nug12": 578,
    "nug30": 6124,
    "had20": 6922,
    "tai20a": 703482,
    "tai40a": 3139370,
    "tai60a": 7205962,
    "kra30a": 88900,
    "ste36a": 9526,
    "sko42": 15812,
}


@pytest.mark.parametrize("name", GSET)
def test_gset(name: str, data_folder: Path) -> None:
    graph = read(data_folder / "gset" / f"{name}.txt")
    assert isinstance(graph, Graph)
    assert (graph.num_vertices, graph.num_edges) == GSET[name]
    assert set(graph.weight) <= {-1, 1}


def test_g48_is_bipartite(data_folder: Path) -> None:
    # G48 is a torus of 3000 vertices; its best known cut, 6000, cuts every edge.
    graph = read(data_folder / "gset" / "G48.txt")
    assert isinstance(graph, Graph)
    side = np.full(graph.num_vertices, -1)
    side[0] = 0
    while (side < 0).any():
        for a, b in ((graph.i, graph.j), (graph.j, graph.i)):
            known = side[a] >= 0
            side[b[known]] = 1 - side[a[known]]
    assert graph.weight[side[graph.i] != side[graph.j]].sum() == 6000


@pytest.mark.parametrize("path", ["bqp50_1", "bqp50_2", "bqp100_1", "bqp250_1", "bqp1000_2"])
def test_orlib_is_maximised(path: str, data_folder: Path) -> None:
    qubo = read(data_folder / "orlib" / f"{path}.qubo")
    assert isinstance(qubo, Qubo)
    assert (qubo.sense, qubo.vartype, qubo.offset) == ("max", "BINARY", 0)
    assert qubo.num_variables == int(path.split("_")[0][3:])
    # Beasley draws q from -100 to 100, and the file holds twice its off-diagonal entries.
    assert np.abs(qubo.value[qubo.i == qubo.j]).max() <= 100
    assert 100 < np.abs(qubo.value[qubo.i != qubo.j]).max() <= 200
    assert (qubo.value[qubo.i != qubo.j] % 2 == 0).all()


def test_a_bqp50_reaches_its_best_known(data_folder: Path) -> None:
    # One-flip descent from 300 random starts; the published maximum of bqp50.1 is 2098.
    qubo = read(data_folder / "orlib" / "bqp50_1.qubo")
    assert isinstance(qubo, Qubo)
    matrix = np.zeros((50, 50))
    matrix[qubo.i, qubo.j] = qubo.value
    matrix = (matrix + matrix.T) / 2
    x = np.random.default_rng(1).integers(0, 2, (300, 50)).astype(float)
    while True:
        # (x + d)ᵀQ(x + d) − xᵀQx = 2 d·Qx + Q_ii for a flip d = 1 − 2 x_i of variable i.
        change = 2 * (1 - 2 * x) * (x @ matrix) + np.diag(matrix)
        flip = change.argmin(axis=1)
        better = change[np.arange(300), flip] < 0
        if not better.any():
            break
        x[better, flip[better]] = 1 - x[better, flip[better]]
    assert np.einsum("ri,ij,rj->r", x, matrix, x).min() == -2098


def test_qaplib(data_folder: Path) -> None:
    paths = sorted((data_folder / "qaplib").glob("*.dat"))
    assert len(paths) >= 20
    for path in paths:
        instance, solution = read(path), sln.read(path.with_suffix(".sln"))
        assert isinstance(instance, QuadraticAssignment)
        assert detect_format("unnamed", path.read_bytes()) == "qaplib"
        # Every stored permutation costs what its header says, in one order of the matrices.
        assert instance.best_known == solution.cost
        assert solution.permutation is not None
        swapped = QuadraticAssignment(instance.distance, instance.flow)
        order = np.ix_(solution.permutation, solution.permutation)
        costs = [(one.flow * one.distance[order]).sum() for one in (instance, swapped)]
        assert solution.cost in costs


@pytest.mark.parametrize("name", BEST_KNOWN)
def test_qaplib_best_known(name: str, data_folder: Path) -> None:
    instance = read(data_folder / "qaplib" / f"{name}.dat")
    assert isinstance(instance, QuadraticAssignment)
    assert instance.best_known == BEST_KNOWN[name]
