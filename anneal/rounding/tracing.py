"""A torch module as a torch.fx graph of modules: traced, named, with the shapes of an example."""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm

from anneal.errors import InputError, first_line
from anneal.rounding.onnx_kept import KeptOperator

Layer = nn.Conv2d | nn.Linear
Kind = TypeVar("Kind", nn.Conv2d, nn.Linear)
Dropout = nn.modules.dropout._DropoutNd


class _Tracer(fx.Tracer):
    """A tracer for networks of one input that remembers the module in which it failed."""

    failed_in = ""

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        # Other arguments keep their defaults, so that what depends on them is settled.
        return root_fn, [self.root, self.create_proxy("placeholder", "input", (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        plain = isinstance(m, _BatchNorm) and type(m).forward is _BatchNorm.forward
        plain = plain or isinstance(m, KeptOperator)
        return plain or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or self.path_of_module(m)
            raise


def record(model: nn.Module, example: Tensor) -> GraphModule:
    """Return a copy of a model as a graph, in evaluation mode, without gradients.

    Raises :class:`~anneal.errors.InputError` where it cannot be traced, or does not run.
    """
    module = _trace(model).eval().requires_grad_(False)
    _name_functions(module)
    _drop_idle(module)
    try:
        with torch.no_grad():
            _Shapes(module).run(example)
    except Exception as error:
        given = tuple(example.shape)
        reason = f"the network does not run on an input of shape {given}: {first_line(error)}"
        raise InputError(reason) from error
    return module


def _trace(model: nn.Module) -> GraphModule:
    """Trace a copy of a model; whatever its code raises becomes one line with the place."""
    tracer = _Tracer()
    try:
        graph = tracer.trace(copy.deepcopy(model).eval())
    except Exception as error:
        inside = Path(torch.__file__).parent
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if inside not in Path(f.filename).parents]
        own = [f for f in own if f.filename != __file__]
        where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        name = tracer.failed_in or type(model).__name__
        raise InputError(f"torch.fx cannot trace '{name}'{where}: {first_line(error)}") from error
    return GraphModule(tracer.root, graph, type(model).__name__)


def _conv2d(
    input: Node,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """Return the module of a call of ``F.conv2d``."""
    out, fan_in, *kernel = weight.shape
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    options |= {"kernel_size": tuple(kernel), "groups": groups, "bias": False, "device": "meta"}
    return _filled(nn.Conv2d(fan_in * groups, out, **options), weight, bias)


def _linear(input: Node, weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Return the module of a call of ``F.linear``."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    return _filled(layer, weight, bias)


def _filled(layer: Kind, weight: Tensor, bias: Tensor | None) -> Kind:
    layer.weight = nn.Parameter(weight, False)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias, False))
    return layer


MODULES: dict[Any, Callable[..., Layer]] = {torch.conv2d: _conv2d, F.linear: _linear}


def _name_functions(module: GraphModule) -> None:
    """Turn ``F.conv2d`` and ``F.linear`` of stored tensors into modules.

    That of ``a.weight`` is named ``a`` where nothing but the tracer's empty shell has that name.
    """
    nodes = list(module.graph.nodes)
    stored = {node: stored_tensor(module, node) for node in nodes if node.op == "get_attr"}
    for node in nodes:
        build = MODULES.get(node.target)
        if build is None:
            continue
        given = inspect.signature(build).bind(*node.args, **node.kwargs).arguments
        tensors = [a for key, a in given.items() if isinstance(a, Node) and key != "input"]
        if not stored.keys() >= set(tensors) or stored[given["weight"]].dim() == 1:
            continue
        layer = build(**{key: stored[a] if a in tensors else a for key, a in given.items()})
        name, _, attribute = given["weight"].target.rpartition(".")
        shell = module.get_submodule(name)
        if attribute != "weight" or not name or type(shell) is not nn.Module:
            name, shell = f"{node.name}_layer", nn.Module()
        for key, child in shell.named_children():
            layer.add_module(key, child)
        module.add_submodule(name, layer)
        with module.graph.inserting_after(node):
            node.replace_all_uses_with(module.graph.call_module(name, (given["input"],)))
        module.graph.erase_node(node)
    for node in stored:
        if not node.users:
            module.graph.erase_node(node)


def stored_tensor(module: GraphModule, node: Node) -> Any:
    """Return what a ``get_attr`` node reads."""
    owner, _, attribute = str(node.target).rpartition(".")
    return getattr(module.get_submodule(owner), attribute)


def _drop_idle(module: GraphModule) -> None:
    """Take away identities and dropout, which does nothing in evaluation."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            idle = isinstance(module.get_submodule(node.target), nn.Identity | Dropout)
        else:
            idle = node.target is F.dropout and node.kwargs.get("training") is False
        if idle:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)


class _Shapes(fx.Interpreter):
    """Notes the shape of every tensor as ``node.meta["shape"]``."""

    def run_node(self, n: Node) -> Any:
        found = super().run_node(n)
        n.meta["shape"] = tuple(found.shape) if isinstance(found, Tensor) else ()
        return found
