"""Checkpoints: what is saved comes back, what is damaged is named, a kill leaves a whole file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anneal import files
from anneal.errors import InputError
from anneal.files import write_bytes
from qbnn.config import Config
from qbnn.models import Network
from qbnn.training import checkpoints

CONFIG = Config(architecture="2C3-MP2-SM3", in_shape=(1, 4, 4), family="real4", seed=5)


def network() -> Network:
    return Network(CONFIG).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    checkpoints.save(path, network(), {"epoch": 2, "data": "digits"})
    return path


def edited(path: Path, *, document: Any = None, drop: str = "", **tensors: torch.Tensor) -> None:
    """Write the file again with a part of its document or its tensors changed."""
    stored = checkpoints.read(path, "network")
    kept = {name: tensor for name, tensor in stored.tensors.items() if name != drop} | tensors
    words = json.dumps({**stored.document, **(document or {})})
    write_bytes(path, safetensors.torch.save(kept, {"qbnn": words}))


@pytest.mark.parametrize("family", ["none", "real4", "scaled", "sign", "free"])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_network_comes_back(tmp_path: Path, family: str, trainable: bool) -> None:
    config = CONFIG.model_copy(update={"family": family, "trainable": trainable})
    made = Network(config).eval()
    checkpoints.save(tmp_path / "net.safetensors", made, {"epoch": 1})
    found, extra = checkpoints.load(tmp_path / "net.safetensors")
    assert (found.config, extra) == (config, {"epoch": 1})
    images = torch.rand(3, 1, 4, 4)
    made.reseed(1)
    found.reseed(1)
    assert torch.equal(found(images), made(images))
    assert not found.training


def test_a_folder_stands_for_its_best(saved: Path) -> None:
    assert checkpoints.load(saved.parent)[1] == {"epoch": 2, "data": "digits"}
    with pytest.raises(InputError, match=r"holds no best\.safetensors"):
        checkpoints.load(saved.parent.parent)


def test_other_settings_that_fit_the_weights(saved: Path) -> None:
    found = checkpoints.load(saved, changes={"mode": "sample", "pool": "or"})[0]
    assert (found.config.mode, found.config.pool) == ("sample", "or")
    with pytest.raises(InputError, match=r"best\.safetensors: .*architecture"):
        checkpoints.load(saved, changes={"architecture": "9X"})


# What is damaged


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_named(saved: Path, part: float) -> None:
    data = saved.read_bytes()
    torn = saved.with_name("torn.safetensors")
    torn.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"torn\.safetensors: not a whole safetensors file"):
        checkpoints.load(torn)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a whole safetensors file"),
        (b"PK\x03\x04 something else altogether", "not a whole safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "not a whole safetensors file"),
        (struct.pack("<Q", 2) + b"{}", "but no network of qbnn"),
        (safetensors.torch.save({"w": torch.ones(2)}), "but no network of qbnn"),
        (safetensors.torch.save({"w": torch.ones(2)}, {"qbnn": "["}), "but no network of qbnn"),
        (safetensors.torch.save({"w": torch.ones(2)}, {"qbnn": "3"}), "but no network of qbnn"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"x.safetensors: .*{words}"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"document": {"version": 2}}, "of version 2; this program reads version 1"),
        ({"document": {"format": "qbnn-state"}}, "holds 'qbnn-state', not 'qbnn-network'"),
        ({"document": {"config": None}}, "has no table 'config'"),
        ({"document": {"config": {"architecture": "SM3"}}}, "in_shape"),
        ({"document": {"config": {**CONFIG.model_dump(), "depth": 3}}}, "unknown setting 'depth'"),
        ({"document": {"config": {**CONFIG.model_dump(), "family": "su5"}}}, "did you mean 'su4'"),
        ({"document": {"extra": [1]}}, "has no table 'extra'"),
        ({"drop": "blocks.0.layer.latent"}, "'blocks.0.layer.latent' is missing"),
        ({"drop": "blocks.1.norm.running_mean"}, "'blocks.1.norm.running_mean' is missing"),
        ({"more": torch.ones(1)}, "'more' is none of this network"),
        (
            {"blocks.0.layer.latent": torch.ones(2, 1, 3, 2)},
            r"float32 of shape \(2, 1, 3, 3\), but is float32 of shape \(2, 1, 3, 2\)",
        ),
        (
            {"blocks.1.norm.gamma": torch.ones(3, dtype=torch.float64)},
            r"float32 of shape \(3,\), but is float64",
        ),
        ({"blocks.1.norm.gamma": torch.tensor([1.0, torch.nan, 1.0])}, "not finite"),
        ({"blocks.1.norm.gamma": torch.tensor([1.0, torch.inf, 1.0])}, "not finite"),
    ],
)
def test_a_wrong_network_is_named(saved: Path, change: dict[str, Any], words: str) -> None:
    edited(saved, **change)
    with pytest.raises(InputError, match=rf"best\.safetensors: .*{words}"):
        checkpoints.load(saved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors: No such file"):
        checkpoints.load(tmp_path / "none.safetensors")


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a JSON value"):
        checkpoints.save(tmp_path / "x.safetensors", network(), {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_kill_while_writing_leaves_the_previous_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(saved, Network(CONFIG.model_copy(update={"seed": 6})), {})
    assert saved.read_bytes() == before
    assert checkpoints.load(saved)[1]["epoch"] == 2


# States


def stepped(made: Network) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(made.parameters(), lr=0.1, fused=True)
    for _ in range(3):
        loss = made.loss(torch.rand(6, 1, 4, 4), torch.arange(6) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return optimizer


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    made = Network(CONFIG)
    optimizer = stepped(made)
    best = network().state_dict()
    path = tmp_path / "state.safetensors"
    checkpoints.save_state(path, made, optimizer, best=best, history=[{"epoch": 1}])
    other = Network(CONFIG)
    fresh = torch.optim.Adam(other.parameters(), lr=0.1, fused=True)
    history, kept = checkpoints.load_state(path, other, fresh)
    assert history == [{"epoch": 1}]
    assert all(torch.equal(kept[name], best[name]) for name in best)
    for name, tensor in made.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    old, new = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert old.keys() == new.keys()
    assert all(torch.equal(old[i][name], new[i][name]) for i in old for name in old[i])


def test_a_state_of_another_network_is_named(tmp_path: Path) -> None:
    made = Network(CONFIG)
    path = tmp_path / "state.safetensors"
    checkpoints.save_state(path, made, stepped(made), best=made.state_dict(), history=[])
    other = Network(CONFIG.model_copy(update={"seed": 6}))
    optimizer = torch.optim.Adam(other.parameters())
    with pytest.raises(InputError, match=r"state\.safetensors: .*another config"):
        checkpoints.load_state(path, other, optimizer)
    with pytest.raises(InputError, match="holds 'qbnn-state', not 'qbnn-network'"):
        checkpoints.load(path)
    stored = checkpoints.read(path, "state")
    checkpoints.write(path, "state", stored.tensors, {"config": CONFIG.model_dump(mode="json")})
    with pytest.raises(InputError, match=r"state\.safetensors: a damaged state"):
        checkpoints.load_state(path, Network(CONFIG), optimizer)
