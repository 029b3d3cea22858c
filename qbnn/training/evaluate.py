"""What a network gets right, and how well its probabilities are calibrated."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from anneal.errors import InputError
from anneal.measure import Estimate, success_probability
from qbnn.data import Split, batches
from qbnn.emulation import VARIANCE_FLOOR
from qbnn.folding import evaluating
from qbnn.models import Network
from qbnn.states import Moments
from qbnn.stochastic import StochasticBatchNorm

Floats = NDArray[np.float64]
NUM_BINS = 15
BATCH_SIZE = 500


class Bin(NamedTuple):
    """The images whose highest probability lies in a bin: how sure of them, how often right."""

    low: float
    high: float
    num_images: int
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Log probabilities of M images, (M, classes), beside their labels, (M,).

    >>> log = np.log([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    >>> found = Evaluation(np.array([0, 1, 1]), log)
    >>> found.confusion.tolist(), round(found.loss, 3), round(found.calibration_error, 3)
    ([[1, 0], [1, 1]], 0.607, 0.4)
    """

    labels: NDArray[np.int64]
    log_probabilities: Floats

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        return np.asarray(self.log_probabilities.argmax(1))

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is theirs."""
        return float((self.predictions == self.labels).mean())

    @property
    def accuracy_interval(self) -> Estimate:
        """The accuracy with Wilson's interval of 95 %."""
        return success_probability(int((self.predictions == self.labels).sum()), len(self.labels))

    @property
    def loss(self) -> float:
        """The mean cross entropy, −log P(label), in nats."""
        return -float(self.log_probabilities[np.arange(len(self.labels)), self.labels].mean())

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """How often class i (row) was taken for class j (column)."""
        classes = self.log_probabilities.shape[1]
        pairs = np.bincount(self.labels * classes + self.predictions, minlength=classes**2)
        return pairs.reshape(classes, classes)

    def reliability(self, *, num_bins: int = NUM_BINS) -> list[Bin]:
        """Return the bins of equal width, from 0 to 1, that hold images.

        Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599), §2.
        """
        confidence = np.exp(self.log_probabilities.max(1))
        right = self.predictions == self.labels
        # Bins are open below: a confidence of 1 belongs to the last one.
        place = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
        found = []
        for index in np.unique(place):
            here = place == index
            count = int(here.sum())
            accuracy = success_probability(int(right[here].sum()), count)
            ends = index / num_bins, (index + 1) / num_bins
            found.append(Bin(*ends, count, float(confidence[here].mean()), accuracy))
        return found

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: mean of ``|accuracy − confidence|`` over the bins."""
        gaps = [b.num_images * abs(b.accuracy.value - b.confidence) for b in self.reliability()]
        return sum(gaps) / len(self.labels)

    def document(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return everything as plain values for JSON; shares are from 0 to 1."""
        low, high = self.accuracy_interval[1:]
        return {
            "num_images": len(self.labels),
            "accuracy": self.accuracy,
            "accuracy_interval": [low, high],
            "cross_entropy": self.loss,
            "calibration_error": self.calibration_error,
            "classes": [self._of_class(k, name) for k, name in enumerate(class_names)],
            "confusion": self.confusion.tolist(),
            "reliability": [
                {**b._asdict(), "accuracy": b.accuracy.value, "interval": list(b.accuracy[1:])}
                for b in self.reliability()
            ],
        }

    def _of_class(self, place: int, name: str) -> dict[str, Any]:
        """Recall and precision, None where there is nothing to divide by."""
        right = int(self.confusion[place, place])
        count, taken = int(self.confusion[place].sum()), int(self.confusion[:, place].sum())
        return {
            "name": name,
            "count": count,
            "recall": right / count if count else None,
            "precision": right / taken if taken else None,
        }


def evaluate(
    network: nn.Module,
    split: Split,
    *,
    num_draws: int = 1,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Evaluation:
    """Return how a network does on a split, in evaluation mode, on the device where it is.

    ``num_draws``: probabilities are the mean over so many passes, which differ where bits or
    pooled sites are drawn; equal seeds give equal draws. Raises
    :class:`~anneal.errors.InputError` for images that the network does not read.

    >>> from qbnn.config import Config
    >>> from qbnn.data import load
    >>> network = Network(Config(architecture="SM10", in_shape=(1, 8, 8)))
    >>> evaluate(network, load("digits").test).confusion.shape
    (10, 10)
    """
    if num_draws < 1:
        raise InputError(f"num_draws must be at least 1, not {num_draws}")
    if isinstance(network, Network):
        network.reseed(seed)
        split = split.to(next(network.parameters()).device)
    found, labels = [], []
    with torch.no_grad(), evaluating(network):
        for images, wanted in batches(split, batch_size, seed=0, epoch=0, shuffle=False):
            drawn = [network(images).log_softmax(1) for _ in range(num_draws)]
            found.append(torch.logsumexp(torch.stack(drawn), 0) - math.log(num_draws))
            labels.append(wanted)
    values = torch.cat(found).double().cpu().numpy()
    return Evaluation(torch.cat(labels).cpu().numpy(), values)


@contextlib.contextmanager
def least_deviations(network: Network) -> Iterator[list[float]]:
    """Watch the least σ of a neuron's count K in each layer with moments.

    The list is filled as the block ends; the lattice of K has spacing 1, so σ below about ½ means
    counts that are as good as certain. Nothing is below the floor of
    :data:`qbnn.emulation.VARIANCE_FLOOR`.
    """
    norms = [norm for norm in network.modules() if isinstance(norm, StochasticBatchNorm)]
    least = [math.inf] * len(norms)

    def note(place: int, norm: nn.Module, given: tuple[Moments]) -> None:
        least[place] = min(least[place], float(given[0].variance.min()))

    hooks = [
        norm.register_forward_pre_hook(partial(note, place)) for place, norm in enumerate(norms)
    ]
    found: list[float] = []
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
    # The variance of a = 2K − N is four times that of K.
    found.extend(math.sqrt(max(variance, VARIANCE_FLOOR)) / 2 for variance in least)


@torch.no_grad()
def reestimate(
    network: Network,
    split: Split,
    *,
    num_batches: int = 20,
    batch_size: int = 128,
    seed: int = 0,
) -> None:
    """Replace the running statistics of all normalisations by the mean over some batches.

    Those of the training lag behind its steps, which weights that are signs do not forgive (Wu &
    Johnson 2021, "Rethinking Batch in BatchNorm", arXiv:2105.07576, §3); and drawn or rounded
    weights have others (PBNet, arXiv:1809.03368: 20 batches).
    """
    norms: list[Any] = [block.norm for block in network.blocks]
    before = [norm.momentum for norm in norms]
    network.reseed(seed)
    split = split.to(next(network.parameters()).device)
    with evaluating(network):
        for norm in norms:
            norm.train()
        read = itertools.islice(batches(split, batch_size, seed=seed, epoch=0), num_batches)
        for place, (images, labels) in enumerate(read):
            if len(labels) > 1:
                for norm in norms:
                    norm.momentum = 1 / (place + 1)
                network(images)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
