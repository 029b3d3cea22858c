"""Normalisations of trained networks as they enter thresholds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qbnn.emulation import z_score
from qbnn.states import Moments

if TYPE_CHECKING:
    from qbnn.models import Block


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode, and as it was afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def folded(block: Block) -> Moments:
    """Return the ``scale``, ``shift`` and ``total`` with which the neurons of a block fire.

    They have the shape (out, 1, …) or are numbers; mean and variance are blank. The block is in
    evaluation mode.
    """
    stage = block.placed.stage
    shape = (stage.width, 1, 1) if stage.kernel else (stage.width,)
    eigenvalues = block.layer.eigenvalues()
    total: Any = float(block.layer.fan_in)
    if eigenvalues is not None:
        total = eigenvalues.detach().flatten(1).sum(1).reshape(shape)
    blank = torch.zeros(1, *shape, device=block.layer.latent.device)
    found: Moments = block.norm(Moments(blank, blank, total))
    return found


def z_line(moments: Moments, *, lattice: bool) -> tuple[Tensor, Tensor]:
    """Return (f, g) with z = (f·E[a] + g)/σ_a, for :func:`folded` moments.

    They are :func:`qbnn.emulation.z_score` at two means, in float64; so there is one definition.
    """
    at = moments._replace(
        variance=torch.ones_like(moments.mean, dtype=torch.float64),
        scale=None if moments.scale is None else moments.scale.double(),
        shift=None if moments.shift is None else moments.shift.double(),
    )
    zero, one = (
        z_score(at._replace(mean=value), lattice=lattice)
        for value in (torch.zeros_like(at.variance), torch.ones_like(at.variance))
    )
    return one - zero, zero
