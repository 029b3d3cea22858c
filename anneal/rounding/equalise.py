"""Cross-layer equalisation: the same function, with weight ranges that few bits can hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Node

from anneal.rounding.graphs import Normal, Traced, scale_rows
from anneal.rounding.nodes import ClipChannels, clip, passage, readers, shape
from anneal.rounding.tracing import Layer

MAX_SWEEPS = 1000
TOLERANCE = 1e-6  # the greatest change of a scale in a sweep, relative
# What training leaves of a channel that died is not 0 but about 1e-8. To make up for it would blow
# up the channel's bias instead: twentyfold the largest activation of EfficientNet-lite0.
DEAD = 1e-6


class Link(NamedTuple):
    """A layer whose channels another layer alone reads, each as ``block`` of its inputs.

    ``padded``: zeros join the channels on the way, so that a shift is not a shift at the borders.
    ``clips``: nodes on the way that clip to ends which have the unit of the channel.
    """

    first: str
    second: str
    block: int
    padded: bool
    clips: tuple[Node, ...] = ()


def find_links(traced: Traced) -> list[Link]:
    """Return the links of a network, in the order in which their first layers run.

    Between the two are only functions f of a single channel with f(sx) = s·f(x) for s > 0: ReLU
    and its leaky forms, pooling, padding with zeros, flattening; and clips, for which that holds
    with ends that are scaled too. Whatever reads a value beside (an addition, a second branch, the
    output) ends the way.
    """
    nodes = {str(node.target): node for node in traced.module.graph.nodes}
    found = [_follow(traced, name, nodes[name]) for name in traced.layers]
    return [link for link in found if link]


def _follow(traced: Traced, name: str, node: Node) -> Link | None:
    """Walk from a layer to the one that reads it."""
    module, conv = traced.module, isinstance(traced.layer(name), nn.Conv2d)
    padded, clips = False, list[Node]()
    while len(readers(node)) == 1:
        before, node = node, readers(node)[0]
        if node.op == "call_module" and node.target in traced.layers:
            link = _link(traced, name, str(node.target), before)
            return link and link._replace(padded=link.padded or padded, clips=tuple(clips))
        ends = clip(module, node)
        if ends:
            clips += [node] if ends != (0, torch.inf) else []
            continue
        kind = passage(module, node)
        # The features of a Linear lie in the last dimension, which nothing but itself may touch.
        alone = kind in ("copy", "homogeneous") and shape(before) == shape(node)
        if kind is None or not (conv or alone):
            return None
        padded |= kind == "padded"
    return None


def _link(traced: Traced, first: str, second: str, between: Node) -> Link | None:
    """Return the link, if the second layer reads its inputs where the first left its channels."""
    one, two = traced.layer(first), traced.layer(second)
    if isinstance(two, nn.Conv2d):
        padded = any(map(bool, two.padding))
        return Link(first, second, 1, padded) if isinstance(one, nn.Conv2d) else None
    if isinstance(one, nn.Conv2d) and len(shape(between)) != 2:
        return None
    return Link(first, second, two.in_features // len(one.weight), False)


def by_input(layer: Layer, block: int = 1) -> Tensor:
    """Return a view of the weights as (groups, outputs, inputs, kernel) in each group.

    ``block``: so many features of a Linear count as one input with a kernel.
    """
    if isinstance(layer, nn.Linear):
        return layer.weight.view(1, layer.out_features, -1, block)
    groups = layer.groups
    return layer.weight.view(groups, len(layer.weight) // groups, layer.in_channels // groups, -1)


def equalise(traced: Traced, *, scale_clips: bool = False) -> Traced:
    """Return the network with equal weight ranges on both sides of each link; its function stays.

    A channel's range r is its largest ``|w|``. Of two layers, s = √(r₁r₂)/r₂, W₁ ← W₁/s,
    b₁ ← b₁/s, W₂ ← W₂s makes both ranges √(r₁r₂) (Nagel et al. 2019, arXiv:1906.04721, §4.1);
    of k layers, those between depthwise, all become t = (r₁…r_k)^(1/k) by :func:`chain_scales`.
    Over all links until nothing changes. β and γ of the statistics are divided too. A channel
    without weights somewhere on the way stays as it is.

    ReLU6 ends a link; with ``scale_clips`` it becomes a clip of each channel to [0, 6/s] instead,
    so that the link is equalised and the function stays.

    >>> from anneal.rounding.graphs import trace
    >>> net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> _ = [nn.init.constant_(layer.weight, w) for layer, w in ((net[0], 8), (net[2], 2))]
    >>> found = equalise(trace(net, torch.zeros(1, 2)))
    >>> [found.layer(name).weight.tolist() for name in found.layers]
    [[[4.0, 4.0]], [[4.0]]]
    """
    found = traced.copy()
    links = [link for link in find_links(found) if scale_clips or not link.clips]
    scales = _balance(found, links)
    statistics = dict(found.statistics)
    for link in links:
        scale = scales[link.first]
        scale_rows(found.layer(link.first), 1 / scale)
        columns = by_input(found.layer(link.second), link.block)
        columns.copy_(columns.double() * scale.view(len(columns), 1, -1, 1))
        _scale_clips(found, link, scale)
        if link.first in statistics:
            statistics[link.first] = Normal(*(x / scale for x in statistics[link.first]))
    found.module.delete_all_unused_submodules()
    found.module.recompile()
    return replace(found, statistics=statistics)


def _scale_clips(traced: Traced, link: Link, scale: Tensor) -> None:
    """Divide the ends of a link's clips by the scale of each channel, or of its features."""
    first = traced.layer(link.first)
    for node in link.clips:
        ends = clip(traced.module, node)
        assert ends is not None
        image = isinstance(first, nn.Conv2d) and len(shape(node)) == 4
        units = scale.repeat_interleave(shape(node)[1 if image else -1] // len(scale))
        units = units.view(-1, 1, 1) if image else units
        low, high = ((end / units).to(first.weight.dtype) for end in ends)
        name = f"{node.name}_channels"
        traced.module.add_submodule(name, ClipChannels(low, high))
        node.args, node.kwargs = (node.all_input_nodes[0],), {}
        node.op, node.target = "call_module", name


def _chains(traced: Traced, links: list[Link]) -> Iterator[list[Link]]:
    """Yield the links, those that meet in a depthwise layer together."""
    after = {link.first: link for link in links}
    inner = {link.second for link in links if _depthwise(traced.layer(link.second))}
    for link in links:
        if link.first in inner:
            continue
        chain = [link]
        while chain[-1].second in inner and chain[-1].second in after:
            chain.append(after[chain[-1].second])
        yield chain


def _depthwise(layer: Layer) -> bool:
    """Return whether each channel is convolved alone, to one channel."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels


def _balance(traced: Traced, links: list[Link]) -> dict[str, Tensor]:
    """Return s of each link's channels, by the name of its first layer."""
    blocks = {link.second: link.block for link in links}
    sizes = {
        name: by_input(traced.layer(name), blocks.get(name, 1)).double().abs()
        for name in traced.layers
    }
    scales = {link.first: traced.layer(link.first).weight.new_ones(()).double() for link in links}
    for _ in range(MAX_SWEEPS):
        change = 0.0
        for chain in _chains(traced, links):
            ranges = [sizes[link.first].amax((2, 3)).flatten() for link in chain]
            factors = chain_scales(
                torch.stack([*ranges, sizes[chain[-1].second].amax((1, 3)).flatten()])
            )
            for link, factor in zip(chain, factors, strict=True):
                scales[link.first] = scales[link.first] * factor
                rows, columns = sizes[link.first], sizes[link.second]
                rows /= factor.view(len(rows), -1, 1, 1)
                columns *= factor.view(len(columns), 1, -1, 1)
            change = max(change, float(factors.log().abs().max()))
        if change < TOLERANCE:
            break
    return scales


def chain_scales(ranges: Tensor) -> Tensor:
    """Return s_j = r₁…r_j/tʲ, t = (r₁…r_k)^(1/k), (k − 1, channels), of ranges, (k, channels).

    s_j divides the outputs of layer j, whose range becomes r_j·s_{j−1}/s_j = t. For two layers it
    is √(r₁r₂)/r₂, optimal (Nagel et al. 2019, appendix A). Where a range is 0 beside the largest, s
    is 1.

    >>> chain_scales(torch.tensor([[8.0, 1], [1, 1], [1, 0]])).tolist()
    [[4.0, 1.0], [2.0, 1.0]]
    """
    live = (ranges > DEAD * ranges.amax(1, keepdim=True)).all(0)
    logs = torch.where(live, ranges, 1).log()
    return (logs - logs.mean(0)).cumsum(0)[:-1].exp()
