"""Autograd functions with analytic backwards, compiled into one pass over a layer where it counts.

What they compute is defined elsewhere (:mod:`qbnn.deformation`, :mod:`qbnn.layers`); here it is
quick. On a device that is not the CPU their callers take the definition itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qbnn.kernels import pair_weights


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


class Real4Powers(torch.autograd.Function):
    """Weights of m and m² in the features (φ, χ, φ², φχ) for gates of ``Real4``, and constants.

    From θ and x, (out, in, …), and angles (4, …) that broadcast to them: [β, γ] (out, 2·in, …),
    [2αβ, 2αγ, β² − γ², 2βγ] (out, 4·in, …), Σα (out,) and Σ(α² + γ²) (out,).
    """

    @staticmethod
    def fits(latent: Tensor) -> bool:
        """Whether the compiled kernel takes weights like these."""
        fan_in = latent[0].numel()
        kind = latent.device.type == "cpu" and latent.dtype == torch.float32
        return kind and fan_in >= pair_weights.LANES and not torch.compiler.is_compiling()

    @staticmethod
    def forward(ctx: Any, spin: Tensor, coherence: Tensor, angles: Tensor) -> Any:
        out, width, *kernel = ctx.shape = spin.shape
        ctx.angle_shape = angles.shape
        full = _rows(angles.expand(4, *spin.shape).flatten(0, 1)).view(4, out, -1)
        saved = _rows(spin), _rows(coherence), full
        n = full.shape[2]
        line, square = spin.new_empty(out, 2 * n), spin.new_empty(out, 4 * n)
        sums = spin.new_empty(2, out, pair_weights.LANES)
        pair_weights.real4(*(part.numpy() for part in (*saved, line, square, sums)))
        ctx.save_for_backward(*saved)
        shape = line.view(out, 2 * width, *kernel), square.view(out, 4 * width, *kernel)
        return *shape, *sums.sum(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        saved = ctx.saved_tensors
        weight = saved[0].new_empty(2, *saved[0].shape)
        angles = torch.empty_like(saved[2])
        given = [_rows(part) for part in gradients[:2]] + [torch.stack(gradients[2:])]
        pair_weights.real4_backward(*(part.numpy() for part in (*saved, *given, weight, angles)))
        full = angles.view(4, *ctx.shape)
        return *weight.view(2, *ctx.shape), full.sum_to_size(ctx.angle_shape)


class PairFeatures(torch.autograd.Function):
    """(φ, χ, φ², φχ) along the channels: (batch, in, …) twice to (batch, 4·in, …)."""

    @staticmethod
    def forward(ctx: Any, spin: Tensor, coherence: Tensor) -> Tensor:
        ctx.save_for_backward(spin, coherence)
        width = spin.shape[1]
        found = spin.new_empty(spin.shape[0], 4 * width, *spin.shape[2:])
        found[:, :width] = spin
        found[:, width : 2 * width] = coherence
        torch.mul(spin, spin, out=found[:, 2 * width : 3 * width])
        torch.mul(spin, coherence, out=found[:, 3 * width :])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        spin, coherence = ctx.saved_tensors
        line, along, square, across = gradients[0].chunk(4, 1)
        of_spin = torch.addcmul(line, spin, square, value=2).addcmul_(coherence, across)
        return of_spin, torch.addcmul(along, spin, across)


def _rows(values: Tensor) -> Tensor:
    return values.detach().reshape(len(values), -1).contiguous()
