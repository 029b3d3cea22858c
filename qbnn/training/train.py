"""The training loop: Adam, a validation after each epoch, the best network kept.

Everything that happens in an epoch follows from the seed and the epoch's number: the order of the
images, their augmentation, every draw of the network. So the state of a training is weights, the
moments of Adam and the history, and one that was killed goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from anneal.errors import InputError
from anneal.files import write_text
from qbnn.binary import BinaryLayer, annealed_sharpness
from qbnn.data import Dataset, Split, batches
from qbnn.folding import evaluating
from qbnn.kernels.memory import keep_freed_memory
from qbnn.models import Network
from qbnn.training.checkpoints import BEST, STATE, Tensors, load_state, save, save_state
from qbnn.training.evaluate import evaluate, least_deviations, reestimate
from qbnn.training.ranks import Ranks, current_ranks

HISTORY = "history.jsonl"
Row = dict[str, Any]
Progress = Callable[[float, str], None]
# Epochs without a lower validation loss after which `plateau` halves the rate.
PLATEAU = 3
# Steps between looks at the loss and at Ctrl-C; on a GPU each look waits for the device.
LOOK_CPU, LOOK_GPU = 1, 16


class TrainOptions(BaseModel):
    """How to train.

    ``schedule`` of the learning rate: ``cosine`` to zero at the last epoch; ``plateau``, halved
    after three epochs without a lower validation loss (PBNet); ``constant``. ``patience``: epochs
    without a better validation after which training ends. ``clip_gradient``: the greatest norm of
    the gradient. ``augment``: ``shift`` moves images by up to two pixels.

    >>> TrainOptions(epochs=2).batch_size
    128
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False)
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    patience: int | None = Field(None, ge=1)
    clip_gradient: float | None = Field(None, gt=0)
    augment: Literal["shift"] | None = None
    seed: int = Field(0, ge=0, lt=2**32)


class Trained(NamedTuple):
    """A row for each epoch, that of the best one (None before the first), and how it ended."""

    history: list[Row]
    best: Row | None
    interrupted: bool


