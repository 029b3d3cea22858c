"""What a network would do on a device: finite shots, noise, and layers read by a protocol.

The noise model is small enough to be exact. Every prepared qubit, weights and activations alike,
is depolarised with probability λ before its gate, which shrinks its three Pauli means to 1 − 4λ/3
of what they were; reading a wire flips its bit with probability ε. Gates and counting are perfect.
Between layers the device prepares √(1 − p)|0⟩ + √p|1⟩ anew from the p that it has estimated
(``propagate``) or from the bit that it has read (``sample``).

What is read out classically stays as it was: a first layer of real numbers, the choice of the
pooled site, and the head's decision, which compares counts that are read ``fresh`` under any
protocol.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from qbnn.config import FREE, SIGN
from qbnn.deformation import Coefficients
from qbnn.emulation import counting_wires, firing_counts, register_law
from qbnn.folding import folded
from qbnn.hardware.costs import check_names
from qbnn.hardware.sequential import check_reach, instruments, read
from qbnn.kernels import poisson_binomial
from qbnn.models import Block, Network
from qbnn.states import Bits, Moments

# Shots that are drawn at a time, for the memory.
CHUNK = 1000
Generator = Callable[[], torch.Generator | None]


@dataclass(frozen=True)
class Hardware:
    """A device: ``shots`` of every circuit (None: as many as it takes), ``noise`` λ of a prepared
    qubit, ``readout`` ε of a wire that is read, and the protocol of the hidden layers.

    Raises :class:`~anneal.errors.InputError` for what is no device.

    >>> Hardware(noise=0.03).survival
    0.96
    """

    shots: int | None = None
    noise: float = 0.0
    readout: float = 0.0
    protocol: str = "fresh"

    def __post_init__(self) -> None:
        if self.shots is not None and self.shots < 1:
            raise InputError(f"shots must be at least 1, not {self.shots}")
        for name in ("noise", "readout"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be a probability, not {getattr(self, name)}")
        check_names(protocol=self.protocol)

    @property
    def survival(self) -> float:
        """What is left of a prepared qubit's means, 1 − 4λ/3."""
        return 1 - 4 * self.noise / 3

    @property
    def is_perfect(self) -> bool:
        """Whether the device does what the network's law says."""
        return self == Hardware()

    def misread(self, p: Tensor) -> Tensor:
        """Return (1 − ε)p + ε(1 − p)."""
        return p + self.readout * (1 - 2 * p) if self.readout else p


def on_hardware(network: Network, hardware: Hardware) -> Network:
    """Return a copy of a network that does what it would do on a device, in evaluation mode.

    Hidden probabilities follow the network's own law, or the protocol's; ``shots`` are drawn from
    the network's generator. A network that hands on drawn bits takes one shot a pass: there
    ``shots`` are passes, for whoever evaluates it. Raises :class:`~anneal.errors.InputError` for a
    network without circuits and for a layer beyond the reach of its protocol.

    >>> from qbnn.config import Config
    >>> network = Network(Config(architecture="5FC-SM2", in_shape=(1, 2, 2), family="real4"))
    >>> on_hardware(network, Hardware(shots=100))(torch.rand(3, 1, 2, 2)).shape
    torch.Size([3, 2])
    """
    config = network.config
    if config.family in (SIGN, FREE):
        raise InputError(f"a network of family '{config.family}' has no circuits, and no device")
    device = Network(config).to(next(network.parameters())).eval()
    device.load_state_dict(network.state_dict())
    device.reseed(config.seed)
    if hardware.is_perfect:
        return device
    drawn = replace(hardware, shots=1)
    if config.mode == "sample" and hardware.shots is not None:
        hardware = drawn
    last = len(device.blocks) - 1
    for place, block in enumerate(device.blocks):
        assert isinstance(block, Block)
        if place == 0 and config.input == "real":
            continue
        own = hardware
        wrap: type[DeviceLayer] = HeadLayer if place == last else FreshLayer
        if place < last and hardware.protocol != "fresh":
            # Bits that are drawn have to be drawn together.
            own, wrap = drawn if config.mode == "sample" else hardware, SequentialLayer
        block.layer = wrap(block, own, lambda: device.generator)  # type: ignore[assignment]
        if wrap is SequentialLayer:
            # The exact law keeps the sites of a pool apart until all were read.
            block.config = config.model_copy(update={"law": "exact"})
    if config.head == "bce":
        # The head's top bits are read as they are, not by a law of moments.
        device.config = config.model_copy(update={"law": "exact"})
    return device


