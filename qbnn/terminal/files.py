"""Instance files: generated, and converted from one format to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.problem import Problem
from anneal.problems import get_problem, write_problem
from qbnn.terminal.console import check_file
from qbnn.terminal.describe import generate_parameters
from qbnn.terminal.settings import check_keys, drawn_seed
from qbnn.terminal.solve import load


def generate(
    problem: str,
    out: Pathlike,
    *,
    seed: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    format: str | None = None,
) -> dict[str, Any]:
    """Write an instance that a registered problem generates; return facts about it.

    A seed of None is drawn. Raises :class:`~anneal.errors.InputError` for unknown names, parameters
    that do not fit and a file that cannot be written.
    """
    given = dict(parameters or {})
    check_keys(given, generate_parameters(problem), kind="parameter")
    check_file(out)
    drawn = drawn_seed(seed)
    made = _generated(problem, drawn, given)
    write_problem(made, out, format=format)
    return {"file": str(out), "seed": drawn, "parameters": given, **made.describe()}


def convert(
    file: Pathlike,
    out: Pathlike,
    *,
    source: str | None = None,
    target: str | None = None,
    sense: str | None = None,
    read: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the instance in ``file`` to ``out`` in another format; return facts about it.

    ``source`` and ``target`` name formats; ``sense`` and ``read`` are as for
    :func:`qbnn.terminal.solve.load`. Raises :class:`~anneal.errors.InputError`.
    """
    check_file(out)
    loaded = load(file, format=source, sense=sense, **(read or {}))
    write_problem(loaded.problem, out, format=target)
    return {"file": str(file), "out": str(out), "sense": loaded.sense, **loaded.problem.describe()}


def _generated(problem: str, seed: int, given: Mapping[str, Any]) -> Problem:
    try:
        made: Problem = get_problem(problem).generate(seed=seed, **given)
    except TypeError as error:
        raise InputError(f"a parameter of '{problem}' has the wrong kind: {error}") from error
    return made
