"""How far a rounded network is from the one it was."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anneal.errors import InputError, first_line
from anneal.files import Pathlike


class Judged(NamedTuple):
    """Means over images: KL divergence from the float network's probabilities in nats, share of
    images with the same first class, and shares where the first class is right (None without
    labels).
    """

    kl: float
    agreement: float
    top1: float | None
    float_top1: float | None
    num_images: int


@torch.no_grad()
def judge(
    network: nn.Module,
    rounded: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    batch_size: int = 32,
) -> Judged:
    """Compare two classifiers on images, (num, channels, height, width).

    Raises :class:`~anneal.errors.InputError` for outputs that are not (num, classes) or not finite.

    >>> judge(nn.Flatten(), nn.Flatten(), torch.eye(2)[:, None, None]).agreement
    1.0
    """
    before, after = (
        torch.cat([one(batch) for batch in images.split(batch_size)]) for one in (network, rounded)
    )
    if before.dim() != 2:
        raise InputError(f"a classifier returns (num, classes), not {tuple(before.shape)}")
    if not (before.isfinite().all() and after.isfinite().all()):
        raise InputError("an output of the network is not finite")
    q, p = (found.double().log_softmax(1) for found in (after, before))
    kl = F.kl_div(q, p, log_target=True, reduction="batchmean")
    first, other = before.argmax(1), after.argmax(1)
    right: list[float | None] = [None, None]
    if labels is not None:
        right = [float((found == labels).double().mean()) for found in (other, first)]
    agreement = float((first == other).double().mean())
    return Judged(max(float(kl), 0.0), agreement, right[0], right[1], len(images))


class Compared(NamedTuple):
    """Outputs of a runtime beside torch's: the largest difference, the largest of torch's by size,
    and the share of images with the same first class.
    """

    difference: float
    largest: float
    agreement: float


@torch.no_grad()
def compare_runtime(path: Pathlike, network: nn.Module, images: Tensor) -> Compared | None:
    """Return how far what onnxruntime makes of an ONNX file is from a network, on images.

    It computes with what the file holds in float, and rounds nothing more; None where it is not
    installed. Where activations are on grids, sums that differ in their last bit may come to lie on
    different levels: torch in single precision is as far from torch in double. Raises
    :class:`~anneal.errors.InputError` for a file that it does not run.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    try:
        session = runtime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["WeightBiasQuantization"],
        )
        (outputs,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    except Exception as error:  # Errors of the runtime have no common class.
        reason = first_line(error)
        raise InputError(f"onnxruntime does not run it: {reason}", path=path) from error
    found, wanted = torch.from_numpy(outputs), network(images)
    same = (found.argmax(1) == wanted.argmax(1)).double().mean()
    return Compared(float((found - wanted).abs().max()), float(wanted.abs().max()), float(same))
