"""What `qbnn train` and `qbnn eval` do: a run's folder with checkpoints, rows and pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from anneal.bench import interruptible
from anneal.errors import InputError
from anneal.files import Pathlike, write_text
from anneal.records import Record, RecordFile, Task, machine, versions
from qbnn.binarised import binarised
from qbnn.data import Dataset, load
from qbnn.hardware.shots import Hardware, on_hardware
from qbnn.models import Network, count_parameters
from qbnn.terminal.console import make_folder, progress_bar, to_document
from qbnn.terminal.settings import to_toml
from qbnn.training.checkpoints import load as load_network
from qbnn.training.evaluate import evaluate, reestimate
from qbnn.training.pictures import write_pictures
from qbnn.training.ranks import joined
from qbnn.training.settings import SETTINGS, TrainSettings, completed, plan, settle_run
from qbnn.training.train import Trained, check_fit, train

RESULT, ROWS = "result.json", "records.jsonl"


def check_device(name: str) -> None:
    """Raise :class:`~anneal.errors.InputError` for a device that torch does not have."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"no device '{name}': {str(error).splitlines()[0]}") from None


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch compute on so many threads, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_training(
    given: TrainSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    data_dir: Pathlike | None = None,
    download: bool = False,
    device: str = "cpu",
    num_threads: int | None = None,
    quiet: bool = False,
) -> dict[str, Any] | None:
    """Train, test the best network, fill the run's folder; return the command's document.

    Ctrl-C ends the training and the best so far counts. In a group of processes the first one
    writes and returns. Raises :class:`~anneal.errors.InputError` before anything is written.
    """
    check_device(device)
    with (
        threads(num_threads),
        joined(device) as ranks,
        progress_bar(given.data, quiet=quiet or ranks.rank > 0) as show,
    ):
        settings, folder = ranks.same(lambda: settle_run(given, out, resume=resume))
        dataset = load(
            settings.data,
            data_dir=data_dir,
            download=download,
            limit=settings.limit,
            seed=settings.seed or 0,
            progress=show,
        )
        config, options = plan(settings, dataset)
        network = Network(config).to(device)
        check_fit(network, dataset)
        settings = completed(settings, config, options)
        if ranks.rank == 0:
            begin(folder, settings)
        started = time.perf_counter()
        with interruptible() as stopped:
            trained = train(
                network,
                dataset,
                options,
                out=folder,
                resume=resume,
                extra=origin(settings, dataset),
                progress=show,
                interrupted=stopped,
            )
    if ranks.rank > 0:
        return None
    seconds = time.perf_counter() - started
    return finish(folder, settings, dataset, network, trained, seconds=seconds)


def begin(folder: Path, settings: TrainSettings) -> None:
    """Write what is known before the first epoch: the settings, and where they run."""
    make_folder(folder)
    write_text(folder / SETTINGS, to_toml(settings.model_dump(exclude_none=True)))
    environment = {"versions": versions(), "machine": machine()}
    write_text(folder / "environment.json", to_document("train", environment))


def origin(settings: TrainSettings, dataset: Dataset) -> dict[str, Any]:
    """Return what a checkpoint says of where it comes from."""
    return {
        "data": settings.data,
        "limit": settings.limit,
        "seed": settings.seed,
        "class_names": list(dataset.class_names),
        "versions": versions(),
    }


def finish(
    folder: Path,
    settings: TrainSettings,
    dataset: Dataset,
    network: Network,
    trained: Trained,
    *,
    seconds: float,
) -> dict[str, Any]:
    """Return the document of a training; test the network and write the rest if it came to its end.

    The rest: result, pictures, page and a row of records.
    """
    config, history = network.config, trained.history
    document = {
        "out": str(folder),
        "data": settings.data,
        "architecture": config.architecture,
        "family": config.family,
        "mode": config.mode,
        "num_parameters": count_parameters(network),
        "num_epochs": len(history),
        "best": trained.best,
        "test": None,
        "seed": settings.seed,
        "interrupted": trained.interrupted,
        "seconds": seconds,
        "history": history,
        "versions": versions(),
        "machine": machine(),
    }
    if trained.interrupted:
        return document
    found = evaluate(network, dataset.test)
    document["test"] = found.document(dataset.class_names)
    write_text(folder / RESULT, to_document("train", document))
    title = f"{config.architecture}, {config.family}, on {settings.data}"
    write_pictures(folder, network, found, dataset.class_names, title=title, history=history)
    left_out = {"history", "versions", "machine", "out"}
    row = {key: value for key, value in document.items() if key not in left_out}
    task = Task("train", settings.model_dump(exclude_none=True))
    RecordFile(folder / ROWS).append(Record(task, row, seconds))
    return document


