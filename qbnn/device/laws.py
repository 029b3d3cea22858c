"""The law of what a register reads, in polynomial time.

Blocks are independent, so the law of a count is the convolution of the laws of the blocks, and each
of these is Born's rule on a state of a few qubits. No state of the whole circuit is ever built.
Blocks on which the same kinds of gates act are evolved together, as one array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pennylane as qml

from qbnn.device.blocks import Register, WireBlock

# Turns an array into a tensor of the framework that the circuit's parameters belong to.
Lift = Callable[[Any], Any]
# Gates that make their matrices at once. Others would too, but fail with tensors to differentiate.
_AT_ONCE = (qml.PhaseShift, qml.QubitUnitary, qml.RX, qml.RY, qml.RZ, qml.Rot)


def framework_of(operations: Iterable[Any]) -> Lift:
    """Return a function that turns arrays into tensors of the framework of the parameters.

    Autograd's functions take NumPy's arrays as they are.
    """
    tensors = {"jax", "tensorflow", "torch"}
    parameters = (value for operation in operations for value in operation.data)
    found = (value for value in parameters if qml.math.get_interface(value) in tensors)
    anchor = next(found, None)
    if anchor is None:
        return lambda value: value
    framework = qml.math.get_interface(anchor)

    def lift(value: Any) -> Any:
        there = qml.math.get_interface(value) == framework
        return value if there else qml.math.convert_like(value, anchor)

    return lift


def register_law(register: Register, lift: Lift) -> Any:
    """Return the probability of every outcome of a register, (batch or 1, 2^t), float64.

    A count K with integer offset c is read as (K + c) mod T, T = 2^t. Otherwise the register
    leaks: with v = sum d_i n_i it reads k with probability
    sum over |l| < T of (1 - |l|/T) E[exp(2 pi i l (v + c - k)/T)] / T,
    the Fejér kernel, and the expectation is a product over blocks (Nielsen & Chuang, section
    5.2.1). Parameters of torch or autograd can be differentiated.
    """
    counter, size = register.counter, 2 ** len(register.counter.counting_wires)
    groups = _alike(register.blocks)
    laws = [_agreement(group, lift) for group in groups]
    frequencies = np.arange(size + 1) / size
    if counter.eigenvalues is None:
        law = _count_law(laws, counter.num_pairs, lift)
        if counter.offset == round(counter.offset):
            return _wrapped(law, int(counter.offset), size, lift)
        turns = np.outer(np.arange(counter.num_pairs + 1), frequencies)
        transform = _complex(law) @ lift(_phases(turns))
    else:
        values = _double(lift(counter.eigenvalues))
        factors = [
            _transforms(group, law, values, lift(frequencies), lift)
            for group, law in zip(groups, laws, strict=True)
        ]
        one = lift(np.ones((1, 1, size + 1), complex))
        transform = _merged(_joined(factors), lambda left, right: left * right, one)
    return _leaked(transform * lift(_phases(frequencies * counter.offset)), size, lift)


# Blocks


def _alike(blocks: Iterable[WireBlock]) -> list[list[WireBlock]]:
    """Group blocks on which the same kinds of gates act at the same places."""
    groups: dict[Any, list[WireBlock]] = {}
    for block in blocks:
        kinds = tuple((_kind(gate), gate.batch_size, _where(block, gate)) for gate in block.gates)
        key = (len(block.wires), tuple(block.places), kinds)
        groups.setdefault(key, []).append(block)
    return list(groups.values())


def _kind(gate: Any) -> Any:
    """Return the class of a gate that makes many matrices in one call; None for other gates."""
    several = gate.batch_size is not None and gate.num_params > 1
    return type(gate) if isinstance(gate, _AT_ONCE) and not several else None


def _where(block: WireBlock, gate: Any) -> tuple[int, ...]:
    return tuple(block.wires.index(wire) for wire in gate.wires)


def _agreement(group: Sequence[WireBlock], lift: Lift) -> Any:
    """Return the law of which pairs agree, (batch or 1, blocks, 2^pairs), by Born's rule.

    Pair k of a block is bit k of an outcome.
    """
    width = len(group[0].wires)
    state = np.zeros((1, len(group), 2**width), complex)
    state[..., 0] = 1
    state = lift(state)
    for step, gate in enumerate(group[0].gates):
        matrices = lift(_matrices([block.gates[step] for block in group]))
        state = _applied(matrices, state, _where(group[0], gate), width)
    probabilities = qml.math.real(state) ** 2 + qml.math.imag(state) ** 2
    bits = np.arange(2**width)[:, None] >> np.arange(width)[::-1] & 1
    agree = np.stack([bits[:, w] == bits[:, h] for w, h in group[0].places], axis=1)
    pattern = agree @ (1 << np.arange(agree.shape[1]))
    return probabilities @ lift(np.eye(2 ** agree.shape[1])[pattern])


def _matrices(gates: Sequence[Any]) -> Any:
    """Return the matrices of gates of one kind, complex128 (batch or 1, gates, d, d)."""
    kind, batch = _kind(gates[0]), gates[0].batch_size
    if kind is None:
        found = qml.math.stack([_matrix(gate) for gate in gates])
    else:
        columns = zip(*(gate.data for gate in gates), strict=True)
        stacked = [_double(qml.math.stack([_precise(v) for v in column])) for column in columns]
        leading = 1 if batch is None else 2
        flat = [qml.math.reshape(s, (-1, *qml.math.shape(s)[leading:])) for s in stacked]
        found = kind.compute_matrix(*flat)
    size = qml.math.shape(found)[-1]
    found = qml.math.reshape(_complex(found), (len(gates), batch or 1, size, size))
    return qml.math.transpose(found, (1, 0, 2, 3))


def _matrix(gate: Any) -> Any:
    """Return a gate's matrix, from parameters in double precision."""
    kinds = {qml.math.get_dtype_name(value) for value in gate.data}
    if kinds & {"complex64", "float32"}:
        gate = qml.ops.functions.bind_new_parameters(gate, [_double(v) for v in gate.data])
    return gate.matrix()


