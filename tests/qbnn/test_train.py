"""Training: it learns, resumes bit for bit after a kill, ends cleanly, and ranks agree."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anneal.errors import InputError
from qbnn.data import batches, load
from qbnn.models import Network
from qbnn.training import checkpoints
from qbnn.training.evaluate import evaluate
from qbnn.training.ranks import Ranks
from qbnn.training.train import (
    TrainOptions,
    best_row,
    count_plateaus,
    is_stale,
    learning_rate,
    mixed_seed,
    train,
)
from tests.qbnn.training import bars, small

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = TrainOptions(epochs=4, batch_size=32, augment="shift", clip_gradient=1.0, seed=7)


def python(code: str, *arguments: object, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, or in several that torchrun joins."""
    launch = [sys.executable, "-c", code]
    if ranks > 1:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        script = Path(str(arguments[0])) / "ranks.py"
        script.write_text(code)
        launch += [f"--nproc-per-node={ranks}", str(script)]
    paths = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(
        [*launch, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def same_tensors(first: Path, second: Path, kind: str) -> bool:
    one, two = (checkpoints.read(path, kind).tensors for path in (first, second))
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# Learning


@pytest.mark.parametrize("family", ["none", "real4", "sign", "free"])
@pytest.mark.parametrize("mode", ["propagate", "sample"])
def test_a_small_network_learns_bars(family: str, mode: str) -> None:
    dataset, network = bars(), small(family=family, mode=mode)
    steps: list[float] = []
    found = train(
        network,
        dataset,
        TrainOptions(epochs=6, batch_size=16, learning_rate=0.1),
        progress=lambda fraction, remark: steps.append(fraction),
    )
    assert [row["epoch"] for row in found.history] == [1, 2, 3, 4, 5, 6]
    assert found.history[-1]["train_loss"] < found.history[0]["train_loss"]
    # One draw of so few bits says little; many do.
    assert evaluate(network, dataset.test, num_draws=64).accuracy > 0.8
    assert steps == sorted(steps) and steps[0] >= 0 and steps[-1] < 1
    sigmas = [] if family == "sign" else found.history[-1]["least_sigma"]
    assert len(sigmas) == (0 if family == "sign" else 2)
    # Never above that of N fair coins, √N/2, nor below the floor of the variance of a, 0.1/2.
    assert all(0.05 <= s <= math.sqrt(n) / 2 for s, n in zip(sigmas, (9, 24), strict=False))


def test_it_ends_with_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    dataset, network = bars(), small()
    found = train(network, dataset, OPTIONS, out=tmp_path, extra={"data": "bars"})
    kept, extra = checkpoints.load(tmp_path)
    assert found.best is not None and found.best == best_row(found.history)
    assert extra == {"data": "bars", **found.best}
    for name, tensor in network.state_dict().items():
        assert torch.equal(kept.state_dict()[name], tensor)
    again = evaluate(network, dataset.validation, seed=mixed_seed(OPTIONS.seed, 0))
    assert (again.accuracy, again.loss) == (
        found.best["validation_accuracy"],
        found.best["validation_loss"],
    )


def test_the_same_seed_trains_the_same_network(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        torch.manual_seed(len(name))
        train(small(mode="sample"), bars(), OPTIONS, out=tmp_path / name)
        torch.rand(3)
    paths = [tmp_path / name / checkpoints.STATE for name in ("one", "two")]
    assert same_tensors(*paths, "state")


def test_latent_weights_of_classical_layers_stay_in_range() -> None:
    network = small(family="sign", pseudo_gradient="tanh")
    train(network, bars(), TrainOptions(epochs=2, learning_rate=1.0))
    latents = [block.layer.latent for block in network.blocks]
    assert all(latent.abs().max() <= 1 for latent in latents)
    assert all(block.layer.sharpness > 0.1 for block in network.blocks)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "least"), [("none", 0.92), ("real4", 0.95), ("sign", 0.92)])
def test_digits(family: str, least: float) -> None:
    dataset = load("digits")
    network = small("16C3-MP2-32C3-MP2-SM10", in_shape=(1, 8, 8), family=family)
    train(network, dataset, TrainOptions(epochs=20, batch_size=32, learning_rate=0.1))
    assert evaluate(network, dataset.test).accuracy > least


# Resuming

KILLED = """
import os, signal, sys
from pathlib import Path
from qbnn.training.train import train
from tests.qbnn.test_train import OPTIONS
from tests.qbnn.training import bars, small
calls = 0
def interrupted():
    global calls
    calls += 1
    if calls == 14:  # Six batches an epoch: in the middle of the third.
        os.kill(os.getpid(), signal.SIGKILL)
    return False
network = small(family=sys.argv[2], mode="sample")
train(network, bars(), OPTIONS, out=Path(sys.argv[1]), interrupted=interrupted)
"""


@pytest.mark.parametrize("family", ["real4", "sign"])
def test_a_killed_training_goes_on_bit_for_bit(family: str, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    wanted = train(small(family=family, mode="sample"), bars(), OPTIONS, out=straight)
    assert python(KILLED, killed, family).returncode == -signal.SIGKILL
    assert len((killed / "history.jsonl").read_text().splitlines()) == 2
    checkpoints.load(killed)
    network = small(family=family, mode="sample")
    found = train(network, bars(), OPTIONS, out=killed, resume=True)
    assert without_seconds(found.history) == without_seconds(wanted.history)
    for name, kind in ((checkpoints.STATE, "state"), (checkpoints.BEST, "network")):
        assert same_tensors(straight / name, killed / name, kind)
    written = [json.loads(line) for line in (killed / "history.jsonl").read_text().splitlines()]
    assert written == found.history


def test_a_finished_training_has_nothing_to_resume(tmp_path: Path) -> None:
    first = train(small(), bars(), OPTIONS, out=tmp_path)
    network = small()
    again = train(network, bars(), OPTIONS, out=tmp_path, resume=True)
    assert again == first
    assert torch.equal(
        network.blocks[0].layer.latent, checkpoints.load(tmp_path)[0].blocks[0].layer.latent
    )


def test_an_interrupted_epoch_does_not_count(tmp_path: Path) -> None:
    calls = iter(range(1000))
    stopped = train(small(), bars(), OPTIONS, out=tmp_path, interrupted=lambda: next(calls) == 8)
    assert stopped.interrupted and [row["epoch"] for row in stopped.history] == [1]
    found = train(small(), bars(), OPTIONS, out=tmp_path, resume=True)
    wanted = train(small(), bars(), OPTIONS)
    assert without_seconds(found.history) == without_seconds(wanted.history)
    at_once = train(small(), bars(), OPTIONS, interrupted=lambda: True)
    assert at_once == ([], None, True)


# What goes wrong


@pytest.mark.parametrize("family", ["none", "sign"])
def test_a_loss_that_is_not_finite_leaves_the_last_good_epoch(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Network.loss
    calls = iter(range(1000))

    def loss(self: Network, images: Any, labels: Any) -> Any:
        return good(self, images, labels) * (math.nan if next(calls) == 8 else 1)

    monkeypatch.setattr(Network, "loss", loss)
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 2; what was kept"):
        train(small(family=family), bars(), OPTIONS, out=tmp_path)
    network, extra = checkpoints.load(tmp_path)
    assert extra["epoch"] == 1
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_data_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match=r"shape \(1, 4, 4\) and has 3 classes, but 'bars'"):
        train(small("SM3"), bars(), OPTIONS)
    with pytest.raises(InputError, match=r"shape \(1, 5, 5\)"):
        train(small("SM2", in_shape=(1, 5, 5)), bars(), OPTIONS)


def test_one_image_is_too_few() -> None:
    with pytest.raises(InputError, match="1 images for training; at least 2 are needed"):
        train(small("SM10", in_shape=(1, 8, 8)), load("digits", limit=1), OPTIONS)


def test_a_last_batch_of_one_image_is_left_out() -> None:
    dataset = bars(241)
    size = len(dataset.train) - 1
    found = train(small(), dataset, TrainOptions(epochs=1, batch_size=size))
    assert math.isfinite(found.history[0]["train_loss"])


# Schedules


def test_schedules() -> None:
    cosine = TrainOptions(learning_rate=0.2)
    rates = [learning_rate(cosine, done / 10, []) for done in range(11)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == pytest.approx((0.2, 0.0))
    constant = TrainOptions(learning_rate=0.2, schedule="constant")
    assert learning_rate(constant, 0.7, []) == 0.2
    plateau = TrainOptions(learning_rate=0.2, schedule="plateau")
    rows = [{"validation_loss": loss} for loss in (3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1)]
    assert [count_plateaus(rows[:n]) for n in range(13)] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3]
    assert learning_rate(plateau, 0.1, rows) == pytest.approx(0.2 / 8)


def test_the_best_row_is_the_first_of_equal_ones() -> None:
    rows = [
        {"epoch": epoch, "validation_accuracy": accuracy, "validation_loss": loss}
        for epoch, (accuracy, loss) in enumerate([(0.5, 1), (0.9, 2), (0.9, 1), (0.9, 1)], 1)
    ]
    assert best_row([]) is None
    assert [best_row(rows[:n])["epoch"] for n in range(1, 5)] == [1, 2, 3, 3]
    assert [is_stale(rows, patience) for patience in (None, 1, 2)] == [False, True, False]


def test_patience_ends_a_training() -> None:
    options = TrainOptions(epochs=50, patience=2, learning_rate=1e-9)
    assert len(train(small(pool="mean"), bars(), options).history) < 50


# Ranks

TWO = """
import sys
from pathlib import Path
import torch
from qbnn.training import checkpoints
from qbnn.training.ranks import joined
from qbnn.training.train import TrainOptions, train
from tests.qbnn.training import bars, small
options = TrainOptions(epochs=1, batch_size=1000, learning_rate=0.1)
with joined("cpu") as ranks:
    network = small(pool="mean", family="real4")
    train(network, bars(), options, out=Path(sys.argv[1]))
    assert ranks.same(lambda: ranks.rank) == 0
    assert ranks.any(ranks.rank == 1)
    path = Path(sys.argv[1]) / f"{ranks.rank}.safetensors"
    checkpoints.write(path, "network", network.state_dict(), {})
"""


def test_two_ranks_take_the_step_of_the_averaged_gradient(tmp_path: Path) -> None:
    done = python(TWO, tmp_path, ranks=2)
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / f"{rank}.safetensors" for rank in (0, 1))
    assert same_tensors(first, second, "network")
    # The same step here: one batch in two slices, each normalised by itself.
    network = small(pool="mean", family="real4")
    images, labels = next(batches(bars().train, 1000, seed=0, epoch=1))
    gradients: dict[str, torch.Tensor] = {}
    for rank in range(2):
        mine = Ranks(rank, 2).share(images, labels)
        network.zero_grad()
        network.loss(*mine).backward()
        for name, parameter in network.named_parameters():
            part = parameter.grad * len(mine[1]) / len(labels)
            gradients[name] = gradients.get(name, 0) + part
    for name, parameter in network.named_parameters():
        parameter.grad = gradients[name]
    torch.optim.Adam(network.parameters(), lr=0.1, fused=True).step()
    found = checkpoints.read(first, "network").tensors
    for name, parameter in network.named_parameters():
        assert torch.allclose(found[name], parameter, atol=1e-6), name


def test_equal_halves_give_the_gradient_of_one_half() -> None:
    """Slices normalise by themselves, so two equal halves are one of them twice."""
    images, labels = next(batches(bars().train, 64, seed=0, epoch=1))
    doubled = torch.cat([images, images]), torch.cat([labels, labels])
    for rank in range(2):
        mine, answers = Ranks(rank, 2).share(*doubled)
        assert torch.equal(mine, images) and torch.equal(answers, labels)
