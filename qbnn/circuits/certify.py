"""A certificate that a trained network's neurons are what their circuits do.

Neurons are drawn from every layer, with the activations that an image gives them. For each, the
network's own emulation (α, β and γ, the exact law, the normalisation in the threshold) is compared
with the circuit that is built from the gates. A state vector holds few pairs, so there some of a
neuron's inputs are drawn and its threshold moves in proportion; the whole neuron is then compared
with its circuit on ``qbnn.emulator``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pennylane as qml
import torch
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import DeviceError
from torch import Tensor

from anneal.errors import InputError
from qbnn.circuits.certificate import Certificate, Check
from qbnn.circuits.neurons import neuron_qnode, open_device
from qbnn.circuits.protocols import layer_qnode, marginals
from qbnn.device.blocks import NAME as EMULATOR
from qbnn.emulation import exact_tail, register_law
from qbnn.hardware.resources import stage_names
from qbnn.models import Block, Network
from qbnn.neuron import Neuron
from qbnn.states import Bits

# How devices run a circuit; others are named as they are.
PATHS = {
    "default.qubit": "state vector",
    "lightning.qubit": "state vector",
    "default.mixed": "density matrix",
    "default.tensor": "tensor network",
}
# Families whose neurons agree under every protocol (docs/mathematics.md).
COMMUTING = ("none", "w-local")
SEQUENCE_PAIRS = 2
# Amplitudes, as a power of two, that a device may hold: with those kept for a gradient, some GB.
REACH = 22
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Case:
    """A neuron of a network in float64, and what its layer reads of one image."""

    network: Network
    layer: int
    index: int
    image: int
    position: int
    bits: Bits

    @property
    def block(self) -> Block:
        """The neuron's block."""
        block = self.network.blocks[self.layer]
        assert isinstance(block, Block)
        return block

    def window(self, chosen: Sequence[int], bits: Bits) -> Bits:
        """Return the chosen inputs of the neuron, from all that the layer reads."""
        windows = self.block.layer.windows(bits)
        return Bits(*(part.flatten(0, -2)[self.position, list(chosen)] for part in windows))

    def means(self, chosen: Sequence[int], bits: Bits) -> Tensor:
        """Return m = α + βφ + γχ of the chosen inputs, as the layer emulates it."""
        window, layer = self.window(chosen, bits), self.block.layer
        m = torch.zeros_like(window.spin)
        features = (torch.ones_like(m), *window)
        for weight, feature in zip(layer.coefficients(), features, strict=True):
            if weight is not None:
                own = weight.expand_as(layer.latent)[self.index].flatten()[list(chosen)]
                m = m + own * feature
        return m

    def neuron(self, chosen: Sequence[int]) -> Neuron:
        """Return the neuron as a circuit has it, of the chosen inputs."""
        whole = self.network.neuron(self.layer, self.index)
        return whole if len(chosen) == whole.fan_in else whole.subset(chosen)


def certify(
    network: Network,
    images: Tensor,
    *,
    num_neurons: int = 2,
    fan_in: int = 6,
    device: str = "default.qubit",
    seed: int = 0,
    tolerance: float = 1e-12,
    gradient_tolerance: float = 1e-10,
    progress: Progress = lambda fraction, remark: None,
) -> Certificate:
    """Compare ``num_neurons`` of every layer with their circuits on activations of ``images``.

    ``device`` runs circuits of up to ``fan_in`` pairs, with a register and with one counting wire
    that is read again and again; ``qbnn.emulator`` runs the whole neurons. Gradients are compared
    where the device has backpropagation (``default.mixed`` of PennyLane 0.45 gives NaN). Where
    deformed counts commute two neurons are also read one after the other, by both sequential
    protocols. Everything is in float64. Raises :class:`~anneal.errors.InputError` for a network
    without circuits and for more pairs than a device can hold.

    >>> from qbnn.config import Config
    >>> network = Network(Config(architecture="SM2", in_shape=(1, 2, 2), family="real4")).eval()
    >>> certify(network, torch.rand(1, 1, 2, 2)).agrees
    True
    """
    check_reach(num_neurons, fan_in, device)
    if not len(images):
        raise InputError("there are no images to take activations from")
    rng = np.random.default_rng(seed)
    cases = list(draw_cases(in_double(network), images.double(), num_neurons, seed=seed, rng=rng))
    checks: list[Check] = []
    within = (tolerance, gradient_tolerance)
    for place, case in enumerate(cases):
        progress(place / len(cases), f"layer {case.layer + 1} of {len(network.blocks)}")
        size = case.block.layer.fan_in
        some = sorted(rng.permutation(size)[:fan_in].tolist())
        checks.append(compare(case, some, device, counter="register", within=within))
        checks.append(compare(case, some, device, counter="iterative", within=within))
        checks.append(compare(case, range(size), EMULATOR, counter="register", within=within))
        if network.config.family in COMMUTING and device != "default.mixed":
            checks += compare_protocols(case, some[:SEQUENCE_PAIRS], device, tolerance=tolerance)
    return Certificate(tuple(checks), tolerance, gradient_tolerance, device, seed)


