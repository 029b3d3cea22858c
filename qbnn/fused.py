"""Autograd functions with analytic backwards, compiled into one pass over a layer where it counts.

What they compute is defined elsewhere (:mod:`qbnn.deformation`, :mod:`qbnn.layers`); here it is
quick. On a device that is not the CPU their callers take the definition itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from anneal.kernels.threads import over_rows
from qbnn.emulation import VARIANCE_FLOOR, scale_size
from qbnn.kernels import activation, pair_weights, pooling
from qbnn.states import Bits, Features, Moments

MICROSECONDS = 0.01  # about what a kernel takes for an element, in microseconds


class WeightBits(torch.autograd.Function):
    """θ = tanh(l) and x = 1/cosh(l); dθ = x² dl and dx = −θx dl."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor) -> tuple[Tensor, Tensor]:
        spin, coherence = torch.tanh(latent), torch.cosh(latent).reciprocal_()
        ctx.save_for_backward(spin, coherence)
        return spin, coherence

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        spin, coherence = ctx.saved_tensors
        found: Tensor = coherence * (gradients[0] * coherence - gradients[1] * spin)
        return found


class UndeformedPowers(torch.autograd.Function):
    """θ = tanh(l) and −θ², weights of m and −m² of pairs without a gate, (out, in, …)."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor) -> tuple[Tensor, Tensor]:
        spin, square = torch.empty(2, *latent.shape)
        rows = flat_rows(latent)
        arrays = [part.view_as(rows).numpy() for part in (rows, spin, square)]
        cost = rows.shape[1] * MICROSECONDS / 4
        share(lambda *part: pair_weights.undeformed(*arrays, *part), len(rows), cost)
        ctx.save_for_backward(spin)
        return spin, square

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (spin,) = ctx.saved_tensors
        found = torch.empty_like(spin)
        arrays = [flat_rows(part).numpy() for part in (spin, *gradients, found)]
        cost = arrays[0].shape[1] * MICROSECONDS / 4
        share(lambda *part: pair_weights.undeformed_backward(*arrays, *part), len(spin), cost)
        return found


class BatchNormalisation(torch.autograd.Function):
    """μ and V as they come, and what normalises every channel: scale, shift, m and v, (width,).

    m = mean(μ), v = [ΣV + Σ(μ − m)²]/(M − 1), scale = γ/√(v + floor), shift = β − scale·m; no
    gradient comes through m and v as such. Gradients that come back through μ and V go on with what
    scale and shift add to them in one pass.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        width, found = mean.shape[1], []
        arrays = *rows_of(mean), *rows_of(variance)
        num_rows = mean.numel() // width

        def work(start: int, stop: int) -> None:
            sums = np.zeros((3, width))
            activation.statistics(*arrays, sums, start, stop)
            found.append(sums)

        share(work, num_rows, width * MICROSECONDS / 4)
        first, second, variances = np.sum(found, 0)
        least = max(num_rows - 1, 1)
        center = arrays[0][:width] + first / num_rows
        v = (variances + second - first * first / num_rows) / least
        inverse = 1 / np.sqrt(v + VARIANCE_FLOOR)
        scale = gamma.detach().numpy() * inverse
        shift = beta.detach().numpy() - scale * center
        ctx.save_for_backward(mean)
        ctx.counts, ctx.statistics = (num_rows, least), (center, inverse, scale)
        told = [torch.from_numpy(part.astype(np.float32)) for part in (scale, shift, center, v)]
        ctx.mark_non_differentiable(*told[2:])
        return mean.view_as(mean), variance.view_as(variance), *told

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (mean,) = ctx.saved_tensors
        (num_rows, least), (center, inverse, scale) = ctx.counts, ctx.statistics
        of_shift = gradients[3].numpy().astype(np.float64)
        of_scale = gradients[2].numpy() - center * of_shift
        of_v = -0.5 * of_scale * scale * inverse**2 / least
        constants = np.stack([-scale * of_shift / num_rows - 2 * of_v * center, 2 * of_v, of_v])
        to_mean, to_variance = empty_rows(mean, mean.shape[1]), empty_rows(mean, mean.shape[1])
        arrays = (
            *rows_of(mean),
            *(flat(part) for part in gradients[:2]),
            constants.astype(np.float32),
            *(flat(part) for part in (to_mean, to_variance)),
            mean.shape[1],
        )
        cost = mean.shape[1] * MICROSECONDS / 4
        share(lambda *rows: activation.statistics_backward(*arrays, *rows), num_rows, cost)
        affine = (of_scale * inverse, of_shift)
        return to_mean, to_variance, *(torch.from_numpy(a.astype(np.float32)) for a in affine)


