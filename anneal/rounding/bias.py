"""What rounding does to the mean of an output, and the bias that takes it back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx import Node

from anneal.errors import InputError
from anneal.rounding.equalise import by_input, find_links
from anneal.rounding.graphs import Normal, Traced, shift_bias
from anneal.rounding.nodes import ClipChannels, called, clip, passage, shape


def clipped_mean(law: Normal, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Return E[clip(x, a, b)] of x ~ N(μ, σ²), for each channel; a and b may be infinite.

    a + σg((μ − a)/σ) − σg((μ − b)/σ) with g(z) = zΦ(z) + φ(z), the integral of Φ; for a = −∞ the
    first two terms are μ, for b = ∞ the last is 0. For ReLU, μΦ(μ/σ) + σφ(μ/σ) (Nagel et al. 2019,
    arXiv:1906.04721, appendix C).

    >>> round(clipped_mean(Normal(torch.tensor(0.0), torch.tensor(1.0)), 0, math.inf).item(), 4)
    0.3989
    """
    mean, deviation = (x.double() for x in law)
    low, high = (torch.as_tensor(end, dtype=torch.float64) for end in (low, high))
    deviation = deviation.clamp_min(1e-100)  # 0 is a number, whose clipping is the limit

    def above(end: Tensor) -> Tensor:
        z = (mean - end) / deviation
        density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        below: Tensor = torch.special.ndtr(z)
        return deviation * (z * below + density)

    raised = torch.where(low == -math.inf, mean, low + above(low))
    return raised - torch.where(high == math.inf, 0, above(high))


class Channels(NamedTuple):
    """What is known of the channels in dimension 1 of a value, each (channels,).

    ``mean`` is NaN where only the range from ``low`` to ``high`` is known; ``normal`` is their law
    where they have one.
    """

    mean: Tensor
    low: Tensor
    high: Tensor
    normal: Normal | None = None


Span = tuple[float, float]


def known_channels(
    traced: Traced, *, width: float = 6.0, image: Span | None = None
) -> dict[Node, Channels]:
    """Return what the statistics tell, without data, of the values in a network.

    A layer's outputs are N(β, γ²) in the range β ± 6γ, 6 being ``width``, which an activation clips
    (Nagel et al. 2019, §5). Of the network's inputs the range ``image`` may be known. Places of
    padding are not counted in means.
    """
    found: dict[Node, Channels] = {}
    for node in traced.module.graph.nodes:
        law = traced.statistics.get(str(node.target)) if node.op == "call_module" else None
        sources = [found.get(before) for before in node.all_input_nodes]
        after = None
        if law:
            reach = width * law.deviation
            after = Channels(law.mean, law.mean - reach, law.mean + reach, law)
        elif node.op == "placeholder" and image:
            unknown, low, high = (
                torch.full(shape(node)[1:2], end, dtype=torch.float64) for end in (math.nan, *image)
            )
            after = Channels(unknown, low, high)
        elif called(traced.module, node) in ("add", "iadd"):
            after = _sum(node, sources)
        elif sources and sources[0]:
            after = _after(traced, node, sources[0])
        if after:
            found[node] = after
    return found


def _sum(node: Node, sources: list[Channels | None]) -> Channels | None:
    """Return what is known of a sum of two values."""
    known = [source[:3] for source in sources if source]
    shapes = {shape(before) for before in node.all_input_nodes}
    if len(known) != 2 or node.kwargs or shapes != {shape(node)}:
        return None
    mean, low, high = (one + two for one, two in zip(*known, strict=True))
    return Channels(mean, low, high)


def _after(traced: Traced, node: Node, first: Channels) -> Channels | None:
    """Return what is known after a node, from what is known of its input."""
    ends = _ends(traced, node)
    if ends:
        low, high = first.low.clamp(*ends), first.high.clamp(*ends)
        free = (low == first.low) & (high == first.high)
        kept = torch.where(free, first.mean, math.nan)
        return Channels(clipped_mean(first.normal, *ends) if first.normal else kept, low, high)
    match passage(traced.module, node):
        case "copy":
            block = shape(node)[1] // len(first.mean)
            mean, low, high = (x.repeat_interleave(block) for x in first[:3])
            return Channels(mean, low, high)
        case "average":
            return Channels(*first[:3])
        case "padded":
            return Channels(first.mean, first.low.clamp(max=0), first.high.clamp(min=0))
        case "maximum":
            return Channels(first.mean * math.nan, first.low, first.high)
    return None


def _ends(traced: Traced, node: Node) -> tuple[Tensor, Tensor] | None:
    """Return the ends that a node clips to, of all channels or of each."""
    module = traced.module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, ClipChannels):
        return module.low.double().flatten(), module.high.double().flatten()
    ends = clip(traced.module, node)
    return ends and (torch.tensor(ends[0]).double(), torch.tensor(ends[1]).double())


