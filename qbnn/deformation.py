"""Deformations: how one weight qubit meets one activation qubit before they are counted.

A deformation is a two-qubit gate P for every connection. Counting then measures O = P†(Z⊗Z)P in
place of Z⊗Z, whose expectation on the product of a weight (spin mean θ, coherence x) and an
activation (φ, χ) is m = α + βφ + γχ (Bondesan & Welling 2020, arXiv:2010.11189).

Here P is a product of Pauli rotations. :meth:`Deformation.unitary` is what a circuit runs, and the
observable is derived from the same angles by conjugating Pauli words, one rotation after another.
"""

from __future__ import annotations

import abc
import functools
import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.registry import resolve

FAMILIES = {
    "none": "qbnn.deformation:Undeformed",
    "h-local": "qbnn.deformation:ActivationLocal",
    "w-local": "qbnn.deformation:WeightLocal",
    "local": "qbnn.deformation:Local",
    "entangling": "qbnn.deformation:Entangling",
    "real4": "qbnn.deformation:Real4",
    "su4": "qbnn.deformation:SU4",
    "scaled": "qbnn.deformation:Scaled",
}
SHARES = ("connection", "output", "input", "layer")

_PAULI = {
    "I": torch.eye(2, dtype=torch.complex128),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}
# One-qubit words that a real product state sees, in the order (1, coherence, spin mean), and the
# sign of the expectation: ⟨X⟩ is the coherence, ⟨Z⟩ is minus the spin mean, ⟨Y⟩ is zero.
_SEEN = {"I": (0, 1), "X": (1, 1), "Z": (2, -1)}


class Coefficients(NamedTuple):
    """α, β and γ of the pair mean m = α + βφ + γχ; ``None`` for what is zero."""

    alpha: Tensor | None
    beta: Tensor
    gamma: Tensor | None


class Deformation(nn.Module, abc.ABC):
    """A gate for every connection of a layer; ``shape`` broadcasts to the layer's weights.

    A subclass gives :meth:`unitary`. At angles zero it is the classical XNOR.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @abc.abstractmethod
    def unitary(self) -> Tensor:
        """Return the gates P, complex (\\*shape, 4, 4), on |weight, activation⟩."""

    def gates_of(self, output: int) -> Tensor:
        r"""Return the gates that one output has, complex (\*shape[1:], 4, 4)."""
        return self.unitary()[output if self.shape[0] > 1 else 0]

    def conjugated(self) -> dict[str, Tensor]:
        r"""Return P†(Z⊗Z)P as coefficients, (\*shape), of the Pauli words in it."""
        gates = self.unitary()
        measured = gates.mH @ pauli_word("ZZ").to(gates) @ gates
        return {
            a + b: (measured * pauli_word(a + b).to(gates).mT).sum((-2, -1)).real / 4
            for a in _PAULI
            for b in _PAULI
        }

    def observable(self) -> Tensor:
        r"""Return C, real (3, 3, \*shape), with m = Σ C[a, b] W_a H_b.

        W = (1, x, θ) and H = (1, χ, φ) belong to the weight and the activation.
        """
        seen = self._seen()
        zero = torch.zeros_like(next(iter(seen.values())))
        rows = [torch.stack([seen.get((a, b), zero) for b in range(3)]) for a in range(3)]
        return torch.stack(rows).expand(3, 3, *self.shape)

    def coefficients(self, spin: Tensor, coherence: Tensor) -> Coefficients:
        """Return α, β, γ of m = α + βφ + γχ for weights of these spin means and coherences.

        ``None`` stands for a coefficient that is zero whatever the angles.

        >>> Undeformed((2, 3)).coefficients(torch.zeros(2, 3), torch.ones(2, 3)).gamma is None
        True
        """
        weight = (torch.ones_like(spin), coherence, spin)
        sums: list[Tensor | None] = [None, None, None]
        for (a, b), coefficient in self._seen().items():
            term = coefficient * weight[a]
            found = sums[b]
            sums[b] = term if found is None else found + term
        alpha, gamma, beta = sums
        return Coefficients(alpha, torch.zeros_like(spin) if beta is None else beta, gamma)

    def _seen(self) -> dict[tuple[int, int], Tensor]:
        """Return what a real product state sees of O: indices of W and H to coefficients."""
        seen = {}
        for word, coefficient in self.conjugated().items():
            if word[0] in _SEEN and word[1] in _SEEN:
                (a, sign_a), (b, sign_b) = _SEEN[word[0]], _SEEN[word[1]]
                seen[a, b] = sign_a * sign_b * coefficient
        return seen

    def eigenvalues(self) -> Tensor | None:
        """Return the weight d of each pair in the count, (\\*shape); ``None`` where all are 1."""
        return None


class Rotations(Deformation):
    """A product of rotations exp(−i a/2 G) by Pauli words G, the first word acting first.

    >>> Real4((2, 3)).unitary().shape
    torch.Size([2, 3, 4, 4])
    """

    words: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        init_std: float = 0.0,
        trainable: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(shape)
        angles = init_std * torch.randn(len(self.words), *self.shape, generator=generator)
        if self.words:
            self.angles: Tensor = nn.Parameter(angles, requires_grad=trainable)
        else:
            self.register_buffer("angles", angles, persistent=False)

    def unitary(self) -> Tensor:
        return _product_of_rotations(self.words, self.angles)

    def gates_of(self, output: int) -> Tensor:
        # Of this output alone: a layer's gates would be 32 numbers a connection.
        return _product_of_rotations(self.words, self.angles[:, output if self.shape[0] > 1 else 0])

    def conjugated(self) -> dict[str, Tensor]:
        """Return P†(Z⊗Z)P as coefficients of Pauli words, only those that can differ from zero.

        A rotation by G leaves a word that commutes with G, and turns another, Q, into
        cos(a) Q + sin(a) iGQ.
        """
        found = {"ZZ": torch.ones_like(self.angles[:0].sum(0))}
        for word, angle in zip(reversed(self.words), reversed(self.angles), strict=True):
            cos, sin = torch.cos(angle), torch.sin(angle)
            turned: dict[str, Tensor] = {}
            for old, coefficient in found.items():
                new, sign = _product(word, old)
                if not sign:
                    turned[old] = turned.get(old, 0) + coefficient
                    continue
                turned[old] = turned.get(old, 0) + cos * coefficient
                turned[new] = turned.get(new, 0) + sign * sin * coefficient
            found = turned
        return found


class Undeformed(Rotations):
    """P = 1: the probabilistic binary network, m = θφ."""


class ActivationLocal(Rotations):
    """RY on the activation qubit: m = θ(φ cos b + χ sin b)."""

    words = ("IY",)


class WeightLocal(Rotations):
    """RY on the weight qubit: m = (θ cos b + x sin b)φ, which θ could as well have learned."""

    words = ("YI",)


class Local(Rotations):
    """RY on both qubits."""

    words = ("YI", "IY")


class Entangling(Rotations):
    """Rotations by YZ and ZY, which commute: the entangling half of :class:`Real4`."""

    words = ("YZ", "ZY")


class Real4(Rotations):
    """All real gates up to those that counting does not see: four angles, two points of a sphere.

    With n = (sin u, cos u cos v, cos u sin v) and m alike: α = n₁m₂x − n₁m₃θ,
    β = n₂m₂θ + n₂m₃x − n₃m₁ and γ = n₂m₁ + n₃m₂θ + n₃m₃x; the angles are v, v′, −u, −u′.
    """

    words = ("IY", "YI", "YZ", "ZY")


class SU4(Rotations):
    """All gates up to those that counting does not see: the eight words anticommuting with ZZ.

    At angles zero, those of the words without a Y have no slope: begin with ``init_std`` above 0.
    """

    words = ("IY", "YI", "YZ", "ZY", "IX", "XI", "XZ", "ZX")


class Scaled(Rotations):
    """No gate, but pair i counts d_i = exp(log_scale) instead of 1.

    The count is then no integer and the register leaks; see :func:`qbnn.emulation.register`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        init_std: float = 0.0,
        trainable: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(shape)
        noise = torch.randn(self.shape, generator=generator)
        self.log_scale = nn.Parameter(init_std * noise, requires_grad=trainable)

    def eigenvalues(self) -> Tensor:
        return self.log_scale.exp()


