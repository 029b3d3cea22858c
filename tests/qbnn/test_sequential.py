"""Reading one copy after another: the instruments against the whole circuit."""

from __future__ import annotations

import pytest
import torch

from anneal.errors import InputError
from qbnn.circuits.protocols import layer_qnode, marginals
from qbnn.hardware.sequential import check_reach, densities, instruments, read
from qbnn.states import Bits
from tests.qbnn.neurons import random_bits, random_neuron

FAMILIES = ["none", "w-local", "h-local", "local", "entangling", "real4", "su4"]
PROTOCOLS = ["sequential-bit", "sequential-count"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_marginals_are_those_of_the_circuit(family: str, protocol: str) -> None:
    kappas = [None, 0, 2]
    neurons = [
        random_neuron(family, 2, seed=seed, kappa=kappa, flipped=seed == 1)
        for seed, kappa in enumerate(kappas)
    ]
    bits = random_bits(3, 2, seed=7)
    expected = marginals(layer_qnode(neurons, bits, protocol=protocol)())
    found = read(instruments(neurons, protocol=protocol), bits)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_draws_are_joint(protocol: str) -> None:
    neurons, bits = (
        [random_neuron("real4", 2, seed=seed) for seed in (0, 4)],
        random_bits(2, seed=7),
    )
    joint = layer_qnode(neurons, bits, protocol=protocol)()
    num_draws = 20_000
    many = Bits(*(part.expand(num_draws, -1) for part in bits))
    generator = torch.Generator().manual_seed(1)
    fired = read(instruments(neurons, protocol=protocol), many, generator=generator)
    assert set(fired.unique().tolist()) <= {0.0, 1.0}
    counts = torch.bincount((fired @ torch.tensor([2.0, 1.0]).double()).long(), minlength=4)
    # Twice the log likelihood ratio is about chi-squared with three degrees of freedom.
    frequencies = counts / num_draws
    ratio = 2 * num_draws * (frequencies * (frequencies / joint).log()).nansum()
    assert 0 <= ratio < 45
    independent = marginals(joint)
    assert abs(joint[3] - independent.prod()) > 0.01


def test_an_instrument_keeps_the_trace_and_commutes_where_it_should() -> None:
    neuron, bits = random_neuron("su4", 3, seed=3), random_bits(5, 3, seed=4)
    state = densities(bits)
    after = torch.einsum("bij,nj->bni", instruments([neuron])[0], state)
    traces = after.view(2, 5, 8, 8).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(traces.sum(0), torch.ones_like(traces[0]))
    assert torch.allclose(traces[1].real, neuron.probability(bits), rtol=0, atol=1e-12)
    # Undeformed neurons do not disturb each other's law.
    neurons = [random_neuron("none", 3, seed=seed) for seed in range(3)]
    found = read(instruments(neurons, protocol="sequential-count"), bits)
    fresh = torch.stack([each.probability(bits) for each in neurons], -1)
    assert torch.allclose(found, fresh, rtol=0, atol=1e-12)


def test_what_cannot_be_read() -> None:
    neuron = random_neuron("none", 2, seed=1)
    with pytest.raises(InputError, match="did you mean 'sequential-bit'"):
        instruments([neuron], protocol="sequential-bits")
    with pytest.raises(InputError, match="has a law"):
        instruments([neuron], protocol="fresh")
    with pytest.raises(InputError, match="scaled counts leak"):
        instruments([random_neuron("scaled", 2, seed=1)])
    check_reach(5, 32, protocol="sequential-bit")
    with pytest.raises(InputError, match=r"10 neurons of 64 inputs need .* out of reach"):
        check_reach(64, 10, protocol="sequential-bit")
