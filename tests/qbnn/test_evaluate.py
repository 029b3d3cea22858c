"""Evaluation: figures against their definitions, the deterministic twin against integers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, log_loss

from anneal.errors import InputError
from anneal.measure import success_probability
from qbnn.binarised import as_bits, binarised, with_certain_weights
from qbnn.data import Split
from qbnn.states import Bits
from qbnn.training.evaluate import Evaluation, evaluate, least_deviations, reestimate
from qbnn.training.pictures import confusion_matrix as draw_confusion
from qbnn.training.pictures import filters, reliability_diagram, training_curve
from qbnn.training.train import TrainOptions, train
from tests.qbnn.test_models import shuffle_norms
from tests.qbnn.training import bars, small


def judged(seed: int, *, count: int = 200, classes: int = 4) -> Evaluation:
    """Return log probabilities of which some are nearly certain, and labels that often agree."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, classes))
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    lucky = rng.uniform(size=count) < 0.6
    return Evaluation(np.where(lucky, log.argmax(1), rng.integers(0, classes, count)), log)


# Figures


@given(seed=st.integers(0, 2**20))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    found = judged(seed)
    wanted = confusion_matrix(found.labels, found.predictions, labels=range(4))
    assert np.array_equal(found.confusion, wanted)
    assert found.accuracy == pytest.approx(np.trace(wanted) / 200)
    probabilities = np.exp(found.log_probabilities)
    assert found.loss == pytest.approx(log_loss(found.labels, probabilities, labels=range(4)))
    assert found.accuracy_interval == success_probability(int(np.trace(wanted)), 200)


@given(seed=st.integers(0, 2**20), num_bins=st.integers(1, 30))
def test_every_image_is_in_one_bin(seed: int, num_bins: int) -> None:
    found = judged(seed)
    bins = found.reliability(num_bins=num_bins)
    assert sum(b.num_images for b in bins) == 200
    right = sum(b.num_images * b.accuracy.value for b in bins)
    assert right / 200 == pytest.approx(found.accuracy)
    assert all(b.low < b.confidence <= b.high + 1e-12 for b in bins)
    assert 0 <= found.calibration_error <= 1


def test_calibration_error_of_extremes() -> None:
    certain = np.log(np.array([[1 - 1e-12, 1e-12]] * 4))
    assert Evaluation(np.zeros(4, np.int64), certain).calibration_error == pytest.approx(0)
    assert Evaluation(np.ones(4, np.int64), certain).calibration_error == pytest.approx(1)


def test_the_document_is_plain_and_complete() -> None:
    found = judged(3).document(["a", "b", "c", "d"])
    assert [row["name"] for row in found["classes"]] == ["a", "b", "c", "d"]
    assert sum(row["count"] for row in found["classes"]) == found["num_images"] == 200
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high
    missing = Evaluation(np.zeros(3, np.int64), np.log(np.full((3, 2), 0.5))).document(["a", "b"])
    assert missing["classes"][1] == {"name": "b", "count": 0, "recall": None, "precision": None}


# Networks


