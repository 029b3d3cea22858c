"""The demonstration's networks: bits, probabilities and qubits on scikit-learn's digits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from anneal.plots import COLOURS, blank_figure, image_bytes, style_axes
from anneal.records import Record, Task
from anneal.tables import Column, Table, column
from qbnn.circuits.certificate import Certificate
from qbnn.circuits.certify import certify
from qbnn.circuits.drawing import draw_figure
from qbnn.circuits.neurons import read_neuron
from qbnn.config import make_config
from qbnn.data import Dataset, load
from qbnn.models import Network, count_parameters
from qbnn.states import Bits
from qbnn.terminal import pages
from qbnn.terminal.console import progress_bar
from qbnn.terminal.demo import Shown
from qbnn.training.evaluate import evaluate
from qbnn.training.pictures import filters
from qbnn.training.runs import threads
from qbnn.training.train import TrainOptions, train

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "sign: classical bits": {"family": "sign"},
    "none: probabilistic bits (PBNet)": {"family": "none"},
    "none, as many parameters": {"family": "none", "architecture": "80FC-SM10"},
    "real4: qubits": {"family": "real4"},
}
# Pairs of the circuits that a state vector runs, and of the one that is drawn.
FAN_IN, DRAWN = 4, 2


@dataclass(frozen=True)
class NetworkSection:
    """Networks by name, as settings besides ``architecture``; the last is certified and drawn."""

    title: str = "From bits to qubits"
    text: str = (
        "One hidden layer of 16 neurons reads scikit-learn's digits, 8×8 pixels. Its weights are "
        "signs, bits with a probability, or qubits that meet their inputs in trained gates. Gates "
        "also bring parameters, and a wider network without them, of as many, is the comparison "
        "that counts: there is no quantum gain here, and all of it is emulated. Then one neuron of "
        "each layer runs as a circuit, by a state vector and on the device qbnn.emulator."
    )
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: NETWORKS)
    architecture: str = "16FC-SM10"
    epochs: int = 8
    seeds: Sequence[int] = (1, 2, 3)

    def run(self, *, label: str, quiet: bool) -> Shown:
        """Train every network with every seed; certify and draw the last."""
        digits, rows = load("digits"), []
        plan = [(name, seed) for name in self.networks for seed in self.seeds]
        with threads(1), progress_bar(label, quiet=quiet) as show:
            for place, (name, seed) in enumerate(plan):
                show(place / (len(plan) + 1), f"{name}, seed {seed}")
                row, network = self._train(name, seed, digits)
                rows.append(row)
            show(len(plan) / (len(plan) + 1), "its neurons as circuits")
            images = digits.test.batch(torch.arange(16))[0]
            certificate = certify(network, images, num_neurons=1, fan_in=FAN_IN)
        table = summary(rows)
        return Shown(rows, table, _parts(table, certificate, network, images[:1]))

    def _train(self, name: str, seed: int, digits: Dataset) -> tuple[Record, Network]:
        settings = {"architecture": self.architecture, **self.networks[name]}
        config = make_config({**settings, "in_shape": digits.in_shape, "seed": seed})
        network, started = Network(config), time.perf_counter()
        options: dict[str, Any] = {"epochs": self.epochs, "batch_size": 32, "seed": seed}
        train(network, digits, TrainOptions(**options))
        found = {
            "accuracy": evaluate(network, digits.test).accuracy,
            "num_parameters": count_parameters(network),
        }
        spec = {"data": "digits", "name": name, "epochs": self.epochs}
        task = Task("demo-network", spec | {"network": config.model_dump(mode="json")})
        return Record(task, found, time.perf_counter() - started), network


def summary(rows: Sequence[Record]) -> Table:
    """Return a line for each network: parameters, and the accuracies of its seeds."""
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row.task.spec["name"]
        line = {"network": name, "parameters": row.result["num_parameters"], "accuracies": []}
        lines.setdefault(name, line)["accuracies"].append(row.result["accuracy"])
    columns = [
        column("network"),
        column("parameters", show=lambda number: f"{number:,}"),
        Column("test %", lambda line: f"{100 * _mean(line['accuracies']):.1f}"),
        Column("seeds", lambda line: ", ".join(f"{100 * a:.1f}" for a in line["accuracies"])),
    ]
    return Table("networks", columns, list(lines.values()))


def _parts(
    table: Table, certificate: Certificate, network: Network, images: torch.Tensor
) -> list[str]:
    facts = certificate.document()
    verdict = (
        f"Circuits and emulation {certificate.verdict}: probabilities, laws of the count and "
        f"gradients differ by at most {facts['largest_difference']:.0e} and "
        f"{facts['largest_gradient_difference']:.0e}. Where not all pairs of a neuron fit a "
        f"state vector, {FAN_IN} drawn by lot do."
    )
    return [
        pages.table(table),
        pages.picture(accuracies(table), "Test accuracy of every seed, 360 images."),
        pages.picture(filters(network, image="svg"), "The first layer of the deformed network."),
        pages.text(verdict),
        pages.table(_inner(certificate.table())),
        pages.picture(_circuit(network, images), f"A neuron of the head, {DRAWN} of its pairs."),
    ]


def _inner(table: Table) -> Table:
    """Without what only a second look wants: where in an image, and in which, a neuron was."""
    kept = [each for each in table.columns if each.heading not in ("position", "image")]
    return Table(table.name, kept, table.rows)


def accuracies(table: Table) -> bytes:
    """Draw the accuracy of every seed, a line for each network, as SVG."""
    figure = blank_figure(7.0, 0.9 + 0.45 * len(table.rows))
    axes = figure.subplots()
    for place, line in enumerate(reversed(table.rows)):
        shares = [100 * accuracy for accuracy in line["accuracies"]]
        axes.plot(shares, [place] * len(shares), "o", ms=6, alpha=0.7, color=COLOURS[0])
    axes.set_yticks(range(len(table.rows)), [line["network"] for line in reversed(table.rows)])
    axes.set_ylim(-0.6, len(table.rows) - 0.4)
    axes.set_xlabel("test accuracy in %")
    style_axes(axes)
    return image_bytes(figure, "svg")


def _circuit(network: Network, images: torch.Tensor) -> bytes:
    """Draw some pairs of the head's first neuron, on an image, as SVG."""
    with torch.no_grad():
        head = len(network.blocks) - 1
        neuron, bits = read_neuron(network, head, 0, images, pairs=range(DRAWN))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "neuron.svg"
        draw_figure(neuron, Bits(*(part[0] for part in bits)), path, expand=True)
        return path.read_bytes()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
