"""Networks out of ONNX files, as torch.fx graphs of torch's own modules and functions.

Constants are computed as a file is read; shapes follow from that of the input; then each node that
the output depends on becomes what its row of ``OPERATORS`` says, or is kept as it is. All is in
float32.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx
from torch.fx import GraphModule

from anneal.errors import InputError, first_line
from anneal.files import Pathlike
from anneal.registry import load_extra
from anneal.rounding.images import Preprocessing
from anneal.rounding.onnx_assembly import Assembly, LackingError, Operation
from anneal.rounding.onnx_kept import KeptOperator, alone
from anneal.rounding.onnx_operators import FLOATS, OPERATORS, VALUES, permuted

LEAST_OPSET = 7  # The first that broadcasts as numpy does.
BATCH = 7  # where a file leaves the number of images open; few dimensions are mistaken for it
MAX_LOOKED_AT = 64  # numbers; of larger constants no shape depends on the content
Arrays = dict[str, NDArray[Any]]
Types = dict[str, Any]  # onnx.TypeProto, of values whose shapes are known
DOMAINS = ("", "ai.onnx")
QUANTISED = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
}


class _Layout(NamedTuple):
    """How images come into a file's network; ``last``: with their channels in the last dimension.

    ``name``, ``kind``: of the input, and its type; ``batch``: how many images at once.
    """

    name: str
    kind: int
    batch: int
    size: int
    channels: int
    last: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the input."""
        *_, batch, size, channels, last = self
        return (batch, size, size, channels) if last else (batch, channels, size, size)


def read_onnx(path: Pathlike, *, size: int | None = None) -> tuple[GraphModule, Preprocessing]:
    """Return the network of an ONNX file, (num, channels, size, size) → logits, and its input.

    Layers are named as the file names them, or their weights: those of torch keep their names. A
    Softmax at the end is left out. ``size``: of the images for which shapes and padding are
    worked out, if not the file's own, or 224 where it has none. Channels may come first or last
    in the file, and come first here; mean and deviation no file tells: they are as always.

    Raises :class:`~anneal.errors.InputError`, with the file's name, without the package onnx; for
    a file that is damaged or incomplete; for other than one input of square images in floats and
    one output; for a network that is quantised already; for operators that are not of ONNX
    itself; and for those that make one image depend on the others beside it, by the node's name.
    What torch has nothing for becomes a :class:`~anneal.rounding.onnx_kept.KeptOperator`.
    """
    onnx = load_extra("onnx", extra="onnx")
    try:
        model = _read(onnx, path)
        opset = _check(model)
        layout = _layout(model, size)
        nodes, constants, types = _settle(onnx, model, layout)
        output = _logits(model)
        nodes = _needed(nodes, output)
        readers = Counter([name for node in nodes for name in node.input])
        whole = {name for name, kind in types.items() if kind.tensor_type.elem_type not in FLOATS}
        shapes = {name: _shape(kind) for name, kind in types.items()}
        net = Assembly(opset, shapes, constants, readers, whole - constants.keys())
        images = net.graph.placeholder("images")
        net.nodes[layout.name] = permuted(net, images, (0, 2, 3, 1)) if layout.last else images
        for node in nodes:
            net.nodes[node.output[0]] = _built(onnx, net, node, model.opset_import, types)
        network = _finished(net, output)
        _check_images(network, layout)
    except InputError as error:
        raise InputError(error.reason, path=path) from error
    return network, Preprocessing(size=layout.size, channels=layout.channels)


def _read(onnx: Any, path: Pathlike) -> Any:
    try:
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            # The checker wants shapes that runtimes do without.
            value.type.tensor_type.shape.SetInParent()
        onnx.checker.check_model(model)
    except OSError as error:
        raise InputError(error.strerror or str(error)) from error
    except Exception as error:  # protobuf and the checker refuse in ways of their own.
        raise InputError(f"no ONNX model that can be read: {first_line(error)}") from error
    return model


