"""Classical binary layers, the bottom rung: signs forwards, pseudo-gradients backwards.

Bits b ∈ {0, 1}, spins s = 2b − 1 and Pauli-Z values z = 1 − 2b = −s are converted here. A step
fires at a ≥ 0, so sign(0) = +1 everywhere. Its derivative is zero, and training replaces it by that
of a smooth function, the pseudo-gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.registry import resolve

PSEUDO_GRADIENTS = {
    "clip": "qbnn.binary:clip",
    "identity": "qbnn.binary:identity",
    "polynomial": "qbnn.binary:polynomial",
    "swish": "qbnn.binary:swish",
    "tanh": "qbnn.binary:tanh",
}


def bits_to_spins(bits: Tensor) -> Tensor:
    """Return s = 2b − 1; of probabilities P(bit = 1), the spin means.

    >>> bits_to_spins(torch.tensor([0, 1]))
    tensor([-1,  1])
    """
    return 2 * _signed(bits) - 1


def bits_to_z(bits: Tensor) -> Tensor:
    """Return the eigenvalue 1 − 2b of Pauli Z, the opposite of the spin.

    >>> bits_to_z(torch.tensor([0, 1]))
    tensor([ 1, -1])
    """
    return 1 - 2 * _signed(bits)


def spins_to_bits(spins: Tensor) -> Tensor:
    """Return b = (1 + s)/2; of spin means, the probabilities P(bit = 1).

    >>> spins_to_bits(torch.tensor([-1, 1]))
    tensor([0, 1])
    """
    return (1 + spins) / 2 if spins.is_floating_point() else (1 + spins) // 2


def _signed(bits: Tensor) -> Tensor:
    """Unsigned bytes and booleans as int8, where −1 has a place."""
    return bits.to(torch.int8) if bits.dtype in (torch.uint8, torch.bool) else bits


def clip(a: Tensor, sharpness: float = 1.0) -> Tensor:
    """The slope of the hard tanh: β where ``|βa|`` ≤ 1, else 0.

    Hubara et al. 2016, arXiv:1602.02830, eq. 4: "straight-through" that saturates.
    """
    return sharpness * ((sharpness * a).abs() <= 1).to(a)


def identity(a: Tensor, sharpness: float = 1.0) -> Tensor:
    """β everywhere: the straight-through estimator of Bengio et al. 2013, arXiv:1308.3432."""
    return torch.full_like(a, sharpness)


def polynomial(a: Tensor, sharpness: float = 1.0) -> Tensor:
    """The slope of 2x ∓ x² at x = βa between −1 and 1: 2β(1 − ``|βa|``), and 0 outside.

    Bi-Real Net, Liu et al. 2018, arXiv:1808.00278, §3.3.
    """
    return 2 * sharpness * (1 - (sharpness * a).abs()).clamp_min(0)


def swish(a: Tensor, sharpness: float = 5.0) -> Tensor:
    """The slope of SignSwish 2σ(x)(1 + x(1 − σ(x))) − 1 at x = βa: β(2 − x tanh(x/2))/(1 + cosh x).

    BNN+, Darabi et al. 2018, arXiv:1812.11800. It is negative where ``|x|`` > 2.4.
    """
    x = sharpness * a
    return sharpness * (2 - x * torch.tanh(x / 2)) / (1 + torch.cosh(x))


def tanh(a: Tensor, sharpness: float = 1.0) -> Tensor:
    """The slope of max(1/β, 1) tanh βa: max(1, β)(1 − tanh² βa), with a β that grows in training.

    IR-Net, Qin et al. 2020, arXiv:1909.10788, §3.3; :func:`annealed_sharpness` is its β.
    """
    return max(1.0, sharpness) * (1 - torch.tanh(sharpness * a).square())


def annealed_sharpness(progress: float) -> float:
    """Return IR-Net's β for ``tanh``: from .1 at progress 0 of the training to 10 at 1.

    >>> annealed_sharpness(0.5)
    1.0
    """
    return float(10 ** (2 * progress - 1))


class _Sign(torch.autograd.Function):
    """+1 where a ≥ 0, else −1; the gradient is multiplied by ``slope(a)``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(a)
        ctx.slope = slope
        return bits_to_spins((a >= 0).to(a.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.slope(ctx.saved_tensors[0]), None


def sign(a: Tensor, pseudo_gradient: str = "clip", *, sharpness: float | None = None) -> Tensor:
    """Return spins of the type and shape of ``a``: +1 where a ≥ 0, else −1.

    pseudo_gradient: a name of PSEUDO_GRADIENTS, or ``module:function``. sharpness: its β, whose
    default is the function's. Raises :class:`~anneal.errors.InputError` for an unknown name.

    >>> sign(torch.tensor([-0.5, 0.0, 2.0]))
    tensor([-1.,  1.,  1.])
    """
    function = resolve(PSEUDO_GRADIENTS, pseudo_gradient, kind="pseudo-gradient")

    def slope(values: Tensor) -> Tensor:
        found: Tensor = function(values) if sharpness is None else function(values, sharpness)
        return found

    spins: Tensor = _Sign.apply(a, slope)  # type: ignore[no-untyped-call]
    return spins


class BinaryLayer(nn.Module):
    """Latent weights whose signs are the weights; what dense and convolutional layers share.

    ``latent`` begins uniform in ±√(6/(fan-in + fan-out)) (Glorot & Bengio 2010, eq. 16).
    ``sharpness`` is that of the weights' pseudo-gradient and may be set while training.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        pseudo_gradient: str = "clip",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        resolve(PSEUDO_GRADIENTS, pseudo_gradient, kind="pseudo-gradient")
        self.pseudo_gradient = pseudo_gradient
        self.sharpness: float | None = None
        self.latent = nn.Parameter(torch.empty(shape))
        nn.init.xavier_uniform_(self.latent, generator=generator)

    @property
    def fan_in(self) -> int:
        """N, the same at every output."""
        return self.latent[0].numel()

    @property
    def weight(self) -> Tensor:
        """The binary weights as spins, with the pseudo-gradient to the latent ones."""
        return sign(self.latent, self.pseudo_gradient, sharpness=self.sharpness)

    @torch.no_grad()
    def clip_latent_(self) -> None:
        """Bring latent weights back into [−1, 1] after an optimiser's step (BinaryConnect,
        Courbariaux et al. 2015, arXiv:1511.00363, §2.4).
        """
        self.latent.clamp_(-1, 1)


class BinaryLinear(BinaryLayer):
    """Dense layer: spins (…, in) to integer pre-activations a = Σ w h = 2K − N, (…, out).

    >>> BinaryLinear(3, 2)(torch.ones(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        pseudo_gradient: str = "clip",
        generator: torch.Generator | None = None,
    ) -> None:
        shape = (out_features, in_features)
        super().__init__(shape, pseudo_gradient=pseudo_gradient, generator=generator)

    def forward(self, spins: Tensor) -> Tensor:
        """Return the pre-activations; raises InputError for another fan-in."""
        if spins.shape[-1:] != (self.fan_in,):
            raise InputError(
                f"the layer reads spins of shape (…, {self.fan_in}), but was given "
                f"{tuple(spins.shape)}"
            )
        return F.linear(spins, self.weight)


class BinaryConv2d(BinaryLayer):
    """Convolution: spins (batch, in, rows, columns) to integer pre-activations a = 2K − N.

    Padding holds spin −1 and counts like any other input, so that N is the same everywhere.

    >>> BinaryConv2d(1, 2, 3, padding=1)(torch.ones(1, 1, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        pseudo_gradient: str = "clip",
        generator: torch.Generator | None = None,
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        super().__init__(shape, pseudo_gradient=pseudo_gradient, generator=generator)
        self.stride = stride
        self.padding = padding

    def forward(self, spins: Tensor) -> Tensor:
        """Return the pre-activations; raises InputError for another number of channels."""
        if spins.dim() != 4 or spins.shape[1] != self.latent.shape[1]:
            raise InputError(
                f"the layer reads spins of shape (batch, {self.latent.shape[1]}, rows, columns), "
                f"but was given {tuple(spins.shape)}"
            )
        padded = F.pad(spins, (self.padding,) * 4, value=-1.0)
        return F.conv2d(padded, self.weight, stride=self.stride)
