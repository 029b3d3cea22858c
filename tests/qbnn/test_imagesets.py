"""Named sets of images: what their files and hosts may hold, and where they may lie."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from anneal.errors import InputError
from qbnn.data import Dataset, Split, imagesets, imagesources, load
from qbnn.data.imagesets import read_idx, stratified

RNG = np.random.default_rng(3)
TRAIN = RNG.integers(0, 256, (36, 28, 28), np.uint8), np.arange(36, dtype=np.uint8) % 10
TEST = RNG.integers(0, 256, (12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 10


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def idx_files(train=TRAIN, test=TEST) -> dict[str, bytes]:
    return dict(zip(imagesources.IDX_FILES, map(idx, (*train, *test)), strict=True))


def write(folder: Path, files: Mapping[str, bytes], *, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return folder


def cifar_files() -> dict[str, bytes]:
    """Return six files of 20 records whose image k of file f is k, 2k, 3k + f by channel."""
    files = {}
    for place, name in enumerate(imagesets.CIFAR_FILES):
        records = np.zeros((20, 1 + 3 * 1024), np.uint8)
        records[:, 0] = np.arange(20) % 10
        for channel in range(3):
            part = records[:, 1 + 1024 * channel : 1025 + 1024 * channel]
            part[:] = ((channel + 1) * np.arange(20) + place * (channel == 2))[:, None]
        records[:, 2] = 255  # row 0, column 1 of red
        files[name] = records.tobytes()
    return files


def archive_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No set is found but where a test puts it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("QBNN_DATA", raising=False)


def whole(dataset: Dataset) -> Split:
    """Return the images for training and validation together."""
    first, second = dataset.train, dataset.validation
    images, labels = (
        torch.cat([first.images, second.images]),
        torch.cat([first.labels, second.labels]),
    )
    return Split(images, labels, first.levels)


# Files


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=3, max_dims=3)), st.booleans())
def test_idx_reads_what_was_written(tmp_path_factory, values, packed) -> None:
    folder = write(tmp_path_factory.mktemp("idx"), {"f": idx(values)}, packed=packed)
    np.testing.assert_array_equal(read_idx(next(folder.iterdir()), rank=3), values)


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_cut_anywhere_is_refused_by_name(tmp_path: Path, packed: bool) -> None:
    data = idx(RNG.integers(0, 256, (3, 4, 5)))
    data = gzip.compress(data, mtime=0) if packed else data
    path = tmp_path / "images"
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match="images: ") as caught:
            read_idx(path, rank=3)
        assert "\n" not in str(caught.value)


@given(st.integers(0, 200), st.integers(1, 255), st.booleans())
def test_a_changed_byte_changes_values_or_is_refused(
    tmp_path_factory, place: int, change: int, packed: bool
) -> None:
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    data = bytearray(gzip.compress(idx(values), mtime=0) if packed else idx(values))
    data[place % len(data)] ^= change
    path = tmp_path_factory.mktemp("idx") / "images"
    path.write_bytes(bytes(data))
    try:
        found = read_idx(path, rank=3)
    except InputError as error:
        assert "images: " in str(error)
    else:
        assert found.size == 60


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_an_array_or_refused(tmp_path_factory, data: bytes, headed: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / "labels"
    path.write_bytes(b"\0\0\x08\x01" + data if headed else data)
    try:
        assert read_idx(path, rank=1).ndim == 1
    except InputError as error:
        assert str(error).startswith(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "starts otherwise"),
        (b"\0\0\x0d\x01" + bytes(8), "unsigned bytes"),
        (b"\0\0\x08", "ends within its header; 3"),
        (idx(np.zeros(4)), "has 1 dimensions; 3"),
        (b"\0\0\x08\x03" + bytes(7), "ends within its header of 16 bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "cut short: 79228162458924105385300197375 values"),
        (idx(np.zeros((2, 2, 2))) + b"x", "goes on after its end: 8 values announced, 9 found"),
        (idx(np.zeros((2, 0, 2))), "holds nothing"),
        (gzip.compress(idx(np.zeros((2, 2, 2))), mtime=0)[:-4], "damaged gzip"),
    ],
)
def test_a_wrong_idx_file_says_what_is_wrong(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(data)
    with pytest.raises(InputError, match=f"images: .*{message}"):
        read_idx(tmp_path / "images", rank=3)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train-labels-idx1-ubyte": idx(np.array([*range(10), 10] + [0] * 25))}, "label 10 of "),
        ({"t10k-labels-idx1-ubyte": idx(np.zeros(11))}, "12 images, but 11 labels"),
        ({"t10k-images-idx3-ubyte": idx(np.zeros((12, 27, 28)))}, "not of 28×28 pixels"),
    ],
)
def test_files_that_disagree_are_refused(tmp_path: Path, files, message: str) -> None:
    write(tmp_path, {**idx_files(), **files})
    with pytest.raises(InputError, match=f"ubyte: .*{message}"):
        load("mnist", data_dir=tmp_path)


# Where sets lie


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", ["", "mnist"])
@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_set_is_found(tmp_path, monkeypatch, packed: bool, inside: str, named: str) -> None:
    base = tmp_path / "data"
    write(base / inside, idx_files(), packed=packed)
    if named == "environment":
        monkeypatch.setenv("QBNN_DATA", str(base))
    found = load("mnist", data_dir=base if named == "argument" else None)
    assert found.in_shape == (1, 28, 28) and found.num_classes == 10
    assert (len(found.train), len(found.validation), len(found.test)) == (33, 3, 12)
    images, labels = found.test.batch(torch.arange(12))
    np.testing.assert_array_equal(labels, TEST[1])
    np.testing.assert_allclose(images[:, 0], TEST[0] / 255, rtol=1e-6)
    assert sorted(map(bytes, TRAIN[0])) == sorted(
        bytes(image.numpy()) for image in whole(found).images
    )


def test_a_missing_set_names_the_ways_out(tmp_path: Path) -> None:
    for name in ("mnist", "fashion-mnist", "cifar10"):
        with pytest.raises(InputError, match=r"--data-dir or QBNN_DATA.*--download"):
            load(name)


def test_only_the_folder_that_was_named_is_searched(tmp_path: Path) -> None:
    write(tmp_path / "cache" / "qbnn" / "mnist", idx_files())
    assert load("mnist").in_shape == (1, 28, 28)
    with pytest.raises(InputError, match="no files of 'mnist' in"):
        load("mnist", data_dir=tmp_path / "elsewhere")


def test_a_set_that_lacks_a_file_names_it(tmp_path: Path) -> None:
    write(tmp_path, idx_files(), packed=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte: No such file"):
        load("mnist", data_dir=tmp_path)


# Downloads


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a small MNIST and a small CIFAR-10 on a host of our own; return its folder."""
    folder = write(tmp_path / "host", idx_files(), packed=True)
    archive = archive_of(cifar_files())
    (folder / imagesources.CIFAR_ARCHIVE).write_bytes(archive)
    digests = tuple(hashlib.sha256(data).hexdigest() for data in idx_files().values())
    mnist = replace(imagesources.MNIST, url=f"{folder.as_uri()}/", sha256=digests)
    monkeypatch.setattr(imagesets, "MNIST", mnist)
    digest = hashlib.sha256(archive).hexdigest()
    cifar = replace(imagesources.CIFAR10, url=f"{folder.as_uri()}/", sha256=(digest,))
    monkeypatch.setattr(imagesets, "CIFAR10", cifar)
    return folder


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_downloaded_set_is_kept(tmp_path: Path, host: Path, name: str) -> None:
    seen: list[float] = []
    first = load(name, download=True, progress=lambda fraction, remark: seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1 and min(seen) > 0
    assert (tmp_path / "cache" / "qbnn" / name).is_dir()
    for path in host.iterdir():
        path.unlink()
    for again in (load(name), load(name, download=True)):
        assert torch.equal(again.train.images, first.train.images)
    there = tmp_path / "there"
    with pytest.raises(InputError, match=r"cannot download file:.*No such file"):
        load(name, data_dir=there, download=True)


def test_a_download_fetches_what_is_missing(tmp_path: Path, host: Path) -> None:
    folder = write(tmp_path / "data" / "mnist", idx_files(), packed=True)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    before = {path.name for path in folder.iterdir()}
    assert len(load("mnist", data_dir=tmp_path / "data", download=True).test) == 12
    assert {path.name for path in folder.iterdir()} - before == {"t10k-labels-idx1-ubyte"}


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_download_with_another_digest_is_refused(tmp_path: Path, host: Path, name: str) -> None:
    write(host, idx_files(TEST, TEST), packed=True)
    (host / imagesources.CIFAR_ARCHIVE).write_bytes(archive_of({"readme.html": b""}))
    with pytest.raises(InputError, match=r"has SHA-256 \w{64}; \w{64} is expected"):
        load(name, download=True)
    assert list((tmp_path / "cache" / "qbnn" / name).iterdir()) == []


def test_a_download_that_is_cut_is_refused(host: Path) -> None:
    path = host / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"cannot download .*train-images"):
        load("mnist", download=True)