def check_reach(num_neurons: int, fan_in: int, device: str) -> None:
    """Raise :class:`~anneal.errors.InputError` for what makes no certificate."""
    if num_neurons < 1 or fan_in < 1:
        raise InputError("num_neurons and fan_in must be at least 1")
    if device == EMULATOR:
        raise InputError(f"'{EMULATOR}' emulates; the certificate wants a device that does not")
    try:
        open_device(device, 1)
    except DeviceError as error:
        raise InputError(f"no device '{device}': {error}") from error
    # The register of a neuron of any threshold, which the iterative counter fills bit by bit.
    num_wires = 2 * fan_in + 1 + fan_in.bit_length() + 1
    size = num_wires * (2 if device == "default.mixed" else 1)
    if size > REACH:
        raise InputError(
            f"fan_in {fan_in} takes {num_wires} wires on {device}, 2^{size} amplitudes; "
            f"at most 2^{REACH} are reasonable"
        )


def in_double(network: Network) -> Network:
    """Return a copy of a network in float64, in evaluation mode, all of it trainable."""
    copy = Network(network.config).double()
    copy.load_state_dict(network.state_dict())
    return copy.requires_grad_().eval()


@torch.no_grad()
def draw_cases(
    network: Network, images: Tensor, num_neurons: int, *, seed: int, rng: np.random.Generator
) -> Iterator[Case]:
    """Yield different neurons of every layer that is a circuit, each at a place of some image."""
    network.reseed(seed)
    first = 1 if network.config.input == "real" else 0
    if first == len(network.blocks) or not isinstance(network.blocks[0], Block):
        raise InputError("no layer of the network reads probabilistic bits: there are no circuits")
    for layer, bits in enumerate(network.hidden(images)):
        if layer < first:
            continue
        block = network.blocks[layer]
        assert isinstance(block, Block)
        for index in rng.permutation(block.placed.stage.width)[:num_neurons].tolist():
            image = int(rng.integers(len(images)))
            own = Bits(*(part[image : image + 1] for part in bits))
            places = block.layer.windows(own).spin.flatten(0, -2)
            yield Case(network, layer, index, image, int(rng.integers(len(places))), own)


def compare(
    case: Case, chosen: Sequence[int], device: str, *, counter: str, within: tuple[float, float]
) -> Check:
    """Compare the circuit of a neuron, of the chosen inputs, with its emulation."""
    angles = torch.atan2(case.bits.coherence, -case.bits.spin).requires_grad_()
    bits = Bits(-torch.cos(angles), torch.sin(angles))
    neuron, window = case.neuron(chosen), case.window(chosen, bits)
    expected = emulated(neuron, case.means(chosen, bits))
    whole = device == EMULATOR
    found, path, differentiable = executed(neuron, window, device, counter=counter)
    gradient = law = None
    if differentiable:
        leaves = [angles, *case.block.layer.parameters()]
        gradient = gradient_difference(found, expected, leaves)
    found, expected = found.detach(), expected.detach()
    difference = largest([found - expected])
    if whole:
        moments, law = own_law(case, neuron, float(expected[0]))
        difference = largest([found - expected, moments])
    agrees = difference <= within[0] and (gradient is None or gradient <= within[1])
    agrees = agrees and path != "none" and (path == "emulated") == whole
    return Check(
        **_where(case),
        pairs=len(chosen),
        circuit=counter,
        path=path,
        value=float(found[0]),
        difference=difference,
        gradient_difference=gradient,
        agrees=agrees,
        law_difference=law,
    )