def make_deformation(
    family: str,
    weight_shape: tuple[int, ...],
    *,
    share: str = "connection",
    trainable: bool = True,
    init_std: float = 0.0,
    generator: torch.Generator | None = None,
) -> Deformation:
    """Return a deformation of ``family`` for weights of shape (out, in, \\*kernel).

    ``share`` says what has a gate of its own: each connection, output, input or only the layer.
    A deformation that is not ``trainable`` has random angles if ``init_std`` is above 0. Raises
    :class:`~anneal.errors.InputError` for an unknown family or ``share``.

    >>> make_deformation("real4", (10, 784), share="output").shape
    (10, 1)
    """
    if share not in SHARES:
        raise InputError(f"unknown share '{share}'; known: {', '.join(SHARES)}")
    cls = resolve(FAMILIES, family, kind="deformation")
    found = cls(
        shared_shape(weight_shape, share),
        init_std=init_std,
        trainable=trainable,
        generator=generator,
    )
    assert isinstance(found, Deformation)
    return found


def shared_shape(weight_shape: tuple[int, ...], share: str) -> tuple[int, ...]:
    """Return the shape of one thing per connection, output, input or layer.

    >>> shared_shape((8, 4, 3, 3), "input")
    (1, 4, 3, 3)
    """
    out, *rest = weight_shape
    ones = [1] * len(rest)
    return {
        "connection": (out, *rest),
        "output": (out, *ones),
        "input": (1, *rest),
        "layer": (1, *ones),
    }[share]


@functools.cache
def pauli_word(word: str) -> Tensor:
    """Return the 4×4 matrix of a word of two letters, the weight's first.

    >>> pauli_word("ZZ").diagonal().real
    tensor([ 1., -1., -1.,  1.], dtype=torch.float64)
    """
    return torch.kron(_PAULI[word[0]], _PAULI[word[1]])


def _product_of_rotations(words: tuple[str, ...], angles: Tensor) -> Tensor:
    """Return exp(−i a/2 G) of each word G and its angles, multiplied, the first word rightmost."""
    kind = torch.promote_types(angles.dtype, torch.complex64)
    gate = torch.eye(4, dtype=kind, device=angles.device).expand(*angles.shape[1:], 4, 4)
    for word, angle in zip(words, angles, strict=True):
        half = angle[..., None, None] / 2
        identity, generator = pauli_word("II").to(gate), pauli_word(word).to(gate)
        gate = (torch.cos(half) * identity - 1j * torch.sin(half) * generator) @ gate
    return gate


@functools.cache
def _product(first: str, second: str) -> tuple[str, int]:
    """Return i·first·second as a word and its sign; sign 0 where the two words commute."""
    left, right = pauli_word(first), pauli_word(second)
    if torch.equal(left @ right, right @ left):
        return second, 0
    matrix = 1j * left @ right
    for a in _PAULI:
        for b in _PAULI:
            overlap = torch.trace(matrix @ pauli_word(a + b)).real.item() / 4
            if not math.isclose(overlap, 0, abs_tol=1e-9):
                return a + b, round(overlap)
    raise AssertionError("two words multiply to a word")
