"""A torch.fx graph while it is built from the nodes of an ONNX graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from anneal.errors import InputError
from anneal.rounding.onnx_kept import KeptOperator

EMPTY = fx.GraphModule({}, fx.Graph())  # whose attributes are names that nothing else may have


class LackingError(InputError):
    """A node that torch has nothing for; it is kept as it is."""


@dataclass(frozen=True)
class Operation:
    """A node of an ONNX graph: its operator, its name, and what it reads and writes."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} at node '{self.name}'"

    def get(self, key: str, default: Any) -> Any:
        """Return an attribute."""
        return self.attributes.get(key, default)

    def refuse(self, reason: str) -> InputError:
        """Return the error for what no network of images does."""
        return InputError(f"{self}: {reason}")

    def lacks(self, reason: str) -> LackingError:
        """Return the error for what torch has no module or function for."""
        return LackingError(f"{self}: {reason}")


@dataclass
class Assembly:
    """A torch.fx graph while it is built from ONNX nodes, in the order in which they run.

    ``shapes``: of every value; the first dimension of what is computed counts images. ``whole``:
    the values that are no floats.
    ``constants``: what is stored. ``num_readers``: how often a value is read. ``nodes``: values
    that have been built. ``owned``: modules and tensors of the network by name; ``made_by``:
    the modules among them that give values, by the names of these.
    """

    opset: int
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, NDArray[Any]]
    num_readers: Mapping[str, int]
    whole: Set[str] = frozenset()
    graph: fx.Graph = field(default_factory=fx.Graph)
    nodes: dict[str, fx.Node] = field(default_factory=dict)
    owned: dict[str, nn.Module | Tensor] = field(default_factory=dict)
    made_by: dict[str, nn.Module] = field(default_factory=dict)
    tensors: dict[str, nn.Parameter] = field(default_factory=dict)

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> fx.Node:
        """Call a function of torch."""
        return self.graph.call_function(function, args, options)

    def value(self, name: str) -> fx.Node:
        """Return the node of a value; a constant becomes a parameter of the network."""
        if name not in self.nodes and name not in self.constants:
            raise InputError(f"'{name}' is an output that is not supported")
        if name not in self.nodes:
            flat = name.replace(".", "_")
            own = self._own(f"constants.{flat}", self.tensor(name))
            self.nodes[name] = self.graph.get_attr(own)
        return self.nodes[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        if name not in self.shapes:
            raise InputError(f"the shape of '{name}' does not follow from that of the input")
        return self.shapes[name]

    def constant(self, op: Operation, place: int) -> NDArray[Any] | None:
        """Return an input that has to be stored; None where it is not given."""
        name = op.inputs[place] if len(op.inputs) > place else ""
        if name and name not in self.constants:
            raise op.lacks(f"its input '{name}' is computed, not stored")
        return self.constants[name] if name else None

    def tensor(self, name: str, *, transposed: bool = False) -> nn.Parameter:
        """Return a stored array in float32, always the same tensor."""
        key = f"{name} transposed" if transposed else name
        if key not in self.tensors:
            with np.errstate(over="ignore"):  # What is infinite then is refused with the network.
                array = np.array(self.constants[name], np.float32)
            given = torch.from_numpy(array.T if transposed else array)
            self.tensors[key] = nn.Parameter(given, requires_grad=False)
        return self.tensors[key]

    def weights(self, op: Operation, place: int, *, transposed: bool = False) -> nn.Parameter:
        """Return the stored weights of a layer."""
        if self.constant(op, place) is None:
            raise op.refuse(f"it has no input {place}")
        return self.tensor(op.inputs[place], transposed=transposed)

    def module(self, op: Operation, module: nn.Module, x: fx.Node, **state: Tensor) -> fx.Node:
        """Call a module that has this state.

        A layer's weights stay the tensor that is stored, so that those of two layers are seen to
        be shared; all else is copied, since files store equal vectors once.
        """
        own = {key: state[key] if key == "weight" else state[key].clone() for key in state}
        module.load_state_dict(own, assign=True)
        self.made_by[op.output] = module.requires_grad_(False)
        name = self._own(_layer_name(op, op.inputs[1]), module)
        return self.graph.call_module(name, (x,))

    def keep(self, op: Operation, model: bytes, reason: str) -> fx.Node:
        """Call a node as it is, as a module of its own."""
        computed = dict.fromkeys(name for name in op.inputs if name and name not in self.constants)
        name = self._own(op.name, KeptOperator(model, reason))
        return self.graph.call_module(name, tuple(map(self.value, computed)))

    def _own(self, name: str, what: nn.Module | Tensor) -> str:
        """Keep a module or a tensor under a name of torch's kind; return the name."""
        parts = [part for part in re.sub(r"[^\w.]", "_", name).split(".") if part] or ["layer"]
        free = plain = ".".join(f"{part}_" if hasattr(EMPTY, part) else part for part in parts)
        for count in range(1, len(self.owned) + 1):
            if free not in self.owned:
                break
            free = f"{plain}_{count}"
        self.owned[free] = what
        return free


def _layer_name(op: Operation, weight: str) -> str:
    """Return what a layer was called where the file says so.

    >>> _layer_name(Operation("Conv", "node_7", (), "y", {}), "stem.0.weight")
    'stem.0'
    >>> _layer_name(Operation("Conv", "/blocks.1/blocks.1.0/conv/Conv", (), "y", {}), "onnx::Conv")
    'blocks.1.0.conv'
    """
    if weight.endswith(".weight"):
        return weight.removesuffix(".weight")
    *scopes, last = [part for part in op.name.split("/") if part] or [op.kind]
    # torch writes the name of a container again before each of its parts.
    inner = [a for a, b in pairwise([*scopes, ""]) if not b.startswith(f"{a}.")]
    return ".".join(inner) or last
