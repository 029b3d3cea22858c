"""Quadratic assignment with a domain wall a facility: n − 1 bits, whose wall is the site."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.penalties import above, measured_assignment_penalty
from anneal.problem import Problem, Sample, Seed, Solution, as_sample, sample_values
from anneal.problems import edges
from anneal.problems.assignment import Assignment, Matrix, Permutation
from anneal.squares import Squares, joined

MEASURED_CHAIN = 4.0  # times the penalty: an annealer breaks chains below 2, above 4 it gains none


@dataclass(frozen=True, eq=False)
class DomainWallAssignment(Problem):
    """The QAP of an :class:`~anneal.problems.assignment.Assignment` in Chancellor's encoding.

    Facility i has bits d_i1 ≥ d_i2 ≥ …, between d_i0 = 1 and d_in = 0, and is at the site k where
    they fall: x_ik = d_ik − d_i,k+1, which add up to 1 whatever the bits are. penalty: of
    (Σ_i x_ik − 1)² at each site; chain_strength: of each rise, d_ik = 0 before d_i,k+1 = 1.
    Without them those apply that :func:`domain_wall_penalties` proves sufficient. The variable d_ik
    is the int i·(n − 1) + k − 1. Solutions and costs are the assignment's, and so is the repair of
    a sample: a facility may be where its bits fall. Source: N. Chancellor, Domain wall encoding of
    discrete variables for quantum annealing and QAOA, Quantum Sci. Technol. 4 (2019) 045004,
    arXiv:1903.05068, section 2. Raises :class:`~anneal.errors.InputError` for n = 1, which has no
    bits, and for penalties that are not positive.

    >>> line = Assignment([[0, 3], [1, 0]], [[0, 2], [5, 0]])
    >>> DomainWallAssignment(line).encode([1, 0])
    {0: 1, 1: 0}
    """

    assignment: Assignment
    penalty: float | None = None
    chain_strength: float | None = None

    name: ClassVar[str] = "domain-wall"
    small: ClassVar[Mapping[str, Any]] = {"num_facilities": 4}

    def __post_init__(self) -> None:
        if self.num_facilities < 2:
            raise InputError("a domain wall needs n ≥ 2 sites")
        sufficient = domain_wall_penalties(self.assignment)
        for name, default in zip(("penalty", "chain_strength"), sufficient, strict=True):
            given = getattr(self, name)
            value = edges.number(name, default if given is None else given, least=0, most=1e300)
            if value == 0:
                raise InputError(f"{name} must be greater than 0")
            object.__setattr__(self, name, value)

    @property
    def num_facilities(self) -> int:
        """n."""
        return len(self.assignment.flow)

    @property
    def best_known(self) -> float | None:
        """The assignment's."""
        return self.assignment.best_known

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the model of n·(n − 1) bits; two facilities at a site also pay the longest
        distance.
        """
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares]:
        """Return the cost with its chains, and the squares of the sites."""
        size, steps = self.num_facilities, _steps(self.num_facilities)
        flow, distance = _off_diagonal(self.assignment)
        # x_i = e_0 + T d_i in x_i·D·x_j gives a constant, two linear terms and T'·D·T.
        ends = np.diag(self.assignment.flow), np.diag(self.assignment.distance)
        linear = np.outer(flow.sum(axis=0), distance[0] @ steps)
        linear += np.outer(flow.sum(axis=1), steps.T @ distance[:, 0])
        linear += np.outer(ends[0], ends[1] @ steps)
        offset = float(distance[0, 0] * flow.sum() + ends[0].sum() * ends[1][0])
        i, j = np.nonzero(np.triu((flow != 0) | (flow.T != 0)))
        block = steps.T @ distance @ steps
        terms = flow[i, j, np.newaxis, np.newaxis] * block
        terms += flow[j, i, np.newaxis, np.newaxis] * block.T
        pair, k, site = np.nonzero(terms)
        width = size - 1
        model = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear.ravel(),
            (i[pair] * width + k, j[pair] * width + site, terms[pair, k, site]),
            offset,
            dimod.BINARY,
        )
        # The constructor has replaced None.
        penalty, chain = cast(float, self.penalty), cast(float, self.chain_strength)
        right = np.where(np.arange(size) == 0, 1.0 - size, 1.0)
        for bit in range(size * width):
            if bit % width:
                model.add_linear(bit, chain)
                model.add_quadratic(bit - 1, bit, -chain)
        return model, Squares(np.tile(steps, size), right, penalty)

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the bits, 1 up to the site of each facility."""
        onehot = self.assignment.encode(solution)  # which checks the solution
        size = self.num_facilities
        sites = np.array([onehot[v] for v in range(size * size)]).reshape(size, size).argmax(axis=1)
        bits = (np.arange(1, size) <= sites[:, np.newaxis]).astype(np.int8)
        return as_sample(bits.ravel(), range(bits.size))

    def decode(self, sample: Sample) -> Permutation:
        """Return the assignment's repair of the sites where the bits fall."""
        ones = (self._sites(sample) == 1).astype(np.int8)
        return self.assignment.decode(ones.ravel())

    def cost(self, solution: Solution) -> float:
        """Return the assignment's cost."""
        return self.assignment.cost(solution)

    def feasible(self, sample: Sample) -> bool:
        """Return whether no bit rises and every site has one facility."""
        sites = self._sites(sample)
        return bool(np.all(sites >= 0) and np.all(sites.sum(axis=0) == 1))

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem and the penalties: applied, sufficient, measured."""
        sufficient = domain_wall_penalties(self.assignment)
        measured = measured_domain_wall_penalties(self.assignment)
        return super().describe() | {
            "num_facilities": self.num_facilities,
            "penalty": self.penalty,
            "chain_strength": self.chain_strength,
            "sufficient_penalty": sufficient[0],
            "sufficient_chain_strength": sufficient[1],
            "measured_penalty": measured[0],
            "measured_chain_strength": measured[1],
        }

    def random_solution(self, rng: np.random.Generator) -> Permutation:
        """Return a uniform permutation."""
        return self.assignment.random_solution(rng)

    @classmethod
    def generate(
        cls, *, seed: Seed, num_facilities: int = 10, density: float = 0.7
    ) -> DomainWallAssignment:
        """Return the instance that Assignment.generate makes of the same parameters.

        >>> DomainWallAssignment.generate(seed=1, num_facilities=4).bqm().num_variables
        12
        """
        size = edges.whole("num_facilities", num_facilities, least=2, most=1000)
        return cls(Assignment.generate(seed=seed, num_facilities=size, density=density))

    def _sites(self, sample: Sample) -> NDArray[np.int8]:
        """x, (n, n), of −1, 0 and 1."""
        size = self.num_facilities
        bits = sample_values(sample, range(size * (size - 1)), vartype=dimod.BINARY)
        walls = np.zeros((size, size + 1), np.int8)
        walls[:, 0] = 1
        walls[:, 1:size] = bits.reshape(size, size - 1)
        return walls[:, :-1] - walls[:, 1:]


def domain_wall_penalties(assignment: Assignment) -> tuple[float, float]:
    """Return a penalty and a chain strength that make every ground state a permutation.

    Let D have its longest distance on the diagonal (no permutation has such a product) and R be its
    range; M = max_i [R Σ_j (|F_ij| + |F_ji|) + |F_ii|·(range of D's own diagonal)] bounds what
    moving one facility changes the objective f by. A state has w_i rises in row i, W in all, w of
    them at most in one row, and S = Σ_k |c_k − 1| ≤ Σ_k (c_k − 1)², c_k being what x adds up to at
    site k, so that E ≥ f + P·S + κ·W. It is repaired thus:

    1. Row i keeps one of its falls: x_i loses z_i, of w_i ones and w_i minus ones. All rows
       together change f by at most Σ_i w_i M (1 + w), as z_i·D·x_j ≤ w_i R and z_i·D·z_j ≤
       2 w_i w_j R, and S by at most 2W.
    2. While a site has several facilities another has none: S/2 + W moves, M each.

    So a permutation of lower energy is reached where P > M/2 and κ > M (2 + w), w = ⌊(n − 1)/2⌋.

    >>> domain_wall_penalties(Assignment([[0, 1], [1, 0]], [[0, 3], [2, 0]]))
    (2.0, 5.0)
    """
    flow, distance = _off_diagonal(assignment)
    pulls = (np.abs(flow) + np.abs(flow).T).sum(axis=1) * float(np.ptp(distance))
    pulls += np.abs(np.diag(assignment.flow)) * float(np.ptp(np.diag(assignment.distance)))
    most = float(pulls.max())
    matrices = (assignment.flow, assignment.distance)
    whole = all(bool((matrix == np.floor(matrix)).all()) for matrix in matrices)
    rises = (len(flow) - 1) // 2
    return above(most / 2, whole=whole), above(most * (2 + rises), whole=whole)


def measured_domain_wall_penalties(assignment: Assignment) -> tuple[float, float]:
    """Return the penalty of :func:`~anneal.penalties.measured_assignment_penalty` and 4 times as
    much: a rule, no guarantee.
    """
    penalty = measured_assignment_penalty(assignment.flow, assignment.distance)
    return penalty, MEASURED_CHAIN * penalty


def _steps(size: int) -> Matrix:
    """T, (n, n − 1): x_i = e_0 + T d_i."""
    return np.eye(size, size - 1, -1) - np.eye(size, size - 1)


def _off_diagonal(assignment: Assignment) -> tuple[Matrix, Matrix]:
    """Flow without its diagonal; distance with the longest other one on its own."""
    size = len(assignment.flow)
    off = ~np.eye(size, dtype=bool)
    longest = float(assignment.distance[off].max())
    return np.where(off, assignment.flow, 0.0), np.where(off, assignment.distance, longest)
