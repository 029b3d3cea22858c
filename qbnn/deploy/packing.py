"""Networks of bits as they are deployed: images in, logits out, one file, without torch.

>>> from qbnn.config import Stage
>>> from qbnn.kernels.packed import pack
>>> head = PackedLayer(
...     Stage(2), (1, 1, 3), pack([[1, 1, 1], [0, 0, 1]]), scale=np.ones(2), shift=np.zeros(2)
... )
>>> network = PackedNetwork((head,), in_shape=(1, 1, 3))
>>> network.logits(np.array([[[[0.2, 0.9, 0.5]]]]))
array([[1., 1.]], dtype=float32)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.kernels.threads import over_rows
from qbnn.config import Stage
from qbnn.deploy.files import read_compiled, write_compiled
from qbnn.deploy.packed_layers import Array, PackedLayer, Shape
from qbnn.kernels import packed, pixels
from qbnn.kernels.packed import MICROSECONDS
from qbnn.kernels.popcount import LANES

KIND = "packed"
_PLAIN = ("stage", "shape", "border")
_ARRAYS = tuple(f.name for f in fields(PackedLayer) if f.name not in _PLAIN)
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PackedNetwork:
    """Layers one after the other; the last is a dense head.

    Images are (batch, C, H, W), pixels from 0 to 1: the bit p ≥ ½, or, where the network reads
    numbers (``real``), 2p − 1. ``num_threads``: at most so many (default: the cores there are).
    """

    layers: tuple[PackedLayer, ...]
    in_shape: Shape
    real: bool = False

    @property
    def members(self) -> tuple[PackedNetwork, ...]:
        """The network itself, as an ensemble of one."""
        return (self,)

    def sums(self, images: ArrayLike, *, num_threads: int | None = None) -> Array:
        """Return a = Σ w s of the head, (batch, classes): integers where it reads bits."""
        values = checked_images(images, self.in_shape)
        first, *rest = self.layers
        if self.real:
            values = 2 * values - 1
            if not rest:
                return first.sums_at(values)
            words = first.fires_at(values)
        else:
            words, rest = _pack_pixels(values, in_rows=not first.stage.kernel), [first, *rest]
        for layer in rest[:-1]:
            if not layer.stage.kernel:
                words = _flatten(words, layer)
                if self._stack is not None:
                    break
            words = layer.fires(words, num_threads=num_threads)
        head = rest[-1]
        words = _flatten(words, head)
        if self._stack is None:
            return head.sums(words, num_threads=num_threads)
        return head.sums_of(packed.mlp(words, self._stack, num_threads=num_threads))

    def logits(self, images: ArrayLike, *, num_threads: int | None = None) -> Floats:
        """Return a′ = scale·a + shift of the head, (batch, classes).

        Raises :class:`~anneal.errors.InputError` for images that the network does not read.
        """
        if not self._in_one_call:
            return self.layers[-1].affine(self.sums(images, num_threads=num_threads))
        rows = checked_images(images, self.in_shape).reshape(-1, math.prod(self.in_shape))
        out = np.empty((len(rows), len(self.layers[-1].weight)), np.float32)
        arguments = self._arguments

        def work(start: int, stop: int) -> None:
            pixels.logits(rows[start:stop], *arguments, out[start:stop])

        each = arguments[0].size / LANES * MICROSECONDS
        over_rows(work, len(rows), microseconds=each, num_threads=num_threads)
        return out

    def probabilities(self, images: ArrayLike, *, num_threads: int | None = None) -> Floats:
        """Return the softmax of the logits, (batch, classes)."""
        logits = self.logits(images, num_threads=num_threads).astype(np.float64)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        found: Floats = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
        return found

    def save(self, path: Pathlike) -> int:
        """Write the network to a file and return its bytes; see :func:`load_packed`."""
        return _save(path, self)

    @cached_property
    def _stack(self) -> packed.Stack | None:
        """The dense layers that read bits, for one compiled call; not under masks."""
        dense = [layer for layer in self.layers[self.real :] if not layer.stage.kernel]
        if not dense or any(layer.mask is not None for layer in dense):
            return None
        return packed.Stack.of([layer.kernel for layer in dense])

    @cached_property
    def _in_one_call(self) -> bool:
        """Whether one compiled call goes from pixels to logits."""
        return self._stack is not None and not self.real and not self.layers[0].stage.kernel

    @cached_property
    def _arguments(self) -> tuple[Any, ...]:
        """What that call is given besides rows of pixels."""
        stack, head = self._stack, self.layers[-1]
        assert stack is not None and head.scale is not None and head.shift is not None
        ends = head.scale.astype(np.float64), head.shift.astype(np.float64)
        return stack.flat, stack.table, stack.last.fan_in, *ends


@dataclass(frozen=True, eq=False)
class PackedEnsemble:
    """Networks whose probabilities are averaged."""

    members: tuple[PackedNetwork, ...]

    def probabilities(self, images: ArrayLike, *, num_threads: int | None = None) -> Floats:
        """Return the mean of the members' probabilities, (batch, classes)."""
        each = [member.probabilities(images, num_threads=num_threads) for member in self.members]
        mean: NDArray[np.float64] = np.mean(np.stack(each), 0, dtype=np.float64)
        return mean.astype(np.float32)

    def logits(self, images: ArrayLike, *, num_threads: int | None = None) -> Floats:
        """Return the logarithms of the mean probabilities, at least −87."""
        mean = self.probabilities(images, num_threads=num_threads)
        found: Floats = np.log(mean.clip(np.finfo(np.float32).tiny))
        return found

    def save(self, path: Pathlike) -> int:
        """Write the ensemble to a file and return its bytes; see :func:`load_packed`."""
        return _save(path, self)