def _applied(matrices: Any, state: Any, places: Sequence[int], width: int) -> Any:
    """Apply (b, blocks, d, d) matrices at some of the places of states (b, blocks, 2^width)."""
    blocks = qml.math.shape(state)[1]
    order = [*places, *(place for place in range(width) if place not in places)]
    forth = (0, 1, *(2 + place for place in order))
    back = (0, 1, *(2 + order.index(place) for place in range(width)))
    state = qml.math.transpose(qml.math.reshape(state, (-1, blocks, *(2,) * width)), forth)
    state = matrices @ qml.math.reshape(
        state, (-1, blocks, 2 ** len(places), 2 ** (width - len(places)))
    )
    state = qml.math.transpose(qml.math.reshape(state, (-1, blocks, *(2,) * width)), back)
    return qml.math.reshape(state, (-1, blocks, 2**width))


def _transforms(
    group: Sequence[WireBlock], law: Any, eigenvalues: Any, frequencies: Any, lift: Lift
) -> Any:
    """Return E[exp(2 pi i f sum d n)] of each block, (batch or 1, blocks, frequencies)."""
    pairs = len(group[0].indices)
    patterns = np.arange(2**pairs)[None] >> np.arange(pairs)[:, None] & 1
    chosen = eigenvalues[np.array([block.indices for block in group])]
    values = chosen @ lift(patterns.astype(float))
    return qml.math.einsum("bmp,mpf->bmf", _complex(law), _phases(values[..., None] * frequencies))


# Sums of independent counts


def _count_law(laws: Sequence[Any], num_pairs: int, lift: Lift) -> Any:
    """Return the law of the number of pairs that agree, (batch or 1, num_pairs + 1)."""
    most = max(qml.math.shape(law)[-1] for law in laws).bit_length() - 1
    counts = []
    for law in laws:
        agreeing = [pattern.bit_count() for pattern in range(qml.math.shape(law)[-1])]
        counts.append(law @ lift(np.eye(most + 1)[agreeing]))
    zero = lift(np.eye(1, most + 1)[None])
    return _merged(_joined(counts), _convolved, zero)[:, : num_pairs + 1]


def _joined(factors: Sequence[Any]) -> Any:
    """Lay (batch or 1, blocks, L) one after another along the blocks."""
    batch = max(qml.math.shape(factor)[0] for factor in factors)
    shapes = [(batch, *qml.math.shape(factor)[1:]) for factor in factors]
    same = [qml.math.broadcast_to(f, shape) for f, shape in zip(factors, shapes, strict=True)]
    return same[0] if len(same) == 1 else qml.math.concatenate(same, axis=1)


def _merged(factors: Any, combine: Callable[[Any, Any], Any], neutral: Any) -> Any:
    """Combine (b, blocks, L) two by two until one is left; an odd one meets ``neutral``."""
    while (blocks := qml.math.shape(factors)[1]) > 1:
        if blocks % 2:
            factors = _joined([factors, neutral])
        factors = combine(factors[:, ::2], factors[:, 1::2])
        neutral = combine(neutral, neutral)
    return factors[:, 0]


def _convolved(left: Any, right: Any) -> Any:
    """Return the law of the sum of two counts, (..., L) each, as (..., 2L - 1).

    The outer product, its row i moved i places to the right, summed over the rows: every term is
    a product of probabilities, so small ones keep their digits.
    """
    *lead, size = qml.math.shape(left)
    outer = left[..., :, None] * right[..., None, :]
    wide = qml.math.concatenate([outer, qml.math.zeros_like(outer)], axis=-1)
    flat = qml.math.reshape(wide, (*lead, 2 * size * size))[..., : size * (2 * size - 1)]
    return qml.math.sum(qml.math.reshape(flat, (*lead, size, 2 * size - 1)), axis=-2)


# From a sum to a register


def _wrapped(law: Any, offset: int, size: int, lift: Lift) -> Any:
    """Return the law of (K + offset) mod size from that of K, (b, N + 1)."""
    batch, length = qml.math.shape(law)
    missing = lift(np.zeros((batch, -length % size)))
    rows = qml.math.reshape(qml.math.concatenate([law, missing], axis=1), (batch, -1, size))
    return qml.math.roll(qml.math.sum(rows, axis=1), offset % size, -1)


def _leaked(transform: Any, size: int, lift: Lift) -> Any:
    """Return the law of a register from E[exp(2 pi i l (v + c) / T)], l = 0..T, (b, T + 1).

    The terms of l and l - T have the same phase in k: together they are one entry of a discrete
    Fourier transform.
    """
    step = np.arange(size)
    mirrored = qml.math.conj(transform[:, size - step])
    folded = lift(1 - step / size) * transform[:, :size] + lift(step / size) * mirrored
    return qml.math.real(qml.math.fft.fft(folded)) / size


# Numbers


def _phases(turns: Any) -> Any:
    return qml.math.exp(2j * math.pi * turns)


def _precise(value: Any) -> Any:
    """Return a tensor as it is, a number as an array: a framework might round it to float32."""
    return np.asarray(value) if isinstance(value, int | float | complex) else value


def _double(value: Any) -> Any:
    complex_ = "complex" in qml.math.get_dtype_name(value)
    return qml.math.cast(value, "complex128" if complex_ else "float64")


def _complex(value: Any) -> Any:
    """Return complex128; by a product, for autograd's cast to complex has no real gradient."""
    return qml.math.cast(value * (1 + 0j), "complex128")
