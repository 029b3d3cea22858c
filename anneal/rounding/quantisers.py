"""Grids of activations: one step for a whole tensor, as integer arithmetic wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from anneal.errors import InputError

RANGES = ("minmax", "mse", "percentile")
PERCENTILE = 0.9999
SHRINKS = torch.linspace(0.3, 1.0, 36)
MAX_VALUES = 1 << 20  # as many activations are looked at for the range of least error


class Quantiser(nn.Module):
    """Round activations to 2^bits levels from ``low`` to ``high``, zero among them."""

    scale: Tensor
    zero: Tensor

    def __init__(self, scale: float, zero: int, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("zero", torch.tensor(zero))

    @classmethod
    def over(cls, low: float, high: float, bits: int) -> Quantiser:
        """Return the grid over a range, widened to hold zero.

        Raises :class:`~anneal.errors.InputError` for bits not in 2 … 16 and a range not finite.

        >>> Quantiser.over(0.0, 1.0, 2)(torch.tensor([0.3, 0.9, 7.0]))
        tensor([0.3333, 1.0000, 1.0000])
        """
        if not 2 <= bits <= 16:
            raise InputError(f"bits of activations must be 2 … 16, are {bits}")
        low, high = min(low, 0.0), max(high, 0.0)
        if not -float("inf") < low <= high < float("inf"):
            raise InputError("an activation is not finite")
        scale = (high - low) / (2**bits - 1) or 1.0
        return cls(scale, round(-low / scale), bits)

    def forward(self, values: Tensor) -> Tensor:
        """Return the values at the nearest levels."""
        levels = torch.round(values / self.scale) + self.zero
        return (levels.clamp(0, 2**self.bits - 1) - self.zero) * self.scale


def range_of(batches: Sequence[Tensor], bits: int, kind: str) -> tuple[float, float]:
    """Return the range of activations for a grid: all of it, or the share that serves best.

    ``mse``: of 36 shares that with the least squared error; ``percentile``: the middle 99.99 %
    of what lies on either side of zero. Raises :class:`~anneal.errors.InputError` for an unknown
    kind.
    """
    if kind not in RANGES:
        raise InputError(f"unknown range '{kind}'; known: {', '.join(RANGES)}")
    low = min(float(batch.min()) for batch in batches)
    high = max(float(batch.max()) for batch in batches)
    if kind == "minmax" or not low < high:
        return low, high
    seen = torch.cat([_some(batch, MAX_VALUES // len(batches)) for batch in batches])
    if kind == "percentile":
        ordered = seen.sort().values
        top = ordered[int(PERCENTILE * (len(ordered) - 1))]
        bottom = ordered[int((1 - PERCENTILE) * (len(ordered) - 1))]
        return float(bottom), float(top)
    errors = []
    for share in SHRINKS.tolist():
        tried = Quantiser.over(share * low, share * high, bits)
        errors.append(float((tried(seen) - seen).square().sum()))
    share = float(SHRINKS[min(range(len(errors)), key=errors.__getitem__)])
    return share * low, share * high


def quantise_inputs(module: GraphModule, quantisers: Mapping[str, Quantiser]) -> None:
    """Put quantisers before the layers of these names."""
    for node in list(module.graph.nodes):
        if node.op != "call_module" or str(node.target) not in quantisers:
            continue
        name = f"{str(node.target).replace('.', '_')}_input"
        module.add_submodule(name, quantisers[str(node.target)])
        with module.graph.inserting_before(node):
            before = node.all_input_nodes[0]
            node.replace_input_with(before, module.graph.call_module(name, (before,)))
    module.recompile()


def _some(batch: Tensor, count: int) -> Tensor:
    """Return so many of a batch's values, drawn by a fixed seed.

    Every so-manieth would see but a few channels or places where its step goes into theirs.
    """
    flat = batch.flatten()
    if len(flat) <= count:
        return flat
    generator = torch.Generator().manual_seed(0)
    return flat[torch.randint(len(flat), (max(count, 1),), generator=generator)]
