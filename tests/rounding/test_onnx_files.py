"""ONNX files of rounded networks: onnxruntime gives what torch gives, from the levels alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.rounding.graphs import trace
from anneal.rounding.grids import Grid
from anneal.rounding.layers import RoundedLayer, RoundingOptions
from anneal.rounding.onnx_files import qdq_model, stored, write_qdq
from anneal.rounding.quantisers import Quantiser
from anneal.rounding.sequential import RoundedNetwork, round_network

SIZE = 8


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.inner = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.slope = nn.Parameter(torch.tensor(0.7))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.leaky_relu(self.inner(x) * self.slope + x, 0.1)
        return self.head(x.mean([2, 3]))


class Places(nn.Module):
    """A linear map at each place of an image, and one of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(2, 9), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(x.flatten(2).transpose(1, 2))).mean(1))


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 7, (1, 2), stride=2), nn.Hardtanh(-1, 2), nn.Flatten(), nn.Linear(14, 3),
    )  # fmt: skip


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 1), nn.ReLU6(), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU6(),
        nn.Conv2d(6, 8, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def perceptron() -> nn.Module:
    inputs = 2 * SIZE**2
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3)
    )


NETWORKS = [plain, depthwise, Residual, perceptron, Places]


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def rounded(make: type[nn.Module], bits: int, **options: object) -> RoundedNetwork:
    torch.manual_seed(1)
    settings = RoundingOptions(bits=bits, method="nearest", **options)  # type: ignore[arg-type]
    return round_network(trace(make().eval(), images(2)), images(16), settings)


