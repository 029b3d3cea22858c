"""What a network costs: sums over neurons that were counted one by one."""

from __future__ import annotations

import json

import pytest
import torch

from anneal.errors import InputError
from anneal.tables import to_csv
from qbnn.config import Config
from qbnn.hardware.costs import ALLOWED, COUNTERS, neuron_cost, sequence_cost
from qbnn.hardware.resources import every_way, network_cost, register_bits
from qbnn.models import Network

CONFIG = Config(architecture="3C3S2-MP2-5FC-SM2", in_shape=(2, 9, 8), family="real4")


def trained(config: Config) -> Network:
    """Return a network whose thresholds differ from neuron to neuron."""
    network = Network(config)
    generator = torch.Generator().manual_seed(5)
    for block in network.blocks:
        block.norm.running_mean.uniform_(-9, 9, generator=generator)
        block.norm.gamma.data.uniform_(-1, 1, generator=generator)
    return network.eval()


@pytest.mark.parametrize("counter", COUNTERS)
def test_fresh_layers_are_sums_over_neurons(counter: str) -> None:
    network = trained(CONFIG)
    found = network_cost(network, counter=counter, precision=0.1)
    # Positions before pooling, and N.
    places = [(5 * 4, 18), (1, 3 * 2 * 2), (1, 5)]
    for index, (layer, (positions, fan_in)) in enumerate(zip(found.layers, places, strict=True)):
        sizes = [network.neuron(index, place).counting_wires[0] for place in range(layer.neurons)]
        costs = [neuron_cost(fan_in, t, family="real4", counter=counter) for t in sizes]
        assert (layer.positions, layer.fan_in) == (positions, fan_in)
        assert layer.circuits == positions * len(costs)
        assert layer.two_qubit_gates == positions * sum(cost.two_qubit_gates for cost in costs)
        assert layer.one_qubit_gates == positions * sum(cost.one_qubit_gates for cost in costs)
        assert layer.measurements == positions * sum(cost.measurements for cost in costs)
        assert layer.circuit.qubits == max(cost.qubits for cost in costs)
        assert layer.qubits_at_once == sum(cost.qubits for cost in costs)
        assert layer.executions == 25 * layer.circuits
    total = found.total()
    assert total["qubits"] == max(layer.circuit.qubits for layer in found.layers)
    assert total["circuits"] == 3 * 20 + 5 + 2
    assert total["executions"] == 25 * total["circuits"]


def test_sequential_layers_are_one_circuit_at_each_position() -> None:
    found = network_cost(CONFIG, protocol="sequential-bit")
    assert [layer.circuits for layer in found.layers] == [20, 1, 1]
    dense = found.layers[1]
    expected = sequence_cost(12, [4] * 5, family="real4")
    assert dense.circuit == expected
    assert dense.two_qubit_gates == expected.two_qubit_gates
    assert dense.qubits_at_once == 12 * 5 + 12 + 4
    assert dense.circuit.qubits == 2 * 12 + 4


def test_registers_follow_the_thresholds() -> None:
    for family in ("none", "scaled"):
        network = trained(CONFIG.model_copy(update={"family": family}))
        for index, sizes in enumerate(register_bits(network)):
            expected = [network.neuron(index, j).counting_wires[0] for j in range(len(sizes))]
            assert sizes == expected
    assert any(len(set(sizes)) > 1 for sizes in register_bits(trained(CONFIG)))


def test_real_inputs_stay_classical() -> None:
    found = network_cost(CONFIG.model_copy(update={"input": "real"}))
    assert found.classical == ("3C3S2",)
    assert [layer.stage for layer in found.layers] == ["5FC", "SM2"]
    with pytest.raises(InputError, match="only layer reads real numbers"):
        network_cost(Config(architecture="SM3", in_shape=(1, 2, 2), input="real"))


@pytest.mark.parametrize("family", ["sign", "free"])
def test_families_without_circuits(family: str) -> None:
    with pytest.raises(InputError, match=f"'{family}' has no circuits"):
        network_cost(CONFIG.model_copy(update={"family": family}))


def test_names_and_numbers_that_are_wrong() -> None:
    with pytest.raises(InputError, match="did you mean 'fresh'"):
        network_cost(CONFIG, protocol="fresch")
    with pytest.raises(InputError, match="unknown counter"):
        network_cost(CONFIG, counter="abacus")
    with pytest.raises(InputError, match="reads more than the protocol"):
        network_cost(CONFIG, counter="direct", protocol="sequential-count")
    with pytest.raises(InputError, match="precision"):
        network_cost(CONFIG, precision=0)


def test_tables() -> None:
    found = network_cost(CONFIG)
    table = found.table()
    assert [row["stage"] for row in table.rows] == ["3C3S2", "5FC", "SM2", "total"]
    assert table.columns[2].show({"counting_bits": (4, 4)}) == "4"
    assert table.columns[2].show({"counting_bits": (4, 5)}) == "4–5"
    assert json.loads(json.dumps(found.rows()))[0]["counting_bits"] == [5, 5]
    ways = every_way(CONFIG)
    assert len(ways.rows) == sum(map(len, ALLOWED.values()))
    assert to_csv(ways).startswith("protocol,counter,qubits,depth")
