"""What a circuit's measurements say, from the laws of its registers."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane import measurements as mps
from pennylane.exceptions import DeviceError

from qbnn.device.blocks import NAME

# An analytic measurement returns, or sums over, at most 2 to this many outcomes.
MAX_WIRES = 24
_ANALYTIC = (mps.ProbabilityMP, mps.ExpectationMP, mps.VarianceMP)
_SAMPLED = (mps.SampleMP, mps.CountsMP)


@dataclass(frozen=True)
class Reading:
    """Wires of a register, most significant first, and their law, (batch or 1, 2^wires)."""

    wires: Sequence[Hashable]
    law: Any


def check_measurement(measurement: Any, counting: set[Hashable], *, shots: bool) -> None:
    """Raise DeviceError unless the measurement reads counting wires, diagonally in Z."""
    kind = type(measurement).__name__.removesuffix("MP")
    if not isinstance(measurement, _ANALYTIC + _SAMPLED):
        raise DeviceError(
            f"{NAME} gives probs, expval, var, sample and counts of a register, not {kind}; use "
            "default.qubit"
        )
    if isinstance(measurement, _SAMPLED) and not shots:
        raise DeviceError(f"{NAME}: {measurement} needs shots, as qml.set_shots(1000)(qnode)")
    if measurement.obs is None and not measurement.wires:
        raise DeviceError(
            f"{NAME}: {measurement} reads all wires, but only counting wires can be read: name "
            "them, or use default.qubit"
        )
    for wire in measurement.wires:
        if wire not in counting:
            raise DeviceError(
                f"{NAME}: the measurement reads wire {wire!r}, which is not a counting wire; "
                "measure the register, or use default.qubit"
            )
    if measurement.obs is not None:
        values(measurement.obs, {wire: np.zeros(1, int) for wire in measurement.wires})
    if not shots and (widest := max(map(len, _spans(measurement)))) > MAX_WIRES:
        raise DeviceError(
            f"{NAME}: an analytic measurement of {widest} wires has 2^{widest} outcomes (limit "
            f"2^{MAX_WIRES}); measure the wires apart, or use shots"
        )


def results(tape: Any, readings: Sequence[Reading], rng: np.random.Generator) -> Any:
    """Return the results of a tape's measurements, nested as PennyLane wants them."""
    measured = {wire for item in tape.measurements for wire in item.wires}
    readings = [item for item in readings if measured.intersection(item.wires)]
    batch = tape.batch_size
    if not tape.shots:
        return _single([_analytic(item, readings, batch) for item in tape.measurements])
    order = qml.wires.Wires([wire for item in readings for wire in item.wires])
    bits = _draw(readings, tape.shots.total_shots, batch, rng)
    parts = tuple(
        _single([_sampled(item, bits[..., low:high, :], order) for item in tape.measurements])
        for low, high in tape.shots.bins()
    )
    return parts if tape.shots.has_partitioned_shots else parts[0]


def values(observable: Any, bits: Mapping[Hashable, NDArray[np.int_]]) -> Any:
    """Return the eigenvalue of an observable on bit strings: ``bits`` of every wire, one shape.

    Raises DeviceError for what is not diagonal in Z.

    >>> values(qml.Z("a") @ qml.Z("b"), {"a": np.array([0, 1]), "b": np.array([1, 1])}).tolist()
    [-1, 1]
    """
    if isinstance(observable, qml.Identity):
        return 1
    if isinstance(observable, qml.Z):
        return 1 - 2 * bits[observable.wires[0]]
    if isinstance(observable, qml.Projector):
        state, wires = observable.data[0], observable.wires
        if len(state) == len(wires):
            same = [bits[wire] == bit for wire, bit in zip(wires, state, strict=True)]
            return np.all(same, axis=0).astype(int)
    if isinstance(observable, qml.ops.SProd):
        return _product(observable.scalar, values(observable.base, bits))
    if isinstance(observable, qml.ops.Prod | qml.ops.Sum):
        combine = _product if isinstance(observable, qml.ops.Prod) else _sum
        return functools.reduce(combine, [values(part, bits) for part in observable.operands])
    raise DeviceError(
        f"{NAME}: observable {observable} is not built of Z, Identity and projectors on basis "
        "states, and a register is read in that basis alone; use default.qubit"
    )


def _terms(observable: Any) -> Iterator[tuple[Any, Any]]:
    """Yield coefficients and observables that sum to this one."""
    if isinstance(observable, qml.ops.Sum):
        for part in observable.operands:
            yield from _terms(part)
    elif isinstance(observable, qml.ops.SProd):
        for factor, part in _terms(observable.base):
            yield _product(observable.scalar, factor), part
    else:
        yield 1, observable


def _spans(measurement: Any) -> list[Any]:
    """Return the sets of wires whose joint law an analytic measurement needs."""
    if isinstance(measurement, mps.ExpectationMP) and measurement.obs is not None:
        return [part.wires for _, part in _terms(measurement.obs)]
    return [measurement.wires]


# Analytic


