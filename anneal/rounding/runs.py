"""What ``qbnn round`` does: a network and a folder of images in, a rounded network out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anneal.files import Pathlike, write_text
from anneal.records import canonical_json
from anneal.rounding.graphs import trace
from anneal.rounding.images import Labels, read_images, split
from anneal.rounding.judge import judge
from anneal.rounding.sequential import RoundedLayer, RoundingOptions, round_network
from anneal.rounding.sources import load_network
from anneal.rounding.stored import Folder

RESULT = "result.json"


@dataclass(frozen=True)
class RunOptions:
    """A network, its images and how to round.

    ``num_calibration`` images are drawn by ``seed`` to calibrate with; what is reported is of the
    others. ``size``: of the images, if not the network's own. ``replace_relu6``: take ReLU for it.
    """

    network: str
    images: str
    weights: str | None = None
    labels: Labels = "none"
    size: int | None = None
    num_calibration: int = 192
    limit: int | None = None
    replace_relu6: bool = False
    seed: int = 0
    rounding: RoundingOptions = field(default_factory=RoundingOptions)


def round_run(
    options: RunOptions,
    out: Pathlike,
    *,
    resume: bool = False,
    progress: Callable[[float, str], None] = lambda fraction, remark: None,
) -> dict[str, Any]:
    """Round a network into a folder; return what came of it, as written to ``result.json``.

    Layers that the folder holds are not rounded again with ``resume``. Threads are torch's. Raises
    :class:`~anneal.errors.InputError` for what cannot be read and a folder of another run.
    """
    source = load_network(options.network, weights=options.weights)
    preprocessing = source.preprocessing
    if options.size is not None:
        preprocessing = preprocessing._replace(size=options.size)
    images = read_images(options.images, preprocessing, labels=options.labels, limit=options.limit)
    calibration, held_out = split(images, options.num_calibration, seed=options.seed)
    example = images.pixels[:1]
    traced = trace(source.network, example, replace_relu6=options.replace_relu6)
    folder = Folder(out)
    folder.begin(dataclasses.asdict(options), resume=resume)
    found = round_network(
        traced,
        calibration.pixels,
        options.rounding,
        num_threads=torch.get_num_threads(),
        known=folder.known,
        keep=folder.keep,
        progress=progress,
    )
    folder.finish(found.traced)
    judged = judge(traced.module, found.traced.module, held_out.pixels, held_out.labels)
    result = {
        **judged._asdict(),
        "num_calibration": len(calibration.files),
        "bits": options.rounding.bits,
        "method": options.rounding.method,
        "seconds": sum(layer.seconds for layer in found.layers.values()),
        "in_float": traced.unsupported,
        "layers": layer_rows(found.layers),
    }
    write_text(Path(out) / RESULT, canonical_json(result) + "\n")
    return result


def layer_rows(layers: Mapping[str, RoundedLayer]) -> list[dict[str, Any]]:
    """Return a row of figures for each layer."""
    return [
        {
            "layer": name,
            "rows": layer.levels.shape[0],
            "fan_in": layer.levels.shape[1],
            "ridge": layer.ridge,
            "saved": layer.nearest - layer.cost,
            "up": layer.up,
            "seconds": layer.seconds,
        }
        for name, layer in layers.items()
    ]
