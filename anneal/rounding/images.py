"""Folders of images as tensors: what a network is calibrated and judged on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
CROP = 0.875  # share of the shorter side that is kept, as for ImageNet's 224 of 256
Labels = Literal["none", "names", "folders"]


class Preprocessing(NamedTuple):
    """How pixels of 0 … 255 become what a network reads: (x − mean)/std at size × size."""

    size: int = 224
    mean: float = 127.0
    std: float = 128.0
    channels: int = 3


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
) -> Images:
    """Return the images of a folder, in the order of their names.

    The middle 7/8 of the shorter side are cropped and resized. ``labels``: the class is the number
    that a file's name is (``names``), or its folder's place among all folders (``folders``).
    ``limit``: take so many, evenly spread. Raises :class:`~anneal.errors.InputError` for a folder
    without images, an image that does not decode and a name that is no number.
    """
    files = list_images(folder)
    if limit is not None and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).astype(int)]
    pixels = torch.stack([_read(file, preprocessing) for file in files])
    return Images(pixels, _labels(files, labels), files)


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
    from PIL import Image, UnidentifiedImageError

    size, mean, std, channels = preprocessing
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB" if channels == 3 else "L")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"not an image that can be read: {error}", path=file) from error
    side = CROP * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = left, top, left + side, top + side
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box)
    array = np.asarray(resized, np.float32).reshape(size, size, channels)
    return (torch.from_numpy(array).movedim(-1, 0) - mean) / std


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
