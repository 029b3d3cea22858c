"""Moments of layers with real gates, each pair's m made where it is needed, with a backward alike.

What they are is defined by :meth:`qbnn.deformed.DeformedLayer.moments`; the compiled passes over
all pairs are :mod:`qbnn.kernels.pair_moments`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from qbnn.fused import MICROSECONDS, empty_rows, flat, rows_of, share
from qbnn.kernels import pair_moments, pair_weights

PARTS = 8  # of a batch, at most, whose gradients of weights are summed apart
LEAST_PART = 500.0  # microseconds: below that, joining sums takes longer than a thread saves
PAIRS = 1e4  # that a kernel takes forward in about a microsecond; backward takes twice as long
Window = tuple[int, int, int]
DENSE = (1, 1, 0)  # every output reads one pixel


def real4(line: Tensor, latent: Tensor, angles: Tensor, *, window: Window) -> tuple[Tensor, Tensor]:
    """Return mean and variance of counts of pairs with gates of ``Real4``, (batch, out, …).

    line: (batch, 2·in, …), φ and then χ. latent: (out, in, …), and angles, (4, …), that broadcast
    to it. window: size, stride and padding, beyond which bits are 0; (1, 1, 0) for a dense layer.
    """
    inputs = line, latent, angles, window
    mean, variance = Real4Moments.apply(*inputs)  # type: ignore[no-untyped-call]
    return mean, variance


class Real4Moments(torch.autograd.Function):
    """Σm and Σ(1 − m²) over what every output reads, by :func:`real4`."""

    @staticmethod
    def forward(ctx: Any, line: Tensor, latent: Tensor, angles: Tensor, window: Window) -> Any:
        ctx.window, ctx.angle_shape, out = window, angles.shape, len(latent)
        # Channels innermost, as in the memory of ``line``.
        rows = latent.detach().movedim(1, -1).contiguous()
        full = angles.detach().expand(4, *latent.shape).movedim(2, -1).contiguous()
        coefficients = _coefficients(rows.view(out, -1), full.view(4, out, -1))
        ctx.save_for_backward(line, rows, full, coefficients)
        return _moments(line, coefficients, out, window)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        line, rows, full, coefficients = ctx.saved_tensors
        given = [_grouped(part).numpy() for part in (gradients[0], -2 * gradients[1])]
        back = _direct_backward if ctx.window == DENSE else _patches_backward
        of_line, found = back(line, coefficients, given, ctx.window, ctx.needs_input_grad[0])
        into = torch.empty_like(rows), torch.empty_like(full)
        arrays = [part.view(len(rows), -1).numpy() for part in (rows, into[0])]
        angles = [part.view(4, len(rows), -1).numpy() for part in (full, into[1])]
        each = arrays[0], angles[0], found.numpy(), arrays[1], angles[1]
        cost = arrays[0].shape[1] * MICROSECONDS
        share(lambda *part: pair_weights.real4_backward(*each, *part), len(rows), cost)
        of_angles = into[1].movedim(-1, 2).sum_to_size(ctx.angle_shape)
        return of_line, into[0].movedim(-1, 1), of_angles, None


def _coefficients(latent: Tensor, angles: Tensor) -> Tensor:
    """Return α, β and γ as the kernels read them, from (out, n) and (4, out, n)."""
    (out, n), lanes = latent.shape, pair_moments.LANES
    found = latent.new_empty(-(-n // lanes), 3, -(-out // lanes) * lanes, lanes)
    found[:, :, out:] = 0
    arrays = latent.numpy(), angles.numpy(), found.numpy()
    share(lambda *part: pair_weights.real4(*arrays, *part), out, n * MICROSECONDS)
    return found


def _moments(line: Tensor, coefficients: Tensor, out: int, window: Window) -> tuple[Tensor, Tensor]:
    """Return Σm and Σ(1 − m²), the outputs of a dense layer or else the rows shared."""
    shape = _shape(line, window)
    size = (len(line), *(shape[6:] if line.dim() > 2 else ()), out)
    mean, variance = line.new_empty(size), line.new_empty(size)
    arrays = [part.view(-1, out).numpy() for part in (mean, variance)]
    given = *rows_of(line), shape, coefficients.numpy(), *arrays
    num_rows, blocks = len(arrays[0]), coefficients.shape[2] // pair_moments.LANES
    cost = coefficients[:, 0].numel() / PAIRS

    def work(start: int, stop: int) -> None:
        part = (start, stop, 0, num_rows) if window == DENSE else (0, blocks, start, stop)
        pair_moments.moments(*given, *part)

    if window == DENSE:
        share(work, blocks, num_rows * cost / blocks)
    else:
        share(work, num_rows, cost)
    return mean.movedim(-1, 1), variance.movedim(-1, 1)


def _direct_backward(
    line: Tensor, coefficients: Tensor, given: list[Any], window: Window, wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of ``line`` and the coefficients, the inputs shared among threads."""
    found, width = coefficients.new_empty(_flat_shape(coefficients)), line.shape[1]
    of_line = empty_rows(line, width) if wanted else None
    into = line.new_empty(0, width) if of_line is None else of_line.movedim(1, -1).view(-1, width)
    arrays = *rows_of(line), coefficients.numpy(), *given, found.numpy(), into.numpy()
    chunks, cost = len(coefficients), coefficients[0, 0].numel() * len(given[0]) * 2 / PAIRS
    share(lambda *part: pair_moments.direct_backward(*arrays, *part), chunks, cost)
    return of_line, found


def _patches_backward(
    line: Tensor, coefficients: Tensor, given: list[Any], window: Window, wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of ``line`` and the coefficients, the images shared among threads.

    Parts of the batch, as many whatever the number of threads, have sums of their own.
    """
    batch, shape = len(line), _shape(line, window)
    cost = coefficients[:, 0].numel() * len(given[0]) * 2 / PAIRS
    parts = max(1, min(PARTS, batch, int(cost / LEAST_PART)))
    edges = [batch * part // parts * shape[6] * shape[7] for part in range(parts + 1)]
    found = coefficients.new_empty(parts, *_flat_shape(coefficients))
    of_line = empty_rows(line, line.shape[1]).zero_() if wanted else None
    into = line.new_empty(0).numpy() if of_line is None else flat(of_line)
    arrays = *rows_of(line), shape, coefficients.numpy(), *given

    def work(start: int, stop: int) -> None:
        for part in range(start, stop):
            rows = edges[part], edges[part + 1]
            pair_moments.patches_backward(*arrays, found[part].numpy(), into, *rows)

    share(work, parts, cost / parts)
    return of_line, found[0] if parts == 1 else found.sum(0)


def _shape(line: Tensor, window: Window) -> tuple[int, ...]:
    """Return the shape of a layer as the kernels take it."""
    size, stride, padding = window
    sides = line.shape[2:] or (1, 1)
    outputs = [(side + 2 * padding - size) // stride + 1 for side in sides]
    return line.shape[1] // 2, *sides, size, stride, padding, *outputs


def _flat_shape(coefficients: Tensor) -> tuple[int, int, int]:
    """Return (3, out, n) as the coefficients are rounded up."""
    chunks, _, out, lanes = coefficients.shape
    return 3, out, chunks * lanes


def _grouped(gradient: Tensor) -> Tensor:
    """Return gradients as rows of outputs, of which there are whole groups."""
    rows = gradient.movedim(1, -1).flatten(0, -2)
    return F.pad(rows, (0, -rows.shape[1] % pair_moments.GROUP)).contiguous()
