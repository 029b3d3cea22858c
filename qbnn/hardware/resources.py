"""What a network costs as circuits, layer by layer, counted as in :mod:`qbnn.hardware.costs`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from anneal.errors import InputError
from anneal.tables import Column, Table, column
from qbnn.config import FREE, SIGN, Config
from qbnn.emulation import counting_wires, firing_counts, threshold_count
from qbnn.folding import evaluating, folded
from qbnn.hardware.costs import ALLOWED, Cost, check_names, neuron_cost, sequence_cost, shots_for
from qbnn.models import Block, Network, Placed, place_stages


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs per image.

    ``circuit``: the largest of its circuits. ``circuits``: how many different ones an image needs;
    under ``fresh`` one for each neuron at each position of a convolution, else one for each
    position, whose channels read the same window one after the other. Gates and ``measurements``
    are those of all circuits, each run once. ``qubits_at_once``: of all neurons of a position side
    by side, nothing reset.
    """

    stage: str
    fan_in: int
    neurons: int
    positions: int
    counting_bits: tuple[int, int]
    circuits: int
    circuit: Cost
    qubits_at_once: int
    one_qubit_gates: int
    two_qubit_gates: int
    measurements: int
    shots: int

    @property
    def executions(self) -> int:
        """Circuits times shots."""
        return self.circuits * self.shots


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs per image.

    ``shots`` of each circuit give every unit's probability the wanted precision, where these are
    handed on (``propagate``); where bits are drawn one shot of each circuit is one draw of the
    network, and as many draws give its output that precision. ``classical``: stages that read real
    numbers, and are no circuits.
    """

    protocol: str
    counter: str
    precision: float
    layers: tuple[LayerCost, ...]
    classical: tuple[str, ...] = ()

    def total(self) -> dict[str, int]:
        """Return the sums over the layers, and the largest qubits, depth and CNOTs of a circuit."""
        return {
            "qubits": max(layer.circuit.qubits for layer in self.layers),
            "depth": max(layer.circuit.depth for layer in self.layers),
            "circuit_two_qubit_gates": max(layer.circuit.two_qubit_gates for layer in self.layers),
            **{name: sum(getattr(layer, name) for layer in self.layers) for name in _SUMMED},
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a plain row for each layer."""
        return [_row(layer) for layer in self.layers]

    def table(self) -> Table:
        """Return the layers and, last, their total, for :mod:`anneal.tables`."""
        total = {"stage": "total", "fan_in": "", "counting_bits": "", **self.total()}
        return Table("layers", _COLUMNS, [*self.rows(), total])


_SUMMED = ("circuits", "one_qubit_gates", "two_qubit_gates", "measurements", "executions")


def layer_cost(
    placed: Placed,
    name: str,
    num_bits: Sequence[int],
    *,
    protocol: str,
    counter: str = "register",
    family: str = "none",
    precision: float = 0.05,
) -> LayerCost:
    """Return the cost of a stage that reads bits, t of each neuron in ``num_bits``."""
    check_names(counter=counter, protocol=protocol)
    fan_in, positions = fan_in_of(placed), positions_of(placed)
    if protocol == "fresh":
        costs = [neuron_cost(fan_in, t, family=family, counter=counter) for t in num_bits]
        at_once = sum(cost.qubits for cost in costs)
    else:
        options: dict[str, Any] = {"protocol": protocol, "family": family, "counter": counter}
        costs = [sequence_cost(fan_in, num_bits, **options)]
        at_once = sequence_cost(fan_in, num_bits, **options, reuse=False).qubits
    return LayerCost(
        stage=name,
        fan_in=fan_in,
        neurons=len(num_bits),
        positions=positions,
        counting_bits=(min(num_bits), max(num_bits)),
        circuits=positions * len(costs),
        circuit=max(costs, key=lambda cost: (cost.two_qubit_gates, cost.depth)),
        qubits_at_once=at_once,
        one_qubit_gates=positions * sum(cost.one_qubit_gates for cost in costs),
        two_qubit_gates=positions * sum(cost.two_qubit_gates for cost in costs),
        measurements=positions * sum(cost.measurements for cost in costs),
        shots=shots_for(precision),
    )


