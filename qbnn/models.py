"""Networks of all three rungs: classical, probabilistic and quantum bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anneal.errors import InputError
from qbnn import fused
from qbnn.binary import BinaryConv2d, BinaryLinear
from qbnn.binary import sign as binary_sign
from qbnn.config import FREE, SIGN, Config, Stage
from qbnn.controls import FreeCoefficients
from qbnn.deformation import make_deformation
from qbnn.deformed import DeformedLayer
from qbnn.emulation import edgeworth_probability, firing_counts, z_score
from qbnn.folding import evaluating, folded
from qbnn.layers import DeformedConv2d, DeformedLinear
from qbnn.neuron import Neuron
from qbnn.states import Bits, Features, Moments
from qbnn.stochastic import (
    StochasticBatchNorm,
    affine_deviation,
    affine_mean,
    any_fires,
    draw,
    pick,
    pool,
    pool_index,
)

AnyInput = TypeVar("AnyInput", Bits, Tensor, Bits | Features | Tensor)


class Placed(NamedTuple):
    """A stage and the shape (channels, height, width) that it reads."""

    stage: Stage
    shape: tuple[int, int, int]


class Block(nn.Module):
    """A deformed layer, its normalisation and pooling: bits in, bits (or moments) out."""

    def __init__(self, placed: Placed, config: Config, *, generator: torch.Generator) -> None:
        super().__init__()
        self.placed = placed
        self.config = config
        self.layer = _make_layer(placed, config, generator=generator)
        self.norm = StochasticBatchNorm(placed.stage.width)

    def moments(self, inputs: Bits | Features | Tensor) -> Moments:
        """Return the normalised moments of bits, or of real values at the network's first layer."""
        if isinstance(inputs, Tensor):
            found: Moments = self.norm(self.layer.moments_of_values(inputs))
        else:
            found = self.norm(self.layer.moments(inputs, third=self._law(inputs) == "edgeworth"))
        return found

    def forward(
        self,
        inputs: Bits | Features | Tensor,
        *,
        generator: torch.Generator | None,
        reader: DeformedLayer | None = None,
    ) -> Bits | Features:
        """Return the bits handed on, (batch, width, …), pooled where the stage pools.

        ``reader``: the layer that reads them; while training it may get its features at once.
        """
        moments, law = self.moments(inputs), self._law(inputs)
        lattice = not self.training and not isinstance(inputs, Tensor)
        size, kind = self.placed.stage.pool, self.config.pool
        index = None
        if size > 1 and kind != "or":
            if law == "exact":
                index = pool_index(moments, size, kind, generator=generator)
            else:
                moments = pool(moments, size, kind, generator=generator)
        if reader is not None and self._smooth and fused.Activation.fits(moments):
            return reader.smooth_features(moments)
        bits = self.layer.fires(_as_bits(inputs), moments, law, lattice=lattice)
        if size > 1 and kind == "or":
            bits = any_fires(bits, size)
        elif index is not None:
            bits = Bits(*(pick(part, index) for part in bits))
        if self.config.mode == "sample":
            bits = draw(bits, generator=generator, relaxed=self.training)
        return bits

    @property
    def _smooth(self) -> bool:
        """Whether nothing but the normal law makes the bits, so that features will do."""
        config = self.config
        pooled = self.placed.stage.pool > 1 and config.pool == "or"
        normal = config.law in ("clt", "clt-cc") and config.mode != "sample"
        return self.training and normal and not pooled

    def _law(self, inputs: Bits | Features | Tensor) -> str:
        """Real inputs have no lattice: their law is the smooth one."""
        return "clt" if isinstance(inputs, Tensor) else self.config.law


class SignBlock(nn.Module):
    """The bottom rung: binary weights, integer pre-activations, batch norm, a sign."""

    def __init__(self, placed: Placed, config: Config, *, generator: torch.Generator) -> None:
        super().__init__()
        self.placed = placed
        self.config = config
        stage = placed.stage
        if stage.kernel:
            self.layer: nn.Module = BinaryConv2d(
                placed.shape[0],
                stage.width,
                stage.kernel,
                stride=stage.stride,
                padding=stage.padding,
                pseudo_gradient=config.pseudo_gradient,
                generator=generator,
            )
            self.norm: nn.Module = nn.BatchNorm2d(stage.width)
        else:
            self.layer = BinaryLinear(
                math.prod(placed.shape),
                stage.width,
                pseudo_gradient=config.pseudo_gradient,
                generator=generator,
            )
            self.norm = nn.BatchNorm1d(stage.width)

    def values(self, inputs: Tensor) -> Tensor:
        """Return normalised pre-activations of spins, or of real values at the first layer."""
        found: Tensor = self.norm(self.layer(inputs))
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """Return spins ±1, pooled where the stage pools."""
        values = self.values(inputs)
        if self.placed.stage.pool > 1:
            values = F.max_pool2d(values, self.placed.stage.pool)
        spins: Tensor = binary_sign(values, self.config.pseudo_gradient)
        return spins


