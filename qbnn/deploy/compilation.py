"""What `qbnn compile` does: compile a trained network, compare it with torch, write it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.files import Pathlike, write_bytes
from anneal.registry import load_extra
from qbnn.binarised import binarised
from qbnn.data import Dataset, Split
from qbnn.data import load as load_data
from qbnn.deploy.compiled import NUM_MEMBERS, choose_kind, make_twin, pack_twin
from qbnn.deploy.onnx_export import onnx_model, replaced
from qbnn.deploy.table_export import table_of
from qbnn.models import Network, count_parameters
from qbnn.terminal.console import check_file
from qbnn.training.checkpoints import best_of, load
from qbnn.training.evaluate import evaluate
from qbnn.training.runs import threads
from qbnn.training.train import check_fit

ONNX = "onnx"
MADE = {
    "bits": "packed bits",
    "ternary": "packed ternary weights",
    "ensemble": "packed bits of drawn weights",
    "table": "tables of stochastic XNORs",
    ONNX: "ONNX graph of the emulated network",
}
# Images of one call whose speed is measured, and for how many seconds.
BATCH, SECONDS = 256, 0.3
# Logits of which both sides are right differ by less, in units of the greatest one.
ROUNDING = 1e-4
Logits = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class CompileOptions:
    """What to compile a network into.

    ``kind``: one of :data:`qbnn.deploy.compiled.KINDS`, or ``onnx``. ``reestimated``: the
    normalisations of ``bits`` too are estimated anew. ``num_draws``: passes of what draws its bits.
    """

    kind: str = "auto"
    num_members: int = NUM_MEMBERS
    weights: str = "qubit"
    num_draws: int = 16
    reestimated: bool = False
    num_threads: int | None = None
    seed: int = 0


class Made(NamedTuple):
    """What was compiled: how to write it and run it, and what in torch it has to equal."""

    save: Callable[[Pathlike], int]
    logits: Logits
    twin: nn.Module
    replaced: Mapping[str, str] = {}


class AsModule(nn.Module):
    """Logits from numpy as a torch module, so that they are evaluated like any network's."""

    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        return torch.from_numpy(self.logits(images.numpy())).float()


class Drawn(nn.Module):
    """A sampled network whose probabilities are means over draws."""

    def __init__(self, network: Network, num_draws: int) -> None:
        super().__init__()
        self.network, self.num_draws = network, num_draws

    def forward(self, images: Tensor) -> Tensor:
        """Return log probabilities, (batch, classes)."""
        return self.network.probabilities(images, num_draws=self.num_draws).log()


def compile_run(
    run: Pathlike,
    options: CompileOptions,
    *,
    out: Path | None = None,
    law: str | None = None,
    data: str | None = None,
    data_dir: Pathlike | None = None,
) -> dict[str, Any]:
    """Compile the network of a run, test it beside torch, write it; return the document.

    ``law`` and ``data`` (the set to test on, and to estimate normalisations on) are those of the
    training unless given. Raises :class:`~anneal.errors.InputError` before anything is written,
    and RuntimeError where what was compiled does not agree with torch.
    """
    network, extra = load(run, changes=None if law is None else {"law": law})
    kind = options.kind if options.kind == ONNX else choose_kind(network, options.kind)
    out = out or _default_file(run, kind)
    check_file(out)
    dataset = _dataset(network, extra, data=data, data_dir=data_dir)
    made = _make(network, kind, options, dataset)
    draws = options.num_draws if network.config.mode == "sample" else 1
    accuracy = {"original": evaluate(network, dataset.test, num_draws=draws).accuracy}
    if kind in ("ternary", "ensemble"):
        accuracy["bits"] = evaluate(binarised(network), dataset.test).accuracy
    compared = _compared(made, dataset.test, accuracy, drawn=kind == "table")
    with threads(options.num_threads):
        speeds = _speeds(network, made, dataset.test)
    return {
        "out": str(out),
        "kind": kind,
        "made": MADE[kind],
        "replaced": dict(made.replaced),
        "bytes": made.save(out),
        "float_bytes": 4 * count_parameters(network),
        "num_images": len(dataset.test),
        "accuracy": accuracy,
        **compared,
        "images_per_second": speeds,
        "options": asdict(options),
    }


def _make(network: Network, kind: str, options: CompileOptions, dataset: Dataset) -> Made:
    if kind == ONNX:
        return _make_onnx(network, num_threads=options.num_threads)
    if kind == "table":
        return _make_table(network, options)
    anew = options.reestimated or kind != "bits"
    twin = make_twin(
        network,
        kind,
        split=dataset.train if anew else None,
        num_members=options.num_members,
        seed=options.seed,
    )
    packed = pack_twin(twin)

    def logits(images: NDArray[np.float32]) -> NDArray[Any]:
        return packed.logits(images, num_threads=options.num_threads)

    return Made(packed.save, logits, twin)


