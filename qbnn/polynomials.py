"""Polynomials in the spin mean φ and the coherence χ of an activation, one for each connection."""

from __future__ import annotations

from torch import Tensor

from qbnn.states import Bits

# Powers (i, j) of φ and χ, with j ≤ 1, to coefficients of the weights' shape.
Polynomial = dict[tuple[int, int], Tensor]


def times(left: Polynomial, right: Polynomial) -> Polynomial:
    """Return the product of two polynomials, reduced by χ² = 1 − φ².

    >>> import torch
    >>> one = torch.ones(())
    >>> times({(0, 1): one}, {(0, 1): one})
    {(0, 0): tensor(1.), (2, 0): tensor(-1.)}
    """
    found: Polynomial = {}

    def add(power: tuple[int, int], term: Tensor) -> None:
        found[power] = found[power] + term if power in found else term

    for (i, j), a in left.items():
        for (k, m), b in right.items():
            term = a * b
            if j + m < 2:
                add((i + k, j + m), term)
            else:
                add((i + k, 0), term)
                add((i + k + 2, 0), -term)
    return found


def scaled(polynomial: Polynomial, eigenvalues: Tensor | None, power: int) -> Polynomial:
    """Return the polynomial of (d m)^power."""
    if eigenvalues is None:
        return polynomial
    return {key: w * eigenvalues**power for key, w in polynomial.items()}


def feature(bits: Bits, power: tuple[int, int]) -> Tensor:
    """Return φ^i χ^j of every bit, shaped like them."""
    i, j = power
    spin = bits.spin if i == 1 else bits.spin**i
    return bits.coherence if i == 0 else spin * bits.coherence if j else spin