class Network(nn.Module):
    """A network as its config says: images (batch, C, H, W) in [0, 1] to logits (batch, classes).

    The draws of a network come from its own generator: :meth:`reseed`.

    >>> config = Config(architecture="4C3-MP2-SM10", in_shape=(1, 8, 8), family="real4")
    >>> Network(config)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        cls = SignBlock if config.family == SIGN else Block
        self.blocks = nn.ModuleList(
            cls(placed, config, generator=generator) for placed in place_stages(config)
        )
        self.generator: torch.Generator | None = None
        self.reseed(config.seed)

    def reseed(self, seed: int) -> None:
        """Begin the network's draws anew, on the device where its weights are now."""
        device = next(self.parameters()).device
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits whose softmax are the class probabilities.

        ``ce``: E[a′]/√(1 + πσ²/8) of the head. ``bce``: log P(fires) − log P(not), so that the
        softmax is that of exactly one class firing.
        """
        self._check(images)
        if self.config.family == SIGN:
            return self._forward_signs(images)
        return self._head(*self._before_head(images))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of the head that the config names."""
        logits = self(images)
        if self.config.head == "ce" or self.config.family == SIGN:
            return F.cross_entropy(logits, labels)
        wanted = F.one_hot(labels, logits.shape[1]).to(logits)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def probabilities(self, images: Tensor, *, num_draws: int = 1) -> Tensor:
        """Return class probabilities, (batch, classes), averaged over draws of a sampled net."""
        return torch.stack([self(images).softmax(1) for _ in range(num_draws)]).mean(0)

    def hidden(self, images: Tensor) -> Iterator[Bits]:
        """Yield what each block reads, the images as bits first; not for the bottom rung."""
        inputs: Bits | Features | Tensor = self._input(images)
        for block in self.blocks:
            inputs = self._shaped(block, inputs)
            bits = _as_bits(inputs)
            assert isinstance(bits, Bits)
            yield bits
            if block is not self.blocks[-1]:
                inputs = block(inputs, generator=self.generator)

    def neuron(self, layer: int, index: int) -> Neuron:
        """Return output ``index`` of a layer for a circuit, its normalisation in the threshold.

        Raises :class:`~anneal.errors.InputError` where there is none, or the layer is no circuit:
        the bottom rung, the classical control, and a first layer of real inputs.
        """
        if not 0 <= layer < len(self.blocks):
            raise InputError(f"no layer {layer}; the network has {len(self.blocks)}")
        block = self.blocks[layer]
        if not isinstance(block, Block) or (layer == 0 and self.config.input == "real"):
            raise InputError("only layers that read probabilistic bits are circuits")
        if not 0 <= index < block.placed.stage.width:
            raise InputError(f"no neuron {index}; layer {layer} has {block.placed.stage.width}")
        with torch.no_grad(), evaluating(block.norm):
            kappa, flipped = (part.flatten()[index] for part in firing_counts(folded(block)))
        return block.layer.neuron(index, kappa=int(kappa), flipped=bool(flipped))

    def _before_head(self, images: Tensor) -> tuple[Block, Bits | Features | Tensor]:
        bits: Bits | Features | Tensor = self._input(images)
        for block, above in itertools.pairwise(self.blocks):
            read = self._shaped(block, bits)
            bits = block(read, generator=self.generator, reader=above.layer)
        head = self.blocks[-1]
        assert isinstance(head, Block)
        return head, self._shaped(head, bits)

    def _head(self, head: Block, bits: Bits | Features | Tensor) -> Tensor:
        moments = head.moments(bits)
        if self.config.head == "ce":
            if fused.fits(moments.mean):
                affine = *moments[:2], moments.scale, moments.shift
                logits: Tensor = fused.ProbitLogits.apply(*affine)  # type: ignore[no-untyped-call]
                return logits
            variance = affine_deviation(moments).square()
            return affine_mean(moments) / torch.sqrt(1 + math.pi / 8 * variance)
        law = "clt" if isinstance(bits, Tensor) else self.config.law
        lattice = not self.training and not isinstance(bits, Tensor)
        if law in ("clt", "clt-cc"):
            z = z_score(moments, lattice=lattice and law == "clt-cc")
            odds: Tensor = torch.special.log_ndtr(z) - torch.special.log_ndtr(-z)
            return odds
        if law == "edgeworth":
            return torch.logit(edgeworth_probability(moments, lattice=lattice), eps=1e-7)
        fired = head.layer.fires(_as_bits(bits), moments, law, lattice=lattice)
        return torch.logit(fired.probability, eps=1e-7)

    def _forward_signs(self, images: Tensor) -> Tensor:
        values = 2 * images - 1
        for block in self.blocks[:-1]:
            values = block(self._shaped(block, values))
        head = self.blocks[-1]
        assert isinstance(head, SignBlock)
        found: Tensor = head.values(self._shaped(head, values))
        return found

    def _input(self, images: Tensor) -> Bits | Tensor:
        if self.config.input == "real":
            return 2 * images - 1
        bits = Bits.from_probability(images)
        if self.config.mode == "sample":
            return draw(bits, generator=self.generator, relaxed=False)
        return bits

    def _shaped(self, block: nn.Module, inputs: AnyInput) -> AnyInput:
        """Flatten what a dense layer reads."""
        stage: Stage = block.placed.stage  # type: ignore[union-attr, assignment]
        return inputs if stage.kernel else inputs.flatten(1)

    def _check(self, images: Tensor) -> None:
        if images.dim() != 4 or tuple(images.shape[1:]) != tuple(self.config.in_shape):
            wanted = ", ".join(map(str, self.config.in_shape))
            raise InputError(
                f"the network reads images of shape (batch, {wanted}), "
                f"but was given {tuple(images.shape)}"
            )
        # Training reads what a data set has checked; a check under a compiler would end its graph.
        if self.training or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return
        ends = images.aminmax() if images.numel() else None
        if ends is not None and not (ends.min >= 0 and ends.max <= 1):
            raise InputError("pixels must be from 0 to 1, and none NaN")