def network_cost(
    source: Config | Network,
    *,
    protocol: str = "fresh",
    counter: str = "register",
    precision: float = 0.05,
) -> NetworkCost:
    """Return the cost of every layer, from a network or, before training, from its config.

    A network's firing counts κ decide t; a config's are those of the threshold a ≥ 0. Raises
    :class:`~anneal.errors.InputError` for a network without circuits, unknown names, and a counter
    that the protocol excludes.

    >>> config = Config(architecture="8C3-SM10", in_shape=(1, 8, 8), family="real4")
    >>> network_cost(config).total()["circuits"]
    522
    """
    config = source if isinstance(source, Config) else source.config
    if config.family in (SIGN, FREE):
        raise InputError(f"a network of family '{config.family}' has no circuits")
    places = place_stages(config)
    names = stage_names(config)
    counts = [None] * len(places) if isinstance(source, Config) else register_bits(source)
    layers, classical = [], []
    for index, (placed, name, num_bits) in enumerate(zip(places, names, counts, strict=True)):
        if index == 0 and config.input == "real":
            classical.append(name)
            continue
        if num_bits is None:
            num_bits = [register_size(fan_in_of(placed))] * placed.stage.width
        options: dict[str, Any] = {"family": config.family, "precision": precision}
        layers.append(
            layer_cost(placed, name, num_bits, protocol=protocol, counter=counter, **options)
        )
    if not layers:
        raise InputError("the network's only layer reads real numbers, and is no circuit")
    return NetworkCost(protocol, counter, precision, tuple(layers), tuple(classical))


def every_way(source: Config | Network, *, precision: float = 0.05) -> Table:
    """Return the network's total by protocol and counter, where the two go together."""
    rows = []
    for protocol, counters in ALLOWED.items():
        for counter in counters:
            found = network_cost(source, protocol=protocol, counter=counter, precision=precision)
            rows.append({"protocol": protocol, "counter": counter, **found.total()})
    columns = [column("protocol"), column("counter"), *_TOTALS]
    return Table("by_protocol_and_counter", columns, rows)


def register_size(fan_in: int) -> int:
    """Return t for the threshold a ≥ 0.

    >>> [register_size(n) for n in (3, 7, 9, 15, 63, 784)]
    [2, 3, 4, 4, 6, 10]
    """
    return counting_wires(fan_in, threshold_count(fan_in))[0]


def register_bits(network: Network) -> list[list[int]]:
    """Return t of every neuron, layer by layer, with the normalisation in the threshold."""
    found = []
    with evaluating(network):
        for block in network.blocks:
            assert isinstance(block, Block)
            moments = folded(block)
            kappa, _ = firing_counts(moments)
            width = block.placed.stage.width
            totals = _ceilings(moments.total, width)
            kappas = kappa.flatten().expand(width).tolist()
            found.append([counting_wires(n, k)[0] for n, k in zip(totals, kappas, strict=True)])
    return found


def stage_names(config: Config) -> list[str]:
    """Return the word of each stage.

    >>> stage_names(Config(architecture="8C3-MP2-SM10", in_shape=(1, 8, 8)))
    ['8C3', 'SM10']
    """
    return [word for word in config.architecture.split("-") if not word.upper().startswith("MP")]


def fan_in_of(placed: Placed) -> int:
    """Return N of a stage's neurons."""
    stage, shape = placed
    return shape[0] * stage.kernel**2 if stage.kernel else math.prod(shape)


def positions_of(placed: Placed) -> int:
    """Return at how many places each neuron of a stage is, before pooling; 1 where it is dense."""
    stage, (_, height, width) = placed
    if not stage.kernel:
        return 1
    sides = [
        (side + 2 * stage.padding - stage.kernel) // stage.stride + 1 for side in (height, width)
    ]
    return math.prod(sides)


def _ceilings(total: Any, width: int) -> list[int]:
    if isinstance(total, float):
        return [math.ceil(total)] * width
    return [math.ceil(value) for value in total.flatten().tolist()]


def _row(layer: LayerCost) -> dict[str, Any]:
    return {
        "stage": layer.stage,
        "fan_in": layer.fan_in,
        "neurons": layer.neurons,
        "positions": layer.positions,
        "counting_bits": list(layer.counting_bits),
        "qubits": layer.circuit.qubits,
        "qubits_at_once": layer.qubits_at_once,
        "circuit_two_qubit_gates": layer.circuit.two_qubit_gates,
        "depth": layer.circuit.depth,
        "shots": layer.shots,
        **{name: getattr(layer, name) for name in _SUMMED},
    }


def _span(values: Iterable[int] | str) -> str:
    return "–".join(map(str, dict.fromkeys(values)))


def _grouped(value: int) -> str:
    return f"{value:,}"


# Gates are those of all circuits of an image, each run once.
_TOTALS = [
    column("qubits", show=_grouped),
    column("depth", show=_grouped),
    column("circuit_two_qubit_gates", "CNOTs/circuit", _grouped),
    column("circuits", "circuits/image", _grouped),
    column("one_qubit_gates", "1-qubit gates/image", _grouped),
    column("two_qubit_gates", "CNOTs/image", _grouped),
    column("executions", "shots/image", _grouped),
]
_COLUMNS: list[Column] = [
    column("stage", "layer"),
    column("fan_in", "N"),
    column("counting_bits", "t", _span),
    *_TOTALS,
]
