"""Trained networks compiled into what runs without torch.

Undeformed networks become packed bits: the most probable ones, ternary ones, or an ensemble of
drawn ones (PBNet, arXiv:1809.03368, §4). Deformed ones have no deterministic binary twin: their
pairs agree with a probability, and they become tables of these (docs/mathematics.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.registry import unknown
from qbnn.binarised import CERTAIN, Binarised, Counting, as_bits, binarised, with_certain_weights
from qbnn.binary import BinaryLayer
from qbnn.config import SIGN, Config, make_config
from qbnn.data import Split
from qbnn.deformation import Scaled
from qbnn.deploy.packed_layers import PackedLayer
from qbnn.deploy.packing import PackedEnsemble, PackedNetwork
from qbnn.deploy.table_export import is_deformed, table_of
from qbnn.deploy.xnor_table import TableNetwork
from qbnn.folding import evaluating
from qbnn.kernels.packed import pack
from qbnn.models import Block, Network, Placed, SignBlock, place_stages
from qbnn.training.evaluate import reestimate

KINDS = ("auto", "bits", "ternary", "ensemble", "table")
NUM_MEMBERS = 16
# A ternary weight is there where one of its two values is at least so probable.
SURE = 0.75


class TwinEnsemble(nn.Module):
    """Twins whose probabilities are averaged; the logits are the logarithms of the means."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return log probabilities, (batch, classes)."""
        each = torch.stack([member(images).log_softmax(1) for member in self.members])
        return torch.logsumexp(each, 0) - math.log(len(each))


def compile_network(
    network: Network,
    *,
    kind: str = "auto",
    split: Split | None = None,
    num_members: int = NUM_MEMBERS,
    weights: str = "qubit",
    seed: int = 0,
) -> PackedNetwork | PackedEnsemble | TableNetwork:
    """Return a network compiled; ``auto`` is ``table`` where it is deformed, else ``bits``.

    ``table`` is :func:`qbnn.deploy.table_export.table_of`, with ``weights``; the other
    kinds are those of :func:`make_twin`, packed. Raises :class:`~anneal.errors.InputError` for a
    kind that the network cannot become, and why.

    >>> import numpy as np
    >>> network = Network(Config(architecture="SM10", in_shape=(1, 8, 8)))
    >>> compile_network(network).logits(np.zeros((2, 1, 8, 8))).shape
    (2, 10)
    """
    kind = choose_kind(network, kind)
    if kind == "table":
        return table_of(network, weights=weights)
    return pack_twin(make_twin(network, kind, split=split, num_members=num_members, seed=seed))


def choose_kind(network: Network, kind: str) -> str:
    """Return the kind that ``auto`` stands for, or the kind itself.

    Raises :class:`~anneal.errors.InputError` where there is no such kind, or not for the network.
    """
    if kind not in KINDS:
        raise unknown(kind, KINDS, kind="kind")
    family, deformed = network.config.family, is_deformed(network)
    if kind == "auto":
        return "table" if deformed else "bits"
    if deformed and kind != "table":
        raise InputError(
            f"kind '{kind}' needs pairs that agree for certain, but in the family '{family}' they "
            "agree with a probability, and it has no deterministic binary twin: kind 'table'"
        )
    if family == SIGN and kind != "bits":
        raise InputError(
            f"kind '{kind}' needs weights with a probability; the family 'sign' has signs alone: "
            "kind 'bits'"
        )
    return kind


def make_twin(
    network: Network,
    kind: str,
    *,
    split: Split | None = None,
    num_members: int = NUM_MEMBERS,
    seed: int = 0,
) -> nn.Module:
    """Return, in torch, what the packed bits of an undeformed network compute.

    ``bits``: the most probable weights; with ``split`` normalisations are first estimated anew on
    its images. ``ternary``: weights of which a value is likelier than ¾, the others 0 (but none of
    a first layer that reads numbers). ``ensemble``: the most probable weights and
    ``num_members`` − 1 draws of them. Both of these are others than what was trained, and need the
    ``split``.
    """
    if kind == "bits":
        return network if network.config.family == SIGN else binarised(network, split=split)
    if split is None:
        raise InputError(f"kind '{kind}' estimates normalisations anew and needs a split of images")
    if kind == "ternary":
        return _ternary(network, split)
    if num_members < 1:
        raise InputError(f"num_members must be at least 1, not {num_members}")
    generator = torch.Generator().manual_seed(seed)
    drawn = [_drawn(network, split, generator) for _ in range(num_members - 1)]
    return TwinEnsemble([binarised(network, split=split), *drawn])


def pack_twin(twin: nn.Module) -> PackedNetwork | PackedEnsemble:
    """Return the packed bits of a twin.

    Counts and fired bits are the twin's, every tie included, and logits are a′ rounded once; sums
    of real inputs are exact here and rounded there.
    """
    if isinstance(twin, TwinEnsemble):
        members = [cast(PackedNetwork, pack_twin(member)) for member in twin.members]
        return PackedEnsemble(tuple(members))
    assert isinstance(twin, Binarised | Network)
    config = twin.config
    with torch.no_grad(), evaluating(twin):
        layers = _pack_layers(twin.layers if isinstance(twin, Binarised) else twin.blocks, config)
    real = config.input == "real" or config.family == SIGN
    return PackedNetwork(layers, config.in_shape, real)