def _analytic(measurement: Any, readings: Sequence[Reading], batch: int | None) -> Any:
    """Return a measurement's exact value, float64; batched where the circuit is."""
    if isinstance(measurement, mps.ProbabilityMP):
        found = _joint(measurement.wires, readings)
    elif isinstance(measurement, mps.VarianceMP):
        law = _joint(measurement.wires, readings)
        table = _table(measurement, measurement.wires)
        found = qml.math.dot(law, table**2) - qml.math.dot(law, table) ** 2
    elif measurement.obs is None:
        table = _table(measurement, measurement.wires)
        found = qml.math.dot(_joint(measurement.wires, readings), table)
    else:
        found = 0
        for factor, part in _terms(measurement.obs):
            table = _table(qml.expval(part), part.wires)
            mean = qml.math.dot(_joint(part.wires, readings), table)
            found = _sum(found, _product(factor, mean))
    if batch is None:
        return found[0]
    return qml.math.broadcast_to(found, (batch, *qml.math.shape(found)[1:]))


def _joint(wires: Sequence[Hashable], readings: Sequence[Reading]) -> Any:
    """Return the law of the wires, (batch or 1, 2^wires): registers are independent."""
    law, order = np.ones((1, 1)), list[Hashable]()
    for reading in readings:
        kept = [wire for wire in reading.wires if wire in wires]
        if not kept:
            continue
        part = qml.math.reshape(reading.law, (-1, *(2,) * len(reading.wires)))
        gone = tuple(1 + k for k, wire in enumerate(reading.wires) if wire not in wires)
        part = qml.math.sum(part, axis=gone) if gone else part
        part = qml.math.reshape(part, (-1, 1, 2 ** len(kept)))
        law = law[:, :, None] * part if order else part
        order += kept
        law = qml.math.reshape(law, (-1, 2 ** len(order)))
    axes = [0, *(1 + order.index(wire) for wire in wires)]
    law = qml.math.transpose(qml.math.reshape(law, (-1, *(2,) * len(order))), axes)
    return qml.math.reshape(law, (-1, 2 ** len(order)))


def _table(measurement: Any, wires: Sequence[Hashable]) -> Any:
    """Return a measurement's eigenvalue at every outcome of the wires, (2^wires,)."""
    size = 2 ** len(wires)
    if measurement.obs is None:
        return qml.math.asarray(measurement.eigvals())
    index = np.arange(size)
    bits = {wire: index >> (len(wires) - 1 - k) & 1 for k, wire in enumerate(wires)}
    return _sum(values(measurement.obs, bits), np.zeros(size))


def _product(left: Any, right: Any) -> Any:
    left, right = _alike(left, right)
    return left * right


def _sum(left: Any, right: Any) -> Any:
    left, right = _alike(left, right)
    return left + right


def _alike(*tensors: Any) -> Any:
    """Return tensors, arrays and numbers as tensors of one framework, without loss."""
    precise = [np.asarray(item) if isinstance(item, int | float) else item for item in tensors]
    return qml.math.coerce(precise, like=qml.math.get_interface(*precise))


# With shots


def _draw(
    readings: Sequence[Reading], shots: int, batch: int | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the bits of all wires, ([batch,] shots, wires)."""
    columns = []
    for reading in readings:
        law = np.clip(qml.math.to_numpy(reading.law), 0, None)
        law = np.broadcast_to(law / law.sum(axis=1, keepdims=True), (batch or 1, law.shape[1]))
        outcomes = np.stack([rng.choice(law.shape[1], size=shots, p=row) for row in law])
        columns.append(outcomes[..., None] >> np.arange(len(reading.wires))[::-1] & 1)
    bits = np.concatenate(columns, axis=-1)
    return bits[0] if batch is None else bits


def _sampled(measurement: Any, bits: NDArray[np.int64], order: Any) -> Any:
    """Return the statistics of a measurement from bits ([batch,] shots, wires)."""
    *batch, shots, _ = bits.shape
    if isinstance(measurement, mps.ProbabilityMP):
        counted = mps.ProbabilityMP(wires=measurement.wires).process_samples(bits, order)
        return counted.reshape((*batch, -1))
    if measurement.obs is None:
        return measurement.process_samples(bits, order)
    columns = dict(zip(order, np.moveaxis(bits, -1, 0), strict=True))
    found = np.asarray(values(measurement.obs, columns), float)
    found = np.broadcast_to(found, (*batch, shots))
    if isinstance(measurement, mps.ExpectationMP):
        return found.mean(axis=-1)
    if isinstance(measurement, mps.VarianceMP):
        return found.var(axis=-1)
    if isinstance(measurement, mps.SampleMP):
        return found
    counts = [_counts(row, measurement) for row in found.reshape(-1, shots)]
    return counts if batch else counts[0]


def _counts(found: NDArray[np.float64], measurement: Any) -> dict[Any, Any]:
    """Return how often each eigenvalue came, of all that there are if so asked."""
    possible = _table(measurement, measurement.wires) if measurement.all_outcomes else np.ones(0)
    seen = zip(*np.unique(found, return_counts=True), strict=True)
    return {value: np.int64(0) for value in possible} | dict(seen)


def _single(found: Sequence[Any]) -> Any:
    return found[0] if len(found) == 1 else tuple(found)
