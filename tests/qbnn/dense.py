"""State vectors and enumerations in numpy: what the polynomial laws are checked against."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}
WORDS = [a + b for a in LETTERS for b in LETTERS][1:]
AGREE = np.array([1, 0, 0, 1])  # n = XNOR(w, h) of |w h⟩


def kron(*factors: Array) -> Array:
    return functools.reduce(np.kron, factors)


def matrix(word: str) -> Array:
    return kron(*(LETTERS[letter] for letter in word))


def qubit(p: float) -> Array:
    return np.sqrt([1 - p, p])


def pair(weight: float, activation: float) -> Array:
    """Return the state of a pair, the weight's qubit first."""
    return kron(qubit(weight), qubit(activation))


def observable(gate: Array) -> Array:
    """Return P†(Z⊗Z)P."""
    return gate.conj().T @ matrix("ZZ") @ gate


def coefficients(gate: Array) -> Array:
    """Return the coefficients of the fifteen Pauli words of P†(Z⊗Z)P."""
    measured = observable(gate)
    return np.array([np.trace(matrix(word) @ measured).real / 4 for word in WORDS])


def pair_mean(gate: Array, weight: float, activation: float) -> float:
    state = pair(weight, activation)
    return float((state @ observable(gate) @ state).real)


def count_operator(gates: Array, eigenvalues: Array) -> Array:
    """Return K~ = P†KP with K = Σ d_i n_i, on the qubits w_1 h_1 w_2 h_2 …"""
    num_pairs = len(gates)
    count = np.zeros(4**num_pairs)
    for i, d in enumerate(eigenvalues):
        count += d * kron(np.ones(4**i), AGREE, np.ones(4 ** (num_pairs - 1 - i)))
    product = kron(*gates)
    return product.conj().T @ (count[:, None] * product)


def product_state(weights: Array, activations: Array) -> Array:
    return kron(*(pair(w, h) for w, h in zip(weights, activations, strict=True)))


def count_law(gates: Array, weights: Array, activations: Array) -> Array:
    """Return P(K~ = k), k = 0 … N, from the eigenvectors of K~."""
    values, vectors = np.linalg.eigh(count_operator(gates, np.ones(len(gates))))
    counts = np.rint(values).astype(int)
    assert np.abs(values - counts).max() < 1e-9
    weight = np.abs(vectors.conj().T @ product_state(weights, activations)) ** 2
    return np.bincount(counts, weight, minlength=len(gates) + 1)


def register_law(operator: Array, state: Array, num_wires: int, offset: float) -> Array:
    """Return what phase estimation of exp(2πi (K + c)/2^t) reads, by its circuit.

    Register in the uniform superposition, controlled powers, inverse Fourier transform.
    """
    size = 2**num_wires
    values, vectors = np.linalg.eigh(operator)
    step = vectors @ np.diag(np.exp(2j * np.pi * (values + offset) / size)) @ vectors.conj().T
    branches = [state.astype(complex)]
    for _ in range(size - 1):
        branches.append(step @ branches[-1])
    read = np.fft.fft(np.array(branches) / size, axis=0)
    return np.asarray((np.abs(read) ** 2).sum(1))


def enumerated_law(r: Array) -> Array:
    """Return P(K = k) of independent bits with P(n_i = 1) = r_i, over all 2^N of them."""
    law = np.zeros(len(r) + 1)
    for bits in itertools.product((0, 1), repeat=len(r)):
        law[sum(bits)] += np.prod(np.where(bits, r, 1 - np.asarray(r)))
    return law


def haar(size: int, rng: np.random.Generator, *, real: bool = False) -> Array:
    """Return a random unitary matrix, or orthogonal one of determinant 1."""
    draw = rng.normal(size=(size, size)) + 0j
    if not real:
        draw += 1j * rng.normal(size=(size, size))
    q, r = np.linalg.qr(draw)
    q = q * (np.diag(r) / np.abs(np.diag(r)))
    if real:
        q = q.real
        q[0] *= np.sign(np.linalg.det(q))
    return np.asarray(q)
