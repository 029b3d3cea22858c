"""Emulated networks as ONNX graphs of standard operators, without complex numbers.

A graph is the propagate evaluation of a network: probabilities in, logits out, float32, any batch.
Coefficients of deformed layers and folded thresholds are constants, so a layer is two convolutions
(or products) over the features φ, χ, φ², φχ and a few operations per output.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike, write_bytes
from anneal.registry import load_extra
from qbnn.config import SIGN
from qbnn.deploy.onnx_graph import Graph, log_tails
from qbnn.emulation import VARIANCE_FLOOR
from qbnn.folding import evaluating, folded, z_line
from qbnn.models import Block, Network

OPSET, IR_VERSION = 18, 8
EXPORTED_LAWS = ("clt", "clt-cc")
# Features of a layer's input, and what stands for the constant 1 among them.
ONE, SPIN, COHERENCE, SQUARE, BOTH = "1", "φ", "χ", "φ²", "φχ"
Weights = dict[str, NDArray[Any]]


class GraphBits(NamedTuple):
    """Names of spin means and coherences; the coherence is ``None`` where nothing reads it."""

    spin: str
    coherence: str | None = None


class GraphMoments(NamedTuple):
    """Names of mean and variance of a, (batch, out, …)."""

    mean: str
    variance: str


def export_onnx(network: Network, path: Pathlike) -> None:
    """Write :func:`onnx_model` to a file, whole or not at all.

    Raises :class:`~anneal.errors.InputError` where that does, and where it cannot be written.
    """
    write_bytes(path, onnx_model(network))


def onnx_model(network: Network) -> bytes:
    """Return the serialised ONNX model: ``images`` (batch, C, H, W) to ``logits`` (batch, classes).

    It is the propagate evaluation: :func:`replaced` says what differs from the config. Raises
    :class:`~anneal.errors.InputError` without the package onnx, for the bottom rung, and for the
    laws ``edgeworth`` and ``exact``.
    """
    onnx = load_extra("onnx", extra="onnx")
    config = network.config
    if config.family == SIGN:
        raise InputError("kind 'onnx' writes an emulated law; family 'sign' has none: kind 'bits'")
    if config.law not in EXPORTED_LAWS:
        raise InputError(
            f"kind 'onnx' writes the laws {' and '.join(EXPORTED_LAWS)}, not '{config.law}'"
        )
    graph = Graph(onnx)
    with evaluating(network), torch.no_grad():
        _add_network(graph, network)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    body = helper.make_graph(
        graph.nodes,
        "qbnn",
        [helper.make_tensor_value_info("images", floats, ["batch", *config.in_shape])],
        [helper.make_tensor_value_info("logits", floats, ["batch", config.num_classes])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        body, producer_name="qbnn", ir_version=IR_VERSION, opset_imports=opsets
    )
    helper.set_model_props(model, {"config": config.model_dump_json()})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def replaced(network: Network) -> dict[str, str]:
    """Return the settings that an exported network does not keep, and what stands for them.

    Drawn bits are handed on as probabilities; ``sample`` pooling takes the site of the largest
    mean.
    """
    config, found = network.config, {}
    if config.mode == "sample":
        found["mode"] = "propagate"
    if config.pool == "sample" and any(stage.pool > 1 for stage in config.stages()):
        found["pool"] = "mean"
    return found


def _add_network(graph: Graph, network: Network) -> None:
    blocks = [cast(Block, block) for block in network.blocks]
    # Coherences are worked out only where the next layer reads them.
    wanted = [block.layer.coefficients().gamma is not None for block in blocks]
    bits = GraphBits(graph("Sub", graph("Mul", "images", 2.0), 1.0))
    if wanted[0]:
        product = graph("Mul", "images", graph("Sub", 1.0, "images"))
        bits = bits._replace(coherence=graph("Mul", graph("Sqrt", graph("Relu", product)), 2.0))
    for block, coherence in zip(blocks, [*wanted[1:], False], strict=True):
        real = network.config.input == "real" and block is blocks[0]
        lattice = network.config.law == "clt-cc" and not real
        if not block.placed.stage.kernel:
            flat = graph("Flatten", bits.spin)
            bits = GraphBits(flat, bits.coherence and graph("Flatten", bits.coherence))
        moments = _moments_of_values(graph, block, bits) if real else _moments(graph, block, bits)
        if block is blocks[-1]:
            _head(graph, block, moments, lattice=lattice)
        else:
            bits = _fires(graph, block, moments, lattice=lattice, coherence=coherence)


def _moments(graph: Graph, block: Block, bits: GraphBits) -> GraphMoments:
    """Add mean Σ d m and variance Σ d² − Σ d² m² of a layer's pre-activations."""
    spin = _padded(graph, block, bits.spin, -1.0)
    features = {SPIN: spin, SQUARE: graph("Mul", spin, spin)}
    if bits.coherence is not None:
        coherence = _padded(graph, block, bits.coherence, 0.0)
        features |= {COHERENCE: coherence, BOTH: graph("Mul", spin, coherence)}
    mean, variance = _weights(block)
    return GraphMoments(_mix(graph, block, features, mean), _mix(graph, block, features, variance))


