"""Compiled networks of bits against torch and dense numpy: counts, ties, ensembles, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from qbnn.binarised import Binarised, binarised
from qbnn.deploy.compiled import choose_kind, compile_network, make_twin, pack_twin
from qbnn.deploy.packing import PackedEnsemble, PackedNetwork
from qbnn.deploy.xnor_table import TableNetwork
from qbnn.models import Network
from tests.qbnn.compiled import (
    architectures,
    dense_layers,
    head_sums,
    layers_of,
    make_images,
    make_network,
    make_split,
)

CONV = "5C3-MP2-9C2S2P0-70FC-SM10"


def sums_in_torch(twin: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """a of the head by the twin's own layers."""
    values = torch.from_numpy(images)
    with torch.no_grad():
        if isinstance(twin, Binarised):
            *_, read = twin.hidden(values)
            return np.asarray(twin.layers[-1](read))
        assert isinstance(twin, Network)
        read = 2 * values - 1
        for block in twin.blocks[:-1]:
            read = block(read if block.placed.stage.kernel else read.flatten(1))
        return np.asarray(twin.blocks[-1].layer(read.flatten(1)))


def drawn_network(architecture: str, **config: Any) -> Network:
    try:
        return make_network(architecture, **config)
    except InputError:  # nothing is left of the images
        assume(False)
        raise