# CIFAR-10


@pytest.mark.parametrize("inside", ["", "cifar10", "cifar-10-batches-bin"])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_is_read(tmp_path: Path, inside: str, packed: bool) -> None:
    files = cifar_files()
    if packed:
        files = {imagesources.CIFAR_ARCHIVE: archive_of({**files, "readme.html": b"x"})}
    write(tmp_path / inside, files)
    found = load("cifar10", data_dir=tmp_path)
    assert found.in_shape == (3, 32, 32) and found.class_names[9] == "truck"
    assert (len(found.train), len(found.validation), len(found.test)) == (90, 10, 20)
    images, labels = found.test.batch(torch.tensor([7]))
    assert labels.item() == 7 and images[0, 0, 0, 1] == 1 and images[0, 0, 1, 0] == 7 / 255
    assert images[0, :, 5, 5].mul(255).round().tolist() == [7, 14, 26]
    every = whole(found).images[:, 2, 0, 0].tolist()
    assert sorted(every) == sorted(3 * k + f for f in range(5) for k in range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "records of 3073 each"),
        (lambda data: b"", "its 0 bytes"),
        (lambda data: b"\x0a" + data[1:], "label 10 of image 0"),
    ],
)
def test_wrong_cifar_files_are_refused(tmp_path: Path, change, message: str) -> None:
    files = cifar_files()
    files["data_batch_3.bin"] = change(files["data_batch_3.bin"])
    write(tmp_path, files)
    with pytest.raises(InputError, match=f"data_batch_3.bin: .*{message}"):
        load("cifar10", data_dir=tmp_path)


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    data = archive_of(cifar_files())
    for end in range(0, len(data) - 8, 29):
        write(tmp_path, {imagesources.CIFAR_ARCHIVE: data[:end]})
        with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz: "):
            load("cifar10", data_dir=tmp_path)
    lacking = {name: data for name, data in cifar_files().items() if "3" not in name}
    write(tmp_path, {imagesources.CIFAR_ARCHIVE: archive_of(lacking)})
    with pytest.raises(InputError, match=r"lacks data_batch_3\.bin"):
        load("cifar10", data_dir=tmp_path)


