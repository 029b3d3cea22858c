"""What flows through a network: product states of bits, and the moments of a neuron's count."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Bits(NamedTuple):
    """A product state of bits: spin means φ = 2p − 1 and coherences χ = 2√(p(1 − p)), same shape.

    Both are kept because the coherence of a nearly certain bit cannot be had from its float32
    probability. Bits that were measured have coherence zero.

    >>> Bits.from_probability(torch.tensor([0.5, 1.0]))
    Bits(spin=tensor([0., 1.]), coherence=tensor([1., 0.]))
    """

    spin: Tensor
    coherence: Tensor

    @property
    def probability(self) -> Tensor:
        """P(bit = 1), in [0, 1]."""
        return (1 + self.spin) / 2

    @classmethod
    def from_probability(cls, p: Tensor) -> Bits:
        """Return the state √(1 − p)|0⟩ + √p|1⟩ of every bit; p is P(bit = 1)."""
        product = p * (1 - p)
        if not p.requires_grad:
            return cls(2 * p - 1, product.clamp_(min=0).sqrt_().mul_(2))
        # The root has no derivative at 0, and NaN must not come of it.
        inside = product > 0
        root = torch.where(inside, product, torch.ones_like(product)).sqrt()
        return cls(2 * p - 1, torch.where(inside, 2 * root, torch.zeros_like(root)))

    @classmethod
    def from_z(cls, z: Tensor) -> Bits:
        """Return the state with p = Φ(z), values and gradients finite at any z.

        >>> Bits.from_z(torch.tensor(0.0)).coherence
        tensor(1.)
        """
        spin, coherence = _StandardNormalBits.apply(z)  # type: ignore[no-untyped-call]
        return cls(spin, coherence)

    @classmethod
    def measured(cls, bits: Tensor) -> Bits:
        """Return bits 0.0 or 1.0 as a state: spins ±1 without coherence."""
        return cls(2 * bits - 1, torch.zeros_like(bits))

    def flatten(self, start: int = 1) -> Bits:
        """Flatten the dimensions from ``start`` on."""
        return Bits(self.spin.flatten(start), self.coherence.flatten(start))


class Features(NamedTuple):
    """What a layer multiplies for moments, instead of bits: (φ, χ) and (φ², φχ) along dimension 1.

    Where the layer reads no coherence there are only φ and φ². For a layer with a border φ + 1 and
    φ² − 1 stand in their places, so that zeros are the bits 0 of the border. A layer that makes m
    of every pair where it needs it reads φ and χ alone: ``square`` is ``None``.
    """

    line: Tensor
    square: Tensor | None

    def flatten(self, start: int = 1) -> Features:
        """Flatten the dimensions from ``start`` on."""
        square = None if self.square is None else self.square.flatten(start)
        return Features(self.line.flatten(start), square)


class Moments(NamedTuple):
    """Mean, variance and third central moment of pre-activations a = 2K − N, (batch, out, …).

    A normalisation turns them into those of a′ = scale·a + shift, with ``scale`` and ``shift`` of
    a shape that broadcasts against ``mean``; ``None`` stands for 1 and 0. A neuron fires iff
    a′ ≥ 0. ``total`` is N, or the sum of the eigenvalues where these are not 1.
    """

    mean: Tensor
    variance: Tensor
    total: Tensor | float
    third: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None


class _StandardNormalBits(torch.autograd.Function):
    """φ = 2Φ(z) − 1 and χ = 2√(Φ(z)Φ(−z)), from the smaller tail, which does not cancel.

    dφ/dz = 2 pdf(z) and dχ/dz = −2φ pdf(z)/χ. Where the tail underflows (``|z|`` above 13 in
    float32) χ is zero, and so is its derivative, which falls as |z| e^(−z²/4).
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        tail = torch.special.erfc(z.abs() * math.sqrt(0.5)).mul_(0.5)
        spin = torch.copysign(1 - 2 * tail, z)
        coherence = (tail * (1 - tail)).sqrt_().mul_(2)
        ctx.save_for_backward(z, spin, coherence)
        return spin, coherence

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        z, spin, coherence = ctx.saved_tensors
        spin_gradient, coherence_gradient = gradients
        density = torch.exp(-0.5 * z * z).mul_(math.sqrt(2 / math.pi))
        slope = torch.where(coherence > 0, spin / coherence, 0.0)
        return density * (spin_gradient - slope * coherence_gradient)
