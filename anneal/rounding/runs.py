"""What ``qbnn round`` does: a network and a folder of images in, a rounded network out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike, write_text
from anneal.records import canonical_json, machine, peak_memory, versions
from anneal.registry import unknown
from anneal.rounding import keywords
from anneal.rounding.bias import (
    Span,
    absorb_biases,
    correct_biases,
    correct_biases_from,
    input_ranges,
)
from anneal.rounding.datafree import check_blind, round_blind
from anneal.rounding.equalise import equalise
from anneal.rounding.graphs import Traced, bias_of, trace
from anneal.rounding.images import Images, Labels, Preprocessing, read_images, split
from anneal.rounding.judge import Compared, Judged, compare_runtime, judge
from anneal.rounding.layers import RoundedLayer, RoundingOptions, quantise_layers
from anneal.rounding.onnx_files import write_qdq
from anneal.rounding.report import gap, rounded_up
from anneal.rounding.sequential import Progress, RoundedNetwork, round_network
from anneal.rounding.sources import load_network
from anneal.rounding.stored import Folder

RESULT, ONNX = "result.json", "network.onnx"
CONTENTS = "contents"  # in settings: what the files held that the run was begun with
KEPT = " (kept)"  # how progress tells of a layer that is not rounded again
Correction = Literal["none", "analytic", "empirical"]
NUM_COMPARED = 16  # images on which the ONNX file is compared with torch


@dataclass(frozen=True)
class RunOptions:
    """A network, its images and how to round.

    ``num_calibration`` of at most ``limit`` images are drawn by ``seed`` to calibrate with; what is
    reported is of the others. Without any, nothing but the network is looked at. ``size``,
    ``channels``, ``mean``, ``std``, ``crop``: of the images, where they are not the network's own.

    Before rounding, layers are equalised by ``equalise`` and high biases absorbed by ``absorb``.
    ``ranges``: of activations, ``measured`` or of ``statistics``. ``correction``: of the biases
    after it, where they are not chosen with the levels (``rounding.centred``).
    """

    network: str
    images: str | None = None
    weights: str | None = None
    labels: Labels = "none"
    size: int | None = None
    channels: int | None = None
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    crop: float | None = None
    num_calibration: int = 192
    limit: int = 1000
    equalise: bool = False
    absorb: bool = False
    ranges: Literal["measured", "statistics"] = "measured"
    correction: Correction = "none"
    seed: int = 0
    rounding: RoundingOptions = field(default_factory=RoundingOptions)

    @property
    def is_blind(self) -> bool:
        """Whether no image is looked at before the network is rounded."""
        return self.images is None or self.num_calibration == 0

    def check(self) -> None:
        """Raise :class:`~anneal.errors.InputError` for what does not go together."""
        method, names = self.rounding.method, keywords(self.rounding.method)
        for key in self.rounding.parameters:
            if key not in names:
                raise unknown(key, names, kind=f"keyword of {method}")
        if self.rounding.centred and (self.correction != "none" or self.rounding.correct):
            raise InputError("the best biases leave nothing to correct")
        if self.is_blind:
            check_blind(self.rounding)
            if self.correction == "empirical":
                raise InputError("an empirical correction of biases needs images to calibrate with")


def round_run(
    options: RunOptions,
    out: Pathlike,
    *,
    resume: bool = False,
    progress: Progress = lambda fraction, remark: None,
) -> dict[str, Any]:
    """Round a network into a folder; return what came of it, as written to ``result.json``.

    Layers that the folder holds are not rounded again with ``resume``. Threads are torch's. Raises
    :class:`~anneal.errors.InputError` for what cannot be read and a folder of another run.
    """
    options.check()
    settings, folder = dataclasses.asdict(options), Folder(out)
    folder.check(settings, resume=resume)
    traced, preprocessing = read_network(options)
    calibration, held_out = _images(options, preprocessing, progress)
    pixels = None if calibration is None else calibration.pixels
    folder.begin(settings | {CONTENTS: _digests(traced, pixels)}, resume=resume)
    prepared = prepare(traced, equalised=options.equalise, absorbed=options.absorb)
    blind = options.is_blind or options.ranges == "statistics"
    found = round_prepared(
        prepared,
        pixels,
        options.rounding,
        correction=options.correction,
        ranges=input_ranges(prepared, image=preprocessing.span()) if blind else {},
        num_threads=torch.get_num_threads(),
        known=folder.known,
        keep=folder.keep,
        # Without images layers are rounded again: that is as quick as reading them.
        progress=lambda done, name: progress(
            done, name + KEPT * (pixels is not None and folder.holds(name))
        ),
    )
    folder.finish(found.traced)
    progress(1.0, "comparing")
    judged: dict[str, Any] = dict.fromkeys(Judged._fields)
    example = preprocessing.example()
    if held_out is not None:
        example = held_out.pixels[:NUM_COMPARED]
        after = found.traced.module
        judged = judge(traced.module, after, held_out.pixels, held_out.labels)._asdict()
    result = {
        **judged,
        "num_calibration": 0 if calibration is None else len(calibration.files),
        "bits": options.rounding.bits,
        "activation_bits": options.rounding.activation_bits,
        "method": options.rounding.method,
        "bias": _biases(options),
        "equalised": options.equalise,
        "seconds": sum(layer.seconds for layer in found.layers.values()),
        "peak_memory": peak_memory(),
        "onnx": export(found, Path(out) / ONNX, example=example),
        "in_float": traced.unsupported,
        "rounded_up": rounded_up(prepared, found.layers)._asdict(),
        "layers": layer_rows(found.layers),
        "versions": versions(),
        "machine": machine(),
    }
    write_text(Path(out) / RESULT, canonical_json(result) + "\n")
    return result


def _digests(traced: Traced, pixels: Tensor | None) -> dict[str, str | None]:
    """Return digests of the network's weights and of the images to calibrate with."""
    state = traced.module.state_dict()
    return {
        "of network": digest(state[name] for name in sorted(state)),
        "of images": None if pixels is None else digest([pixels]),
    }


