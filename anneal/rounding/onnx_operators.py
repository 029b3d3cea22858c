"""Operators of ONNX as torch modules and functions: one row of ``OPERATORS`` for each."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from anneal.rounding.onnx_assembly import Assembly, Operation
from anneal.rounding.onnx_places import (
    average_pool,
    conv,
    global_pool,
    max_pool,
    pad,
    resize,
    transposed_conv,
)

Builder = Callable[[Assembly, Operation], fx.Node]
LARGEST = 3e38  # what lies beyond stands for no bound, in files before opset 11
FLOATS = {1: "FLOAT", 10: "FLOAT16", 11: "DOUBLE", 16: "BFLOAT16"}


def _linear(
    net: Assembly, op: Operation, weight: Tensor, bias: Tensor | None, x: fx.Node
) -> fx.Node:
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, device="meta")
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return net.module(op, layer, x, **state)


def _gemm(net: Assembly, op: Operation) -> fx.Node:
    """αxB + βC."""
    weight: Tensor = net.weights(op, 1, transposed=not op.get("transB", 0))
    bias, alpha = None, op.get("alpha", 1.0)
    if op.get("transA", 0):
        raise op.refuse("the batch would be summed over")
    if net.constant(op, 2) is not None:
        bias = op.get("beta", 1.0) * net.weights(op, 2)
        if bias.numel() not in (1, len(weight)):
            raise op.lacks(f"its bias has shape {tuple(bias.shape)}")
        bias = bias.flatten().expand(len(weight))
    return _linear(net, op, weight if alpha == 1 else alpha * weight, bias, net.value(op.inputs[0]))


def _matmul(net: Assembly, op: Operation) -> fx.Node:
    weight = net.weights(op, 1, transposed=True)
    if weight.dim() != 2:
        raise op.lacks(f"its weights have shape {tuple(weight.shape)}, not two dimensions")
    return _linear(net, op, weight, None, net.value(op.inputs[0]))


def _normalise(net: Assembly, op: Operation) -> fx.Node:
    if op.get("training_mode", 0):
        raise op.refuse("the network was written in training mode")
    kind = nn.BatchNorm2d if len(net.shape(op.inputs[0])) == 4 else nn.BatchNorm1d
    keys = ("weight", "bias", "running_mean", "running_var")
    state: dict[str, Tensor] = {key: net.weights(op, i) for i, key in enumerate(keys, 1)}
    state["num_batches_tracked"] = torch.tensor(0)
    layer = kind(len(state["weight"]), eps=op.get("epsilon", 1e-5), device="meta")
    # Two normalisations may share what a file stores once.
    return net.module(op, layer, net.value(op.inputs[0]), **state | {"weight": state["weight"] + 0})


def _prelu(net: Assembly, op: Operation) -> fx.Node:
    slope, rank = net.weights(op, 1), len(net.shape(op.inputs[0]))
    aligned = (1,) * (rank - slope.dim()) + tuple(slope.shape)
    if slope.numel() > 1 and aligned[1:2] != (slope.numel(),):
        raise op.lacks(f"slopes of shape {tuple(slope.shape)} are not one for each channel")
    layer = nn.PReLU(slope.numel(), device="meta")
    return net.module(op, layer, net.value(op.inputs[0]), weight=slope.flatten())


def _clip(net: Assembly, op: Operation) -> fx.Node:
    ends: list[float | None] = []
    for place, key in ((1, "min"), (2, "max")):
        end = net.constant(op, place)
        number = op.get(key, math.inf) if end is None else float(end.item())
        ends.append(number if abs(number) < LARGEST else None)
    x = net.value(op.inputs[0])
    if ends == [0, 6]:
        return net.call(F.relu6, x)
    if ends == [None, None]:
        return x
    return net.call(torch.relu, x) if ends == [0, None] else net.call(torch.clamp, x, *ends)


def _hard_sigmoid(net: Assembly, op: Operation) -> fx.Node:
    x, alpha, beta = net.value(op.inputs[0]), op.get("alpha", 0.2), op.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return net.call(F.hardsigmoid, x)
    line = net.call(operator.add, net.call(operator.mul, x, alpha), beta)
    return net.call(torch.clamp, line, 0.0, 1.0)


def _softmax(net: Assembly, op: Operation) -> fx.Node:
    shape = net.shape(op.inputs[0])
    axis = op.get("axis", 1 if net.opset < 13 else -1) % len(shape)
    # Before opset 13 all dimensions from the axis on were one.
    if axis == 0 or (net.opset < 13 and math.prod(shape[axis + 1 :]) > 1):
        raise op.refuse(f"along axis {axis} of {tuple(shape)} it is not of one image")
    function = torch.softmax if op.kind == "Softmax" else torch.log_softmax
    return net.call(function, net.value(op.inputs[0]), axis)


def _arithmetic(function: Callable[..., Any]) -> Builder:
    """Return the builder of a function of two operands."""

    def build(net: Assembly, op: Operation) -> fx.Node:
        found = _biased(net, op) if op.kind == "Add" else None
        return found or net.call(function, *_operands(net, op))

    return build


def _operands(net: Assembly, op: Operation) -> list[Any]:
    """Return the two operands; a stored number that widens no shape stays a number."""
    operands: list[Any] = []
    for name, other in zip(op.inputs, reversed(op.inputs), strict=True):
        array = net.constants.get(name)
        number = array is not None and array.size == 1 and array.ndim <= len(net.shape(other))
        operands.append(net.tensor(name).item() if number else net.value(name))
    return operands


def _bound(function: Callable[..., Any], end: str) -> Builder:
    """Return the builder of the greater or the lesser of two operands."""

    def build(net: Assembly, op: Operation) -> fx.Node:
        if len(op.inputs) != 2:
            raise op.lacks(f"of {len(op.inputs)} values, not of two")
        operands = _operands(net, op)
        numbers = [operand for operand in operands if isinstance(operand, float)]
        if not numbers:
            return net.call(function, *operands)
        (x,) = (operand for operand in operands if not isinstance(operand, float))
        return net.call(torch.clamp, x, **{end: numbers[0]})

    return build


def _biased(net: Assembly, op: Operation) -> fx.Node | None:
    """Return the layer before an addition with the constant as its bias, where that is the same."""
    for x, constant in (op.inputs, op.inputs[::-1]):
        layer = net.made_by.get(x)
        if not isinstance(layer, nn.Conv2d | nn.Linear) or constant not in net.constants:
            continue
        bias, rows = net.tensor(constant), len(layer.weight)
        ends = (rows, 1, 1) if isinstance(layer, nn.Conv2d) else (rows,)
        fits = bias.numel() == rows and tuple(bias.shape[-len(ends) :]) == ends
        fits = fits and bias.dim() <= len(net.shape(x))
        if fits and layer.bias is None and net.num_readers[x] == 1:
            layer.bias = nn.Parameter(bias.flatten().clone(), requires_grad=False)
            return net.nodes[x]
    return None


def _sum(net: Assembly, op: Operation) -> fx.Node:
    first, *others = (net.value(name) for name in op.inputs)
    for other in others:
        first = net.call(operator.add, first, other)
    return first


def _axes(net: Assembly, op: Operation) -> list[int]:
    """Return the axes that an attribute or, in later files, an input names."""
    stored = net.constant(op, 1)
    axes = op.get("axes", []) if stored is None else stored.tolist()
    return sorted(axis % len(net.shape(op.inputs[0])) for axis in axes)


def _mean(net: Assembly, op: Operation) -> fx.Node:
    axes, x = _axes(net, op), net.value(op.inputs[0])
    if not axes and op.get("noop_with_empty_axes", 0):
        return x
    if not axes or 0 in axes:
        raise op.refuse("it is a mean over the images of a batch")
    return net.call(torch.mean, x, tuple(axes), bool(op.get("keepdims", 1)))


def _reshape(net: Assembly, op: Operation) -> fx.Node:
    """Flatten, Reshape, Squeeze and Unsqueeze: the same numbers in another shape."""
    before, after, x = net.shape(op.inputs[0]), net.shape(op.output), net.value(op.inputs[0])
    if before[:1] != after[:1]:
        raise op.refuse(f"{before} to {after} does not keep the dimension of the batch")
    if before == after:
        return x
    if len(after) == 2 < len(before):
        return net.call(torch.flatten, x, 1)
    return net.call(torch.reshape, x, (-1, *after[1:]))


def permuted(net: Assembly, x: fx.Node, order: tuple[int, ...]) -> fx.Node:
    """Return a value with its dimensions in another order; one that is turned back is itself."""
    if x.target is torch.permute:
        x, first = cast("tuple[fx.Node, tuple[int, ...]]", x.args)
        order = tuple(first[place] for place in order)
    return x if order == tuple(range(len(order))) else net.call(torch.permute, x, order)


def _transpose(net: Assembly, op: Operation) -> fx.Node:
    order = op.get("perm", range(len(net.shape(op.inputs[0])))[::-1])
    if order[0] != 0:
        raise op.refuse("it moves the dimension of the batch")
    return permuted(net, net.value(op.inputs[0]), tuple(order))


def _concat(net: Assembly, op: Operation) -> fx.Node:
    axis = op.get("axis", 1) % len(net.shape(op.output))
    if axis == 0:
        raise op.refuse("it joins batches")
    return net.call(torch.cat, [net.value(name) for name in op.inputs], axis)


def _local_norm(net: Assembly, op: Operation) -> fx.Node:
    """Over channels; torch's sums are as wide where the width is odd."""
    size = op.get("size", 0)
    if size % 2 == 0:
        raise op.refuse(f"size {size}, which is even")
    numbers = (op.get("alpha", 1e-4), op.get("beta", 0.75), op.get("bias", 1.0))
    return net.call(F.local_response_norm, net.value(op.inputs[0]), size, *numbers)


