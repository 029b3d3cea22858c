"""What stands between deformed layers: normalisation and pooling of moments, and drawn bits.

Peters & Welling 2018, "Probabilistic Binary Neural Networks" (arXiv:1809.03368), with the variance
of the batch taken as mean(σ²) + var(μ).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnn.emulation import VARIANCE_FLOOR
from qbnn.fused import BatchNormalisation, StochasticPool, fits
from qbnn.states import Bits, Moments


class StochasticBatchNorm(nn.Module):
    """Normalise pre-activations per channel over batch and space: a′ = scale·a + shift.

    m = mean(μ), v = [Σσ² + Σ(μ − m)²]/(M − 1), scale = γ/√(v + ε), shift = β − scale·m; ε is the
    least variance of a count, so a constant channel gives no 0/0. In evaluation running statistics
    stand in for m and v, and the map folds into the integer threshold of
    :func:`qbnn.emulation.firing_counts`.

    >>> norm = StochasticBatchNorm(3)
    >>> norm(Moments(torch.randn(8, 3), torch.ones(8, 3), 4.0)).scale.shape
    torch.Size([3])
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, num_channels: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.gamma = nn.Parameter(torch.ones(num_channels))
        self.beta = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_variance", torch.ones(num_channels))

    def forward(self, moments: Moments) -> Moments:
        """Return the moments with ``scale`` and ``shift``, (channels, 1, …)."""
        if self.training and fits(moments.mean):
            affine = *moments[:2], self.gamma, self.beta
            parts = BatchNormalisation.apply(*affine)  # type: ignore[no-untyped-call]
            moments = moments._replace(mean=parts[0], variance=parts[1])
            scale, shift = parts[2:4]
            self._follow(*parts[4:])
        else:
            mean, variance = self.running_mean, self.running_variance
            if self.training:
                mean, variance = _batch_statistics(moments)
                self._follow(mean, variance)
            scale = self.gamma * torch.rsqrt(variance + VARIANCE_FLOOR)
            shift = self.beta - scale * mean
        shape = (-1, *[1] * (moments.mean.dim() - 2))
        return moments._replace(scale=scale.view(shape), shift=shift.view(shape))

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch."""
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(variance, self.momentum)


def _batch_statistics(moments: Moments) -> tuple[Tensor, Tensor]:
    """Return m and v of a batch."""
    dims = [dim for dim in range(moments.mean.dim()) if dim != 1]
    count = moments.mean.numel() // moments.mean.shape[1]
    spread, mean = torch.var_mean(moments.mean, dims, correction=0)
    return mean, (moments.variance.mean(dims) + spread) * (count / max(count - 1, 1))


def pool(moments: Moments, size: int, kind: str, *, generator: torch.Generator | None) -> Moments:
    """Return the moments at one site of every window, see :func:`pool_index`."""
    scale, shift = moments.scale, moments.shift
    quick = fits(moments.mean) and moments.third is None
    if not quick or scale is None or shift is None or scale.shape[1:] != (1, 1):
        return pool_moments(moments, pool_index(moments, size, kind, generator=generator))
    noise = moments.mean.new_empty(0)
    if kind == "sample":
        noise = standard_normal(moments.mean, generator=generator).movedim(1, -1)
    affine = torch.stack([scale.flatten(), shift.flatten()])
    parts = *moments[:2], affine, noise, size
    mean, variance = StochasticPool.apply(*parts)  # type: ignore[no-untyped-call]
    return moments._replace(mean=mean, variance=variance)


def pool_index(
    moments: Moments, size: int, kind: str, *, generator: torch.Generator | None
) -> Tensor:
    """Return which site of every window is handed on, as indices into height × width.

    ``sample``: the largest of one draw a′ = μ′ + σ′n per site (PBNet's stochastic max pooling; no
    gradient flows through the draw). ``mean``: the largest μ′.
    """
    with torch.no_grad():
        score = affine_mean(moments)
        if kind == "sample":
            noise = standard_normal(score, generator=generator)
            score = torch.addcmul(score, affine_deviation(moments), noise)
        index: Tensor = F.max_pool2d(score, size, return_indices=True)[1]
    return index


def standard_normal(like: Tensor, *, generator: torch.Generator | None) -> Tensor:
    """Draw normal numbers, (batch, channels, …), in memory (batch, …, channels).

    Contiguous numbers are drawn eight times as fast as a convolution's layout.
    """
    noise = torch.empty_like(like.movedim(1, -1), memory_format=torch.contiguous_format)
    return noise.normal_(generator=generator).movedim(-1, 1)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Return the values, (batch, channels, height, width), at the sites of ``index``."""
    return values.flatten(2).gather(2, index.flatten(2)).view(index.shape)


def pool_moments(moments: Moments, index: Tensor) -> Moments:
    """Return the moments at the chosen sites."""
    third = None if moments.third is None else pick(moments.third, index)
    return moments._replace(
        mean=pick(moments.mean, index), variance=pick(moments.variance, index), third=third
    )


def any_fires(bits: Bits, size: int) -> Bits:
    """Return whether any bit of a window is 1, as independent bits: 1 − p = Π(1 − p_i)."""
    off = ((1 - bits.spin) / 2).clamp_min(torch.finfo(bits.spin.dtype).tiny)
    none = torch.exp(F.avg_pool2d(off.log(), size) * size**2)
    return Bits(1 - 2 * none, 2 * torch.sqrt((none * (1 - none)).clamp_min(1e-12)))


def affine_mean(moments: Moments) -> Tensor:
    """Return E[a′] = scale·E[a] + shift."""
    if moments.scale is None or moments.shift is None:
        return moments.mean
    return torch.addcmul(moments.shift, moments.scale, moments.mean)


def affine_deviation(moments: Moments) -> Tensor:
    """Return σ of a′, with the variance floor of a count."""
    deviation = moments.variance.clamp_min(VARIANCE_FLOOR).sqrt()
    return deviation if moments.scale is None else deviation * moments.scale.abs()


def draw(bits: Bits, *, generator: torch.Generator | None, relaxed: bool) -> Bits:
    """Measure every bit: spins ±1 without coherence.

    ``relaxed``: the gradient is that of a binary Concrete variable of temperature 1 (Maddison et
    al. 2017, arXiv:1611.00712), sigmoid(logit p + logistic noise); the value handed on is hard.
    """
    p = bits.probability
    uniform = torch.rand(p.shape, dtype=p.dtype, device=p.device, generator=generator)
    if not relaxed:
        return Bits.measured((uniform < p).to(p))
    noise = torch.logit(uniform, eps=1e-7)
    soft = torch.sigmoid(torch.logit(p, eps=1e-6) + noise)
    hard = (soft > 0.5).to(p)
    return Bits.measured(hard + soft - soft.detach())
