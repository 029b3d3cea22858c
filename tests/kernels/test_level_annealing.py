"""Annealing of levels: the Boltzmann law at one heat, with single moves and with pairs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from anneal.kernels import level_annealing as kernels
from anneal.kernels.random import exponential_quantiles, new_state
from anneal.rounding.annealing import kernel_arrays, padded
from anneal.rounding.rows import LayerRows
from tests.kernels.test_boltzmann import assert_law

NUM_ROWS, BATCHES, SWEEPS = 400, 250, 12
HEAT = 1.5


def small_rows(bounds: list[tuple[int, int]], seed: int) -> LayerRows:
    """Copies of one row with few levels, so that each is a sample."""
    rng = np.random.default_rng(seed)
    n = len(bounds)
    inputs = rng.normal(size=(2 * n, n)) + 0.5
    low, high = np.array(bounds).T
    target = rng.uniform(low - 0.5, high + 0.5)
    copies = [np.tile(array, (NUM_ROWS, 1)) for array in (target, low, high)]
    weight, constant = np.ones(NUM_ROWS), np.zeros(NUM_ROWS)
    return LayerRows(copies[0], (inputs.T @ inputs / n)[None], *copies[1:], weight, constant)


@pytest.mark.parametrize("every", [1, 3, 10**6])
@pytest.mark.parametrize(
    "bounds",
    [
        [(0, 1)] * 6,
        [(-1, 1), (0, 3), (0, 1), (2, 2)],
        [(0, 2), (0, 0), (-3, 0), (0, 1)],
    ],
    ids=["binary", "mixed", "with a fixed one"],
)
def test_levels_follow_the_boltzmann_law(bounds: list[tuple[int, int]], every: int) -> None:
    rows = small_rows(bounds, seed=len(bounds) + every)
    arrays = kernel_arrays(rows)
    width = arrays.low.shape[1]
    states = np.array(list(product(*(range(low, high + 1) for low, high in bounds))))
    index = {tuple(state): number for number, state in enumerate(states)}
    errors = states - rows.target[0]
    energies = np.einsum("si,ij,sj->s", errors, rows.hessian[0], errors)
    law = np.exp(-(energies - energies.min()) / HEAT)
    law /= law.sum()
    rng = np.random.default_rng(7)
    seeds = np.stack([new_state(rng) for _ in range(rows.num_rows)])
    now, fields = padded(rows.lower, width), padded(2 * rows.gradients(rows.lower), width)
    observed = np.zeros(len(states), np.int64)
    for batch in range(BATCHES):
        heats = np.full((1, 5 * SWEEPS if batch == 0 else SWEEPS), HEAT, np.float32)
        kernels.anneal(
            now, fields, *arrays, rows.num_rows, heats, every, rows.fan_in,
            exponential_quantiles(rng), seeds, 0, rows.num_rows,
        )  # fmt: skip
        seen = now[:, : rows.fan_in].astype(int)
        fields = padded(2 * rows.gradients(seen), width)
        for state in seen[batch % 8 :: 8]:
            observed[index[tuple(state)]] += 1
    assert_law(observed, law / law.sum())


def test_fields_follow_the_levels() -> None:
    rows = small_rows([(-4, 3)] * 21, seed=3)
    arrays, rng = kernel_arrays(rows), np.random.default_rng(1)
    width = arrays.low.shape[1]
    now, fields = padded(rows.lower, width), padded(2 * rows.gradients(rows.lower), width)
    seeds = np.stack([new_state(rng) for _ in range(rows.num_rows)])
    heats = np.full((1, 50), 2.0, np.float32)
    kernels.anneal(
        now, fields, *arrays, rows.num_rows, heats, 2, rows.fan_in, exponential_quantiles(rng),
        seeds, 0, rows.num_rows,
    )  # fmt: skip
    levels = now[:, : rows.fan_in].astype(int)
    assert (levels != rows.lower).any()
    assert np.allclose(fields[:, : rows.fan_in], 2 * rows.gradients(levels), rtol=1e-3, atol=1e-2)
    assert not now[:, rows.fan_in :].any()
