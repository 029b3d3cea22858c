"""Networks of stochastic XNORs: a table of probabilities for every connection, without torch.

A pair of a weight and a measured activation bit h agrees with probability r[h], so the count K is
Poisson-binomial, and a hidden bit is drawn from whether it fires. What these draws are on a device
with the deformed gates, an emulation has from the moments of a = 2K − N, the sums of 2r − 1 and of
4r(1 − r).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.files import Pathlike
from qbnn.config import Stage
from qbnn.deploy.files import read_compiled, write_compiled
from qbnn.deploy.packing import Floats, checked_images

KIND = "table"
LAWS = ("clt-cc", "exact", "draw")
Array = NDArray[Any]
Shape = tuple[int, int, int]
# As in qbnn.emulation: the least variance of a = 2K − N, and how far off a κ is that is no count.
VARIANCE_FLOOR, FAR = 0.01, 1000
# Images at once, and numbers of pairs at once where every pair is looked at.
TILE, PAIRS = 64, 1 << 22
_ARRAYS = ("table", "kappa", "flipped", "scale", "shift")


@dataclass(frozen=True, eq=False)
class TableLayer:
    """One layer: ``table`` (out, N, 2) holds P(agree | h = 0) and P(agree | h = 1).

    ``shape``: channels, height and width that it reads; N runs over (channel, row, column).
    ``kappa`` and ``flipped`` (out,): a neuron fires iff K ≥ κ, or iff not. ``scale`` and ``shift``
    (out,): those of a′, by which a site of a window is chosen and which the head hands on.
    """

    stage: Stage
    shape: Shape
    table: Array
    kappa: Array
    flipped: Array
    scale: Array
    shift: Array

    @property
    def fan_in(self) -> int:
        """N, the number of pairs of a neuron."""
        return int(self.table.shape[1])

    def rows(self, bits: Array) -> Array:
        """Return what each output position reads of bits (batch, C, H, W): (batch, …, N)."""
        stage = self.stage
        if not stage.kernel:
            return bits.reshape(len(bits), self.fan_in)
        edge = (stage.padding, stage.padding)
        bits = np.pad(bits, ((0, 0), (0, 0), edge, edge))
        windows = np.lib.stride_tricks.sliding_window_view(bits, (stage.kernel,) * 2, (2, 3))
        windows = windows[:, :, :: stage.stride, :: stage.stride].transpose(0, 2, 3, 1, 4, 5)
        return windows.reshape(*windows.shape[:3], self.fan_in)

    def moments(self, rows: Array) -> tuple[Array, Array]:
        """Return mean and variance of a = 2K − N, (batch, …, out); both are linear in the bits."""
        (mean, mean_slope), (variance, variance_slope) = self._lines
        floored = np.maximum(rows @ variance_slope + variance, VARIANCE_FLOOR)
        return rows @ mean_slope + mean, floored

    def z(self, rows: Array) -> Array:
        """Return z with P(fires) ≈ Φ(z), corrected for continuity, (batch, …, out)."""
        mean, variance = self.moments(rows)
        middle = 2.0 * self.kappa - 1 - self.fan_in
        middle *= np.where((self.kappa <= 0) | (self.kappa > self.fan_in), FAR, 1)
        found: Array = np.where(self.flipped, middle - mean, mean - middle) / np.sqrt(variance)
        return found

    def probability(self, rows: Array, law: str) -> Array:
        """Return P(a neuron fires | bits), (batch, …, out), by the law ``clt-cc`` or ``exact``."""
        if law == "exact":
            tail = self._exact(rows)
            return np.where(self.flipped, 1 - tail, tail)
        from scipy.special import ndtr

        found: Array = ndtr(self.z(rows))
        return found

    def fired(self, rows: Array, law: str, rng: np.random.Generator) -> Array:
        """Draw which neurons fire, (batch, …, out): by their probability, or pair by pair."""
        if law != "draw":
            probability = self.probability(rows, law)
            return rng.random(probability.shape) < probability
        found = np.empty((*rows.shape[:-1], len(self.table)), bool)
        for part, agree in self._pairs(rows):
            counts = (rng.random(agree.shape) < agree).sum(-1)
            found.reshape(-1, len(self.table))[part] = (counts >= self.kappa) ^ self.flipped
        return found

    def score(self, rows: Array, rng: np.random.Generator | None) -> Array:
        """Return E[a′], or where there is a generator a draw of a′, (batch, …, out)."""
        mean, variance = self.moments(rows)
        score: Array = self.scale * mean + self.shift
        if rng is None:
            return score
        score += np.abs(self.scale) * np.sqrt(variance) * rng.standard_normal(score.shape)
        return score

    @cached_property
    def _lines(self) -> list[tuple[Array, Array]]:
        """Constant and slope, (N, out), of mean and variance."""
        table = self.table.astype(np.float64)
        parts = (2 * table - 1, 4 * table * (1 - table))
        return [(part[..., 0].sum(1), (part[..., 1] - part[..., 0]).T) for part in parts]

    def _pairs(self, rows: Array) -> Iterator[tuple[slice, Array]]:
        """Yield P(agree) of every pair, (rows, out, N), some rows at a time."""
        rows = rows.reshape(-1, rows.shape[-1])
        low, high = self.table[..., 0], self.table[..., 1]
        step = max(1, PAIRS // low.size)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            yield part, np.where(rows[part, None, :] > 0, high, low)

    def _exact(self, rows: Array) -> Array:
        from qbnn.kernels.poisson_binomial import tail

        found = np.empty((*rows.shape[:-1], len(self.table)))
        for part, agree in self._pairs(rows):
            kappa = np.broadcast_to(self.kappa, agree.shape[:2]).reshape(-1)
            flat = agree.reshape(-1, agree.shape[-1]).astype(np.float64)
            found.reshape(-1, len(self.table))[part] = tail(flat, kappa).reshape(agree.shape[:2])
        return found


@dataclass(frozen=True, eq=False)
class TableNetwork:
    """Layers one after the other; pixels are bits of probability p, drawn anew in each pass.

    ``pool``: how one site of a window is chosen (``sample``, ``mean``), or that any may fire
    (``or``). ``head``: what the logits are, as :meth:`qbnn.models.Network.forward` has it.
    """

    layers: tuple[TableLayer, ...]
    in_shape: Shape
    pool: str
    head: str

    def probabilities(
        self, images: ArrayLike, *, num_draws: int = 1, seed: int = 0, law: str = "clt-cc"
    ) -> Floats:
        """Return class probabilities, (batch, classes), averaged over passes.

        ``law`` of hidden bits: ``clt-cc``, ``exact``, or ``draw``, which draws every pair. Raises
        :class:`~anneal.errors.InputError` for an unknown law and images that do not fit.
        """
        if law not in LAWS:
            raise InputError(f"unknown law '{law}'; known: {', '.join(LAWS)}")
        if num_draws < 1:
            raise InputError(f"num_draws must be at least 1, not {num_draws}")
        values, rng = checked_images(images, self.in_shape), np.random.default_rng(seed)
        parts = [
            sum(
                _softmax(self._pass(values[start : start + TILE], law, rng))
                for _ in range(num_draws)
            )
            for start in range(0, max(len(values), 1), TILE)
        ]
        return (np.concatenate(parts) / num_draws).astype(np.float32)

    def save(self, path: Pathlike) -> int:
        """Write the network to a file and return its bytes; see :func:`load_table`."""
        plain = [{"stage": layer.stage, "shape": layer.shape} for layer in self.layers]
        arrays = {
            f"{k}.{name}": getattr(layer, name)
            for k, layer in enumerate(self.layers)
            for name in _ARRAYS
        }
        document = {"in_shape": self.in_shape, "pool": self.pool, "head": self.head}
        return write_compiled(path, KIND, arrays, document | {"layers": plain})

    def _pass(self, images: Array, law: str, rng: np.random.Generator) -> Array:
        """Return logits, (batch, classes), of one pass."""
        bits = (rng.random(images.shape) < images).astype(np.float64)
        for layer in self.layers[:-1]:
            rows = layer.rows(bits)
            fired = layer.fired(rows, law, rng)
            if layer.stage.pool > 1:
                score = None
                if self.pool != "or":
                    score = layer.score(rows, rng if self.pool == "sample" else None)
                fired = _pooled(fired, score, layer.stage.pool)
            bits = np.moveaxis(fired, -1, 1).astype(np.float64)
        return self._logits(self.layers[-1].rows(bits))

    def _logits(self, rows: Array) -> Array:
        head = self.layers[-1]
        if self.head == "ce":
            variance = head.scale**2 * head.moments(rows)[1]
            return head.score(rows, None) / np.sqrt(1 + math.pi / 8 * variance)
        from scipy.special import log_ndtr

        z = head.z(rows)
        odds: Array = log_ndtr(z) - log_ndtr(-z)
        return odds


def load_table(path: Pathlike) -> TableNetwork:
    """Return the network of a file.

    Raises :class:`~anneal.errors.InputError` naming the file where it is missing, damaged, or of
    another kind or version.
    """
    arrays, document = read_compiled(path, KIND)
    layers = tuple(
        TableLayer(
            Stage(*entry["stage"]),
            tuple(entry["shape"]),
            **{name: arrays[f"{k}.{name}"] for name in _ARRAYS},
        )
        for k, entry in enumerate(document["layers"])
    )
    return TableNetwork(
        layers, tuple(document["in_shape"]), pool=document["pool"], head=document["head"]
    )


def _pooled(fired: Array, score: Array | None, size: int) -> Array:
    """Return for each window whether its site of the greatest score fired, or whether any did."""
    windows = _windows(fired, size)
    if score is None:
        return np.asarray(windows.any(-1))
    index = _windows(score, size).argmax(-1)[..., None]
    found: Array = np.take_along_axis(windows, index, -1)[..., 0]
    return found


def _windows(sites: Array, size: int) -> Array:
    """Return (batch, rows, columns, out, size²) of (batch, H, W, out)."""
    every = np.lib.stride_tricks.sliding_window_view(sites, (size, size), (1, 2))
    chosen = every[:, ::size, ::size]
    found: Array = chosen.reshape(*chosen.shape[:4], size**2)
    return found


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found: Array = powers / powers.sum(1, keepdims=True)
    return found