def digest(tensors: Iterable[Tensor]) -> str:
    """Return SHA-256 of tensors' shapes and bytes.

    >>> digest([torch.zeros(2)]) == digest([torch.zeros(1, 2)])
    False
    """
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def _biases(options: RunOptions) -> str:
    """Return how the biases of a run are chosen, as the command has it."""
    if options.rounding.centred:
        return "optimal"
    return "sequential" if options.rounding.correct else options.correction


def read_network(options: RunOptions) -> tuple[Traced, Preprocessing]:
    """Return the network of a run in normal form, and how images become its input.

    Raises :class:`~anneal.errors.InputError` for what cannot be read, and for a network without a
    layer that can be rounded.
    """
    source = load_network(options.network, weights=options.weights, size=options.size)
    own = {name: getattr(options, name) for name in Preprocessing._fields}
    given = {name: value for name, value in own.items() if value is not None}
    preprocessing = source.preprocessing._replace(**given)
    preprocessing.check()
    traced = trace(source.network, preprocessing.example())
    if not traced.layers:
        why = "; ".join(f"{name}: {reason}" for name, reason in traced.unsupported.items())
        raise InputError(f"the network has no layer to round{why and f' ({why})'}")
    return traced, preprocessing


def prepare(traced: Traced, *, equalised: bool, absorbed: bool) -> Traced:
    """Return the network as it is rounded: equalised, with high biases absorbed, as is asked."""
    found = equalise(traced, scale_clips=True) if equalised else traced
    return absorb_biases(found) if absorbed else found


def _images(
    options: RunOptions, preprocessing: Preprocessing, progress: Progress
) -> tuple[Images | None, Images | None]:
    """Return the images to calibrate with and those to judge by, None where there are none."""
    if options.images is None:
        return None, None
    images = read_images(
        options.images,
        preprocessing,
        labels=options.labels,
        limit=options.limit,
        progress=lambda fraction, remark: progress(0.0, remark),
    )
    if options.is_blind:
        return None, images
    return split(images, options.num_calibration, seed=options.seed)


