"""Spin glasses on every pair whose ground state is known: the Wishart planted ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.problem import Seed, Values
from anneal.problems import edges
from anneal.problems.spin_glass import SpinGlass


@dataclass(frozen=True, eq=False)
class WishartPlanted(SpinGlass):
    """Couplings W Wᵀ with Wᵀt = 0 for a planted state t, which no state is below (Hamze et al.
    2020).

    Proof: Σ_{i<j} J_ij s_i s_j = ½ sᵀ(J + D)s − ½ tr D for any diagonal D. Where J + D is positive
    semidefinite and (J + D)t = 0, the first term is least at t. The second condition leaves D_ii =
    −t_i Σ_j J_ij t_j alone, so the constructor can check the first one, by the least eigenvalue,
    and ``best_known`` is certain. Not scaled: the paper's energy is ours over num_spins.

    >>> planted = WishartPlanted.generate(seed=1, num_spins=20)
    >>> planted.cost(planted.ground_state) == planted.best_known
    True
    """

    ground_state: Values = field(kw_only=True)

    name: ClassVar[str] = "wishart"
    small: ClassVar[Mapping[str, Any]] = {"num_spins": 10}

    def __post_init__(self) -> None:
        super().__post_init__()
        ground = self.decode(self.ground_state)
        ground.flags.writeable = False
        matrix = np.zeros((self.num_spins, self.num_spins))
        np.add.at(matrix, (self.i, self.j), self.coupling)
        matrix += matrix.T
        matrix -= np.diag(ground * (matrix @ ground))
        least, scale = _least_eigenvalue(matrix), float(np.abs(matrix).sum(axis=1).max())
        if least < -1e-10 * scale:
            raise InputError(
                "ground_state is not proven to be one: J + D has a negative eigenvalue"
            )
        object.__setattr__(self, "ground_state", ground)
        object.__setattr__(self, "best_known", self.cost(ground))

    @classmethod
    def generate(
        cls, *, seed: Seed, num_spins: int = 64, ratio: float = 0.75, gaussian: bool = False
    ) -> WishartPlanted:
        """Return J = W Wᵀ off the diagonal, W of shape (num_spins, ratio · num_spins).

        The fewer columns, the harder: below a ratio of about 1 there is a transition of first
        order. A column has entries ±1, half of them with the sign of t, so couplings are whole and
        energies exact, and ``num_spins`` must be even; where ``gaussian``, they are normal and
        orthogonal to t to rounding.
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_spins", num_spins, least=2, most=10_000)
        ratio = edges.number("ratio", ratio, least=0, most=1e6)
        columns = max(1, round(ratio * size))
        edges.check_num_edges(float(size) * columns)
        ground = (2 * rng.integers(2, size=size) - 1).astype(np.int8)
        if gaussian:
            factors = rng.standard_normal((size, columns))
            factors -= np.outer(ground, ground @ factors / size)
        elif size % 2:
            raise InputError(f"num_spins must be even unless gaussian, not {size}")
        else:
            halves = np.repeat([1.0, -1.0], size // 2)[:, np.newaxis]
            factors = rng.permuted(np.tile(halves, columns), axis=0) * ground[:, np.newaxis]
        i, j = edges.complete_edges(size)
        coupling = (factors @ factors.T)[i, j]
        return cls(size, i, j, coupling, ground_state=ground)


def _least_eigenvalue(matrix: NDArray[np.float64]) -> float:
    found = scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=[0, 0])
    return float(found[0])
