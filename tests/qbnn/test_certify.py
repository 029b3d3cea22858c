"""A certificate holds for every family, and fails where circuit and emulation part."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
import torch
from torch import Tensor

import qbnn.circuits.neurons
from anneal.errors import InputError
from anneal.tables import to_markdown
from qbnn.circuits.certify import certify
from qbnn.config import Config
from qbnn.deformation import FAMILIES, Real4, Rotations
from qbnn.device import EmulatorDevice
from qbnn.models import Network

IMAGES = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def network_of(family: str, **values: Any) -> Network:
    """Return a network whose normalisations have seen some images."""
    settings = {"architecture": "3C3P1-MP2-4FC-SM3", "in_shape": (1, 6, 6), "init_std": 0.7}
    network = Network(Config(**{**settings, "family": family, **values}))
    for _ in range(20):
        network(IMAGES)
    return network.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_what_its_circuits_are(family: str) -> None:
    found = certify(network_of(family), IMAGES, fan_in=4)
    assert found.agrees
    for check in found.checks:
        assert check.difference <= 1e-12
        assert check.path == ("emulated" if check.law_difference is not None else "state vector")
        if check.circuit == "register":
            assert check.gradient_difference is not None and check.gradient_difference <= 1e-10
    layers = {check.layer for check in found.checks}
    whole = [check for check in found.checks if check.pairs == check.fan_in]
    assert layers == {0, 1, 2}
    assert len({(check.layer, check.neuron) for check in whole}) == 6
    # Six of the nine pixels were left out: said in the row.
    assert "4 of 9" in to_markdown([found.table()])
    commuting = {"none", "w-local"}
    protocols = {check.circuit for check in found.checks} - {"register", "iterative"}
    assert protocols == ({"sequential-bit", "sequential-count"} if family in commuting else set())


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "sample"},
        {"law": "exact"},
        {"law": "edgeworth", "pool": "or"},
        {"input": "real"},
        {"share": "layer", "trainable": False, "head": "bce"},
    ],
)
def test_every_kind_of_network(values: dict[str, Any]) -> None:
    found = certify(network_of("real4", **values), IMAGES, num_neurons=1, fan_in=3)
    assert found.agrees
    assert {check.layer for check in found.checks} == ({1, 2} if "input" in values else {0, 1, 2})
    if values.get("law") == "exact":
        laws = [c.law_difference for c in found.checks if c.law_difference is not None]
        assert max(laws) < 1e-12


def test_the_same_seed_gives_the_same_certificate() -> None:
    network = network_of("real4")
    first = certify(network, IMAGES, num_neurons=1, fan_in=2, seed=3).document()
    assert first == certify(network, IMAGES, num_neurons=1, fan_in=2, seed=3).document()
    other = certify(network, IMAGES, num_neurons=1, fan_in=2, seed=4).document()
    assert first["checks"] != other["checks"]
    assert json.loads(json.dumps(first))["agrees"] is True
    # The network itself stays in float32, untouched.
    assert all(p.dtype == torch.float32 for p in network.parameters())


@pytest.mark.parametrize("device", ["default.mixed", "lightning.qubit", "cirq.simulator"])
def test_other_devices(device: str) -> None:
    if device == "cirq.simulator" and importlib.util.find_spec("pennylane_cirq") is None:
        pytest.skip("pennylane-cirq is not installed")
    # Cirq's simulator and Lightning's expectation values are in float32.
    tolerance = 1e-12 if device == "default.mixed" else 1e-5
    found = certify(
        network_of("real4"), IMAGES, num_neurons=1, fan_in=2, device=device, tolerance=tolerance
    )
    assert found.agrees
    paths = {"default.mixed": "density matrix", "lightning.qubit": "state vector"}
    some = [check for check in found.checks if check.law_difference is None]
    assert {check.path for check in some} == {paths.get(device, device)}
    assert all(check.gradient_difference is None for check in some)


def turned(gates: Tensor, angle: float) -> Tensor:
    """Return gates after a rotation of the activation qubit."""
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64) * angle
    return gates @ torch.kron(torch.eye(2, dtype=torch.float64), torch.matrix_exp(turn)).to(gates)


def test_a_gate_that_is_turned_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("real4")
    monkeypatch.setattr(
        Real4, "gates_of", lambda self, output: turned(Rotations.gates_of(self, output), 1e-6)
    )
    found = certify(network, IMAGES, num_neurons=1, fan_in=3)
    assert not found.agrees
    assert not any(check.agrees for check in found.checks)
    assert all(1e-9 < check.difference < 1e-5 for check in found.checks)
    assert "NO" in to_markdown([found.table()])
    # A tolerance that is wide enough hides it.
    wide = {"tolerance": 1e-3, "gradient_tolerance": 1e-3}
    assert certify(network, IMAGES, num_neurons=1, fan_in=3, **wide).agrees


def test_a_gradient_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("real4")
    monkeypatch.setattr(
        Real4, "gates_of", lambda self, output: Rotations.gates_of(self, output).detach()
    )
    found = certify(network, IMAGES, num_neurons=1, fan_in=3)
    assert not found.agrees
    assert all(check.difference <= 1e-12 for check in found.checks)
    assert all(check.agrees == (check.circuit == "iterative") for check in found.checks)


def test_a_gradient_that_is_no_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def gates_of(self: Real4, output: int) -> Tensor:
        # Zero, with a slope of 0 times infinity.
        return Rotations.gates_of(self, output) + (self.angles.sum() * 0).sqrt()

    network = network_of("real4")
    monkeypatch.setattr(Real4, "gates_of", gates_of)
    found = certify(network, IMAGES, num_neurons=1, fan_in=2)
    assert all(check.difference <= 1e-12 for check in found.checks)
    assert all(check.agrees == (check.circuit == "iterative") for check in found.checks)


def test_an_offset_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network, right = network_of("none"), qbnn.circuits.neurons.offset
    monkeypatch.setattr(qbnn.circuits.neurons, "offset", lambda neuron: right(neuron) + 1)
    found = certify(network, IMAGES, num_neurons=1, fan_in=3)
    assert not any(check.agrees for check in found.checks)


def test_a_path_that_is_another_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("none")
    real = EmulatorDevice._emulate

    def quietly(self: EmulatorDevice, tape: Any) -> Any:
        tracker, self.tracker = self.tracker, type(self.tracker)()
        try:
            return real(self, tape)
        finally:
            self.tracker = tracker

    monkeypatch.setattr(EmulatorDevice, "_emulate", quietly)
    found = certify(network, IMAGES, num_neurons=1, fan_in=2)
    assert all(check.agrees == (check.law_difference is None) for check in found.checks)


def test_bad_input() -> None:
    network = network_of("real4")
    with pytest.raises(InputError, match="must be at least 1"):
        certify(network, IMAGES, num_neurons=0)
    with pytest.raises(InputError, match="does not"):
        certify(network, IMAGES, device="qbnn.emulator")
    with pytest.raises(InputError, match=r"fan_in 12 takes 30 wires on default\.qubit"):
        certify(network, IMAGES, fan_in=12)
    with pytest.raises(InputError, match=r"on default\.mixed"):
        certify(network, IMAGES, fan_in=6, device="default.mixed")
    with pytest.raises(InputError, match="shape"):
        certify(network, IMAGES[:, :, 1:])
    with pytest.raises(InputError, match="there are no circuits"):
        certify(network_of("sign"), IMAGES)
    with pytest.raises(InputError, match="no circuit"):
        certify(network_of("free"), IMAGES)
    with pytest.raises(InputError, match="there are no images"):
        certify(network, IMAGES[:0])
