"""The comparison of deformed networks with their controls: a grid of trainings, each one a row.

A cell is a data set, an architecture, a row of :data:`qbnn.paper.networks.ROWS` and a seed. What
has a row of records is not run again, so a grid that was stopped goes on where it was.
"""

from __future__ import annotations

import functools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, cast

import torch

from anneal.bench import interruptible
from anneal.files import Pathlike
from anneal.records import Record, RecordFile, Task
from anneal.registry import unknown
from qbnn.config import Config
from qbnn.data import Dataset, load
from qbnn.models import Network, count_parameters
from qbnn.paper.networks import ARCHITECTURES, ROWS, make_network, row_config
from qbnn.training.evaluate import evaluate
from qbnn.training.runs import check_device, threads
from qbnn.training.train import TrainOptions, train

# Jobs of the rows: the table itself, and the choice of its learning rate on validation images.
TABLE, SWEEP = "deformed-table", "deformed-sweep"
DATASETS = ("mnist", "fashion-mnist")
BATCH_SIZE, LEARNING_RATE = 128, 0.1
# What the sweep tries, on rows that stand for all and on a seed that the table has not.
SWEPT_RATES, SWEPT_ROWS, SWEPT_SEED = (0.01, 0.03, 0.1, 0.3), ("none", "real4", "free"), 0
# Fields of a config that say what a network is, and of the options that say how it is trained.
_NETWORK = {
    "architecture",
    "family",
    "share",
    "trainable",
    "init_std",
    "input",
    "mode",
    "law",
    "head",
    "seed",
}
_TRAINING = {"epochs", "batch_size", "learning_rate", "schedule"}


@dataclass(frozen=True)
class Cell:
    """One training: its data, its network by the names of the grid, and how it is trained."""

    dataset: str
    architecture: str
    row: str
    options: TrainOptions
    job: str = TABLE

    @property
    def seed(self) -> int:
        """The seed of the weights and of the order of the images."""
        return self.options.seed

    def config(self, in_shape: tuple[int, int, int]) -> Config:
        """Return the network for images of a shape."""
        stages = ARCHITECTURES[self.architecture].stages
        return row_config(ROWS[self.row], stages, in_shape=in_shape, seed=self.seed)

    def task(self, dataset: Dataset) -> Task:
        """Return the job and its exact inputs."""
        spec = {
            "dataset": self.dataset,
            "num_train": len(dataset.train),
            "name": self.architecture,
            "row": self.row,
            **self.config(dataset.in_shape).model_dump(mode="json", include=_NETWORK),
            **self.options.model_dump(include=_TRAINING),
        }
        return Task(self.job, spec)

    def __str__(self) -> str:
        return f"{self.dataset} {self.architecture} {self.row} seed {self.seed}"


class Data(NamedTuple):
    """Where the images come from, how many of each part, and the device that computes."""

    folder: Pathlike | None = None
    limit: int | None = None
    device: str = "cpu"


class Outcome(NamedTuple):
    """What a grid came to: the rows of its cells, and the cells without one."""

    rows: list[Record]
    left: list[Cell]
    interrupted: bool


def table_cells(
    *,
    datasets: Sequence[str] = DATASETS,
    architectures: Sequence[str] = tuple(ARCHITECTURES),
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    epochs: int | None = None,
    learning_rate: float = LEARNING_RATE,
) -> list[Cell]:
    """Return the cells of the table, in an order in which comparisons are complete early.

    Of an architecture all rows of one seed come before the next seed; ``rows``, ``seeds`` and
    ``epochs`` are those of :data:`~qbnn.paper.networks.ARCHITECTURES` if not given. Raises
    :class:`~anneal.errors.InputError` for unknown names.

    >>> [str(cell) for cell in table_cells(rows=["none", "su4"])][:3]
    ['mnist A none seed 1', 'mnist A su4 seed 1', 'fashion-mnist A none seed 1']
    """
    check_names(architectures, ARCHITECTURES, kind="architecture")
    check_names(rows or (), ROWS, kind="family")
    found = []
    for name in architectures:
        plan = ARCHITECTURES[name]
        numbers = range(1, plan.num_seeds + 1) if seeds is None else seeds
        for seed, dataset, row in product(numbers, datasets, rows or plan.rows):
            options = TrainOptions.model_validate(
                {
                    "epochs": epochs or plan.epochs,
                    "batch_size": BATCH_SIZE,
                    "learning_rate": ROWS[row].learning_rate or learning_rate,
                    "schedule": "cosine",
                    "seed": seed,
                }
            )
            found.append(Cell(dataset, name, row, options))
    return found


def sweep_cells(
    *,
    datasets: Sequence[str] = DATASETS,
    architectures: Sequence[str] = ("A", "B"),
    rows: Sequence[str] | None = None,
    epochs: int | None = None,
) -> list[Cell]:
    """Return the cells by which the learning rate was chosen; they see no image for testing."""
    chosen = {"datasets": datasets, "architectures": architectures, "rows": rows or SWEPT_ROWS}
    table = table_cells(**chosen, seeds=[SWEPT_SEED], epochs=epochs)  # type: ignore[arg-type]
    return [
        Cell(
            cell.dataset,
            cell.architecture,
            cell.row,
            cell.options.model_copy(update={"learning_rate": rate}),
            SWEEP,
        )
        for cell in table
        for rate in SWEPT_RATES
    ]


