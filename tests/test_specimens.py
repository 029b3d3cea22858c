from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from anneal import specimens, suites
from anneal.problems import read_problem

# G-set's tori by rows, columns and rudy's seed.
TORI = {
    "G11": (100, 8, 8001),
    "G12": (50, 16, 8002),
    "G13": (25, 32, 8003),
    "G32": (100, 20, 20003),
    "G33": (80, 25, 20002),
    "G81": (200, 100, 200001),
}


def sorted_edges(graph: Any) -> Any:
    edges = np.stack([np.minimum(graph.i, graph.j), np.maximum(graph.i, graph.j), graph.weight])
    return edges[:, np.lexsort(edges[:2])]


@pytest.mark.skipif(not os.environ.get("QBNN_DATA"), reason="QBNN_DATA is not set")
@pytest.mark.parametrize("name", TORI)
def test_tori_are_those_of_the_gset(name: str) -> None:
    path = suites.data_folder() / f"gset/{name}.txt"
    if not path.exists():
        pytest.skip(f"QBNN_DATA has no {name}")
    published: Any = read_problem(path)
    made = specimens.gset_torus(*TORI[name])
    assert np.array_equal(sorted_edges(made), sorted_edges(published))


def test_a_torus_is_four_regular_without_data() -> None:
    torus = specimens.gset_torus(5, 7, 1)
    degree = np.bincount(torus.i, minlength=35) + np.bincount(torus.j, minlength=35)
    assert torus.weight.size == 70 and set(degree) == {4}
    assert len({frozenset(pair) for pair in zip(torus.i, torus.j, strict=True)}) == 70


def test_a_row_has_the_spectrum_it_says() -> None:
    row = specimens.steep_row(40, seed=2)
    values, vectors = np.linalg.eigh(row.hessian)
    assert values[-1] == pytest.approx(10) and values[-2] == pytest.approx(1)
    assert values[0] == pytest.approx(1e-6, rel=1e-6)
    assert abs(vectors[:, -1].sum()) == pytest.approx(np.abs(vectors[:, -1]).sum())
    again = specimens.steep_row(40, seed=2)
    assert np.array_equal(row.hessian, again.hessian)
    assert not np.array_equal(row.target, specimens.steep_row(40, seed=3).target)