def emulated(neuron: Neuron, means: Tensor) -> Tensor:
    """Return P(fires) and after it P(K = k), k = 0 … 2^t − 1, from the means of the pairs."""
    r, d = (1 + means) / 2, neuron.eigenvalues
    num_wires, offset = neuron.counting_wires
    law = register_law(r, torch.ones_like(r) if d is None else d, num_wires, offset)
    kappa = torch.tensor(neuron.kappa)
    fires = law[len(law) // 2 :].sum() if d is not None else exact_tail(r, kappa)
    return torch.cat([(1 - fires if neuron.flipped else fires)[None], torch.roll(law, -offset)])


def executed(
    neuron: Neuron, window: Bits, device: str, *, counter: str
) -> tuple[Tensor, str, bool]:
    """Return what a circuit measures, as :func:`emulated`, its path, and whether it can be
    differentiated."""
    opened = open_device(device, 2 * neuron.fan_in + 1 + neuron.counting_wires[0])
    backprop = ExecutionConfig(gradient_method="backprop")
    usable = counter != "iterative" and opened.name != "default.mixed"
    usable = usable and bool(opened.supports_derivatives(backprop))
    if not usable:
        neuron, window = detached(neuron), Bits(*(part.detach() for part in window))
    parts = []
    paths = set()
    for measure in ("probability", "count"):
        qnode = neuron_qnode(neuron, window, opened, measure=measure, counter=counter)
        with qml.Tracker(opened) as tracker:
            parts.append(torch.as_tensor(qnode()).double().reshape(-1))
        paths.add(path_of(opened, tracker))
    return torch.cat(parts), " and ".join(sorted(paths)), usable


def detached(neuron: Neuron) -> Neuron:
    """Return a neuron without the graph of its gradients, which some devices warn of."""
    d = neuron.eigenvalues
    return replace(
        neuron,
        weight=Bits(*(part.detach() for part in neuron.weight)),
        gates=neuron.gates.detach(),
        eigenvalues=None if d is None else d.detach(),
    )


def path_of(device: Any, tracker: Any) -> str:
    """Return how a device ran what its tracker saw: ``none`` where it ran nothing."""
    if not tracker.totals.get("executions"):
        return "none"
    if "path" in tracker.history:
        return " and ".join(sorted(set(tracker.history["path"])))
    return PATHS.get(device.name, str(device.name))


def gradient_difference(found: Tensor, expected: Tensor, leaves: Sequence[Tensor]) -> float:
    """Return the greatest difference of two gradients: of P(fires), and of a sum of all counts
    with weights that differ."""
    weights = torch.linspace(-1, 1, len(found) - 1, dtype=found.dtype)
    differences = []
    parts: list[Callable[[Tensor], Tensor]] = [lambda p: p[0], lambda p: (weights * p[1:]).sum()]
    for part in parts:
        gradients = [
            torch.autograd.grad(
                part(p), leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for p in (found, expected)
        ]
        differences += [left - right for left, right in zip(*gradients, strict=True)]
    return largest(differences)


def largest(differences: Iterable[Tensor]) -> float:
    """Return the greatest magnitude in tensors, NaN where there is one."""
    flat = torch.cat([difference.flatten() for difference in differences])
    return float(flat.abs().max())


@torch.no_grad()
def own_law(case: Case, neuron: Neuron, exact: float) -> tuple[Tensor, float]:
    """Return how far a layer's moments, divided by N, are from those of the gates, (2,), and how
    far the law that the network uses is from the exact probability."""
    block, config = case.block, case.network.config
    d = torch.ones_like(neuron.weight.spin) if neuron.eigenvalues is None else neuron.eigenvalues
    m = neuron.pair_means(case.window(range(neuron.fan_in), case.bits))
    moments = block.moments(case.bits)
    wanted = torch.stack([(d * m).sum(), (d.square() * (1 - m.square())).sum()])
    found = torch.stack([_at(case, part) for part in (moments.mean, moments.variance)])
    fired = block.layer.fires(case.bits, moments, config.law, lattice=True)
    off = abs(float(_at(case, fired.probability)) - exact)
    return (found - wanted) / neuron.fan_in, off


@torch.no_grad()
def compare_protocols(
    case: Case, chosen: Sequence[int], device: str, *, tolerance: float
) -> Iterator[Check]:
    """Yield the comparison of a neuron and the next, read one after the other, for both
    sequential protocols."""
    width = case.block.placed.stage.width
    cases = [case, replace(case, index=(case.index + 1) % width)]
    neurons = [each.neuron(chosen) for each in cases]
    means = [each.means(chosen, case.bits) for each in cases]
    expected = torch.stack([emulated(*pair)[0] for pair in zip(neurons, means, strict=True)])
    for protocol in ("sequential-bit", "sequential-count"):
        qnode = layer_qnode(
            neurons, case.window(chosen, case.bits), device, protocol=protocol, reuse=False
        )
        with qml.Tracker(qnode.device) as tracker:
            found = marginals(torch.as_tensor(qnode()).double())
        difference, path = largest([found - expected]), path_of(qnode.device, tracker)
        yield Check(
            **_where(case),
            pairs=len(chosen),
            circuit=protocol,
            path=path,
            value=float(found[0]),
            difference=difference,
            gradient_difference=None,
            agrees=difference <= tolerance and path != "none",
        )


def _where(case: Case) -> dict[str, Any]:
    return {
        "stage": stage_names(case.network.config)[case.layer],
        "layer": case.layer,
        "neuron": case.index,
        "position": case.position,
        "image": case.image,
        "fan_in": case.block.layer.fan_in,
    }


def _at(case: Case, values: Tensor) -> Tensor:
    """Return a layer's value at the neuron and its position."""
    return values[0, case.index].flatten()[case.position]
