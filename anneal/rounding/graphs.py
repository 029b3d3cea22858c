"""Networks as torch.fx graphs in one normal form: what can be rounded, and what is known of it."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm

from anneal.errors import InputError
from anneal.rounding.nodes import clip, readers, shape
from anneal.rounding.onnx_kept import KeptOperator
from anneal.rounding.tracing import Layer, record, stored_tensor


class Normal(NamedTuple):
    """Mean and standard deviation of each channel, (channels,) in double precision."""

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True, eq=False)
class Traced:
    """A network in normal form.

    ``layers``: the names of those that can be rounded, in the order in which they run; each is an
    ``nn.Conv2d`` padded with zeros or an ``nn.Linear``, has a bias and runs once. ``unsupported``:
    what else has weights or is none of torch's, and why it stays in float. ``statistics``: of the
    outputs of folded layers (and of normalisations that could not be folded), mean β and deviation
    ``|γ|``. ``replaced_relu6``: nodes that were ReLU6 and are ReLU.
    """

    module: GraphModule
    layers: tuple[str, ...]
    unsupported: dict[str, str]
    statistics: dict[str, Normal]
    replaced_relu6: tuple[str, ...] = ()

    def layer(self, name: str) -> Layer:
        """Return the module of a layer."""
        found = self.module.get_submodule(name)
        assert isinstance(found, Layer)
        return found

    def clip_after(self, name: str) -> tuple[float, float] | None:
        """Return the ends between which what reads a layer passes its outputs on, if it clips."""
        (node,) = (node for node in self.module.graph.nodes if node.target == name)
        after = readers(node)
        return clip(self.module, after[0]) if len(after) == 1 else None

    def copy(self) -> Traced:
        """Return a copy that shares no tensor; pickled, the graph would lose its shapes."""
        return copy.deepcopy(self)


def trace(model: nn.Module, example: Tensor, *, replace_relu6: bool = False) -> Traced:
    """Return a copy of a network in normal form, for evaluation; the model stays as it is.

    Convolutions and linear maps by function become modules named after their weights' owner; what
    does nothing in evaluation goes; every batch normalisation is folded into the layer before it
    (Nagel et al. 2019, arXiv:1906.04721, §5): W ← Wγ/σ, b ← (b − μ)γ/σ + β. ``example``: a
    batch of one or more inputs, of which the shape alone matters. ``replace_relu6``: take ReLU for
    ReLU6, a change of the function where activations exceed 6 (ibid., §5.1).

    Raises :class:`~anneal.errors.InputError` for numbers that are not finite, for a network that
    torch.fx cannot trace, with the place, and for one that does not run on the example.

    >>> found = trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), torch.zeros(1, 1, 3, 3))
    >>> found.layers, found.statistics["0"].mean.tolist(), found.unsupported
    (('0',), [0.0, 0.0], {})
    """
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and not tensor.isfinite().all():
            raise InputError(f"'{name}' of the network holds NaN or infinity")
    module = record(model, example)
    layers, _ = _survey(module)
    for name in layers:
        _complete(module.get_submodule(name))
    statistics = _fold(module, layers)
    replaced = _replace_relu6(module) if replace_relu6 else ()
    module.graph.lint()
    module.delete_all_unused_submodules()
    module.recompile()
    return Traced(module, tuple(layers), _survey(module)[1], statistics, replaced)


def _survey(module: GraphModule) -> tuple[list[str], dict[str, str]]:
    """Return the layers that can be rounded, in order, and why others with weights cannot."""
    weights = {node: _weights(module, node) for node in module.graph.nodes}
    uses = Counter(tensor.data_ptr() for found in weights.values() for tensor in found)
    layers, reasons = [], {}
    for node, found in weights.items():
        kept = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(kept, KeptOperator):
            reasons[node.target] = kept.reason
        if not found:
            continue
        num_uses = max(uses[tensor.data_ptr()] for tensor in found)
        reason = _obstacle(module, node, num_uses)
        if reason:
            reasons[str(node.target)] = reason
        else:
            layers.append(str(node.target))
    return layers, reasons


def _weights(module: GraphModule, node: Node) -> list[Tensor]:
    """Return the parameters that a node reads itself."""
    if node.op == "call_module":
        inside = module.get_submodule(str(node.target))
        return list(inside.parameters(recurse=type(inside) not in (nn.Conv2d, nn.Linear)))
    found = stored_tensor(module, node) if node.op == "get_attr" else None
    return [found] if isinstance(found, nn.Parameter) else []


def _obstacle(module: GraphModule, node: Node, num_uses: int) -> str:
    """Return why the weights of a node cannot be rounded; empty where they can."""
    if node.op == "get_attr":
        return "a parameter outside of a layer"
    layer = module.get_submodule(str(node.target))
    if isinstance(layer, _BatchNorm):
        return "a normalisation without a layer before it that it can be folded into"
    if type(layer) not in (nn.Conv2d, nn.Linear):
        return f"{type(layer).__name__} is neither Conv2d nor Linear"
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return f"padding mode '{layer.padding_mode}', not 'zeros'"
    if (
        isinstance(layer, nn.Conv2d)
        and layer.padding == "same"
        and any(r % 2 for r in _reach(layer))
    ):
        return "padding 'same' of an even kernel is not the same on both sides"
    return f"its weights are used in {num_uses} places" if num_uses > 1 else ""


def _complete(layer: nn.Module) -> None:
    """Give a layer a bias, contiguous weights, and numbers where its padding is a word."""
    assert isinstance(layer, Layer)
    layer.weight = nn.Parameter(layer.weight.contiguous(), False)
    if layer.bias is None:
        layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)), False)
    if isinstance(layer, nn.Conv2d) and layer.padding == "valid":
        layer.padding = (0, 0)
    elif isinstance(layer, nn.Conv2d) and layer.padding == "same":
        height, width = _reach(layer)
        layer.padding = (height // 2, width // 2)


def _reach(layer: nn.Conv2d) -> list[int]:
    """Return how far a kernel reaches beyond one place, in height and width."""
    return [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]


def _fold(module: GraphModule, layers: list[str]) -> dict[str, Normal]:
    """Fold normalisations into the layers before them; return what they tell of their outputs."""
    statistics = {}
    for node in list(module.graph.nodes):
        norm = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        assert norm.running_var is not None
        mean, deviation = norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt()
        gamma = norm.weight.double() if norm.affine else torch.ones_like(mean)
        beta = norm.bias.double() if norm.affine else torch.zeros_like(mean)
        before = node.all_input_nodes[0]
        folds = _folds(module, before, layers)
        statistics[str(before.target if folds else node.target)] = Normal(beta, gamma.abs())
        if folds:
            layer = module.get_submodule(str(before.target))
            assert isinstance(layer, Layer)
            scale_rows(layer, gamma / deviation)
            shift_bias(layer, beta - mean * gamma / deviation)
            node.replace_all_uses_with(before)
            module.graph.erase_node(node)
    return statistics


def _folds(module: GraphModule, node: Node, layers: list[str]) -> bool:
    """Return whether the channels of a layer are what the normalisation after it normalises."""
    if node.op != "call_module" or node.target not in layers or len(readers(node)) > 1:
        return False
    # A Linear's features lie in the last dimension, what is normalised in the second.
    conv = isinstance(module.get_submodule(str(node.target)), nn.Conv2d)
    return len(shape(node)) == (4 if conv else 2)


def bias_of(layer: Layer) -> Tensor:
    """Return the bias of a layer, which has one in normal form."""
    assert layer.bias is not None
    return layer.bias


def scale_rows(layer: Layer, factor: Tensor) -> None:
    """Multiply each output channel of a layer by its factor, in place."""
    rows = factor.reshape(-1, *[1] * (layer.weight.dim() - 1))
    layer.weight.copy_(layer.weight.double() * rows)
    bias_of(layer).copy_(bias_of(layer).double() * factor)


def shift_bias(layer: Layer, shift: Tensor) -> None:
    """Add to the bias of a layer, in place."""
    bias_of(layer).copy_(bias_of(layer).double() + shift)


def _replace_relu6(module: GraphModule) -> tuple[str, ...]:
    """Turn ReLU6 into ReLU; return the names of the nodes."""
    found = [node for node in module.graph.nodes if clip(module, node) == (0, 6)]
    for node in found:
        node.args, node.kwargs = (node.all_input_nodes[0],), {}
        node.op, node.target = "call_function", torch.relu
    return tuple(node.name for node in found)
