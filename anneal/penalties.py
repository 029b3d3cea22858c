"""Constraints as penalties, and how large a penalty has to be."""

from __future__ import annotations

import math

import dimod
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError

Matrix = NDArray[np.float64]


def add_equalities(
    bqm: dimod.BinaryQuadraticModel,
    coefficients: ArrayLike | scipy.sparse.sparray,
    right: ArrayLike,
    *,
    penalty: ArrayLike,
) -> None:
    """Add Σ_r P_r (Σ_k a_rk x_k − b_r)² to ``bqm``, in place.

    ``coefficients`` has shape (constraints, variables), dense or sparse, its columns in the order
    of the model's variables; ``right`` has shape (constraints,), and so has ``penalty`` where it is
    not one number for all. x is binary whatever the model's
    vartype is: of spins, x = (1 + s)/2. Every pair of variables of a constraint gets a coupling.
    Raises :class:`~anneal.errors.InputError` for other shapes and for numbers that are not finite.

    >>> import dimod
    >>> model = dimod.BinaryQuadraticModel({"a": -1, "b": -2}, {}, "BINARY")
    >>> add_equalities(model, [[1, 1]], [1], penalty=3)
    >>> [float(model.energy({"a": a, "b": b})) for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    [3.0, -2.0, -1.0, 0.0]
    """
    matrix = scipy.sparse.csr_array(coefficients, dtype=np.float64)
    bound = np.asarray(right, dtype=np.float64)
    if matrix.shape[1:] != (bqm.num_variables,) or bound.shape != matrix.shape[:1]:
        raise InputError(
            f"coefficients must have shape (constraints, {bqm.num_variables}) and right "
            f"(constraints,), but they have {matrix.shape} and {bound.shape}"
        )
    weight = np.asarray(penalty, dtype=np.float64)
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise InputError(f"a penalty must be a positive number, not {weight}")
    if weight.shape not in ((), bound.shape):
        raise InputError(f"penalty must be a number or of shape {bound.shape}, not {weight.shape}")
    # (a·x − b)² = Σ a_k² x_k + 2 Σ_{k<l} a_k a_l x_k x_l − 2b Σ a_k x_k + b², as x² = x.
    weighted = scipy.sparse.diags_array(np.broadcast_to(weight, bound.shape)) @ matrix
    square = matrix.T @ weighted
    linear = square.diagonal() - 2 * (weighted.T @ bound)
    pairs = scipy.sparse.triu(square, 1, format="coo")
    offset = float(bound @ (weight * bound))
    if not np.isfinite(np.concatenate([linear, pairs.data, [offset]])).all():
        raise InputError("the constraints hold numbers that are not finite or too large")
    bqm.update(
        dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear,
            (*pairs.coords, 2 * pairs.data),
            offset,
            dimod.BINARY,
            variable_order=list(bqm.variables),
        )
    )


def sufficient_penalty(bqm: dimod.BinaryQuadraticModel, *, feasible_energy: float) -> float:
    """Return a penalty that makes every ground state feasible, for whole coefficients.

    Let L be a lower bound of the objective ``bqm`` and F = ``feasible_energy`` its energy at any
    sample that satisfies the constraints. Whole numbers miss a right side by at least 1, so a
    sample that breaks a constraint has at least L + P, which exceeds F, and with it the ground
    energy, where P > F − L. L is the sum of the offset and the least value of each term.

    >>> import dimod
    >>> model = dimod.BinaryQuadraticModel({"a": -1, "b": -2}, {}, "BINARY")
    >>> sufficient_penalty(model, feasible_energy=-1)
    3.0
    """
    vectors = bqm.to_numpy_vectors()
    biases = np.concatenate([vectors.linear_biases, vectors.quadratic.biases])
    least = np.abs(biases) if bqm.vartype is dimod.SPIN else np.maximum(-biases, 0)
    return above(feasible_energy - float(bqm.offset) + float(least.sum()), whole=_are_whole(biases))


