"""Solvers of rounding side by side on single layers: one of each fan-in of a network."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.kernels.__main__ import warm_up_rounders
from anneal.records import Record, RecordFile, Task
from anneal.rounding import get_rounder
from anneal.rounding.bounds import lower_bounds
from anneal.rounding.formulation import Formulation, InputMoments, output_error
from anneal.rounding.graphs import Traced, bias_of
from anneal.rounding.grids import Floats, Grid, make_grid
from anneal.rounding.inputs import moments, weight_rows
from anneal.rounding.layers import RoundingOptions, held_out_ridge
from anneal.rounding.spheres import search
from anneal.rounding.tracing import Layer
from anneal.tables import Row, Table, column
from qbnn.paper.pages import rows_of, write_rows_page
from qbnn.paper.rounding_methods import load_case

JOB, ROW_FILE, PAGE = "rounding-layers", "layers.jsonl", "layers.md"
# Rounders, what they are told after a comma, and with what keywords.
SOLVERS: Mapping[str, Mapping[str, Any]] = {
    "flip": {},
    "gptq": {},
    "beam": {"width": 16},
    "lns": {},
    "anneal": {},
    "relax": {},
    "qbnn.paper.plain_relaxation:relax": {},
    "relax+flip": {},
    "relax+lns": {},
    "exact": {},
    "anneal, two levels": {},
    "anneal, 500 sweeps, two levels": {"num_sweeps": 500},
    "neal, two levels": {},
    "gptq, ridge held out": {},
    "lns, ridge held out": {},
}
TWO_LEVELS = ", two levels"  # around each weight; else all there are
OWN_RIDGE = ", ridge held out"  # as networks are rounded; else 1 %
NUM_ROWS = 64
# The sizes up to which the search is complete in seconds, and neal in minutes.
EXACT, NEAL = 27, 300
ALL_NODES = 10**7  # of a row: then nothing more is found
BOUNDED = ("exact", "lns")  # solvers whose rows say what any rounding must cost
# What a singular Hessian's bound allows for is less than this share of the cost.
PROVED = 1e-4


class Halves(NamedTuple):
    """A layer's weights and bias, and the moments of its inputs.

    parts: on either half of the images to solve with; there: on those to judge by.
    """

    weights: Floats
    bias: Floats
    parts: tuple[InputMoments, InputMoments]
    there: InputMoments

    @property
    def here(self) -> InputMoments:
        """The moments on all images to solve with."""
        return self.parts[0] + self.parts[1]


def layer_halves(traced: Traced, images: Tensor, *, batch_size: int = 8) -> dict[str, Halves]:
    """Return one layer of each fan-in, the first, with what the float network has it read.

    Batches go in turn to the two parts to solve with, the next two to the images to judge by.
    Raises :class:`~anneal.errors.InputError` for fewer than three.
    """
    if len(images) <= 2 * batch_size:
        raise InputError(f"{len(images)} images are too few: more than {2 * batch_size} are wanted")
    chosen: dict[int, str] = {}
    for name in traced.layers:
        chosen.setdefault(weight_rows(traced.layer(name)).shape[1], name)
    found: dict[str, list[InputMoments | None]] = {name: [None] * 4 for name in chosen.values()}
    quarter = 0

    def watch(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            new, before = moments(traced.layer(name), inputs[0]), found[name][quarter]
            found[name][quarter] = new if before is None else before + new

        return note

    hooks = [traced.layer(name).register_forward_pre_hook(watch(name)) for name in found]
    with torch.no_grad():
        for number, batch in enumerate(images.split(batch_size)):
            quarter = number % 4
            traced.module(batch)
    for hook in hooks:
        hook.remove()
    return {name: _halves(traced.layer(name), quarters) for name, quarters in found.items()}


def _halves(layer: Layer, quarters: Sequence[InputMoments | None]) -> Halves:
    one, other, *there = (part for part in quarters if part is not None)
    bias = bias_of(layer).detach().double().numpy()
    return Halves(weight_rows(layer), bias, (one, other), functools.reduce(operator.add, there))


def first_rows(halves: Halves, num_rows: int) -> Halves:
    """Return the first rows of a layer, and the groups that they read."""
    per = len(halves.weights) // len(halves.here.second)
    groups = -(-num_rows // per)

    def cut(part: InputMoments) -> InputMoments:
        second, mean, cross, float_mean = (
            array[:groups] for array in (part.second, part.mean, part.cross, part.float_mean)
        )
        return InputMoments(second, mean, cross, float_mean, part.count)

    num = min(num_rows, len(halves.weights))
    num = num if groups == 1 else groups * per
    one, other = map(cut, halves.parts)
    return Halves(halves.weights[:num], halves.bias[:num], (one, other), cut(halves.there))


def solve_layer(halves: Halves, solver: str, bits: int, *, seed: int = 1) -> dict[str, Any]:
    """Return what a solver makes of a layer: costs over those of the nearest levels.

    ``cost``: of the problem that it was given, E[(Ŵx + b̂ − Wx − b)²] with the best bias and a ridge
    of 1 %, or ``OWN_RIDGE``; ``held_out``: the same error on the other half of the images.
    ``bound``: no rounding has a lower cost. ``proved``: share of rows whose rounding is the best
    there is, to .01 %. Both are None but for ``BOUNDED``. ``optimal``: share of rows that cost what
    a search of ``ALL_NODES`` comes to, of layers of up to ``EXACT`` inputs.
    """
    grid = make_grid(halves.weights, bits)
    plain = Formulation(centred=True, asymmetric=False)
    formulation, name = plain, solver.split(", ")[0]
    rng = np.random.default_rng(seed)
    started = time.process_time()
    if solver.endswith(OWN_RIDGE):
        formulation = replace(plain, ridge=_own_ridge(halves, plain, grid, bits, rng))
    corners = solver.endswith(TWO_LEVELS)
    rows = formulation.rows(halves.weights, halves.here, grid, corners=corners)
    levels = get_rounder(name)(rows, rng=rng, **SOLVERS[solver])
    seconds = time.process_time() - started
    nearest = rows.nearest()
    costs, base = rows.costs(levels), rows.costs(nearest).sum()
    errors = [_held_out(halves, formulation, grid.weights(chosen)) for chosen in (levels, nearest)]
    found: dict[str, Any] = {
        "cost": float(costs.sum() / base),
        "held_out": errors[0] / errors[1],
        "microseconds_per_row": 1e6 * seconds / rows.num_rows,
        "bound": None,
        "proved": None,
        "optimal": None,
    }
    if rows.fan_in <= EXACT:
        least = rows.costs(search(rows, levels, max_nodes=ALL_NODES).levels)
        found["optimal"] = float(np.mean(costs <= least * (1 + 1e-9)))
    if solver not in BOUNDED:
        return found
    bounds = lower_bounds(rows, levels)
    found["bound"] = float(bounds.sum() / base)
    found["proved"] = float(np.mean(costs <= bounds * (1 + PROVED)))
    return found


def _own_ridge(
    halves: Halves, plain: Formulation, grid: Grid, bits: int, rng: np.random.Generator
) -> float:
    told = RoundingOptions(bits, centred=plain.centred, asymmetric=plain.asymmetric)
    return held_out_ridge(halves.weights, halves.bias, grid, halves.parts, told, rng=rng)


def _held_out(halves: Halves, formulation: Formulation, rounded: Floats) -> float:
    bias = formulation.bias(halves.weights, rounded, halves.bias, halves.here)
    errors = output_error(halves.weights, rounded, halves.bias, bias, halves.there)
    own = output_error(halves.weights, halves.weights, halves.bias, halves.bias, halves.there)
    return float((errors - own).sum())


def layer_tasks(halves: Halves, name: str, spec: Mapping[str, Any]) -> Iterator[Task]:
    """Yield the tasks of a layer."""
    fan_in = halves.weights.shape[1]
    for solver in SOLVERS:
        if (solver == "exact" and fan_in > EXACT) or (solver.startswith("neal") and fan_in > NEAL):
            continue
        yield Task(
            JOB, {**spec, "layer": name, "fan_in": fan_in, "solver": solver, "num_rows": NUM_ROWS}
        )


def run_layers(
    records: RecordFile,
    *,
    network: str,
    bits: int,
    num_images: int,
    size: int,
    seed: int,
    data_dir: Pathlike | None = None,
    progress: Callable[[int, int, Record], None] = lambda done, total, row: None,
) -> None:
    """Append the rows that are not there yet."""
    case = load_case(network, data_dir=data_dir, num_calibration=num_images, size=size, seed=seed)
    layers = layer_halves(case.traced, case.calibration)
    spec = {"network": network, "bits": bits, "num_images": num_images, "seed": seed, "size": size}
    tasks = [task for name, halves in layers.items() for task in layer_tasks(halves, name, spec)]
    done = records.done() if records.path.exists() else set()
    warm_up_rounders()  # so that no compiling is timed
    for number, task in enumerate(tasks, start=1):
        if task.id in done:
            continue
        part = first_rows(layers[task.spec["layer"]], task.spec["num_rows"])
        started = time.perf_counter()
        found = solve_layer(part, task.spec["solver"], bits, seed=seed)
        row = Record(task, found, time.perf_counter() - started)
        records.append(row)
        progress(number, len(tasks), row)


def write_page(folder: Path, *, command: str) -> None:
    """Write the page of the rows of a folder.

    Raises :class:`~anneal.errors.InputError` where there are none.
    """
    shown = tables(rows_of(folder / ROW_FILE, JOB))
    title = "Solvers on layers"
    write_rows_page(folder / PAGE, title, reading=_READING, command=command, tables=shown)


_READING = (
    "One layer of each fan-in, its first rows; the covariance of its inputs on half of the images, "
    "with a ridge of 1 %. Costs are over that of the nearest levels: *cost* of the problem solved, "
    "*held out* the same error on the other half. No rounding costs less than *bound*; *proved* is "
    "the share of rows that are known to be optimal, *optimal* of those that a search of ten "
    "million nodes finds nothing better than. Two levels: those around each weight are all there "
    "is to choose from. Ridge held out: chosen by parts of the half that is solved for, as "
    "networks are rounded; the cost is of that problem. `qbnn.paper.plain_relaxation` is `relax` "
    "by autograd; microseconds are for one row, of one processor's time."
)


def tables(rows: Sequence[Record]) -> Iterator[Table]:
    """Yield a table for each layer, in the order of the rows, solvers in that of ``SOLVERS``."""
    lines = [{**row.task.spec, **row.result} for row in rows]
    titles = list(dict.fromkeys(map(_title, lines)))
    solvers = list(SOLVERS)
    for title in titles:
        group = [line for line in lines if _title(line) == title]
        group.sort(key=lambda line: solvers.index(line["solver"]))
        yield Table(title, _COLUMNS, group)


def _title(line: Row) -> str:
    return f"{line['network']} W{line['bits']}, fan-in {line['fan_in']}, {line['layer']}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


_COLUMNS = [
    column("solver"),
    column("num_rows", "rows"),
    column("cost", show=_share),
    column("held_out", "held out", _share),
    column("bound", show=_share),
    column("proved", show=_percent),
    column("optimal", show=_percent),
    column("microseconds_per_row", "µs a row", "{:.0f}".format),
]
