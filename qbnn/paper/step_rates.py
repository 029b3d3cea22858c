"""How fast training, the exact law and packed bits are beside named peers, as rows of records.

Both sides of a row are timed in turn in one run, in a process that keeps freed memory as training
does; ``ratio`` is the median of ours over that of the peer. A training step is forward, loss,
backward and Adam.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anneal.records import Record, Task, peak_memory
from qbnn.config import make_config
from qbnn.deploy.speed import packed_speed
from qbnn.kernels import poisson_binomial
from qbnn.kernels.memory import keep_freed_memory
from qbnn.models import Network, place_stages
from qbnn.paper.processes import apart
from qbnn.training.runs import threads

NETWORKS = {
    "dense": "512FC-SM10",
    "B": "8C3S2P0-16C3S2P0-SM10",
    "C": "32C3S2P0-64C3S2P0-SM10",
    "PBNet": "32C3-MP2-64C3-MP2-512FC-SM10",
}
STEP, LAW, PACKED = "training step", "exact law", "packed inference"
MEMORY = "peak memory of training"
TITLES = {STEP: "plain torch", LAW: "numpy's FFT", PACKED: "torch"}
Call = Callable[[], Any]


def rates(
    *,
    batch_sizes: Sequence[int] = (128, 256),
    num_threads: Sequence[int] = (1, 2),
    networks: Sequence[str] = tuple(NETWORKS),
    families: Sequence[str] = ("none", "real4"),
    fan_ins: Sequence[int] = (72, 784),
    rounds: int = 7,
) -> Iterator[Record]:
    """Yield a row for each measurement, as it is made.

    >>> small = {"batch_sizes": (2,), "num_threads": (1,), "networks": ("B",), "fan_ins": (9,)}
    >>> sorted({row.task.job for row in rates(**small, families=("none",), rounds=1)})
    ['exact law', 'packed inference', 'training step']
    """
    keep_freed_memory()
    for name, batch_size, number in itertools.product(networks, batch_sizes, num_threads):
        with threads(number):
            steps = [plain_step(NETWORKS[name], batch_size)]
            steps += [network_step(NETWORKS[name], family, batch_size) for family in families]
            seconds = _medians(steps, rounds)
        for family, mine in zip(families, seconds[1:], strict=True):
            spec = {"network": NETWORKS[name], "family": family, "batch_size": batch_size}
            yield _row(STEP, spec | {"num_threads": number}, mine, seconds[0])
    for fan_in, number in itertools.product(fan_ins, num_threads):
        r, kappa = np.random.default_rng(0).random((200, fan_in)), fan_in // 2
        theirs = partial(transformed_tail, r, kappa)
        ours = partial(poisson_binomial.tail, r, kappa, num_threads=number)
        seconds = _medians([theirs, ours], min(rounds, 3))
        error = float(np.abs(ours() - theirs()).max())
        spec = {"fan_in": fan_in, "rows": len(r), "num_threads": number}
        yield _row(LAW, spec, seconds[1], seconds[0], error=error)
    sizes = tuple(sorted({1, *batch_sizes}))
    for found in packed_speed(
        batch_sizes=sizes, num_threads=tuple(num_threads), seconds=0.05 * rounds
    ):
        spec = {"network": "512FC-512FC-SM10", "batch_size": found["batch_size"]}
        spec["num_threads"] = found["num_threads"]
        yield _row(PACKED, spec, 1e-6 * found["packed"], 1e-6 * found["torch"])
    for family in families if "C" in networks else ():
        spec = {"network": NETWORKS["C"], "family": family, "batch_size": max(batch_sizes)}
        peak = apart(training_memory, NETWORKS["C"], family, max(batch_sizes))
        if peak is not None:
            yield Record(Task(MEMORY, spec), {"bytes": peak}, 0.0)


def training_memory(architecture: str, family: str, batch_size: int) -> int | None:
    """Return the most bytes that this process has had in memory, after three training steps."""
    keep_freed_memory()
    with threads(1):
        step = network_step(architecture, family, batch_size)
        for _ in range(3):
            step()
    return peak_memory()


def network_step(architecture: str, family: str, batch_size: int) -> Call:
    """Return one training step of a network of ours on random images of 28×28 pixels."""
    config = make_config(
        {"architecture": architecture, "in_shape": (1, 28, 28), "family": family, "init_std": 0.1}
    )
    network, images, labels = Network(config), *_batch(batch_size)
    return _step(network, lambda: network.loss(images, labels))


def plain_step(architecture: str, batch_size: int) -> Call:
    """Return one of the same shapes in torch: float weights, batch normalisation, ReLU."""
    network, images, labels = plain_network(architecture), *_batch(batch_size)
    return _step(network, lambda: F.cross_entropy(network(images), labels))


def plain_network(architecture: str) -> nn.Sequential:
    """Return the layers of an architecture as torch has them."""
    config = make_config({"architecture": architecture, "in_shape": (1, 28, 28)})
    layers: list[nn.Module] = []
    placed = place_stages(config)
    for number, (stage, shape) in enumerate(placed, start=1):
        if stage.kernel:
            size = stage.width, stage.kernel, stage.stride, stage.padding
            layers += [nn.Conv2d(shape[0], *size), nn.BatchNorm2d(stage.width)]
        else:
            layers += [nn.Flatten(), nn.Linear(math.prod(shape), stage.width)]
            layers += [nn.BatchNorm1d(stage.width)] if number < len(placed) else []
        if stage.pool > 1:
            layers.append(nn.MaxPool2d(stage.pool))
        layers += [nn.ReLU()] if number < len(placed) else []
    return nn.Sequential(*layers)


def transformed_tail(r: NDArray[np.float64], kappa: int) -> NDArray[np.float64]:
    """Return P(K ≥ κ) by the Fourier transform of the characteristic function, with numpy."""
    size = r.shape[1] + 1
    wave = np.exp(2j * np.pi * np.arange(size) / size)
    values = np.ones((len(r), size), complex)
    for p in r.T:
        values *= 1 + p[:, None] * (wave - 1)
    law = np.fft.fft(values).real / size
    tail: NDArray[np.float64] = law[:, kappa:].sum(1)
    return tail


def _batch(batch_size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch_size, 1, 28, 28, generator=generator)
    return images, torch.randint(0, 10, (batch_size,), generator=generator)


def _step(network: nn.Module, loss: Callable[[], Tensor]) -> Call:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def _medians(calls: Sequence[Call], rounds: int) -> list[float]:
    """Return the median seconds of each call, in turn, after two rounds that do not count."""
    found: list[list[float]] = [[] for _ in calls]
    pairs = list(zip(calls, found, strict=True))
    for number, (call, times) in itertools.product(range(-2, rounds), pairs):
        started = time.perf_counter()
        call()
        if number >= 0:
            times.append(time.perf_counter() - started)
    return [float(np.median(times)) for times in found]


def _row(job: str, spec: dict[str, Any], ours: float, theirs: float, **more: float) -> Record:
    """Return the row of a measurement; its seconds are ours."""
    result = {"ours": ours, "theirs": theirs, "ratio": ours / theirs, **more}
    return Record(Task(job, spec | {"peer": TITLES[job]}), result, ours)
