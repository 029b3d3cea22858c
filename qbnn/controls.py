"""The classical control of a deformation: any α, β and γ, which no circuit has to have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbnn.deformation import Coefficients, shared_shape


class FreeCoefficients(nn.Module):
    """m = α + βφ + γχ with free coefficients: a biased, noisy XNOR of an angle that is learned.

    The vector (a, l, g) of a connection, l being the layer's latent weight, is shortened to
    (α, β, γ) with abs(α) + √(β² + γ²) = tanh(abs(a) + √(l² + g²)) < 1, so that m is the mean of a
    spin on every activation. At a = g = 0 it is the undeformed layer, β = tanh(l).

    >>> free = FreeCoefficients((2, 3))
    >>> latent = torch.ones(2, 3)
    >>> torch.allclose(free.coefficients(latent.tanh(), 1 / latent.cosh()).beta, latent.tanh())
    True
    """

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        *,
        share: str = "connection",
        trainable: bool = True,
        init_std: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        noise = torch.randn(2, *shared_shape(weight_shape, share), generator=generator)
        self.vector = nn.Parameter(init_std * noise, requires_grad=trainable)

    def coefficients(self, spin: Tensor, coherence: Tensor) -> Coefficients:
        """Return α, β and γ; the latent weight is found again from its spin mean."""
        latent = torch.atanh(spin.clamp(-1 + 1e-6, 1 - 1e-6))
        a, g = self.vector
        size = a.abs() + torch.sqrt(latent.square() + g.square() + 1e-12)
        shrink = torch.tanh(size) / size
        return Coefficients(a * shrink, latent * shrink, g * shrink)

    def eigenvalues(self) -> None:
        """Every pair counts 1."""