def _moments_of_values(graph: Graph, block: Block, bits: GraphBits) -> GraphMoments:
    """Add Σθx and Σ(1 − θ²)x² of real inputs, whose border is zero."""
    beta = _array(block.layer.coefficients().beta)
    values = _padded(graph, block, bits.spin, 0.0)
    features = {SPIN: values, SQUARE: graph("Mul", values, values)}
    return GraphMoments(
        _mix(graph, block, features, {SPIN: beta}),
        _mix(graph, block, features, {SQUARE: 1 - beta**2}),
    )


def _weights(block: Block) -> tuple[Weights, Weights]:
    """Return d m and d²(1 − m²) of every connection as weights of features.

    m² = α² + γ² + 2αβφ + 2αγχ + (β² − γ²)φ² + 2βγφχ (docs/mathematics.md); features whose weights
    are zero whatever the angles have none.
    """
    shape = block.layer.latent.shape
    found = block.layer.coefficients()
    beta = _array(found.beta.expand(shape))
    alpha, gamma = (
        np.zeros_like(beta) if part is None else _array(part.expand(shape))
        for part in (found.alpha, found.gamma)
    )
    eigenvalues = block.layer.eigenvalues()
    d = np.ones_like(beta) if eigenvalues is None else _array(eigenvalues)
    first = {ONE: alpha, SPIN: beta}
    second = {ONE: 1 - alpha**2 - gamma**2, SQUARE: gamma**2 - beta**2}
    if found.alpha is not None:
        second[SPIN] = -2 * alpha * beta
    if found.gamma is not None:
        first[COHERENCE] = gamma
        second |= {COHERENCE: -2 * alpha * gamma, BOTH: -2 * beta * gamma}
    return {k: d * w for k, w in first.items()}, {k: d**2 * w for k, w in second.items()}


def _mix(graph: Graph, block: Block, features: dict[str, str], weights: Weights) -> str:
    """Add Σ over the fan-in of features times weights."""
    chosen = [name for name in weights if name != ONE]
    joined = [features[name] for name in chosen]
    values = joined[0] if len(joined) == 1 else graph("Concat", *joined, axis=1)
    weight = np.concatenate([weights[name] for name in chosen], 1)
    bias = np.zeros(len(weight))
    if ONE in weights:
        bias = weights[ONE].reshape(len(weight), -1).sum(1)
    stage = block.placed.stage
    if stage.kernel:
        return graph("Conv", values, weight, bias, strides=[stage.stride] * 2)
    return graph("Gemm", values, weight, bias, transB=1)


def _padded(graph: Graph, block: Block, values: str, border: float) -> str:
    """Add the border of a convolution."""
    stage = block.placed.stage
    if not stage.padding:
        return values
    pads = graph.constant([0, 0, stage.padding, stage.padding] * 2, np.int64)
    return graph("Pad", values, pads, border)


