"""Random neurons and activations for tests of circuits."""

from __future__ import annotations

import torch
from torch import Tensor

from qbnn.deformation import Deformation, make_deformation
from qbnn.emulation import threshold_count
from qbnn.neuron import Neuron
from qbnn.states import Bits


def probabilities(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


def random_bits(*shape: int, seed: int) -> Bits:
    return Bits.from_probability(probabilities(*shape, seed=seed))


def random_deformation(family: str, fan_in: int, *, seed: int) -> Deformation:
    generator = torch.Generator().manual_seed(seed)
    spread = 0.3 if family == "scaled" else 1.0
    return make_deformation(family, (1, fan_in), init_std=spread, generator=generator).double()


def assemble(
    weights: Tensor, deformation: Deformation, *, kappa: int | None = None, flipped: bool = False
) -> Neuron:
    """Return a neuron of these weight probabilities, which keeps the graph of gradients."""
    fan_in = len(weights)
    gates, values = deformation.unitary(), deformation.eigenvalues()
    return Neuron(
        Bits.from_probability(weights),
        gates.expand(1, fan_in, 4, 4)[0],
        threshold_count(fan_in) if kappa is None else kappa,
        flipped,
        None if values is None else values[0],
    )


def random_neuron(
    family: str, fan_in: int, *, seed: int, kappa: int | None = None, flipped: bool = False
) -> Neuron:
    with torch.no_grad():
        deformation = random_deformation(family, fan_in, seed=seed)
        weights = probabilities(fan_in, seed=seed + 1)
        return assemble(weights, deformation, kappa=kappa, flipped=flipped)
