"""Networks out of ONNX files: they give what onnxruntime gives, and what was exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from anneal.errors import InputError
from anneal.rounding.equalise import equalise
from anneal.rounding.graphs import trace
from anneal.rounding.layers import RoundingOptions
from anneal.rounding.onnx_files import write_qdq
from anneal.rounding.onnx_networks import read_onnx
from anneal.rounding.sequential import round_network
from anneal.rounding.sources import load_network
from tests.rounding.float_networks import NETWORKS, images, make
from tests.rounding.onnx_models import SIDE, agrees, export, model, run, save

OPSETS = [9, 13, 20]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_torch_exported_comes_back(tmp_path: Path, kind: str, opset: int) -> None:
    source = make(kind, 1).float().eval()
    path = export(source, tmp_path / "net.onnx", opset_version=opset)
    found, preprocessing = load_network(str(path))
    assert (preprocessing.size, preprocessing.channels) == (SIDE, 3)
    x = images(9).float()
    wanted = source(x).detach()
    assert (found(x) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    before, after = trace(source, x), trace(found, x)
    assert before.layers == after.layers and before.unsupported == after.unsupported


@pytest.mark.parametrize("kind", NETWORKS)
def test_unfolded_it_is_the_same_network(tmp_path: Path, kind: str) -> None:
    source = make(kind, 2).float().eval()
    keep = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    found = load_network(str(export(source, tmp_path / "net.onnx", **keep))).network
    x = images(9).float()
    before, after = trace(source, x), trace(found, x)
    assert torch.equal(before.module(x), after.module(x))
    assert before.statistics.keys() == after.statistics.keys()
    for one, other in ((before, after), (equalise(before), equalise(after))):
        for name in before.layers:
            assert torch.equal(one.layer(name).weight, other.layer(name).weight)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_newer_exporter_of_torch_is_read(tmp_path: Path) -> None:
    source = make("inverted", 1).float().eval()
    batch = ({0: torch.export.Dim("batch")},)
    options = {"dynamo": True, "verbose": False, "external_data": False, "dynamic_shapes": batch}
    path = tmp_path / "net.onnx"
    torch.onnx.export(source, (images(2).float(),), str(path), **options)
    found, x = agrees(path), images(5).float()
    assert trace(source, x).layers == trace(found, x).layers


@pytest.mark.parametrize("kind", NETWORKS)
def test_rounded_it_is_written_and_runs(tmp_path: Path, kind: str) -> None:
    path = export(make(kind, 1).float().eval(), tmp_path / "net.onnx")
    x = images(40).float()
    traced = trace(load_network(str(path)).network, x)
    found = round_network(traced, x, RoundingOptions(bits=4, method="nearest"))
    assert found.layers.keys() == set(traced.layers)
    quantised = tmp_path / "rounded.onnx"
    write_qdq(found, quantised, example=x[:2])
    wanted = found.traced.module(x).numpy()
    assert np.abs(run(quantised, x.numpy()) - wanted).max() < 1e-5 * np.abs(wanted).max()
    with pytest.raises(InputError, match=r"rounded\.onnx: already quantised: DequantizeLinear"):
        load_network(str(quantised))


def test_an_emulated_network_of_the_project_is_read(tmp_path: Path) -> None:
    from qbnn.config import make_config
    from qbnn.deploy.onnx_export import export_onnx
    from qbnn.models import Network

    source = Network(make_config({"in_shape": [1, 8, 8], "architecture": "7FC-SM3"})).eval()
    export_onnx(source, tmp_path / "net.onnx")
    found, preprocessing = load_network(str(tmp_path / "net.onnx"))
    assert (preprocessing.size, preprocessing.channels) == (8, 1)
    x = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(found(x), source(x), atol=1e-5)
    assert len(trace(found, x).layers) == 4  # mean and variance of both layers


VALUES = np.linspace(-2, 2, 3 * SIDE * SIDE, dtype=np.float32).reshape(3, SIDE, SIDE)
CHANNELS = np.array([0.5, -1.5, 2.0], np.float32).reshape(3, 1, 1)
LINEAR = np.linspace(-1, 1, SIDE * 5, dtype=np.float32).reshape(SIDE, 5)
# Operator, constants behind its input, attributes, opset.
ONES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Abs", [], {}, 17),
    ("Add", [VALUES], {}, 17),
    ("Add", [np.float32(0.5)], {}, 17),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, 17),
    ("AveragePool", [], {"kernel_shape": [2, 3], "ceil_mode": 1, "strides": [3, 2]}, 17),
    (
        "AveragePool",
        [],
        {"kernel_shape": [2, 2], "pads": [0, 1, 1, 1], "count_include_pad": 1},
        11,
    ),
    ("BatchNormalization", [CHANNELS.ravel()] * 3 + [CHANNELS.ravel() ** 2], {}, 9),
    ("Clip", [], {"min": 0.0, "max": 6.0}, 7),
    ("Clip", [np.float32(-0.5), np.float32(0.7)], {}, 13),
    ("Clip", [np.float32(0)], {}, 11),
    ("Clip", [], {}, 13),
    ("Div", [CHANNELS], {}, 17),
    ("Dropout", [], {"ratio": 0.5}, 7),
    ("Elu", [], {"alpha": 0.7}, 17),
    ("Erf", [], {}, 17),
    ("Exp", [], {}, 17),
    ("Flatten", [], {"axis": 1}, 9),
    ("Flatten", [], {"axis": -3}, 13),
    ("GlobalAveragePool", [], {}, 17),
    ("HardSigmoid", [], {}, 17),
    ("HardSigmoid", [], {"alpha": 1 / 6}, 17),
    ("HardSwish", [], {}, 17),
    ("Identity", [], {}, 17),
    ("LRN", [], {"size": 3, "alpha": 0.3, "bias": 2.0}, 17),
    ("LeakyRelu", [], {"alpha": 0.3}, 17),
    ("LogSoftmax", [], {"axis": 1}, 17),
    ("MatMul", [LINEAR], {}, 17),
    ("Max", [np.float32(0.3)], {}, 17),
    ("Max", [VALUES], {}, 17),
    ("MaxPool", [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "strides": [2, 2]}, 8),
    ("MaxPool", [], {"kernel_shape": [3, 3], "ceil_mode": 1, "strides": [2, 2]}, 12),
    ("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 3], "auto_pad": "VALID"}, 12),
    ("Min", [np.float32(0.3)], {}, 17),
    ("Mul", [CHANNELS[None]], {}, 17),
    ("Neg", [], {}, 17),
    ("PRelu", [np.abs(CHANNELS)], {}, 17),
    ("PRelu", [np.full((1, 1, 1), 0.3, np.float32)], {}, 9),
    ("Pad", [], {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "value": 0.5}, 7),
    ("Pad", [np.array([0, 1, 1, 0, 0, 0, 2, 0]), np.float32(-1)], {}, 13),
    ("Pad", [np.array([0, 0, 1, 2, 0, 0, 3, 1])], {"mode": "reflect"}, 13),
    ("Pad", [np.array([2, 1, 0, -1]), np.float32(0), np.array([-1, 2])], {}, 18),
    ("Pad", [np.array([0, 0, 1, 2, 0, 0, 3, 1])], {"mode": "edge"}, 13),
    ("Pad", [np.zeros(8, np.int64)], {}, 13),
    ("ReduceMean", [], {"axes": [2, 3], "keepdims": 0}, 13),
    ("ReduceMean", [np.array([-1, -2])], {}, 18),
    ("ReduceMean", [], {"noop_with_empty_axes": 1}, 18),
    ("Relu", [], {}, 17),
    ("Reshape", [np.array([0, -1])], {}, 9),
    ("Reshape", [np.array([-1, 3, 2, 4 * SIDE])], {}, 17),
    ("Resize", [np.float32([]), np.float32([1, 1, 2, 2])], {"mode": "linear"}, 13),
    (
        "Resize",
        [np.float32([]), np.float32([1, 1, 2, 3])],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        13,
    ),
    ("Resize", [np.float32([1, 1, 2, 2])], {}, 10),
    ("Sigmoid", [], {}, 17),
    ("Softmax", [], {"axis": -3}, 17),
    ("Softmax", [], {"axis": -1}, 11),
    ("Sub", [VALUES[None]], {}, 17),
    ("Sum", [VALUES, CHANNELS], {}, 17),
    ("Tanh", [], {}, 17),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}, 17),
    ("Unsqueeze", [], {"axes": [1]}, 11),
    ("Unsqueeze", [np.array([2, -1])], {}, 13),
]


@pytest.mark.parametrize(("kind", "others", "attributes", "opset"), ONES)
def test_operators_do_what_the_runtime_does(
    tmp_path: Path, kind: str, others: list[Any], attributes: dict[str, Any], opset: int
) -> None:
    constants = {f"c{place}": array for place, array in enumerate(others)}
    node = helper.make_node(kind, ["x", *constants], ["z"], name="node", **attributes)
    double = helper.make_node("Add", ["z", "z"], ["y"])  # A softmax at the end is left out.
    agrees(save(model([node, double], constants, opset=opset), tmp_path / "net.onnx"))


@pytest.mark.parametrize("kind", ["Log", "Reciprocal", "Sqrt"])
def test_operators_of_positive_numbers(tmp_path: Path, kind: str) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node(kind, ["e"], ["y"])]
    agrees(save(model(nodes), tmp_path / "net.onnx"))


@st.composite
def windows(draw: Any) -> tuple[str, dict[str, Any]]:
    """Return an operator with a window and attributes that onnxruntime does not refuse."""
    sides = st.lists(st.integers(1, 3), min_size=2, max_size=2)
    kind = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    kernel, strides = draw(sides), draw(sides)
    found = {"kernel_shape": kernel, "strides": strides, "auto_pad": auto}
    if kind == "Conv":
        found["group"] = draw(st.sampled_from([1, 3]))
    elif auto.startswith("SAME"):  # It would pad by less than nothing.
        assume(all(side >= step for side, step in zip(kernel, strides, strict=True)))
    if kind != "AveragePool" and auto == "NOTSET":
        found["dilations"] = draw(sides)
    even = auto == "VALID"
    if auto == "NOTSET":
        most = [1, 1] if kind == "Conv" else [side - 1 for side in kernel]
        pads = [draw(st.integers(0, min(pad, 1))) for pad in most * 2]
        found["pads"], even = pads, pads[:2] == pads[2:]
    if kind == "AveragePool":
        found["count_include_pad"] = draw(st.integers(0, 1)) if even else 1
    return kind, found


@settings(max_examples=60)
@given(window=windows())
def test_windows_of_any_kind(
    tmp_path_factory: pytest.TempPathFactory, window: tuple[str, dict[str, Any]]
) -> None:
    kind, attributes = window
    constants = {}
    if kind == "Conv":
        shape = (6, 3 // attributes["group"], *attributes["kernel_shape"])
        constants["w"] = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    path = tmp_path_factory.mktemp("windows") / "net.onnx"
    agrees(save(model([node], constants, opset=13), path))


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_is_there_and_stays_in_float(
    tmp_path: Path, group: int, bias: bool
) -> None:
    draws = np.random.default_rng(group)
    options = {"strides": [2, 1], "pads": [1, 0, 1, 0], "output_padding": [1, 0], "group": group}
    up = helper.make_node("ConvTranspose", ["x", "w", *["b"] * bias], ["u"], name="up", **options)
    nodes = [up, helper.make_node("Conv", ["u", "v"], ["y"], name="out")]
    shapes = {"w": (3, 2, 3, 2), "v": (2, 2 * group, 1, 1)} | ({"b": (2 * group,)} if bias else {})
    weights = {key: draws.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    found = agrees(save(model(nodes, weights), tmp_path / "net.onnx"))
    traced = trace(found, images(1).float())
    assert list(traced.layers) == ["out"] and list(traced.unsupported) == ["up"]


def test_products_and_sums_become_a_layer_with_a_bias(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="model/conv/Conv2D"),
        helper.make_node("Add", ["b", "c"], ["d"], name="model/conv/BiasAdd"),
        helper.make_node("Flatten", ["d"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["m"], name="model/dense/MatMul"),
        helper.make_node("Add", ["m", "a"], ["n"], name="model/dense/Add"),
        helper.make_node("Gemm", ["n", "u", "k"], ["y"], alpha=0.5, beta=2.0, name="head"),
    ]
    draws = np.random.default_rng(1)
    shapes = {"w": (2, 3, SIDE, SIDE), "b": (1, 2, 1, 1), "v": (2, 4), "a": (4,), "u": (4, 3)}
    constants = {key: draws.normal(size=shape) for key, shape in shapes.items()} | {"k": [0.3]}
    floats = {key: np.asarray(array, np.float32) for key, array in constants.items()}
    found = agrees(save(model(nodes, floats), tmp_path / "net.onnx"))
    kinds = {name: type(layer) for name, layer in found.named_modules() if name}
    assert kinds == {
        "model": nn.Module,
        "model.conv": nn.Conv2d,
        "model.dense": nn.Linear,
        "head": nn.Linear,
    }


@pytest.mark.parametrize("also", ["m", "i"])
def test_what_is_read_twice_gets_no_bias(tmp_path: Path, also: str) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["m"]),
        helper.make_node("Identity", ["m"], ["i"]),
        helper.make_node("Add", ["i" if also == "m" else "m", "a"], ["s"]),
        helper.make_node("Mul", ["s", also], ["y"]),
    ]
    agrees(save(model(nodes, {"v": LINEAR, "a": LINEAR[0]}), tmp_path / "net.onnx"))


@pytest.mark.parametrize("batch", ["batch", 7])
def test_shapes_that_are_computed_are_known(tmp_path: Path, batch: int | str) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Cast", ["s"], ["i"], to=TensorProto.INT32),
        helper.make_node("Slice", ["i", "zero", "one", "zero"], ["b"]),
        helper.make_node("Concat", ["b", "rest"], ["t"], axis=0),
        helper.make_node("Cast", ["t"], ["l"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["r", "l"], ["f"]),
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(LINEAR)),
        helper.make_node("Transpose", ["w"], ["v"], perm=[1, 0]),
        helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1])}
    constants["rest"] = np.array([SIDE], np.int32)
    nodes.insert(0, helper.make_node("ReduceMean", ["x"], ["p"], axes=[1, 2], keepdims=1))
    nodes[1].input[0] = "p"
    path = save(model(nodes, constants, shape=(batch, 3, SIDE, SIDE)), tmp_path / "net.onnx")
    agrees(path)
    assert read_onnx(path)[0](images(2).float()).shape == (2, 5)


def test_channels_may_come_last(tmp_path: Path) -> None:
    draws = np.random.default_rng(2)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], name="conv", auto_pad="SAME_UPPER"),
        helper.make_node("Transpose", ["c"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["b"], ["y"], axes=[1, 2], keepdims=0),
    ]
    weights = {"w": draws.normal(size=(5, 3, 2, 2)).astype(np.float32)}
    path = save(model(nodes, weights, shape=("batch", SIDE, SIDE, 3)), tmp_path / "net.onnx")
    found = agrees(path, last=True)
    assert sum(node.target is torch.permute for node in found.graph.nodes) == 1  # type: ignore


@pytest.mark.parametrize("tail", [[], ["Identity"], ["Identity", "Identity"]])
def test_a_softmax_at_the_end_is_left_out(tmp_path: Path, tail: list[str]) -> None:
    names = ["f", "p", *(f"i{place}" for place in range(len(tail)))]
    nodes = [helper.make_node("Flatten", ["x"], ["f"])]
    for kind, before, after in zip(["Softmax", *tail], names, names[1:], strict=False):
        nodes.append(helper.make_node(kind, [before], [after]))
    path = save(model(nodes, outputs=(names[-1],)), tmp_path / "net.onnx")
    x = images(3).float()
    logits = read_onnx(path)[0](x)
    assert torch.equal(logits, x.flatten(1))
    assert np.allclose(logits.softmax(1), run(path, x.numpy()))


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [
        (("b", 3, 8, 8), None, (8, 3)),
        (("b", 1, 8, "w"), None, (8, 1)),
        (("b", 3, "h", "w"), None, (224, 3)),
        (("b", "c", "h", "w"), 12, (12, 3)),
        ((1, 8, 8, 1), None, (8, 1)),
        ((4, 3, 8, 8), 12, (12, 3)),
    ],
)
def test_the_input_is_what_the_file_says(
    tmp_path: Path, shape: tuple[int | str, ...], size: int | None, wanted: tuple[int, int]
) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    path = save(model(nodes, shape=shape), tmp_path / "net.onnx")
    found = load_network(str(path), size=size).preprocessing
    assert (found.size, found.channels) == wanted


def test_padding_is_that_of_the_size_asked_for(tmp_path: Path) -> None:
    # Eight places padded to four windows want one place more, nine to five two.
    options = {"auto_pad": "SAME_UPPER", "strides": [2, 2], "kernel_shape": [3, 3]}
    weights = {"w": np.ones((1, 3, 3, 3), np.float32)}
    path = tmp_path / "net.onnx"
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **options)]
    save(model(nodes, weights, shape=("b", 3, "h", "w")), path)
    for size in (8, 9):
        x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        found = read_onnx(path, size=size)[0](x)
        np.testing.assert_allclose(found, run(path, x.numpy()), rtol=1e-5)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_floats_of_other_widths_become_float32(tmp_path: Path, kind: str) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"])]
    nodes.append(helper.make_node("Cast", ["m"], ["y"], to=number))
    given = model(nodes, {"w": LINEAR.astype(kind)}, kind=number)
    given.graph.output[0].type.tensor_type.elem_type = number
    found = read_onnx(save(given, tmp_path / "net.onnx"))[0]
    x = images(2).float()
    wanted = x @ torch.from_numpy(LINEAR.astype(kind).astype(np.float32))
    assert torch.allclose(found(x), wanted, atol=1e-5)


def test_names_of_torch_stay_free(tmp_path: Path) -> None:
    weight = np.ones((3, 3, 1, 1), np.float32)
    names = ["forward", "graph", "a:0/b", "a_0_b", "//"]
    nodes, constants = [], {}
    for place, name in enumerate(names):
        inputs = [str(place) if place else "x", f"w{place}"]
        nodes.append(helper.make_node("Conv", inputs, [str(place + 1)], name=name))
        constants[inputs[1]] = weight * (place + 1)
    path = save(model(nodes, constants, outputs=("5",)), tmp_path / "net.onnx")
    assert len(trace(agrees(path), images(1).float()).layers) == 5


def test_weights_of_two_layers_are_seen_to_be_shared(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["z"], name="one"),
        helper.make_node("Conv", ["z", "w", "b"], ["v"], name="two"),
        helper.make_node("Conv", ["v", "u", "b"], ["y"], name="three"),
    ]
    draws = np.random.default_rng(3)
    constants = {name: draws.normal(size=(3, 3, 1, 1)).astype(np.float32) for name in "wu"}
    constants["b"] = np.ones(3, np.float32)
    found = trace(agrees(save(model(nodes, constants), tmp_path / "net.onnx")), images(1).float())
    assert found.layers == ("three",) and found.unsupported.keys() == {"one", "two"}
