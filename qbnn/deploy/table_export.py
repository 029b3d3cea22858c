"""Deformed networks as tables: how probably a pair agrees, for every weight and activation bit."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from anneal.errors import InputError
from qbnn.config import SIGN
from qbnn.deformation import Deformation
from qbnn.deformed import DeformedLayer
from qbnn.deploy.xnor_table import TableLayer, TableNetwork
from qbnn.emulation import firing_counts
from qbnn.folding import evaluating, folded
from qbnn.models import Block, Network

WEIGHTS = ("qubit", "map")


def is_deformed(network: Network) -> bool:
    """Return whether pairs agree with a probability even where both bits are certain."""
    if network.config.family == SIGN:
        return False
    for block in network.blocks:
        layer = cast(Block, block).layer
        alpha, _, gamma = layer.coefficients()
        if alpha is not None or gamma is not None or layer.eigenvalues() is not None:
            return True
    return False


def xnor_entries(layer: DeformedLayer) -> Tensor:
    r"""Return P(agree | w, h), (2, 2, \*weights): entry [w, h] of measured bits w and h.

    (1 + m)/2 with θ = 2w − 1, φ = 2h − 1 and no coherence. Raises
    :class:`~anneal.errors.InputError` for the classical control, whose weights are no bits.

    >>> from qbnn.layers import DeformedLinear
    >>> xnor_entries(DeformedLinear(1, 1)).flatten(1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    deformation = layer.deformation
    if not isinstance(deformation, Deformation):
        raise InputError("weights 'map' of the classical control are no bits: weights 'qubit'")
    seen = deformation.observable().expand(3, 3, *layer.latent.shape)
    rows = []
    for theta in (-1.0, 1.0):
        alpha, beta = seen[0, 0] + theta * seen[2, 0], seen[0, 2] + theta * seen[2, 2]
        rows.append(torch.stack([(1 + alpha - beta) / 2, (1 + alpha + beta) / 2]))
    return torch.stack(rows).clamp(0, 1)


def agreement_table(layer: DeformedLayer, weights: str) -> Tensor:
    r"""Return P(agree | h), (\*weights, 2), for activation bits h = 0 and 1.

    ``qubit``: the weight stays a qubit, r = (1 + α ± β)/2; ``map``: it is its likelier bit.
    """
    if weights == "map":
        chosen = (layer.latent >= 0).expand(1, 2, *layer.latent.shape).long()
        entries = xnor_entries(layer).gather(0, chosen)[0]
    else:
        alpha, beta, _ = layer.coefficients()
        beta = beta.expand_as(layer.latent)
        mean = 1 + (torch.zeros_like(beta) if alpha is None else alpha)
        entries = torch.stack([mean - beta, mean + beta]) / 2
    return entries.movedim(0, -1).clamp(0, 1)


@torch.no_grad()
def table_of(network: Network, *, weights: str = "qubit") -> TableNetwork:
    """Return the stochastic XNOR network: bits are drawn, and pairs agree as the tables say.

    It is the sampled evaluation of the network, whatever its mode; :func:`agreement_table` says
    what ``weights`` are. Raises :class:`~anneal.errors.InputError` for networks without such a
    table: the bottom rung, real inputs, and scaled counts, which are no integers.
    """
    config = network.config
    if weights not in WEIGHTS:
        raise InputError(f"unknown weights '{weights}'; known: {', '.join(WEIGHTS)}")
    if config.family == SIGN:
        raise InputError("the family 'sign' has no probabilities for a table: kind 'bits'")
    if config.input == "real":
        raise InputError("a first layer of real inputs counts no pairs, so it has no table")
    with evaluating(network):
        layers = tuple(_table_layer(cast(Block, block), weights) for block in network.blocks)
    return TableNetwork(layers, config.in_shape, pool=config.pool, head=config.head)


def _table_layer(block: Block, weights: str) -> TableLayer:
    layer = block.layer
    if layer.eigenvalues() is not None:
        raise InputError("the counts of family 'scaled' are no integers, so it has no table")
    moments = folded(block)
    assert moments.scale is not None and moments.shift is not None
    kappa, flipped = firing_counts(moments)
    table = agreement_table(layer, weights)
    return TableLayer(
        block.placed.stage,
        block.placed.shape,
        table=table.reshape(len(table), -1, 2).cpu().numpy(),
        kappa=kappa.flatten().int().cpu().numpy(),
        flipped=flipped.flatten().cpu().numpy(),
        scale=moments.scale.flatten().cpu().numpy(),
        shift=moments.shift.flatten().cpu().numpy(),
    )