def run(data: bytes, x: Tensor, *, faithful: bool = True) -> np.ndarray:
    """Run a model; ``faithful``: without onnxruntime's rounding of what the file has in float."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if faithful:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    session = onnxruntime.InferenceSession(
        data,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"] if faithful else [],
    )
    return session.run(None, {"images": x.numpy()})[0]


def constants(data: bytes) -> dict[str, np.ndarray]:
    graph = onnx.load_from_string(data).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def types(data: bytes) -> dict[str, str]:
    graph = onnx.load_from_string(data).graph
    names = onnx.TensorProto.DataType
    return {tensor.name: names.Name(tensor.data_type) for tensor in graph.initializer}


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 9])
def test_runtime_gives_what_torch_gives(make: type[nn.Module], symmetric: bool, bits: int) -> None:
    found = rounded(make, bits, symmetric=symmetric, per_row=bits != 2)
    x = images(20, 5)
    expected = found.traced.module(x).numpy()
    data = qdq_model(found, example=images(2))
    assert np.abs(run(data, x) - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.array_equal(found.traced.module(x).numpy(), expected)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("bits", "activation_bits"), [(1, 8), (4, 4), (4, 8), (8, 8), (8, 11)])
def test_runtime_with_activations_on_grids(
    make: type[nn.Module], bits: int, activation_bits: int
) -> None:
    found = rounded(make, bits, symmetric=bits != 4, activation_bits=activation_bits)
    x = images(40, 5)
    expected = found.traced.module(x).numpy()
    data = qdq_model(found, example=images(2))
    error = np.abs(run(data, x) - expected)
    # A value between two levels may fall on the other one.
    assert (error > 1e-5 * np.abs(expected).max()).mean() < 0.1
    last = list(found.layers.values())[-1]
    assert last.quantiser is not None
    weights = last.grid.weights(last.levels)
    level = float(last.quantiser.scale) * np.abs(weights).sum(1).max()
    assert error.max() < level
    assert np.abs(run(data, x, faithful=False) - expected).max() < level


@pytest.mark.parametrize("make", [depthwise, Places])
@pytest.mark.parametrize(
    ("bits", "symmetric", "kind"),
    [
        (1, True, "INT4"),
        (2, True, "INT4"),
        (4, True, "INT4"),
        (4, False, "UINT4"),
        (8, True, "INT8"),
        (8, False, "UINT8"),
        (16, False, "UINT16"),
    ],
)
def test_what_is_stored_are_the_levels(
    make: type[nn.Module], bits: int, symmetric: bool, kind: str
) -> None:
    found = rounded(make, bits, symmetric=symmetric)
    data = qdq_model(found, example=images(2))
    held, of_type = constants(data), types(data)
    for name, layer in found.layers.items():
        levels = held[f"{name}.levels"].astype(np.int64)
        expected = 2 * layer.levels - 1 if bits == 1 else layer.levels
        assert np.array_equal(levels.reshape(len(levels), -1), expected)
        assert of_type[f"{name}.levels"] == of_type[f"{name}.zero"] == kind
        assert levels.shape == tuple(found.traced.layer(name).weight.shape)
        assert f"{name}.weight" not in held
        assert not np.any(held[f"{name}.zero"].astype(int)) or not symmetric


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 11, 16])
def test_stored_integers_stand_for_the_weights(bits: int, symmetric: bool) -> None:
    found = rounded(plain, bits, symmetric=symmetric)
    for name, layer in found.layers.items():
        part = stored(name, layer)
        scale, zero = (np.reshape(each, (-1, 1)) for each in (part.scale, part.zero))
        assert np.allclose(scale * (part.levels - zero), layer.grid.weights(layer.levels))


def test_one_step_for_a_whole_layer_is_one_number() -> None:
    held = constants(qdq_model(rounded(plain, 4, per_row=False), example=images(2)))
    assert held["0.scale"].shape == held["0.zero"].shape == ()


@pytest.mark.parametrize(("bits", "kind"), [(4, "UINT8"), (8, "UINT8"), (9, "UINT16")])
def test_activations_are_pairs(bits: int, kind: str) -> None:
    found = rounded(plain, 4, activation_bits=bits)
    data = qdq_model(found, example=images(2))
    nodes = onnx.load_from_string(data).graph.node
    made = {output: node for node in nodes for output in node.output}
    for name in found.layers:
        (layer,) = (node for node in nodes if f"{name}.weight" in node.input)
        after = made[layer.input[0]]
        before = made[after.input[0]]
        assert (before.op_type, after.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert list(before.input[1:]) == list(after.input[1:])
        assert types(data)[before.input[2]] == kind
        assert before.input[0].endswith(".clipped") == (bits not in (8, 16))
    assert not any(name.endswith(".mark") for name in constants(data))


def test_four_bits_take_half_of_eight() -> None:
    sizes = [
        len(qdq_model(rounded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 500)), bits),
                      example=images(1)))
        for bits in (4, 8)
    ]  # fmt: skip
    assert sizes[1] - sizes[0] == pytest.approx(128 * 500 / 2 + 250, abs=100)


def test_equal_layers_keep_their_own_levels() -> None:
    # Two tensors that are equal must not become one.
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.Flatten())
    model[2].load_state_dict(model[0].state_dict())
    options = RoundingOptions(bits=3, method="nearest", activation_bits=8)
    found = round_network(trace(model.eval(), images(2)), images(16), options)
    held = constants(qdq_model(found, example=images(2)))
    assert {"0.levels", "2.levels", "0_input.zero", "2_input.zero"} <= set(held)


def test_layers_in_float_stay_in_float() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(3, 2, 2), nn.Flatten())
    options = RoundingOptions(bits=4, method="nearest")
    found = round_network(trace(model.eval(), images(2)), images(16), options)
    data = qdq_model(found, example=images(2))
    assert types(data)["1.weight"] == "FLOAT"
    x = images(3, 1)
    assert np.allclose(run(data, x), found.traced.module(x).numpy(), atol=1e-5)


def test_files_are_whole(tmp_path: Path) -> None:
    found = rounded(plain, 4)
    write_qdq(found, tmp_path / "net.onnx", example=images(2))
    onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)
    with pytest.raises(InputError, match="cannot write"):
        write_qdq(found, tmp_path / "nowhere" / "net.onnx", example=images(2))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i0(self.layer(x))


def test_operations_that_onnx_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written as ONNX: .*i0") as caught:
        write_qdq(rounded(Unknown, 4), tmp_path / "net.onnx", example=images(2))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_grids_without_integers_are_refused() -> None:
    layer = next(iter(rounded(plain, 4).layers.values()))
    rows = len(layer.levels)
    for zero, highest, reason in ((0.3, 15, "whole or half"), (0.0, 2**16, "no type of 16 bits")):
        grid = Grid(np.ones(rows), np.full(rows, zero), 0, highest)
        with pytest.raises(InputError, match=f"layer 'a': .*{reason}"):
            stored("a", layer._replace(grid=grid))


def test_quantisers_of_more_bits_are_refused() -> None:
    found = rounded(plain, 4, activation_bits=8)
    found.traced.module.add_submodule("0_input", Quantiser(1e-6, 0, 20))
    with pytest.raises(InputError, match="'0_input': 20 bits of activations"):
        qdq_model(found, example=images(2))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rounded(plain, 4)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'qbnn\[onnx\]'"):
        qdq_model(found, example=images(2))


def test_half_zeros_of_wider_grids_are_doubled() -> None:
    grid = Grid(np.ones(2), np.array([1.5, 1.0]), 0, 3)
    layer = RoundedLayer(np.array([[0, 3], [0, 3]]), grid, np.zeros(2), 0, 0, 0, 0, 0)
    part = stored("a", layer)
    assert part.levels.tolist() == [[-3, 3], [-2, 4]]
    assert part.scale.tolist() == 0.5 and part.zero.tolist() == 0
