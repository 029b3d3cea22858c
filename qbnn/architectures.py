"""Architectures that have a name, and what suits a data set if nothing is said; no torch here."""

from __future__ import annotations

from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """The stages of a network (see :class:`qbnn.config.Config`) and whose they are."""

    stages: str
    description: str


ARCHITECTURES = {
    "a": Architecture("SM10", "Bondesan & Welling 2020, architecture A: one dense layer"),
    "b": Architecture("8C3S2-16C3S2-SM10", "Bondesan & Welling 2020, architecture B"),
    "c": Architecture("32C3S2-64C3S2-SM10", "Bondesan & Welling 2020, architecture C"),
    "pbnet-mnist": Architecture("32C3-MP2-64C3-MP2-512FC-SM10", "Peters & Welling 2018, MNIST"),
    "pbnet-cifar10": Architecture(
        "128C3-128C3-MP2-256C3-256C3-MP2-512C3-512C3-MP2-1024FC-SM10",
        "Peters & Welling 2018, CIFAR-10",
    ),
    "small": Architecture("16C3-MP2-32C3-MP2-SM10", "two convolutions, for small images"),
    "mlp": Architecture("512FC-512FC-512FC-SM10", "three hidden dense layers"),
}

# What `qbnn train` takes for a set: minutes at most on a laptop. Few images want small batches.
SUITED: dict[str, dict[str, Any]] = {
    "digits": {"architecture": "small", "batch_size": 32},
    "mnist": {"architecture": "b"},
    "fashion-mnist": {"architecture": "b"},
    "cifar10": {"architecture": "c"},
}


def stages_of(architecture: str) -> str:
    """Return the stages of an architecture that has a name, any other text as it is.

    >>> stages_of("b")
    '8C3S2-16C3S2-SM10'
    """
    known = ARCHITECTURES.get(architecture.lower())
    return architecture if known is None else known.stages
