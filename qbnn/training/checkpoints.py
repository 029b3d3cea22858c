"""Networks and training states in safetensors files: tensors, and a JSON text that says of what.

A file is written whole beside its place and renamed into it, so that a kill in the middle leaves
the file that was there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes
from anneal.records import canonical_json
from qbnn.config import make_config
from qbnn.models import Network

VERSION = 1
BEST, STATE = "best.safetensors", "state.safetensors"
Tensors = Mapping[str, Tensor]


class Stored(NamedTuple):
    """What a file holds: its tensors, and the document beside them."""

    tensors: dict[str, Tensor]
    document: dict[str, Any]


def save(path: Pathlike, network: Network, extra: Mapping[str, Any]) -> None:
    """Write a network with its config; ``extra`` is any JSON: epoch, metrics, seed, versions.

    Raises :class:`~anneal.errors.InputError` where the file cannot be written.

    >>> import tempfile
    >>> from qbnn.config import Config
    >>> network = Network(Config(architecture="SM10", in_shape=(1, 8, 8)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/best.safetensors", network, {"epoch": 3})
    ...     load(folder)[1]
    {'epoch': 3}
    """
    document = {"config": network.config.model_dump(mode="json"), "extra": extra}
    write(path, "network", network.state_dict(), document)


def load(
    path: Pathlike, *, device: str = "cpu", changes: Mapping[str, Any] | None = None
) -> tuple[Network, dict[str, Any]]:
    """Return the network of a file, or of a run's folder, and its ``extra``.

    ``changes``: fields of the config to take instead, such as ``mode`` or ``law``. Raises
    :class:`~anneal.errors.InputError` naming the file: missing, not safetensors, cut short, not a
    network, of another version, unknown settings, tensors that do not fit or not finite.
    """
    place = best_of(path)
    stored = read(place, "network")
    try:
        config = make_config({**_table(stored.document, "config"), **(changes or {})})
        network = Network(config)
        check_tensors(network, stored.tensors)
        extra = _table(stored.document, "extra")
    except InputError as error:
        raise InputError(error.reason, path=place) from error
    network.load_state_dict(stored.tensors)
    network.to(device).reseed(config.seed)
    return network.eval(), extra


def best_of(path: Pathlike) -> Path:
    """Return the file of the best network where ``path`` is a run's folder, else ``path``.

    Raises :class:`~anneal.errors.InputError` for a folder without one.
    """
    place = Path(path)
    if not place.is_dir():
        return place
    if not (place / BEST).exists():
        raise InputError(f"holds no {BEST}: no epoch of a training has ended here", path=place)
    return place / BEST


def check_tensors(network: Network, tensors: Tensors) -> None:
    """Raise :class:`~anneal.errors.InputError` for tensors that are not those of a network.

    Names, shapes and types have to be its own, and the numbers finite.
    """
    wanted = network.state_dict()
    for name in wanted.keys() ^ tensors.keys():
        fault = "is missing" if name in wanted else "is none of this network"
        raise InputError(f"tensor '{name}' {fault}")
    for name, tensor in tensors.items():
        right = wanted[name]
        if (tensor.shape, tensor.dtype) != (right.shape, right.dtype):
            raise InputError(
                f"tensor '{name}' must be {_described(right)}, but is {_described(tensor)}"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(f"tensor '{name}' has a number that is not finite")


def save_state(
    path: Pathlike,
    network: Network,
    optimizer: torch.optim.Optimizer,
    *,
    best: Tensors,
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Write everything from which a training goes on: weights, moments, best weights, history."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for place, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": moment for name, moment in moments.items()}
    config = network.config.model_dump(mode="json")
    write(path, "state", tensors, {"config": config, "history": history})


def load_state(
    path: Pathlike, network: Network, optimizer: torch.optim.Optimizer
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Put a state back into the network and its optimiser; return the history and best weights.

    Raises :class:`~anneal.errors.InputError` as :func:`load`, and for another network's state.
    """
    stored = read(path, "state")
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
    for name, tensor in stored.tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    try:
        if stored.document.get("config") != network.config.model_dump(mode="json"):
            raise InputError("the state of a network with another config")
        check_tensors(network, parts["best"])
        check_tensors(network, parts["network"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            place, _, moment = name.partition(".")
            moments.setdefault(int(place), {})[moment] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        history = list(stored.document["history"])
    except InputError as error:
        raise InputError(error.reason, path=path) from error
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"a damaged state: {error!r}", path=path) from error
    network.load_state_dict(parts["network"])
    return history, parts["best"]


def write(path: Pathlike, kind: str, tensors: Tensors, document: Mapping[str, Any]) -> None:
    """Write tensors and a JSON document as a file of a kind: ``network`` or ``state``."""
    body = {"format": f"qbnn-{kind}", "version": VERSION, **document}
    # Copies, because safetensors refuses tensors that share memory.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    # safetensors wants words only, so the document is one.
    write_bytes(path, safetensors.torch.save(plain, {"qbnn": canonical_json(body)}))


def read(path: Pathlike, kind: str) -> Stored:
    """Return what :func:`write` wrote.

    Raises :class:`~anneal.errors.InputError` naming the file where it is another, or damaged.
    """
    data = read_bytes(path)
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        words = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError, KeyError, AttributeError) as error:
        reason = f"not a whole safetensors file, or cut short: {error}"
        raise InputError(reason, path=path) from None
    try:
        document = json.loads(words["qbnn"])
        name, version = document["format"], document["version"]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"a safetensors file, but no {kind} of qbnn", path=path) from None
    if name != f"qbnn-{kind}":
        raise InputError(f"holds '{name}', not 'qbnn-{kind}'", path=path)
    if version != VERSION:
        reason = f"'{name}' of version {version}; this program reads version {VERSION}"
        raise InputError(reason, path=path)
    return Stored(tensors, document)


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    if not isinstance(found, dict):
        raise InputError(f"has no table '{name}'")
    return found


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
