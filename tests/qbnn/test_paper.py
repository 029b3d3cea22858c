"""The comparison of deformed networks: its grid, what a stop leaves, and what its page says."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from anneal.errors import InputError
from anneal.measure import Estimate
from anneal.records import Record, RecordFile, Task
from qbnn.commands import paper as commands
from qbnn.models import Network, count_parameters
from qbnn.paper import grid
from qbnn.paper.grid import Cell, Data, run_cells, sweep_cells, table_cells
from qbnn.paper.networks import ARCHITECTURES, ROWS, make_network, row_config
from qbnn.paper.plots import accuracy_against_parameters, learning_curves
from qbnn.paper.report import page
from qbnn.paper.tables import comparisons, finding, results, sweep, t_interval, verdict

TINY = Data(limit=60)


def tiny_cells(**options: Any) -> list[Cell]:
    rows, seeds = options.pop("rows", ["none", "real4"]), options.pop("seeds", [1, 2])
    given = {"datasets": ["digits"], "architectures": ["A"], "epochs": 1, **options}
    return table_cells(rows=rows, seeds=seeds, **given)


def made_up(
    accuracies: Mapping[str, Sequence[float]],
    *,
    dataset: str = "mnist",
    name: str = "A",
    epochs: int = 4,
) -> list[Record]:
    """Rows of seeds 1, 2, …, each with the accuracy given; NaN is a seed that was not run."""
    found = []
    for row, values in accuracies.items():
        for seed, accuracy in enumerate(values, start=1):
            spec = {
                "dataset": dataset,
                "num_train": 55000,
                "name": name,
                "row": row,
                "architecture": ARCHITECTURES[name].stages,
                "family": row,
                "epochs": epochs,
                "batch_size": 128,
                "learning_rate": ROWS[row].learning_rate or 0.1,
                "schedule": "cosine",
                "seed": seed,
            }
            result = {
                "num_parameters": 1000 + len(row),
                "test_accuracy": accuracy,
                "test_cross_entropy": 0.25,
                "validation_accuracy": [accuracy - 0.03, accuracy - 0.01, accuracy, accuracy],
                "cpu_seconds": 3.0,
                "device": "cpu",
            }
            if not math.isnan(accuracy):
                found.append(Record(Task("deformed-table", spec), result, 3.5))
    return found


def test_all_rows_of_a_seed_come_before_the_next_seed_and_small_networks_first() -> None:
    cells = table_cells()
    places = [(cell.architecture, cell.seed) for cell in cells]
    assert places == sorted(places)
    first = [cell.row for cell in cells if cell.dataset == "mnist"][: len(ROWS)]
    assert first == list(ROWS)
    assert {cell.row for cell in cells if cell.architecture == "C"} < set(ROWS)
    assert len({cell.seed for cell in cells if cell.architecture == "C"}) == 3


def test_cells_have_one_recipe_but_for_the_row_of_floats() -> None:
    for name in ARCHITECTURES:
        recipes = {
            cell.options.model_copy(update={"seed": 0})
            for cell in table_cells()
            if cell.architecture == name and cell.row != "float"
        }
        assert len(recipes) == 1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_wider_network_has_as_many_parameters_as_the_deformed_one(name: str) -> None:
    counts = {}
    for row in ("real4", "none-matched", "none", "free", "float"):
        config = row_config(ROWS[row], ARCHITECTURES[name].stages, in_shape=(1, 28, 28))
        counts[row] = count_parameters(make_network(config))
    assert abs(counts["none-matched"] / counts["real4"] - 1) < 0.02
    assert counts["float"] == counts["none"] < counts["free"] < counts["real4"]


@settings(max_examples=10)
@given(side=st.integers(8, 24), channels=st.integers(1, 3))
def test_a_hidden_layer_is_matched_for_any_images(side: int, channels: int) -> None:
    shape = (channels, side, side)
    deformed = Network(row_config(ROWS["real4"], "SM10", in_shape=shape))
    wider = Network(row_config(ROWS["none-matched"], "SM10", in_shape=shape))
    assert abs(count_parameters(wider) / count_parameters(deformed) - 1) < 0.02


def test_what_has_a_row_is_not_run_again(tmp_path: Path) -> None:
    records, cells = RecordFile(tmp_path / "rows.jsonl"), tiny_cells()
    ran: list[int] = []

    def note(done: int, total: int, row: Record) -> None:
        assert total == 4
        ran.append(done)

    first = run_cells(cells[:3], records, TINY)
    assert len(first.rows) == 3 and not first.left
    whole = run_cells(cells, records, TINY, progress=note)
    assert ran == [4] and len(whole.rows) == 4 and whole.rows[:3] == first.rows
    assert len(records.path.read_text().splitlines()) == 4


def test_a_row_holds_its_inputs_and_follows_from_them(tmp_path: Path) -> None:
    [cell] = tiny_cells(rows=["real4-frozen"], seeds=[3], epochs=2)
    rows = [run_cells([cell], RecordFile(tmp_path / name), TINY).rows[0] for name in ("one", "two")]
    spec, result = rows[0].task.spec, rows[0].result
    assert spec["family"] == "real4" and spec["trainable"] is False and spec["seed"] == 3
    assert spec["num_train"] == 60 and spec["epochs"] == 2 and spec["architecture"] == "SM10"
    assert result["num_test"] == 60 and len(result["validation_accuracy"]) == 2
    assert result["least_sigma"] > 0 and result["cpu_seconds"] > 0
    for key in ("test_accuracy", "test_cross_entropy", "train_loss"):
        assert result[key] == rows[1].result[key]


def test_after_the_budget_nothing_begins(tmp_path: Path) -> None:
    records, cells = RecordFile(tmp_path / "rows.jsonl"), tiny_cells()
    found = run_cells(cells, records, TINY, hours=0)
    assert found.left == cells and not found.rows and not found.interrupted


def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    records, cells = RecordFile(tmp_path / "rows.jsonl"), tiny_cells()

    def interrupt(done: int, total: int, row: Record) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    found = run_cells(cells, records, TINY, progress=interrupt)
    assert found.interrupted and found.left == cells[2:] and len(records.done()) == 2
    assert not run_cells(cells, records, TINY).left


def test_a_loss_that_is_not_finite_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise FloatingPointError("the loss is nan")

    records, cells = RecordFile(tmp_path / "rows.jsonl"), tiny_cells(seeds=[1])
    with monkeypatch.context() as patch:
        patch.setattr(grid, "train", fail)
        run_cells(cells, records, TINY)
    [made] = comparisons(records.read())
    assert made.failed == {"none": 1, "real4": 1} and not made.found
    assert "0 of 5, 1 not finite" in page(records.read(), command="", pictures={})
    assert not run_cells(cells, records, TINY).left


def test_a_sweep_sees_no_image_for_testing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "evaluate", None)
    cells = sweep_cells(datasets=["digits"], architectures=["A"], rows=["none"], epochs=1)
    assert not {cell.seed for cell in cells} & {cell.seed for cell in table_cells()}
    rows = run_cells(cells, RecordFile(tmp_path / "rows.jsonl"), TINY).rows
    table = sweep(rows)
    assert table is not None and not comparisons(rows)
    [line] = table.rows
    best = max(max(row.result["validation_accuracy"]) for row in rows)
    shown = [column.show(line) for column in table.columns]
    assert f"**{100 * best:.2f}**" in shown and len(shown) == 4 + len(cells)
    text = page(rows, command="", pictures={})
    assert "Another rate than that was the best for: digits A none." in text


@pytest.mark.slow
def test_processes_give_the_rows_of_one(tmp_path: Path) -> None:
    cells = tiny_cells(rows=["none", "sign", "float"])
    alone = run_cells(cells, RecordFile(tmp_path / "one"), TINY).rows
    beside = run_cells(cells, RecordFile(tmp_path / "two"), TINY, num_jobs=2).rows
    assert [row.task.id for row in beside] == [row.task.id for row in alone]
    for mine, theirs in zip(alone, beside, strict=True):
        assert mine.result["test_cross_entropy"] == theirs.result["test_cross_entropy"]


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_intervals_are_those_of_scipy(values: list[float]) -> None:
    found = t_interval(values)
    error = float(stats.sem(values))
    if error > 1e-12:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-9, atol=1e-12)
    assert math.isclose(found.value, float(np.mean(values)), abs_tol=1e-12)


@given(
    st.lists(
        st.tuples(st.floats(0.8, 0.9), st.floats(-0.05, 0.05)), min_size=2, max_size=6, unique=True
    )
)
def test_what_a_seed_does_to_both_rows_drops_out(pairs: list[tuple[float, float]]) -> None:
    base, gains = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    rows = {"none": base, "real4": [b + g for b, g in zip(base, gains, strict=True)]}
    [made] = comparisons(made_up(rows))
    found = made.difference("real4", "none")
    assert found is not None
    np.testing.assert_allclose(found, t_interval(gains), rtol=1e-6, atol=1e-9)


def test_differences_are_over_the_seeds_of_both_rows() -> None:
    rows = {"none": [0.8, 0.9, 0.7], "real4": [math.nan, 0.91, 0.73, 0.5]}
    [made] = comparisons(made_up(rows))
    found = made.difference("real4", "none")
    assert found is not None and math.isclose(found.value, 0.02)


def test_verdicts() -> None:
    assert verdict(None) is None
    assert verdict(t_interval([0.1])) == "one seed"
    assert verdict(Estimate(0.1, 0.05, 0.15)) == "better, outside the interval"
    assert verdict(Estimate(-0.1, -0.15, -0.05)) == "worse, outside the interval"
    assert verdict(Estimate(0.1, 0.0, 0.2)) == "within the interval"


@pytest.mark.parametrize(
    ("matched", "said"),
    [
        ([0.95, 0.96], "takes back the whole gain"),
        ([0.85, 0.86], "does not take that back"),
        ([0.88, 0.94], "does as well"),
        ([], "was not run"),
    ],
)
def test_the_page_says_what_the_wider_network_took_back(matched: list[float], said: str) -> None:
    rows = {"none": [0.80, 0.81], "real4": [0.90, 0.911], "none-matched": matched}
    [made] = comparisons(made_up(rows))
    text = finding(made)
    assert said in text and "real4 beats PBNet of the same width" in text
    assert "+10.05 ± 0.64 points (better, outside the interval)" in text
    assert "free α, β, γ: not run" in text


def test_a_gain_within_its_interval_is_none() -> None:
    [made] = comparisons(made_up({"none": [0.80, 0.85], "real4": [0.84, 0.83]}))
    assert "real4 does not beat PBNet of the same width" in finding(made)
    [one] = comparisons(made_up({"none": [0.80], "real4": [0.84]}))
    assert "one seed" in finding(one) and "does not beat" in finding(one)


def test_cells_without_a_row_are_empty_and_say_so() -> None:
    rows = made_up({"none": [0.9, 0.91, 0.92], "real4": [0.93, 0.94, 0.95], "float": [0.92]})
    text = page(rows, command="qbnn paper deformed-table", pictures={"curves": "Curves."})
    [made] = comparisons(rows)
    table = results(made)
    shown = {row["row"]: [c.show(row) for c in table.columns] for row in table.rows}
    assert list(shown) == list(ROWS)
    assert shown["su4"][1:5] == ["–", "0 of 5", "not run", "–"]
    assert shown["none"][2:4] == ["3 of 5", "91.00 ± 2.48"]
    assert shown["real4"][5:7] == ["+3.00 ± 0.00", "better, outside the interval"]
    assert shown["float"][3] == "92.00 (one seed)"
    assert "**fashion-mnist, architecture C.** Not run." in text
    assert "![Curves.](curves.png)" in text and "qbnn paper deformed-table" in text
    assert "None" not in text and "nan" not in text


def test_rows_that_were_trained_otherwise_are_not_compared() -> None:
    rows = made_up({"none": [0.9]}) + made_up({"real4": [0.95]}, epochs=9)
    assert [made.difference("real4", "none") for made in comparisons(rows)] == [None, None]


def test_pictures_of_any_rows() -> None:
    whole = made_up({row: [0.9 + k / 100, 0.91] for k, row in enumerate(ROWS)})
    for rows in (whole, whole[:1], whole + made_up({"sign": [0.2]}, name="C")):
        made = comparisons(rows)
        for draw in (learning_curves, accuracy_against_parameters):
            assert draw(made).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="no row to draw"):
        learning_curves([])


def run(*words: str) -> Any:
    app = typer.Typer()

    @app.callback()
    def main(debug: bool = False) -> None:
        """Take the option that every command knows of."""

    commands.register(app)
    return CliRunner().invoke(app, ["paper", "deformed-table", *words])


def test_the_command_runs_lists_and_reports(tmp_path: Path) -> None:
    out, small = str(tmp_path / "table"), ["--datasets", "digits", "--architectures", "A"]
    small += ["--families", "none,real4", "--seeds", "2", "--epochs", "1", "--limit", "60"]
    assert run("--out", out, *small, "--dry-run").stdout.splitlines()[:2] == [
        "digits A none seed 1",
        "digits A real4 seed 1",
    ]
    found = run("--out", out, *small, "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert document["done"] == 4 and document["left"] == []
    assert document["tables"]["digits, architecture A"][0]["num_seeds"] == 2
    listed = json.loads(run("--out", out, *small, "--dry-run", "--json").stdout)["cells"]
    assert [cell["done"] for cell in listed] == [True] * 4
    text = (tmp_path / "table" / "README.md").read_text()
    assert f"qbnn paper deformed-table --out {out} --datasets digits" in text
    assert (tmp_path / "table" / "learning-curves.png").exists()
    assert run("--out", out, *small, "--report", "--quiet").exit_code == 0
    assert (tmp_path / "table" / "README.md").read_text() == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--families", "reel4"], "unknown family 'reel4'; did you mean"),
        (["--architectures", "D"], "unknown architecture 'D'"),
        (["--datasets", "mnits"], "unknown dataset 'mnits'; did you mean 'mnist'"),
        (["--seeds", "x"], "seeds are a count"),
        (["--sweep", "--seeds", "2"], "a sweep has its own seed"),
        (["--report"], "No such file"),
        (["--datasets", "digits", "--device", "gpu7"], "no device 'gpu7'"),
    ],
)
def test_what_cannot_be_used_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    found = run("--out", str(tmp_path / "none"), *words)
    assert found.exit_code == 2 and said in found.stderr
    assert len(found.stderr.splitlines()) == 1
