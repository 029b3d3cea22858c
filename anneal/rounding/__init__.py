"""Rounding of trained weights to few bits: one quadratic problem over integers for each layer."""

from __future__ import annotations

import inspect
from typing import Any

from anneal.registry import resolve

ROUNDERS = {
    "nearest": "anneal.rounding.simple:nearest",
    "stochastic": "anneal.rounding.simple:stochastic",
    "flip": "anneal.rounding.descent:flip",
    "gptq": "anneal.rounding.planes:gptq",
    "babai": "anneal.rounding.planes:babai",
    "beam": "anneal.rounding.planes:beam",
    "exact": "anneal.rounding.spheres:exact",
    "lns": "anneal.rounding.neighbourhoods:lns",
    "anneal": "anneal.rounding.annealing:anneal",
    "neal": "anneal.rounding.samplers:neal",
    "relax": "anneal.rounding.relaxation:relax",
    "relax+flip": "anneal.rounding.relaxation:relax_and_flip",
    "relax+lns": "anneal.rounding.relaxation:relax_and_search",
}


def get_rounder(name: str) -> Any:
    """The function of a registered name, or of ``"module:function"``.

    >>> get_rounder("nearest").__name__
    'nearest'
    """
    return resolve(ROUNDERS, name, kind="rounder")


def keywords(name: str) -> dict[str, Any]:
    """The keywords of a rounder beside those of every rounder, with their defaults.

    >>> keywords("flip")
    {'pairs': True}
    """
    taken = inspect.signature(get_rounder(name)).parameters.values()
    shared = ("rows", "rng", "start", "num_threads")
    return {one.name: one.default for one in taken if one.name not in shared}
