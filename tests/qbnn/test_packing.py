"""Packed networks without torch: files, threads, images, sums of numbers."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from anneal.errors import InputError
from qbnn.deploy.compiled import compile_network
from qbnn.deploy.files import read_compiled, write_compiled
from qbnn.deploy.packing import PackedNetwork, load_packed
from qbnn.deploy.xnor_table import load_table
from tests.qbnn.compiled import make_images, make_network, make_split

CONV = "5C3-MP2-9C2S2P0-70FC-SM10"


@pytest.mark.parametrize("kind", ["bits", "ternary", "ensemble"])
@pytest.mark.parametrize(
    "config", [{}, {"input": "real"}, {"family": "sign"}, {"architecture": "65FC-SM3"}]
)
def test_a_file_gives_the_network_back(tmp_path: Path, kind: str, config: dict[str, str]) -> None:
    if config.get("family") == "sign" and kind != "bits":
        return
    network = make_network(seed=1, **{"architecture": CONV, **config})
    packed = compile_network(network, kind=kind, split=make_split(network, 50), num_members=2)
    size = packed.save(tmp_path / "net")
    assert size == (tmp_path / "net").stat().st_size
    found, images = load_packed(tmp_path / "net"), make_images(network, 20)
    np.testing.assert_array_equal(found.logits(images), packed.logits(images))


def test_bits_take_a_bit_each(tmp_path: Path) -> None:
    network = make_network("512FC-512FC-SM10", seed=0, in_shape=(1, 28, 28))
    size = compile_network(network).save(tmp_path / "net")
    # 13 words for each of 512 neurons and 8 for the others, thresholds and a header.
    assert size < 8 * (512 * 13 + 522 * 8) + 8 * 1034 + 2000


def test_a_packed_network_runs_without_torch(tmp_path: Path) -> None:
    network = make_network(CONV, seed=0)
    packed, images = compile_network(network), make_images(network, 3)
    packed.save(tmp_path / "net")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, numpy as np; from qbnn.deploy.packing import load_packed;"
        "print(load_packed('net').logits(np.load('images.npy')).tolist());"
        "assert not {'torch', 'pennylane'} & sys.modules.keys()"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == packed.logits(images).tolist()


@pytest.mark.parametrize("architecture", [CONV, "130FC-SM3", "SM2"])
@pytest.mark.parametrize("kind", ["bits", "ternary"])
def test_threads_change_nothing(architecture: str, kind: str) -> None:
    network = make_network(architecture, seed=0)
    packed = compile_network(network, kind=kind, split=make_split(network, 50))
    images = make_images(network, 700)
    one = packed.logits(images, num_threads=1)
    np.testing.assert_array_equal(packed.logits(images, num_threads=3), one)
    np.testing.assert_array_equal(packed.logits(images), one)
    halves = [packed.logits(part) for part in (images[:300], images[300:])]
    np.testing.assert_array_equal(np.concatenate(halves), one)


def test_logits_of_one_call_are_those_of_the_sums() -> None:
    network = make_network("130FC-SM3", seed=0, in_shape=(1, 5, 7))
    packed, images = compile_network(network), make_images(network, 9)
    assert isinstance(packed, PackedNetwork)
    sums = packed.sums(images)
    np.testing.assert_array_equal(packed.logits(images), packed.layers[-1].affine(sums))


def test_no_images_give_no_logits() -> None:
    for architecture, source in ((CONV, "bernoulli"), ("7FC-SM10", "real"), ("SM10", "bernoulli")):
        network = make_network(architecture, seed=0, input=source)
        assert compile_network(network).logits(np.zeros((0, 2, 9, 8))).shape == (0, 10)


def test_sums_of_numbers_are_exact_in_any_order() -> None:
    network = make_network("SM2", seed=0, input="real", in_shape=(1, 28, 28))
    packed = compile_network(network)
    assert isinstance(packed, PackedNetwork)
    images = np.random.default_rng(0).random((20, 1, 28, 28), np.float32)
    images[0] = np.float32(1e-9)
    values = (2 * images - 1).reshape(20, -1).astype(float)
    wanted = [[math.fsum(row * spins) for spins in packed.layers[0].spins] for row in values]
    assert packed.sums(images).tolist() == wanted


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.zeros((3, 1, 9, 8)), r"shape \(batch, 2, 9, 8\), but was given \(3, 1, 9, 8\)"),
        (np.zeros((2, 9, 8)), r"was given \(2, 9, 8\)"),
        (np.full((1, 2, 9, 8), np.nan), "not a finite number from 0 to 1"),
        (np.full((1, 2, 9, 8), -np.inf), "not a finite number from 0 to 1"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: np.ndarray, reason: str) -> None:
    for architecture in (CONV, "SM10"):
        packed = compile_network(make_network(architecture, seed=0))
        with pytest.raises(InputError, match=reason):
            packed.logits(images)


def test_damaged_files_are_named_and_refused(tmp_path: Path) -> None:
    path, network = tmp_path / "net", make_network(CONV, seed=0)
    compile_network(network).save(path)
    whole = path.read_bytes()
    arrays, document = read_compiled(path, "packed")
    damages = {
        "cut short": whole[:-3],
        "not a whole": b"PK" + whole[2:],
        "does not hold what was written": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
        "what was written": whole.replace(b"flipped", b"flapped", 1),
        "no compiled network": save(arrays),
        "of version 2, not 'qbnn-packed' of version 1": save(
            arrays, {"qbnn": json.dumps({**document, "version": 2}), "checksum": "0"}
        ),
        "cut short: ": b"",
    }
    for reason, data in damages.items():
        path.write_bytes(data)
        with pytest.raises(InputError, match=reason) as error:
            load_packed(path)
        assert str(error.value).startswith(str(path))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    network = make_network("SM2", seed=0)
    compile_network(network).save(tmp_path / "bits")
    compile_network(network, kind="table").save(tmp_path / "table")
    with pytest.raises(InputError, match="holds 'qbnn-table' of version 1, not 'qbnn-packed'"):
        load_packed(tmp_path / "table")
    with pytest.raises(InputError, match="holds 'qbnn-packed'"):
        load_table(tmp_path / "bits")
    with pytest.raises(InputError, match="No such file"):
        load_packed(tmp_path / "nothing")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_compiled(tmp_path / "nowhere" / "net", "packed", {}, {})
    assert list(tmp_path.iterdir()) == []
