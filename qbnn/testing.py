"""The laws that a plug-in inherits: call them from its tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anneal.registry import resolve
from qbnn.deformation import FAMILIES, SHARES, Deformation, pauli_word, shared_shape

_WORDS = [a + b for a in "IXYZ" for b in "IXYZ"][1:]
# The words that a product of real amplitudes sees, in the order (1, coherence, spin mean), and
# the sign of that spin: ⟨Z⟩ is minus the spin mean.
_SEEN, _SIGNS = "IXZ", (1, 1, -1)


def check_deformation(family_or_class: str | Callable[..., Deformation], *, seed: int) -> None:
    """Raise AssertionError where a deformation breaks a law of its kind.

    ``family_or_class`` is a name of ``FAMILIES``, ``"module:Class"`` or the class, which is called
    with ``shape`` and the keywords ``init_std``, ``trainable`` and ``generator``. The laws: gates
    are unitary and, without ``init_std``, the classical XNOR; the observable, α, β and γ are those
    of the gates, for every ``share`` and both precisions; slopes are finite; every parameter moves
    what is counted; a frozen one is not trained; a generator decides the angles.

    >>> check_deformation("real4", seed=1)
    """
    make = family_or_class
    if isinstance(make, str):
        make = resolve(FAMILIES, make, kind="deformation")
    generator = torch.Generator().manual_seed(seed)
    for dtype in (torch.float32, torch.float64):
        for share in SHARES:
            for weight_shape in ((3, 2), (2, 2, 2, 2)):
                shape = shared_shape(weight_shape, share)
                deformation = make(shape, init_std=1.0, generator=generator).to(dtype)
                _check_gates(deformation, shape)
                _check_coefficients(deformation, weight_shape, dtype, generator)
                _check_slopes(deformation)
    _check_undeformed(make)
    _check_parameters(make, generator)
    _check_seed(make, seed)


def check_device(device: Any, *, seed: int, num_circuits: int = 4, tolerance: float = 1e-9) -> None:
    """Raise AssertionError unless a PennyLane device runs counting circuits as default.qubit does.

    ``device`` has wires 0 to 8, or any. Circuits are drawn with ``seed``: up to three pairs, each
    prepared by rotations and joined by a gate, and a counter whose offset is an integer in every
    other circuit. The laws: probabilities, expectations and variances to ``tolerance``; outcomes of
    1000 shots as in :func:`assert_law`.

    >>> import pennylane as qml
    >>> check_device(qml.device("qbnn.emulator", seed=1), seed=1)
    """
    import pennylane as qml

    rng = np.random.default_rng(seed)
    reference = qml.device("default.qubit")
    for index in range(num_circuits):
        operations, register = _counting_circuit(rng, 1 + index % 3, fraction=index % 2 * 0.3)
        product = qml.prod(*map(qml.Z, register))
        measured = [qml.probs(wires=register), qml.expval(qml.Z(register[0])), qml.var(product)]
        tape = qml.tape.QuantumScript(operations, measured)
        (expected,) = qml.execute([tape], reference, diff_method=None)
        (found,) = qml.execute([tape], device, diff_method=None)
        for what, ours, theirs in zip(measured, found, expected, strict=True):
            close = np.allclose(ours, theirs, rtol=0, atol=tolerance)
            assert close, f"{what} is {ours}, not {theirs}"
        shots = qml.tape.QuantumScript(operations, [qml.sample(wires=register)], shots=1000)
        (bits,) = qml.execute([shots], device, diff_method=None)
        outcomes = np.asarray(bits, int) @ (1 << np.arange(len(register))[::-1])
        assert_law(np.bincount(outcomes, minlength=2 ** len(register)), expected[0])


def assert_law(counts: Any, law: Any) -> None:
    """Raise AssertionError where counts are 1e9 times less likely by ``law`` than by the best fit.

    Each outcome lets the best fit gain a factor e on top.

    >>> assert_law(np.array([480, 520]), np.array([0.5, 0.5]))
    """
    counts, law = np.asarray(counts), np.asarray(law)
    seen = counts > 0
    rate = counts[seen] / counts.sum()
    with np.errstate(divide="ignore"):
        ratio = (counts[seen] * np.log(rate / np.clip(law[seen], 0, None))).sum()
    assert ratio <= math.log(1e9) + len(counts), f"counts {counts} do not come from {law}"


def _check_gates(deformation: Deformation, shape: tuple[int, ...]) -> None:
    """Gates are unitary, and the observable is theirs."""
    gates = deformation.unitary()
    assert deformation.shape == shape, f"shape is {deformation.shape}, not {shape}"
    assert gates.shape == (*shape, 4, 4), f"unitary() has shape {tuple(gates.shape)} for {shape}"
    identity = torch.eye(4, dtype=gates.dtype).expand_as(gates)
    assert _close(gates.mH @ gates, identity), "unitary() is not unitary"
    for output in range(shape[0]):
        of_output = deformation.gates_of(output)
        assert _close(of_output, gates[output]), f"gates_of({output}) is not unitary()[{output}]"
    table = torch.zeros(3, 3, *shape, dtype=gates.real.dtype)
    for a, first in enumerate(_SEEN):
        for b, second in enumerate(_SEEN):
            table[a, b] = _SIGNS[a] * _SIGNS[b] * _coefficient(gates, first + second)
    found = deformation.observable()
    assert found.shape == table.shape, f"observable() has shape {tuple(found.shape)} for {shape}"
    assert _close(found, table), "observable() is not that of the gates"


def _check_coefficients(
    deformation: Deformation,
    weight_shape: tuple[int, ...],
    dtype: torch.dtype,
    generator: torch.Generator,
) -> None:
    """α, β and γ are those of the observable, for weights of the layer's shape."""
    spin = 2 * torch.rand(weight_shape, dtype=dtype, generator=generator) - 1
    coherence = (1 - spin.square()).sqrt()
    weight = torch.stack([torch.ones_like(spin), coherence, spin])
    expected = (weight[:, None] * deformation.observable()).sum(0)
    alpha, beta, gamma = deformation.coefficients(spin, coherence)
    for name, part, row in (("α", alpha, 0), ("γ", gamma, 1), ("β", beta, 2)):
        found = torch.zeros_like(spin) if part is None else part
        assert found.shape == spin.shape, f"{name} has shape {tuple(found.shape)}"
        assert _close(found, expected[row]), f"{name} is not that of the observable"
    eigenvalues = deformation.eigenvalues()
    if eigenvalues is not None:
        assert eigenvalues.shape == deformation.shape
        assert (eigenvalues > 0).all(), "a pair counts nothing, or less"


