"""From the law of a count to the probability that a neuron fires, without a state vector.

The deformed count K is exactly Poisson-binomial with success probabilities r = (1 + m)/2, one per
connection. The moment laws (``clt``, ``clt-cc``, ``edgeworth``) need three numbers a neuron; the
``exact`` law needs every r. They all speak of the protocol ``fresh``: each neuron reads its own
copy of the activations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from anneal.errors import InputError
from qbnn.kernels import poisson_binomial
from qbnn.states import Bits, Moments

MOMENT_LAWS = ("clt", "clt-cc", "edgeworth")
LAWS = (*MOMENT_LAWS, "exact")
# The least variance of a = 2K − N, whose lattice has spacing 2. At σ = 0.1 the nearest lattice
# point beside a threshold, 1 away, has z = 10: as good as certain; float32 sums stay above it.
VARIANCE_FLOOR = 0.01
# A scale below this part of 1 + abs(shift) is as good as none: what it divides stays below 1e13,
# whose square is a float32.
SCALE_FLOOR = 1e-12


def threshold_count(fan_in: float, threshold: float = 0.0) -> int:
    """Return κ, the least count with a = 2κ − N ≥ threshold, clamped to 0 … N + 1.

    >>> threshold_count(7), threshold_count(8), threshold_count(8, 100.0)
    (4, 4, 9)
    """
    return math.ceil(min(max((fan_in + threshold) / 2, 0), math.floor(fan_in) + 1))


def counting_wires(total: float, kappa: int) -> tuple[int, int]:
    """Return (t, c): wires of the register and the offset that make its top bit read K ≥ κ.

    t = ceil(log2 max(κ, N + 1 − κ)) + 1 and c = 2^(t−1) − κ, so that K + c stays in 0 … 2^t − 1.

    >>> counting_wires(7, 4)
    (3, 0)
    """
    reach = max(kappa, math.floor(total) + 1 - kappa, 1)
    t = (reach - 1).bit_length() + 1
    return t, 2 ** (t - 1) - kappa


def firing_counts(moments: Moments) -> tuple[Tensor, Tensor]:
    """Return (κ, flipped) of neurons with a scale and a shift, shaped like these.

    A neuron fires iff K ≥ κ, or iff not where ``flipped``: a negative scale turns ≥ into ≤. Where
    the scale is zero the sign of the shift decides alone. Exact for float32 scales and shifts.
    """
    total = torch.as_tensor(moments.total, dtype=torch.float64, device=moments.mean.device)
    most = torch.floor(total) + 1
    affine = _affine(moments)
    if affine is None:
        return torch.ceil(total / 2).long(), torch.zeros_like(total, dtype=torch.bool)
    scale, shift = affine[0].double(), affine[1].double()
    flipped = scale < 0

    def reached(count: Tensor) -> Tensor:
        """Whether K = count is κ or above; the sum of two floats has an exact sign."""
        return (scale * (2 * count - total) + shift >= 0) != flipped

    # The quotient is rounded, so κ is this count or one beside it.
    near = torch.ceil((total - shift / torch.where(scale == 0, 1.0, scale)) / 2)
    near = torch.minimum(near.clamp_min(0), most)
    kappa = torch.where(reached(near), torch.where(reached(near - 1), near - 1, near), near + 1)
    kappa = torch.where(scale == 0, torch.where(shift >= 0, 0.0, most), kappa)
    return torch.minimum(kappa.clamp_min(0), most).long(), flipped


def z_score(moments: Moments, *, lattice: bool) -> Tensor:
    """Return z with P(fires) ≈ Φ(z), of the shape of ``moments.mean``.

    With ``lattice`` the threshold is the integer κ and the count is corrected for continuity,
    z = (E[K] − κ + ½)/σ_K, error .0009 at N = 72, and far off where κ is no count; else z =
    E[a′]/σ_a′ with the threshold where it is, which is smooth in ``scale`` and ``shift``.
    """
    deviation = moments.variance.clamp_min(VARIANCE_FLOOR).sqrt()
    if lattice:
        kappa, flipped = firing_counts(moments)
        middle = (2 * kappa - 1).to(deviation) - moments.total
        beyond = (kappa <= 0) | (kappa > moments.total)
        z = (moments.mean - torch.where(beyond, 1000 * middle, middle)) / deviation
        return torch.where(flipped, -z, z)
    affine = _affine(moments)
    if affine is None:
        return moments.mean / deviation
    scale, shift = affine
    return (scale * moments.mean + shift) / (scale_size(scale, shift) * deviation)


def edgeworth_probability(moments: Moments, *, lattice: bool) -> Tensor:
    """Return P(fires) by the normal law corrected for skewness, clipped to [0, 1].

    1 − [Φ(y) + g(1 − y²)pdf(y)/6] with y = (κ − ½ − E[K])/σ_K and g the skewness: error .0004 at
    N = 72 (docs/mathematics.md). ``moments.third`` must be there.
    """
    if moments.third is None:
        raise InputError("the edgeworth law needs moments with third=True")
    z = z_score(moments, lattice=lattice)
    deviation = moments.variance.clamp_min(VARIANCE_FLOOR).sqrt()
    skewness = moments.third / deviation**3
    if moments.scale is not None:
        # A flipped neuron counts from above: its z is −y, and its skewness changes sign.
        skewness = torch.where(moments.scale < 0, -skewness, skewness)
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    below: Tensor = torch.special.ndtr(z) - skewness * (1 - z * z) * density / 6
    return below.clamp(0, 1)


def fires(moments: Moments, law: str, *, lattice: bool) -> Bits:
    """Return the bits that neurons with these moments hand on, by one of the moment laws."""
    if law == "edgeworth":
        return Bits.from_probability(edgeworth_probability(moments, lattice=lattice))
    return Bits.from_z(z_score(moments, lattice=lattice and law == "clt-cc"))


def exact_tail(r: Tensor, kappa: Tensor) -> Tensor:
    """Return P(K ≥ κ) of Poisson-binomial counts: r (…, N), integer κ broadcast to (…).

    The derivative is dP/dr_i = P(K − n_i = κ − 1). Computed in float64, by compiled kernels on the
    CPU.

    >>> exact_tail(torch.full((3,), 0.5), torch.tensor(2))
    tensor(0.5000)
    """
    tail: Tensor = _ExactTail.apply(r, kappa.expand(r.shape[:-1]))  # type: ignore[no-untyped-call]
    return tail


def exact_probability(r: Tensor, moments: Moments, *, lattice: bool) -> Tensor:
    """Return P(fires) by the exact law; r is (…, N) over the shape of ``moments.mean``.

    Without ``lattice`` the tail is interpolated linearly between neighbouring counts at the real
    threshold, so that it has a slope in ``scale`` and ``shift``.
    """
    shape = r.shape[:-1]
    affine = _affine(moments)
    if lattice or affine is None:
        kappa, flipped = firing_counts(moments)
        tail = exact_tail(r, kappa.broadcast_to(shape))
        return torch.where(flipped, 1 - tail, tail)
    # The middle between κ − 1 and κ stands for a threshold; κ = (N + T + 1)/2 is then real.
    scale, shift = affine
    flipped = scale < 0
    quotient = shift / scale_size(scale, shift)
    position = (moments.total + 1 - torch.where(flipped, -quotient, quotient)) / 2
    position = position.clamp(0, float(r.shape[-1] + 1)).broadcast_to(shape)
    below = position.detach().floor()
    part = (position - below).to(r)
    tail = torch.lerp(exact_tail(r, below.long()), exact_tail(r, below.long() + 1), part)
    return torch.where(flipped, 1 - tail, tail)


def monte_carlo(
    r: Tensor, kappa: Tensor, *, num_samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return the fraction of ``num_samples`` draws of the counts with K ≥ κ, shapes as above."""
    hits = torch.zeros(r.shape[:-1], dtype=r.dtype, device=r.device)
    for _ in range(num_samples):
        draw = torch.rand(r.shape, generator=generator, device=r.device, dtype=r.dtype)
        hits += (draw < r).sum(-1) >= kappa
    return hits / num_samples


