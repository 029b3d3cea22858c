"""How fast packed bits are beside the same layers of floats in torch: one run, one ratio.

``python -m qbnn.deploy.speed`` prints the rows of :func:`packed_speed`.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from anneal.tables import Table, column
from qbnn.config import Config, make_config
from qbnn.deploy.compiled import compile_network
from qbnn.deploy.packing import PackedNetwork
from qbnn.models import Network
from qbnn.terminal.console import print_table
from qbnn.training.runs import threads

# Both sides are timed in turn, so that both see the same machine.
ROUNDS = 5


def packed_speed(
    architecture: str = "512FC-512FC-SM10",
    *,
    in_shape: tuple[int, int, int] = (1, 28, 28),
    batch_sizes: tuple[int, ...] = (1, 256),
    num_threads: tuple[int, ...] = (1, 2),
    seconds: float = 0.5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a row for each batch size and number of threads: medians in µs, and their ratio.

    For dense networks. ``seconds``: how long each side of a row runs.

    >>> small = {"batch_sizes": (2,), "num_threads": (1,), "seconds": 0.01}
    >>> [row] = packed_speed("8FC-SM2", **small)
    >>> row["ratio"] == row["torch"] / row["packed"]
    True
    """
    config = make_config({"architecture": architecture, "in_shape": in_shape, "seed": seed})
    network, plain = compile_network(Network(config)), float_network(config)
    assert isinstance(network, PackedNetwork)
    rng, rows = np.random.default_rng(seed), []
    for batch_size, number in itertools.product(batch_sizes, num_threads):
        images = rng.random((batch_size, *in_shape), np.float32)
        calls = [
            partial(plain, torch.from_numpy(images)),
            partial(network.logits, images, num_threads=number),
        ]
        with threads(number), torch.inference_mode():
            theirs, ours = (1e6 * median for median in _medians(calls, seconds))
        row = {"batch_size": batch_size, "num_threads": number, "torch": theirs, "packed": ours}
        rows.append(row | {"ratio": theirs / ours})
    return rows


def float_network(config: Config) -> nn.Module:
    """Return the dense layers of an architecture with float weights and ReLU."""
    widths = [math.prod(config.in_shape), *(stage.width for stage in config.stages())]
    layers: list[nn.Module] = [nn.Flatten()]
    for below, above in itertools.pairwise(widths):
        layers += [nn.Linear(below, above), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def _medians(calls: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Return the median seconds of each call, after one that does not count."""
    found: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _, (call, times) in itertools.product(range(ROUNDS), zip(calls, found, strict=True)):
        end = time.perf_counter() + seconds / ROUNDS
        while not times or time.perf_counter() < end:
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    return [float(np.median(times)) for times in found]


def main() -> None:
    """Print the rows."""
    columns = [
        column("batch_size", "images"),
        column("num_threads", "threads"),
        *(column(side, f"{side} µs", "{:.1f}".format) for side in ("torch", "packed")),
        column("ratio", show="{:.1f}".format),
    ]
    print_table(Table("packed_bits_784-512-512-10", columns, packed_speed()))


if __name__ == "__main__":
    main()
