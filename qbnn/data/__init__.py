"""Images with labels: named sets and arrays of one's own, in three parts, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from anneal import registry
from anneal.errors import InputError
from anneal.files import Pathlike
from qbnn.data.imagesets import Arrays, Labels, stratified
from qbnn.data.imagesources import Progress

DATASETS = {
    "digits": "qbnn.data.imagesets:digits",
    "mnist": "qbnn.data.imagesets:mnist",
    "fashion-mnist": "qbnn.data.imagesets:fashion_mnist",
    "cifar10": "qbnn.data.imagesets:cifar10",
}
AUGMENTATIONS = ("shift",)
MAX_SHIFT = 2


@dataclass(frozen=True, eq=False)
class Split:
    """Images (M, C, H, W) with labels (M,) of int64.

    An image is bytes 0…levels or floats 0…1 (then ``levels`` is 1); a batch is always floats.
    """

    images: Tensor
    labels: Tensor
    levels: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images at ``indices``, float32 in [0, 1], and their labels.

        >>> split = Split(torch.full((3, 1, 8, 8), 255, dtype=torch.uint8), torch.arange(3))
        >>> images, labels = split.batch(torch.tensor([2, 0]))
        >>> images.shape, images.max(), labels
        (torch.Size([2, 1, 8, 8]), tensor(1.), tensor([2, 0]))
        """
        indices = indices.to(self.images.device)
        return self.images[indices].to(torch.float32) / self.levels, self.labels[indices]

    def to(self, device: torch.device | str) -> Split:
        """Return the split with its tensors on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train on, to choose by (validation) and to report (test)."""

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    class_names: tuple[str, ...]

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """The channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def load(
    name: str,
    *,
    data_dir: Pathlike | None = None,
    download: bool = False,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Return a set of :data:`DATASETS`, or of a function ``"module:name"`` that returns
    :class:`~qbnn.data.imagesets.Arrays`.

    ``data_dir`` is the folder of the set's files or of a folder with the set's name; without it,
    ``QBNN_DATA`` and the user's cache are searched. ``download`` fetches what is missing to
    ``data_dir`` or the cache. ``seed`` decides which images are for validation, and which of each
    part stay under ``limit``; each class has its share. Raises
    :class:`~anneal.errors.InputError` for an unknown name and for files that are missing or wrong.

    >>> found = load("digits")
    >>> len(found.train), len(found.validation), len(found.test), found.in_shape
    (1293, 144, 360, (1, 8, 8))
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    read = registry.resolve(DATASETS, name, kind="dataset")
    arrays = read(data_dir=data_dir, download=download, progress=progress)
    if not isinstance(arrays, Arrays):
        raise InputError(
            f"'{name}' returns {type(arrays).__name__}, not qbnn.data.imagesets.Arrays"
        )
    return _dataset(name, arrays, limit=limit, seed=seed)


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    num_validation: int | None = None,
    seed: int = 0,
    name: str = "arrays",
) -> Dataset:
    """Return a dataset of one's own images (M, H, W) or (M, C, H, W), or of rows (M, W) of pixels.

    Bytes (uint8) stand for 0…255, anything else is from 0 to 1; labels are integers from 0. Where
    ``test`` is not given a fifth of the images becomes it, each class by its share; of the others
    ``num_validation``, a tenth if not given, are for validation. Raises
    :class:`~anneal.errors.InputError` for pixels that are not finite or outside these ranges,
    labels outside 0…num_classes − 1 and lengths that differ.

    >>> found = from_arrays(np.zeros((50, 8, 8)), np.arange(50) % 2)
    >>> len(found.train), len(found.validation), len(found.test), found.num_classes
    (36, 4, 10, 2)
    """
    pixels, classes = _as_images(images, "images"), _as_labels(labels, "labels")
    _check_lengths(pixels, classes, "images", "labels")
    if test is None:
        _check_part(len(pixels) // 5, len(pixels), "testing")
        rest, kept = stratified(classes, len(pixels) // 5, seed=seed)
        test_pixels, test_classes = pixels[kept], classes[kept]
        pixels, classes = pixels[rest], classes[rest]
    else:
        test_pixels, test_classes = _as_images(test[0], "test[0]"), _as_labels(test[1], "test[1]")
        _check_lengths(test_pixels, test_classes, "test[0]", "test[1]")
        _check_alike(pixels, test_pixels)
    names = _class_names(class_names, num_classes, max(classes.max(), test_classes.max()))
    levels = 255 if pixels.dtype == np.uint8 else 1
    held = len(pixels) // 10 if num_validation is None else num_validation
    arrays = Arrays(pixels, classes, test_pixels, test_classes, names, levels, held)
    return _dataset(name, arrays, limit=None, seed=seed)


def batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    augment: str | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once with its label, ``batch_size`` at a time, the last batch maybe less.

    Order and augmentation follow from ``(seed, epoch)`` alone, so a resumed run has no state to
    restore, and neither depends on the size of a batch. ``augment="shift"`` moves each image by up
    to two pixels in both directions, with zeros behind it.

    >>> split = Split(torch.zeros(5, 1, 2, 2), torch.arange(5), levels=1)
    >>> [labels.tolist() for _, labels in batches(split, 2, seed=1, epoch=0)]
    [[4, 0], [1, 2], [3]]
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    if seed < 0 or epoch < 0:
        raise InputError(f"seed and epoch must not be negative, but are {seed} and {epoch}")
    if augment is not None and augment not in AUGMENTATIONS:
        raise registry.unknown(augment, AUGMENTATIONS, kind="augmentation")
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    order = torch.from_numpy(rng.permutation(len(split)) if shuffle else np.arange(len(split)))
    moves = torch.from_numpy(rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, (len(split), 2)))
    return _batches(split, order.split(batch_size), moves.split(batch_size), augment)


def _batches(
    split: Split, order: Sequence[Tensor], moves: Sequence[Tensor], augment: str | None
) -> Iterator[tuple[Tensor, Tensor]]:
    for indices, offsets in zip(order, moves, strict=True):
        images, labels = split.batch(indices)
        yield (images if augment is None else shifted(images, offsets)), labels


def shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Return images (B, C, H, W) moved by ``offsets`` (B, 2) pixels down and to the right.

    At most two pixels; zeros come in behind.

    >>> shifted(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([[1, 0]]))
    tensor([[[[0, 0],
              [1, 2]]]])
    """
    _, channels, height, width = images.shape
    wide = torch.nn.functional.pad(images, (MAX_SHIFT,) * 4)
    start = MAX_SHIFT - offsets.to(images.device)
    rows = start[:, :1] + torch.arange(height, device=images.device)
    columns = start[:, 1:] + torch.arange(width, device=images.device)
    places = (rows[:, :, None] * wide.shape[3] + columns[:, None, :]).flatten(1)
    return wide.flatten(2).gather(2, places[:, None].expand(-1, channels, -1)).view_as(images)


