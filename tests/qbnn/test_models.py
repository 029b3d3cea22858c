"""Networks: every rung runs and learns, layers are the neurons they hand out, depth is exact."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anneal.errors import InputError
from qbnn.config import Config, make_config
from qbnn.deformation import FAMILIES
from qbnn.models import Block, Network, count_parameters, place_stages
from qbnn.states import Bits

EVERY = [*FAMILIES, "sign", "free"]
SMALL = "3C3-MP2-5FC-SM4"


def make(architecture: str = SMALL, *, spread: float = 0.5, **values: Any) -> Network:
    shape = values.pop("in_shape", (1, 6, 6))
    config = {"architecture": architecture, "in_shape": shape, "init_std": spread, **values}
    return Network(make_config(config))


def images(count: int = 5, *, shape: tuple[int, ...] = (1, 6, 6), seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int = 5) -> Tensor:
    return torch.arange(count) % 4


def shuffle_norms(network: Network, *, seed: int) -> None:
    """Give the normalisations statistics and signs that a training could have left."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (block.norm for block in network.blocks):
        for values, spread, shift in (
            (norm.gamma, 1.0, 0.0),
            (norm.beta, 0.5, 0.0),
            (norm.running_mean, 1.0, 0.0),
            (norm.running_variance, 0.0, 3.0),
        ):
            noise = torch.randn(values.shape, generator=generator)
            values.data = spread * noise + shift


# Every rung


@pytest.mark.parametrize("pixel", [math.nan, math.inf, -0.1, 1.5])
def test_pixels_that_are_none_are_refused(pixel: float) -> None:
    network = Network(make_config({"architecture": "SM10", "in_shape": (1, 4, 4)})).eval()
    images = torch.full((2, 1, 4, 4), 0.5)
    images[1, 0, 2, 3] = pixel
    with pytest.raises(InputError, match="from 0 to 1"):
        network(images)


@pytest.mark.parametrize("mode", ["propagate", "sample"])
@pytest.mark.parametrize("family", EVERY)
def test_every_family_has_finite_logits_and_gradients(family: str, mode: str) -> None:
    network = make(family=family, mode=mode)
    loss = network.loss(images(), labels())
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # Below a threshold at the mean no bit depends on the scale of its normalisation.
        assert "norm.gamma" in name or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("law", ["clt", "clt-cc", "edgeworth", "exact"])
@pytest.mark.parametrize("pool", ["sample", "mean", "or"])
@pytest.mark.parametrize("head", ["ce", "bce"])
def test_every_combination_runs(law: str, pool: str, head: str) -> None:
    network = make(family="real4", law=law, pool=pool, head=head)
    loss = network.loss(images(), labels())
    loss.backward()
    assert torch.isfinite(loss)
    probabilities = network.eval().probabilities(images(), num_draws=2)
    assert probabilities.shape == (5, 4)
    assert torch.allclose(probabilities.sum(1), torch.ones(5), atol=1e-5)


@pytest.mark.parametrize("family", EVERY)
def test_a_step_against_the_gradient_lowers_the_loss(family: str) -> None:
    network = make(family=family, pool="mean")
    batch = images(64), labels(64)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = network.loss(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[10:]) < losses[0]


def test_frozen_deformations_are_not_trained() -> None:
    free, frozen = make(family="real4"), make(family="real4", trainable=False)
    plain = make(family="none")
    assert count_parameters(frozen) == count_parameters(plain) < count_parameters(free)


@pytest.mark.parametrize("share", ["connection", "output", "input", "layer"])
def test_shared_deformations_count_once(share: str) -> None:
    extra = count_parameters(make("7FC-SM4", family="real4", share=share)) - count_parameters(
        make("7FC-SM4")
    )
    angles = {"connection": 36 * 7 + 7 * 4, "output": 7 + 4, "input": 36 + 7, "layer": 2}
    assert extra == 4 * angles[share]


# Seeds


def test_equal_seeds_give_equal_networks_and_draws() -> None:
    first, second = make(mode="sample", seed=3), make(mode="sample", seed=3)
    other = make(mode="sample", seed=4)
    batch = images()
    assert torch.equal(first(batch), second(batch))
    assert not torch.equal(first(batch), other(batch))
    first.reseed(8)
    second.reseed(8)
    once = first(batch)
    assert torch.equal(once, second(batch))
    assert not torch.equal(once, first(batch)), "draws go on"


def test_draws_leave_the_global_generator_alone() -> None:
    network = make(mode="sample")
    before = torch.get_rng_state()
    network.loss(images(), labels()).backward()
    assert torch.equal(torch.get_rng_state(), before)


# Oracles


@pytest.mark.parametrize("family", ["h-local", "local", "entangling", "real4", "su4"])
def test_at_angles_zero_every_family_is_the_undeformed_network(family: str) -> None:
    plain, deformed = make(pool="mean"), make(family=family, pool="mean", spread=0.0)
    deformed.load_state_dict(plain.state_dict(), strict=False)
    batch = images()
    assert torch.allclose(plain(batch), deformed(batch), atol=1e-5)
    assert torch.allclose(plain.eval()(batch), deformed.eval()(batch), atol=1e-4)


@pytest.mark.parametrize("family", ["none", "real4", "su4"])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**20))
def test_a_layer_is_the_neurons_that_it_hands_out(family: str, seed: int) -> None:
    """What a block hands on in evaluation, by the exact law, is its neurons' P(fires)."""
    network = make("4FC-3FC-SM2", in_shape=(1, 2, 3), family=family, law="exact", seed=seed).eval()
    shuffle_norms(network, seed=seed)
    layers = list(network.hidden(images(shape=(1, 2, 3), seed=seed)))
    for place, (bits, after) in enumerate(itertools.pairwise(layers)):
        for index in range(after.spin.shape[1]):
            neuron = network.neuron(place, index)
            found = after.probability[:, index]
            assert torch.allclose(found, neuron.probability(bits), atol=1e-5)


