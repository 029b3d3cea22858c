"""A PennyLane device that emulates counting circuits in polynomial time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.devices.preprocess import decompose
from pennylane.exceptions import DeviceError, WireError
from pennylane.transforms.core import CompilePipeline

from qbnn.circuits.counter import Counter
from qbnn.device.blocks import MAX_BLOCK, NAME, find_registers
from qbnn.device.laws import framework_of, register_law
from qbnn.device.readout import Reading, check_measurement, results

# What is none of a circuit's gates, and where it runs.
_REFUSED = {
    qml.ops.PauliMeasure: ("measurements of Pauli words", "default.qubit"),
    qml.ops.Conditional: ("gates that depend on a measurement", "default.qubit"),
    qml.operation.Channel: ("noise", "default.mixed"),
    qml.Projector: ("projectors as gates", "default.qubit"),
}


@simulator_tracking
@single_tape_support
class EmulatorDevice(Device):  # type: ignore[misc]
    """Run circuits of :class:`~qbnn.circuits.counter.Counter` without ever holding their state.

    A circuit prepares system wires by gates that join at most 4 of them into a block, counted pairs
    included, and counts with one or more counters, each into its own register of wires in |0>. The
    registers alone are measured: probs, expval and var of observables diagonal in Z, and with
    shots also sample and counts. 784 pairs take well under a second, where a state vector would
    have 2^1578 entries. What does not belong to this family is refused, with the reason.

    ``wires``: labels, a number, or None for any wires. ``seed``: an int or a NumPy generator, for
    shots. Backpropagation through torch and autograd; the tracker notes ``path="emulated"`` for
    every circuit.

    >>> device = qml.device("qbnn.emulator", seed=1)
    >>> @qml.qnode(device)
    ... def circuit(angle):
    ...     qml.RY(angle, "w")
    ...     Counter([("w", "h")], ["top", "low"])
    ...     return qml.probs(wires=["top", "low"])
    >>> circuit(np.pi / 2).round(3).tolist()
    [0.5, 0.5, 0.0, 0.0]
    """

    def __init__(self, wires: Any = None, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(wires=wires)
        self._rng = np.random.default_rng(seed)

    @property
    def name(self) -> str:
        """The name under which PennyLane finds the device."""
        return NAME

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: Any = None
    ) -> bool:
        """Return whether the device differentiates by itself: by backpropagation, without shots."""
        if execution_config is None:
            return True
        own = execution_config.gradient_method in ("backprop", "best", "device")
        return own and not (circuit is not None and circuit.shots)

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: Any = None
    ) -> ExecutionConfig:
        """Choose backpropagation where the device is asked for its own or the best gradient.

        Raises DeviceError for options of other devices.
        """
        config = config or ExecutionConfig()
        if config.device_options:
            raise DeviceError(
                f"{NAME} takes no options, but got {', '.join(config.device_options)}"
            )
        if not self.supports_derivatives(config, circuit):
            return config
        return replace(
            config,
            gradient_method="backprop",
            use_device_gradient=True,
            use_device_jacobian_product=False,
            grad_on_execution=False,
        )

    def preprocess_transforms(
        self, execution_config: ExecutionConfig | None = None
    ) -> CompilePipeline:
        """Return the pipeline: decompose what has no matrix, but no counter; check the rest."""
        pipeline = CompilePipeline()
        pipeline.add_transform(
            decompose,
            stopping_condition=_is_elementary,
            skip_initial_state_prep=False,
            name=self.name,
            error=DeviceError,
        )
        pipeline.add_transform(check_circuit, wires=self.wires)
        return pipeline

    def execute(
        self, circuits: Sequence[Any], execution_config: ExecutionConfig | None = None
    ) -> tuple[Any, ...]:
        """Return the results of every circuit. Raises DeviceError as preprocessing does."""
        return tuple(self._emulate(circuit) for circuit in circuits)

    def _emulate(self, tape: Any) -> Any:
        measured = {wire for item in tape.measurements for wire in item.wires}
        lift = framework_of(tape.operations)
        readings = [
            Reading(register.counter.counting_wires, register_law(register, lift))
            for register in find_registers(tape.operations)
            if measured.intersection(register.counter.counting_wires)
        ]
        if self.tracker.active:
            self.tracker.update(path="emulated")
        return results(tape, readings, self._rng)


@qml.transform  # type: ignore[untyped-decorator]
def check_circuit(tape: Any, wires: Any = None) -> tuple[Any, Any]:
    """Raise DeviceError or WireError for a tape that the device cannot run; change nothing."""
    if wires is not None and (missing := sorted(set(tape.wires) - set(wires), key=str)):
        shown = ", ".join(map(repr, missing[:4])) + (", ..." if len(missing) > 4 else "")
        raise WireError(
            f"{NAME}: the device lacks wires {shown}; name all wires of the circuit, or create the "
            "device without wires"
        )
    for operation in tape.operations:
        _check_kind(operation)
    registers = find_registers(tape.operations)
    counting = {wire for register in registers for wire in register.counter.counting_wires}
    for measurement in tape.measurements:
        check_measurement(measurement, counting, shots=bool(tape.shots))
    return (tape,), lambda found: found[0]


def _check_kind(operation: Any) -> None:
    for kind, (what, instead) in _REFUSED.items():
        if isinstance(operation, kind):
            raise DeviceError(f"{NAME} does not run {what} ({operation}); use {instead}")
    if isinstance(getattr(operation, "base", None), Counter):
        raise DeviceError(
            f"{NAME} runs a Counter as it is, not {operation.name}; use default.qubit"
        )


def _is_elementary(operation: Any) -> bool:
    """Return whether an operation stays: counters, what is refused anyway, and small gates."""
    if isinstance(operation, (Counter, qml.ops.MidMeasure, *_REFUSED)):
        return True
    if isinstance(getattr(operation, "base", None), Counter):
        return True
    if isinstance(operation, qml.ops.CompositeOp) or not operation.has_matrix:
        return False
    return len(operation.wires) <= MAX_BLOCK or not operation.has_decomposition
