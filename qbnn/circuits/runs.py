"""What `qbnn certify`, `qbnn circuit` and `qbnn resources` do."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anneal.errors import InputError
from anneal.files import Pathlike, write_text
from anneal.tables import Table
from qbnn.architectures import stages_of
from qbnn.circuits.certificate import Certificate
from qbnn.circuits.certify import certify
from qbnn.circuits.drawing import (
    FORMATS,
    Drawn,
    as_figure,
    as_text,
    layer_drawing,
    neuron_drawing,
    to_qasm,
)
from qbnn.circuits.selection import Chosen, images_of
from qbnn.config import Config, make_config
from qbnn.hardware.costs import Cost, neuron_cost, sequence_cost
from qbnn.hardware.resources import every_way, network_cost
from qbnn.models import Network
from qbnn.terminal.console import PIPED_WIDTH, check_file, progress_bar
from qbnn.training.checkpoints import load as load_network

# Inputs of a neuron that a drawing can show.
MOST_DRAWN = 32


def certify_run(
    path: Path,
    *,
    data: str | None = None,
    data_dir: Pathlike | None = None,
    num_images: int = 16,
    quiet: bool = False,
    **options: Any,
) -> Certificate:
    """Return the certificate of a run's network, with activations of images of its test set.

    ``options`` are those of :func:`qbnn.circuits.certify.certify`.
    """
    network, extra = load_network(path)
    with progress_bar("certify", quiet=quiet) as show:
        images = images_of(path, extra, data=data, data_dir=data_dir, network=network)
        return certify(network, images[:num_images], progress=show, **options)


def show_circuit(
    chosen: Chosen,
    *,
    counter: str | None = None,
    protocol: str | None = None,
    expand: bool = False,
    width: int = 100,
    out: Path | None = None,
) -> dict[str, Any]:
    """Return the document of `qbnn circuit`; draw into ``out``, or write OpenQASM there.

    With a ``protocol`` the neurons follow each other on the same wires. ``counter``: ``register``
    if nothing is said, and ``gray`` in OpenQASM. Raises :class:`~anneal.errors.InputError`.
    """
    check_file(out)
    kind = None if out is None else out.suffix[1:].lower()
    counter = counter or ("gray" if kind == "qasm" else "register")
    if kind is not None and kind not in (*FORMATS, "qasm"):
        raise InputError(f"a circuit's name ends in .{', .'.join([*FORMATS, 'qasm'])}", path=out)
    if kind == "qasm" and protocol is not None:
        raise InputError("OpenQASM 2 has no wires that are read and used again; no protocol")
    size = chosen.neurons[0].fan_in
    if kind != "qasm" and size > MOST_DRAWN:
        raise InputError(
            f"{size} inputs make no drawing, {MOST_DRAWN} do; a .qasm file holds any number"
        )
    if protocol is None:
        drawn, cost = _one_neuron(chosen, counter=counter, expand=expand)
    else:
        drawn, cost = _one_after_another(chosen, protocol, counter=counter, expand=expand)
    if kind == "qasm":
        assert out is not None
        write_text(out, to_qasm(chosen.neurons[0], chosen.bits, counter=counter))
    elif out is not None:
        as_figure(drawn, out)
    return {
        "title": chosen.title,
        "family": chosen.family,
        "fan_in": chosen.fan_in,
        "inputs": chosen.neurons[0].fan_in,
        "whole": chosen.neurons[0].fan_in == chosen.fan_in,
        "activations": chosen.activations,
        "counter": counter,
        "protocol": protocol,
        "neurons": [
            {"kappa": one.kappa, "flipped": one.flipped, "p_fires": p}
            for one, p in zip(chosen.neurons, chosen.probabilities(protocol), strict=True)
        ],
        **asdict(cost),
        "out": None if out is None else str(out),
        "drawing": None if kind == "qasm" else as_text(drawn, width=width),
    }


def _one_neuron(chosen: Chosen, *, counter: str, expand: bool) -> tuple[Drawn, Cost]:
    neuron = chosen.neurons[0]
    drawn = neuron_drawing(neuron, chosen.bits, counter=counter, expand=expand)
    num_bits = neuron.counting_wires[0]
    return drawn, neuron_cost(neuron.fan_in, num_bits, family=chosen.family, counter=counter)


def _one_after_another(
    chosen: Chosen, protocol: str, *, counter: str, expand: bool
) -> tuple[Drawn, Cost]:
    if counter != "register":
        raise InputError(f"a protocol is drawn with the counter 'register', not '{counter}'")
    drawn = layer_drawing(chosen.neurons, chosen.bits, protocol=protocol, expand=expand)
    sizes = [neuron.counting_wires[0] for neuron in chosen.neurons]
    fan_in, family = chosen.neurons[0].fan_in, chosen.family
    if protocol != "fresh":
        return drawn, sequence_cost(fan_in, sizes, protocol=protocol, family=family)
    costs = [asdict(neuron_cost(fan_in, size, family=family)) for size in sizes]
    total = {name: sum(cost[name] for cost in costs) for name in costs[0]}
    return drawn, Cost(**{**total, "qubits": max(cost["qubits"] for cost in costs)})


def circuit_summary(found: Mapping[str, Any], inputs: str) -> dict[str, Any]:
    """Return the facts of a circuit as a person reads them."""
    neurons = found["neurons"]
    p = [one["p_fires"] for one in neurons]
    return {
        "inputs": inputs,
        "activations": found["activations"],
        "P(fires)": None if None in p else ", ".join(f"{value:.6f}" for value in p),
        "fires_iff": ", ".join(
            f"K {'<' if one['flipped'] else '≥'} {one['kappa']}" for one in neurons
        ),
        "counter": found["counter"],
        "protocol": found["protocol"],
        "qubits": found["qubits"],
        "gates": f"{found['one_qubit_gates']} of one qubit, {found['two_qubit_gates']} CNOTs",
        "depth": found["depth"],
        "wrote": found["out"],
    }


def drawing_width() -> int:
    """Return how wide a drawing may be: the terminal, or 160 where there is none."""
    return shutil.get_terminal_size((PIPED_WIDTH, 0)).columns


def describe_resources(
    path: Path | None,
    *,
    network: Mapping[str, Any],
    protocol: str = "fresh",
    counter: str = "register",
    precision: float = 0.05,
) -> tuple[dict[str, Any], list[Table]]:
    """Return the document and the tables of `qbnn resources`.

    Of a run's network, or of the one that ``network`` describes: architecture, in_shape as a text,
    family. Raises :class:`~anneal.errors.InputError` where both are given, or neither.
    """
    source: Config | Network
    if path is not None:
        if network:
            raise InputError(f"RUN has its own {', '.join(network)}; give one or the other")
        source = load_network(path)[0]
        config = source.config
    else:
        if "architecture" not in network:
            raise InputError("give a RUN, or --architecture")
        text = stages_of(str(network["architecture"]))
        shape = parse_shape(str(network.get("in_shape", "1,28,28")))
        source = config = make_config({**network, "architecture": text, "in_shape": shape})
    found = network_cost(source, protocol=protocol, counter=counter, precision=precision)
    ways = every_way(source, precision=precision)
    document = {
        "run": None if path is None else str(path),
        "architecture": config.architecture,
        "in_shape": list(config.in_shape),
        "family": config.family,
        "mode": config.mode,
        "protocol": protocol,
        "counter": counter,
        "precision": precision,
        "shots": found.layers[0].shots,
        "thresholds": "a ≥ 0" if path is None else "of the training",
        "classical": list(found.classical),
        "layers": found.rows(),
        "total": found.total(),
        "ways": ways.rows,
    }
    return document, [found.table(), ways]


def resources_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of resources as a person reads them, above the tables."""
    classical = ", ".join(found["classical"])
    return {
        "images": "×".join(map(str, found["in_shape"])),
        "family": found["family"],
        "thresholds": found["thresholds"],
        "protocol": found["protocol"],
        "counter": found["counter"],
        "shots": f"{found['shots']} of every circuit, for a standard error of {found['precision']}",
        "gates": "of all circuits of an image, each run once",
        "depth": None if found["protocol"] == "fresh" else "of neurons end to end: an upper bound",
        "classical": f"{classical} reads real numbers" if classical else None,
    }


def parse_shape(text: str) -> tuple[int, int, int]:
    """Return the channels, height and width in a text.

    >>> parse_shape("1,28,28"), parse_shape("3x32x32")
    ((1, 28, 28), (3, 32, 32))
    """
    words = text.replace("x", ",").split(",")
    if len(words) != 3 or not all(word.strip().isdigit() and int(word) for word in words):
        raise InputError(f"in-shape must be channels,height,width like 1,28,28, not '{text}'")
    channels, height, width = map(int, words)
    return channels, height, width
