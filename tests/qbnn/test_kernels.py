"""Compiled kernels against enumeration, characteristic functions and plain counting."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from anneal.errors import InputError
from anneal.kernels import compile as compiling
from anneal.kernels.threads import over_rows
from qbnn.kernels import packed, poisson_binomial
from qbnn.kernels.packed import Layer, Stack, pack, unpack
from qbnn.kernels.poisson_binomial import pmf, tail, tail_gradient

Array = NDArray[Any]
PROBABILITIES = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1, allow_nan=False))
KINDS = ("uniform", "half", "certain", "nearly", "rare")


def draw_r(kind: str, num_bits: int, *, rows: int = 3, seed: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    uniform = rng.random((rows, num_bits))
    return {
        "uniform": uniform,
        "half": np.full_like(uniform, 0.5),
        "certain": np.where(uniform < 0.5, np.round(uniform * 2), uniform),
        "nearly": 1 / (1 + np.exp(40 * (uniform - 0.5))),
        "rare": 0.02 * uniform,
    }[kind]


def enumerated(r: Array) -> Array:
    """P(K = k) over all 2^N states."""
    states = np.array(list(itertools.product([0, 1], repeat=len(r))), int)
    states = states.reshape(2 ** len(r), len(r))
    weights = np.where(states == 1, r, 1 - r).prod(1)
    return np.bincount(states.sum(1), weights, minlength=len(r) + 1)


def transformed(r: Array) -> Array:
    """P(K = k) by the discrete Fourier transform of the characteristic function."""
    wave = np.exp(2j * np.pi * np.arange(len(r) + 1) / (len(r) + 1))
    return np.fft.fft((1 - r[:, None] + r[:, None] * wave).prod(0)).real / (len(r) + 1)


def slopes(r: Array, kappa: int, law: Any) -> list[float]:
    """P(K − n_i = κ − 1) for every i, from the law of the others."""
    others = [law(np.delete(r, i)) for i in range(len(r))]
    return [float(p[kappa - 1]) if 1 <= kappa <= len(r) else 0.0 for p in others]


# The law of a count


@given(st.lists(PROBABILITIES, min_size=1, max_size=12), st.data())
@settings(max_examples=60)
def test_laws_are_those_of_all_states(values: list[float], data: st.DataObject) -> None:
    r = np.array(values)
    kappa = data.draw(st.integers(-1, len(r) + 2))
    law = enumerated(r)
    np.testing.assert_allclose(pmf(r[None])[0], law, rtol=0, atol=1e-13)
    np.testing.assert_allclose(tail(r[None], kappa), law[max(kappa, 0) :].sum(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        tail_gradient(r[None], kappa)[0], slopes(r, kappa, enumerated), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bits_are_those_of_all_states(kind: str) -> None:
    r = draw_r(kind, 16)
    laws = np.array([enumerated(row) for row in r])
    np.testing.assert_allclose(pmf(r), laws, rtol=0, atol=1e-13)
    for kappa in range(18):
        wanted = laws[:, kappa:].sum(1)
        np.testing.assert_allclose(tail(r, kappa), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("num_bits", [17, 63, 72, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_laws_are_those_of_the_characteristic_function(kind: str, num_bits: int) -> None:
    r = draw_r(kind, num_bits, rows=2)
    laws = np.array([transformed(row) for row in r])
    kappas = np.round(r.sum(1)).astype(int) + np.array([0, 3])
    np.testing.assert_allclose(pmf(r), laws, rtol=0, atol=1e-12)
    wanted = [law[k:].sum() for law, k in zip(laws, kappas, strict=True)]
    np.testing.assert_allclose(tail(r, kappas), wanted, rtol=0, atol=1e-12)
    found = tail_gradient(r, kappas)
    for row, kappa, gradient in zip(r, kappas, found, strict=True):
        np.testing.assert_allclose(gradient, slopes(row, kappa, transformed), rtol=0, atol=1e-11)


@pytest.mark.parametrize("p", [1e-9, 0.003, 0.3, 0.5, 0.9, 1 - 1e-12])
@pytest.mark.parametrize("num_bits", [784, 4608])
def test_equal_bits_are_binomial(num_bits: int, p: float) -> None:
    r, counts = np.full((1, num_bits), p), np.arange(num_bits + 1)
    binomial, others = stats.binom(num_bits, p), stats.binom(num_bits - 1, p)
    # scipy's own error is a few parts in 10¹² at this size.
    np.testing.assert_allclose(pmf(r)[0], binomial.pmf(counts), rtol=1e-11, atol=1e-16)
    for kappa in {1, round(num_bits * p) or 1, round(num_bits * p) + 20, num_bits}:
        np.testing.assert_allclose(tail(r, kappa), binomial.sf(kappa - 1), rtol=1e-11, atol=1e-15)
        found = tail_gradient(r, kappa)[0]
        np.testing.assert_allclose(found, others.pmf(kappa - 1), rtol=1e-11, atol=1e-15)


@given(st.sampled_from(KINDS), st.integers(1, 90), st.integers(0, 90), st.integers(0, 99))
@settings(max_examples=60)
def test_the_tail_obeys_its_symmetries(kind: str, num_bits: int, kappa: int, seed: int) -> None:
    r = draw_r(kind, num_bits, rows=1, seed=seed)
    probability = tail(r, kappa)
    mirrored = 1 - tail(1 - r, num_bits - kappa + 1)
    np.testing.assert_allclose(probability, mirrored, rtol=0, atol=1e-14)
    np.testing.assert_allclose(probability, tail(r[:, ::-1], kappa), rtol=0, atol=1e-14)
    np.testing.assert_allclose(probability, pmf(r)[:, kappa:].sum(1), rtol=0, atol=1e-14)


@given(st.sampled_from(KINDS), st.integers(1, 90), st.integers(0, 90), st.integers(0, 99))
@settings(max_examples=60)
def test_the_slope_is_the_difference_of_the_ends(
    kind: str, num_bits: int, kappa: int, seed: int
) -> None:
    """The tail is linear in every r_i."""
    r = draw_r(kind, num_bits, rows=1, seed=seed)
    low, high = (np.repeat(r, num_bits, 0) for _ in range(2))
    np.fill_diagonal(low, 0)
    np.fill_diagonal(high, 1)
    wanted = tail(high, kappa) - tail(low, kappa)
    np.testing.assert_allclose(tail_gradient(r, kappa)[0], wanted, rtol=0, atol=1e-14)


def test_thresholds_outside_the_counts_are_certain() -> None:
    r = draw_r("uniform", 9, rows=4)
    far = np.array([-(2**62), 0, 10, 2**62])
    assert tail(r, far).tolist() == [1, 1, 0, 0]
    assert not tail_gradient(r, far).any()
    assert tail(np.empty((2, 0)), [0, 1]).tolist() == [1, 0]
    assert pmf(np.empty((2, 0))).tolist() == [[1], [1]]
    assert tail_gradient(np.empty((2, 0)), 0).shape == (2, 0)
    assert tail(np.empty((0, 5)), 1).shape == (0,)


def test_single_precision_is_rounded_once() -> None:
    r = draw_r("uniform", 784).astype(np.float32)
    for function in (tail, tail_gradient):
        exact = function(r.astype(float), 390)
        assert function(r, 390).dtype == np.float32
        assert np.array_equal(function(r, 390), exact.astype(np.float32))


def test_a_gradient_is_multiplied_row_by_row() -> None:
    r = draw_r("uniform", 20)
    outer = np.array([2.0, 0.0, -1.0])
    assert np.array_equal(tail_gradient(r, 9, outer), tail_gradient(r, 9) * outer[:, None])


def test_what_is_no_number_stays_visible() -> None:
    r = draw_r("uniform", 30, rows=1)
    r[0, 7] = np.nan
    assert np.isnan(tail(r, 12)).all()
    assert np.isnan(tail_gradient(r, 12)).all()


@pytest.mark.parametrize("function", [tail, tail_gradient])
def test_threads_change_nothing(function: Any) -> None:
    r = draw_r("uniform", 200, rows=2500)
    kappa = np.arange(2500) % 201
    one = function(r, kappa, num_threads=1)
    assert np.array_equal(one, function(r, kappa, num_threads=3))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InputError, match=r"'r' must have shape \(rows, N\), but has shape \(3,\)"):
        tail([0.5, 0.5, 0.5], 1)
    with pytest.raises(InputError, match=r"'kappa' must have shape \(1,\), but has shape \(2,\)"):
        tail([[0.5]], [1, 2])
    with pytest.raises(InputError, match="'kappa' must hold integers"):
        tail([[0.5]], 0.5)
    with pytest.raises(InputError, match="'grad_out' must have shape"):
        tail_gradient([[0.5]], 1, [1.0, 2.0])


# Threads and caches


def test_rows_are_shared_whole() -> None:
    for num_threads in (1, 2, 3, 7):
        parts: list[tuple[int, int]] = []
        over_rows(
            lambda start, stop, parts=parts: parts.append((start, stop)),  # type: ignore[misc]
            10,
            microseconds=1e6,
            num_threads=num_threads,
        )
        edges = sorted(parts)
        assert len(edges) == num_threads
        assert [row for start, stop in edges for row in range(start, stop)] == list(range(10))


def test_what_a_thread_raises_is_raised() -> None:
    def work(start: int, stop: int) -> None:
        raise KeyError(start)

    with pytest.raises(KeyError):
        over_rows(work, 10, microseconds=1e6, num_threads=2)
    with pytest.raises(InputError, match="num_threads must be at least 1, is 0"):
        over_rows(work, 10, microseconds=1e6, num_threads=0)


def test_a_cached_kernel_is_stale_when_a_file_of_either_package_changed() -> None:
    folder = Path(poisson_binomial.__file__).parent
    stamp = poisson_binomial._tails._cache._cache_file._source_stamp
    assert stamp[: len(compiling.STAMP)] == compiling.STAMP
    assert len(stamp) == len(compiling.STAMP) + len(list(folder.glob("*.py")))


def test_kernels_need_no_torch() -> None:
    code = "import sys, qbnn.kernels.__main__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Packed bits


def draw_bits(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(0, 2, shape, np.uint8)


@given(st.integers(1, 200), st.integers(1, 3), st.integers(0, 99))
def test_packing_is_undone(num_bits: int, rows: int, seed: int) -> None:
    bits = draw_bits(rows, num_bits, seed=seed)
    words = pack(bits)
    assert (words.dtype, words.shape) == (np.uint64, (rows, -(-num_bits // 64)))
    assert np.array_equal(unpack(words, num_bits), bits)
    for dtype in (bool, np.int64, np.float32):
        assert np.array_equal(pack(bits.astype(dtype)), words)
    value = sum(int(bit) << place for place, bit in enumerate(bits[0]))
    assert sum(int(word) << 64 * place for place, word in enumerate(words[0])) == value


@given(
    st.sampled_from([1, 2, 63, 64, 65, 200]),
    st.sampled_from([1, 7, 8, 31, 33, 64, 100]),
    st.sampled_from([1, 3, 65]),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_a_dense_layer_counts_agreements(
    fan_in: int, num_outputs: int, batch: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inputs, weights = draw_bits(batch, fan_in, seed=seed), draw_bits(num_outputs, fan_in, seed=7)
    agreements = (inputs[:, None] == weights).sum(-1)
    kappa = rng.integers(-2, fan_in + 4, num_outputs)
    kappa[::2] = np.clip(agreements[0, ::2] + rng.integers(0, 2), 0, None)
    flipped = rng.random(num_outputs) < 0.5
    layer = Layer.of(pack(weights), kappa, flipped, fan_in=fan_in)
    fired = packed.dense(pack(inputs), layer)
    assert fired.shape == (batch, -(-num_outputs // 64))
    assert np.array_equal(unpack(fired, num_outputs), (agreements >= kappa) != flipped)
    assert np.array_equal(pack(unpack(fired, num_outputs)), fired), "bits left over are 0"
    counting = Layer.of(pack(weights), fan_in=fan_in)
    assert np.array_equal(packed.dense_counts(pack(inputs), counting), agreements)


@pytest.mark.parametrize("widths", [(5, 3), (65, 40, 10), (130, 129, 64, 63, 9)])
@pytest.mark.parametrize("batch", [0, 1, 70, 3000])
def test_a_stack_is_its_layers_in_turn(widths: tuple[int, ...], batch: int) -> None:
    rng = np.random.default_rng(1)
    pairs = list(itertools.pairwise(widths))
    layers = [
        Layer.of(
            pack(draw_bits(after, before)),
            rng.integers(before // 3, before, after),
            rng.random(after) < 0.5 if after != widths[-1] else False,
            fan_in=before,
        )
        for before, after in pairs
    ]
    words = pack(draw_bits(batch, widths[0]))
    wanted = words
    for layer in layers[:-1]:
        wanted = packed.dense(wanted, layer, num_threads=1)
    counts = packed.dense_counts(wanted, layers[-1], num_threads=1)
    assert np.array_equal(packed.mlp(words, Stack.of(layers), num_threads=2), counts)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "stride", "padding", "extents"),
    [
        (1, 32, 3, 1, 1, (28, 28)),
        (3, 8, (3, 2), 2, 0, (9, 7)),
        (64, 70, 3, 1, 2, (5, 6)),
        (70, 10, 2, 3, 1, (8, 5)),
        (128, 5, (1, 3), 1, 0, (4, 4)),
    ],
)
def test_a_convolution_counts_agreements(
    channels: int,
    outputs: int,
    size: Any,
    stride: int,
    padding: int,
    extents: tuple[int, int],
    num_threads: int,
) -> None:
    rows, columns = (size, size) if isinstance(size, int) else size
    fan_in = rows * columns * channels
    images = draw_bits(8, *extents, channels)
    weights = draw_bits(outputs, rows, columns, channels, seed=2)
    kappa = np.random.default_rng(3).integers(fan_in // 3, fan_in, outputs)
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(images, around), (rows, columns), axis=(1, 2)
    )[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    agreements = (windows[:, :, :, None] == weights).sum((-3, -2, -1))
    found = packed.conv2d(
        pack(images),
        Layer.of(pack(weights.reshape(outputs, -1)), kappa, fan_in=fan_in),
        channels=channels,
        kernel_size=size,
        stride=stride,
        padding=padding,
        num_threads=num_threads,
    )
    assert np.array_equal(unpack(found, outputs), agreements >= kappa)


@pytest.mark.parametrize("channels", [1, 3, 64, 70])
def test_an_image_flattens_without_gaps(channels: int) -> None:
    images = draw_bits(2, 3, 5, channels)
    assert np.array_equal(packed.flatten(pack(images), channels), pack(images.reshape(2, -1)))


@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), (2, 1), (1, 3)])
def test_or_is_max_pooling_before_the_threshold(size: int, stride: int | None) -> None:
    rng = np.random.default_rng(1)
    scale, shift = rng.normal(size=70), rng.normal(size=70)
    values = scale * rng.integers(-9, 10, (2, 7, 8, 70)) + shift
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=(1, 2))
    step = stride or size
    pooled = windows.max((-2, -1))[:, ::step, ::step]
    found = packed.or_pool(pack(values >= 0), size, stride=stride)
    assert np.array_equal(unpack(found, 70), pooled >= 0)


def test_words_that_do_not_fit_are_named() -> None:
    layer = Layer.of(pack(draw_bits(3, 70)), fan_in=70)
    with pytest.raises(InputError, match=r"'words' must have shape \(any, 2\), but has \(1, 1\)"):
        packed.dense(pack(draw_bits(1, 20)), layer)
    with pytest.raises(InputError, match=r"'words' must have shape \(any, 2\)"):
        Layer.of(pack(draw_bits(3, 20)), fan_in=70)
    with pytest.raises(InputError, match="'kappa' must hold integers, but holds float64"):
        Layer.of(pack(draw_bits(3, 70)), 35.5, fan_in=70)
    with pytest.raises(InputError, match=r"'flipped' must have shape \(3,\)"):
        Layer.of(pack(draw_bits(3, 70)), 35, [True, False], fan_in=70)
    with pytest.raises(InputError, match="fan-in 70 follows one of 3 outputs"):
        Stack.of([layer, layer])
    with pytest.raises(InputError, match="at least one layer"):
        Stack.of([])
    image = pack(draw_bits(1, 4, 4, 7))
    with pytest.raises(InputError, match="fan-in 70 does not fit 3×3 of 7 channels"):
        packed.conv2d(image, layer, channels=7, kernel_size=3)
    with pytest.raises(InputError, match=r"no 5×2 kernel .* fits an image of 4×4"):
        packed.conv2d(image, layer, channels=7, kernel_size=(5, 2))
    with pytest.raises(InputError, match="no window of 5×5 fits"):
        packed.or_pool(image, 5)
