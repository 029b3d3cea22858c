"""The named sets of images and the readers of their files, idx and CIFAR's."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes
from qbnn.data.imagesources import (
    CIFAR10,
    CIFAR_ARCHIVE,
    FASHION_MNIST,
    MNIST,
    Progress,
    Source,
    download_folder,
    fetch,
    file_of,
    find,
    not_found,
)

Bytes = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]

DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
THINGS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class Arrays(NamedTuple):
    """What a set's function returns: images (M, C, H, W) and labels (M,) from 0.

    Pixels are bytes 0…levels, or floats 0…1 where ``levels`` is 1.
    ``num_validation`` of the training images are held back for validation.
    """

    images: NDArray[Any]
    labels: Labels
    test_images: NDArray[Any]
    test_labels: Labels
    class_names: tuple[str, ...]
    levels: int
    num_validation: int


# The one for testing is last: where it is, a download came to its end.
CIFAR_FILES = (*(f"data_batch_{place}.bin" for place in range(1, 6)), "test_batch.bin")
CIFAR_RECORD = 1 + 3 * 32 * 32


# The sets. Each takes the same keywords; a function of one's own may stand beside them.


def digits(
    *, data_dir: Pathlike | None = None, download: bool = False, progress: Progress | None = None
) -> Arrays:
    """Return scikit-learn's 1,797 digits of 8×8 pixels 0…16, which need no file.

    They are the test part of UCI's optical digits (Alpaydin and Kaynak, 1998). The 360 for testing
    are drawn once and for all, each class by its share; 144 of the others are for validation.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images, labels = found.images.astype(np.uint8)[:, None], found.target.astype(np.uint8)
    rest, test = stratified(labels, 360, seed=0)
    return Arrays(images[rest], labels[rest], images[test], labels[test], DIGITS, 16, 144)