def round_prepared(
    traced: Traced,
    pixels: Tensor | None,
    rounding: RoundingOptions,
    *,
    correction: Correction = "none",
    ranges: Mapping[str, Span],
    num_threads: int = 1,
    known: Callable[[str], RoundedLayer | None] = lambda name: None,
    keep: Callable[[str, RoundedLayer], None] = lambda name, layer: None,
    progress: Progress = lambda fraction, remark: None,
) -> RoundedNetwork:
    """Return a network rounded for images, or without any, and its biases corrected.

    The other arguments are those of :func:`~anneal.rounding.sequential.round_network`.
    """
    if pixels is None:
        found = round_blind(traced, rounding, ranges=ranges, keep=keep, progress=progress)
    else:
        found = round_network(
            traced,
            pixels,
            rounding,
            num_threads=num_threads,
            ranges=ranges,
            known=known,
            keep=keep,
            progress=progress,
        )
    if correction == "none":
        return found
    progress(1.0, "correcting biases")
    if correction == "analytic":
        return _with_biases(found, correct_biases(traced, found.traced))
    assert pixels is not None
    return _with_biases(found, correct_biases_from(traced, found.traced, pixels))


def _with_biases(found: RoundedNetwork, corrected: Traced) -> RoundedNetwork:
    """Return the network with its biases corrected, in its layers too."""
    layers = {
        name: layer._replace(bias=bias_of(corrected.layer(name)).double().numpy())
        for name, layer in found.layers.items()
    }
    return RoundedNetwork(corrected, layers)


def export(found: RoundedNetwork, path: Path, *, example: Tensor) -> dict[str, Any]:
    """Write the ONNX file; return its name and how far it is from torch, or why there is none."""
    document: dict[str, Any] = dict.fromkeys(("file", *Compared._fields, "reason"))
    try:
        write_qdq(found, path, example=example[:1])
        document["file"] = path.name
        compared = compare_runtime(path, found.traced.module, example)
        document |= compared._asdict() if compared else {}
    except InputError as error:
        document["reason"] = error.reason
    return document


def layer_rows(layers: Mapping[str, RoundedLayer]) -> list[dict[str, Any]]:
    """Return a row of figures for each layer."""
    rows = [
        {
            "layer": name,
            "rows": layer.levels.shape[0],
            "fan_in": layer.levels.shape[1],
            "ridge": layer.ridge,
            "cost": layer.posed and layer.posed.cost,
            "nearest": layer.posed and layer.posed.nearest,
            "bound": layer.posed and layer.posed.bound,
            "saved": layer.nearest - layer.cost,
            "up": layer.up,
            "seconds": layer.seconds,
        }
        for name, layer in layers.items()
    ]
    return [{**row, "gap": gap(row)} for row in rows]


def load_run(path: Pathlike) -> RoundedNetwork:
    """Return the rounded network of a finished run.

    What the run began with, the network and its weights, is read anew. Raises
    :class:`~anneal.errors.InputError` for a folder without a run that has come to its end.
    """
    folder = Folder(path)
    state, options = folder.finished(), _options(folder.settings())
    network = read_network(options)[0]
    found = prepare(network, equalised=options.equalise, absorbed=options.absorb).copy()
    layers = {name: layer for name in found.layers if (layer := folder.known(name)) is not None}
    quantise_layers(found, layers)
    try:
        found.module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError("the network is not the one that was rounded", path=path) from error
    return _with_biases(RoundedNetwork(found, layers), found)


def _options(settings: Mapping[str, Any]) -> RunOptions:
    """Return options as :meth:`Folder.settings` gives them."""
    own = {name: value for name, value in settings.items() if name != CONTENTS}
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}
    return RunOptions(**given | {"rounding": RoundingOptions(**settings["rounding"])})
