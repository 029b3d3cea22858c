"""Networks as ONNX against torch: logits, the tail of the normal law, what is refused."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr

from anneal.errors import InputError
from qbnn.config import make_config
from qbnn.deploy.onnx_export import export_onnx, onnx_model, replaced
from qbnn.deploy.onnx_graph import Graph, log_tails
from qbnn.models import Network

STANDARD = """
    Abs Add AveragePool Concat Conv Div Erf Exp Flatten Gather Gemm Greater Log Max MaxPool Mul
    Pad Reciprocal Relu Reshape Sign Sqrt Sub Where
"""


def make_network(seed: int = 0, **settings: object) -> Network:
    """A network whose normalisations have run on a few batches; some scales are negative or 0."""
    values = {"in_shape": [1, 8, 8], "architecture": "4C3-MP2-6C2S2P0-9FC-SM10", "pool": "mean"}
    network = Network(make_config(values | {"seed": seed, "init_std": 0.5} | settings))
    generator = torch.Generator().manual_seed(seed)
    network.train()
    with torch.no_grad():
        for block in network.blocks:
            block.norm.gamma.normal_(generator=generator)
            block.norm.beta.normal_(generator=generator)
        for _ in range(5):
            network(images(network, 16, seed=seed))
    return network.eval()


def images(network: Network, count: int, *, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *network.config.in_shape, generator=generator)


def run(network: Network, batch: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(onnx_model(network))
    (found,) = session.run(None, {"images": batch.numpy()})
    return np.asarray(found)


@settings(max_examples=40)
@given(
    family=st.sampled_from(["none", "h-local", "w-local", "local", "entangling", "real4", "su4"]),
    share=st.sampled_from(["connection", "output", "input", "layer"]),
    law=st.sampled_from(["clt", "clt-cc"]),
    head=st.sampled_from(["ce", "bce"]),
    pool=st.sampled_from(["mean", "or"]),
    source=st.sampled_from(["bernoulli", "real"]),
    architecture=st.sampled_from(["4C3-MP2-6C2S2P0-9FC-SM10", "7FC-SM3", "SM2", "3C3S2-SM4"]),
    seed=st.integers(0, 9),
)
@torch.no_grad()
def test_the_graph_gives_the_logits_of_torch(source: str, seed: int, **config: str) -> None:
    network = make_network(seed, input=source, **config)
    batch = images(network, 9)
    wanted, found = network(batch).numpy(), run(network, batch)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    clear = np.sort(wanted)[:, -1] - np.sort(wanted)[:, -2] > 1e-4
    assert (found.argmax(1) == wanted.argmax(1))[clear].all()


@pytest.mark.parametrize("family", ["scaled", "free"])
@torch.no_grad()
def test_eigenvalues_and_free_coefficients_are_exported(family: str) -> None:
    network = make_network(family=family)
    batch = images(network, 5)
    np.testing.assert_allclose(run(network, batch), network(batch), rtol=1e-5, atol=1e-5)


def test_any_batch_runs_and_operators_are_standard() -> None:
    network = make_network(family="real4")
    model = onnx.load_from_string(onnx_model(network))
    assert {node.op_type for node in model.graph.node} <= set(STANDARD.split())
    assert {node.domain for node in model.graph.node} == {""}
    for count in (1, 2, 70):
        assert run(network, images(network, count)).shape == (count, 10)


def test_tails_are_right_to_float32_where_erf_cancels() -> None:
    graph = Graph(onnx)
    log_tails(graph, "z")
    tail, rest = graph.nodes[-4].output[0], graph.nodes[-1].output[0]
    kind = onnx.TensorProto.FLOAT
    values = [onnx.helper.make_tensor_value_info(name, kind, [None]) for name in ("z", tail, rest)]
    body = onnx.helper.make_graph(graph.nodes, "tails", values[:1], values[1:], graph.constants)
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(body, ir_version=8, opset_imports=opset)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    z = np.linspace(-40, 40, 4001, dtype=np.float32)
    log_tail, log_rest = session.run(None, {"z": z})
    np.testing.assert_allclose(log_tail, log_ndtr(-np.abs(z.astype(float))), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(log_rest, log_ndtr(np.abs(z.astype(float))), atol=2e-7)


def test_what_is_replaced_is_said() -> None:
    network = make_network(mode="sample", pool="sample")
    assert replaced(network) == {"mode": "propagate", "pool": "mean"}
    assert replaced(make_network(architecture="SM2", pool="sample")) == {}


def test_exporting_leaves_the_network_as_it_was() -> None:
    network = make_network().train()
    onnx_model(network)
    assert network.training and all(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"family": "sign"}, "family 'sign' has none"),
        ({"law": "exact"}, "writes the laws clt and clt-cc, not 'exact'"),
        ({"law": "edgeworth"}, "not 'edgeworth'"),
    ],
)
def test_what_has_no_graph_is_refused(config: dict[str, str], reason: str) -> None:
    values = {"architecture": "SM2", "in_shape": [1, 4, 4]}
    with pytest.raises(InputError, match=reason):
        onnx_model(Network(make_config(values | config)))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(architecture="SM2")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'qbnn\[onnx\]'"):
        onnx_model(network)


def test_a_file_is_written_whole(tmp_path) -> None:
    network = make_network(architecture="SM2")
    export_onnx(network, tmp_path / "net.onnx")
    onnx.checker.check_model(str(tmp_path / "net.onnx"))
    with pytest.raises(InputError, match="cannot write"):
        export_onnx(network, tmp_path / "nowhere" / "net.onnx")
