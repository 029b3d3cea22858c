"""The page of the comparison: tables, findings and pictures, made from the rows alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anneal.errors import InputError
from anneal.files import write_bytes, write_text
from anneal.records import Record, RecordFile
from anneal.tables import Table, column, to_json, to_markdown
from qbnn.paper.grid import DATASETS, SWEEP, SWEPT_ROWS, SWEPT_SEED, TABLE
from qbnn.paper.networks import ARCHITECTURES, DEFORMED, FLOAT, MATCHED, ROWS
from qbnn.paper.plots import accuracy_against_parameters, learning_curves
from qbnn.paper.tables import (
    NOT_RUN,
    Comparison,
    best_rates,
    comparisons,
    finding,
    missing,
    results,
    sweep,
)

RISES = 0.003  # of the validation accuracy
ROW_FILE, PAGE = "records.jsonl", "README.md"
PICTURES = {
    "learning-curves": (learning_curves, "Validation accuracy after each epoch, mean over seeds."),
    "parameters": (
        accuracy_against_parameters,
        "Test accuracy with its interval, over the number of trained parameters.",
    ),
}


READING = (
    "All rows of a table had the same epochs, images, optimiser (Adam), batch size and schedule, "
    f"and, but for `{FLOAT}`, the same learning rate. The network of the epoch with the best "
    "validation was tested once, on the whole test set. ± is half of Student's interval of 95 % "
    "over seeds; a difference is taken seed by seed. *Outside the interval*: the interval of the "
    "difference does not hold zero. Each interval stands for itself: of twenty rows without any "
    "difference one is outside by chance; and what another test set would change is not in it. "
    "The *rise* is that of the validation accuracy, in points: near zero, the row has converged. "
    f"The network with as many parameters and the random gate are controls of `{DEFORMED}` alone; "
    "other families have more or fewer. The family w-local is no row, as θ takes up what it does, "
    "and local and scaled were not run."
)


def read_rows(folder: Path) -> list[Record]:
    """Return the rows of a folder; raise :class:`~anneal.errors.InputError` where there are none.

    Cells of the table and of the sweep count, whatever else the file holds.
    """
    path = folder / ROW_FILE
    rows = [row for row in RecordFile(path).read() if row.task.job in (TABLE, SWEEP)]
    if not rows:
        raise InputError("holds no rows of the comparison", path=path)
    return rows


def write_report(folder: Path, *, command: str, datasets: Sequence[str] = DATASETS) -> None:
    """Write page and pictures beside the rows of a folder."""
    rows = read_rows(folder)
    made = comparisons(rows)
    shown = {}
    if made:
        for name, (draw, caption) in PICTURES.items():
            write_bytes(folder / f"{name}.png", draw(made))
            shown[name] = caption
    write_text(folder / PAGE, page(rows, command=command, pictures=shown, datasets=datasets))


def page(
    records: Sequence[Record],
    *,
    command: str,
    pictures: dict[str, str],
    datasets: Sequence[str] = DATASETS,
) -> str:
    """Return the page as Markdown; ``pictures``: captions by the names of PNG files beside it."""
    made = comparisons(records)
    absent = missing(made, datasets)
    parts = [
        "# Deformed networks against their controls",
        f"```sh\n{command}\n```",
        _origin(records, made),
        "## What was found",
        *(f"- **{one.title}.** {finding(one)}" for one in made),
        *(f"- **{title}.** {NOT_RUN.capitalize()}." for title in absent),
        "## How to read the tables",
        READING,
        _markdown(_legend()),
        *(_section(one) for one in made),
        *(f"## {title}\n\n{NOT_RUN.capitalize()}." for title in absent),
        *(f"## {caption}\n\n![{caption}]({name}.png)" for name, caption in pictures.items()),
        *_sweep(records, made),
    ]
    return _joined(parts) + "\n"


def documents(records: Sequence[Record]) -> dict[str, Any]:
    """Return the tables as plain values for JSON, by title."""
    tables = [results(one) for one in comparisons(records)]
    found: dict[str, Any] = json.loads(to_json(tables))["tables"]
    return found


def _joined(parts: Sequence[str]) -> str:
    """Join paragraphs by empty lines, and points of a list by none."""
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        both = before.startswith("- ") and part.startswith("- ")
        text += ("" if not text else "\n" if both else "\n\n") + part
    return text


def _origin(records: Sequence[Record], made: Sequence[Comparison]) -> str:
    """Say from what the page is made, on what machines, and what it cost."""
    seconds = sum(float(row.result.get("cpu_seconds", 0.0)) for row in records)
    machines = dict.fromkeys(
        f"{row.machine['cpu']}, {row.machine['cores']} cores, {row.result.get('device', 'cpu')}"
        for row in records
    )
    kinds = dict.fromkeys(
        f"torch {row.versions.get('torch', '?')}, qbnn {row.versions.get('qbnn', '?')}"
        for row in records
    )
    trained = sum(len(runs) for one in made for runs in one.found.values())
    others = len(records) - trained
    chosen = f", {others} more to choose the learning rate" if others else ""
    where = f"{'; '.join(machines)} ({'; '.join(kinds)})"
    return (
        f"Made from the {len(records)} rows in [{ROW_FILE}]({ROW_FILE}): {trained} trainings in "
        f"the tables{chosen}; {seconds / 3600:.1f} hours of computing, one thread each, on {where}."
    )


def _section(one: Comparison) -> str:
    common = one.common
    rate = "" if one.learning_rate is None else f", learning rate {one.learning_rate:g}"
    plan = ARCHITECTURES.get(common["name"])
    shape = f"{plan.stages} ({plan.description})" if plan else common["name"]
    wider = one.stages(MATCHED)
    about = [
        f"`{shape.partition(' ')[0]}`{shape.partition('SM10')[2]}: {common['num_train']:,} images, "
        f"{common['epochs']} epochs, batches of {common['batch_size']}, {common['schedule']} "
        f"schedule{rate}.",
        f"The PBNet with as many parameters as `{DEFORMED}` is `{wider}`." if wider else "",
    ]
    rising = [line["row"] for line in results(one).rows if (line["late_rise"] or 0) > RISES]
    if rising:
        names = ", ".join(f"`{name}`" for name in rising)
        about.append(
            f"Still rising by more than {100 * RISES:g} points in the last two epochs, not "
            f"converged: {names}."
        )
    text = " ".join(part for part in about if part)
    return f"## {one.title}\n\n{text}\n\n{_markdown(results(one))}"


def _legend() -> Table:
    rows = [
        {
            "row": name,
            "what": row.description,
            "share": row.share if row.family not in ("none", "sign", FLOAT) else "–",
            "trained": "yes" if row.trainable else "no",
        }
        for name, row in ROWS.items()
    ]
    columns = [
        column("row"),
        column("what"),
        column("share", "a gate for each"),
        column("trained", "gates trained"),
    ]
    return Table("rows", columns, rows)


def _sweep(records: Sequence[Record], made: Sequence[Comparison]) -> list[str]:
    found = sweep(records)
    if found is None:
        return []
    rates = {one.common["name"]: one.learning_rate for one in made}
    elsewhere = [
        f"{line['dataset']} {line['name']} {line['row']}"
        for line in found.rows
        if rates.get(line["name"]) not in best_rates(line)
    ]
    about = (
        f"Best validation accuracy in % at each rate, seed {SWEPT_SEED}, which is not among the "
        f"seeds above; rows: {', '.join(SWEPT_ROWS)}. No image of a test set was seen. One rate "
        f"was then taken for all rows; `{FLOAT}` has {ROWS[FLOAT].learning_rate:g}, not tuned. "
        f"Another rate than that was the best for: {', '.join(elsewhere) or 'none'}."
    )
    return ["## How the learning rate was chosen", about, _markdown(found)]


def _markdown(table: Table) -> str:
    """Return a table without its heading."""
    return to_markdown([table]).partition("\n\n")[2].strip()
