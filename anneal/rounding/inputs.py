"""What a layer reads: its inputs unfolded to rows of the weights' length."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anneal.rounding.formulation import InputMoments
from anneal.rounding.tracing import Layer

ENOUGH = 4096  # places that are unfolded at once where each output has moments of its own
PLACES = 2  # as many for each weight of a row are unfolded at once, or more


def weight_rows(layer: Layer) -> NDArray[np.float64]:
    """Return the weights as (outputs, fan-in)."""
    return layer.weight.detach().flatten(1).double().numpy()


def unfolded(layer: Layer, inputs: Tensor) -> Tensor:
    """Return what each output reads, (groups, fan-in, places), of a batch of inputs."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1]).transpose(1, 2)
    if layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0):
        patches = inputs.flatten(2)
    else:
        options: Any = {
            "kernel_size": layer.kernel_size,
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
        }
        patches = F.unfold(inputs, **options)
    batch, width, places = patches.shape
    split = patches.view(batch, layer.groups, width // layer.groups, places)
    return split.permute(1, 2, 0, 3).reshape(layer.groups, -1, batch * places)


@torch.no_grad()
def moments(layer: Layer, inputs: Tensor, floats: Tensor | None = None) -> InputMoments:
    """Return the moments of a batch of inputs, and of the float network's beside them.

    Products are of float32, sums over batches of float64. So many images are unfolded at once that
    there are enough places for a product of matrices, and no more: the unfolded stay in the cache.
    """
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    fan_in, places = layer.weight[0].numel(), inputs[0, 0].numel()
    second, cross = (torch.zeros(groups, fan_in, fan_in) for _ in range(2))
    mean, float_mean = (torch.zeros(groups, fan_in) for _ in range(2))
    beside, count = inputs if floats is None else floats, 0
    step = len(inputs) if isinstance(layer, nn.Linear) else -(-PLACES * fan_in // places)
    for x, f in zip(inputs.split(step), beside.split(step), strict=True):
        rows = unfolded(layer, x)
        across = rows if floats is None else unfolded(layer, f)
        second.baddbmm_(rows, rows.transpose(1, 2))
        if floats is not None:
            cross.baddbmm_(rows, across.transpose(1, 2))
        mean += rows.sum(2)
        float_mean += across.sum(2)
        count += rows.shape[2]
    second = (second + second.transpose(1, 2)) / 2  # a product's halves round apart
    sums = second, mean, second if floats is None else cross, float_mean
    arrays = [part.double().numpy() / count for part in sums]
    return InputMoments(arrays[0], arrays[1], arrays[2], arrays[3], count)


@torch.no_grad()
def active_moments(
    layer: Layer, inputs: Tensor, floats: Tensor, ends: tuple[float, float]
) -> InputMoments:
    """Return moments for each output over the places where the float one lies within ``ends``.

    Beyond them the activation that follows is flat, and what the rounding does there is lost
    (AdaRound, eq. 25, to second order). As many groups as outputs; ``count`` of each.
    """
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    weights = layer.weight.flatten(1).view(groups, -1, layer.weight[0].numel())
    per, fan_in = weights.shape[1:]
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    second, cross = (torch.zeros(groups, per, fan_in, fan_in) for _ in range(2))
    mean, float_mean = (torch.zeros(groups, per, fan_in) for _ in range(2))
    count = torch.zeros(groups, per)
    places = 1 if isinstance(layer, nn.Linear) else inputs[0, 0].numel()
    step = -(-ENOUGH // places)
    for x, f in zip(inputs.split(step), floats.split(step), strict=True):
        rows, across = unfolded(layer, x), unfolded(layer, f)
        outputs = weights @ across + bias.view(groups, per, 1)
        active = ((outputs > ends[0]) & (outputs < ends[1])).to(rows)
        for number in range(per):
            masked = rows * active[:, number, None]
            second[:, number].baddbmm_(masked, rows.transpose(1, 2))
            cross[:, number].baddbmm_(masked, across.transpose(1, 2))
        mean += active @ rows.transpose(1, 2)
        float_mean += active @ across.transpose(1, 2)
        count += active.sum(2)
    second = (second + second.transpose(2, 3)) / 2
    sums = (part.double().flatten(0, 1).numpy() for part in (second, mean, cross, float_mean))
    counts = count.double().flatten().numpy()
    many = np.maximum(counts, 1)
    arrays = [part / many.reshape(-1, *[1] * (part.ndim - 1)) for part in sums]
    return InputMoments(arrays[0], arrays[1], arrays[2], arrays[3], counts)
