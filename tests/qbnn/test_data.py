"""Datasets: their parts, arrays of one's own, and the order in which batches come."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from anneal.errors import InputError
from qbnn.data import Split, batches, from_arrays, load, shifted

# Parts


def test_digits_need_no_file_and_keep_their_test_images() -> None:
    first, second = load("digits"), load("digits", seed=1)
    assert (len(first.train), len(first.validation), len(first.test)) == (1293, 144, 360)
    assert torch.equal(first.test.images, second.test.images)
    assert not torch.equal(first.validation.images, second.validation.images)
    images, labels = first.train.batch(torch.arange(1293))
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert images.min() == 0 and images.max() == 1
    assert set((images * 16).unique().tolist()) == set(range(17))


def test_a_limit_keeps_that_many_of_each_part_and_all_classes() -> None:
    found, everything = load("digits", limit=50, seed=4), load("digits", seed=4)
    for part in ("train", "validation", "test"):
        split, full = getattr(found, part), getattr(everything, part)
        assert len(split) == 50 and set(split.labels.tolist()) == set(range(10))
        assert {bytes(i.numpy()) for i in split.images} <= {bytes(i.numpy()) for i in full.images}
    assert len(load("digits", limit=10**6).train) == 1293


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "minst"}, "did you mean 'mnist'"),
        ({"name": "digits", "limit": 0}, "limit must be at least 1"),
        ({"name": "digits", "seed": -1}, "seed must not be negative"),
        ({"name": "builtins:dict"}, "returns dict, not"),
    ],
)
def test_load_refuses(arguments, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(**arguments)


STRIPES = """
import numpy as np
from qbnn.data.imagesets import Arrays


def stripes(*, data_dir, download, progress):
    images = np.zeros((60, 1, 4, 4), np.uint8)
    images[::2, :, ::2], images[1::2, :, :, ::2] = 1, 1
    labels = np.arange(60) % 2
    return Arrays(images[:40], labels[:40], images[40:], labels[40:], ("lie", "stand"), 1, 8)
