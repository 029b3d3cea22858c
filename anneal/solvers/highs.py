"""HiGHS, by scipy: products as linear inequalities, and branch and bound of integer programs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from anneal.control import Control
from anneal.ising import Couplings, Ising, integer_scale
from anneal.layouts import choose_layout
from anneal.sampler import IsingSampler

LARGEST = 1e5  # coefficient: its gap of 10⁻⁶ is then 10⁻¹¹ of it, and what it rounds below one
TOLERANCE = 1e-6  # of the largest coefficient: what HiGHS calls equal


class HighsSampler(IsingSampler):
    """The ground state by HiGHS (Huangfu and Hall, 2018), proven: for sparse problems of up to
    about a hundred variables.

    A product x·y of bits is a variable of its own, held by x·y ≥ x + y − 1 where it costs, by
    x·y ≤ x and x·y ≤ y where it pays. ``info["proven"]`` is False where the time was up, or where
    whole energies may differ by less than a millionth of the largest coefficient; real ones are
    proven that far. No energy is below ``info["lower_bound"]``. num_reads: the same state
    again. It minds the time limit and hears an interrupt only once it is done.

    >>> result = HighsSampler().sample_ising({}, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0})
    >>> float(result.first.energy), result.info["proven"]
    (-1.0, True)
    """

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        num_threads: int = 1,
    ) -> NDArray[np.int8]:
        found = [_solved(Ising(linear, J), control, rng) for linear in h]
        least = min(bound for _, bound, _ in found) + control.offset
        control.info.update(proven=all(proven for *_, proven in found), lower_bound=least)
        return np.stack([np.repeat(state, num_reads or 1, axis=0) for state, *_ in found])


def _solved(
    ising: Ising, control: Control, rng: np.random.Generator
) -> tuple[NDArray[np.int8], float, bool]:
    """A state (1, n), a lower bound, and whether the one reaches the other."""
    n = ising.num_spins
    i, j, value = ising.pairs()
    size = float(max(np.abs(ising.h).max(initial=0), np.abs(value).max(initial=0))) or 1.0
    unit = integer_scale(ising.h, value)
    # h·s + J·s·t = Σ 2(h − Σ J)·x + 4J·x·y + constant
    sums = np.bincount(i, value, n) + np.bincount(j, value, n)
    cost = np.concatenate([2 * (ising.h - sums), 4 * value]) / size * LARGEST
    constant = float(value.sum() - ising.h.sum())
    least = -float(np.abs(ising.h).sum() + np.abs(value).sum())
    options: dict[str, Any] = {"mip_rel_gap": 0.0}
    if control.time_limit is not None:
        options["time_limit"] = max(0.0, control.remaining())
    result = None
    if not control.stop():
        result = milp(
            cost,
            integrality=np.concatenate([np.ones(n), np.zeros(len(value))]),
            bounds=Bounds(0, 1),
            constraints=_products(n, i, j, value),
            options=options,
        )
    state = np.ones((1, n), np.int8)
    proven = False
    if result is not None:
        if result.x is not None:
            state = np.where(result.x[np.newaxis, :n] > 0.5, 1, -1).astype(np.int8)
        if result.mip_dual_bound is not None:
            least = max(least, float(result.mip_dual_bound) / LARGEST * size + constant)
        # What is this close to the bound is done for HiGHS; a descent, for the rest.
        state = descended(ising, state, rng)
        fine = unit is None or 2 * unit > TOLERANCE * size
        proven = result.status == 0 and fine
        least = least if proven and unit is not None else least - TOLERANCE * size
    reached = float(ising.energies(state)[0])
    control.improve(reached)
    return state, min(least, reached) if unit is None or not proven else reached, proven


def descended(ising: Ising, state: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.int8]:
    """The local minimum (1, n) below a state."""
    layout: Any = choose_layout(ising.h, ising.J)
    replicas = layout.replicas(rng, spins=np.repeat(state, layout.lanes, axis=0))
    replicas.descend()
    return np.asarray(replicas.states()[:1])


def _products(
    n: int, i: NDArray[np.int64], j: NDArray[np.int64], value: NDArray[np.float64]
) -> list[LinearConstraint]:
    """The inequalities that hold each product from the side that its coefficient asks for."""
    costs, pays = np.flatnonzero(value > 0), np.flatnonzero(value < 0)
    one = np.ones(len(costs))
    rows = np.arange(len(costs))
    above = _matrix(n + len(value), (rows, i[costs], one), (rows, j[costs], one),
                    (rows, n + costs, -one))  # fmt: skip
    one, rows = np.ones(len(pays)), np.arange(len(pays))
    below = [
        _matrix(n + len(value), (rows, n + pays, one), (rows, end[pays], -one)) for end in (i, j)
    ]
    held = ((above, 1.0), (below[0], 0.0), (below[1], 0.0))
    return [LinearConstraint(matrix, -np.inf, most) for matrix, most in held if matrix.shape[0]]


def _matrix(width: int, *entries: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> Any:
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    shape = (len(entries[0][0]), width)
    return sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=shape))