def test_a_convolution_is_the_neurons_that_it_hands_out() -> None:
    network = make("2C3-SM2", in_shape=(1, 4, 4), family="real4", law="exact").eval()
    shuffle_norms(network, seed=1)
    bits, after = network.hidden(images(shape=(1, 4, 4)))
    padded = Bits(
        torch.nn.functional.pad(bits.spin, (1,) * 4, value=-1.0),
        torch.nn.functional.pad(bits.coherence, (1,) * 4),
    )
    found = after.probability.view(5, 2, 4, 4)
    for index, row, column in itertools.product(range(2), range(4), range(4)):
        window = (slice(None), 0, slice(row, row + 3), slice(column, column + 3))
        read = Bits(*(part[window].flatten(1) for part in padded))
        wanted = network.neuron(0, index).probability(read)
        assert torch.allclose(found[:, index, row, column], wanted, atol=1e-5)


def test_a_sampled_network_is_exact_at_depth() -> None:
    """The mean over draws is the sum over all hidden bits, each a product of exact laws."""
    network = make("3FC-SM2", in_shape=(1, 1, 3), mode="sample", law="exact", head="bce").eval()
    image = torch.tensor([[[[1.0, 0.0, 1.0]]]])
    first = next(network.hidden(image))
    fires = torch.stack([network.neuron(0, k).probability(first)[0] for k in range(3)])
    wanted = torch.zeros(2)
    for hidden in itertools.product([0.0, 1.0], repeat=3):
        bits = torch.tensor(hidden)
        weight = torch.where(bits > 0, fires, 1 - fires).prod()
        after = Bits.measured(bits[None])
        wanted += weight * torch.stack([network.neuron(1, c).probability(after)[0] for c in (0, 1)])
    draws = 4000
    with torch.no_grad():
        found = torch.sigmoid(network(image.expand(draws, -1, -1, -1))).mean(0)
    assert torch.allclose(found, wanted, atol=5 * 0.5 / draws**0.5)


def test_a_classical_network_is_signs_and_sums() -> None:
    network = make("4FC-SM3", in_shape=(1, 2, 2), family="sign").eval()
    hidden, head = (block.layer for block in network.blocks)
    values = 2 * images(shape=(1, 2, 2)).flatten(1) - 1
    weights = torch.where(hidden.latent >= 0, 1.0, -1.0)
    spins = torch.where(values @ weights.T >= 0, 1.0, -1.0)
    wanted = spins @ torch.where(head.latent >= 0, 1.0, -1.0).T
    assert torch.allclose(network(images(shape=(1, 2, 2))), wanted / (1 + 1e-5) ** 0.5, atol=1e-4)


@pytest.mark.parametrize("kind", ["mean", "sample"])
def test_pooling_hands_one_of_the_window_on(kind: str) -> None:
    """In evaluation a pooled bit is one of the four that it is made of."""
    pooled = make("2C3-MP2-SM2", in_shape=(1, 4, 4), pool=kind).eval()
    whole = make("2C3-SM2", in_shape=(1, 4, 4)).eval()
    whole.blocks[0].load_state_dict(pooled.blocks[0].state_dict())
    batch = images(shape=(1, 4, 4))
    (_, after), (_, before) = pooled.hidden(batch), whole.hidden(batch)
    windows = before.spin.view(5, 2, 2, 2, 2, 2).permute(0, 1, 2, 4, 3, 5).flatten(4)
    chosen = after.spin.view(5, 2, 2, 2)
    assert torch.isclose(windows, chosen[..., None], atol=1e-6).any(-1).all()
    if kind == "mean":
        assert torch.allclose(chosen, windows.max(-1).values, atol=1e-6)


# Refusals


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InputError, match=r"\(batch, 1, 6, 6\), but was given \(2, 1, 5, 6\)"):
        make()(torch.rand(2, 1, 5, 6))
    with pytest.raises(InputError, match="nothing is left of images of 4×4 after stage 2"):
        make("2C3-MP2-2C3P0-SM2", in_shape=(1, 4, 4))


def test_what_is_no_circuit_has_no_neurons() -> None:
    with pytest.raises(InputError, match="no layer 3"):
        make().neuron(3, 0)
    with pytest.raises(InputError, match="no neuron 9"):
        make().neuron(2, 9)
    for network in (make(family="sign"), make(input="real")):
        with pytest.raises(InputError, match="are circuits"):
            network.neuron(0, 0)
    with pytest.raises(InputError, match="no circuit"):
        make(family="free").neuron(0, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"family": "real5"}, "did you mean 'real4'"),
        ({"architecture": "8X3-SM10"}, "cannot read '8X3'"),
        ({"mode": "guess"}, "mode"),
        ({"in_shape": [1, 8]}, "in_shape"),
    ],
)
def test_configs_are_checked(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_config({"architecture": "SM10", "in_shape": [1, 8, 8], **values})


def test_stages_have_the_shapes_that_they_read() -> None:
    config = Config(architecture="8C3S2-MP2-16C5P0-32FC-SM10", in_shape=(3, 32, 32))
    shapes = [placed.shape for placed in place_stages(config)]
    assert shapes == [(3, 32, 32), (8, 8, 8), (16, 4, 4), (32, 1, 1)]
    assert all(isinstance(block, Block) for block in Network(config).blocks)
