"""Networks and images as they come from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from anneal.errors import InputError
from anneal.rounding.images import Preprocessing, list_images, read_images, split
from anneal.rounding.sources import load_network, load_weights

SMALL = Preprocessing(size=8, mean=0.0, std=255.0)


def write_images(folder: Path, names: list[str]) -> None:
    for shade, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24), (10 * shade, 255, 0)).save(path)


def test_images_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_images(tmp_path, ["10.png", "02.jpg", "7.png"])
    (tmp_path / "notes.txt").write_text("no image")
    found = read_images(tmp_path, SMALL, labels="names")
    assert [file.name for file in found.files] == ["02.jpg", "10.png", "7.png"]
    assert found.labels is not None and found.labels.tolist() == [2, 10, 7]
    assert found.pixels.shape == (3, 3, 8, 8)
    assert found.pixels[1].amax((1, 2)).tolist() == pytest.approx([0.0, 1.0, 0.0], abs=0.01)


def test_the_middle_is_cropped(tmp_path: Path) -> None:
    array = np.zeros((16, 32, 3), np.uint8)
    array[1:15, 9:23] = 255  # 7/8 of the shorter side
    Image.fromarray(array).save(tmp_path / "a.png")
    (image,) = read_images(tmp_path, Preprocessing(14, 0.0, 255.0)).pixels
    assert image.min() > 0.99


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png"])
    assert read_images(tmp_path, SMALL._replace(channels=1)).pixels.shape == (1, 1, 8, 8)


def test_folders_are_classes(tmp_path: Path) -> None:
    write_images(tmp_path, ["cat/x.png", "ant/y.png", "cat/z.png"])
    labels = read_images(tmp_path, SMALL, labels="folders").labels
    assert labels is not None and labels.tolist() == [0, 1, 1]


def test_a_split_takes_every_image_once(tmp_path: Path) -> None:
    write_images(tmp_path, [f"{i:02}.png" for i in range(9)])
    images = read_images(tmp_path, SMALL, labels="names")
    parts = split(images, 4, seed=3)
    assert [len(part.files) for part in parts] == [4, 5]
    assert sorted(file for part in parts for file in part.files) == images.files
    for part in parts:
        assert part.labels is not None
        assert part.labels.tolist() == [int(file.stem) for file in part.files]
    assert split(images, 4, seed=3)[0].files == parts[0].files
    assert len(read_images(tmp_path, SMALL, limit=3).files) == 3


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list_images(tmp_path / "none")
    with pytest.raises(InputError, match="no image"):
        list_images(tmp_path)
    write_images(tmp_path, ["a.png"])
    with pytest.raises(InputError, match="class numbers"):
        read_images(tmp_path, SMALL, labels="names")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"b\.png: not an image"):
        read_images(tmp_path, SMALL)


@pytest.mark.parametrize("num", [0, 1, 3, 4])
def test_too_few_images_are_refused(tmp_path: Path, num: int) -> None:
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    with pytest.raises(InputError, match=f"{num} images for calibration"):
        split(read_images(tmp_path, SMALL), num)


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_weights_come_from_files(tmp_path: Path, ending: str) -> None:
    source, path = nn.Linear(3, 2), tmp_path / f"w.{ending}"
    (save_file if ending == "safetensors" else torch.save)(source.state_dict(), path)
    target = nn.Linear(3, 2)
    load_weights(target, path)
    assert torch.equal(source.weight, target.weight)
    with pytest.raises(InputError, match="do not fit"):
        load_weights(nn.Linear(4, 2), path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=path.name):
        load_weights(target, path)


def test_code_in_a_file_of_weights_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(3, 2), path)
    with pytest.raises(InputError, match="not a state dict"):
        load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lite9", "did you mean 'efficientnet-lite0'"),
        ("no.such.module:make", "cannot load"),
        ("math:pi", "not a torch Module"),
        ("builtins:dict", "not a torch Module"),
    ],
)
def test_what_is_no_network_is_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_network(name)


def test_images_may_be_of_another_size() -> None:
    assert load_network("torch.nn:Flatten", size=32).preprocessing == Preprocessing(size=32)
