"""Where cells lie if nets are springs: the start of a placement by gradients."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import cg

from anneal.placement.netlist import Floats, Netlist

LARGEST_NET = 100  # pins; of larger nets every pair would be joined
TO_THE_MIDDLE = 1e-6  # what pulls cells there that no net joins to a fixed one
TOLERANCE, MOST_STEPS = 1e-5, 500


def quadratic_start(netlist: Netlist, middles: Floats, middle: Floats) -> Floats:
    """Return where the movable cells lie so that Σ_e w_e/(m_e − 1) Σ_{i<j ∈ e} (x_i − x_j)² is
    least, (axes, movable cells).

    ``middles``: of all cells, (axes, cells), of which those of fixed ones count; ``middle``: of the
    core, (axes,). Pins count as in the middle of their cells. (The quadratic placement of
    Kleinhans et al. 1991, GORDIAN, IEEE TCAD 10:356, without its constraints.)

    >>> from anneal.placement.grids import grid_netlist
    >>> netlist, _ = grid_netlist(columns=3, rows=3, seed=1)
    >>> quadratic_start(netlist, np.zeros((2, 9)), np.array([1.0, 2.0])).round(6)[:, 0].tolist()
    [1.0, 2.0]
    """
    springs = _laplacian(netlist)
    free, fixed = np.flatnonzero(netlist.movable), np.flatnonzero(~netlist.movable)
    pull = TO_THE_MIDDLE * scipy.sparse.eye_array(len(free))
    matrix = scipy.sparse.csr_array(springs[free][:, free] + pull)
    towards = springs[free][:, fixed]
    found = np.empty((len(middles), len(free)))
    for axis, centre in enumerate(middle):
        right = TO_THE_MIDDLE * centre - towards @ middles[axis, fixed]
        start = np.full(len(free), centre)
        found[axis], _ = cg(matrix, right, x0=start, rtol=TOLERANCE, maxiter=MOST_STEPS)
    return found


def _laplacian(netlist: Netlist) -> scipy.sparse.csr_array:
    pins = np.diff(netlist.start)
    counted = (pins > 1) & (pins <= LARGEST_NET)
    weight = np.where(counted, netlist.weight / np.maximum(pins - 1, 1), 0.0)
    nets = scipy.sparse.csr_array(
        (np.repeat(np.sqrt(weight), pins), netlist.cell, netlist.start),
        shape=(len(pins), len(netlist.names)),
    )
    joined = scipy.sparse.csr_array(nets.T @ nets)
    joined.setdiag(0.0)
    degrees = np.asarray(joined.sum(axis=1)).ravel()
    return scipy.sparse.csr_array(scipy.sparse.diags_array(degrees) - joined)