def train(
    network: Network,
    dataset: Dataset,
    options: TrainOptions,
    *,
    out: Path | None = None,
    resume: bool = False,
    extra: Mapping[str, Any] | None = None,
    progress: Progress = lambda fraction, remark: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network on the device where it is; it ends with the weights of its best epoch.

    Running statistics are estimated anew before each validation,
    :func:`qbnn.training.evaluate.reestimate`. ``out``: a folder for the state, the history and the
    best network (with ``extra`` in its file) after each epoch; ``resume`` goes on from there. The
    epoch in which ``interrupted`` says yes does not count. In a group of processes each reads its
    slice of a batch, see :mod:`qbnn.training.ranks`. On Linux the process keeps the memory that a
    step frees, see :mod:`qbnn.kernels.memory`. Raises :class:`~anneal.errors.InputError` for data
    that do not fit and for the state of another network, FloatingPointError where a loss is not
    finite; the files are then those of the last good epoch.

    >>> from qbnn.config import Config
    >>> from qbnn.data import load
    >>> network = Network(Config(architecture="SM10", in_shape=(1, 8, 8)))
    >>> train(network, load("digits"), TrainOptions(epochs=1)).best["epoch"]
    1
    """
    check_fit(network, dataset)
    keep_freed_memory()
    ranks, device = current_ranks(), next(network.parameters()).device
    training, validation = dataset.train.to(device), dataset.validation.to(device)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=options.learning_rate, fused=True)
    history: list[Row] = []
    best: Tensors | None = None
    if resume and out is not None and (out / STATE).exists():
        history, best = load_state(out / STATE, network, optimizer)
    stopped = False
    while len(history) < options.epochs and not is_stale(history, options.patience):
        started = time.perf_counter()
        loss = train_epoch(
            network,
            training,
            options,
            optimizer,
            history=history,
            ranks=ranks,
            progress=progress,
            interrupted=interrupted,
        )
        stopped = loss is None
        if stopped:
            break
        seed = mixed_seed(options.seed, 0)
        reestimate(network, training, batch_size=options.batch_size, seed=seed)
        row = {"epoch": len(history) + 1, "train_loss": loss}
        row |= validate(network, validation, seed=seed)
        row |= {"learning_rate": optimizer.param_groups[0]["lr"]}
        history.append(row | {"seconds": time.perf_counter() - started})
        if best is None or best_row(history) is history[-1]:
            best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if out is not None and ranks.rank == 0:
            keep(out, network, optimizer, history=history, best=best, extra=extra)
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    return Trained(history, best_row(history), interrupted=stopped)


def train_epoch(
    network: Network,
    split: Split,
    options: TrainOptions,
    optimizer: torch.optim.Optimizer,
    *,
    history: Sequence[Row],
    ranks: Ranks,
    progress: Progress,
    interrupted: Callable[[], bool],
) -> float | None:
    """Take a step for each batch and return the mean loss, None where it was interrupted.

    Raises FloatingPointError where the loss is not finite.
    """
    epoch, total, count = len(history) + 1, torch.zeros((), device=split.images.device), 0
    num_steps = math.ceil(len(split) / options.batch_size)
    group, remark = optimizer.param_groups[0], _remark(epoch, options.epochs, history)
    look = LOOK_CPU if total.device.type == "cpu" else LOOK_GPU
    network.train()
    network.reseed(mixed_seed(options.seed, epoch, ranks.rank))
    for step, (images, labels) in enumerate(
        batches(split, options.batch_size, seed=options.seed, epoch=epoch, augment=options.augment)
    ):
        if len(labels) < 2 * ranks.size:
            continue  # One image alone has no variance to normalise by.
        done = (epoch - 1 + step / num_steps) / options.epochs
        group["lr"] = learning_rate(options, done, history)
        images, mine = ranks.share(images, labels)
        loss = network.loss(images, mine)
        optimizer.zero_grad()
        loss.backward()
        ranks.average_gradients(group["params"], weight=len(mine) / len(labels))
        if options.clip_gradient is not None:
            torch.nn.utils.clip_grad_norm_(group["params"], options.clip_gradient)
        optimizer.step()
        settle(network, done)
        total += loss.detach() * len(mine)
        count += len(labels)
        if step % look == 0:
            check_finite(total, epoch)
            progress(done, remark)
            if ranks.any(interrupted(), device=total.device):
                return None
    check_finite(total, epoch)
    return float(ranks.total(total)) / count


def learning_rate(options: TrainOptions, done: float, history: Sequence[Row]) -> float:
    """Return the rate when a part ``done`` of all steps is taken.

    >>> learning_rate(TrainOptions(learning_rate=0.1), 0.5, [])
    0.05
    """
    if options.schedule == "cosine":
        return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if options.schedule == "plateau":
        return float(options.learning_rate * 0.5 ** count_plateaus(history))
    return options.learning_rate


def count_plateaus(history: Sequence[Row]) -> int:
    """Return how often three epochs in a row brought no validation loss below the least before.

    >>> count_plateaus([{"validation_loss": loss} for loss in (0.3, 0.4, 0.3, 0.5, 0.2, 0.3)])
    1
    """
    least, since, found = math.inf, 0, 0
    for row in history:
        since += 1
        if row["validation_loss"] < least:
            least, since = row["validation_loss"], 0
        elif since == PLATEAU:
            found, since = found + 1, 0
    return found


def best_row(history: Sequence[Row]) -> Row | None:
    """Return the first row of the best validation: accuracy, and of equal ones the lesser loss."""
    return max(
        history,
        key=lambda row: (row["validation_accuracy"], -row["validation_loss"]),
        default=None,
    )


def is_stale(history: Sequence[Row], patience: int | None) -> bool:
    """Return whether the best epoch lies ``patience`` epochs back."""
    best = best_row(history)
    return best is not None and patience is not None and len(history) - best["epoch"] >= patience


def validate(network: Network, split: Split, *, seed: int) -> Row:
    """Return loss and accuracy on a split and, layer by layer, the least σ of a neuron's count.

    σ is that of K, whose lattice has spacing 1; raises FloatingPointError for a loss that is not
    finite.
    """
    with least_deviations(network) as sigmas:
        found = evaluate(network, split, seed=seed)
    if not math.isfinite(found.loss):
        raise FloatingPointError(f"the validation loss is {found.loss}; {_ADVICE}")
    return {
        "validation_loss": found.loss,
        "validation_accuracy": found.accuracy,
        "least_sigma": list(sigmas),
    }


_ADVICE = "what was kept before stays; a lower learning rate or clip_gradient may help"


def check_finite(loss: Tensor, epoch: int) -> None:
    """Raise FloatingPointError for a loss that is infinite or not a number."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {float(loss)} in epoch {epoch}; {_ADVICE}")