def _inputs(traced: Traced, known: dict[Node, Channels]) -> dict[str, Channels]:
    """Return what is known of the inputs of each layer."""
    found = {}
    for node in traced.module.graph.nodes:
        if node.op == "call_module" and node.target in traced.layers:
            before = node.all_input_nodes[0]
            dims = 2 if isinstance(traced.layer(node.target), nn.Linear) else 4
            if before in known and len(shape(before)) == dims:
                found[str(node.target)] = known[before]
    return found


def expected_inputs(traced: Traced) -> dict[str, Tensor]:
    """Return E[x] of the inputs of each layer for which the statistics tell it, (inputs,).

    The first layer's inputs are images, of which nothing is known; nor of what follows a layer
    without normalisation, or a maximum.
    """
    means = {name: law.mean for name, law in _inputs(traced, known_channels(traced)).items()}
    return {name: mean for name, mean in means.items() if not mean.isnan().any()}


def input_ranges(
    traced: Traced, *, width: float = 6.0, image: Span | None = None
) -> dict[str, Span]:
    """Return the least and greatest input of each layer for which the statistics tell them.

    From β ± 6γ of all channels, 6 being ``width``, clipped by the activation; of layers that read
    the network's inputs from their range ``image``.
    """
    laws = _inputs(traced, known_channels(traced, width=width, image=image))
    return {name: (float(law.low.min()), float(law.high.max())) for name, law in laws.items()}


def absorb_biases(traced: Traced, *, width: float = 3.0, padded: bool = False) -> Traced:
    """Return the network with high biases moved into the layers after them.

    A channel that is nearly always positive gives c = max(0, β − 3|γ|), 3 being ``width``, to the
    next layer: b₁ ← b₁ − c, b₂ ← b₂ + W₂c, summed over the kernel (Nagel et al. 2019, §4.1).
    Where pre-activations stay above c, the function stays. ``padded``: also where zeros join the
    channels on the way, as published, which changes the function at the borders.
    """
    found = traced.copy()
    statistics = dict(found.statistics)
    for link in find_links(found):
        law = statistics.get(link.first)
        if law is None or link.clips or (link.padded and not padded):
            continue
        excess = (law.mean - width * law.deviation).clamp(min=0)
        statistics[link.first] = Normal(law.mean - excess, law.deviation)
        columns = by_input(found.layer(link.second), link.block).double().sum(3)
        shift_bias(found.layer(link.first), -excess)
        shift_bias(found.layer(link.second), _apply(columns, excess))
    return replace(found, statistics=statistics)


def _apply(columns: Tensor, inputs: Tensor) -> Tensor:
    """Return Wx, (groups × outputs,), of W, (groups, outputs, inputs) in each group."""
    return torch.einsum("goi,gi->go", columns, inputs.view(len(columns), -1)).flatten()


def correct_biases(traced: Traced, rounded: Traced) -> Traced:
    """Return the rounded network with b ← b − (Ŵ − W)E[x] where the statistics tell E[x].

    Summed over the kernel, as if there were no borders (Nagel et al. 2019, §4.2, appendix B). Which
    layers those are, :func:`expected_inputs` says. ``traced``: the network before rounding.
    """
    found = rounded.copy()
    for name, mean in expected_inputs(traced).items():
        before, after = (by_input(net.layer(name)).double().sum(3) for net in (traced, rounded))
        shift_bias(found.layer(name), -_apply(after - before, mean))
    return found


def correct_biases_from(traced: Traced, rounded: Traced, images: Tensor) -> Traced:
    """Return the rounded network with b ← b − E[Ŵx̃] + E[Wx] over images, layer by layer.

    x̃ are inputs from layers that are rounded and corrected already (Nagel et al. 2019, appendix D),
    so that afterwards the outputs of all layers have the means that they had. All images pass at
    once, each layer once. Raises :class:`~anneal.errors.InputError` for no images.
    """
    if not len(images):
        raise InputError("correcting biases needs at least one image")
    found = rounded.copy()
    wanted = _Means(traced)
    with torch.no_grad():
        wanted.run(images)
        _Means(found, wanted.means).run(images)
    return found


class _Means(fx.Interpreter):
    """Notes the mean of each layer's outputs, or shifts them to given ones."""

    def __init__(self, traced: Traced, wanted: dict[str, Tensor] | None = None) -> None:
        super().__init__(traced.module)
        self.traced = traced
        self.wanted = wanted
        self.means: dict[str, Tensor] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        outputs = super().call_module(target, args, kwargs)
        if target in self.traced.layers:
            channel = 1 if outputs.dim() == 4 else -1
            last = outputs.movedim(channel, -1)
            mean = last.flatten(0, -2).mean(0, dtype=torch.float64)
            self.means[target] = mean
            if self.wanted is not None:
                shift = self.wanted[target] - mean
                shift_bias(self.traced.layer(target), shift)
                last += shift
        return outputs