def _cast(net: Assembly, op: Operation) -> fx.Node:
    if op.get("to", 1) not in FLOATS:
        raise op.lacks("it is a cast to numbers that are not floats")
    return net.value(op.inputs[0])


def _same(net: Assembly, op: Operation) -> fx.Node:
    return net.value(op.inputs[0])


def _plain(function: Callable[..., Any], **attributes: tuple[str, Any]) -> Builder:
    """Return the builder of a function of one value; keyword → attribute and its default."""

    def build(net: Assembly, op: Operation) -> fx.Node:
        options = {key: op.get(*given) for key, given in attributes.items()}
        return net.call(function, net.value(op.inputs[0]), **options)

    return build


OPERATORS: dict[str, Builder] = {
    "Abs": _plain(torch.abs),
    "Add": _arithmetic(operator.add),
    "AveragePool": average_pool,
    "BatchNormalization": _normalise,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": conv,
    "ConvTranspose": transposed_conv,
    "Div": _arithmetic(operator.truediv),
    "Dropout": _same,
    "Elu": _plain(F.elu, alpha=("alpha", 1.0)),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": global_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(F.hardswish),
    "Identity": _same,
    "LeakyRelu": _plain(F.leaky_relu, negative_slope=("alpha", 0.01)),
    "Log": _plain(torch.log),
    "LogSoftmax": _softmax,
    "LRN": _local_norm,
    "MatMul": _matmul,
    "Max": _bound(torch.maximum, "min"),
    "MaxPool": max_pool,
    "Min": _bound(torch.minimum, "max"),
    "Mul": _arithmetic(operator.mul),
    "Neg": _plain(torch.neg),
    "Pad": pad,
    "PRelu": _prelu,
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMean": _mean,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": resize,
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": _softmax,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _reshape,
    "Sub": _arithmetic(operator.sub),
    "Sum": _sum,
    "Tanh": _plain(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
# How many inputs are values; what else they read shows in the shape of their output.
VALUES = {"Reshape": 1, "Resize": 1, "Squeeze": 1, "Unsqueeze": 1}
