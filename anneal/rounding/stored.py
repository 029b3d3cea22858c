"""A run's folder: its settings and the layers that are rounded, so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes, write_text
from anneal.rounding.bounds import Posed
from anneal.rounding.graphs import Traced
from anneal.rounding.grids import Grid
from anneal.rounding.layers import RoundedLayer
from anneal.rounding.quantisers import Quantiser

SETTINGS, NETWORK, LAYERS = "settings.json", "network.safetensors", "layers"
FIGURES = ("ridge", "cost", "nearest", "up", "seconds")


class Folder:
    """The folder of a rounding; it belongs to one set of settings."""

    def __init__(self, path: Pathlike) -> None:
        self.path = Path(path)

    def check(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Raise :class:`~anneal.errors.InputError` where the folder cannot take the run.

        It holds one that is not to be gone on with, or one of other settings, or it is no folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError("cannot write: it is not a folder", path=self.path)
        if not (self.path / SETTINGS).exists():
            return
        if not resume:
            reason = "the folder holds a rounding; go on with --resume or name another"
            raise InputError(reason, path=self.path)
        before, wanted = flat(self.settings()), flat(json.loads(json.dumps(settings)))
        changed = sorted(name for name, value in wanted.items() if before.get(name) != value)
        if changed:
            raise InputError(f"holds another run, of other {', '.join(changed)}", path=self.path)

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder, or with ``resume`` go on in it; raise as :meth:`check`."""
        self.check(settings, resume=resume)
        try:
            (self.path / LAYERS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror}", path=self.path) from error
        write_text(self.path / SETTINGS, json.dumps(settings, indent=2) + "\n")

    def settings(self) -> dict[str, Any]:
        """Return the settings of the run.

        Raises :class:`~anneal.errors.InputError` where there are none that can be read.
        """
        file = self.path / SETTINGS
        try:
            found = json.loads(read_bytes(file))
        except ValueError as error:
            raise InputError(f"not settings: {error}", path=file) from error
        if not isinstance(found, dict):
            raise InputError("not settings: no table of names", path=file)
        return found

    def keep(self, name: str, layer: RoundedLayer) -> None:
        """Write a rounded layer."""
        arrays: dict[str, NDArray[Any]] = {
            "levels": layer.levels.astype(np.int32),
            "scale": layer.grid.scale,
            "zero": layer.grid.zero,
            "bias": layer.bias,
        }
        document: dict[str, Any] = {figure: getattr(layer, figure) for figure in FIGURES}
        document |= {"lowest": layer.grid.lowest, "highest": layer.grid.highest}
        if layer.quantiser is not None:
            q = layer.quantiser
            document["input"] = [float(q.scale), int(q.zero), q.bits]
        if layer.posed is not None:
            document["posed"] = layer.posed
        data = safetensors.numpy.save(arrays, {"layer": json.dumps(document)})
        write_bytes(self._file(name), data)

    def holds(self, name: str) -> bool:
        """Return whether a layer was kept."""
        return self._file(name).exists()

    def known(self, name: str) -> RoundedLayer | None:
        """Return a layer that was kept, None where there is none.

        Raises :class:`~anneal.errors.InputError` for a damaged file.
        """
        file = self._file(name)
        if not self.holds(name):
            return None
        try:
            with safe_open(file, "np") as opened:
                document = json.loads(opened.metadata()["layer"])
                arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            grid = Grid(arrays["scale"], arrays["zero"], document["lowest"], document["highest"])
            given, posed = document.get("input"), document.get("posed")
            return RoundedLayer(
                levels=arrays["levels"].astype(np.int64),
                grid=grid,
                bias=arrays["bias"],
                quantiser=None if given is None else Quantiser(*given),
                posed=None if posed is None else Posed(*posed),
                **{figure: document[figure] for figure in FIGURES},
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a rounded layer: {error}", path=file) from error

    def finish(self, rounded: Traced) -> None:
        """Write the rounded network's weights."""
        state = rounded.module.state_dict()
        data = {name: tensor.contiguous().clone() for name, tensor in state.items()}
        write_bytes(self.path / NETWORK, safetensors.torch.save(data))

    def finished(self) -> dict[str, Tensor]:
        """Return the rounded network's weights.

        Raises :class:`~anneal.errors.InputError` where the run has not come to its end.
        """
        file = self.path / NETWORK
        if not file.exists():
            raise InputError("no such file: the run has not come to its end", path=file)
        try:
            return safetensors.torch.load(read_bytes(file))
        except SafetensorError as error:
            raise InputError(f"no weights that can be read: {error}", path=file) from error

    def _file(self, name: str) -> Path:
        return self.path / LAYERS / f"{name}.safetensors"


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those of tables in them beside, the table's name before theirs.

    >>> flat({"seed": 1, "rounding": {"bits": 4}})
    {'seed': 1, 'rounding bits': 4}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inside = isinstance(value, dict) and value
        found |= {f"{key} {name}": one for name, one in value.items()} if inside else {key: value}
    return found