class Activation(torch.autograd.Function):
    """Bits with p = Φ(z) as the features of a layer, z as :func:`qbnn.emulation.z_score`.

    μ and V: (batch, width, …), scale and shift: (width, 1, …). ``line``: φ + border and, if
    ``coherent``, χ along the channels; ``square``: φ² − border and φχ, or nothing.
    """

    @staticmethod
    def fits(moments: Moments) -> bool:
        """Whether the compiled kernel takes moments like these: scaled, one scale a channel."""
        scale = moments.scale
        return scale is not None and scale.dim() == moments.mean.dim() - 1 and fits(moments.mean)

    @staticmethod
    def forward(
        ctx: Any,
        mean: Tensor,
        variance: Tensor,
        scale: Tensor,
        shift: Tensor,
        coherent: bool,
        border: float,
        squares: bool,
    ) -> Any:
        width, ctx.coherent = mean.shape[1], coherent
        size = scale_size(scale, shift)
        affine = torch.stack([scale / size, shift / size]).view(2, width)
        line = empty_rows(mean, 2 * width if coherent else width)
        square = torch.empty_like(line) if squares else line.new_empty(0)
        arrays = (
            *rows_of(mean),
            *rows_of(variance),
            affine.numpy(),
            VARIANCE_FLOOR,
            border,
            coherent,
        )
        into = flat(line), flat(square)
        rows = mean.numel() // width
        share(lambda *part: activation.bits(*arrays, *into, *part), rows, width * MICROSECONDS)
        ctx.save_for_backward(mean, variance, affine, scale, size)
        return line, square

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        mean, variance, affine, scale, size = ctx.saved_tensors
        width, found = mean.shape[1], []
        to_mean, to_variance = empty_rows(mean, width), empty_rows(mean, width)
        arrays = (*rows_of(mean), *rows_of(variance), affine.numpy(), VARIANCE_FLOOR, ctx.coherent)
        into = [flat(part) for part in (*gradients, to_mean, to_variance)]

        def work(start: int, stop: int) -> None:
            sums = np.zeros((2, width))
            activation.bits_backward(*arrays, *into, sums, start, stop)
            found.append(sums)

        share(work, mean.numel() // width, width * MICROSECONDS)
        of_slope, of_offset = torch.from_numpy(np.sum(found, 0)).to(affine).view(2, *scale.shape)
        # Of the quotients by their size: abs(scale), or a constant where that is next to nothing.
        offset = affine[1].view_as(scale)
        of_scale = torch.where(scale.abs() >= size, -offset * scale.sign() * of_offset, of_slope)
        return to_mean, to_variance, of_scale / size, of_offset / size, None, None, None


class ProbitLogits(torch.autograd.Function):
    """(scale·μ + shift)/√(1 + πV⁺scale²/8) with V⁺ = max(V, floor): what a softmax head reads.

    μ and V: (batch, classes), scale and shift: (classes,).
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        inverse = variance.clamp_min(VARIANCE_FLOOR).mul_(math.pi / 8 * scale * scale)
        inverse.add_(1).rsqrt_()
        found = torch.addcmul(shift, scale, mean).mul_(inverse)
        ctx.save_for_backward(mean, variance, scale, inverse, found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        mean, variance, scale, inverse, found = ctx.saved_tensors
        given = gradients[0] * inverse
        # y' = −y·D'/(2D) of what the root does, D = 1 + πV⁺scale²/8.
        of_root = given * found * inverse * (-math.pi / 16 * scale)
        to_variance = torch.where(variance > VARIANCE_FLOOR, of_root * scale, 0.0)
        of_scale = given * mean + 2 * of_root * variance.clamp_min(VARIANCE_FLOOR)
        return given * scale, to_variance, of_scale.sum(0), given.sum(0)


class StochasticPool(torch.autograd.Function):
    """μ and V at the site of every window whose scale·μ + shift + σ·noise is the largest.

    μ, V: (batch, channels, height, width), affine: (2, channels); ``noise``: (batch,
    height, width, channels), or nothing for the largest mean. No gradient goes through the choice.
    """

    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, variance: Tensor, affine: Tensor, noise: Tensor, size: int
    ) -> Any:
        batch, channels, *ctx.shape = mean.shape
        ctx.size = size
        pooled = [length // size for length in ctx.shape]
        parts = [mean.new_empty(batch, *pooled, channels).movedim(-1, 1) for _ in range(3)]
        given = (
            *rows_of(mean),
            *rows_of(variance),
            affine.detach().numpy(),
            noise.view(-1).numpy(),
        )
        shape, into = (*ctx.shape,), [flat(part) for part in parts]
        rest = (VARIANCE_FLOOR, shape, size, *into)
        cost = channels * size**2 * MICROSECONDS / 4
        share(lambda *rows: pooling.pool(*given, *rest, *rows), batch * math.prod(pooled), cost)
        ctx.save_for_backward(parts[2])
        return parts[0], parts[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (sites,) = ctx.saved_tensors
        batch, channels = sites.shape[:2]
        shape, size = (*ctx.shape,), ctx.size
        covered = not any(length % size for length in shape)
        new = sites.new_empty if covered else sites.new_zeros
        parts = [new(batch, *shape, channels).movedim(-1, 1) for _ in range(2)]
        given = [flat(part) for part in (*gradients, sites)]
        into = [flat(part) for part in parts]
        cost = channels * size**2 * MICROSECONDS / 4
        share(
            lambda *rows: pooling.pool_backward(*given, channels, shape, size, *into, *rows),
            sites.numel() // channels,
            cost,
        )
        return *parts, None, None, None


class PairFeatures(torch.autograd.Function):
    """Features of bits: φ + border and χ, φ² − border and φχ, along dimension 1."""

    @staticmethod
    def forward(ctx: Any, spin: Tensor, coherence: Tensor, border: float) -> Any:
        ctx.save_for_backward(spin, coherence)
        width = spin.shape[1]
        line = empty_rows(spin, 2 * width)
        square = torch.empty_like(line)
        torch.add(spin, border, out=line[:, :width])
        line[:, width:] = coherence
        torch.mul(spin, spin, out=square[:, :width])
        if border:
            square[:, :width] -= border
        torch.mul(spin, coherence, out=square[:, width:])
        return line, square

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        spin, coherence = ctx.saved_tensors
        line, along = gradients[0].chunk(2, 1)
        square, across = gradients[1].chunk(2, 1)
        of_spin = torch.addcmul(line, spin, square, value=2).addcmul_(coherence, across)
        return of_spin, torch.addcmul(along, spin, across), None


def smooth_bits(moments: Moments) -> Bits:
    """Return the bits of neurons that fire by the smooth normal law."""
    inputs = *moments[:2], moments.scale, moments.shift, True, 0.0, False
    line, _ = Activation.apply(*inputs)  # type: ignore[no-untyped-call]
    return Bits(*line.chunk(2, 1))


def smooth_features(
    moments: Moments, *, coherent: bool, border: float, squares: bool = True
) -> Features:
    """Return the features of such bits for a layer with these attributes."""
    inputs = *moments[:2], moments.scale, moments.shift, coherent, border, squares
    line, square = Activation.apply(*inputs)  # type: ignore[no-untyped-call]
    return Features(line, square if squares else None)


def fits(values: Tensor) -> bool:
    """Whether compiled kernels take such tensors: float32 on the CPU."""
    kind = values.device.type == "cpu" and values.dtype == torch.float32
    return kind and values.numel() > 0 and not torch.compiler.is_compiling()


def channels_last(values: Tensor) -> Tensor:
    """Return (batch, channels, height, width) in memory (batch, height, width, channels).

    That is how kernels here read and write; without it torch copies back and forth. With a single
    channel both orders are the same memory, and only the strides tell torch which one is meant.
    """
    if values.device.type != "cpu":
        return values
    if values.shape[1] > 1:
        return values.contiguous(memory_format=torch.channels_last)
    return values.contiguous().view(len(values), *values.shape[2:], 1).movedim(-1, 1)


def share(work: Callable[[int, int], None], num_rows: int, microseconds: float) -> None:
    """Split the rows among as many threads as torch takes."""
    num_threads = torch.get_num_threads()
    over_rows(work, num_rows, microseconds=microseconds, num_threads=num_threads)


def empty_rows(like: Tensor, width: int) -> Tensor:
    """Return a new (batch, width, …), in memory (batch, …, width)."""
    if like.dim() == 2:
        return like.new_empty(like.shape[0], width)
    return like.new_empty(like.shape[0], *like.shape[2:], width).movedim(-1, 1)


def flat(values: Tensor) -> Any:
    """Return (batch, width, …) as an array in the order (batch, …, width)."""
    rows = values.detach()
    if rows.dim() > 2:
        rows = rows.movedim(1, -1)
    return rows.contiguous().numpy().reshape(-1)


def rows_of(values: Tensor) -> tuple[Any, int]:
    """Return (batch, width, …) as flat memory of rows of channels, and from row to row."""
    rows = values.detach()
    if rows.dim() > 2:
        rows = rows.movedim(1, -1).flatten(0, -2)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    (num_rows, width), step = rows.shape, rows.stride(0)
    if step == width:
        return rows.numpy().reshape(-1), step
    return rows.as_strided(((num_rows - 1) * step + width,), (1,)).numpy(), step


def flat_rows(values: Tensor) -> Tensor:
    return values.detach().reshape(len(values), -1).contiguous()
