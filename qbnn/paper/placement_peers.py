"""Other packages that assign, partition and place, to stand beside ours in a table.

scipy's FAQ (Vogelstein et al. 2015, doi:10.1371/journal.pone.0121002); Mt-KaHyPar (Gottesbüren et
al., https://github.com/kahypar/mt-kahypar); Coloquinte (G. Gouvine,
https://github.com/Coloquinte/PlaceRoute).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import quadratic_assignment

from anneal.instances import bookshelf, hmetis
from anneal.partition import Hypergraph
from anneal.placement.netlist import ORIENTATIONS, Netlist, Placement
from anneal.problems.assignment import Assignment, Permutation
from anneal.registry import load_extra
from qbnn.paper.processes import Clock, apart, clocked

EXTRA = "bench"


def faq(problem: Assignment, *, num_starts: int, seed: int) -> Permutation:
    """Return the best permutation of scipy's FAQ from random starts.

    >>> line = Assignment([[0, 3, 0], [0, 0, 1], [0, 0, 0]], [[0, 2, 9], [2, 0, 1], [9, 1, 0]])
    >>> faq(line, num_starts=5, seed=1).tolist()
    [2, 1, 0]
    """
    rng = np.random.default_rng(seed)
    options = {"P0": "randomized", "rng": rng}
    found = [
        quadratic_assignment(problem.flow, problem.distance, method="faq", options=options).col_ind
        for _ in range(num_starts)
    ]
    best: Permutation = min(found, key=problem.cost)
    return best


def kahypar_parts(
    hypergraph: Hypergraph, *, tolerance: float, preset: str, seed: int, num_threads: int
) -> tuple[list[int], Clock]:
    """Return two parts by Mt-KaHyPar, in a process of its own; reading the hypergraph, from a .hgr
    file, is not timed.

    preset: ``"default"``, ``"quality"`` or ``"highest_quality"``. Raises
    :class:`~anneal.errors.InputError` where it is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hypergraph.hgr"
        hmetis.write(hypergraph, file)
        return apart(_kahypar, str(file), tolerance, preset, seed, num_threads)


def _kahypar(
    file: str, tolerance: float, preset: str, seed: int, num_threads: int
) -> tuple[list[int], Clock]:
    package: Any = load_extra("mtkahypar", extra=EXTRA)
    library = package.initialize(num_threads)
    context = library.context_from_preset(getattr(package.PresetType, preset.upper()))
    context.set_partitioning_parameters(2, tolerance, package.Objective.CUT)
    context.logging = False
    hypergraph = library.hypergraph_from_file(file, context, package.FileFormat.HMETIS)
    package.set_seed(seed)
    found, clock = clocked(lambda: hypergraph.partition(context))
    return list(found.get_partition()), clock


def coloquinte_placement(
    netlist: Netlist, *, density: float | None, seed: int
) -> tuple[Placement, Clock]:
    """Return Coloquinte's placement of default effort, in a process of its own; reading the
    netlist, from Bookshelf files, is not timed.

    density: of the rows that cells cover once each is made wider, as Coloquinte does it: so much of
    what is free lies between them, and evenly. None: cells as they are. Raises
    :class:`~anneal.errors.InputError` where it is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "netlist.aux"
        bookshelf.write(file, netlist)
        (x, y, names), clock = apart(_coloquinte, str(file), density, seed)
    orientation = [ORIENTATIONS.index(name) for name in names]
    turns = np.array(orientation, np.int8)
    return Placement(np.array(x, float), np.array(y, float), turns), clock


def _coloquinte(
    file: str, density: float | None, seed: int
) -> tuple[tuple[list[int], list[int], list[str]], Clock]:
    package: Any = load_extra("coloquinte", extra=EXTRA)
    circuit = package.Circuit.read_ispd(file)
    parameters = package.ColoquinteParameters(seed=seed)

    def place() -> None:
        if density is not None:
            circuit.expand_cells_to_density(density, 0.0)
        circuit.place_global(parameters)
        circuit.place_detailed(parameters)

    _, clock = clocked(place)
    names = [turn.name for turn in circuit.cell_orientation]
    return (list(circuit.cell_x), list(circuit.cell_y), names), clock
