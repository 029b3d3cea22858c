"""Rounding a network layer by layer, each for inputs as the rounded layers before it make them.

Two streams go through the graph node by node for all images at once: that of the float network and
that of the rounded one. Where a layer comes, the moments of both of its inputs say what to solve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.fx.node import map_arg

from anneal.errors import InputError
from anneal.rounding.graphs import Traced
from anneal.rounding.inputs import weight_rows
from anneal.rounding.layers import RoundedLayer, RoundingOptions, quantise_layers, round_layer
from anneal.rounding.quantisers import Quantiser
from anneal.rounding.tracing import Layer

Progress = Callable[[float, str], None]


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
                found = round_layer(
                    layer,
                    inputs,
                    floats,
                    options,
                    given=ranges.get(name),
                    ends=traced.clip_after(name),
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
    quantise_layers(rounded, layers)
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
