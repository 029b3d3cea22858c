"""Rounding a network layer by layer, each for inputs as the rounded layers before it make them.

Two streams go through the graph node by node for all images at once: that of the float network and
that of the rounded one. Where a layer comes, the moments of both of its inputs say what to solve.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.fx.node import map_arg

from anneal.errors import InputError
from anneal.rounding import get_rounder
from anneal.rounding.bounds import Posed, judge_rows
from anneal.rounding.formulation import (
    RIDGES,
    Formulation,
    InputMoments,
    output_error,
)
from anneal.rounding.graphs import Traced
from anneal.rounding.grids import Floats, Grid, make_grid
from anneal.rounding.inputs import moments, weight_rows
from anneal.rounding.planes import babai
from anneal.rounding.quantisers import Quantiser, quantise_inputs, range_of
from anneal.rounding.tracing import Layer

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class RoundingOptions:
    """How to round a network.

    ``method``: a name in ``ROUNDERS``, with its ``parameters``. ``ridge``: a share of the mean
    diagonal, or ``held-out``, the best of five on half of the images for those of the other half.
    ``corners``: the two levels around each weight alone. ``activation_bits``: of each layer's
    input, one grid for all of it, over a range by ``minmax``, ``mse`` or ``percentile``.
    ``correct``: where the bias is no part of the problem (``centred``), let it make up for the mean
    of what rounding changes, before the next layer comes: b̂ = b + W E[x] − Ŵ E[x]. ``bounds``: also
    say below which cost no rounding of a layer can be.
    """

    bits: int = 4
    method: str = "lns"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    centred: bool = True
    asymmetric: bool = True
    correct: bool = False
    ridge: float | Literal["held-out"] = 0.01
    corners: bool = False
    symmetric: bool = True
    per_row: bool = True
    scale: str = "mse"
    activation_bits: int | None = None
    activation_range: str = "mse"
    bounds: bool = False
    seed: int = 0


class RoundedLayer(NamedTuple):
    """A layer's levels, grid and bias, the ridge that was taken, and what it was judged by.

    cost, nearest: E[(Ŵx + b̂ − Wf − b)²], without what nothing can change, summed over outputs; of
    the rounding and of the nearest levels with the bias that goes with them. up: share of weights
    at the upper of the two levels around them. posed: what the problem that was solved says.
    """

    levels: NDArray[np.int64]
    grid: Grid
    bias: Floats
    ridge: float
    cost: float
    nearest: float
    up: float
    seconds: float
    quantiser: Quantiser | None = None
    posed: Posed | None = None


class RoundedNetwork(NamedTuple):
    """The rounded network and what became of its layers, in order."""

    traced: Traced
    layers: dict[str, RoundedLayer]


def round_network(
    traced: Traced,
    images: Tensor,
    options: RoundingOptions,
    *,
    batch_size: int = 16,
    num_threads: int = 1,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    known: Callable[[str], RoundedLayer | None] = lambda name: None,
    keep: Callable[[str, RoundedLayer], None] = lambda name, layer: None,
    progress: Progress = lambda fraction, remark: None,
) -> RoundedNetwork:
    """Return a copy of a network whose layers are rounded for these images.

    images: (num, channels, height, width), as the network reads them. ``ranges``: of the inputs of
    layers, where they are not to be measured. ``known`` gives back layers that ``keep`` was given
    before, so that an interrupted run goes on. Raises :class:`~anneal.errors.InputError` for fewer
    than two images, and with the layer's name for inputs that are not finite.
    """
    if len(images) < 2:
        raise InputError(f"at least two images are needed for calibration, got {len(images)}")
    rounded = traced.copy()
    layers: dict[str, RoundedLayer] = {}
    work = {name: _work(traced.layer(name)) for name in traced.layers}
    done, hooks = 0.0, []
    for name, floats, inputs in _walk(traced, rounded, images.split(batch_size)):
        layer = rounded.layer(name)
        progress(done / sum(work.values()), name)
        found = known(name)
        if found is None:
            rng = np.random.default_rng([options.seed, len(layers)])
            try:
                found = _round_layer(
                    layer,
                    inputs,
                    floats,
                    options,
                    given=ranges.get(name),
                    rng=rng,
                    num_threads=num_threads,
                )
            except InputError as error:
                raise InputError(f"layer '{name}': {error}") from error
            keep(name, found)
        install(layer, found)
        if found.quantiser is not None:
            hooks.append(layer.register_forward_pre_hook(_reading(found.quantiser)))
        layers[name] = found
        done += work[name]
    for hook in hooks:
        hook.remove()
    quantisers = {name: one.quantiser for name, one in layers.items() if one.quantiser}
    quantise_inputs(rounded.module, quantisers)
    return RoundedNetwork(rounded, layers)


def _reading(quantiser: Quantiser) -> Callable[..., tuple[Tensor]]:
    """Return what has a layer read quantised inputs while others are still to be rounded."""
    return lambda layer, inputs: (quantiser(inputs[0]),)


def install(layer: Layer, found: RoundedLayer) -> None:
    """Write rounded weights and their bias into a layer."""
    weights = torch.from_numpy(found.grid.weights(found.levels)).to(layer.weight)
    with torch.no_grad():
        layer.weight.copy_(weights.view_as(layer.weight))
        assert layer.bias is not None
        layer.bias.copy_(torch.from_numpy(found.bias))


def _work(layer: Layer) -> float:
    """Return about how long a layer takes: what it multiplies for its moments and its factors."""
    out, fan_in = weight_rows(layer).shape
    return float(fan_in * fan_in * (out + fan_in) + 1e5)


def _walk(
    traced: Traced, rounded: Traced, batches: Sequence[Tensor]
) -> Iterator[tuple[str, list[Tensor], list[Tensor]]]:
    """Yield each layer with its inputs in the float network and in the rounded one, in order.

    A node runs once the caller has had its layer, so that what it writes there counts.
    """
    runs = Interpreter(traced.module), Interpreter(rounded.module)
    streams: tuple[dict[Node, list[Any]], ...] = ({}, {})
    nodes = [list(one.module.graph.nodes) for one in (traced, rounded)]
    last = [_last_uses(each) for each in nodes]
    for pair in zip(*nodes, strict=True):
        if pair[0].op == "output":
            return
        if str(pair[0].target) in traced.layers and pair[0].op == "call_module":
            floats, inputs = (
                stream[node.all_input_nodes[0]] for node, stream in zip(pair, streams, strict=True)
            )
            yield str(pair[0].target), floats, inputs
        for node, stream, run, used in zip(pair, streams, runs, last, strict=True):
            stream[node] = [
                _run(run, node, stream, index, batches) for index in range(len(batches))
            ]
            for idle in used.get(node, ()):
                del stream[idle]


def _run(
    run: Interpreter,
    node: Node,
    stream: dict[Node, list[Any]],
    index: int,
    batches: Sequence[Tensor],
) -> Any:
    """Run a node on one batch."""
    if node.op == "placeholder":
        return batches[index]
    args, kwargs = map_arg((node.args, dict(node.kwargs)), lambda used: stream[used][index])
    with torch.no_grad():
        return getattr(run, node.op)(node.target, args, kwargs)


def _last_uses(nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    """Return after which node each other is not needed any more."""
    last = {used: node for node in nodes for used in node.all_input_nodes}
    found: dict[Node, list[Node]] = {}
    for used, node in last.items():
        found.setdefault(node, []).append(used)
    return found


def _round_layer(
    layer: Layer,
    inputs: Sequence[Tensor],
    floats: Sequence[Tensor],
    options: RoundingOptions,
    *,
    given: tuple[float, float] | None,
    rng: np.random.Generator,
    num_threads: int,
) -> RoundedLayer:
    """Return a layer rounded for its inputs, which have a given range or one to be measured."""
    started = time.perf_counter()
    quantiser = None
    if options.activation_bits is not None:
        span = given or range_of(inputs, options.activation_bits, options.activation_range)
        quantiser = Quantiser.over(*span, options.activation_bits)
        inputs = [quantiser(batch) for batch in inputs]
    halves = _moments(layer, inputs, floats)
    total = halves[0] + halves[1] if halves[1] is not None else halves[0]
    weights = weight_rows(layer)
    importance = None
    if options.scale == "hessian":
        diagonal = np.einsum("gii->gi", total.second)
        importance = np.repeat(diagonal, len(weights) // len(diagonal), 0)
    grid = make_grid(
        weights,
        options.bits,
        symmetric=options.symmetric,
        per_row=options.per_row,
        method=options.scale,
        importance=importance,
        num_threads=num_threads,
    )
    assert layer.bias is not None
    bias = layer.bias.detach().double().numpy()
    ridge = options.ridge
    if ridge == "held-out":
        ridge = held_out_ridge(weights, bias, grid, halves, options, rng=rng)
    formulation = Formulation(options.centred, options.asymmetric, float(ridge))
    rows = formulation.rows(weights, total, grid, corners=options.corners)
    round_rows = get_rounder(options.method)
    levels = round_rows(rows, rng=rng, num_threads=num_threads, **options.parameters)
    new, plain = grid.weights(levels), grid.nearest(weights)
    if options.correct:
        formulation = replace(formulation, centred=True)
    new_bias = formulation.bias(weights, new, bias, total)
    plain_bias = formulation.bias(weights, plain, bias, total)
    cost = output_error(weights, new, bias, new_bias, total).sum()
    nearest = output_error(weights, plain, bias, plain_bias, total).sum()
    up = float(np.mean(levels > np.floor(grid.levels(weights))))
    seconds = time.perf_counter() - started
    beside = np.rint(grid.levels(plain)).astype(np.int64)
    posed = judge_rows(rows, levels, beside, bounds=options.bounds, num_threads=num_threads)
    return RoundedLayer(
        levels, grid, new_bias, float(ridge), float(cost), float(nearest), up, seconds, quantiser,
        posed,
    )  # fmt: skip


def _moments(
    layer: Layer, inputs: Sequence[Tensor], floats: Sequence[Tensor]
) -> tuple[InputMoments, InputMoments | None]:
    """Return the moments over every second batch and over the others."""
    halves: list[InputMoments | None] = [None, None]
    for index, (x, f) in enumerate(zip(inputs, floats, strict=True)):
        found, before = moments(layer, x, f), halves[index % 2]
        halves[index % 2] = found if before is None else before + found
    assert halves[0] is not None
    return halves[0], halves[1]


def held_out_ridge(
    weights: Floats,
    bias: Floats,
    grid: Grid,
    halves: tuple[InputMoments, InputMoments | None],
    options: RoundingOptions,
    *,
    rng: np.random.Generator,
) -> float:
    """Return the ridge whose rounding for either half of the images is best for the other half."""
    if halves[1] is None:
        raise InputError("a held-out ridge wants more images than one batch")
    errors = []
    for ridge in RIDGES:
        formulation = Formulation(options.centred, options.asymmetric, ridge)
        error = 0.0
        for here, there in (halves, halves[::-1]):
            assert here is not None and there is not None
            rows = formulation.rows(weights, here, grid, corners=options.corners)
            new = grid.weights(babai(rows, rng=rng))
            new_bias = formulation.bias(weights, new, bias, here)
            error += float(output_error(weights, new, bias, new_bias, there).sum())
        errors.append(error)
    return RIDGES[int(np.argmin(errors))]
