"""Deformed layers: dense ones, and convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anneal.errors import InputError
from qbnn import fused
from qbnn.deformed import DeformedLayer


class DeformedLinear(DeformedLayer):
    """A dense layer of deformed neurons: P(bit = 1) in, (batch, in), and out, (batch, out).

    >>> layer = DeformedLinear(4, 3, deformation="real4")
    >>> layer(torch.full((2, 4), 0.5)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        deformation: str | nn.Module = "none",
        share: str = "connection",
        trainable: bool = True,
        init_std: float = 0.0,
        law: str = "clt-cc",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            (out_features, in_features),
            deformation=deformation,
            share=share,
            trainable=trainable,
            init_std=init_std,
            law=law,
            generator=generator,
        )

    @property
    def _window(self) -> tuple[int, int, int]:
        return 1, 1, 0

    def _mix(
        self, features: Tensor, weights: Tensor, bias: Tensor | None = None, *, padded: bool = False
    ) -> Tensor:
        return F.linear(features, weights, bias)

    def _patches(self, values: Tensor) -> Tensor:
        return values[:, None]

    def _pad_with(self, values: Tensor, value: float) -> Tensor:
        return values

    def _check(self, values: Tensor) -> None:
        if values.dim() != 2 or values.shape[1] != self.latent.shape[1]:
            raise InputError(
                f"a dense layer wants an input of shape (batch, {self.latent.shape[1]}), "
                f"but has {tuple(values.shape)}"
            )


class DeformedConv2d(DeformedLayer):
    """A convolution of deformed neurons: P(bit = 1) in, (batch, in, height, width), and out.

    Border rule: ``padding`` adds pixels that are the bit 0 for certain (spin −1, no coherence).
    They count like any other, so the fan-in N = in · kernel² and the threshold hold everywhere.

    >>> DeformedConv2d(1, 2, 3, stride=2)(torch.full((1, 1, 5, 5), 0.5)).shape
    torch.Size([1, 2, 2, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        deformation: str | nn.Module = "none",
        share: str = "connection",
        trainable: bool = True,
        init_std: float = 0.0,
        law: str = "clt-cc",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            (out_channels, in_channels, kernel_size, kernel_size),
            deformation=deformation,
            share=share,
            trainable=trainable,
            init_std=init_std,
            law=law,
            generator=generator,
        )
        self.stride = stride
        self.padding = padding
        self.border = 1.0 if padding else 0.0

    @property
    def _window(self) -> tuple[int, int, int]:
        return self.latent.shape[-1], self.stride, self.padding

    def _mix(
        self, features: Tensor, weights: Tensor, bias: Tensor | None = None, *, padded: bool = False
    ) -> Tensor:
        padding = 0 if padded else self.padding
        features, weights = fused.channels_last(features), fused.channels_last(weights)
        return F.conv2d(features, weights, bias, stride=self.stride, padding=padding)

    def _patches(self, values: Tensor) -> Tensor:
        size = self.latent.shape[-1]
        windows = values.unfold(2, size, self.stride).unfold(3, size, self.stride)
        return windows.permute(0, 2, 3, 1, 4, 5).flatten(3)[:, None]

    def _pad_with(self, values: Tensor, value: float) -> Tensor:
        return F.pad(values, [self.padding] * 4, value=value) if self.padding else values

    def _check(self, values: Tensor) -> None:
        least = self.latent.shape[-1] - 2 * self.padding
        channels = self.latent.shape[1]
        if values.dim() != 4 or values.shape[1] != channels or min(values.shape[2:]) < least:
            raise InputError(
                f"a convolution wants an input of shape (batch, {channels}, ≥{least}, ≥{least}), "
                f"but has {tuple(values.shape)}"
            )
