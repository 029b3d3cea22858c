"""Squares found among the couplings of a model that was handed over multiplied out.

A balance or a capacity P (a·x − b)² couples all pairs of its variables, each with P a_i a_j / 2 of
s_i·s_j; a one-hot constraint makes its variables a clique of equal couplings. What is found is
taken off the couplings and kept as :class:`~anneal.squares.Squares`: an identity, right or wrong,
so that a false find costs time at most. Right sides are Σ a / 2, which leaves the biases alone:
another one is worth a linear term.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.ising import DENSE_ABOVE, Couplings, Ising, integer_scale, rows_of_matrix
from anneal.kernels.cliques import disjoint_cliques, subtract_outer
from anneal.squares import Squares

FALL = 32  # times fewer couplings that a square of all variables has to leave: tabu leads below 20
ROUNDING = 2.0**-48  # of a term: a remainder below that is none, but the rounding of products
LARGEST = 2.0**20  # of the integers a
PIVOTS = 33  # rows that vote on a, an odd number
SAMPLED = 4096  # pairs that show what is there
SEEN = 1 / 256  # of the sample: a coupling that is as frequent may be that of cliques
VALUES = 8  # of these that are looked at
CORNERS = 128  # pairs of edges at a vertex: how many are closed tells cliques from chance
CLOSED = 0.15  # of them more than by chance (σ = 0.04); of four crossing cliques a quarter is
FULL = 0.75  # of the pairs of a group are edges, and so many edges are in groups
TRIES = 4  # edges of a vertex that lead to no clique
PATIENCE = 2**25  # looks at an edge, a few hundredths of a second


class Found(NamedTuple):
    """Amounts (squares, n) and penalties (squares,), and the couplings that are left."""

    amounts: sparse.csr_array
    penalty: NDArray[np.float64]
    J: Couplings


def find_squares(ising: Ising) -> Ising:
    """Return the same energies with squares of their own, or ``ising`` where none would pay.

    A square of all variables pays where FALL times fewer couplings remain; cliques pay where they
    constrain the others: exchanges then move where flips are frozen. O(n² + couplings).

    >>> balance = Ising(np.zeros(40), np.ones((40, 40)) - np.eye(40))
    >>> found = find_squares(balance)
    >>> found.num_couplings, found.squares.coefficients.shape, found.offset
    (0, (1, 40), -20.0)
    """
    rng = np.random.default_rng(0)  # which pairs are looked at
    parts = []
    J = ising.J
    if ising.squares is not None or ising.num_couplings < 3:
        return ising
    whole = _of_all(J, rng)
    if whole is not None:
        parts.append(whole)
        J = whole.J
    cliques = _of_cliques(J, rng)
    if cliques is not None:
        parts.append(cliques)
        J = cliques.J
    if not parts:
        return ising
    amounts = sparse.csr_array(sparse.vstack([part.amounts for part in parts]))
    penalty = np.concatenate([part.penalty for part in parts])
    right = np.asarray(amounts.sum(axis=1)).ravel() / 2
    sizes = np.asarray(amounts.multiply(amounts).sum(axis=1)).ravel()
    offset = ising.offset - float(penalty @ sizes) / 4
    return replace(ising, J=J, offset=offset, squares=Squares(amounts, right, penalty))


def described(squares: Squares) -> str:
    """Return how many squares there are, and of how many variables.

    >>> described(Squares([[1, 1, 1, 0], [0, 0, 1, 1]], right=1))
    '2 squares of 2 to 3 variables'
    """
    sizes = np.diff(squares.coefficients.indptr)
    least, most = int(sizes.min()), int(sizes.max())
    count = f"{len(sizes)} squares" if len(sizes) > 1 else "1 square"
    return f"{count} of {most if least == most else f'{least} to {most}'} variables"


def _of_all(J: Couplings, rng: np.random.Generator) -> Found | None:
    """A square of all variables, of couplings stored as a matrix."""
    if isinstance(J, sparse.csr_array) or len(J) < 4:
        return None
    n, (i, j, k, m) = len(J), rng.integers(len(J), size=(4, SAMPLED))
    # Every minor of a matrix of rank one is 0.
    one, other = J[i, j] * J[k, m], J[i, k] * J[j, m]
    apart = (i != j) & (i != k) & (i != m) & (j != k) & (j != m) & (k != m)
    minors = (np.abs(one - other) <= 1e-9 * np.abs(one)) & (one != 0)
    if not (minors[apart].mean() if apart.any() else 0.0) > 0.25:
        return None
    found = _amounts(J, rng)
    if found is None:
        return None
    amounts, unit = found
    stored = int(rows_of_matrix(J).coupled.sum())
    indptr, indices, values = subtract_outer(J, amounts, unit, ROUNDING, stored // FALL)
    if indptr[-1] < 0:
        return None
    left = sparse.csr_array((values, indices, indptr), shape=(n, n))
    return Found(sparse.csr_array(amounts[np.newaxis]), np.array([2 * unit]), left)


def _amounts(
    J: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float] | None:
    """Integers a and c with J_ij = c a_i a_j of most pairs, or None: c is positive.

    A row J_p is u = c a_p a. Where t = u_j u_k / J_jk = c a_p² (the most of all j, k agree), u_p is
    t and J = u uᵀ / t. Each u_j is then the median of t J_jr / u_r over several rows r, as the row
    of p has couplings of its own.
    """
    n = len(J)
    rows = rng.choice(n, size=min(PIVOTS, n), replace=False)
    p = rows[np.argmax(np.count_nonzero(J[rows], axis=1))]
    j, k = rng.integers(n, size=(2, SAMPLED))
    kept = (j != p) & (k != p) & (j != k) & (J[j, k] != 0)
    if not kept.any():
        return None
    t = float(np.median(J[p, j[kept]] * J[p, k[kept]] / J[j[kept], k[kept]]))
    if not (np.isfinite(t) and t > 0):
        return None
    u = J[p].copy()
    u[p] = t
    rows = rows[u[rows] != 0]
    votes = t * J[rows] / u[rows, np.newaxis]
    votes[np.arange(len(rows)), rows] = np.nan
    u = np.nanmedian(votes, axis=0)
    scale = integer_scale(u, largest=LARGEST) if np.isfinite(u).all() and u.any() else None
    return None if scale is None else (np.rint(u / scale), scale * scale / t)


def _of_cliques(J: Couplings, rng: np.random.Generator) -> Found | None:
    """Groups of variables with one coupling between all their pairs."""
    n = J.shape[0]
    rows: list[sparse.csr_array] = []
    penalty: list[NDArray[np.float64]] = []
    for value in _frequent(J, rng):
        graph = _equal(J, value)
        patience = min(PATIENCE, 64 * graph.nnz)
        start, members, within = disjoint_cliques(
            graph.indptr.astype(np.int64), graph.indices.astype(np.int32), FULL, TRIES, patience
        )
        if not within or 2 * within < FULL * graph.nnz:
            continue
        shape = (len(start) - 1, n)
        ones = sparse.csr_array((np.ones(len(members)), members, start), shape=shape)
        pairs = sparse.csr_array(ones.T @ ones)
        pairs.setdiag(0)
        J = _stored(J - value * pairs)
        rows.append(ones)
        penalty.append(np.full(shape[0], 2 * value))
    if not rows:
        return None
    found = Found(sparse.csr_array(sparse.vstack(rows)), np.concatenate(penalty), J)
    return found if _constrain(found) else None


def _constrain(found: Found) -> bool:
    """Whether a variable has as many other couplings as squares, and these together give no more
    than breaking one costs: a lattice of triangles, say, has no constraints.
    """
    count = 2 * Ising(np.zeros(found.J.shape[0]), found.J).num_couplings
    inside = np.unique(found.amounts.indices)
    left = np.asarray((found.J * found.J).sum(axis=1)).ravel()[inside]
    return bool(count >= found.amounts.nnz and found.penalty.min() ** 2 >= left.mean())


def _frequent(J: Couplings, rng: np.random.Generator) -> list[float]:
    """Positive couplings that are frequent and lie in cliques, the heaviest first."""
    n = J.shape[0]
    if isinstance(J, sparse.csr_array):
        place = rng.integers(max(1, J.nnz), size=SAMPLED if J.nnz else 0)
        i = np.searchsorted(J.indptr, place, "right") - 1
        j, found, density = J.indices[place], J.data[place], J.nnz / n**2
    else:
        i, j = rng.integers(n, size=(2, SAMPLED))
        found, density = J[i, j], 1.0
    values, counts = np.unique(found[found > 0], return_counts=True)
    seen = counts >= max(2, SEEN * SAMPLED)
    order = np.argsort(-(values * counts)[seen])[:VALUES]
    chosen = []
    for value, count in zip(values[seen][order], counts[seen][order], strict=True):
        ends = np.flatnonzero(found == value)[:CORNERS]
        closed = np.mean([_closes(J, value, i[e], j[e], rng) for e in ends])
        if closed >= density * count / SAMPLED + CLOSED:
            chosen.append(float(value))
    return chosen


def _closes(J: Couplings, value: float, i: int, j: int, rng: np.random.Generator) -> bool:
    """Whether j and another neighbour of i by this coupling, drawn at random, have it too."""
    if isinstance(J, sparse.csr_array):
        row = slice(J.indptr[i], J.indptr[i + 1])
        near = J.indices[row][J.data[row] == value]
        of_j = slice(J.indptr[j], J.indptr[j + 1])
        joined = J.indices[of_j][J.data[of_j] == value]
    else:
        near, joined = np.flatnonzero(J[i] == value), np.flatnonzero(J[j] == value)
    near = near[near != j]
    return bool(len(near)) and bool(np.isin(rng.choice(near), joined))


def _equal(J: Couplings, value: float) -> sparse.csr_array:
    """The graph of the pairs that have this coupling."""
    if not isinstance(J, sparse.csr_array):
        return sparse.csr_array(np.equal(J, value))
    arrays = (J.data == value, J.indices.copy(), J.indptr.copy())  # which change in place
    graph = sparse.csr_array(arrays, shape=J.shape)
    graph.eliminate_zeros()
    return graph


def _stored(J: Couplings) -> Couplings:
    """As :class:`~anneal.ising.Ising` has it: a matrix where many pairs are coupled, else CSR."""
    n = J.shape[0]
    count = J.nnz if isinstance(J, sparse.csr_array) else np.count_nonzero(J)
    if count > DENSE_ABOVE * n * n:
        return J.toarray() if isinstance(J, sparse.csr_array) else np.asarray(J)
    matrix = sparse.csr_array(J)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