@settings(max_examples=60)
@given(
    architecture=architectures(),
    config=st.sampled_from(
        [{}, {"input": "real"}, {"family": "sign"}, {"family": "w-local", "init_std": 1.0}]
    ),
    ties=st.booleans(),
    batch=st.sampled_from([1, 3, 130]),
    seed=st.integers(0, 99),
)
def test_bits_are_those_of_torch_and_of_dense_numpy(
    architecture: str, config: dict[str, Any], ties: bool, batch: int, seed: int
) -> None:
    network = drawn_network(architecture, seed=seed, ties=ties, **config)
    images = make_images(network, batch, seed=seed)
    twin = make_twin(network, "bits")
    packed = pack_twin(twin)
    assert isinstance(packed, PackedNetwork)
    found = packed.sums(images)
    np.testing.assert_array_equal(found, sums_in_torch(twin, images))
    if "init_std" not in config:
        sign = config.get("family") == "sign"
        dense = dense_layers(network)
        wanted = head_sums(dense, images, real=packed.real, border=-1.0 if sign else 0.0)
        np.testing.assert_array_equal(found, wanted)
    with torch.no_grad():
        logits = twin(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(packed.logits(images), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(packed.logits(images).argmax(1), logits.argmax(1))


def test_every_count_at_its_threshold_fires_as_in_torch() -> None:
    # A neuron of fan-in 6 for each threshold and both directions, on all 64 inputs.
    network = make_network("22FC-SM2", seed=0, in_shape=(1, 1, 6))
    norm = network.blocks[0].norm
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([1.0, -1.0]).repeat_interleave(11))
        norm.beta.zero_()
        norm.running_mean.copy_(torch.arange(-5.0, 6.0).repeat(2))
        norm.running_variance.fill_(3.99)  # with the floor of .01 a scale of ½
    images = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(np.float32).reshape(64, 1, 1, 6)
    twin = binarised(network)
    *_, fired = twin.hidden(torch.from_numpy(images))
    layer = dense_layers(network)[0]
    ours = layer.affine(layer.sums(2.0 * images - 1, 0.0)) >= 0
    np.testing.assert_array_equal(fired.numpy(), ours)
    packed = pack_twin(twin)
    assert isinstance(packed, PackedNetwork)
    np.testing.assert_array_equal(packed.sums(images), sums_in_torch(twin, images))


@settings(max_examples=30)
@given(
    architecture=architectures(),
    source=st.sampled_from(["bernoulli", "real"]),
    seed=st.integers(0, 99),
)
def test_ternary_weights_are_those_of_dense_numpy(
    architecture: str, source: str, seed: int
) -> None:
    network = drawn_network(architecture, seed=seed, input=source)
    twin = make_twin(network, "ternary", split=make_split(network, 200, seed=seed))
    assert isinstance(twin, Binarised)
    for place, (layer, block) in enumerate(zip(twin.layers, network.blocks, strict=True)):
        spin = torch.tanh(block.layer.latent.detach())
        wanted = torch.where(spin >= 0, 1.0, -1.0)
        if place > 0 or source == "bernoulli":
            wanted *= spin.abs() >= 0.5
        assert torch.equal(layer.weight, wanted)
    images = make_images(network, 40, seed=seed)
    packed = pack_twin(twin)
    assert isinstance(packed, PackedNetwork)
    wanted_sums = head_sums(layers_of(twin), images, real=source == "real")
    np.testing.assert_array_equal(packed.sums(images), wanted_sums)
    np.testing.assert_array_equal(packed.sums(images), sums_in_torch(twin, images))


def test_normalisations_are_estimated_for_the_weights_that_are_compiled() -> None:
    network = make_network("SM3", seed=1)
    split = make_split(network, 100)  # one batch
    norm = network.blocks[0].norm
    gamma, beta = norm.gamma.detach().numpy(), norm.beta.detach().numpy()
    spin = torch.tanh(network.blocks[0].layer.latent.detach()).numpy()
    images = split.batch(torch.arange(100))[0].numpy()
    for kind in ("bits", "ternary"):
        twin = make_twin(network, kind, split=split)
        assert isinstance(twin, Binarised)
        sums = head_sums(layers_of(twin), images, real=False)
        scale = gamma / np.sqrt(sums.var(0, ddof=1) + 0.01)
        shift = beta - scale * sums.mean(0)
        # What the uncertain weights of the head make of σ divides both.
        by = np.sqrt(1 + np.pi / 8 * scale**2 * (1 - spin**2).sum(1))
        np.testing.assert_allclose(twin.layers[0].scale, scale / by, rtol=1e-5)
        np.testing.assert_allclose(twin.layers[0].shift, shift / by, rtol=1e-4, atol=1e-5)


def test_an_ensemble_is_the_mean_of_the_most_probable_weights_and_of_draws() -> None:
    network = make_network(CONV, seed=2)
    split, images = make_split(network, 150), make_images(network, 30, seed=5)
    ensemble = compile_network(network, kind="ensemble", split=split, num_members=4, seed=3)
    assert isinstance(ensemble, PackedEnsemble) and len(ensemble.members) == 4
    first = compile_network(network, kind="bits", split=split)
    assert isinstance(first, PackedNetwork)
    np.testing.assert_array_equal(ensemble.members[0].logits(images), first.logits(images))
    twins = make_twin(network, "ensemble", split=split, num_members=4, seed=3)
    each = []
    for member, twin in zip(ensemble.members, twins.members, strict=True):
        wanted = layers_of(twin)
        sums = head_sums(wanted, images, real=False)
        np.testing.assert_array_equal(member.sums(images), sums)
        powers = np.exp(wanted[-1].affine(sums))
        each.append(powers / powers.sum(1, keepdims=True))
    np.testing.assert_allclose(ensemble.probabilities(images), np.mean(each, 0), atol=1e-6)
    with torch.no_grad():
        logits = twins(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ensemble.logits(images), logits, atol=1e-5)


def test_members_differ_as_the_probabilities_of_their_weights_say() -> None:
    network = make_network("500FC-SM2", seed=0, in_shape=(1, 10, 10))
    spin = 0.6
    with torch.no_grad():
        for block in network.blocks:
            block.layer.latent.fill_(math.atanh(spin))
    twins = make_twin(network, "ensemble", split=make_split(network, 20), num_members=2, seed=1)
    weight = twins.members[1].layers[0].weight
    assert abs(float(weight.mean()) - spin) < 6 * math.sqrt((1 - spin**2) / weight.numel())
    other = make_twin(network, "ensemble", split=make_split(network, 20), num_members=2, seed=2)
    assert not torch.equal(other.members[1].layers[0].weight, weight)


def test_auto_is_bits_or_a_table() -> None:
    for family in ("none", "sign", "w-local"):
        assert choose_kind(make_network("SM2", seed=0, family=family), "auto") == "bits"
    for family in ("real4", "h-local", "free", "su4", "local", "entangling"):
        network = make_network("SM2", seed=0, family=family, init_std=0.5)
        assert choose_kind(network, "auto") == "table"
    assert isinstance(compile_network(network), TableNetwork)


@pytest.mark.parametrize(
    ("config", "options", "reason"),
    [
        ({"family": "real4"}, {"kind": "bits"}, "no deterministic binary twin: kind 'table'"),
        ({"family": "scaled"}, {"kind": "ensemble"}, "in the family 'scaled' they agree with"),
        ({"family": "sign"}, {"kind": "ternary"}, "the family 'sign' has signs alone"),
        ({"family": "sign"}, {"kind": "table"}, "the family 'sign' has signs alone"),
        ({"family": "scaled"}, {"kind": "table"}, "are no integers"),
        ({"family": "real4", "input": "real"}, {}, "counts no pairs"),
        ({"family": "free"}, {"weights": "map"}, "are no bits: weights 'qubit'"),
        ({"family": "real4"}, {"weights": "maps"}, "unknown weights 'maps'"),
        ({}, {"kind": "bit"}, "did you mean 'bits'"),
        ({}, {"kind": "ternary"}, "needs a split of images"),
    ],
)
def test_what_cannot_be_compiled_is_refused(
    config: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    network = make_network("4C3-SM2", seed=0, **config)
    with pytest.raises(InputError, match=reason):
        compile_network(network, **options)


def test_an_empty_ensemble_is_refused() -> None:
    network = make_network("SM2", seed=0)
    with pytest.raises(InputError, match="num_members must be at least 1, not 0"):
        compile_network(network, kind="ensemble", split=make_split(network, 9), num_members=0)


def test_compiling_leaves_the_network_as_it_was() -> None:
    network = make_network(CONV, seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for kind in ("bits", "ternary", "ensemble", "table"):
        compile_network(network, kind=kind, split=make_split(network, 40), num_members=2)
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