def nonnegative_terms(flow: Matrix, distance: Matrix) -> tuple[Matrix, Matrix, Matrix, float]:
    """Return flow, distance, linear and constant of a QAP with the same costs and no negative term.

    Where i ≠ j and k ≠ l the terms are flow_ij distance_kl, besides linear_ik = F_ii D_kk, all plus
    the constant. An amount added to every entry off the diagonal of either matrix, or to
    ``linear``, changes the cost of every permutation alike, so it is added where an entry is
    negative and nowhere else.

    >>> f = np.array([[0.0, -1.0], [2.0, 0.0]])
    >>> nonnegative_terms(f, np.abs(f))[3]
    -3.0
    """
    size, off = len(flow), ~np.eye(len(flow), dtype=bool)
    least_flow = min(0.0, float(flow[off].min(initial=0.0)))
    least_distance = min(0.0, float(distance[off].min(initial=0.0)))
    linear = np.outer(np.diag(flow), np.diag(distance))
    least_linear = min(0.0, float(linear.min()))
    flow = np.where(off, flow - least_flow, 0.0)
    distance = np.where(off, distance - least_distance, 0.0)
    constant = least_flow * float(distance.sum()) + least_distance * float(flow.sum())
    constant += size * (size - 1) * least_flow * least_distance + size * least_linear
    return flow, distance, linear - least_linear, constant


def assignment_penalty(flow: Matrix, distance: Matrix) -> float:
    """Return a penalty that makes every ground state of a one-hot QAP a permutation.

    The terms are those of :func:`nonnegative_terms`: f(x) = Σ F_ij D_kl x_ik x_jl over i ≠ j, k ≠
    l, plus Σ L_ik x_ik. The penalty is P (Σ_i r_i² + Σ_k c_k²), r_i and c_k being the number of
    ones in row i and in column k, less 1. From any x that is no permutation, one of lower energy is
    reached:

    1. While a one has r_i + c_k ≥ 1, remove it. f does not grow, the penalty changes by
       2P (1 − r_i − c_k) ≤ 0. Afterwards every row and column holds a single one at most.
    2. While a row i and a column k are empty (there are as many of either), set x_ik. The penalty
       changes by −2P, and f by at most M = max_ik [L_ik + Σ_j (F_ij D_kp(j) + F_ji D_p(j)k)] over
       partial permutations p, which the rearrangement inequality bounds: sort each row and column.

    Every step 2 lowers the energy where P > M/2. Without one, the last removal led to a
    permutation, so r_i = c_k = 1 and it lowered the energy by 2P. Hence P > M/2 suffices.

    >>> assignment_penalty(np.ones((3, 3)) - np.eye(3), np.ones((3, 3)) - np.eye(3))
    3.0
    """
    whole = _are_whole(flow) and _are_whole(distance)
    flow, distance, step, _ = nonnegative_terms(flow, distance)
    step = step + _sorted_rows(flow) @ _sorted_rows(distance).T
    step += _sorted_rows(flow.T) @ _sorted_rows(distance.T).T
    return above(float(step.max()) / 2, whole=whole)


def measured_assignment_penalty(flow: Matrix, distance: Matrix) -> float:
    """Return 1.75 times the mean cost of a random permutation over n: a rule, no guarantee.

    A one-flip annealer on nug12 … nug30 did best between 1.5 and 2 times; below 1.3 it found no
    permutation at all, above 2 every read was one.

    >>> measured_assignment_penalty(np.ones((3, 3)) - np.eye(3), np.ones((3, 3)) - np.eye(3))
    3.50390625
    """
    size = len(flow)
    mean = float(np.trace(flow) * np.trace(distance)) / size
    if size > 1:
        pairs = flow.sum() - np.trace(flow), distance.sum() - np.trace(distance)
        mean += float(pairs[0] * pairs[1]) / (size * (size - 1))
    return above(1.75 * mean / size, whole=False)


def above(bound: float, *, whole: bool) -> float:
    """Return a little more than ``bound``: the next whole number, or one of 10 significant bits.

    Few bits keep the sums of an energy exact. 1 where ``bound`` is 0, as a penalty cannot be 0.

    >>> above(3, whole=True), above(3, whole=False)
    (4.0, 3.00390625)
    """
    if bound <= 0:
        return 1.0
    if whole and bound < 2**52:
        return math.floor(bound) + 1.0
    mantissa, exponent = math.frexp(bound)
    # The factor is for the rounding of the sums that led to the bound.
    return math.ldexp(math.floor(mantissa * (1 + 1e-9) * 1024) + 1, exponent - 10)


def _sorted_rows(matrix: Matrix) -> Matrix:
    size = len(matrix)
    rows = matrix[~np.eye(size, dtype=bool)].reshape(size, size - 1)
    return np.sort(rows, axis=1)


def _are_whole(values: NDArray[np.float64]) -> bool:
    return bool(np.all(values == np.floor(values)))
