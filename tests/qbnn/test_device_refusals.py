"""What the emulating device refuses: in preprocessing, with the reason and a way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import DeviceError, WireError

from qbnn.circuits.counter import Counter
from qbnn.device import EmulatorDevice

COUNT = Counter([("w", "h"), ("v", "g")], ["top", "low"])
LOW = qml.probs(wires="low")
SECOND = Counter([("s", "t")], ["other"])
CHAIN = [qml.CNOT(pair) for pair in [("w", "v"), ("g", "a"), ("a", "b")]]
REFUSED = [
    ([], LOW, "holds no Counter .* use default.qubit"),
    ([*CHAIN, COUNT], LOW, r"block of 5 wires \(limit 4\); use default.qubit or default.tensor"),
    ([qml.X("top"), COUNT], LOW, "PauliX acts on counting wire 'top'"),
    ([COUNT, qml.CNOT(["low", "w"])], LOW, "CNOT acts on counting wire 'low'"),
    ([COUNT, qml.adjoint(COUNT)], LOW, r"runs a Counter as it is, not Adjoint\(Counter\)"),
    ([COUNT, qml.RX(0.1, "w"), COUNT], LOW, "two counters write to wire"),
    ([COUNT, Counter([("w", "x")], ["other"])], LOW, "'w' is counted, and read again"),
    (
        [COUNT, Counter([("x", "low")], ["other"])],
        LOW,
        "a counter reads wire 'low', which is itself a counting wire",
    ),
    ([qml.CNOT(["w", "s"]), COUNT, SECOND], LOW, "joins what two counters read"),
    ([COUNT, qml.CNOT(["w", "s"]), SECOND], LOW, "'w' is counted, and read again"),
    ([qml.BitFlip(0.1, "w"), COUNT], LOW, "does not run noise .* use default.mixed"),
    ([COUNT, qml.DepolarizingChannel(0.1, "low")], LOW, "use default.mixed"),
    ([qml.Projector([0], "w"), COUNT], LOW, "projectors as gates"),
    ([qml.ops.MidMeasure("w"), COUNT], LOW, "in the middle .* not so wire 'w'"),
    ([qml.ops.MidMeasure("low"), COUNT], LOW, "in the middle .* not so wire 'low'"),
    ([COUNT, qml.ops.MidMeasure("low", reset=True)], LOW, "without reset"),
    ([COUNT, qml.ops.MidMeasure("low"), qml.ops.MidMeasure("low")], LOW, "measured once"),
    ([COUNT], qml.probs(wires=["low", "h"]), "reads wire 'h', which is not a counting wire"),
    ([COUNT], qml.probs(), "reads all wires"),
    ([COUNT], qml.state(), "not State; use default.qubit"),
    ([COUNT], qml.vn_entropy("low"), "not VnEntropy"),
    ([COUNT], qml.expval(qml.X("low")), r"X\('low'\) is not built of Z"),
    ([COUNT], qml.expval(qml.Z("top") @ qml.Y("low")), "is not built of Z"),
    ([COUNT], qml.expval(qml.Hermitian(np.eye(2), "low")), "(?s)Hermitian.* is not built of Z"),
    ([COUNT], qml.expval(qml.Projector([0.6, 0.8], "low")), "is not built of Z"),
    ([COUNT], qml.sample(wires="low"), "needs shots"),
    ([COUNT], qml.counts(wires="low"), "needs shots"),
]


@pytest.mark.parametrize(("operations", "measurement", "reason"), REFUSED)
def test_refuses_what_is_not_of_the_family(
    operations: list[Any], measurement: Any, reason: str
) -> None:
    tape = qml.tape.QuantumScript(operations, [measurement])
    pipeline = EmulatorDevice().preprocess_transforms()
    with pytest.raises(DeviceError, match=reason) as caught:
        pipeline([tape])
    assert "qbnn.emulator" in str(caught.value)


def test_refuses_conditions() -> None:
    @qml.qnode(EmulatorDevice())
    def circuit() -> Any:
        qml.RY(0.3, "w")
        Counter([("w", "h")], ["top", "low"])
        qml.cond(qml.measure("top"), qml.X)("v")
        Counter([("v", "g")], ["other"])
        return qml.probs(wires="other")

    with pytest.raises(DeviceError, match=r"gates that depend on a measurement .* default\.qubit"):
        circuit()


def test_names_the_wires_that_a_device_lacks() -> None:
    @qml.qnode(EmulatorDevice(wires=["w", "h"]))
    def circuit() -> Any:
        Counter([("w", "h")], ["top", "low"])
        return qml.probs(wires="top")

    with pytest.raises(WireError, match="lacks wires 'low', 'top'; name all wires"):
        circuit()


def test_refuses_more_outcomes_than_can_be_listed() -> None:
    wires = [f"top{k}" for k in range(25)]
    operations = [Counter([(f"w{k}", f"h{k}")], [wire]) for k, wire in enumerate(wires)]
    product = qml.prod(*map(qml.Z, wires))
    pipeline = EmulatorDevice().preprocess_transforms()
    for measurement in (qml.probs(wires=wires), qml.expval(product), qml.var(product)):
        with pytest.raises(DeviceError, match=r"25 wires has 2\^25 outcomes .* or use shots"):
            pipeline([qml.tape.QuantumScript(operations, [measurement])])
    total = qml.expval(qml.sum(*map(qml.Z, wires)))
    pipeline([qml.tape.QuantumScript(operations, [total])])
    pipeline([qml.tape.QuantumScript(operations, [qml.expval(product)], shots=5)])


def test_refuses_options_of_other_devices() -> None:
    with pytest.raises(DeviceError, match="takes no options, but got max_workers"):
        EmulatorDevice().setup_execution_config(ExecutionConfig(device_options={"max_workers": 2}))