def place_stages(config: Config) -> list[Placed]:
    """Return the stages with the shapes that they read.

    Raises :class:`~anneal.errors.InputError` where a kernel or a pool is larger than what is left.
    """
    shape, placed = tuple(config.in_shape), []
    for number, stage in enumerate(config.stages()):
        channels, height, width = shape
        placed.append(Placed(stage, (channels, height, width)))
        if stage.kernel:
            sizes = [
                ((side + 2 * stage.padding - stage.kernel) // stage.stride + 1) // stage.pool
                for side in (height, width)
            ]
            if min(sizes) < 1:
                raise InputError(
                    f"architecture '{config.architecture}': nothing is left of images of "
                    f"{config.in_shape[1]}×{config.in_shape[2]} after stage {number + 1}"
                )
            shape = (stage.width, *sizes)
        else:
            shape = (stage.width, 1, 1)
    return placed


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _make_layer(placed: Placed, config: Config, *, generator: torch.Generator) -> DeformedLayer:
    stage, shape = placed
    inputs = shape[0] if stage.kernel else math.prod(shape)
    kernel = (stage.kernel, stage.kernel) if stage.kernel else ()
    real = config.input == "real" and shape == tuple(config.in_shape)
    make = FreeCoefficients if config.family == FREE and not real else make_deformation
    named = {} if make is FreeCoefficients else {"family": "none" if real else config.family}
    deformation = make(
        weight_shape=(stage.width, inputs, *kernel),
        share=config.share,
        trainable=config.trainable,
        init_std=config.init_std,
        generator=generator,
        **named,
    )
    if not stage.kernel:
        return DeformedLinear(
            inputs, stage.width, deformation=deformation, law=config.law, generator=generator
        )
    return DeformedConv2d(
        inputs,
        stage.width,
        stage.kernel,
        stride=stage.stride,
        padding=stage.padding,
        deformation=deformation,
        law=config.law,
        generator=generator,
    )


def _as_bits(inputs: Bits | Features | Tensor) -> Bits | Features:
    return Bits(inputs, torch.zeros_like(inputs)) if isinstance(inputs, Tensor) else inputs
