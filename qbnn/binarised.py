"""The deterministic twin of an undeformed network: what its packed bits compute, in torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anneal.errors import InputError
from qbnn.binary import bits_to_spins, sign
from qbnn.config import SIGN
from qbnn.data import Split
from qbnn.emulation import VARIANCE_FLOOR, firing_counts
from qbnn.folding import evaluating, folded
from qbnn.models import Block, Network
from qbnn.training.evaluate import reestimate

# tanh of it is exactly 1 in float32.
CERTAIN = 20.0


class Counting(nn.Module):
    """A layer of weights ±1 with what decides about its counts: bits (or real values) to a′ ≥ 0.

    Of a layer that reads bits κ and ``flipped`` decide, of one that reads real values scale and
    shift, which the head has for its logits.
    """

    weight: Tensor
    scale: Tensor
    shift: Tensor
    kappa: Tensor
    flipped: Tensor

    def __init__(self, block: Block, *, real: bool) -> None:
        super().__init__()
        self.stage, self.real = block.placed.stage, real
        moments = folded(block)
        kappa, flipped = firing_counts(moments)
        values = {
            "weight": sign(block.layer.latent.detach()),
            "scale": moments.scale,
            "shift": moments.shift,
            "kappa": kappa,
            "flipped": flipped,
        }
        for name, value in values.items():
            self.register_buffer(name, value)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the sums a = Σ w s over the spins of bits, or Σ w x over real values."""
        values = inputs if self.real else bits_to_spins(inputs)
        if not self.stage.kernel:
            return F.linear(values.flatten(1), self.weight)
        border = 0.0 if self.real else -1.0
        padded = F.pad(values, (self.stage.padding,) * 4, value=border)
        return F.conv2d(padded, self.weight, stride=self.stage.stride)

    def affine(self, sums: Tensor) -> Tensor:
        """Return a′ = scale·a + shift."""
        return torch.addcmul(self.shift, self.scale, sums)

    def fires(self, sums: Tensor) -> Tensor:
        """Return bits 0.0 and 1.0, pooled where the stage pools: a window fires iff any does."""
        if self.real:
            fired = self.affine(sums) >= 0
        else:
            counts = (sums.round().long() + self.weight[0].numel()) // 2
            fired = (counts >= self.kappa) ^ self.flipped
        bits = fired.to(sums)
        return F.max_pool2d(bits, self.stage.pool) if self.stage.pool > 1 else bits


class Binarised(nn.Module):
    """Weights ±1, bits 0 and 1, integer thresholds: images (batch, C, H, W) to logits.

    A pixel is the bit p ≥ ½ where the network reads Bernoulli pixels, and the number it is where
    it reads real ones. A neuron fires iff K ≥ κ (or iff not, where its normalisation is negative);
    a window's largest a′ fires iff one of its neurons does. Logits are the a′ of the head, by
    :func:`binarised` divided as :meth:`soften` says.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.config = network.config
        real = network.config.input == "real"
        with evaluating(network), torch.no_grad():
            self.layers = nn.ModuleList(
                Counting(block, real=real and place == 0)
                for place, block in enumerate(network.blocks)
                if isinstance(block, Block)
            )

    @torch.no_grad()
    def soften(self, head: Block) -> None:
        """Divide logits as the head of probabilistic weights does where it reads certain bits.

        Its σ² = Σ(1 − θ²) is the same for every image, but not for every class: trained with it,
        the classes could not be compared without. ``ce``: by √(1 + πσ′²/8); ``bce``: by σ′.
        """
        last = self.layers[-1]
        assert isinstance(last, Counting)
        beta = head.layer.coefficients().beta.to(last.scale.device)
        variance = (1 - beta.square()).sum(1).clamp_min(VARIANCE_FLOOR) * last.scale.square()
        by = 1 + math.pi / 8 * variance if self.config.head == "ce" else variance
        root = torch.where(by > 0, by, torch.ones_like(by)).sqrt()
        last.scale /= root
        last.shift /= root

    def hidden(self, images: Tensor) -> Iterator[Tensor]:
        """Yield what each layer reads: bits 0.0 and 1.0, or the real values 2x − 1 of images."""
        values = 2 * images - 1 if self.config.input == "real" else (images >= 0.5).to(images)
        for layer in self.layers:
            assert isinstance(layer, Counting)
            yield values
            values = layer.fires(layer(values))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        *_, values = self.hidden(images)
        head = self.layers[-1]
        assert isinstance(head, Counting)
        return head.affine(head(values))


def binarised(network: Network, *, split: Split | None = None) -> Binarised:
    """Return the twin with the most probable weights, sign(θ), and the most probable bits.

    With ``split`` the running statistics are first estimated anew on its images, for the twin's
    weights and bits. Raises :class:`~anneal.errors.InputError` for networks that have no
    deterministic twin: deformed ones; and for the family ``sign``, which is one.

    >>> from qbnn.config import Config
    >>> network = Network(Config(architecture="SM10", in_shape=(1, 8, 8)))
    >>> binarised(network)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    certain = with_certain_weights(network)
    if split is not None:
        reestimate(certain, as_bits(split) if network.config.input == "bernoulli" else split)
    twin = Binarised(certain)
    head = network.blocks[-1]
    assert isinstance(head, Block)
    twin.soften(head)
    return twin


@torch.no_grad()
def with_certain_weights(network: Network) -> Network:
    """Return a copy, on the CPU, whose weight bits are the most probable ones: θ = ±1 exactly."""
    if network.config.family == SIGN:
        raise InputError("a network of the family 'sign' is binary as it is")
    certain = Network(network.config)
    certain.load_state_dict(network.state_dict())
    for block in certain.blocks:
        assert isinstance(block, Block)
        layer = block.layer
        alpha, beta, gamma = layer.coefficients()
        if alpha is not None or gamma is not None or layer.eigenvalues() is not None:
            raise InputError(
                f"a network of the family '{network.config.family}' has no deterministic twin; "
                "it compiles to tables of probabilities"
            )
        layer.latent.copy_(CERTAIN * sign(beta))
        for angle in layer.deformation.parameters():
            # What the gates of w-local do to a weight is in β already.
            angle.zero_()
    return certain.eval()


def as_bits(split: Split) -> Split:
    """Return the split with every pixel as the bit p ≥ ½."""
    return replace(split, images=(split.images >= split.levels / 2).to(torch.uint8), levels=1)