def _drawn(network: Network, split: Split, generator: torch.Generator) -> Binarised:
    """Return the twin of weights drawn from their probabilities."""
    certain = with_certain_weights(network)
    with torch.no_grad():
        for block, original in zip(certain.blocks, network.blocks, strict=True):
            layer = cast(Block, block).layer
            spin = cast(Block, original).layer.coefficients().beta.cpu()
            uniform = torch.rand(spin.shape, generator=generator)
            layer.latent.copy_(torch.where(uniform < (1 + spin) / 2, CERTAIN, -CERTAIN))
    reestimate(certain, _as_read(split, network.config))
    return Binarised(certain)


def _ternary(network: Network, split: Split) -> Binarised:
    """Return the twin of the weights −1, 0 and 1: pairs of weight 0 are scaled by 0."""
    certain = with_certain_weights(network)
    changes = {"family": "scaled", "share": "connection", "law": "clt-cc", "mode": "propagate"}
    scaled = Network(make_config(network.config.model_dump() | changes))
    scaled.load_state_dict(certain.state_dict(), strict=False)
    masks = []
    with torch.no_grad():
        for block, original in zip(scaled.blocks, network.blocks, strict=True):
            layer = cast(Block, block).layer
            spin = cast(Block, original).layer.coefficients().beta.cpu()
            present = spin.abs() >= 2 * SURE - 1
            if isinstance(layer.deformation, Scaled):
                layer.deformation.log_scale.copy_(torch.where(present, 0.0, -math.inf))
            else:
                present = torch.ones_like(present)
            masks.append(present)
    reestimate(scaled, _as_read(split, network.config))
    twin = Binarised(scaled)
    for counting, present in zip(cast(list[Counting], twin.layers), masks, strict=True):
        # Its counts are ⌊(a + N)/2⌋, those of the scaled layer (a + n)/2.
        absent = (~present).flatten(1).sum(1).view_as(counting.kappa)
        counting.kappa += absent // 2
        counting.weight *= present
    twin.soften(cast(Block, network.blocks[-1]))
    return twin


def _as_read(split: Split, config: Config) -> Split:
    return split if config.input == "real" else as_bits(split)


def _pack_layers(modules: nn.ModuleList, config: Config) -> tuple[PackedLayer, ...]:
    found: list[PackedLayer] = []
    for module, placed in zip(modules, place_stages(config), strict=True):
        follows = bool(found) and bool(found[-1].stage.kernel)
        head = len(found) == len(modules) - 1
        if isinstance(module, Counting):
            found.append(_pack_counting(module, placed, follows=follows, head=head))
        else:
            assert isinstance(module, SignBlock)
            real = not found
            found.append(_pack_signs(module, placed, follows=follows, head=head, real=real))
    return tuple(found)


def _pack_counting(layer: Counting, placed: Placed, *, follows: bool, head: bool) -> PackedLayer:
    if head or layer.real:
        decides = {"scale": layer.scale, "shift": layer.shift}
    else:
        decides = {"kappa": layer.kappa.int(), "flipped": layer.flipped}
    return _pack_layer(layer.weight, placed, decides, follows=follows, border=0.0)


def _pack_signs(
    block: SignBlock, placed: Placed, *, follows: bool, head: bool, real: bool
) -> PackedLayer:
    norm = cast(nn.BatchNorm2d, block.norm)
    assert norm.running_mean is not None and norm.running_var is not None
    if head or real:
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        decides = {"scale": scale, "shift": norm.bias - norm.running_mean * scale}
    else:
        decides = _counts_that_fire(block)
    weight = cast(BinaryLayer, block.layer).weight
    return _pack_layer(weight, placed, decides, follows=follows, border=-1.0)


def _counts_that_fire(block: SignBlock) -> dict[str, Tensor]:
    """Return κ and ``flipped`` of a normalisation by asking it about every count.

    So they are what its own rounding says.
    """
    fan_in, width = cast(BinaryLayer, block.layer).fan_in, block.placed.stage.width
    ones = (1, 1) if block.placed.stage.kernel else ()
    sums = torch.arange(-fan_in, fan_in + 1, 2.0).view(-1, 1, *ones).expand(-1, width, *ones)
    fired = (block.norm(sums) >= 0).sum(0).flatten()
    flipped = cast(Tensor, block.norm.weight) < 0
    return {"kappa": torch.where(flipped, fired, fan_in + 1 - fired).int(), "flipped": flipped}


def _pack_layer(
    weight: Tensor, placed: Placed, decides: dict[str, Tensor], *, follows: bool, border: float
) -> PackedLayer:
    """Return a layer of weights −1, 0 and 1; channels come last in what convolutions hand on."""
    stage, shape = placed
    if stage.kernel:
        weight = weight.permute(0, 2, 3, 1)
    elif follows:
        weight = weight.reshape(len(weight), *shape).permute(0, 2, 3, 1)
    rows = weight.reshape(len(weight), -1).numpy()
    absent = rows == 0
    return PackedLayer(
        stage,
        shape,
        pack(rows > 0),
        mask=pack(~absent) if absent.any() else None,
        border=border,
        **{name: value.detach().flatten().numpy() for name, value in decides.items()},
    )