def _fires(
    graph: Graph, block: Block, moments: GraphMoments, *, lattice: bool, coherence: bool
) -> GraphBits:
    """Add the bits that a block hands on, pooled where it pools."""
    size = block.placed.stage.pool
    window: dict[str, Any] = {"kernel_shape": [size] * 2, "strides": [size] * 2}
    pooled = size > 1 and block.config.pool != "or"
    if pooled:
        score = _affine_mean(graph, block, moments)
        names = [f"n{len(graph.nodes)}", f"n{len(graph.nodes)}_index"]
        index = graph.several("MaxPool", score, names=names, **window)[1]
        # It is an index into all of (batch, out, height, width).
        flat = graph.constant([-1], np.int64)
        mean, variance = (graph("Gather", graph("Reshape", part, flat), index) for part in moments)
        moments = GraphMoments(mean, variance)
    z = _z(graph, block, moments, lattice=lattice)
    if size > 1 and not pooled:
        return _any_fires(graph, z, size, window, coherence=coherence)
    spin = graph("Erf", graph("Mul", z, math.sqrt(0.5)))
    if not coherence:
        return GraphBits(spin)
    # χ = 2 exp(½[log Φ(z) + log Φ(−z)])
    half = graph("Mul", graph("Add", *log_tails(graph, z)), 0.5)
    return GraphBits(spin, graph("Mul", graph("Exp", half), 2.0))


def _any_fires(
    graph: Graph, z: str, size: int, window: dict[str, Any], *, coherence: bool
) -> GraphBits:
    """Add whether any bit of a window is 1: log(1 − p) is summed over it."""
    log_tail, log_rest = log_tails(graph, z)
    log_off = graph("Where", graph("Greater", z, 0.0), log_tail, log_rest)
    log_none = graph("Mul", graph("AveragePool", log_off, **window), float(size**2))
    none = graph("Exp", log_none)
    spin = graph("Sub", 1.0, graph("Mul", none, 2.0))
    if not coherence:
        return GraphBits(spin)
    product = graph("Mul", none, graph("Sub", 1.0, none))
    return GraphBits(spin, graph("Mul", graph("Sqrt", product), 2.0))


def _z(graph: Graph, block: Block, moments: GraphMoments, *, lattice: bool) -> str:
    """Add z with P(fires) = Φ(z), as :func:`qbnn.emulation.z_score` has it."""
    deviation = graph("Sqrt", graph("Max", moments.variance, VARIANCE_FLOOR))
    factor, offset = (_array(part)[0] for part in z_line(folded(block), lattice=lattice))
    line = graph("Add", graph("Mul", moments.mean, factor), offset)
    return graph("Div", line, deviation)


def _head(graph: Graph, block: Block, moments: GraphMoments, *, lattice: bool) -> None:
    """Add the logits: E[a′]/√(1 + πσ²/8) for ``ce``, log P(fires) − log P(not) for ``bce``."""
    if block.config.head == "bce":
        z = _z(graph, block, moments, lattice=lattice)
        log_tail, log_rest = log_tails(graph, z)
        odds = graph("Sub", log_rest, log_tail)
        graph("Mul", odds, graph("Sign", z), name="logits")
        return
    slope = math.pi / 8 * _affine(block)[0] ** 2
    variance = graph("Mul", graph("Max", moments.variance, VARIANCE_FLOOR), slope)
    spread = graph("Sqrt", graph("Add", variance, 1.0))
    graph("Div", _affine_mean(graph, block, moments), spread, name="logits")


def _affine_mean(graph: Graph, block: Block, moments: GraphMoments) -> str:
    """Add E[a′] = scale·E[a] + shift."""
    scale, shift = _affine(block)
    return graph("Add", graph("Mul", moments.mean, scale), shift)


def _affine(block: Block) -> tuple[NDArray[Any], NDArray[Any]]:
    moments = folded(block)
    assert moments.scale is not None and moments.shift is not None
    return _array(moments.scale), _array(moments.shift)


def _array(values: Tensor) -> NDArray[Any]:
    """As float64, so that products of coefficients are rounded once, in the graph's constants."""
    array: NDArray[Any] = values.detach().double().cpu().numpy()
    return array