def run_evaluation(
    path: Path,
    *,
    split: str = "test",
    data: str | None = None,
    limit: int | None = None,
    num_draws: int = 1,
    changes: Mapping[str, Any] | None = None,
    hard: bool = False,
    anew: bool = False,
    hardware: Mapping[str, Any] | None = None,
    seed: int = 0,
    data_dir: Pathlike | None = None,
    download: bool = False,
    device: str = "cpu",
    num_threads: int | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Return the document of `qbnn eval`: a network of a run on one of the parts of its set.

    ``changes``: fields of the config that do not change the weights: mode, law, pool. ``hard``:
    its deterministic twin, :func:`qbnn.binarised.binarised`. ``anew``: running statistics
    estimated anew. ``hardware``: what it would do on a device with the fields of
    :class:`qbnn.hardware.shots.Hardware`. ``out``: a folder for the document, pictures and a page.
    """
    check_device(device)
    quantum = Hardware(**(hardware or {}))
    if hard and not quantum.is_perfect:
        raise InputError("the deterministic twin has no circuits: no shots, noise or protocol")
    network, extra = load_network(path, changes=changes)
    if network.config.mode == "sample" and quantum.shots is not None:
        if num_draws > 1:
            raise InputError("where bits are drawn a shot is a pass: give shots or num-draws")
        num_draws = quantum.shots
    name = data or extra.get("data")
    if not isinstance(name, str):
        raise InputError("says not what it was trained on; name the set by --data", path=path)
    with threads(num_threads), progress_bar(name, quiet=quiet) as show:
        dataset = load(
            name,
            data_dir=data_dir,
            download=download,
            limit=limit or extra.get("limit"),
            seed=extra.get("seed") or 0,
            progress=show,
        )
        check_fit(network, dataset)
        part = getattr(dataset, split)
        show(0.0, f"{len(part):,} images")
        judged: torch.nn.Module = network.to(device)
        if hard:
            judged = binarised(network, split=dataset.train if anew else None).to(device)
        elif anew:
            reestimate(network, dataset.train, seed=seed)
        if not quantum.is_perfect:
            judged = on_hardware(network, quantum)
        found = evaluate(judged, part, num_draws=num_draws, seed=seed)
    config = network.config
    document = {
        "run": str(path),
        "data": name,
        "split": split,
        "architecture": config.architecture,
        "family": config.family,
        "mode": config.mode,
        "binarised": hard,
        "reestimated": anew,
        **asdict(quantum),
        "num_draws": num_draws,
        "seed": seed,
        **found.document(dataset.class_names),
    }
    if out is not None:
        make_folder(out)
        write_text(out / RESULT, to_document("eval", document))
        title = f"{path}: {split} of {name}"
        write_pictures(out, network, found, dataset.class_names, title=title)
    return document


def training_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a training as a person reads them."""
    best, test = found["best"], found["test"]
    chosen = best and f"{_percent(best['validation_accuracy'])} in epoch {best['epoch']}"
    return {
        "test": None if test is None else _accuracy(test),
        "cross_entropy": None if test is None else test["cross_entropy"],
        "calibration_error": None if test is None else _percent(test["calibration_error"]),
        "validation": f"{chosen} of {found['num_epochs']}" if best else "no epoch has ended",
        "family": found["family"],
        "parameters": found["num_parameters"],
        "least_sigma": " ".join(f"{sigma:.2f}" for sigma in best["least_sigma"]) if best else None,
        "time": f"{found['seconds']:.1f} s",
        "seed": found["seed"],
        "run": found["out"],
    }


def evaluation_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of an evaluation as a person reads them."""
    worst = min(found["classes"], key=lambda row: row["recall"] if row["count"] else 2.0)
    return {
        "accuracy": _accuracy(found),
        "cross_entropy": found["cross_entropy"],
        "calibration_error": _percent(found["calibration_error"]),
        "worst_class": f"{worst['name']}, {_percent(worst['recall'])} found",
        "family": found["family"],
        "as": "bits, its deterministic twin" if found["binarised"] else found["mode"],
        "draws": found["num_draws"] if found["num_draws"] > 1 else None,
        "device": _device(found),
    }


def _device(found: Mapping[str, Any]) -> str | None:
    """Return the quantum device of an evaluation, None where it was perfect."""
    parts = [f"{found['shots']} shots"] if found["shots"] else []
    parts += [f"{name} {found[name]:g}" for name in ("noise", "readout") if found[name]]
    parts += [found["protocol"]] if found["protocol"] != "fresh" else []
    return ", ".join(parts) or None


def _accuracy(found: Mapping[str, Any]) -> str:
    low, high = map(_percent, found["accuracy_interval"])
    return f"{_percent(found['accuracy'])} ({low} … {high}) of {found['num_images']:,} images"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
