"""Rounded networks as ONNX files in which the levels themselves are stored (QDQ models).

torch's exporter writes the network with a stand-in for what is quantised; then each weight becomes
stored integers with a DequantizeLinear, and each quantiser a QuantizeLinear with a
DequantizeLinear, the form that runtimes of integer arithmetic look for.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import GraphModule

from anneal.errors import InputError, first_line
from anneal.files import Pathlike, write_bytes
from anneal.registry import load_extra
from anneal.rounding.layers import RoundedLayer
from anneal.rounding.onnx_kept import put_back
from anneal.rounding.quantisers import Quantiser
from anneal.rounding.sequential import RoundedNetwork

# The first operators of four and of sixteen bits; the most that torch's exporter by tracing writes.
OPSET, IR_VERSION, EXPORTED_OPSET = 21, 10, 20
# The integers that weights may be stored as, the smallest first.
STORED = {
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-(2**15), 2**15 - 1),
    "UINT16": (0, 2**16 - 1),
}
DEQUANTISE = "DequantizeLinear"
Integers = NDArray[np.int64]


class Stored(NamedTuple):
    """Integers of a type in ``STORED`` that stand for the weights scale·(levels − zero).

    levels: (rows, n); scale, zero: (rows,), or () where it is the same for all rows.
    """

    kind: str
    levels: Integers
    scale: NDArray[np.float32]
    zero: Integers


class _Mark(nn.Module):
    """A product that shows in the exported graph where a quantiser stood."""

    mark: Tensor

    def __init__(self, mark: float) -> None:
        super().__init__()
        self.register_buffer("mark", torch.tensor(mark))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.mark


def write_qdq(found: RoundedNetwork, path: Pathlike, *, example: Tensor) -> None:
    """Write :func:`qdq_model` to a file, whole or not at all.

    Raises :class:`~anneal.errors.InputError` where that does, and where it cannot be written.
    """
    write_bytes(path, qdq_model(found, example=example))


def qdq_model(found: RoundedNetwork, *, example: Tensor) -> bytes:
    """Return the serialised ONNX model: ``images``, any number of them, to ``logits``, in float32.

    Weights are stored in 4, 8 or 16 bits, see :func:`stored`, biases in float; a quantiser's
    levels are uint8, or uint16 beyond 8 bits. ``example``: a batch as the network reads it, of
    which the shape alone matters.

    onnxruntime rounds more where it sees such pairs: biases to steps of the input's scale times
    the weights', unless a session has ``disabled_optimizers=["WeightBiasQuantization"]``, and what
    comes into a product of matrices to 8 bits, unless its configuration entry
    ``session.qdq_matmulnbits_accuracy_level`` is ``"0"``. With both it gives what torch gives.

    Raises :class:`~anneal.errors.InputError` without the package onnx, for an operation that ONNX
    does not have, for a grid that has no integers, and for quantisers of more than 16 bits.
    """
    onnx = load_extra("onnx", extra="onnx")
    levels = {name: stored(name, layer) for name, layer in found.layers.items()}
    module = found.traced.copy().module.float()
    quantisers = _stand_in(module, list(levels))
    try:
        model = _exported(onnx, module, example.float())
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"the network cannot be written as ONNX: {reason}") from error
    _store_weights(onnx, model.graph, levels)
    _quantise_activations(onnx, model.graph, quantisers)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def stored(name: str, layer: RoundedLayer) -> Stored:
    """Return a layer's levels as integers of the smallest type that holds its grid.

    Where zero lies halfway between two levels, as with one bit, the integers are 2(level − zero)
    in steps of scale/2: one bit is stored as ±1. ``name``: for errors. Raises
    :class:`~anneal.errors.InputError` for a zero that lies elsewhere, and where no type holds the
    grid.

    >>> from anneal.rounding.grids import Grid
    >>> grid = Grid(np.array([0.5]), np.array([0.5]), 0, 1)
    >>> stored("0", RoundedLayer(np.array([[0, 1]]), grid, np.zeros(1), 0, 0, 0, 0, 0))[:3]
    ('INT4', array([[-1,  1]]), array(0.25, dtype=float32))
    """
    grid, levels, zero = layer.grid, layer.levels.astype(np.float64), layer.grid.zero
    scale, ends = grid.scale, np.array([[grid.lowest, grid.highest]], np.float64)
    if np.any(2 * zero % 1):
        raise InputError(f"layer '{name}': zeros of its grid must be whole or half, to be stored")
    if np.any(zero % 1):
        levels, ends = (2 * (part - zero[:, None]) for part in (levels, ends))
        scale, zero = scale / 2, np.zeros_like(zero)
    low, high = min(ends.min(), zero.min()), max(ends.max(), zero.max())
    fits = [kind for kind, (least, most) in STORED.items() if least <= low and high <= most]
    if not fits:
        raise InputError(f"layer '{name}': no type of 16 bits holds levels {low:g} … {high:g}")
    if np.ptp(scale) == 0 and np.ptp(zero) == 0:
        scale, zero = scale[0], zero[0]
    whole = [np.rint(part).astype(np.int64) for part in (levels, zero)]
    return Stored(fits[0], whole[0], np.asarray(scale, np.float32), whole[1])


def _stand_in(module: GraphModule, names: list[str]) -> dict[str, Quantiser]:
    """Put marks for quantisers and constants for weights, in place; return the quantisers.

    Each has another value: the exporter would make one of two tensors that are equal.
    """
    quantisers = {name: q for name, q in module.named_modules() if isinstance(q, Quantiser)}
    for index, (name, quantiser) in enumerate(quantisers.items()):
        if quantiser.bits > 16:
            raise InputError(f"'{name}': {quantiser.bits} bits of activations; ONNX has at most 16")
        module.add_submodule(name, _Mark(index + 0.5))
    for index, name in enumerate(names):
        module.get_parameter(f"{name}.weight").data.fill_(index + 0.5)
    return quantisers


def _exported(onnx: Any, module: GraphModule, example: Tensor) -> Any:
    """Return the model of a network in floats, whose parameters keep their names."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter warns that there is another, which takes a hundred times as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            data,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=EXPORTED_OPSET,
            # Nothing is folded, so that weights stay as they are, under their own names.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )
    model = onnx.version_converter.convert_version(onnx.load_from_string(data.getvalue()), OPSET)
    put_back(onnx, model, OPSET)
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, "anneal", ""
    return model


