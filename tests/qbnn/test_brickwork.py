"""The law of a count after brickwork against state vectors, and against laws that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from qbnn.brickwork import brickwork_chain, brickwork_count_law, brickwork_probability
from qbnn.neuron import Neuron
from qbnn.states import Bits
from tests.qbnn import dense

seeds = st.integers(0, 2**32 - 1)
ON_ACTIVATIONS, ON_PAIRS = 4, 16


class Example:
    """A random neuron of N pairs with a brickwork of layers of these sizes."""

    def __init__(self, num_pairs: int, sizes: list[int], seed: int, *batch: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights = rng.random(num_pairs)
        self.activations = rng.random((*batch, num_pairs))
        self.gates = np.array([dense.haar(4, rng) for _ in range(num_pairs)])
        self.bricks = []
        for depth, size in enumerate(sizes):
            layer = [dense.haar(size, rng) for _ in range((num_pairs - depth % 2) // 2)]
            self.bricks.append(np.array(layer).reshape(-1, size, size))

    @property
    def arguments(self) -> Any:
        weight, activation = (
            Bits.from_probability(torch.from_numpy(p)) for p in (self.weights, self.activations)
        )
        bricks = [torch.from_numpy(layer) for layer in self.bricks]
        return weight, activation, torch.from_numpy(self.gates), bricks

    def state(self) -> dense.Array:
        """Return the state vector before counting, (2, 2, …) over w_1 h_1 w_2 h_2 …"""
        num_pairs = len(self.weights)
        state = dense.product_state(self.weights, self.activations).reshape([2] * 2 * num_pairs)
        for i, gate in enumerate(self.gates):
            state = on_qubits(gate, state, [2 * i, 2 * i + 1])
        for depth, layer in enumerate(self.bricks):
            for i, brick in enumerate(layer):
                first = 2 * (2 * i + depth % 2)
                qubits = [first, first + 1, first + 2, first + 3]
                state = on_qubits(brick, state, qubits if len(brick) == ON_PAIRS else qubits[1::2])
        return state

    def law(self) -> dense.Array:
        """Return P(K = k) from the state vector."""
        num_pairs = len(self.weights)
        bits = np.indices([2] * 2 * num_pairs)
        counts = (bits[0::2] == bits[1::2]).sum(0).ravel()
        return np.bincount(counts, np.abs(self.state().ravel()) ** 2, minlength=num_pairs + 1)


def on_qubits(gate: dense.Array, state: dense.Array, qubits: list[int]) -> dense.Array:
    num = len(qubits)
    gate = gate.reshape([2] * 2 * num)
    turned = np.tensordot(gate, state, (range(num, 2 * num), qubits))
    return np.moveaxis(turned, range(num), qubits)


KINDS = st.sampled_from([ON_ACTIVATIONS, ON_PAIRS])


@given(seed=seeds, num_pairs=st.integers(1, 5), sizes=st.lists(KINDS, max_size=3))
@settings(max_examples=60)
def test_the_law_is_that_of_the_state_vector(seed: int, num_pairs: int, sizes: list[int]) -> None:
    example = Example(num_pairs, sizes, seed)
    assert np.allclose(brickwork_count_law(*example.arguments), example.law(), atol=1e-13)


@pytest.mark.parametrize("size", [ON_ACTIVATIONS, ON_PAIRS])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_six_pairs(depth: int, size: int) -> None:
    example = Example(6, [size] * depth, depth)
    assert np.allclose(brickwork_count_law(*example.arguments), example.law(), atol=1e-13)


@pytest.mark.parametrize("size", [ON_ACTIVATIONS, ON_PAIRS])
def test_bonds_are_the_ranks_of_the_state(size: int) -> None:
    """No exact chain has smaller ones, and away from the edges they follow the stated law."""
    for depth in range(5):
        example = Example(6, [size] * depth, 1)
        chain = brickwork_chain(*example.arguments)
        bonds = [site.shape[-1] for site in chain[:-1]]
        ranks = [
            np.linalg.matrix_rank(example.state().reshape(4**cut, -1), tol=1e-9)
            for cut in range(1, 6)
        ]
        assert bonds == ranks
        expected = 4**depth if size == ON_PAIRS else 4 ** ((depth + 1) // 2)
        assert max(bonds) == min(expected, 4**3)
    for depth in range(1, 4):
        chain = brickwork_chain(*Example(16, [size] * depth, 1).arguments)
        expected = 4**depth if size == ON_PAIRS else 4 ** ((depth + 1) // 2)
        assert max(site.shape[-1] for site in chain) == expected


def test_without_bricks_pairs_are_independent() -> None:
    weight, activation, gates, _ = Example(40, [], 1, 3).arguments
    expected = Neuron(weight, gates, kappa=20).count_law(activation)
    for bricks in ([], [torch.eye(4).expand(20, 4, 4), torch.eye(16).expand(19, 16, 16)]):
        found = brickwork_count_law(weight, activation, gates, bricks)
        assert torch.allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("size", [ON_ACTIVATIONS, ON_PAIRS])
def test_sixty_four_pairs_with_bricks_that_factor(size: int) -> None:
    """Bricks u ⊗ v are gates of one pair: a Poisson-binomial law, whatever the depth."""
    rng = np.random.default_rng(1)
    weight, activation, gates, _ = Example(64, [], 2).arguments
    local, bricks = gates.numpy().copy(), []
    for depth in range(3):
        layer = []
        for at in range(depth % 2, 63, 2):
            u = dense.haar(4 if size == ON_PAIRS else 2, rng)
            v = dense.haar(len(u), rng)
            layer.append(np.kron(u, v))
            for where, gate in ((at, u), (at + 1, v)):
                whole = gate if size == ON_PAIRS else np.kron(np.eye(2), gate)
                local[where] = whole @ local[where]
        bricks.append(torch.from_numpy(np.array(layer)))
    found = brickwork_count_law(weight, activation, gates, bricks)
    expected = Neuron(weight, torch.from_numpy(local), kappa=32).count_law(activation)
    assert torch.allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("size", [ON_ACTIVATIONS, ON_PAIRS])
def test_one_layer_makes_blocks_of_two(size: int) -> None:
    """K is a sum of independent counts of two entangled pairs each."""
    example = Example(64, [size], 3)
    expected = np.ones(1)
    for i in range(0, 64, 2):
        block = Example(2, [size], 0)
        block.weights, block.activations = (
            example.weights[i : i + 2],
            example.activations[i : i + 2],
        )
        block.gates, block.bricks = example.gates[i : i + 2], [example.bricks[0][i // 2][None]]
        expected = np.convolve(expected, block.law())
    assert np.allclose(brickwork_count_law(*example.arguments), expected, atol=1e-13)


def test_a_swap_moves_activations() -> None:
    """Three layers of swaps carry activations along, as far as the edges let them."""
    weight, activation, _, _ = Example(9, [], 4).arguments
    identity = torch.eye(4, dtype=torch.complex128).expand(9, 4, 4)
    swap = torch.eye(4)[[0, 2, 1, 3]]
    order = list(range(9))
    for depth in range(3):
        for at in range(depth % 2, 8, 2):
            order[at], order[at + 1] = order[at + 1], order[at]
    moved = Bits(*(part[order] for part in activation))
    found = brickwork_count_law(weight, activation, identity, [swap.expand(4, 4, 4)] * 3)
    expected = Neuron(weight, identity, kappa=5).count_law(moved)
    assert torch.allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("size", [ON_ACTIVATIONS, ON_PAIRS])
def test_a_long_chain_has_a_law(size: int) -> None:
    law = brickwork_count_law(*Example(64, [size] * 2, 5).arguments)
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    assert law.min() > -1e-14
    assert law.dtype == torch.float64


@given(seed=seeds, kappa=st.integers(0, 5), flipped=st.booleans())
@settings(max_examples=10)
def test_when_it_fires(seed: int, kappa: int, flipped: bool) -> None:
    example = Example(4, [16, 4], seed)
    tail = example.law()[kappa:].sum()
    found = brickwork_probability(*example.arguments, kappa=kappa, flipped=flipped)
    assert found.item() == pytest.approx(1 - tail if flipped else tail, abs=1e-13)


@pytest.mark.parametrize("sizes", [[4, 4, 4], [16, 16], [4, 16, 4]])
def test_a_batch_is_its_rows(sizes: list[int]) -> None:
    example = Example(5, sizes, 6, 2, 3)
    found = brickwork_count_law(*example.arguments)
    assert found.shape == (2, 3, 6)
    rows = example.activations.reshape(-1, 5)
    for law, example.activations in zip(found.reshape(-1, 6), rows, strict=True):
        assert np.allclose(law, example.law(), atol=1e-13)


@pytest.mark.parametrize("sizes", [[4, 4, 4], [16, 16], [4, 16]])
def test_gradients(sizes: list[int]) -> None:
    """In every argument; the norm of a gate that is not unitary is not lost either."""
    example = Example(3, sizes, 7, 2)
    _, _, gates, bricks = example.arguments
    leaves = [torch.from_numpy(example.weights), torch.from_numpy(example.activations)]
    leaves = [leaf.requires_grad_() for leaf in (*leaves, gates, *bricks)]

    def call(w: Any, h: Any, gates: Any, *bricks: Any) -> torch.Tensor:
        weight, activation = Bits.from_probability(w), Bits.from_probability(h)
        return brickwork_count_law(weight, activation, gates, bricks)

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_bits_have_finite_slopes(dtype: Any) -> None:
    _, _, gates, bricks = Example(4, [4, 4], 8).arguments
    p = torch.tensor([0.0, 1.0, 0.5, 1e-30], dtype=dtype, requires_grad=True)
    law = brickwork_count_law(Bits.from_probability(p), Bits.from_probability(1 - p), gates, bricks)
    (slope,) = torch.autograd.grad(law[3:].sum(), p)
    assert slope.isfinite().all()
    z = torch.tensor([-40.0, -12.0, 9.0, 40.0], dtype=dtype, requires_grad=True)
    law = brickwork_count_law(Bits.from_z(z), Bits.from_z(-z), gates, bricks)
    (slope,) = torch.autograd.grad(law[3:].sum(), z)
    assert slope.isfinite().all()


def replaced(position: int, value: Any) -> list[Any]:
    arguments = list(Example(4, [4, 16], 9).arguments)
    arguments[position] = value
    return arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (replaced(0, Bits.from_probability(torch.rand(2, 4))), r"'weight' .*\(4,\), has \(2, 4\)"),
        (replaced(0, Bits.from_probability(torch.rand(3))), r"'activation' .*\(3,\), has \(4,\)"),
        (replaced(1, Bits.from_probability(torch.rand(2, 5))), r"'activation'.*\(4,\), has \(5,\)"),
        (replaced(2, torch.eye(4)), r"'gates' must have shape \(4, 4, 4\), has \(4, 4\)"),
        (replaced(3, [torch.eye(4).expand(1, 4, 4)]), r"layer 0 .*\(2, 4, 4\) or \(2, 16, 16\)"),
        (replaced(3, [torch.eye(8).expand(2, 8, 8)]), r"layer 0 .*has \(2, 8, 8\)"),
        (
            replaced(3, [torch.eye(4).expand(2, 4, 4)] * 2),
            r"layer 1 .*\(1, 4, 4\) or .*\(2, 4, 4\)",
        ),
        (replaced(0, Bits.from_probability(torch.tensor(0.5))), r"'weight' .*has \(\)"),
    ],
)
def test_refusals_are_one_line(arguments: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        brickwork_count_law(*arguments)
    assert "\n" not in str(error.value)
