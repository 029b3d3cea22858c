"""A step of AdaRound's relaxation is what autograd and torch's Adam make of its cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anneal.kernels import rectified as kernels
from anneal.kernels.compile import kernel
from anneal.kernels.lanes import load_part, logarithm, store_part


@kernel
def logarithms(numbers, out):  # type: ignore[no-untyped-def]
    for at in range(0, len(numbers), 16):
        count = min(16, len(numbers) - at)
        store_part(out, at, count, logarithm(load_part(numbers, at, count)))


def test_logarithms_are_those_of_numpy() -> None:
    numbers = np.exp(np.linspace(-87, 87, 10_007)).astype(np.float32)
    numbers = np.append(numbers, np.float32([1.1754944e-38, 1 - 2**-24, 1.0, 1 + 2**-23, 8.5e37]))
    out = np.empty_like(numbers)
    logarithms(numbers, out)
    exact = np.log(numbers.astype(np.float64))
    assert (np.abs(out - exact) <= 2e-7 * np.maximum(1, np.abs(exact))).all()
    near = np.abs(numbers - 1) < 1e-3
    assert np.allclose(out[near], exact[near], rtol=1e-5, atol=0)


@pytest.mark.parametrize("fan_in", [1, 16, 37])
@pytest.mark.parametrize("regularisation", [0.0, 0.3])
def test_steps_are_those_of_autograd(fan_in: int, regularisation: float) -> None:
    rng, num_rows, beta = np.random.default_rng(fan_in), 3, 3.5
    draws = rng.normal(size=(num_rows + 50, fan_in))
    base, hessian = -rng.random((num_rows, fan_in)), draws.T @ draws / 50
    room = rng.integers(0, 2, (num_rows, fan_in))
    weight, start = rng.random(num_rows) + 0.5, rng.normal(size=(num_rows, fan_in)) * 2
    expected = torch.from_numpy(start.copy()).requires_grad_()
    adam = torch.optim.Adam([expected], lr=0.02)
    single = [array.astype(np.float32) for array in (start, 1 / (1 + np.exp(-start)))]
    values, parts = single
    arrays = [array.astype(np.float32) for array in (base, room, weight)]
    means = np.zeros((2, num_rows, fan_in), np.float32)
    error = (base + np.clip(1.2 * parts - 0.1, 0, 1) * room).astype(np.float32)
    for step in range(1, 6):
        height = (torch.sigmoid(expected) * 1.2 - 0.1).clamp(0, 1)
        gap = torch.from_numpy(base) + height * torch.from_numpy(room)
        costs = torch.from_numpy(weight)[:, None] * (gap @ torch.from_numpy(hessian)) * gap
        loss = costs.sum() + regularisation * (1 - (2 * height - 1).abs() ** beta).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates = np.float32([0.02 / (1 - 0.9**step), 1 / (1 - 0.999**step)])
        slopes = (error @ hessian).astype(np.float32)
        told = regularisation, beta, rates
        for part in ((0, 1), (1, num_rows)):
            kernels.step(values, parts, means, *arrays, slopes, error, *told, *part)
        assert np.allclose(values, expected.detach(), rtol=1e-4, atol=1e-5)
    height = (torch.sigmoid(expected.detach()) * 1.2 - 0.1).clamp(0, 1).numpy()
    assert np.allclose(error, base + height * room, atol=1e-5)
