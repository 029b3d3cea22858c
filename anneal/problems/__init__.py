"""Problems by name, and problems from and to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.registry import resolve

if TYPE_CHECKING:
    from anneal.problem import Problem

PROBLEMS = {
    "assignment": "anneal.problems.assignment:Assignment",
    "bisection": "anneal.problems.bisection:GraphBisection",
    "colouring": "anneal.problems.colouring:Colouring",
    "constrained": "anneal.problems.constrained_qubo:ConstrainedQubo",
    "domain-wall": "anneal.problems.domain_wall:DomainWallAssignment",
    "independent-set": "anneal.problems.independent_set:IndependentSet",
    "lattice": "anneal.problems.spin_glass:Lattice",
    "maxcut": "anneal.problems.maxcut:MaxCut",
    "number-partition": "anneal.problems.number_partition:NumberPartition",
    "partition": "anneal.problems.partition:HypergraphBisection",
    "planted": "anneal.problems.planted:TilePlanted",
    "qubo": "anneal.problems.qubo:Qubo",
    "rounding": "anneal.problems.rounding:Rounding",
    "sat": "anneal.problems.satisfiability:MaxSat",
    "sk": "anneal.problems.spin_glass:SherringtonKirkpatrick",
    "wishart": "anneal.problems.wishart:WishartPlanted",
    "xorsat": "anneal.problems.satisfiability:XorSat",
}


def get_problem(name: str) -> type[Problem]:
    """Return the class that is registered as ``name``, or named by ``"module:Class"``.

    Raises :class:`~anneal.errors.InputError` for an unknown name.

    >>> get_problem("maxcut").__name__
    'MaxCut'
    """
    from anneal.problem import Problem

    found = resolve(PROBLEMS, name, kind="problem")
    if not (isinstance(found, type) and issubclass(found, Problem)):
        raise InputError(f"'{name}' is not a subclass of anneal.Problem")
    return found


def read_problem(
    path: Pathlike,
    *,
    format: str | None = None,
    sense: str | None = None,
    vartype: str | None = None,
    base: int | None = None,
    problem: int | None = None,
) -> Problem:
    """Return the problem in a file: a graph is a MaxCut, a BQM a Qubo, a QAP an Assignment, a
    program with constraints a ConstrainedQubo.

    The keywords are those of :func:`anneal.instances.read`; the format is told from name and
    content where it is not given. Raises :class:`~anneal.errors.InputError`.
    """
    from anneal import instances

    instance = instances.read(
        path, format=format, sense=sense, vartype=vartype, base=base, problem=problem
    )
    try:
        return from_instance(instance)
    except InputError as error:
        raise InputError(error.reason, path=path) from error


def write_problem(problem: Problem, path: Pathlike, *, format: str | None = None) -> None:
    """Write ``problem`` to a file: a MaxCut as a graph, an Assignment as a QAP, a ConstrainedQubo
    as a program, the rest as a BQM.

    Where ``format``, or the name of the file, stands for models only, any problem's BQM is written.
    Raises :class:`~anneal.errors.InputError` where the format cannot hold the instance.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "glass.qubo"
    >>> write_problem(get_problem("maxcut").generate(seed=1, num_vertices=4), path)
    >>> read_problem(path).name
    'qubo'
    """
    from anneal import instances

    holds = instances.kinds_for(path, format=format)
    instance = problem.bqm() if holds and holds <= {"qubo", "bqm"} else _to_instance(problem)
    instances.write(instance, path, format=format)


def from_instance(instance: Any) -> Problem:
    """Return the problem in what :func:`anneal.instances.read` returned."""
    from anneal.instances import arrays

    if isinstance(instance, arrays.Graph):
        from anneal.problems.maxcut import MaxCut

        return MaxCut(instance.num_vertices, instance.i, instance.j, instance.weight)
    if isinstance(instance, arrays.QuadraticAssignment):
        from anneal.problems.assignment import Assignment

        return Assignment(instance.flow, instance.distance, best_known=instance.best_known)
    if isinstance(instance, arrays.Program):
        from scipy import sparse

        from anneal.problems.constrained_qubo import ConstrainedQubo

        matrix = sparse.csr_array(
            (instance.value, (instance.row, instance.column)),
            shape=(instance.num_rows, instance.objective.num_variables),
        )
        return ConstrainedQubo(instance.objective.to_bqm(), matrix, instance.right, instance.equal)
    from anneal.problems.qubo import Qubo

    return Qubo(instance.to_bqm() if isinstance(instance, arrays.Qubo) else instance)


def _to_instance(problem: Problem) -> Any:
    from anneal.instances import arrays
    from anneal.problems.assignment import Assignment
    from anneal.problems.constrained_qubo import ConstrainedQubo
    from anneal.problems.maxcut import MaxCut

    if isinstance(problem, MaxCut):
        i, j = problem.i.astype(np.int64), problem.j.astype(np.int64)
        return arrays.Graph(problem.num_vertices, i, j, problem.weight)
    if isinstance(problem, ConstrainedQubo):
        table = problem.coefficients.tocoo()
        row, column = table.coords
        objective = arrays.Qubo.from_bqm(problem.model)
        return arrays.Program(objective, row, column, table.data, problem.right, problem.equal)
    if isinstance(problem, Assignment):
        return arrays.QuadraticAssignment(problem.flow, problem.distance, problem.best_known)
    return problem.bqm()
