"""Solve QUBO and Ising problems: samplers for dimod, problems, file formats and measures."""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "InputError": "anneal.errors",
    "InfeasibleError": "anneal.errors",
    "Ising": "anneal.ising",
    "IsingSampler": "anneal.sampler",
    "Problem": "anneal.problem",
    "Record": "anneal.records",
    "Task": "anneal.records",
    "get_problem": "anneal.problems",
    "get_solver": "anneal.solvers",
    "read_problem": "anneal.problems",
    "write_problem": "anneal.problems",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'anneal' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