class Depolarised(nn.Module):
    """A deformation whose weight and activation qubits were depolarised before its gate.

    m = α + βφ + γχ is linear in the means of either qubit, so that β and γ shrink by that of the
    activation and all three by that of the weight.
    """

    def __init__(self, deformation: Any, survival: float) -> None:
        super().__init__()
        self.deformation = deformation
        self.survival = survival

    def coefficients(self, spin: Tensor, coherence: Tensor) -> Coefficients:
        """Return α, β and γ of the noisy pair."""
        left = self.survival
        alpha, beta, gamma = self.deformation.coefficients(left * spin, left * coherence)
        return Coefficients(alpha, left * beta, None if gamma is None else left * gamma)

    def eigenvalues(self) -> Tensor | None:
        """Return what each pair adds to the count."""
        found: Tensor | None = self.deformation.eigenvalues()
        return found


class DeviceLayer(nn.Module, abc.ABC):
    """What stands in a block in place of its layer: the same, read on a device."""

    def __init__(self, block: Block, hardware: Hardware, generator: Generator) -> None:
        super().__init__()
        layer = block.layer
        if hardware.noise:
            layer.deformation = Depolarised(layer.deformation, hardware.survival)
        self.layer = layer
        self.hardware = hardware
        self.generator = generator

    def moments(self, bits: Bits, *, third: bool = False) -> Moments:
        """Return the moments of the noisy counts."""
        return self.layer.moments(bits, third=third)

    @abc.abstractmethod
    def fires(self, bits: Bits, moments: Moments, law: str, *, lattice: bool) -> Bits:
        """Return the bits handed on, prepared from what was read."""


class FreshLayer(DeviceLayer):
    """Every neuron reads copies of its own, each shot one of them."""

    def fires(self, bits: Bits, moments: Moments, law: str, *, lattice: bool) -> Bits:
        found = self.layer.fires(bits, moments, law, lattice=lattice)
        shots = self.hardware.shots
        if shots is None and not self.hardware.readout:
            return found
        p = self.hardware.misread(found.probability).clamp(0, 1)
        return Bits.from_probability(p if shots is None else self._frequency(p, shots))

    def _frequency(self, p: Tensor, shots: int) -> Tensor:
        return torch.binomial(torch.full_like(p, shots), p, generator=self.generator()) / shots


class SequentialLayer(DeviceLayer):
    """The neurons of a layer read one copy of a window one after the other, each shot a run."""

    def __init__(self, block: Block, hardware: Hardware, generator: Generator) -> None:
        width = block.placed.stage.width
        check_reach(block.layer.fan_in, width, protocol=hardware.protocol)
        precise = copy.deepcopy(block.layer).double()
        neurons = []
        for j, (kappa, flipped) in enumerate(thresholds(block)):
            neuron = precise.neuron(j, kappa=kappa, flipped=flipped)
            weight = Bits(*(hardware.survival * part.detach() for part in neuron.weight))
            neurons.append(replace(neuron, weight=weight))
        super().__init__(block, hardware, generator)
        self.register_buffer("found", instruments(neurons, protocol=hardware.protocol))

    def fires(self, bits: Bits, moments: Moments, law: str, *, lattice: bool) -> Bits:
        windows = self.layer.windows(bits)
        places = windows.spin.squeeze(1).shape[:-1]
        p = self._read(Bits(*(self.hardware.survival * part.flatten(0, -2) for part in windows)))
        return Bits.from_probability(p.to(bits.spin).reshape(*places, -1).movedim(-1, 1))

    def _read(self, bits: Bits) -> Tensor:
        """Return the frequency of every neuron's bit, (B, M)."""
        assert isinstance(self.found, Tensor)
        shots, draws = self.hardware.shots, self.generator()
        if shots is None:
            return self.hardware.misread(read(self.found, bits)).clamp(0, 1)
        total = torch.zeros((), device=bits.spin.device)
        for _ in range(shots):
            fired = read(self.found, bits, generator=draws)
            flips = torch.rand(fired.shape, generator=draws, device=fired.device)
            total = total + (fired - (flips < self.hardware.readout).to(fired)).abs()
        return total / shots


