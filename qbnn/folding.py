"""Normalisations of trained networks as they enter thresholds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from qbnn.models import Block
from qbnn.states import Moments


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
