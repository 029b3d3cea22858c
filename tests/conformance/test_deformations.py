"""Every registered deformation against the laws; ``QBNN_DEFORMATIONS="module:Class,…"`` adds."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from qbnn.deformation import FAMILIES, Coefficients, Deformation, Real4, Scaled, pauli_word
from qbnn.testing import check_deformation

OTHERS = [name for name in os.environ.get("QBNN_DEFORMATIONS", "").split(",") if name]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_families_obey_the_laws(family: str, seed: int) -> None:
    check_deformation(family, seed=seed)


class Exchange(Deformation):
    """A plug-in that gives nothing but its gate: two rotations that share one angle."""

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        init_std: float = 0.0,
        trainable: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(shape)
        angle = init_std * torch.randn(shape, generator=generator)
        self.angle = nn.Parameter(angle, requires_grad=trainable)

    def unitary(self) -> Tensor:
        half = self.angle[..., None, None] / 2
        words = [pauli_word(word).to(half.dtype.to_complex()) for word in ("II", "YI", "IY")]
        first, second = (torch.cos(half) * words[0] - 1j * torch.sin(half) * g for g in words[1:])
        return first @ second


def test_a_gate_alone_is_a_deformation() -> None:
    check_deformation(Exchange, seed=1)


class NotUnitary(Exchange):
    def unitary(self) -> Tensor:
        return super().unitary() * 1.01


class NotXnor(Exchange):
    def unitary(self) -> Tensor:
        return super().unitary() @ pauli_word("XI").to(super().unitary())


class Surplus(Real4):
    words: ClassVar[tuple[str, ...]] = (*Real4.words, "XX")


class Twice(Real4):
    words: ClassVar[tuple[str, ...]] = ("IY", "IY")


class OtherObservable(Real4):
    def conjugated(self) -> dict[str, Tensor]:
        return {word: c if word != "XX" else -c for word, c in super().conjugated().items()}


class OtherCoefficients(Real4):
    def coefficients(self, spin: Tensor, coherence: Tensor) -> Coefficients:
        return super().coefficients(spin, coherence)._replace(gamma=None)


class Frozen(Exchange):
    def __init__(self, shape: tuple[int, ...], **options: Any) -> None:
        super().__init__(shape, **{**options, "trainable": True})


class Unseeded(Exchange):
    def __init__(self, shape: tuple[int, ...], **options: Any) -> None:
        super().__init__(shape, **{**options, "generator": None})


class Constant(Exchange):
    def __init__(self, shape: tuple[int, ...], *, init_std: float = 0.0, **options: Any) -> None:
        super().__init__(shape, **options)
        with torch.no_grad():
            self.angle.fill_(init_std)


class Nothing(Scaled):
    def eigenvalues(self) -> Tensor:
        return -super().eigenvalues()


class NoSlope(Exchange):
    def unitary(self) -> Tensor:
        phase = torch.sqrt(0 * self.angle)[..., None, None]
        return super().unitary() * torch.exp(1j * phase)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (NotUnitary, "not unitary"),
        (NotXnor, "not the XNOR"),
        (Surplus, "5 parameters of a gate do the work of 4"),
        (Twice, "2 parameters of a gate do the work of 1"),
        (OtherObservable, "not that of the gates"),
        (OtherCoefficients, "γ is not that"),
        (Frozen, "frozen parameter is trained"),
        (Unseeded, "global generator"),
        (Constant, "seed changes nothing"),
        (Nothing, "counts nothing"),
        (NoSlope, "not finite"),
    ],
)
def test_a_broken_law_is_noticed(broken: Any, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_deformation(broken, seed=1)
