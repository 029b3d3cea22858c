"""Models of a few ONNX nodes, and what onnxruntime makes of files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from anneal.rounding.graphs import trace
from anneal.rounding.onnx_networks import read_onnx
from tests.rounding.float_networks import images

FLOAT = TensorProto.FLOAT
SIDE = 8


def export(network: nn.Module, path: Path, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = images(1).float()
        torch.onnx.export(network, (example,), str(path), **{"dynamo": False} | options)
    return path


def model(
    nodes: list[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    shape: tuple[int | str, ...] = ("batch", 3, SIDE, SIDE),
    kind: int = FLOAT,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 17,
) -> Any:
    """Return a model that reads ``x``; its IR version is the latest that runtimes knew then."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(found: Any, path: Path) -> Path:
    onnx.save(found, path)
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    session = onnxruntime.InferenceSession(
        str(path),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"],
    )
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def agrees(path: Path, x: Tensor | None = None, *, last: bool = False) -> nn.Module:
    """Compare a file in torch with onnxruntime, and as the rounding traces it; return it."""
    network, preprocessing = read_onnx(path)
    if x is None:
        side, draws = preprocessing.size, torch.Generator().manual_seed(0)
        x = torch.randn(7, preprocessing.channels, side, side, generator=draws)
    wanted = run(path, (x.movedim(1, -1) if last else x).contiguous().numpy())
    traced = trace(network, x[:1])
    for module in (network, traced.module):
        np.testing.assert_allclose(module(x).numpy(), wanted, rtol=1e-5, atol=1e-5)
    return network