def test_evaluation_neither_trains_nor_depends_on_the_batch() -> None:
    dataset, network = bars(), small(pool="mean")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    whole = evaluate(network, dataset.test)
    parts = evaluate(network, dataset.test, batch_size=7)
    assert network.training
    assert np.allclose(whole.log_probabilities, parts.log_probabilities, atol=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_draws_are_averaged_as_probabilities_and_follow_the_seed() -> None:
    dataset, network = bars(), small(mode="sample").eval()
    found = [evaluate(network, dataset.test, num_draws=3, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (np.exp(each.log_probabilities) for each in found)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    network.reseed(1)
    images, _ = dataset.test.batch(torch.arange(len(dataset.test)))
    with torch.no_grad():
        wanted = network.probabilities(images, num_draws=3)
    assert np.allclose(first, wanted.numpy(), atol=1e-6)
    with pytest.raises(InputError, match="num_draws must be at least 1"):
        evaluate(network, dataset.test, num_draws=0)


def test_least_deviations_are_those_of_the_moments() -> None:
    dataset, network = bars(), small("3FC-SM2", family="real4").eval()
    with least_deviations(network) as found:
        evaluate(network, dataset.test)
    images, _ = dataset.test.batch(torch.arange(len(dataset.test)))
    with torch.no_grad():
        moments = [
            block.layer.moments(bits)
            for block, bits in zip(network.blocks, network.hidden(images), strict=True)
        ]
    wanted = [float(m.variance.min().clamp_min(0.01).sqrt() / 2) for m in moments]
    assert found == pytest.approx(wanted, rel=1e-5)
    with least_deviations(small(family="sign")) as none:
        pass
    assert none == []


@pytest.mark.parametrize("family", ["none", "real4", "sign"])
def test_estimated_statistics_are_those_of_the_images(family: str) -> None:
    dataset, network = bars(), small("3FC-SM2", family=family).eval()
    reestimate(network, dataset.train, num_batches=1, batch_size=1000)
    images, _ = dataset.train.batch(torch.arange(len(dataset.train)))
    block = network.blocks[0]
    with torch.no_grad():
        if family == "sign":
            values = block.layer((2 * images - 1).flatten(1))
            mean = values.mean(0)
        else:
            mean = block.layer.moments(next(network.hidden(images))).mean.mean(0)
    assert torch.allclose(block.norm.running_mean, mean, atol=1e-4)
    assert not block.norm.training and block.norm.momentum == 0.1


def test_estimating_twice_changes_nothing() -> None:
    dataset, network = bars(), small(mode="sample")
    states = []
    for _ in range(2):
        reestimate(network, dataset.train, num_batches=3, batch_size=40, seed=5)
        states.append([norm.running_variance.clone() for norm in _norms(network)])
    assert all(map(torch.equal, *states))


def _norms(network: Any) -> list[Any]:
    return [block.norm for block in network.blocks]


# The deterministic twin


def by_counting(network: Any, image: np.ndarray) -> np.ndarray:
    """Return the sums of the head by plain integers, neuron by neuron."""
    bits = (image >= 0.5).astype(int).ravel()
    *hidden, _ = network.blocks
    for place, block in enumerate(hidden):
        weights = (block.layer.latent.detach().numpy() >= 0).astype(int)
        counts = (weights == bits).sum(1)
        fired = []
        for index, count in enumerate(counts):
            neuron = network.neuron(place, index)
            fired.append(int(bool(count >= neuron.kappa) != neuron.flipped))
        bits = np.array(fired)
    weights = (network.blocks[-1].layer.latent.detach().numpy() >= 0).astype(int)
    return 2 * (weights == bits).sum(1) - len(bits)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20))
def test_a_dense_twin_counts_integers(seed: int) -> None:
    network = small("9FC-6FC-SM3", in_shape=(1, 2, 4), seed=seed).eval()
    shuffle_norms(network, seed=seed)
    twin = binarised(network)
    images = torch.rand(4, 1, 2, 4, generator=torch.Generator().manual_seed(seed))
    *_, bits = twin.hidden(images)
    found = twin.layers[-1](bits).detach().numpy()
    assert np.array_equal(found, [by_counting(network, image.numpy()) for image in images])
    norm = network.blocks[-1].norm
    scale = norm.gamma / torch.sqrt(norm.running_variance + 0.01)
    wanted = scale * (torch.from_numpy(found) - norm.running_mean) + norm.beta
    # The head divides each class by what its uncertain weights make of σ.
    variance = (1 - torch.tanh(network.blocks[-1].layer.latent).square()).sum(1)
    wanted = wanted / torch.sqrt(1 + math.pi / 8 * scale**2 * variance)
    assert torch.allclose(twin(images), wanted, atol=1e-5)


@pytest.mark.parametrize("architecture", ["3C3-SM2", "3C3-MP2-SM2", "3C3S2-4C3-MP2-5FC-SM2"])
@pytest.mark.parametrize("seed", range(3))
def test_a_twin_is_the_network_with_certain_weights_on_bits(architecture: str, seed: int) -> None:
    """On bits a network of certain weights is as good as certain itself, at any depth."""
    network = small(architecture, in_shape=(1, 8, 8), pool="mean", seed=seed).eval()
    shuffle_norms(network, seed=seed)
    certain, twin = with_certain_weights(network), binarised(network)
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    bits = (images >= 0.5).float()
    with torch.no_grad():
        for wanted, found in zip(certain.hidden(bits), twin.hidden(images), strict=True):
            assert torch.equal(wanted.probability.flatten(), found.flatten())
        assert torch.allclose(certain(bits), binarised(certain)(images), atol=1e-5)


@pytest.mark.parametrize("head", ["ce", "bce"])
def test_logits_of_a_twin_are_those_of_a_head_that_knows_its_variance(head: str) -> None:
    network = small("5FC-SM3", in_shape=(1, 2, 4), head=head, seed=4).eval()
    shuffle_norms(network, seed=4)
    twin, last = binarised(network), network.blocks[-1]
    images = torch.rand(9, 1, 2, 4, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        *_, bits = twin.hidden(images)
        own = last.moments(Bits.from_probability(bits))
        z = (own.scale * twin.layers[-1](bits) + own.shift) / (
            own.scale.abs() * own.variance.sqrt()
        )
        spread = (own.scale.abs() * own.variance.sqrt()) ** 2
        ce = z * torch.sqrt(spread / (1 + math.pi / 8 * spread))
        assert torch.allclose(twin(images), ce if head == "ce" else z, atol=1e-4)


def test_a_pooled_window_fires_iff_a_neuron_in_it_does() -> None:
    pooled = binarised(small("3C3-MP2-SM2", in_shape=(1, 4, 4)).eval())
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    layer = pooled.layers[0]
    whole, _ = itertools.islice(pooled.hidden(images), 2)
    counts = (layer(whole).long() + 9) // 2
    fired = (counts >= layer.kappa) ^ layer.flipped
    windows = fired.view(5, 3, 2, 2, 2, 2).any(5).any(3)
    assert torch.equal(list(pooled.hidden(images))[1], windows.float())


def test_a_twin_of_real_inputs_reads_numbers() -> None:
    network = small("3C3-SM2", input="real").eval()
    shuffle_norms(network, seed=2)
    twin = binarised(network)
    images = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    certain = with_certain_weights(network)
    with torch.no_grad():
        moments = certain.blocks[0].moments(2 * images - 1)
        fires = moments.scale * moments.mean + moments.shift >= 0
    assert torch.equal(list(twin.hidden(images))[1], fires.float())


def test_w_local_has_a_twin_because_its_weights_can_say_it_all() -> None:
    network = small("5FC-SM2", family="w-local", init_std=2.0).eval()
    certain = with_certain_weights(network)
    beta = network.blocks[0].layer.coefficients().beta
    assert torch.equal(torch.sign(certain.blocks[0].layer.latent), torch.sign(beta))
    assert torch.equal(certain.blocks[0].layer.coefficients().beta.abs(), torch.ones(5, 16))


@pytest.mark.parametrize("family", ["h-local", "real4", "scaled", "free", "sign"])
def test_other_families_have_no_twin(family: str) -> None:
    words = "binary as it is" if family == "sign" else "no deterministic twin"
    with pytest.raises(InputError, match=words):
        binarised(small(family=family))


def test_a_twin_gains_from_statistics_of_its_own() -> None:
    dataset, network = bars(300), small("8FC-8FC-SM2", seed=3)
    train(network, dataset, TrainOptions(epochs=6, batch_size=32, seed=1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    twin = binarised(network, split=dataset.train)
    assert evaluate(twin, dataset.test).accuracy > 0.8
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_pixels_as_bits() -> None:
    images = torch.tensor([0, 7, 8, 16], dtype=torch.uint8).view(1, 1, 2, 2)
    split = as_bits(Split(images, torch.tensor([0]), levels=16))
    assert split.batch(torch.tensor([0]))[0].flatten().tolist() == [0.0, 0.0, 1.0, 1.0]


# Pictures


@pytest.mark.parametrize("image", ["png", "svg"])
def test_pictures_are_images_and_repeat(image: Any) -> None:
    found = judged(1)
    history = [
        {"epoch": k, "train_loss": 1 / k, "validation_loss": 2 / k, "validation_accuracy": k / 9}
        for k in range(1, 4)
    ]
    make = [
        lambda: training_curve(history, image=image),
        lambda: draw_confusion(found, ["a", "bb", "ccc", "a longer name"], image=image),
        lambda: reliability_diagram(found, image=image),
        *(lambda family=family: filters(small(family=family), image=image)
          for family in ("none", "real4", "h-local", "sign", "free")),
        lambda: filters(small("SM2"), image=image),
    ]  # fmt: skip
    start = b"\x89PNG" if image == "png" else b"<?xml"
    for draw in make:
        drawn = draw()
        assert drawn.startswith(start) and drawn == draw()


def test_a_history_of_no_epoch_is_refused() -> None:
    with pytest.raises(InputError, match="no epoch"):
        training_curve([])


def test_confidence_below_one_over_classes_is_impossible() -> None:
    found = judged(5, classes=3)
    assert min(b.confidence for b in found.reliability()) >= 1 / 3
    assert math.isclose(np.exp(found.log_probabilities).sum(), 200)