def load_packed(path: Pathlike) -> PackedNetwork | PackedEnsemble:
    """Return the network or the ensemble of a file.

    Raises :class:`~anneal.errors.InputError` naming the file where it is missing, damaged, or of
    another kind or version.
    """
    compiled = read_compiled(path, KIND)
    members = _restored(compiled.arrays, compiled.document)
    return members[0] if len(members) == 1 else PackedEnsemble(tuple(members))


def checked_images(images: ArrayLike, in_shape: Shape) -> Floats:
    """Return images (batch, C, H, W) as float32.

    Raises :class:`~anneal.errors.InputError` for another shape and for pixels not finite.
    """
    values = np.asarray(images, np.float32, order="C")
    if values.shape[1:] != in_shape:
        wanted = ", ".join(map(str, in_shape))
        raise InputError(
            f"the network reads images of shape (batch, {wanted}), but was given {values.shape}"
        )
    # The sum of squares is finite iff all are, and takes one pass.
    if not math.isfinite(np.vdot(values, values)):
        raise InputError("an image has a pixel that is not a finite number from 0 to 1")
    return values


def _pack_pixels(values: Floats, *, in_rows: bool) -> packed.Words:
    """Return bits p ≥ ½ by pixel, (batch, H, W, …), or in rows as they stand, (batch, …)."""
    if in_rows:
        return packed.pack(values.reshape(-1, math.prod(values.shape[1:])) >= 0.5)
    return packed.pack((values >= 0.5).transpose(0, 2, 3, 1))


def _flatten(words: packed.Words, layer: PackedLayer) -> packed.Words:
    return packed.flatten(words, layer.shape[0]) if words.ndim == 4 else words


def _save(path: Pathlike, network: PackedNetwork | PackedEnsemble) -> int:
    arrays, members = {}, []
    for m, member in enumerate(network.members):
        plain = []
        for k, layer in enumerate(member.layers):
            plain.append({"stage": layer.stage, "shape": layer.shape, "border": layer.border})
            for name in _ARRAYS:
                if (array := getattr(layer, name)) is not None:
                    arrays[f"{m}.{k}.{name}"] = array
        members.append(plain)
    first = network.members[0]
    document = {"in_shape": first.in_shape, "real": first.real, "members": members}
    return write_compiled(path, KIND, arrays, document)


def _restored(arrays: dict[str, Array], document: dict[str, Any]) -> list[PackedNetwork]:
    in_shape, real = tuple(document["in_shape"]), bool(document["real"])
    members = []
    for m, plain in enumerate(document["members"]):
        layers = tuple(
            PackedLayer(
                Stage(*entry["stage"]),
                tuple(entry["shape"]),
                border=entry["border"],
                **{n: arrays[key] for n in _ARRAYS if (key := f"{m}.{k}.{n}") in arrays},
            )
            for k, entry in enumerate(plain)
        )
        members.append(PackedNetwork(layers, in_shape, real))
    return members
