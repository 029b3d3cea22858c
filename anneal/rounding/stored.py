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

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes, write_text
from anneal.rounding.graphs import Traced
from anneal.rounding.grids import Grid
from anneal.rounding.quantisers import Quantiser
from anneal.rounding.sequential import RoundedLayer

SETTINGS, NETWORK, LAYERS = "settings.json", "network.safetensors", "layers"
FIGURES = ("ridge", "cost", "nearest", "up", "seconds")


class Folder:
    """The folder of a rounding; it belongs to one set of settings."""

    def __init__(self, path: Pathlike) -> None:
        self.path = Path(path)

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder, or with ``resume`` go on in it.

        Raises :class:`~anneal.errors.InputError` where it holds a run and is not to be gone on
        with, or one of other settings.
        """
        file = self.path / SETTINGS
        if file.exists():
            if not resume:
                raise InputError("holds a rounding; go on with --resume or name another", path=file)
            before = json.loads(read_bytes(file))
            wanted = json.loads(json.dumps(settings))
            changed = sorted(k for k in {*before, *wanted} if before.get(k) != wanted.get(k))
            if changed:
                raise InputError(f"another run, of other {', '.join(changed)}", path=file)
        (self.path / LAYERS).mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(settings, indent=2) + "\n")

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
        data = safetensors.numpy.save(arrays, {"layer": json.dumps(document)})
        write_bytes(self._file(name), data)

    def known(self, name: str) -> RoundedLayer | None:
        """Return a layer that was kept, None where there is none.

        Raises :class:`~anneal.errors.InputError` for a damaged file.
        """
        file = self._file(name)
        if not file.exists():
            return None
        try:
            with safe_open(file, "np") as opened:
                document = json.loads(opened.metadata()["layer"])
                arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            grid = Grid(arrays["scale"], arrays["zero"], document["lowest"], document["highest"])
            given = document.get("input")
            return RoundedLayer(
                levels=arrays["levels"].astype(np.int64),
                grid=grid,
                bias=arrays["bias"],
                quantiser=None if given is None else Quantiser(*given),
                **{figure: document[figure] for figure in FIGURES},
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a rounded layer: {error}", path=file) from error

    def finish(self, rounded: Traced) -> None:
        """Write the rounded network's weights."""
        data = safetensors.torch.save(
            {name: tensor.contiguous() for name, tensor in rounded.module.state_dict().items()}
        )
        write_bytes(self.path / NETWORK, data)

    def _file(self, name: str) -> Path:
        return self.path / LAYERS / f"{name}.safetensors"