def count_law(r: Tensor) -> Tensor:
    """Return P(K = k), k = 0 … N, for r (…, N); differentiable, O(N²)."""
    law = torch.ones(*r.shape[:-1], 1, dtype=r.dtype, device=r.device)
    for p in r.unbind(-1):
        p = p[..., None]
        zero = torch.zeros_like(law[..., :1])
        law = torch.cat([law * (1 - p), zero], -1) + torch.cat([zero, law * p], -1)
    return law


def register_law(r: Tensor, eigenvalues: Tensor, num_wires: int, offset: float) -> Tensor:
    """Return P(register = k), k = 0 … 2^t − 1, when pair i counts d_i: r and d are (…, N).

    A value v that is no integer leaks by the Fejér kernel F(v + c − k), F(u) =
    sin²(πu)/(T² sin²(πu/T)), T = 2^t, whose Fourier coefficients are (1 − l/T)/T; so only the
    characteristic function Π(1 − r + r exp(2πi l d/T)) is needed (docs/mathematics.md).

    >>> register_law(torch.tensor([1.0]), torch.tensor([1.0]), 2, 0.0).argmax()
    tensor(1)
    """
    size = 2**num_wires
    order = torch.arange(size, dtype=torch.float64, device=r.device)
    wave = 2j * math.pi * order / size
    characteristic = torch.exp(wave * offset)
    for p, d in zip(r.double().unbind(-1), eigenvalues.double().unbind(-1), strict=True):
        characteristic = characteristic * (1 + p[..., None] * (torch.exp(wave * d[..., None]) - 1))
    weight = (1 - order / size) / size
    weight = torch.where(order > 0, 2 * weight, weight)
    law: Tensor = torch.fft.fft(characteristic * weight).real
    return law


def _affine(moments: Moments) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift, or ``None`` where neither is there."""
    scale, shift = moments.scale, moments.shift
    if shift is not None:
        return torch.ones_like(shift) if scale is None else scale, shift
    return None if scale is None else (scale, torch.zeros_like(scale))


def scale_size(scale: Tensor, shift: Tensor) -> Tensor:
    """Return the absolute value of a scale by which can be divided."""
    return torch.maximum(scale.abs(), SCALE_FLOOR * (1 + shift.detach().abs()))


class _ExactTail(torch.autograd.Function):
    """P(K ≥ κ) with the analytic O(N²) backward."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, kappa: Tensor) -> Tensor:
        ctx.save_for_backward(r, kappa)
        rows, counts = _rows(r, kappa)
        tail = torch.from_numpy(poisson_binomial.tail(rows, counts))
        return tail.to(r).reshape(r.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        r, kappa = ctx.saved_tensors
        rows, counts = _rows(r, kappa)
        slope = torch.from_numpy(poisson_binomial.tail_gradient(rows, counts))
        return slope.to(r).reshape(r.shape) * gradients[0][..., None], None


def _rows(r: Tensor, kappa: Tensor) -> tuple[Any, Any]:
    rows = r.detach().reshape(-1, r.shape[-1]).to("cpu", torch.float64)
    return rows.numpy(), kappa.reshape(-1).cpu().numpy()
