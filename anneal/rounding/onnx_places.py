"""Operators of ONNX over the places of images: convolutions, pools, padding, other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from anneal.rounding.onnx_assembly import Assembly, Operation

# Resize: (mode, how places are counted) → the same of torch.
RESIZES: dict[tuple[str, str], dict[str, Any]] = {
    ("nearest", "asymmetric"): {"mode": "nearest"},
    ("linear", "half_pixel"): {"mode": "bilinear"},
    ("linear", "pytorch_half_pixel"): {"mode": "bilinear"},
    ("linear", "align_corners"): {"mode": "bilinear", "align_corners": True},
}


Pair = tuple[int, int]


class Window(NamedTuple):
    """Extents in height and width; ``before`` and ``after``: places of padding."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair

    @property
    def even(self) -> bool:
        """Whether the padding is the same on both sides, and no more than half the kernel."""
        half = all(2 * p <= k for p, k in zip(self.before, self.kernel, strict=True))
        return half and self.before == self.after

    def pad(self, net: Assembly, x: fx.Node, value: float = 0.0) -> fx.Node:
        """Return the values with the padding around them."""
        (top, left), (bottom, right) = self.before, self.after
        return net.call(F.pad, x, (left, right, top, bottom), value=value)


def _window(net: Assembly, op: Operation, kernel: Sequence[int]) -> Window:
    places = net.shape(op.inputs[0])[2:]
    if len(places) != 2 or len(kernel) != 2:
        raise op.lacks(f"it has {len(places)} dimensions of places, images have 2")
    stride, dilation = (_pair(op.get(key, (1, 1))) for key in ("strides", "dilations"))
    pads, auto = op.get("pads", (0, 0, 0, 0)), op.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return Window(_pair(kernel), stride, dilation, _pair(pads[:2]), _pair(pads[2:]))
    totals = [0, 0]
    if auto != "VALID":  # As many places come out as there are strides, rounded up.
        totals = [
            max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(places, kernel, stride, dilation, strict=True)
        ]
    less, more = _pair([n // 2 for n in totals]), _pair([n - n // 2 for n in totals])
    before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
    return Window(_pair(kernel), stride, dilation, before, after)


def _pair(numbers: Sequence[int]) -> Pair:
    height, width = numbers
    return height, width


def _state(net: Assembly, op: Operation) -> dict[str, Tensor]:
    """Return the weights of a convolution, and its bias where it has one."""
    state: dict[str, Tensor] = {"weight": net.weights(op, 1)}
    if net.constant(op, 2) is not None:
        state["bias"] = net.weights(op, 2)
    return state


def conv(net: Assembly, op: Operation) -> fx.Node:
    weight, x = net.weights(op, 1), net.value(op.inputs[0])
    window, groups = _window(net, op, weight.shape[2:]), op.get("group", 1)
    kernel, stride, dilation, before, after = window
    if before != after:
        x, before = window.pad(net, x), (0, 0)
    state = _state(net, op)
    out, fan_in = weight.shape[:2]
    options: dict[str, Any] = {"stride": stride, "padding": before, "dilation": dilation}
    options |= {"groups": groups, "bias": "bias" in state, "device": "meta"}
    return net.module(op, nn.Conv2d(fan_in * groups, out, kernel, **options), x, **state)


def transposed_conv(net: Assembly, op: Operation) -> fx.Node:
    """A layer that rounding leaves in float, and names."""
    weight, x = net.weights(op, 1), net.value(op.inputs[0])
    if op.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in op.attributes:
        raise op.lacks("its padding is said by what comes out")
    kernel, stride, dilation, before, after = _window(net, op, weight.shape[2:])
    more = _pair(op.get("output_padding", (0, 0)))
    if before != after:
        raise op.lacks("its padding differs between sides")
    state = _state(net, op)
    (fan_in, out), groups = weight.shape[:2], op.get("group", 1)
    options: dict[str, Any] = {"stride": stride, "padding": before, "dilation": dilation}
    options |= {"output_padding": more, "groups": groups, "bias": "bias" in state}
    layer = nn.ConvTranspose2d(fan_in, out * groups, kernel, device="meta", **options)
    return net.module(op, layer, x, **state)


def max_pool(net: Assembly, op: Operation) -> fx.Node:
    window, x = _window(net, op, op.get("kernel_shape", ())), net.value(op.inputs[0])
    kernel, stride, dilation, padding, _ = window
    if not window.even:
        x, padding = window.pad(net, x, -math.inf), (0, 0)
    ceil = bool(op.get("ceil_mode", 0))
    return net.call(torch.max_pool2d, x, kernel, stride, padding, dilation, ceil)


def average_pool(net: Assembly, op: Operation) -> fx.Node:
    window, x = _window(net, op, op.get("kernel_shape", ())), net.value(op.inputs[0])
    kernel, stride, dilation, padding, _ = window
    counts = bool(op.get("count_include_pad", 0))
    if set(dilation) != {1} or not (window.even or counts):
        raise op.lacks("averages with dilation, or with padding that differs between sides")
    if not window.even:
        x, padding = window.pad(net, x), (0, 0)
    ceil = bool(op.get("ceil_mode", 0))
    return net.call(F.avg_pool2d, x, kernel, stride, padding, ceil, counts)


def global_pool(net: Assembly, op: Operation) -> fx.Node:
    if len(net.shape(op.inputs[0])) != 4:
        raise op.lacks("its input is no image")
    return net.call(F.adaptive_avg_pool2d, net.value(op.inputs[0]), 1)


def pad(net: Assembly, op: Operation) -> fx.Node:
    stored, value, axes = (net.constant(op, place) for place in (1, 2, 3))
    pads = op.get("pads", []) if stored is None else stored.tolist()
    rank = len(net.shape(op.inputs[0]))
    ends = [(0, 0)] * rank
    places = range(rank) if axes is None else [axis % rank for axis in axes.tolist()]
    for place, before, after in zip(places, pads, pads[len(pads) // 2 :], strict=False):
        ends[place] = (before, after)
    if ends[0] != (0, 0):
        raise op.refuse("it adds to the batch")
    while ends and ends[0] == (0, 0):
        ends.pop(0)
    x, kind = net.value(op.inputs[0]), op.get("mode", "constant")
    flat = tuple(end for pair in reversed(ends) for end in pair)
    if not flat:
        return x
    if kind == "constant":
        number = op.get("value", 0.0) if value is None else float(value.item())
        return net.call(F.pad, x, flat, value=number)
    if kind not in ("edge", "reflect"):
        raise op.lacks(f"mode '{kind}'")
    return net.call(F.pad, x, flat, mode="replicate" if kind == "edge" else kind)


def resize(net: Assembly, op: Operation) -> fx.Node:
    before, after = net.shape(op.inputs[0]), net.shape(op.output)
    old = net.opset < 11
    mode = op.get("mode", "nearest")
    places = op.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    floor = op.get("nearest_mode", "floor" if old else "round_prefer_floor") == "floor"
    scales = net.constant(op, 1 if old else 2)
    whole = scales is None or not scales.size or np.array_equal(before * scales, after)
    kind = RESIZES.get((mode, places))
    same = kind and (floor or mode != "nearest") and whole and not op.get("antialias", 0)
    if not kind or not same or len(before) != 4 or before[:2] != after[:2]:
        raise op.lacks(f"mode '{mode}' with '{places}' from {before} to {after}")
    return net.call(F.interpolate, net.value(op.inputs[0]), size=after[2:], **kind)
