"""Networks with rough normalisations, and what their bits do in plain numpy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from qbnn.binarised import Binarised, Counting
from qbnn.config import SIGN, make_config
from qbnn.data import Split
from qbnn.models import Network

LEVELS = 4  # pixels are 0, ¼, ½, ¾ and 1, and every sum of them is exact


@st.composite
def architectures(draw: st.DrawFn) -> str:
    """Up to two convolutions and two dense layers, fan-ins of all residues modulo 64."""
    words = []
    for _ in range(draw(st.integers(0, 2))):
        width, kernel = draw(st.sampled_from([1, 3, 8, 65])), draw(st.integers(1, 3))
        stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
        words.append(f"{width}C{kernel}S{stride}P{padding}")
        if draw(st.booleans()):
            words.append("MP2")
    words += [f"{draw(st.integers(1, 130))}FC" for _ in range(draw(st.integers(0, 2)))]
    return "-".join([*words, f"SM{draw(st.integers(2, 11))}"])


def make_network(architecture: str, *, seed: int, ties: bool = False, **config: Any) -> Network:
    """A network with scales of both signs and zero; with ``ties`` thresholds are counts."""
    values = {"architecture": architecture, "in_shape": (2, 9, 8), "seed": seed, **config}
    network = Network(make_config(values))
    rng = np.random.default_rng(seed)
    for block in network.blocks:
        norm, width = block.norm, block.placed.stage.width
        scale, shift = ("weight", "bias") if network.config.family == SIGN else ("gamma", "beta")
        spread = np.sqrt(block.layer.fan_in)
        zeros = np.zeros(width)
        tensors = {
            scale: rng.choice([-2.5, -1.0, 0.0, 0.7, 1.0], width),
            shift: zeros if ties else rng.normal(size=width),
            "running_mean": rng.choice([-4.0, -2, -1, 0, 1, 2, 4], width)
            if ties
            else spread * rng.normal(size=width),
            variance_name(network): spread**2 * rng.uniform(0.1, 2, width),
        }
        with torch.no_grad():
            for name, array in tensors.items():
                getattr(norm, name).copy_(torch.from_numpy(array))
    return network.eval()


def variance_name(network: Network) -> str:
    return "running_var" if network.config.family == SIGN else "running_variance"


def make_images(network: Network, count: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, LEVELS + 1, (count, *network.config.in_shape))
    return (pixels / LEVELS).astype(np.float32)


def make_split(network: Network, count: int, *, seed: int = 0) -> Split:
    pixels = torch.from_numpy(LEVELS * make_images(network, count, seed=seed)).to(torch.uint8)
    return Split(pixels, torch.arange(count) % network.config.num_classes, LEVELS)


class Dense:
    """One layer in float64: weights −1, 0 and 1, a′ = scale·(a − mean) + shift, max of windows."""

    def __init__(self, weight: Any, stage: Any, scale: Any, mean: Any, shift: Any) -> None:
        self.weight, self.stage = np.asarray(weight, float), stage
        self.scale, self.mean, self.shift = (
            np.asarray(part, float) for part in (scale, mean, shift)
        )

    def sums(self, values: np.ndarray, border: float) -> np.ndarray:
        """a, (batch, out, …), one output position after the other."""
        if not self.stage.kernel:
            return values.reshape(len(values), -1) @ self.weight.reshape(len(self.weight), -1).T
        edge, size, stride = (self.stage.padding,) * 2, self.stage.kernel, self.stage.stride
        values = np.pad(values, ((0, 0), (0, 0), edge, edge), constant_values=border)
        rows, columns = ((side - size) // stride + 1 for side in values.shape[2:])
        out = np.empty((len(values), len(self.weight), rows, columns))
        for i, j in itertools.product(range(rows), range(columns)):
            window = values[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, :, i, j] = np.einsum("bcij,ocij->bo", window, self.weight)
        return out

    def affine(self, sums: np.ndarray) -> np.ndarray:
        ones = (-1, *[1] * (sums.ndim - 2))
        scale, mean, shift = (p.reshape(ones) for p in (self.scale, self.mean, self.shift))
        return scale * (sums - mean) + shift

    def pooled(self, values: np.ndarray) -> np.ndarray:
        size = self.stage.pool
        if size == 1:
            return values
        batch, width, *sides = values.shape
        rows, columns = (side // size for side in sides)
        values = values[:, :, : rows * size, : columns * size]
        return values.reshape(batch, width, rows, size, columns, size).max((3, 5))


def dense_layers(network: Network) -> list[Dense]:
    """The layers of the most probable weights, with the normalisations as they are stored."""
    found = []
    for block in network.blocks:
        norm = block.norm
        sign = network.config.family == SIGN
        gamma, beta = (norm.weight, norm.bias) if sign else (norm.gamma, norm.beta)
        floor = norm.eps if sign else 0.01
        deviation = torch.sqrt(getattr(norm, variance_name(network)).double() + floor)
        weight = torch.where(block.layer.latent >= 0, 1, -1)
        parts = (gamma.double() / deviation, norm.running_mean, beta)
        found.append(Dense(weight, block.placed.stage, *(p.detach().numpy() for p in parts)))
    return found


def layers_of(twin: Binarised) -> list[Dense]:
    """The layers of a twin, by their scales and shifts rather than their integer thresholds."""
    found = []
    for layer in twin.layers:
        assert isinstance(layer, Counting)
        scale, shift = (p.flatten().double().numpy() for p in (layer.scale, layer.shift))
        found.append(Dense(layer.weight, layer.stage, scale, np.zeros_like(scale), shift))
    return found


def head_sums(
    layers: list[Dense], images: np.ndarray, *, real: bool, border: float = 0.0
) -> np.ndarray:
    """a of the head: max pooling of a′, and a bit where that is at least 0."""
    values = 2.0 * images - 1 if real else np.where(images >= 0.5, 1.0, -1.0)
    for place, layer in enumerate(layers[:-1]):
        edge = border if real and place == 0 else -1.0
        fired = layer.pooled(layer.affine(layer.sums(values, edge))) >= 0
        values = np.where(fired, 1.0, -1.0)
    return layers[-1].sums(values, border)