def _dataset(name: str, arrays: Arrays, *, limit: int | None, seed: int) -> Dataset:
    """Return the dataset of arrays, images for validation drawn from those for training."""
    _check_part(arrays.num_validation, len(arrays.labels), "validation")
    rest, held = stratified(arrays.labels, arrays.num_validation, seed=seed)
    parts = [
        (arrays.images, arrays.labels, rest),
        (arrays.images, arrays.labels, held),
        (arrays.test_images, arrays.test_labels, np.arange(len(arrays.test_labels))),
    ]
    splits = [_split(*part, levels=arrays.levels, limit=limit, seed=seed) for part in parts]
    train, validation, test = splits
    return Dataset(name, train, validation, test, len(arrays.class_names), arrays.class_names)


def _split(
    images: NDArray[Any],
    labels: Labels,
    places: NDArray[np.intp],
    *,
    levels: int,
    limit: int | None,
    seed: int,
) -> Split:
    if limit is not None and limit < len(places):
        places = places[stratified(labels[places], limit, seed=seed)[1]]
    classes = torch.from_numpy(labels[places].astype(np.int64))
    return Split(torch.from_numpy(images[places]), classes, levels)


# Checks of arrays that someone brings.


def _as_array(values: ArrayLike, argument: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{argument} is not an array: {error}") from error


def _as_images(images: ArrayLike, argument: str) -> NDArray[Any]:
    """Return images (M, C, H, W) as uint8 or as float32 in [0, 1]."""
    values = _as_array(images, argument)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{argument} must be numbers, not {values.dtype}")
    if values.ndim not in (2, 3, 4) or values.size == 0:
        raise InputError(
            f"{argument} must have shape (M, H, W), (M, C, H, W) or (M, W), not {values.shape}"
        )
    while values.ndim < 4:
        values = values[:, None]
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values).all(axis=(1, 2, 3))))
        raise InputError(f"{argument}[{place}] has a pixel that is not finite")
    if values.min() < 0 or values.max() > 1:
        raise InputError(
            f"pixels of {argument} must be floats from 0 to 1 or bytes (uint8),"
            f" but range from {values.min():g} to {values.max():g}"
        )
    return values.astype(np.float32)


def _as_labels(labels: ArrayLike, argument: str) -> NDArray[np.int64]:
    values = _as_array(labels, argument)
    if values.ndim != 1 or values.dtype.kind not in "biu":
        raise InputError(
            f"{argument} must be integers of shape (M,), not {values.dtype} of {values.shape}"
        )
    if values.size and values.min() < 0:
        place = int(values.argmin())
        raise InputError(f"{argument}[{place}] is {values[place]}; labels start at 0")
    return values.astype(np.int64)


def _check_lengths(images: NDArray[Any], labels: NDArray[Any], first: str, second: str) -> None:
    if len(images) != len(labels):
        raise InputError(
            f"{first} and {second} must have one length, but have {len(images)} and {len(labels)}"
        )


def _check_alike(images: NDArray[Any], test_images: NDArray[Any]) -> None:
    if images.shape[1:] != test_images.shape[1:] or images.dtype != test_images.dtype:
        raise InputError(
            f"test[0] must be of {images.dtype} and {images.shape[1:]} an image, as images are,"
            f" not of {test_images.dtype} and {test_images.shape[1:]}"
        )


def _check_part(count: int, whole: int, purpose: str) -> None:
    if not 1 <= count < whole:
        raise InputError(f"{count} of {whole} images for {purpose}; both parts need at least one")


def _class_names(
    names: Sequence[str] | None, num_classes: int | None, greatest: int
) -> tuple[str, ...]:
    """Return a name for each class; without names and number there are as many as labels say."""
    if num_classes is None:
        num_classes = len(names) if names is not None else max(int(greatest) + 1, 2)
    if greatest >= num_classes:
        raise InputError(f"label {greatest} is not in 0…{num_classes - 1}")
    if names is not None and len(names) != num_classes:
        raise InputError(f"class_names must name {num_classes} classes, not {len(names)}")
    return tuple(map(str, range(num_classes) if names is None else names))
