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


def weight_rows(layer: Layer) -> NDArray[np.float64]:
    """Return the weights as (outputs, fan-in)."""
    return layer.weight.detach().flatten(1).double().numpy()


def unfolded(layer: Layer, inputs: Tensor) -> Tensor:
    """Return what each output reads, (groups, places, fan-in), of a batch of inputs."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1])
    groups = layer.groups
    if layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0):
        rows = inputs.movedim(1, -1).reshape(-1, groups, inputs.shape[1] // groups)
        return rows.transpose(0, 1)
    options: Any = {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
    }
    patches = F.unfold(inputs, **options)
    batch, width, places = patches.shape
    split = patches.view(batch, groups, width // groups, places)
    return split.permute(1, 0, 3, 2).reshape(groups, batch * places, width // groups)


@torch.no_grad()
def moments(layer: Layer, inputs: Tensor, floats: Tensor | None = None) -> InputMoments:
    """Return the moments of a batch of inputs, and of the float network's beside them.

    Products are of float32, sums over batches of float64.
    """
    rows = unfolded(layer, inputs)
    beside = rows if floats is None else unfolded(layer, floats)
    turned = rows.transpose(1, 2)
    second = torch.matmul(turned, rows)
    cross = second if floats is None else torch.matmul(turned, beside)
    count = rows.shape[1]
    sums = second, rows.sum(1), cross, beside.sum(1)
    arrays = [part.double().numpy() / count for part in sums]
    return InputMoments(arrays[0], arrays[1], arrays[2], arrays[3], count)
