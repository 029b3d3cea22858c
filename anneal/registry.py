"""Names to objects: the one look-up behind every registry."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
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


def load_extra(name: str, *, extra: str) -> Any:
    """Import a module of a package that is installed with one of the project's extras.

    Raises :class:`~anneal.errors.InputError` saying how to install it.

    >>> load_extra("math", extra="onnx").pi > 3
    True
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(f"{package} is wanted: pip install 'qbnn[{extra}]' ({error})") from error


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
    raise unknown(name, registry, kind=kind)


def unknown(name: str, known: Iterable[str], *, kind: str) -> InputError:
    """Return the error for a name that is not known, with the nearest ones that are.

    >>> str(unknown("num_reeds", ["num_reads", "seed"], kind="keyword"))
    "unknown keyword 'num_reeds'; did you mean 'num_reads'?"
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"
    return InputError(f"unknown {kind} '{name}'; {hint}")
