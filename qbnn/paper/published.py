"""A published network trained anew, judged in each way that was published, and the page of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anneal.files import Pathlike
from anneal.records import Record, RecordFile, Task
from anneal.tables import Table, column
from qbnn.paper.pages import rows_of, write_rows_page
from qbnn.training.runs import run_evaluation, run_training
from qbnn.training.settings import TrainSettings

JOB, ROW_FILE, PAGE = "pbnet", "pbnet.jsonl", "pbnet.md"
ARCHITECTURE = "32C3-MP2-64C3-MP2-512FC-SM10"
EPOCHS, LEARNING_RATE = 35, 0.03


class Judged(NamedTuple):
    """A way to judge; ``published``: its accuracy on MNIST, in Peters & Welling 2018."""

    mode: str
    hard: bool = False
    anew: bool = False
    published: float | None = None


WAYS: dict[str, Judged] = {
    "propagate": Judged("propagate", published=0.9935),
    "propagate, re-estimated": Judged("propagate", anew=True),
    "binarised": Judged("sample", hard=True, published=0.9922),
    "binarised, re-estimated": Judged("sample", hard=True, anew=True),
    "one draw": Judged("sample"),
}


def settings(data: str, *, epochs: int, seed: int) -> TrainSettings:
    """Return how the network is trained.

    >>> settings("mnist", epochs=35, seed=1).network["mode"]
    'sample'
    """
    network = {"architecture": ARCHITECTURE, "mode": "sample", "input": "real"}
    training = {"epochs": epochs, "learning_rate": LEARNING_RATE, "augment": "shift"}
    return TrainSettings(data=data, limit=None, seed=seed, network=network, training=training)


def run_published(
    run: Path,
    records: RecordFile,
    *,
    data: str = "mnist",
    epochs: int = EPOCHS,
    seed: int = 1,
    data_dir: Pathlike | None = None,
    num_threads: int | None = None,
    quiet: bool = False,
    progress: Callable[[Record], None] = lambda row: None,
) -> bool:
    """Train in the folder ``run``, or go on there, and append a row for each way to judge.

    Returns whether the training came to its end. Raises :class:`~anneal.errors.InputError` for a
    folder of another run.
    """
    wanted = settings(data, epochs=epochs, seed=seed)
    tasks = {name: _task(wanted, name) for name in WAYS}
    done = records.done() if records.path.exists() else set()
    left = {name: task for name, task in tasks.items() if task.id not in done}
    if not left:
        return True
    shared: dict[str, Any] = {"data_dir": data_dir, "num_threads": num_threads, "quiet": quiet}
    found = run_training(wanted, out=run, resume=True, **shared)
    if found is None or found["interrupted"]:
        return False
    for name, task in left.items():
        way, started = WAYS[name], time.perf_counter()
        judged = run_evaluation(
            run, changes={"mode": way.mode}, hard=way.hard, anew=way.anew, seed=seed, **shared
        )
        kept = ("accuracy", "accuracy_interval", "cross_entropy", "num_images")
        result = {key: judged[key] for key in kept}
        row = Record(task, result | {"training": found["seconds"]}, time.perf_counter() - started)
        records.append(row)
        progress(row)
    return True


def _task(wanted: TrainSettings, name: str) -> Task:
    way = WAYS[name]
    judged = {"name": name, "mode": way.mode, "binarised": way.hard, "reestimated": way.anew}
    return Task(JOB, wanted.model_dump(exclude_none=True) | {"judged": judged})


def write_page(folder: Path, *, command: str) -> None:
    """Write the page of the rows of a folder.

    Raises :class:`~anneal.errors.InputError` where there are none.
    """
    shown = tables(rows_of(folder / ROW_FILE, JOB))
    write_rows_page(folder / PAGE, ARCHITECTURE, reading=_READING, command=command, tables=shown)


_READING = (
    "Trained with bits drawn, and judged on the test images by handing probabilities on "
    "(*propagate*), as the deterministic network of the most probable weights and bits "
    "(*binarised*), and by one draw of every bit; *re-estimated* where the running statistics were "
    "taken anew before it. Published: Peters & Welling 2018 (arXiv:1809.03368), MNIST."
)


def tables(rows: Sequence[Record]) -> Iterable[Table]:
    """Yield a table for each training, its ways to judge in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        spec = row.task.spec
        training = spec["training"]
        rate = training["learning_rate"]
        title = (
            f"{spec['data']}: {training['epochs']} epochs at {rate:g}, images moved at random "
            f"({training['augment']}), {spec['network']['input']} inputs, seed {spec['seed']}"
        )
        published = WAYS[spec["judged"]["name"]].published if spec["data"] == "mnist" else None
        line = {**row.result, "name": spec["judged"]["name"], "published": published}
        found.setdefault(title, []).append(line)
    for title, lines in found.items():
        order = sorted(lines, key=lambda line: list(WAYS).index(line["name"]))
        yield Table(title, _COLUMNS, order)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


_COLUMNS = [
    column("name", "judged by"),
    column("accuracy", "accuracy %", _percent),
    column("accuracy_interval", "95 % interval", lambda ends: " … ".join(map(_percent, ends))),
    column("published", "published %", _percent),
    column("cross_entropy", "cross entropy", "{:.4f}".format),
]
