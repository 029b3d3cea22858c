"""Which neurons a command shows, and what they read: of a run by lot, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anneal.errors import InputError
from anneal.files import Pathlike
from qbnn.data import load
from qbnn.deformation import make_deformation
from qbnn.emulation import threshold_count
from qbnn.hardware.resources import stage_names
from qbnn.hardware.sequential import instruments, read
from qbnn.models import Block, Network
from qbnn.neuron import Neuron
from qbnn.states import Bits
from qbnn.training.checkpoints import load as load_network

# Inputs of a neuron that a drawing shows if nothing is said.
SHOWN_INPUTS = 3


def images_of(
    path: Path,
    extra: Mapping[str, Any],
    *,
    data: str | None,
    data_dir: Pathlike | None,
    network: Network,
) -> Tensor:
    """Return the test images of the set that a network was trained on, or of another one."""
    name = data or extra.get("data")
    if not isinstance(name, str):
        raise InputError("says not what it was trained on; name the set by --data", path=path)
    dataset = load(name, data_dir=data_dir)
    if dataset.in_shape != tuple(network.config.in_shape):
        raise InputError(
            f"the network reads images of shape {tuple(network.config.in_shape)}, "
            f"but '{name}' has {dataset.in_shape}"
        )
    return dataset.test.batch(torch.arange(len(dataset.test)))[0]


@dataclass(frozen=True)
class Chosen:
    """Neurons to draw: what they are called, what they read, and what of it was left out."""

    title: str
    neurons: list[Neuron]
    bits: Bits
    family: str
    fan_in: int
    activations: str

    @property
    def inputs(self) -> str:
        """How many of the inputs are there, said plainly."""
        shown = self.neurons[0].fan_in
        if shown == self.fan_in:
            return f"all {shown}"
        return f"{shown} of {self.fan_in}, drawn by lot; the threshold moved in proportion"

    def probabilities(self, protocol: str | None = None) -> list[float] | list[None]:
        """Return P(each neuron fires), emulated, by a protocol; None out of the reach of that."""
        if protocol in (None, "fresh"):
            return [float(neuron.probability(self.bits)) for neuron in self.neurons]
        try:
            found = instruments(self.neurons, protocol=str(protocol))
        except InputError:
            # What can be drawn need not be small enough to be emulated.
            return [None] * len(self.neurons)
        bits = Bits(*(part[None] for part in self.bits))
        values: list[float] = read(found, bits)[0].tolist()
        return values


def choose_neurons(
    run: Path | None,
    *,
    layer: int = 0,
    neuron: int = 0,
    inputs: str | None = None,
    image: int | None = None,
    family: str | None = None,
    num_neurons: int | None = None,
    protocol: str | None = None,
    whole: bool = False,
    data: str | None = None,
    data_dir: Pathlike | None = None,
    seed: int = 0,
) -> Chosen:
    """Return the neurons that the options of `qbnn circuit` mean.

    ``whole``: all inputs if ``inputs`` says nothing. Raises :class:`~anneal.errors.InputError` for
    options that exclude each other.
    """
    if num_neurons is not None and protocol is None:
        raise InputError("num-neurons wants a protocol, by which they follow each other")
    count = 1 if protocol is None else num_neurons or 2
    wanted = None if inputs == "all" or (inputs is None and whole) else _number(inputs)
    if run is None:
        if image is not None:
            raise InputError("image wants a RUN, whose activations it gives")
        size = SHOWN_INPUTS if wanted is None else wanted
        return random_neurons(family=family or "none", inputs=size, num_neurons=count, seed=seed)
    if family is not None:
        raise InputError("RUN has its own family; give one or the other")
    return neurons_of_run(
        run,
        layer=layer,
        neuron=neuron,
        num_neurons=count,
        inputs=wanted,
        image=image,
        data=data,
        data_dir=data_dir,
        seed=seed,
    )


def neurons_of_run(
    path: Path,
    *,
    layer: int = 0,
    neuron: int = 0,
    num_neurons: int = 1,
    inputs: int | None = SHOWN_INPUTS,
    image: int | None = None,
    data: str | None = None,
    data_dir: Pathlike | None = None,
    seed: int = 0,
) -> Chosen:
    """Return neurons of a run's network, from ``neuron`` on, with ``inputs`` of their inputs, by
    lot, or all.

    ``image``: which test image the activations are of; those of fair coins if None. Of a
    convolution the position in the middle is taken. Raises :class:`~anneal.errors.InputError`.
    """
    network, extra = load_network(path)
    network.requires_grad_(False)
    whole = [network.neuron(layer, neuron + place) for place in range(num_neurons)]
    fan_in = whole[0].fan_in
    if image is None:
        bits, activations = Bits.from_probability(torch.full((fan_in,), 0.5)), "fair coins"
    else:
        images = images_of(path, extra, data=data, data_dir=data_dir, network=network)
        if not 0 <= image < len(images):
            raise InputError(f"no image {image}; the test set has {len(images)}")
        bits = activations_of(network, layer, images[image : image + 1], seed=seed)
        activations = f"test image {image} of {data or extra.get('data')}"
    chosen = _some(fan_in, inputs, seed=seed)
    name = stage_names(network.config)[layer]
    numbers = f"neuron {neuron}" + (f" to {neuron + num_neurons - 1}" if num_neurons > 1 else "")
    return Chosen(
        title=f"{path}: layer {layer} ({name}), {numbers}",
        neurons=[one if len(chosen) == fan_in else one.subset(chosen) for one in whole],
        bits=Bits(*(part[chosen] for part in bits)),
        family=network.config.family,
        fan_in=fan_in,
        activations=activations,
    )


@torch.no_grad()
def activations_of(network: Network, layer: int, images: Tensor, *, seed: int) -> Bits:
    """Return what a neuron in the middle of a layer reads of one image, (N,)."""
    network.reseed(seed)
    block = network.blocks[layer]
    assert isinstance(block, Block)
    bits = list(network.hidden(images))[layer]
    windows = (part.flatten(0, -2) for part in block.layer.windows(bits))
    return Bits(*(part[len(part) // 2] for part in windows))


def random_neurons(
    *, family: str = "none", inputs: int = SHOWN_INPUTS, num_neurons: int = 1, seed: int = 0
) -> Chosen:
    """Return neurons with random weights, gates and activations.

    Raises :class:`~anneal.errors.InputError` for an unknown family and no input.
    """
    fan_in = inputs
    if fan_in < 1:
        raise InputError(f"a neuron has at least one input, not {fan_in}")
    generator = torch.Generator().manual_seed(seed)
    shape = (num_neurons, fan_in)
    with torch.no_grad():
        deformation = make_deformation(family, shape, init_std=1.0, generator=generator)
        gates, d = deformation.unitary().expand(*shape, 4, 4), deformation.eigenvalues()
    weights = Bits.from_probability(torch.rand(shape, generator=generator))
    neurons = [
        Neuron(
            Bits(*(part[place] for part in weights)),
            gates[place],
            threshold_count(fan_in if d is None else float(d[place].sum())),
            eigenvalues=None if d is None else d[place],
        )
        for place in range(num_neurons)
    ]
    bits = Bits.from_probability(torch.rand(fan_in, generator=generator))
    return Chosen(f"a neuron of family {family}", neurons, bits, family, fan_in, "random")


def _number(text: str | None) -> int:
    if text is None:
        return SHOWN_INPUTS
    if not text.isdigit():
        raise InputError(f"inputs must be a number, or all, not '{text}'")
    return int(text)


def _some(fan_in: int, inputs: int | None, *, seed: int) -> list[int]:
    """Return which inputs to take: all, or at most so many, by lot."""
    wanted = fan_in if inputs is None else inputs
    if wanted < 1:
        raise InputError(f"a neuron has at least one input, not {inputs}")
    return sorted(np.random.default_rng(seed).permutation(fan_in)[:wanted].tolist())
