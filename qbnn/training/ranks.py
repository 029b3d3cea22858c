"""Several processes that train one network, as `torchrun` starts them.

Each rank reads its slice of every batch and the gradients are averaged, so weights stay equal.
A normalisation sees the slice alone, so a batch of 256 on two ranks is not quite one of 256 on one:
it is two of 128 with one step. The running statistics are no rank's: all estimate them anew, on the
same images, after each epoch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


class Ranks(NamedTuple):
    """Which of how many processes this one is; only the first writes files."""

    rank: int = 0
    size: int = 1

    def share(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return this rank's slice of a batch; slices differ by one image at most.

        >>> Ranks(1, 2).share(torch.zeros(5, 1), torch.arange(5))[1]
        tensor([3, 4])
        """
        rank, size = self
        return images.tensor_split(size)[rank], labels.tensor_split(size)[rank]

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[Tensor], *, weight: float) -> None:
        """Replace every gradient by Σ weight · gradient over the ranks, whose weights sum to 1."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients]).mul_(weight)
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the ranks."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def same(self, make: Callable[[], Value]) -> Value:
        """Return what the first rank makes; it has to be something that can be pickled."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.rank == 0 else None]
        dist.broadcast_object_list(box)
        found: Value = box[0]
        return found

    def any(self, wanted: bool, *, device: torch.device | str = "cpu") -> bool:
        """Return whether any rank wants it; all of them have to ask."""
        if self.size == 1:
            return wanted
        return bool(self.total(torch.tensor(float(wanted), device=device)))


def current_ranks() -> Ranks:
    """Return this process's place in the group that was joined, or that of a process alone."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the group that `torchrun` describes in RANK and WORLD_SIZE, if it does, and leave it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield current_ranks()
    finally:
        dist.destroy_process_group()
