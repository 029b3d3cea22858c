"""Neurons that read one copy of the activations after another, on the state of these alone.

What reading a neuron does to N activation qubits is a quantum instrument: its weights come fresh
and go unread, so they can be summed over once and for all. That leaves 16^N numbers for each of
the two results, instead of a state vector of all weights and registers; the state of the
activations is a density matrix that each neuron of the layer changes (docs/mathematics.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anneal.errors import InputError
from anneal.registry import unknown
from qbnn.deformation import pauli_word
from qbnn.hardware.costs import PROTOCOLS
from qbnn.neuron import Neuron
from qbnn.states import Bits

# Complex numbers that the instruments of a layer may be: 2^26 are 1 GB.
REACH = 2**26


def instruments(neurons: Sequence[Neuron], *, protocol: str = "sequential-bit") -> Tensor:
    """Return what reading each neuron does: complex (M, 2, 4^N, 4^N), on flattened densities.

    ``[j, b]`` takes the activations' state to that after neuron j gave the bit b, times the
    probability that it does. Reading the bit keeps what counts on the same side of κ coherent,
    reading the count does not. Raises :class:`~anneal.errors.InputError` where the numbers would
    be too many, for scaled counts, which leak, and for other protocols.

    >>> from qbnn.neuron import Neuron
    >>> coin = Bits.from_probability(torch.tensor([0.5]))
    >>> instruments([Neuron(coin, torch.eye(4)[None], kappa=1)]).shape
    torch.Size([1, 2, 4, 4])
    """
    check_reach(max(neuron.fan_in for neuron in neurons), len(neurons), protocol=protocol)
    if any(neuron.eigenvalues is not None for neuron in neurons):
        raise InputError("scaled counts leak from the register, and are only read 'fresh'")
    return torch.stack([_instrument(neuron, protocol) for neuron in neurons])


def check_reach(fan_in: int, num_neurons: int, *, protocol: str) -> None:
    """Raise :class:`~anneal.errors.InputError` for a protocol, or a layer, that cannot be read."""
    if protocol not in PROTOCOLS:
        raise unknown(protocol, PROTOCOLS, kind="protocol")
    if protocol == "fresh":
        raise InputError("the protocol 'fresh' has a law, and wants no state")
    if 2 * num_neurons * 16**fan_in > REACH:
        raise InputError(
            f"the protocol '{protocol}' is emulated by its state, {num_neurons} neurons of "
            f"{fan_in} inputs need 2·{num_neurons}·16^{fan_in} numbers: out of reach; 32 neurons "
            "of 5 inputs, or 512 of 4, are within; the protocol 'fresh' has no such limit"
        )


def read(found: Tensor, bits: Bits, *, generator: torch.Generator | None = None) -> Tensor:
    """Return P(each neuron fires), or with a ``generator`` one joint draw of the bits, (B, M).

    ``found``: instruments of M neurons; ``bits``: activations (B, N), mixed ones too.
    """
    state = densities(bits)
    trace = torch.eye(round(state.shape[-1] ** 0.5), device=state.device).flatten().to(state)
    results = []
    for instrument in found:
        after = torch.einsum("rij,bj->rbi", instrument, state)
        weight = (after @ trace).real.clamp_min(0)
        p = weight[1] / weight.sum(0)
        if generator is None:
            results.append(p)
            state = after.sum(0)
            continue
        uniform = torch.rand(p.shape, dtype=p.dtype, device=p.device, generator=generator)
        bit = (uniform < p).long()
        results.append(bit.to(p))
        rows = torch.arange(len(bit), device=bit.device)
        state = after[bit, rows] / weight[bit, rows, None]
    return torch.stack(results, -1)


def densities(bits: Bits) -> Tensor:
    """Return the product states of bits (B, N) as flattened density matrices, (B, 4^N)."""
    spin, coherence = (part.double() for part in bits)
    state = torch.ones(len(spin), 1, 1, dtype=torch.complex128, device=spin.device)
    for phi, chi in zip(spin.unbind(-1), coherence.unbind(-1), strict=True):
        state = _kron(state, _density(phi, chi))
    return state.flatten(1)


def _instrument(neuron: Neuron, protocol: str) -> Tensor:
    counts = _count_projectors(neuron)
    fires = [(count >= neuron.kappa) != neuron.flipped for count in range(len(counts))]
    sides = [[q for q, f in zip(counts, fires, strict=True) if f == side] for side in (False, True)]
    if protocol == "sequential-bit":
        sides = [[torch.stack(side).sum(0)] if side else [] for side in sides]
    state = densities(Bits(*(part[None] for part in neuron.weight)))[0]
    weights = state.view(2**neuron.fan_in, -1)
    nothing = torch.zeros(4**neuron.fan_in, 4**neuron.fan_in).to(weights)
    return torch.stack([sum((_after(q, weights) for q in side), start=nothing) for side in sides])


def _count_projectors(neuron: Neuron) -> list[Tensor]:
    """Return the projectors on counts 0 … N, (2^N, 2^N, 2^N, 2^N): weights, activations, twice."""
    gates = neuron.gates.detach().to(torch.complex128)
    measured = gates.mH @ pauli_word("ZZ").to(gates) @ gates
    one = torch.eye(4).to(gates)
    found = [torch.ones(1, 1).to(gates)]
    for operator in measured:
        no, yes = (one - operator) / 2, (one + operator) / 2
        nothing = [torch.zeros_like(_kron(found[0], no))]
        stays = [_kron(q, no) for q in found] + nothing
        grows = nothing + [_kron(q, yes) for q in found]
        found = [a + b for a, b in zip(stays, grows, strict=True)]
    n = neuron.fan_in
    # Pairs lie side by side: weights are at the even places, activations at the odd.
    order = [*range(0, 2 * n, 2), *range(1, 2 * n, 2)]
    order += [2 * n + place for place in order]
    return [q.reshape([2] * 4 * n).permute(order).reshape([2**n] * 4) for q in found]


def _after(projector: Tensor, weights: Tensor) -> Tensor:
    """Return ρ → Tr_w[Q (σ ⊗ ρ) Q†] as a matrix on flattened densities."""
    size = len(weights)
    left = torch.einsum("whug,uv->hgwv", projector, weights).reshape(size**2, -1)
    right = projector.conj().permute(1, 3, 0, 2).reshape(size**2, -1)
    both = (left @ right.T).view(size, size, size, size)
    return both.permute(0, 2, 1, 3).reshape(size**2, size**2)


def _density(spin: Tensor, coherence: Tensor) -> Tensor:
    """Return ½[[1 − φ, χ], [χ, 1 + φ]], (…, 2, 2)."""
    rows = [torch.stack([1 - spin, coherence], -1), torch.stack([coherence, 1 + spin], -1)]
    return (torch.stack(rows, -2) / 2).to(torch.complex128)


def _kron(left: Tensor, right: Tensor) -> Tensor:
    """Return the Kronecker product of the last two dimensions."""
    found = left[..., :, None, :, None] * right[..., None, :, None, :]
    return found.reshape(*found.shape[:-4], found.shape[-4] * found.shape[-3], -1)