"""


def test_a_function_of_ones_own_is_a_dataset(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_stripes.py").write_text(STRIPES)
    monkeypatch.syspath_prepend(tmp_path)
    found = load("my_stripes:stripes")
    assert found.class_names == ("lie", "stand") and len(found.train) == 32
    assert found.train.batch(torch.arange(32))[0].unique().tolist() == [0, 1]


# Arrays of one's own


@given(
    npst.arrays(np.float32, (20, 3, 2), elements=st.floats(0, 1, width=32)),
    st.sampled_from([np.float32, np.float64, np.uint8, np.bool_]),
)
def test_arrays_keep_their_pixels(values, dtype) -> None:
    given_images = (values * 255).astype(dtype) if dtype is np.uint8 else values.astype(dtype)
    scale = 255 if dtype is np.uint8 else 1
    test = given_images[:5], np.zeros(5, int)
    found = from_arrays(given_images, np.arange(20) % 4, test=test)
    assert found.in_shape == (1, 3, 2) and found.num_classes == 4
    expected = torch.from_numpy(given_images[:5].astype(np.float32))[:, None] / scale
    assert torch.equal(found.test.batch(torch.arange(5))[0], expected)
    assert len(found.train) == 18 and len(found.validation) == 2


def test_rows_of_pixels_are_images_of_one_row() -> None:
    found = from_arrays(np.eye(20), np.arange(20) % 2, class_names=["even", "odd"])
    assert found.in_shape == (1, 1, 20) and found.class_names == ("even", "odd")
    parts = [found.train, found.validation, found.test]
    assert torch.equal(sum(part.images.sum(0) for part in parts), torch.ones(1, 1, 20))


def pixel(value: float) -> np.ndarray:
    images = np.full((20, 4, 4), 0.5)
    images[7, 2, 1] = value
    return images


GOOD, LABELS = pixel(0.5), np.arange(20) % 3


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (pixel(np.nan), LABELS, {}, r"images\[7\] has a pixel that is not finite"),
        (pixel(np.inf), LABELS, {}, r"images\[7\] has a pixel that is not finite"),
        (pixel(1.5), LABELS, {}, "but range from 0.5 to 1.5"),
        (pixel(-0.25), LABELS, {}, "but range from -0.25 to 0.5"),
        (pixel(1e300), LABELS, {}, "but range from"),
        (np.full((20, 4, 4), 200), LABELS, {}, r"bytes \(uint8\), but range from 200"),
        (np.full((20, 4, 4), "a"), LABELS, {}, "images must be numbers"),
        ([[1, 2], [3]], LABELS, {}, "images is not an array"),
        (np.zeros(20), LABELS, {}, "images must have shape"),
        (np.zeros((0, 4, 4)), LABELS[:0], {}, "images must have shape"),
        (GOOD, LABELS[:19], {}, "one length, but have 20 and 19"),
        (GOOD, LABELS / 1.0, {}, "labels must be integers"),
        (GOOD, LABELS[:, None], {}, "labels must be integers"),
        (GOOD, LABELS - 1, {}, r"labels\[0\] is -1"),
        (GOOD, LABELS, {"num_classes": 2}, "label 2 is not in 0…1"),
        (GOOD, LABELS, {"num_classes": 4, "class_names": "abc"}, "name 4 classes, not 3"),
        (GOOD, LABELS, {"num_validation": 16}, "16 of 16 images for validation"),
        (GOOD, LABELS, {"num_validation": -1}, "-1 of 16 images for validation"),
        (GOOD[:4], LABELS[:4], {}, "0 of 4 images for testing"),
        (GOOD, LABELS, {"seed": -1}, "seed must not be negative"),
        (GOOD, LABELS, {"test": (GOOD[:, :3], LABELS)}, r"test\[0\] must be of float32"),
        (GOOD, LABELS, {"test": (GOOD, LABELS[:3])}, r"test\[0\] and test\[1\] must have one"),
        (GOOD, LABELS, {"test": (pixel(np.nan), LABELS)}, r"test\[0\]\[7\] has a pixel"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(images, labels, options, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        from_arrays(images, labels, **options)
    assert "\n" not in str(caught.value)


# Batches


def numbered(count: int) -> Split:
    """Return images that are all their own label."""
    labels = torch.arange(count)
    return Split(labels.float()[:, None, None, None].expand(count, 1, 3, 3), labels, levels=1)


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 99), st.integers(0, 99))
def test_an_epoch_has_every_image_once(count: int, size: int, seed: int, epoch: int) -> None:
    split = numbered(count)
    parts = list(batches(split, size, seed=seed, epoch=epoch))
    labels = torch.cat([labels for _, labels in parts])
    assert sorted(labels.tolist()) == list(range(count))
    assert all(len(part) == size for _, part in parts[:-1]) and 0 < len(parts[-1][1]) <= size
    assert all(torch.equal(images[:, 0, 0, 0], part.float()) for images, part in parts)
    # The same order for any size of a batch, and with images moved.
    other = batches(split, size + 3, seed=seed, epoch=epoch, augment="shift")
    assert torch.equal(torch.cat([part for _, part in other]), labels)
    still = torch.cat([p for _, p in batches(split, size, seed=seed, epoch=epoch, shuffle=False)])
    assert still.tolist() == list(range(count))


def test_epochs_and_seeds_differ_and_none_needs_those_before() -> None:
    split = numbered(50)

    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(torch.cat([p for _, p in batches(split, 8, seed=seed, epoch=epoch)]).tolist())

    orders = {(seed, epoch): order(seed, epoch) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) == 16
    torch.manual_seed(5)
    assert all(order(*key) == value for key, value in reversed(orders.items()))


def test_moves_do_not_depend_on_the_size_of_a_batch() -> None:
    split = load("digits", limit=60).train
    few, many = (
        torch.cat([i for i, _ in batches(split, size, seed=2, epoch=3, augment="shift")])
        for size in (7, 60)
    )
    still = torch.cat([i for i, _ in batches(split, 60, seed=2, epoch=3)])
    assert torch.equal(few, many) and not torch.equal(few, still)


@given(
    npst.arrays(np.uint8, st.tuples(*(st.integers(1, 5) for _ in range(4)))),
    st.data(),
)
def test_shifted_moves_each_image_by_itself(images, data) -> None:
    moves = data.draw(npst.arrays(np.int64, (len(images), 2), elements=st.integers(-2, 2)))
    expected = np.zeros_like(images)
    height, width = images.shape[2:]
    for place, (down, right) in enumerate(moves):
        for row in range(height):
            for column in range(width):
                if 0 <= row - down < height and 0 <= column - right < width:
                    value = images[place, :, row - down, column - right]
                    expected[place, :, row, column] = value
    found = shifted(torch.from_numpy(images), torch.from_numpy(moves))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "must not be negative, but are -1 and 0"),
        ({"epoch": -1}, "must not be negative, but are 0 and -1"),
        ({"augment": "shfit"}, "unknown augmentation 'shfit'; did you mean 'shift'"),
    ],
)
def test_batches_refuses_at_once(arguments, message: str) -> None:
    with pytest.raises(InputError, match=message):
        batches(numbered(4), **{"batch_size": 2, "seed": 0, "epoch": 0, **arguments})


def test_a_split_moves_with_its_labels() -> None:
    split = numbered(4).to("meta")
    assert split.images.device.type == split.labels.device.type == "meta" and len(split) == 4
