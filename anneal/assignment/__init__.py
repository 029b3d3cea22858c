"""Engines for quadratic assignment: from permutation to permutation, without penalties."""

from __future__ import annotations

import inspect
from typing import Any

from anneal.registry import resolve

ENGINES = {
    "memetic": "anneal.assignment.memetic:memetic",
    "tabu": "anneal.assignment.tabu:tabu",
    "anneal": "anneal.assignment.annealing:anneal",
    "swaps": "anneal.assignment.swaps:swaps",
}


def get_engine(name: str) -> Any:
    """The function of a registered name, or of ``"module:function"``.

    Every engine is ``engine(problem, *, rng, control, start=None, num_threads=1, …)`` and returns
    its best permutation and a dict of what it counted; costs go to ``control``.

    >>> get_engine("tabu").__name__
    'tabu'
    """
    return resolve(ENGINES, name, kind="engine")


def keywords(name: str) -> dict[str, Any]:
    """The keywords of an engine beside those of every engine, with their defaults.

    >>> keywords("tabu")
    {'num_swaps': None, 'num_walks': None}
    """
    taken = inspect.signature(get_engine(name)).parameters.values()
    shared = ("problem", "rng", "control", "start", "num_threads")
    return {one.name: one.default for one in taken if one.name not in shared}
