"""Random numbers for kernels: a 64-bit generator held in an array, and shuffled quantiles of
Exp(1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anneal.kernels.compile import inlined

NUM_QUANTILES = 4096  # one random offset reads a row of them; 2¹² so that the offset is a shift
OFFSET_SHIFT = np.uint64(64 - 12)


@inlined
def next_word(state):  # type: ignore[no-untyped-def]
    """xorshift64* (Vigna 2016): the next unsigned 64-bit integer; ``state`` is a uint64 array of
    one.
    """
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return x * np.uint64(2685821657736338717)


@inlined
def next_below(state, bound):  # type: ignore[no-untyped-def]
    """An integer in [0, bound), bound < 2³², by multiplication (Lemire 2019, without the
    rejection).
    """
    return np.int64(((next_word(state) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


def new_state(rng: np.random.Generator) -> NDArray[np.uint64]:
    """A non-zero generator state."""
    return rng.integers(1, 2**64, size=1, dtype=np.uint64, endpoint=False)


def exponential_quantiles(rng: np.random.Generator) -> NDArray[np.float32]:
    """NUM_QUANTILES numbers that together are Exp(1), shuffled, the first row repeated at the end.

    One number is drawn in each of the equally likely intervals, so each alone is exactly Exp(1),
    tail included. Shape (NUM_QUANTILES + 64,).
    """
    uniform = (np.arange(NUM_QUANTILES) + 1.0 - rng.random(NUM_QUANTILES)) / NUM_QUANTILES
    quantiles = -np.log(rng.permutation(uniform))
    return np.concatenate([quantiles, quantiles[:64]]).astype(np.float32)


def logistic_quantiles(rng: np.random.Generator) -> NDArray[np.float32]:
    """As :func:`exponential_quantiles` for the logistic distribution: ΔE ≤ T·L has probability 1/(1
    + exp(ΔE/T)).
    """
    uniform = (np.arange(NUM_QUANTILES) + rng.random(NUM_QUANTILES)) / NUM_QUANTILES
    uniform = np.clip(uniform, 2.0**-53, 1 - 2.0**-53)
    quantiles = rng.permutation(np.log1p(-uniform) - np.log(uniform))
    return np.concatenate([quantiles, quantiles[:64]]).astype(np.float32)