def check_fit(network: Network, dataset: Dataset) -> None:
    """Raise :class:`~anneal.errors.InputError` where the network cannot be trained on the dataset.

    Shape and classes have to be its own, pixels and labels in range (in a set of one's own they
    may not be), and two images have to come through.
    """
    wanted, classes = tuple(network.config.in_shape), network.config.num_classes
    if dataset.in_shape != wanted or dataset.num_classes != classes:
        raise InputError(
            f"the network reads images of shape {wanted} and has {classes} classes, but "
            f"'{dataset.name}' has images of shape {dataset.in_shape} and {dataset.num_classes}"
        )
    for split in (dataset.train, dataset.validation, dataset.test):
        if split.images.is_floating_point() and not torch.isfinite(split.images).all():
            raise InputError(f"'{dataset.name}' has a pixel that is not finite")
        if split.images.min() < 0 or split.images.max() > split.levels:
            raise InputError(f"'{dataset.name}' has a pixel that is not in 0…{split.levels}")
        if split.labels.min() < 0 or split.labels.max() >= classes:
            raise InputError(f"'{dataset.name}' has a label that is not in 0…{classes - 1}")
    least = 2 * current_ranks().size
    if len(dataset.train) < least:
        raise InputError(f"{len(dataset.train)} images for training; at least {least} are needed")
    images, _ = dataset.train.batch(torch.arange(2))
    with torch.no_grad(), evaluating(network):
        network(images.to(next(network.parameters()).device))


@torch.no_grad()
def settle(network: Network, done: float) -> None:
    """Do after a step what classical binary layers want: latent weights in [−1, 1].

    The slope of the pseudo-gradient ``tanh`` grows with the part ``done`` of the training.
    """
    for layer in network.modules():
        if isinstance(layer, BinaryLayer):
            layer.clip_latent_()
            if layer.pseudo_gradient == "tanh":
                layer.sharpness = annealed_sharpness(done)


def mixed_seed(*numbers: int) -> int:
    """Return a seed that differs for each sequence of numbers.

    >>> mixed_seed(1, 2) == mixed_seed(2, 1)
    False
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def keep(
    folder: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    *,
    history: Sequence[Row],
    best: Tensors,
    extra: Mapping[str, Any] | None,
) -> None:
    """Write what an epoch leaves: the network where it is the best, the state, the history.

    In this order: whatever a kill leaves of it, the same epoch writes it again.
    """
    last = history[-1]
    if best_row(history) is last:
        save(folder / BEST, network, {**(extra or {}), **last})
    save_state(folder / STATE, network, optimizer, best=best, history=history)
    lines = (json.dumps(row) + "\n" for row in history)
    write_text(folder / HISTORY, "".join(lines))


def _remark(epoch: int, epochs: int, history: Sequence[Row]) -> str:
    words = f"epoch {epoch}/{epochs}"
    if history:
        words += f", validation {100 * history[-1]['validation_accuracy']:.2f} %"
    return words
