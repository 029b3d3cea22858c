"""What deformed layers share: torch modules that are also circuits.

A neuron counts how many of its N (weight, activation) pairs agree. Moment methods never build a
tensor of shape batch × out × in: m = α + βφ + γχ is linear in the features (φ, χ), and its powers
are polynomials in them, reduced by χ² = 1 − φ² (docs/mathematics.md).
"""

from __future__ import annotations

import abc
import math
from typing import Any

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from qbnn import fused, pair_moments
from qbnn.deformation import Coefficients, Real4, Undeformed, make_deformation
from qbnn.emulation import LAWS, exact_probability, fires, threshold_count
from qbnn.neuron import Neuron
from qbnn.polynomials import Polynomial, feature, scaled, times
from qbnn.states import Bits, Features, Moments


class DeformedLayer(nn.Module, abc.ABC):
    """What dense and convolutional layers share: latent weights, a deformation, moments.

    The weight bit of a connection has spin mean θ = tanh(latent) and coherence x = 1/cosh(latent).
    ``coherent``: whether the coherences of the bits that it reads count. ``border``: 1 where it has
    a border, see :class:`qbnn.states.Features`.
    """

    border = 0.0

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        *,
        deformation: str | nn.Module = "none",
        share: str = "connection",
        trainable: bool = True,
        init_std: float = 0.0,
        law: str = "clt-cc",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if law not in LAWS:
            raise InputError(f"unknown law '{law}'; known: {', '.join(LAWS)}")
        self.law = law
        spin = torch.empty(weight_shape).uniform_(-1, 1, generator=generator)
        self.latent = nn.Parameter(torch.atanh(spin.clamp(-0.999, 0.999)))
        if isinstance(deformation, str):
            deformation = make_deformation(
                deformation,
                weight_shape,
                share=share,
                trainable=trainable,
                init_std=init_std,
                generator=generator,
            )
        self.deformation: Any = deformation
        with torch.no_grad():
            # Which coefficients are zero whatever the weights does not change.
            self.coherent = self.coefficients().gamma is not None

    @property
    def fan_in(self) -> int:
        """N, the number of pairs that a neuron counts."""
        return math.prod(self.latent.shape[1:])

    @property
    def weight(self) -> Bits:
        """The weights as bits: spin means tanh(latent) and coherences 1/cosh(latent)."""
        return Bits(*fused.WeightBits.apply(self.latent))  # type: ignore[no-untyped-call]

    def coefficients(self) -> Coefficients:
        """α, β and γ of every connection, each of the weights' shape; ``None`` for zero."""
        found: Coefficients = self.deformation.coefficients(*self.weight)
        return found

    def eigenvalues(self) -> Tensor | None:
        """What each pair adds to the count, of the weights' shape; ``None`` where it is 1."""
        found: Tensor | None = self.deformation.eigenvalues()
        return None if found is None else found.expand_as(self.latent)

    @property
    def _by_pairs(self) -> bool:
        """Whether m of every pair is made where it is needed, and not its powers."""
        return type(self.deformation) is Real4 and fused.fits(self.latent)

    def features(self, bits: Bits) -> Features:
        """Return what the weights of this layer multiply for moments."""
        self._check(bits.spin)
        if self._by_pairs and fused.fits(bits.spin):
            return Features(torch.cat(bits, 1), None)
        if self.coherent:
            parts = fused.PairFeatures.apply(*bits, self.border)  # type: ignore[no-untyped-call]
            return Features(*parts)
        if not self.border:
            return Features(bits.spin, bits.spin.square())
        return Features(bits.spin + self.border, bits.spin.square() - self.border)

    def smooth_features(self, moments: Moments) -> Features:
        """Return the features of neurons that fire by the smooth normal law, for this layer."""
        if self._by_pairs:
            return fused.smooth_features(moments, coherent=True, border=0.0, squares=False)
        return fused.smooth_features(moments, coherent=self.coherent, border=self.border)

    def moments(self, bits: Bits | Features, *, third: bool = False) -> Moments:
        """Return the moments of a = 2K − N for a batch of bits, shape (batch, out, …).

        mean Σm, variance N − Σm² and, with ``third``, third central moment −2Σ(m − m³), which wants
        the bits and not their features. Raises :class:`~anneal.errors.InputError` for bits of a
        wrong shape.
        """
        features = self.features(bits) if isinstance(bits, Bits) else bits
        if features.square is None:
            weights = self.latent, self.deformation.angles
            mean, variance = pair_moments.real4(features.line, *weights, window=self._window)
        else:
            mean, variance = self._product_moments(features.line, features.square)
        d = self.eigenvalues()
        found = Moments(mean, variance, float(self.fan_in) if d is None else self._per_output(d))
        if not third:
            return found
        assert isinstance(bits, Bits)
        return found._replace(third=self._third(bits))

    def _product_moments(self, read: Tensor, read_square: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance as products of weights and features."""
        line, square, first, second = self._powers()
        if self.border:
            # Features have φ + 1 and φ² − 1 for φ and φ².
            first = (0 if first is None else first) - self._spin_sums(line)
            second = (0 if second is None else second) + self._spin_sums(square)
        mean = self._mix(read, line, first)
        variance = self._mix(read_square, square, second)
        if len(line) > len(square):
            mean, more = mean.split(len(square), 1)
            variance = variance + more
        return mean, variance

    def _powers(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return weights of the features for the mean and the variance, and their constants.

        For ``line``: [β, γ], and where α is not zero [−2αβ, −2αγ] below; for ``square``:
        [γ² − β², −2βγ]. With eigenvalues d all three coefficients are d times as large.
        """
        if type(self.deformation) is Undeformed and fused.fits(self.latent):
            line, square = fused.UndeformedPowers.apply(self.latent)  # type: ignore[no-untyped-call]
            return line, square, None, line.new_full((len(line),), float(self.fan_in))
        d = self.eigenvalues()
        alpha, beta, gamma = (
            w if w is None else (w if d is None else d * w).expand_as(self.latent)
            for w in self.coefficients()
        )
        assert beta is not None
        line, square = beta, -beta.square()
        size = self._sums(torch.ones_like(beta) if d is None else d.square())
        if gamma is not None:
            line, square = torch.cat([beta, gamma], 1), square + gamma.square()
            square = torch.cat([square, -2 * beta * gamma], 1)
            size = size - self._sums(gamma.square())
        if alpha is None:
            return line, square, None, size
        twice = -2 * (alpha if gamma is None else torch.cat([alpha, alpha], 1))
        first = torch.cat([self._sums(alpha), size - self._sums(alpha.square())])
        return torch.cat([line, twice * line]), square, first, None

    def _third(self, bits: Bits) -> Tensor:
        """Return −2Σd³(m − m³), d = 1 where there are no eigenvalues."""
        d = self.eigenvalues()
        named = zip(((0, 0), (1, 0), (0, 1)), self.coefficients(), strict=True)
        first = {power: w for power, w in named if w is not None}
        bits = self._pad(bits)
        features: dict[tuple[int, int], Tensor] = {}
        cube = times(first, times(first, first))
        cubes = self._evaluate(scaled(cube, d, 3), bits, features)
        return -2 * (self._evaluate(scaled(first, d, 3), bits, features) - cubes)

    def moments_of_values(self, values: Tensor) -> Moments:
        """Return the moments of a = Σ w x for real inputs x: Σθx and Σ(1 − θ²)x² (PBNet).

        Such a layer is no circuit; padding is with zeros. Raises
        :class:`~anneal.errors.InputError` where the layer is deformed.
        """
        self._check(values)
        alpha, beta, gamma = self.coefficients()
        if alpha is not None or gamma is not None or self.eigenvalues() is not None:
            raise InputError("a layer with real inputs must be undeformed: family 'none'")
        mean = self._mix(values, beta)
        variance = self._mix(values.square(), 1 - beta.square())
        return Moments(mean, variance, float(self.fan_in))

    def windows(self, bits: Bits) -> Bits:
        """Return what each output position reads, (batch, 1, …, N), the border's bits included."""
        self._check(bits.spin)
        return Bits(*(self._patches(part) for part in self._pad(bits)))

    def pair_means(self, bits: Bits) -> Tensor:
        """Return m of every pair, (batch, out, …, N): as large as it looks, for the exact law."""
        spin, coherence = self.windows(bits)
        means: Tensor = torch.zeros((), dtype=spin.dtype, device=spin.device)
        for weight, part in zip(self.coefficients(), (None, spin, coherence), strict=True):
            if weight is not None:
                flat = weight.expand_as(self.latent).flatten(1)
                flat = flat.reshape(len(flat), *[1] * (spin.dim() - 3), -1)
                means = means + (flat if part is None else flat * part)
        return means.expand(*spin.shape[:1], len(self.latent), *spin.shape[2:])

    def neuron(self, index: int, *, kappa: int | None = None, flipped: bool = False) -> Neuron:
        """Return one output as what a circuit needs; κ = ceil(N/2) if not given."""
        if not 0 <= index < len(self.latent):
            raise InputError(f"no neuron {index}; the layer has {len(self.latent)}")
        if not hasattr(self.deformation, "unitary"):
            raise InputError("the classical control has no circuit")
        gates = self.deformation.gates_of(index)
        gates = gates.expand(*self.latent.shape[1:], 4, 4).reshape(-1, 4, 4)
        d = self.eigenvalues()
        d = None if d is None else d[index].flatten()
        total = float(self.fan_in) if d is None else float(d.detach().sum())
        return Neuron(
            weight=Bits(*(part[index].flatten() for part in self.weight)),
            gates=gates,
            kappa=threshold_count(total) if kappa is None else kappa,
            flipped=flipped,
            eigenvalues=d,
        )

    def forward(self, probability: Tensor) -> Tensor:
        """Return P(output bit = 1) for P(input bit = 1), with the threshold a ≥ 0."""
        bits = Bits.from_probability(probability)
        moments = self.moments(bits, third=self.law == "edgeworth")
        return self.fires(bits, moments, self.law, lattice=True).probability

    def fires(self, bits: Bits | Features, moments: Moments, law: str, *, lattice: bool) -> Bits:
        """Return the output bits by a law; the moments carry the threshold, and the law ``exact``
        wants the bits that are read, not their features.

        Raises :class:`~anneal.errors.InputError` for the exact law of a scaled deformation.
        """
        if law != "exact":
            smooth = law == "clt" or (law == "clt-cc" and not lattice)
            if smooth and fused.Activation.fits(moments):
                return fused.smooth_bits(moments)
            return fires(moments, law, lattice=lattice)
        if self.eigenvalues() is not None:
            raise InputError("a scaled count is no Poisson-binomial one; take the law clt")
        assert isinstance(bits, Bits)
        r = (1 + self.pair_means(bits)) / 2
        return Bits.from_probability(exact_probability(r, moments, lattice=lattice))

    @property
    @abc.abstractmethod
    def _window(self) -> tuple[int, int, int]:
        """Size, stride and padding of what an output reads; (1, 1, 0) for all of the input."""

    @abc.abstractmethod
    def _mix(
        self, features: Tensor, weights: Tensor, bias: Tensor | None = None, *, padded: bool = False
    ) -> Tensor:
        """Multiply features by weights over the fan-in; the border is zero, or ``padded`` is."""

    @abc.abstractmethod
    def _patches(self, values: Tensor) -> Tensor:
        """Return what each output position reads, (batch, 1, …, N)."""

    @abc.abstractmethod
    def _check(self, values: Tensor) -> None:
        """Raise :class:`~anneal.errors.InputError` for an input of a wrong shape."""

    @abc.abstractmethod
    def _pad_with(self, values: Tensor, value: float) -> Tensor:
        """Return the input with its border."""

    def _pad(self, bits: Bits) -> Bits:
        """Return the bits with a border of bits 0: spin −1 and no coherence."""
        return Bits(self._pad_with(bits.spin, -1.0), self._pad_with(bits.coherence, 0.0))

    def _sums(self, weights: Tensor) -> Tensor:
        return weights.expand_as(self.latent).flatten(1).sum(1)

    def _spin_sums(self, weights: Tensor) -> Tensor:
        """Return the sums of what multiplies the first feature, over the fan-in."""
        return weights[:, : self.latent.shape[1]].flatten(1).sum(1)

    def _per_output(self, weights: Tensor) -> Tensor:
        return self._sums(weights).view(-1, *[1] * (self.latent.dim() - 2))

    def _evaluate(
        self, polynomial: Polynomial, bits: Bits, features: dict[tuple[int, int], Tensor]
    ) -> Tensor:
        """Return Σ_i polynomial(φ_i, χ_i), (batch, out, …): one product over all features."""
        powers = [power for power in polynomial if power != (0, 0)]
        for power in powers:
            if power not in features:
                features[power] = feature(bits, power)
        weights = [polynomial[power].expand_as(self.latent) for power in powers]
        read = torch.cat([features[p] for p in powers], 1)
        found = self._mix(read, torch.cat(weights, 1), padded=True)
        constant = polynomial.get((0, 0))
        return found if constant is None else found + self._per_output(constant)