def _check(model: Any) -> int:
    """Return the opset of a model that is not quantised and has one output."""
    opset: int = next((o.version for o in model.opset_import if o.domain in DOMAINS), 0)
    if opset < LEAST_OPSET:
        raise InputError(f"opset {opset}; the least is {LEAST_OPSET}")
    for node in model.graph.node:
        if node.op_type in QUANTISED:
            raise InputError(f"already quantised: {node.op_type} at node '{_name(node)}'")
    if len(model.graph.output) != 1:
        raise InputError(f"{len(model.graph.output)} outputs; a classifier has one")
    return opset


def _name(node: Any) -> str:
    return str(node.name or node.output[0])


def _layout(model: Any, size: int | None) -> _Layout:
    """Return how images come in; what the file leaves open is three channels, first, of 224."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise InputError(f"{len(inputs)} inputs ({names}); a network of images has one")
    kind = inputs[0].type.tensor_type
    dims = [max(dim.dim_value, 0) for dim in kind.shape.dim]
    text = f"input '{inputs[0].name}' of shape ({', '.join(str(d or '?') for d in dims)})"
    if len(dims) != 4 or kind.elem_type not in FLOATS:
        raise InputError(f"{text}: no batch of images in floats")
    last = dims[1] not in (1, 3) and dims[3] in (1, 3)
    batch, channels, *sides = (dims[0], dims[3], *dims[1:3]) if last else dims
    if channels not in (0, 1, 3) or len(set(sides) - {0}) > 1:
        raise InputError(f"{text}: no square images of 1 or 3 channels")
    side = size or max(sides) or 224
    return _Layout(inputs[0].name, kind.elem_type, batch or BATCH, side, channels or 3, last)


def _settle(onnx: Any, model: Any, layout: _Layout) -> tuple[list[Any], Arrays, Types]:
    """Return the nodes that depend on the images, what is stored or does not, and all types.

    Shapes are known once those before them are: what is computed from them is then stored too.
    """
    nodes, constants = list(model.graph.node), {}
    for tensor in model.graph.initializer:
        constants[tensor.name] = _array(onnx, tensor)
    while True:
        nodes = _fold(onnx, model, nodes, constants)
        types = _types(onnx, model, nodes, constants, layout)
        known = [node for node in nodes if node.op_type == "Shape" and node.input[0] in types]
        if not known:
            return nodes, constants, types
        for node in known:
            ends = {a.name: a.i for a in node.attribute}
            shape = _shape(types[node.input[0]])[ends.get("start") : ends.get("end")]
            constants[node.output[0]] = np.array(shape, np.int64)
        nodes = [node for node in nodes if node.output[0] not in constants]


def _array(onnx: Any, tensor: Any) -> NDArray[Any]:
    try:
        found: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # Too few or too many bytes, or a type that numpy lacks.
        raise InputError(f"'{tensor.name}' cannot be read: {first_line(error)}") from error
    return found


def _fold(onnx: Any, model: Any, nodes: list[Any], constants: Arrays) -> list[Any]:
    """Return the nodes that read what is not stored; add what the others compute."""
    left = []
    for node in nodes:
        given = {name: constants[name] for name in node.input if name in constants}
        if node.op_type == "Constant" or (given and not set(node.input) - given.keys() - {""}):
            constants |= _computed(onnx, model, node, given)
        else:
            left.append(node)
    return left


def _computed(onnx: Any, model: Any, node: Any, given: Arrays) -> Arrays:
    """Return what a node computes from what is stored."""
    reference = load_extra("onnx.reference", extra="onnx")
    outputs = [name for name in node.output if name]
    try:
        inputs, results = (
            [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names]
            for names in (given, outputs)
        )
        graph = onnx.helper.make_graph([node], "constant", inputs, results)
        alone = onnx.helper.make_model(graph, opset_imports=model.opset_import)
        arrays = reference.ReferenceEvaluator(alone).run(None, given)
    except Exception as error:  # What it lacks and what does not fit it says in many ways.
        reason = f"{node.op_type} at node '{_name(node)}' cannot be computed"
        raise InputError(f"{reason}: {first_line(error)}") from error
    return {name: np.asarray(array) for name, array in zip(outputs, arrays, strict=True)}


def _types(onnx: Any, model: Any, nodes: list[Any], constants: Arrays, layout: _Layout) -> Types:
    """Return the types of values, as far as their shapes follow from that of the input."""
    declare, kinds = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype
    inputs, stored = [declare(layout.name, layout.kind, layout.shape)], []
    for name, array in constants.items():
        if array.size > MAX_LOOKED_AT:
            inputs.append(declare(name, kinds(array.dtype), array.shape))
        else:
            stored.append(onnx.numpy_helper.from_array(array, name))
    output = onnx.helper.make_value_info(model.graph.output[0].name, onnx.TypeProto())
    graph = onnx.helper.make_graph(nodes, "shapes", inputs, [output], stored)
    given = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    try:
        found = onnx.shape_inference.infer_shapes(given, check_type=True, strict_mode=True).graph
    except Exception as error:
        reason = f"it does not fit an input of shape {layout.shape}: {first_line(error)}"
        raise InputError(reason) from error
    types = {}
    for value in (*found.input, *found.value_info, *found.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            types[value.name] = value.type
    return types


def _shape(kind: Any) -> tuple[int, ...]:
    return tuple(d.dim_value for d in kind.tensor_type.shape.dim)


def _needed(nodes: list[Any], output: str) -> list[Any]:
    """Return the nodes that a value depends on, in order; all are of ONNX itself."""
    needed, found = {output}, []
    for node in reversed(nodes):
        if needed & set(node.output):
            found.append(node)
            needed |= set(node.input[: VALUES.get(node.op_type)])
    for node in found[::-1]:
        if node.domain not in DOMAINS:
            raise InputError(f"operator {node.op_type} of node '{_name(node)}' is not supported")
    return found[::-1]


def _logits(model: Any) -> str:
    """Return the value that is the output, or what a Softmax over classes at the end reads."""
    makers = {name: node for node in model.graph.node for name in node.output}
    output = str(model.graph.output[0].name)
    while output in makers and makers[output].op_type == "Identity":
        output = makers[output].input[0]
    node = makers.get(output)
    if node is None or node.op_type != "Softmax" or any(a.i == 0 for a in node.attribute):
        return output
    return str(node.input[0])


def _built(onnx: Any, net: Assembly, node: Any, opsets: Any, types: Types) -> fx.Node:
    """Return what a node is in torch, or the node itself as a module."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    words = {key: word.decode() for key, word in attributes.items() if isinstance(word, bytes)}
    inputs, made = tuple(node.input), str(node.output[0])
    op = Operation(node.op_type, _name(node), inputs, made, attributes | words)
    try:
        if net.whole & {made, *inputs}:
            raise op.lacks("it reads or gives numbers that are no floats")
        if op.kind not in OPERATORS:
            raise op.lacks("torch has no such operator")
        return OPERATORS[op.kind](net, op)
    except LackingError as error:
        return net.keep(op, alone(onnx, node, opsets, net.constants, types), error.reason)
    except InputError:
        raise
    except Exception as error:  # Of torch, for numbers that no layer has.
        raise op.refuse(first_line(error)) from error


def _finished(net: Assembly, output: str) -> GraphModule:
    """Return the network whose output is a value."""
    net.graph.output(net.value(output))
    network = GraphModule(net.owned, net.graph, "OnnxNetwork")
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()
    return network.eval().requires_grad_(False)


def _check_images(network: GraphModule, layout: _Layout) -> None:
    """Raise :class:`~anneal.errors.InputError` where a kept node makes images depend on others."""
    kept = [name for name, one in network.named_modules() if isinstance(one, KeptOperator)]
    if not kept:
        return
    shape = (2, layout.channels, layout.size, layout.size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    together, apart = network(images), torch.cat([network(image[None]) for image in images])
    if together.shape != apart.shape or not torch.allclose(together, apart, 1e-3, 1e-4):
        raise InputError(
            f"an image changes what comes of the others beside it; look at {', '.join(kept)}"
        )
