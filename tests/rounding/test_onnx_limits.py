"""ONNX files with what torch lacks, which stays in float, and with what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from anneal.errors import InputError
from anneal.rounding.graphs import trace
from anneal.rounding.layers import RoundingOptions
from anneal.rounding.onnx_files import write_qdq
from anneal.rounding.onnx_networks import read_onnx
from anneal.rounding.sequential import round_network
from anneal.rounding.sources import load_network
from tests.rounding.float_networks import images, make
from tests.rounding.onnx_models import FLOAT, SIDE, agrees, export, model, run, save

SQUARE = np.ones((3, 3, 1, 1), np.float32)
ONE = helper.make_node
FLAT = helper.make_graph(
    [ONE("Identity", ["x"], ["b"])], "branch", [], [helper.make_tensor_value_info("b", FLOAT, None)]
)
# What torch has nothing for: nodes that read z, constants, and why it stays in float.
KEPT: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "unknown": (
        [ONE("TopK", ["z", "k"], ["y", "places"], axis=1, name="top")],
        {"k": np.array([2])},
        "TopK at node 'top': torch has no such operator",
    ),
    "whole numbers": (
        [
            ONE("ArgMax", ["z"], ["t"], axis=1, name="top"),
            ONE("Gather", ["g", "t"], ["s"]),
            ONE("Cast", ["s"], ["y"], to=FLOAT),
        ],
        {"g": np.array([5, -2, 3])},
        "ArgMax at node 'top': it reads or gives numbers that are no floats",
    ),
    "where": (
        [
            ONE("Greater", ["z", "c"], ["m"]),
            ONE("Where", ["m", "z", "c"], ["w"]),
            ONE("Relu", ["w"], ["y"]),
        ],
        {"c": np.float32([0.1])},
        "Where at node 'w': it reads or gives numbers that are no floats",
    ),
    "computed weights": (
        [ONE("Relu", ["v"], ["w"]), ONE("Conv", ["z", "w"], ["y"])],
        {"v": SQUARE},
        "",
    ),
    "average": (
        [ONE("AveragePool", ["z"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1])],
        {},
        "padding that differs between sides",
    ),
    "one dimension": (
        [ONE("Reshape", ["z", "s"], ["r"]), ONE("Conv", ["r", "w"], ["y"])],
        {"s": np.array([0, 3, -1]), "w": np.ones((2, 3, 1), np.float32)},
        "1 dimensions of places",
    ),
    "nearest": (
        [ONE("Resize", ["z", "r", "s"], ["y"])],
        {"r": np.float32([]), "s": np.float32([1, 1, 2, 2])},
        "mode 'nearest'",
    ),
    "no floats": (
        [ONE("Cast", ["z"], ["i"], to=TensorProto.INT32), ONE("Cast", ["i"], ["y"], to=FLOAT)],
        {},
        "no floats",
    ),
    "transposed": (
        [ONE("ConvTranspose", ["z", "w"], ["y"], pads=[1, 0, 0, 0])],
        {"w": SQUARE},
        "differs between sides",
    ),
    "size of what comes out": (
        [ONE("ConvTranspose", ["z", "w"], ["y"], output_shape=[9, 9])],
        {"w": np.ones((3, 3, 2, 2), np.float32)},
        "said by what comes out",
    ),
    "slopes": (
        [ONE("PRelu", ["z", "s"], ["y"])],
        {"s": np.ones(SIDE, np.float32)},
        "one for each channel",
    ),
}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("case", KEPT)
def test_what_torch_lacks_is_kept_in_float_and_written_back(
    tmp_path: Path, case: str, opset: int
) -> None:
    nodes, constants, reason = KEPT[case]
    weight = np.random.default_rng(1).normal(size=(3, 3, 1, 1)).astype(np.float32)
    first = ONE("Conv", ["x", "weight"], ["z"], name="first")
    path = tmp_path / "net.onnx"
    save(model([first, *nodes], {"weight": weight, **constants}, opset=opset), path)
    network, x = agrees(path), images(6).float()
    traced = trace(network, x[:1])
    assert traced.layers[0] == "first"
    if case != "computed weights":  # Of what is stored they are stored too.
        assert any(reason in said for said in traced.unsupported.values())
    found = round_network(traced, x, RoundingOptions(bits=8, method="nearest"))
    write_qdq(found, tmp_path / "rounded.onnx", example=x[:2])
    np.testing.assert_allclose(
        run(tmp_path / "rounded.onnx", x.numpy()), found.traced.module(x), rtol=1e-4, atol=1e-4
    )


# What is refused: nodes, constants, how the model is, and a part of the message.
REFUSED: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any], str]] = {
    "kept of a batch": (
        [ONE("ArgMax", ["x"], ["t"], name="top"), ONE("Cast", ["t"], ["y"], to=FLOAT)],
        {},
        {},
        "an image changes what comes of the others beside it; look at top, y",
    ),
    "cannot be computed": (
        [
            ONE("NonZero", ["x"], ["n"]),
            ONE("Cast", ["n"], ["c"], to=FLOAT),
            ONE("Relu", ["c"], ["y"]),
        ],
        {},
        {},
        "an image changes what comes of the others",
    ),
    "a graph inside": (
        [
            ONE("Less", ["x", "x"], ["c"]),
            ONE("If", ["c"], ["y"], then_branch=FLAT, else_branch=FLAT),
        ],
        {},
        {},
        "If holds a graph of its own",
    ),
    "domain": (
        [ONE("Relu", ["x"], ["y"], name="r", domain="com.microsoft")],
        {},
        {},
        "operator Relu of node 'r' is not supported",
    ),
    "computed weights": (
        [ONE("GlobalAveragePool", ["x"], ["w"]), ONE("Conv", ["x", "w"], ["y"], name="c")],
        {},
        {},
        "an image changes what comes of the others beside it; look at c",
    ),
    "quantised": (
        [
            ONE("QuantizeLinear", ["x", "s"], ["q"], name="quant"),
            ONE("DequantizeLinear", ["q", "s"], ["y"]),
        ],
        {"s": np.float32(0.1)},
        {},
        "already quantised: QuantizeLinear at node 'quant'",
    ),
    "two outputs": (
        [ONE("Relu", ["x"], ["y"]), ONE("Relu", ["x"], ["z"])],
        {},
        {"outputs": ("y", "z")},
        "2 outputs",
    ),
    "not square": ([ONE("Relu", ["x"], ["y"])], {}, {"shape": (1, 3, 8, 9)}, r"\(1, 3, 8, 9\)"),
    "channels": ([ONE("Relu", ["x"], ["y"])], {}, {"shape": ("b", 4, 8, 8)}, r"\(\?, 4, 8, 8\)"),
    "no images": ([ONE("Relu", ["x"], ["y"])], {}, {"shape": ("b", 3)}, "no batch of images"),
    "bytes": (
        [ONE("Cast", ["x"], ["y"], to=FLOAT)],
        {},
        {"kind": TensorProto.UINT8},
        "no batch of images in floats",
    ),
    "old": ([ONE("Relu", ["x"], ["y"])], {}, {"opset": 6}, "opset 6"),
    "does not fit": ([ONE("Add", ["x", "c"], ["y"])], {"c": np.ones(5, np.float32)}, {}, "fit"),
    "other size": (
        [ONE("Reshape", ["x", "s"], ["y"])],
        {"s": np.array([-1, 5])},
        {},
        "does not fit an input of shape",
    ),
    "batch": (
        [ONE("Reshape", ["x", "s"], ["y"], name="r")],
        {"s": np.array([-1, SIDE])},
        {},
        "Reshape at node 'r': .* does not keep the dimension of the batch",
    ),
    "batch moved": ([ONE("Transpose", ["x"], ["y"])], {}, {}, "moves the dimension of the batch"),
    "mean of batch": ([ONE("ReduceMean", ["x"], ["y"])], {}, {}, "mean over the images"),
    "joined": ([ONE("Concat", ["x", "x"], ["y"], axis=0)], {}, {}, "joins batches"),
    "softmax": (
        [ONE("Softmax", ["x"], ["s"], axis=0), ONE("Relu", ["s"], ["y"])],
        {},
        {},
        "not of one image",
    ),
    "old softmax": (
        [ONE("Softmax", ["x"], ["s"], axis=1), ONE("Relu", ["s"], ["y"])],
        {},
        {"opset": 11},
        "not of one image",
    ),
    "mask": (
        [ONE("Dropout", ["x"], ["d", "m"]), ONE("Cast", ["m"], ["y"], to=FLOAT)],
        {},
        {},
        "'m' is an output that is not supported",
    ),
    "training": (
        [ONE("BatchNormalization", ["x", "a", "a", "a", "a"], ["y", "m", "v"], training_mode=1)],
        {"a": np.ones(3, np.float32)},
        {},
        "training mode",
    ),
    "wide norm": ([ONE("LRN", ["x"], ["y"], size=2)], {}, {}, "even"),
    "groups": ([ONE("Conv", ["x", "w"], ["y"], group=2)], {"w": SQUARE}, {}, "divisible"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    nodes, constants, options, message = REFUSED[case]
    path = save(model(nodes, constants, **options), tmp_path / "net.onnx")
    with pytest.raises(InputError, match=rf"net\.onnx: .*{message}") as caught:
        load_network(str(path))
    assert "\n" not in str(caught.value)


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    given = model([helper.make_node("Conv", ["x", "w"], ["y"])])
    given.graph.input.append(helper.make_tensor_value_info("w", FLOAT, (3, 3, 1, 1)))
    with pytest.raises(InputError, match=r"net\.onnx: 2 inputs \(x, w\)"):
        load_network(str(save(given, tmp_path / "net.onnx")))


def test_external_data_are_read_and_missed(tmp_path: Path) -> None:
    given = model([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": SQUARE})
    path = tmp_path / "net.onnx"
    aside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(given, path, **aside)
    assert read_onnx(path)[0](images(1).float()).shape == (1, 3, SIDE, SIDE)
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(data[:20])
    with pytest.raises(InputError, match=r"net\.onnx: .*20 bytes"):
        load_network(str(path))
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match=r"net\.onnx: .*w\.bin"):
        load_network(str(path))


def test_a_missing_file_and_weights_beside_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.onnx: No such file"):
        load_network(str(tmp_path / "none.onnx"))
    with pytest.raises(InputError, match="weights of its own"):
        load_network(str(tmp_path / "none.onnx"), weights="w.pt")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export(
        make("plain", 1).float().eval(), tmp_path_factory.mktemp("whole") / "a"
    ).read_bytes()


@given(data=st.data())
def test_damage_is_named_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, exported: bytes, data: Any
) -> None:
    path, damaged = tmp_path_factory.getbasetemp() / "damaged.onnx", bytearray(exported)
    for place in data.draw(st.lists(st.integers(0, len(exported) - 1), max_size=5)):
        damaged[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.none() | st.integers(0, len(exported)))
    path.write_bytes(damaged[:end])
    try:
        load_network(str(path))
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'qbnn\[onnx\]'"):
        load_network(str(tmp_path / "net.onnx"))
