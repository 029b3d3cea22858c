"""Folders of images as tensors: what a network is calibrated and judged on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_VALUE = 255
Labels = Literal["none", "names", "folders"]


class Preprocessing(NamedTuple):
    """How pixels of 0 … 255 become what a network reads: (x − mean)/std at size × size.

    ``mean``, ``std``: of all channels or of each. ``channels``: 3 of colour, or 1. ``crop``: share
    of the shorter side that is kept, from the middle, as for ImageNet's 224 of 256.
    """

    size: int = 224
    mean: float | tuple[float, ...] = 127.0
    std: float | tuple[float, ...] = 128.0
    channels: int = 3
    crop: float = 0.875

    def __call__(self, values: Tensor) -> Tensor:
        """Return (x − mean)/std of pixels, (…, channels, height, width)."""
        mean, std = (
            torch.as_tensor(each, dtype=values.dtype).reshape(-1, 1, 1)
            for each in (self.mean, self.std)
        )
        return (values - mean) / std

    def example(self) -> Tensor:
        """Return a batch of one black image."""
        return self(torch.zeros(1, self.channels, self.size, self.size))

    def span(self) -> tuple[float, float]:
        """Return the least and the greatest number that a pixel can become.

        >>> Preprocessing(mean=(0, 51), std=(255, 51)).span()
        (-1.0, 4.0)
        """
        ends = self(torch.tensor([0.0, MAX_VALUE]).reshape(2, 1, 1, 1))
        return float(ends.min()), float(ends.max())

    def check(self) -> None:
        """Raise :class:`~anneal.errors.InputError` for what no image can become."""
        if self.size < 1:
            raise InputError(f"size of images must be at least 1, is {self.size}")
        if self.channels not in (1, 3):
            raise InputError(f"images have 1 or 3 channels, not {self.channels}")
        if not 0 < self.crop <= 1:
            raise InputError(f"crop must be more than 0 and at most 1, is {self.crop:g}")
        for name, given in (("mean", self.mean), ("std", self.std)):
            each = given if isinstance(given, tuple) else (given,)
            if len(each) not in (1, self.channels) or not np.isfinite(each).all():
                raise InputError(f"{name} must be one number, or one for each channel")
        if np.min(self.std) <= 0:
            raise InputError("std must be positive")


class Images(NamedTuple):
    """Images, (num, channels, size, size), their class numbers if known, and their files."""

    pixels: Tensor
    labels: Tensor | None
    files: list[Path]

    def take(self, index: Tensor) -> Images:
        """Return the images of these numbers."""
        labels = None if self.labels is None else self.labels[index]
        return Images(self.pixels[index], labels, [self.files[int(i)] for i in index])


def read_images(
    folder: Pathlike,
    preprocessing: Preprocessing,
    *,
    labels: Labels = "none",
    limit: int | None = None,
    progress: Callable[[float, str], None] = lambda fraction, remark: None,
) -> Images:
    """Return the images of a folder, in the order of their names.

    ``labels``: the class is the number that a file's name is (``names``), or its folder's place
    among all folders (``folders``). ``limit``: take so many, evenly spread. Raises
    :class:`~anneal.errors.InputError` for a folder without images, an image that does not decode
    and a name that is no number.
    """
    preprocessing.check()
    files = list_images(folder)
    found = _labels(files, labels)
    if limit is not None and limit < len(files):
        places = np.linspace(0, len(files) - 1, limit).astype(int)
        files = [files[i] for i in places]
        found = None if found is None else found[torch.from_numpy(places)]
    pixels = []
    for number, file in enumerate(files):
        progress(number / len(files), f"image {number + 1} of {len(files)}")
        pixels.append(_read(file, preprocessing))
    return Images(torch.stack(pixels), found, files)


def list_images(folder: Pathlike) -> list[Path]:
    """Return the image files in a folder and below it, in the order of their names."""
    where = Path(folder)
    if not where.is_dir():
        raise InputError("no such folder", path=where)
    files = sorted(path for path in where.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise InputError("the folder holds no image", path=where)
    return files


def split(images: Images, num_calibration: int, *, seed: int = 0) -> tuple[Images, Images]:
    """Return so many images for calibration and all others, held out, drawn by a seed.

    Raises :class:`~anneal.errors.InputError` where fewer than two, or none to be held out, are
    left.
    """
    total = len(images.files)
    if not 2 <= num_calibration < total:
        raise InputError(
            f"{num_calibration} images for calibration: it must be at least 2 and less than the "
            f"{total} there are"
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(total))
    return images.take(order[:num_calibration]), images.take(order[num_calibration:])


def _read(file: Path, preprocessing: Preprocessing) -> Tensor:
    from PIL import Image

    size, channels = preprocessing.size, preprocessing.channels
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("not an image that can be read", path=file) from error
    side = preprocessing.crop * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = left, top, left + side, top + side
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box)
    array = np.asarray(resized, np.float32).reshape(size, size, channels)
    return preprocessing(torch.from_numpy(array).movedim(-1, 0))


def _labels(files: list[Path], kind: Labels) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "folders":
        folders = sorted({file.parent for file in files})
        return torch.tensor([folders.index(file.parent) for file in files])
    for file in files:
        if not file.stem.isdecimal():
            raise InputError("labels by names want file names that are class numbers", path=file)
    return torch.tensor([int(file.stem) for file in files])
