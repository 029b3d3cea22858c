"""Names to objects: the one look-up behind every registry."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from anneal.errors import InputError


def load(target: str) -> Any:
    """Import ``"module:attribute"`` or ``"module"``.

    >>> load("math:pi") > 3
    True
    """
    module, _, attribute = target.partition(":")
    try:
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot load '{target}': {error}") from error


def resolve(registry: Mapping[str, str], name: str, *, kind: str) -> Any:
    """Return what ``registry`` holds under ``name``; a ``"module:attribute"`` stands for itself.

    Raises :class:`~anneal.errors.InputError` with the nearest known names.

    >>> resolve({"pi": "math:pi"}, "pie", kind="constant")
    Traceback (most recent call last):
    ...
    anneal.errors.InputError: unknown constant 'pie'; did you mean 'pi'?
    """
    if name in registry:
        return load(registry[name])
    if ":" in name:
        return load(name)
    near = difflib.get_close_matches(name, registry, n=3, cutoff=0.5)
    hint = " or ".join(f"'{item}'" for item in near)
    hint = f"did you mean {hint}?" if near else f"known: {', '.join(registry)}"
    raise InputError(f"unknown {kind} '{name}'; {hint}")
