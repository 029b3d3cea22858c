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