def mnist(
    *, data_dir: Pathlike | None = None, download: bool = False, progress: Progress | None = None
) -> Arrays:
    """Return MNIST: 60,000 and 10,000 digits of 28×28 pixels (LeCun, Cortes and Burges, 1998).

    A twelfth of those for training, 5,000, is for validation.
    """
    arrays = _idx_set(MNIST, data_dir, download, progress)
    return Arrays(*arrays, DIGITS, 255, len(arrays[0]) // 12)


def fashion_mnist(
    *, data_dir: Pathlike | None = None, download: bool = False, progress: Progress | None = None
) -> Arrays:
    """Return Fashion-MNIST: 60,000 and 10,000 garments of 28×28 (Xiao et al., arXiv:1708.07747).

    A twelfth of those for training, 5,000, is for validation.
    """
    arrays = _idx_set(FASHION_MNIST, data_dir, download, progress)
    return Arrays(*arrays, GARMENTS, 255, len(arrays[0]) // 12)


def cifar10(
    *, data_dir: Pathlike | None = None, download: bool = False, progress: Progress | None = None
) -> Arrays:
    """Return CIFAR-10: 50,000 and 10,000 colour images of 32×32 (Krizhevsky, 2009).

    The binary version is read, as six files or as the archive of them. A tenth of those for
    training, 5,000, is for validation.
    """
    folder = find(CIFAR10.name, (CIFAR_FILES[-1], CIFAR_ARCHIVE), data_dir)
    if folder is None and download:
        folder = download_folder(CIFAR10.name, data_dir)
        files = _unpack(fetch(CIFAR10, CIFAR_ARCHIVE, progress=progress), folder / CIFAR_ARCHIVE)
        for name, data in files.items():
            write_bytes(folder / name, data)
    if folder is None:
        raise not_found(CIFAR10.name, data_dir)
    if (folder / CIFAR_FILES[-1]).exists():
        files = {name: read_bytes(folder / name) for name in CIFAR_FILES}
    else:
        archive = folder / CIFAR_ARCHIVE
        files = _unpack(read_bytes(archive), archive)
    parts = [_parse_cifar(files[name], folder / name) for name in CIFAR_FILES]
    images, labels = (np.concatenate(group) for group in zip(*parts[:-1], strict=True))
    return Arrays(images, labels, *parts[-1], THINGS, 255, len(images) // 10)


def stratified(labels: Labels, count: int, *, seed: int) -> tuple[NDArray[np.intp], ...]:
    """Return the places of the others and of ``count`` labels, drawn each class by its share.

    Both ascend. A class gives its share rounded up or down. Raises
    :class:`~anneal.errors.InputError` for a negative seed.

    >>> [places.tolist() for places in stratified(np.array([0, 0, 1, 1], np.uint8), 2, seed=1)]
    [[1, 3], [0, 2]]
    """
    if seed < 0:
        raise InputError(f"seed must not be negative, but is {seed}")
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    # Evenly spaced places of the list by class: a class has one of them for each of its strides.
    chosen = order[np.arange(count) * len(labels) // max(count, 1)]
    return np.setdiff1d(np.arange(len(labels)), chosen), np.sort(chosen)


# Files.


def read_idx(path: Pathlike, *, rank: int) -> Bytes:
    """Return the array of unsigned bytes, of ``rank`` dimensions, in an idx file, gzip or not.

    Two zeros, the type (8: unsigned byte), the rank, each extent as four bytes, the most
    significant first, then the values (LeCun, Cortes and Burges). Raises
    :class:`~anneal.errors.InputError` with the file's name for anything else.
    """
    return _parse_idx(read_bytes(path), path, rank)


def _parse_idx(data: bytes, path: Pathlike, rank: int) -> Bytes:
    start = 4 + 4 * rank
    if data[:3] != b"\0\0\x08":
        raise InputError("not an idx file of unsigned bytes: it starts otherwise", path=path)
    if data[3:4] != bytes([rank]):
        found = f"has {data[3]} dimensions" if len(data) > 3 else "ends within its header"
        raise InputError(f"{found}; {rank} are expected", path=path)
    if len(data) < start:
        raise InputError(f"ends within its header of {start} bytes", path=path)
    shape = struct.unpack_from(f">{rank}I", data, 4)
    size, found_size = math.prod(shape), len(data) - start
    if found_size != size:
        fault = "is cut short" if found_size < size else "goes on after its end"
        raise InputError(f"{fault}: {size} values announced, {found_size} found", path=path)
    if size == 0:
        raise InputError("holds nothing", path=path)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _idx_set(
    source: Source, data_dir: Pathlike | None, download: bool, progress: Progress | None
) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Return the four arrays of a set of idx files, images with one channel."""
    files = source.files
    folder = find(source.name, (*files, *(f"{name}.gz" for name in files)), data_dir)
    if download:
        folder = folder or download_folder(source.name, data_dir)
        missing = [name for name in files if not file_of(folder, name).exists()]
        for place, name in enumerate(missing):
            data = fetch(source, name, place=place, of=len(missing), progress=progress)
            write_bytes(folder / name, data)
    if folder is None:
        raise not_found(source.name, data_dir)
    paths = [file_of(folder, name) for name in files]
    train = _images_and_labels(source, paths[0], paths[1])
    test = _images_and_labels(source, paths[2], paths[3])
    if train[0].shape[1:] != test[0].shape[1:]:
        size = "×".join(map(str, train[0].shape[2:]))
        raise InputError(
            f"its images are not of {size} pixels as those for training", path=paths[2]
        )
    return *train, *test


def _images_and_labels(source: Source, images: Path, labels: Path) -> tuple[Bytes, Bytes]:
    data = read_bytes(labels)
    digest = hashlib.sha256(data).hexdigest()
    for other in (MNIST, FASHION_MNIST):
        # They share their files' names; one taken for the other would train without a word.
        if other is not source and digest in other.sha256:
            raise InputError(f"is of '{other.name}', not of '{source.name}'", path=labels)
    classes = _parse_idx(data, labels, 1)
    pixels = read_idx(images, rank=3)
    if len(pixels) != len(classes):
        raise InputError(f"{len(pixels)} images, but {len(classes)} labels", path=images)
    _check_labels(classes, labels)
    return pixels[:, None], classes


def _parse_cifar(data: bytes, path: Path) -> tuple[Bytes, Bytes]:
    """Return images (M, 3, 32, 32) and labels: a byte, then three planes of bytes, row by row."""
    if not data or len(data) % CIFAR_RECORD:
        raise InputError(f"its {len(data)} bytes are not records of {CIFAR_RECORD} each", path=path)
    records = np.frombuffer(data, np.uint8).reshape(-1, CIFAR_RECORD)
    _check_labels(records[:, 0], path)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _check_labels(labels: Bytes, path: Path) -> None:
    place = int(labels.argmax())
    if labels[place] > 9:
        raise InputError(f"label {labels[place]} of image {place} is not in 0…9", path=path)


def _unpack(data: bytes, path: Path) -> dict[str, bytes]:
    """Return CIFAR's six files out of their archive, which is never unpacked on the disk."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                wanted = member.isfile() and name in CIFAR_FILES
                if wanted and (stream := archive.extractfile(member)):
                    found[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"damaged archive: {error}", path=path) from error
    missing = [name for name in CIFAR_FILES if name not in found]
    if missing:
        raise InputError(f"the archive lacks {', '.join(missing)}", path=path)
    return found