def _check_slopes(deformation: Deformation) -> None:
    observable = deformation.observable()
    loss = (observable * torch.linspace(1, 2, observable.numel()).view_as(observable)).sum()
    eigenvalues = deformation.eigenvalues()
    loss = loss if eigenvalues is None else loss + eigenvalues.sum()
    trained = [parameter for parameter in deformation.parameters() if parameter.requires_grad]
    if trained:
        for slope in torch.autograd.grad(loss, trained, allow_unused=True):
            assert slope is not None, "a parameter is not used"
            assert slope.isfinite().all(), "a slope is not finite"


def _check_undeformed(make: Callable[..., Deformation]) -> None:
    """Without ``init_std`` counting is that of the classical network, and slopes are finite."""
    deformation = make((2, 3)).double()
    expected = torch.zeros(3, 3, 2, 3, dtype=torch.float64)
    expected[2, 2] = 1
    assert _close(deformation.observable(), expected), "the first deformation is not the XNOR"
    eigenvalues = deformation.eigenvalues()
    assert eigenvalues is None or _close(eigenvalues, torch.ones(2, 3, dtype=torch.float64))
    _check_slopes(deformation)


def _check_parameters(make: Callable[..., Deformation], generator: torch.Generator) -> None:
    """Every parameter of a gate moves the operator that is counted, and none as another does."""
    counted = _Counted(make((), init_std=1.0, generator=generator).double())
    parameters = dict(counted.named_parameters())
    if not parameters:
        return

    def call(*given: Tensor) -> Tensor:
        found = torch.func.functional_call(counted, dict(zip(parameters, given, strict=True)), ())
        assert isinstance(found, Tensor)
        return found

    blocks = torch.autograd.functional.jacobian(
        call, tuple(p.detach() for p in parameters.values())
    )
    slopes = torch.cat([block.reshape(len(_WORDS) + 1, -1) for block in blocks], 1)
    rank = int(torch.linalg.matrix_rank(slopes, rtol=1e-6))
    assert rank == slopes.shape[1], f"{slopes.shape[1]} parameters of a gate do the work of {rank}"


def _check_seed(make: Callable[..., Deformation], seed: int) -> None:
    def state(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        frozen = make((2, 3), init_std=1.0, trainable=False, generator=generator)
        assert not any(p.requires_grad for p in frozen.parameters()), (
            "a frozen parameter is trained"
        )
        return [*frozen.parameters(), frozen.observable()]

    before = torch.get_rng_state()
    first, again = state(seed), state(seed)
    assert torch.equal(before, torch.get_rng_state()), "angles are drawn from the global generator"
    assert all(map(torch.equal, first, again)), "a generator gives other angles the second time"
    if first[:-1]:
        other = state(seed + 1)
        assert not all(map(torch.equal, first, other)), "a generator's seed changes nothing"


class _Counted(nn.Module):
    """What one pair adds to the count: the Pauli coefficients of P†(Z⊗Z)P, and the eigenvalue."""

    def __init__(self, deformation: Deformation) -> None:
        super().__init__()
        self.deformation = deformation

    def forward(self) -> Tensor:
        gate = self.deformation.unitary()
        found = [_coefficient(gate, word) for word in _WORDS]
        eigenvalues = self.deformation.eigenvalues()
        return torch.stack(
            [*found, torch.ones_like(found[0]) if eigenvalues is None else eigenvalues]
        )


def _coefficient(gates: Tensor, word: str) -> Tensor:
    """Return the coefficient of a Pauli word in P†(Z⊗Z)P."""
    counted = gates.mH @ pauli_word("ZZ").to(gates) @ gates
    return (counted * pauli_word(word).to(gates).mT).sum((-2, -1)).real / 4


def _close(found: Tensor, expected: Tensor) -> Any:
    tolerance = 100 * torch.finfo(found.dtype).eps
    return torch.allclose(found, expected.to(found), rtol=0, atol=tolerance)


def _counting_circuit(rng: Any, num_pairs: int, fraction: float) -> tuple[list[Any], list[int]]:
    """Return operations that count random pairs, and the wires of the register."""
    import pennylane as qml

    from qbnn.circuits.counter import Counter

    size = 2 * num_pairs
    register = list(range(size, size + (num_pairs + 1).bit_length()))
    operations = [qml.RY(angle, wire) for wire, angle in enumerate(rng.uniform(0, 7, size))]
    pairs = [(wire, wire + 1) for wire in range(0, size, 2)]
    for pair in pairs:
        values = rng.normal(size=(2, 4, 4))
        unitary, _ = np.linalg.qr(values[0] + 1j * values[1])
        operations.append(qml.QubitUnitary(unitary, wires=pair))
    operations.append(Counter(pairs, register, offset=float(rng.integers(3)) + fraction))
    return operations, register