# The real ones


MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(
    ("name", "counts", "test_counts", "mean", "deviation"),
    [
        ("mnist", MNIST_COUNTS, MNIST_TEST_COUNTS, 0.1307, 0.3081),
        ("fashion-mnist", [6000] * 10, [1000] * 10, 0.2860, 0.3530),
    ],
)
def test_known_facts_of_the_real_sets(
    data_folder: Path, name: str, counts, test_counts, mean: float, deviation: float
) -> None:
    found = load(name, data_dir=data_folder)
    every = whole(found)
    assert (len(found.train), len(found.validation), len(found.test)) == (55_000, 5_000, 10_000)
    assert torch.bincount(every.labels).tolist() == counts
    assert torch.bincount(found.test.labels).tolist() == test_counts
    shares = np.array(counts) / 12
    assert (np.abs(torch.bincount(found.validation.labels).numpy() - shares) < 1).all()
    levels = torch.bincount(every.images.flatten().int(), minlength=256).double()
    pixels, weights = torch.arange(256) / 255, levels / levels.sum()
    first = (weights * pixels).sum()
    assert first.item() == pytest.approx(mean, abs=5e-5)
    spread = (weights * (pixels - first) ** 2).sum().sqrt()
    assert spread.item() == pytest.approx(deviation, abs=5e-5)


@pytest.mark.parametrize("source", [imagesources.MNIST, imagesources.FASHION_MNIST])
def test_real_files_have_the_digests_that_downloads_are_held_to(data_folder, source) -> None:
    for name, digest in zip(source.files, source.sha256, strict=True):
        path = imagesources.file_of(data_folder / source.name, name)
        data = path.read_bytes()
        content = gzip.decompress(data) if path.suffix == ".gz" else data
        assert hashlib.sha256(content).hexdigest() == digest


def test_a_set_is_not_taken_for_another(data_folder: Path) -> None:
    with pytest.raises(InputError, match="is of 'mnist', not of 'fashion-mnist'"):
        load("fashion-mnist", data_dir=data_folder / "mnist")


@given(npst.arrays(np.uint8, st.integers(1, 80), elements=st.integers(0, 6)), st.data())
def test_a_stratified_draw_takes_each_class_by_its_share(labels, data) -> None:
    count = data.draw(st.integers(0, len(labels)))
    rest, chosen = stratified(labels, count, seed=data.draw(st.integers(0, 9)))
    assert sorted([*rest, *chosen]) == list(range(len(labels))) and len(chosen) == count
    share = np.bincount(labels, minlength=7) * count / len(labels)
    assert (np.abs(np.bincount(labels[chosen], minlength=7) - share) < 1 + 1e-9).all()