def check_names(names: Iterable[str], known: Iterable[str], *, kind: str) -> None:
    """Raise :class:`~anneal.errors.InputError` for a name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise unknown(name, known, kind=kind)


@functools.cache
def read_dataset(name: str, data: Data) -> Dataset:
    """Return a set; every cell has the same images for validation."""
    return load(name, data_dir=data.folder, limit=data.limit)


def run_cells(
    cells: Sequence[Cell],
    records: RecordFile,
    data: Data,
    *,
    num_jobs: int = 1,
    hours: float | None = None,
    progress: Callable[[int, int, Record], None] = lambda done, total, row: None,
) -> Outcome:
    """Run the cells that have no row yet, appending rows; return those of all, and what is left.

    ``num_jobs`` processes of one thread each. After ``hours`` no cell begins. Ctrl-C keeps the rows
    and gives up the cells that are running. A training whose loss is not finite leaves a row that
    says so, and is tried again next time. Raises :class:`~anneal.errors.InputError` for a device
    that there is not and for data that cannot be read.
    """
    check_device(data.device)
    tasks = {cell: cell.task(read_dataset(cell.dataset, data)) for cell in cells}
    rows = {row.task.id: row for row in records.read()} if records.path.exists() else {}
    done = {key: row for key, row in rows.items() if "error" not in row.result}
    todo = [cell for cell in tasks if tasks[cell].id not in done]
    end = None if hours is None else time.monotonic() + 3600 * hours
    run = _in_turn if num_jobs == 1 else functools.partial(_side_by_side, num_jobs=num_jobs)
    with interruptible() as stopped:

        def enough() -> bool:
            return stopped() or (end is not None and time.monotonic() >= end)

        for row in run(todo, data, enough=enough, stopped=stopped):
            records.append(row)
            done[row.task.id] = row
            progress(sum(task.id in done for task in tasks.values()), len(tasks), row)
        interrupted = stopped()
    found = [done[task.id] for task in tasks.values() if task.id in done]
    left = [cell for cell, task in tasks.items() if task.id not in done]
    return Outcome(found, left, interrupted)


def run_cell(
    cell: Cell, data: Data, *, interrupted: Callable[[], bool] = lambda: False
) -> Record | None:
    """Train and judge one network on one thread; None where it was interrupted.

    The network of the best validated epoch is tested, once, on the whole test set; that of a sweep
    never. Seconds are of this process's clock for computing, ``cpu_seconds``, and of the wall.
    """
    dataset = read_dataset(cell.dataset, data)
    network = make_network(cell.config(dataset.in_shape)).to(data.device)
    task, wall, cpu = cell.task(dataset), time.perf_counter(), time.process_time()
    result: dict[str, Any] = {"num_parameters": count_parameters(network)}
    try:
        with threads(1):
            trained = train(cast(Network, network), dataset, cell.options, interrupted=interrupted)
            if trained.interrupted or trained.best is None:
                return None
            if cell.job == TABLE:
                test = evaluate(network, dataset.test.to(data.device))
                result |= {"test_accuracy": test.accuracy, "test_cross_entropy": test.loss}
                result |= {"num_test": len(dataset.test)}
    except FloatingPointError as error:
        return Record(task, {**result, "error": str(error)}, time.perf_counter() - wall)
    for name in ("validation_accuracy", "validation_loss", "train_loss"):
        result[name] = [round(row[name], 6) for row in trained.history]
    result |= {
        "best_epoch": trained.best["epoch"],
        "num_epochs": len(trained.history),
        "least_sigma": min(trained.best["least_sigma"], default=None),
        "device": torch.device(data.device).type,
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }
    return Record(task, result, time.perf_counter() - wall)


def _in_turn(
    cells: Iterable[Cell],
    data: Data,
    *,
    enough: Callable[[], bool],
    stopped: Callable[[], bool],
) -> Iterator[Record]:
    for cell in cells:
        if enough():
            return
        row = run_cell(cell, data, interrupted=stopped)
        if row is None:
            return
        yield row


def _side_by_side(
    cells: Iterable[Cell],
    data: Data,
    *,
    enough: Callable[[], bool],
    stopped: Callable[[], bool],
    num_jobs: int,
) -> Iterator[Record]:
    """Rows as they come from processes of their own; a process is fresh, so that CUDA works too."""
    context = multiprocessing.get_context("spawn")
    halt, waiting = context.Event(), iter(cells)
    running: set[Future[Record | None]] = set()
    with ProcessPoolExecutor(
        num_jobs, mp_context=context, initializer=_prepare, initargs=(halt,)
    ) as pool:
        try:
            while True:
                while len(running) < num_jobs and not enough():
                    cell = next(waiting, None)
                    if cell is None:
                        break
                    running.add(pool.submit(_run_in_process, cell, data))
                if not running:
                    return
                ended, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                if stopped():
                    halt.set()
                for future in ended:
                    row = future.result()
                    if row is not None:
                        yield row
        finally:
            halt.set()


def _never() -> bool:
    return False


_halt: Callable[[], bool] = _never


def _prepare(halt: Any) -> None:
    """Have a process stop when it is told to; Ctrl-C is for the one that started it."""
    global _halt
    _halt = halt.is_set
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_in_process(cell: Cell, data: Data) -> Record | None:
    return run_cell(cell, data, interrupted=_halt)