class HeadLayer(DeviceLayer):
    """The head: its registers are read whole for ``ce``, and their top bits for ``bce``."""

    def __init__(self, block: Block, hardware: Hardware, generator: Generator) -> None:
        self.thresholds = thresholds(block)
        super().__init__(block, hardware, generator)
        self.counts = block.config.head == "ce"

    def moments(self, bits: Bits, *, third: bool = False) -> Moments:
        """Return the moments; the mean is that of the counts read, the variance their law's."""
        found = self.layer.moments(bits, third=third)
        shots = self.hardware.shots
        if not self.counts or (shots is None and not self.hardware.readout):
            return found
        means, variances = [], []
        for law, offset in self._registers(bits):
            values = torch.arange(law.shape[-1], dtype=law.dtype, device=law.device) - offset
            mean = law @ values
            variances.append(4 * (law @ values.square() - mean.square()))
            means.append(2 * (mean if shots is None else self._drawn(law, shots) - offset))
        mean = torch.stack(means, 1).to(found.mean) - found.total
        return found._replace(mean=mean, variance=torch.stack(variances, 1).to(found.mean))

    def fires(self, bits: Bits, moments: Moments, law: str, *, lattice: bool) -> Bits:
        """Return the frequencies of the top bits, with half a count added to either side and a
        part of a count that decides between equal ones."""
        tails = [law[:, law.shape[-1] // 2 :].sum(-1) for law, _ in self._registers(bits)]
        flipped = torch.tensor([flip for _, flip in self.thresholds], device=bits.spin.device)
        p = torch.stack(tails, 1).clamp(0, 1)
        p = torch.where(flipped, 1 - p, p).to(bits.spin)
        shots = self.hardware.shots
        if shots is not None:
            draws = self.generator()
            count = torch.binomial(torch.full_like(p, shots), p, generator=draws)
            part = torch.rand(p.shape, generator=draws, device=p.device)
            p = (count + 0.499 + 0.002 * part) / (shots + 1)
        return Bits.from_probability(p)

    def _registers(self, bits: Bits) -> Iterator[tuple[Tensor, int]]:
        """Yield the law of what is read of each register, (B, 2^t), and its offset c."""
        r = (1 + self.layer.pair_means(bits).double()) / 2
        d = self.layer.eigenvalues()
        for j, (kappa, _) in enumerate(self.thresholds):
            total = self.layer.fan_in if d is None else math.ceil(float(d[j].detach().sum()))
            num_wires, offset = counting_wires(total, kappa)
            if d is None:
                rows = poisson_binomial.pmf(r[:, j].detach().cpu().numpy())
                law = r.new_zeros(len(rows), 2**num_wires)
                law[:, offset : offset + rows.shape[1]] = torch.from_numpy(rows).to(r)
            else:
                weights = d[j].detach().double().flatten().expand(len(r), -1)
                law = register_law(r[:, j], weights, num_wires, offset).clamp_min(0)
            yield misread_register(law, self.hardware.readout), offset

    def _drawn(self, law: Tensor, shots: int) -> Tensor:
        """Return the mean of so many values drawn from each law."""
        total = torch.zeros(len(law), dtype=law.dtype, device=law.device)
        for start in range(0, shots, CHUNK):
            size = min(CHUNK, shots - start)
            draws = torch.multinomial(law, size, replacement=True, generator=self.generator())
            total += draws.to(law).sum(-1)
        return total / shots


def misread_register(law: Tensor, readout: float) -> Tensor:
    """Return the law of a register, (…, 2^t), each of whose bits is flipped with a probability.

    >>> misread_register(torch.tensor([1.0, 0.0, 0.0, 0.0]), 0.25)
    tensor([0.5625, 0.1875, 0.1875, 0.0625])
    """
    size = law.shape[-1]
    step = 1
    while readout and step < size:
        bits = law.reshape(*law.shape[:-1], -1, 2, step)
        law = ((1 - readout) * bits + readout * bits.flip(-2)).reshape(law.shape)
        step *= 2
    return law


def thresholds(block: Block) -> list[tuple[int, bool]]:
    """Return (κ, flipped) of every output of a block in evaluation mode."""
    width = block.placed.stage.width
    kappa, flipped = (part.flatten().expand(width) for part in firing_counts(folded(block)))
    return list(zip(kappa.tolist(), flipped.tolist(), strict=True))