def _make_table(network: Network, options: CompileOptions) -> Made:
    table = table_of(network, weights=options.weights)

    def logits(images: NDArray[np.float32]) -> NDArray[Any]:
        found = table.probabilities(images, num_draws=options.num_draws, seed=options.seed)
        log: NDArray[Any] = np.log(found.clip(np.finfo(np.float32).tiny))
        return log

    sampled = {"mode": "sample"}
    changes = {} if network.config.mode == "sample" else sampled
    return Made(table.save, logits, Drawn(_changed(network, sampled), options.num_draws), changes)


def _make_onnx(network: Network, *, num_threads: int | None) -> Made:
    data, changes = onnx_model(network), replaced(network)
    session = _session(data, num_threads)

    def logits(images: NDArray[np.float32]) -> NDArray[Any]:
        found: NDArray[Any] = session.run(None, {"images": images})[0]
        return found

    def save(path: Pathlike) -> int:
        write_bytes(path, data)
        return len(data)

    return Made(save, logits, _changed(network, changes), changes)


def _compared(
    made: Made, split: Split, accuracy: dict[str, float], *, drawn: bool
) -> dict[str, Any]:
    """Put both accuracies in and return how far the two sides agree.

    Raises RuntimeError where a class differs by more than the rounding of its logits; what is
    drawn agrees in law alone.
    """
    module = AsModule(made.logits)
    twin, compiled = evaluate(made.twin, split), evaluate(module, split)
    accuracy |= {"torch": twin.accuracy, "compiled": compiled.accuracy}
    if drawn:
        return {"agreement": None, "largest_difference": None}
    ours, theirs = compiled.log_probabilities, twin.log_probabilities
    rows = np.arange(len(ours))
    lead = theirs.max(1) - theirs[rows, compiled.predictions]
    clear = int((lead > ROUNDING * np.abs(theirs).max(1).clip(1)).sum())
    if clear:
        raise RuntimeError(f"torch and what was compiled disagree on {clear} of {len(ours)} images")
    same = float((twin.predictions == compiled.predictions).mean())
    return {"agreement": same, "largest_difference": float(np.abs(ours - theirs).max())}


def _speeds(network: Network, made: Made, split: Split) -> dict[str, float]:
    """Return images a second of the network in torch and of what was compiled."""
    images = split.batch(torch.arange(min(BATCH, len(split))))[0]
    with torch.inference_mode():
        theirs = _seconds(lambda: network(images))
    ours = _seconds(lambda: made.logits(images.numpy()))
    return {"torch": len(images) / theirs, "compiled": len(images) / ours}


def _seconds(call: Callable[[], Any]) -> float:
    """Return the median seconds of a call."""
    call()
    found: list[float] = []
    while sum(found) < SECONDS:
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return float(np.median(found))


def _changed(network: Network, changes: Mapping[str, str]) -> Network:
    """Return a copy with other settings of its evaluation."""
    found = Network(network.config.model_copy(update=dict(changes)))
    found.load_state_dict(network.state_dict())
    return found.eval()


def _session(data: bytes, num_threads: int | None) -> Any:
    onnxruntime = load_extra("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _dataset(
    network: Network, extra: Mapping[str, Any], *, data: str | None, data_dir: Pathlike | None
) -> Dataset:
    name = data or extra.get("data")
    if name is None:
        raise InputError("the checkpoint does not say what it was trained on; name it by --data")
    dataset = load_data(
        str(name), data_dir=data_dir, limit=extra.get("limit"), seed=extra.get("seed") or 0
    )
    check_fit(network, dataset)
    return dataset


def _default_file(run: Pathlike, kind: str) -> Path:
    """Return a file beside the checkpoint."""
    suffix = "onnx" if kind == ONNX else f"{kind}.safetensors"
    return best_of(run).with_name(f"compiled.{suffix}")


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as lines for people."""
    accuracy, speed = document["accuracy"], document["images_per_second"]
    changes = (f"{name} {value}" for name, value in document["replaced"].items())
    same = document["agreement"]
    return {
        "made": document["made"],
        "evaluated with": ", ".join(changes) or None,
        "size": f"{document['bytes']} bytes; {document['float_bytes']} as float32",
        "accuracy": ", ".join(f"{100 * value:.2f} % {name}" for name, value in accuracy.items()),
        "same class as torch": None if same is None else f"{100 * same:.2f} % of the test images",
        "images a second": f"{speed['compiled']:.0f}, the network in torch {speed['torch']:.0f}",
    }
