"""Tables of stochastic XNORs against gates, the exact law, torch's draws and packed bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anneal.errors import InputError
from qbnn.deploy.compiled import compile_network
from qbnn.deploy.packing import PackedNetwork
from qbnn.deploy.table_export import agreement_table, table_of, xnor_entries
from qbnn.deploy.xnor_table import load_table
from qbnn.layers import DeformedConv2d, DeformedLinear
from qbnn.states import Bits
from tests.qbnn.compiled import dense_layers, make_images, make_network

FAMILIES = ["none", "h-local", "w-local", "local", "entangling", "real4", "su4"]
CONV = "3C3-MP2-4C2S2P0-6FC-SM5"


def small_layer(family: str, share: str = "connection") -> DeformedLinear:
    generator = torch.Generator().manual_seed(3)
    return DeformedLinear(5, 4, deformation=family, share=share, init_std=1.0, generator=generator)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("share", ["connection", "output", "layer"])
def test_entries_are_what_the_gates_do_to_measured_bits(family: str, share: str) -> None:
    layer = small_layer(family, share)
    with torch.no_grad():
        found = xnor_entries(layer)
        gates = layer.deformation.unitary().expand(4, 5, 4, 4)
    for w in range(2):
        for h in range(2):
            column = gates[..., 2 * w + h]  # P |w h⟩, which agrees at 00 and at 11
            agree = column[..., 0].abs() ** 2 + column[..., 3].abs() ** 2
            torch.testing.assert_close(found[w, h], agree, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", [*FAMILIES, "free"])
def test_a_qubit_weight_agrees_as_its_pair_mean_says(family: str) -> None:
    layer = small_layer(family) if family != "free" else None
    if layer is None:
        block = make_network("4FC-SM2", seed=0, family="free", init_std=1.0).blocks[0]
        layer = block.layer
    with torch.no_grad():
        table = agreement_table(layer, "qubit")
        for h in range(2):
            bits = torch.full((1, layer.latent.shape[1]), float(h))
            wanted = (1 + layer.pair_means(Bits.measured(bits))[0]) / 2
            torch.testing.assert_close(table[..., h], wanted, atol=1e-6, rtol=0)


def test_map_is_the_row_of_the_likelier_bit() -> None:
    layer = small_layer("real4")
    with torch.no_grad():
        table, entries = agreement_table(layer, "map"), xnor_entries(layer)
    for j, i in np.ndindex(4, 5):
        w = int(layer.latent[j, i] >= 0)
        assert torch.equal(table[j, i], entries[w, :, j, i])


@pytest.mark.parametrize("law", ["clt-cc", "exact"])
def test_hidden_bits_have_the_probability_of_torch(law: str) -> None:
    network = make_network(CONV, seed=1, family="real4", init_std=0.5, law=law, pool="or")
    table = table_of(network)
    rng = np.random.default_rng(0)
    for block, layer in zip(network.blocks[:-1], table.layers[:-1], strict=True):
        stage, shape = block.placed
        bits = rng.integers(0, 2, (3, *shape)).astype(float)
        given = torch.from_numpy(bits if stage.kernel else bits.reshape(3, -1)).float()
        measured = Bits.measured(given)
        with torch.no_grad():
            fired = block.layer.fires(measured, block.moments(measured), law, lattice=True)
        wanted = fired.probability.movedim(1, -1).numpy()
        found = layer.probability(layer.rows(bits), law)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_drawn_pairs_fire_as_the_exact_law_says() -> None:
    layer = table_of(make_network("7C3S2-SM2", seed=2, family="su4", init_std=0.7)).layers[0]
    bits = np.random.default_rng(0).integers(0, 2, (1, *layer.shape)).astype(float)
    rows, count = layer.rows(bits), 3000
    probability = layer.probability(rows, "exact")[0]
    rng = np.random.default_rng(1)
    drawn = layer.fired(np.repeat(rows, count, 0), "draw", rng).mean(0)
    deviation = np.sqrt(probability * (1 - probability) / count)
    assert (np.abs(drawn - probability) < 6 * deviation + 1e-9).all()


@pytest.mark.parametrize("pool", ["sample", "mean", "or"])
@pytest.mark.parametrize("head", ["ce", "bce"])
def test_passes_have_the_mean_of_torchs_sampled_evaluation(pool: str, head: str) -> None:
    network = make_network(
        CONV, seed=4, family="real4", init_std=0.5, mode="sample", pool=pool, head=head
    )
    images, count = make_images(network, 3), 1500
    batch = torch.from_numpy(images).repeat_interleave(count, 0)
    with torch.no_grad():
        theirs = network.probabilities(batch).view(3, count, -1).numpy()
    ours = table_of(network).probabilities(np.repeat(images, count, 0), seed=1)
    ours = ours.reshape(theirs.shape)
    deviation = np.sqrt((theirs.var(1) + ours.var(1)) / count)
    assert (np.abs(theirs.mean(1) - ours.mean(1)) < 6 * deviation + 1e-6).all()


def test_undeformed_most_probable_weights_are_the_packed_bits() -> None:
    network = make_network(CONV, seed=5)
    images = np.round(make_images(network, 60))
    packed = compile_network(network)
    assert isinstance(packed, PackedNetwork)
    table = table_of(network, weights="map")
    found = np.log(table.probabilities(images, seed=3))
    head = dense_layers(network)[-1]
    logits = head.affine(packed.sums(images)) / np.sqrt(1 + np.pi / 8 * 0.01 * head.scale**2)
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(found, logits, atol=1e-4)


def test_equal_seeds_give_equal_draws_and_draws_are_averaged() -> None:
    network = make_network(CONV, seed=1, family="real4")
    table, images = table_of(network), make_images(network, 70)
    one = table.probabilities(images, seed=1)
    assert np.array_equal(one, table.probabilities(images, seed=1))
    assert not np.array_equal(one, table.probabilities(images, seed=2))
    np.testing.assert_allclose(table.probabilities(images, num_draws=3).sum(1), 1, atol=1e-5)


def test_a_file_gives_the_table_back(tmp_path: Path) -> None:
    network = make_network(CONV, seed=1, family="real4", head="bce", pool="mean")
    table, images = table_of(network), make_images(network, 5)
    assert table.save(tmp_path / "net") == (tmp_path / "net").stat().st_size
    found = load_table(tmp_path / "net")
    np.testing.assert_array_equal(found.probabilities(images), table.probabilities(images))


def test_no_images_give_no_probabilities() -> None:
    table = table_of(make_network(CONV, seed=0))
    assert table.probabilities(np.zeros((0, 2, 9, 8))).shape == (0, 5)


def test_laws_and_draws_are_checked() -> None:
    table = table_of(make_network("SM2", seed=0))
    images = np.zeros((1, 2, 9, 8))
    with pytest.raises(InputError, match="unknown law 'clt'; known: clt-cc, exact, draw"):
        table.probabilities(images, law="clt")
    with pytest.raises(InputError, match="num_draws must be at least 1, not 0"):
        table.probabilities(images, num_draws=0)
    with pytest.raises(InputError, match="reads images of shape"):
        table.probabilities(images[:, :1])


def test_a_convolution_reads_its_border_as_bits_0() -> None:
    layer = DeformedConv2d(1, 1, 3, padding=1, deformation="real4", init_std=1.0)
    with torch.no_grad():
        mean = layer.pair_means(Bits.measured(torch.ones(1, 1, 1, 1)))
        table = agreement_table(layer, "qubit")
    wanted = torch.cat([table[0, 0].reshape(9, 2)[i, int(i == 4)][None] for i in range(9)])
    torch.testing.assert_close((1 + mean.flatten()) / 2, wanted, atol=1e-6, rtol=0)
