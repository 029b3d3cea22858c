"""One neuron, as much of it as a circuit needs and an emulation can check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from anneal.errors import InputError
from qbnn.deformation import pauli_word
from qbnn.emulation import (
    count_law,
    counting_wires,
    exact_tail,
    register_law,
    threshold_count,
)
from qbnn.states import Bits


@dataclass(frozen=True)
class Neuron:
    """N weight bits, the gate of each pair, and the count from which the neuron fires.

    ``weight``: spin means and coherences, (N,). ``gates``: P, complex (N, 4, 4), on |weight,
    activation⟩. It fires iff K ≥ κ, or iff not where ``flipped``. ``eigenvalues``: what each pair
    adds to the count, (N,), 1 where ``None``.

    >>> weight = Bits.from_probability(torch.tensor([1.0, 1.0, 0.0]))
    >>> neuron = Neuron(weight, torch.eye(4, dtype=torch.complex64).expand(3, 4, 4), kappa=2)
    >>> neuron.probability(Bits.from_probability(torch.tensor([1.0, 0.5, 0.0])))
    tensor(1.)
    """

    weight: Bits
    gates: Tensor
    kappa: int
    flipped: bool = False
    eigenvalues: Tensor | None = None

    @property
    def fan_in(self) -> int:
        """N, the number of pairs."""
        return len(self.weight.spin)

    @property
    def counting_wires(self) -> tuple[int, int]:
        """(t, c): the wires of the counting register and its offset."""
        total = self.fan_in
        if self.eigenvalues is not None:
            total = int(torch.ceil(self.eigenvalues.detach().sum()))
        return counting_wires(total, self.kappa)

    def subset(self, indices: Sequence[int]) -> Neuron:
        """Return the neuron of some of the pairs, with the threshold moved in proportion.

        a ≥ T becomes a ≥ T·n/N, N and n being the sums of the eigenvalues of all and of what is
        left. Raises :class:`~anneal.errors.InputError` where there is no such pair.
        """
        wrong = [index for index in indices if not 0 <= index < self.fan_in]
        if wrong or not len(indices):
            which = f" {wrong[0]}; the neuron has {self.fan_in}" if wrong else " was chosen"
            raise InputError(f"no pair{which}")
        chosen = torch.as_tensor(list(indices))
        d = None if self.eigenvalues is None else self.eigenvalues[chosen]
        total, part = float(self.fan_in), float(len(chosen))
        if self.eigenvalues is not None and d is not None:
            total, part = self.eigenvalues.detach().sum().item(), d.detach().sum().item()
        return replace(
            self,
            weight=Bits(self.weight.spin[chosen], self.weight.coherence[chosen]),
            gates=self.gates[chosen],
            kappa=threshold_count(part, (2 * self.kappa - 1 - total) * part / total),
            eigenvalues=d,
        )

    def pair_means(self, bits: Bits) -> Tensor:
        """Return m = ⟨P†(Z⊗Z)P⟩ of every pair, (…, N), by the state of the pair.

        Amplitudes are real, √(1 − p) and √p; this is the definition, without α, β and γ. Raises
        :class:`~anneal.errors.InputError` where there are not N activations.
        """
        if bits.spin.shape[-1] != self.fan_in:
            raise InputError(
                f"the neuron reads {self.fan_in} bits, but was given {bits.spin.shape[-1]}"
            )
        gates = self.gates
        measured = gates.mH @ pauli_word("ZZ").to(gates) @ gates
        weight, active = _bloch(self.weight), _bloch(bits)
        # Tr[O (ρ_w ⊗ ρ_h)], with the two density matrices as (…, N, 2, 2).
        pairs = measured.reshape(-1, 2, 2, 2, 2).real.to(bits.spin)
        means: Tensor = torch.einsum("nabcd,nca,...ndb->...n", pairs, weight, active)
        return means

    def probability(self, bits: Bits) -> Tensor:
        """Return the exact P(the neuron fires), (…), for activations (…, N)."""
        r = (1 + self.pair_means(bits)) / 2
        if self.eigenvalues is None:
            tail = exact_tail(r, torch.tensor(self.kappa))
        else:
            law = self.register(bits)
            tail = law[..., law.shape[-1] // 2 :].sum(-1)
        return 1 - tail if self.flipped else tail

    def count_law(self, bits: Bits) -> Tensor:
        """Return P(K = k), k = 0 … N, (…, N + 1)."""
        return count_law((1 + self.pair_means(bits)) / 2)

    def register(self, bits: Bits) -> Tensor:
        """Return P(register = k), k = 0 … 2^t − 1, leakage of scaled counts included."""
        r = (1 + self.pair_means(bits)) / 2
        d = torch.ones_like(self.weight.spin) if self.eigenvalues is None else self.eigenvalues
        return register_law(r, d, *self.counting_wires)


def _bloch(bits: Bits) -> Tensor:
    """Return the density matrices of bits, (…, 2, 2): ½[[1 − φ, χ], [χ, 1 + φ]]."""
    spin, coherence = bits
    rows = [torch.stack([1 - spin, coherence], -1), torch.stack([coherence, 1 + spin], -1)]
    return torch.stack(rows, -2) / 2
