"""What one node of a traced network does to the channels that pass through it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node

COPIES = {"clone", "contiguous", "detach", "Flatten", "flatten", "reshape", "squeeze", "view"}
HOMOGENEOUS = {"LeakyReLU", "leaky_relu", "PReLU", "prelu"}
MAXIMA = {"AdaptiveMaxPool2d", "adaptive_max_pool2d", "MaxPool2d", "max_pool2d"}
AVERAGES = {"AdaptiveAvgPool2d", "adaptive_avg_pool2d", "AvgPool2d", "avg_pool2d"}
CLIPS = {"hardtanh": (-1.0, 1.0), "clamp": (-math.inf, math.inf), "clip": (-math.inf, math.inf)}


class ClipChannels(nn.Module):
    """A clip to [a, b] with ends of each channel's own: what ReLU6 is in other units."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.clamp(inputs, self.low, self.high)


def called(module: GraphModule, node: Node) -> str:
    """Return what a node calls: the class of a module, or the name of a torch function or method.

    Without the underscore of what works in place; empty where it is none of torch's.
    """
    if node.op == "call_module":
        kind = type(module.get_submodule(str(node.target)))
        return kind.__name__ if kind.__module__.startswith("torch.") else ""
    if node.op == "call_function" and not isinstance(node.target, str):
        name = node.target.__name__
        homes = (torch, F, operator)
        ours = any(getattr(home, name, None) is node.target for home in homes)
        return name.rstrip("_") if ours else ""
    return str(node.target).rstrip("_") if node.op == "call_method" else ""


def clip(module: GraphModule, node: Node) -> tuple[float, float] | None:
    """Return [a, b] where a node clips to it: ReLU is [0, ∞), ReLU6 [0, 6]; else None.

    >>> graph = torch.fx.symbolic_trace(lambda x: F.relu6(x).clamp(min=1))
    >>> [clip(graph, node) for node in graph.graph.nodes]
    [None, (0.0, 6.0), (1.0, inf), None]
    """
    name = called(module, node)
    if name in ("ReLU", "relu"):
        return 0.0, math.inf
    if name in ("ReLU6", "relu6"):
        return 0.0, 6.0
    if name == "Hardtanh":
        inside = module.get_submodule(str(node.target))
        return float(inside.min_val), float(inside.max_val)  # type: ignore[arg-type]
    if name not in CLIPS:
        return None
    ends = []
    for place, default in enumerate(CLIPS[name]):
        keys = (("min", "min_val"), ("max", "max_val"))[place]
        given = [node.kwargs[key] for key in keys if key in node.kwargs]
        end = next(iter([*node.args[place + 1 : place + 2], *given]), None)
        ends.append(default if end is None else end)
    low, high = ends
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    return float(low), float(high)


def shape(node: Node) -> tuple[int, ...]:
    """Return the shape of a node's value on the example; empty where it is no tensor."""
    return tuple(node.meta.get("shape", ()))


def readers(node: Node) -> list[Node]:
    """Return the nodes that read the numbers of a node, not its shape alone."""
    return [user for user in node.users if not _asks_shape(user)]


def _asks_shape(node: Node) -> bool:
    if node.op == "call_method":
        return node.target in ("size", "dim")
    return node.target is getattr and node.args[1] in ("shape", "ndim")


def passage(module: GraphModule, node: Node) -> str | None:
    """Return how a node passes on the channels of its first input, in dimension 1; else None.

    ``copy``: unchanged, or flattened, each channel a block of features. ``homogeneous``: each
    value alone, f(sx) = s·f(x) for s > 0. ``maximum`` and ``average``: over places of a channel.
    ``padded``: with places of zero beside, or averaged with such places.
    """
    if not node.all_input_nodes:
        return None
    name, before, after = called(module, node), shape(node.all_input_nodes[0]), shape(node)
    image = len(before) == 4 and before[:2] == after[:2]
    if name in HOMOGENEOUS:
        return "homogeneous"
    if name in COPIES:
        flat = len(before) == 4 and after == (before[0], math.prod(before[1:]))
        return "copy" if flat or before == after else None
    if not image:
        return None
    if name in MAXIMA:
        return "maximum"
    if name in AVERAGES:
        padding, divisor = _average_options(module, node)
        return None if divisor else "padded" if padding else "average"
    if name == "mean":
        return "average" if _dimensions(node) == {2, 3} else None
    zeros = name == "ZeroPad2d" or (name == "pad" and _pads_zeros(node))
    return "padded" if zeros else None


def _argument(node: Node, place: int, key: str, default: object) -> object:
    """Return an argument that is given by place or by name."""
    return node.kwargs.get(key, node.args[place] if len(node.args) > place else default)


def _average_options(module: GraphModule, node: Node) -> tuple[bool, bool]:
    """Return whether an average counts places of padding, and whether its divisor is its own."""
    padding: object = 0
    divisor: object = None
    if node.op == "call_module":
        inside = module.get_submodule(str(node.target))
        padding = getattr(inside, "padding", 0)
        divisor = getattr(inside, "divisor_override", None)
    elif called(module, node) == "avg_pool2d":
        padding = _argument(node, 3, "padding", 0)
        divisor = _argument(node, 6, "divisor_override", None)
    return bool(any(padding) if isinstance(padding, Sequence) else padding), bool(divisor)


def _dimensions(node: Node) -> set[object]:
    """Return the dimensions of four that a mean is over."""
    over = _argument(node, 1, "dim", ())
    over = over if isinstance(over, Sequence) else (over,)
    return {place % 4 if isinstance(place, int) else place for place in over}


def _pads_zeros(node: Node) -> bool:
    """Return whether ``F.pad`` adds zeros; that it pads places alone shows in its shape."""
    constant = _argument(node, 2, "mode", "constant") == "constant"
    return constant and not _argument(node, 3, "value", None)