def _store_weights(onnx: Any, graph: Any, levels: dict[str, Stored]) -> None:
    """Put stored levels with a DequantizeLinear where weights are."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for name, part in levels.items():
        weight = weights[f"{name}.weight"]
        inputs = [f"{name}.levels", f"{name}.scale", f"{name}.zero"]
        _add_integers(onnx, graph, inputs[0], part.kind, part.levels.reshape(weight.dims))
        graph.initializer.append(onnx.numpy_helper.from_array(part.scale, inputs[1]))
        _add_integers(onnx, graph, inputs[2], part.kind, part.zero)
        node = onnx.helper.make_node(DEQUANTISE, inputs, [weight.name], name, axis=0)
        graph.node.insert(0, node)
        graph.initializer.remove(weight)


def _quantise_activations(onnx: Any, graph: Any, quantisers: dict[str, Quantiser]) -> None:
    """Put a QuantizeLinear with a DequantizeLinear where marks are, in place of the products.

    A clip before it keeps to fewer levels than the stored type has.
    """
    for name, quantiser in quantisers.items():
        kind, top = ("UINT8", 255) if quantiser.bits <= 8 else ("UINT16", 2**16 - 1)
        scale, zero, highest = float(quantiser.scale), int(quantiser.zero), 2**quantiser.bits - 1
        floats = {"scale": scale}
        if highest < top:
            floats |= {"low": -zero * scale, "high": (highest - zero) * scale}
        for key, number in floats.items():
            constant = onnx.numpy_helper.from_array(np.float32(number), f"{name}.{key}")
            graph.initializer.append(constant)
        _add_integers(onnx, graph, f"{name}.zero", kind, np.asarray(zero))
        index, product = next(
            found for found in enumerate(graph.node) if f"{name}.mark" in found[1].input
        )
        values, levels = product.input[0], f"{name}.levels"
        grid = [f"{name}.scale", f"{name}.zero"]
        product.op_type, product.input[:] = DEQUANTISE, [levels, *grid]
        clipped = [f"{name}.clipped"] if highest < top else [values]
        node = onnx.helper.make_node("QuantizeLinear", [*clipped, *grid], [levels])
        graph.node.insert(index, node)
        if highest < top:
            ends = [f"{name}.low", f"{name}.high"]
            graph.node.insert(index, onnx.helper.make_node("Clip", [values, *ends], clipped))
    marks = {f"{name}.mark" for name in quantisers}
    for constant in [tensor for tensor in graph.initializer if tensor.name in marks]:
        graph.initializer.remove(constant)


def _add_integers(onnx: Any, graph: Any, name: str, kind: str, values: Integers) -> None:
    """Add integers as a constant, two to a byte where they have four bits, the first one low."""
    if kind.endswith("4"):
        flat = (values & 15).astype(np.uint8).ravel()
        flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
        data = (flat[::2] | flat[1::2] << 4).tobytes()
    else:
        data = values.astype(np.dtype(kind.lower()).newbyteorder("<")).tobytes()
    number = getattr(onnx.TensorProto, kind)
    graph.initializer.append(onnx.helper.make_tensor(name, number, values.shape, data, raw=True))
