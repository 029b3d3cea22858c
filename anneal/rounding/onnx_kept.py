"""Operators of ONNX that torch has none for: run by onnx's reference, written as they were read.

They take part in a torch.fx graph as modules of one node, stay in float and are named in reports.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anneal.errors import InputError, first_line
from anneal.registry import load_extra

DOMAIN, MARK = "anneal", "Kept"  # of the node that stands in for one while torch writes the graph


class KeptOperator(nn.Module):
    """A node of an ONNX graph; its inputs are those that are computed, in order.

    ``model``: a serialised model of that node alone with the stored part of its inputs. ``reason``:
    why it is kept. What it gives is float32 where it is a float.
    """

    def __init__(self, model: bytes, reason: str) -> None:
        super().__init__()
        self.model, self.reason = model, reason

    def forward(self, *values: Tensor) -> Tensor:
        """Return the first output; raise :class:`~anneal.errors.InputError` where it has none."""
        found: Tensor = _Run.apply(self.model, *values)  # type: ignore[no-untyped-call]
        return found


class _Run(torch.autograd.Function):
    """The node for arrays, and for torch's exporter a node of our own that holds the model."""

    @staticmethod
    def forward(ctx: Any, model: bytes, *values: Tensor) -> Tensor:
        evaluator = _evaluator(model)
        given = {
            name: value.numpy() for name, value in zip(evaluator.input_names, values, strict=True)
        }
        try:
            array = np.asarray(evaluator.run(None, given)[0])
        except Exception as error:  # What it lacks and what does not fit it says in many ways.
            kind = evaluator.proto_.graph.node[0].op_type
            reason = f"{kind} of '{evaluator.output_names[0]}' cannot be computed"
            raise InputError(f"{reason}: {first_line(error)}") from error
        single = array.astype(np.float32) if array.dtype.kind == "f" else array
        return torch.from_numpy(np.array(single))

    @staticmethod
    def symbolic(graph: Any, model: bytes, *values: Any) -> Any:
        text = base64.b64encode(model).decode()
        return graph.op(f"{DOMAIN}::{MARK}", *values, model_s=text)


@functools.lru_cache(maxsize=64)
def _evaluator(model: bytes) -> Any:
    return load_extra("onnx.reference", extra="onnx").ReferenceEvaluator(model)


def alone(
    onnx: Any,
    node: Any,
    opsets: Sequence[Any],
    stored: Mapping[str, NDArray[Any]],
    kinds: Mapping[str, Any],
) -> bytes:
    """Return the serialised model of a node alone; its inputs are of these types where known.

    Raises :class:`~anneal.errors.InputError` for a node that holds graphs of its own.
    """
    if any(a.HasField("g") or a.graphs for a in node.attribute):
        raise InputError(f"{node.op_type} holds a graph of its own")
    tensors = []
    for name in dict.fromkeys(name for name in node.input if name in stored):
        array = stored[name]
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        tensors.append(onnx.numpy_helper.from_array(array, name))
    computed = dict.fromkeys(name for name in node.input if name and name not in stored)
    inputs, outputs = (
        [onnx.helper.make_value_info(name, kinds.get(name, onnx.TypeProto())) for name in names]
        for names in (computed, [node.output[0]])
    )
    graph = onnx.helper.make_graph([node], "kept", inputs, outputs, tensors)
    model: bytes = onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString()
    return model


def put_back(onnx: Any, model: Any, opset: int) -> None:
    """Put the nodes that were kept where their marks are, in place, as an opset has them."""
    graph = model.graph
    for index in range(len(graph.node) - 1, -1, -1):
        mark = graph.node[index]
        if (mark.domain, mark.op_type) != (DOMAIN, MARK):
            continue
        kept = onnx.load_from_string(base64.b64decode(mark.attribute[0].s))
        kept = onnx.version_converter.convert_version(kept, opset).graph
        names = dict(zip((value.name for value in kept.input), mark.input, strict=False))
        names |= {"": "", kept.output[0].name: mark.output[0]}
        place = f"{mark.output[0]}."
        for node in kept.node:
            node.input[:] = [names.get(name, place + name) for name in node.input]
            node.output[:] = [names.get(name, place + name) for name in node.output]
            node.name = place + (node.name or node.op_type)
        for tensor in kept.initializer:
            tensor.name = place + tensor.name
        graph.initializer.extend(kept.initializer)
        del graph.node[index]
        for node in reversed(kept.node):
            graph.node.insert(index, node)
    others = [one for one in model.opset_import if one.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(others)
