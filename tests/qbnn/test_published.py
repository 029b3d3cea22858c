"""The published network trained anew: rows once, a page, and a stop that is gone on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.records import RecordFile, Task
from qbnn.paper import published
from qbnn.training.runs import run_training


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "ARCHITECTURE", "4C3-MP2-SM10")


def run(folder: Path, *words: str) -> Result:
    told = "--data", "digits", "--epochs", "2", "--out", str(folder), "--run", str(folder / "run")
    return CliRunner().invoke(cli.app, ["paper", "pbnet", *told, *words])


def test_rows_are_made_once_and_shown(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first.exit_code == 0, first.output
    rows = list(RecordFile(tmp_path / "pbnet.jsonl").read())
    assert [row.task.spec["judged"]["name"] for row in rows] == list(published.WAYS)
    accuracy = {row.task.spec["judged"]["name"]: row.result["accuracy"] for row in rows}
    page = (tmp_path / "pbnet.md").read_text()
    assert f"{100 * accuracy['propagate']:.2f}" in page and "99.35" not in page
    assert "qbnn paper pbnet --data digits --epochs 2 --seed 1" in page
    assert run(tmp_path, "--quiet").exit_code == 0
    assert len(list(RecordFile(tmp_path / "pbnet.jsonl").read())) == len(rows)


def test_the_published_figures_stand_beside_mnist_alone(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    rows = list(RecordFile(tmp_path / "pbnet.jsonl").read())
    told = [Task(row.task.job, {**row.task.spec, "data": "mnist"}) for row in rows]
    (table,) = published.tables(
        [replace(row, task=task) for row, task in zip(rows, told, strict=True)]
    )
    assert [line["published"] for line in table.rows] == [0.9935, None, 0.9922, None, None]


def test_a_training_that_was_stopped_makes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: Any, **told: Any) -> dict[str, Any]:
        return {**(run_training(*given, **told) or {}), "interrupted": True}

    monkeypatch.setattr("qbnn.paper.published.run_training", stopped)
    assert run(tmp_path).exit_code == 130
    assert not (tmp_path / "pbnet.jsonl").exists()
    monkeypatch.undo()
    monkeypatch.setattr(published, "ARCHITECTURE", "4C3-MP2-SM10")
    assert run(tmp_path).exit_code == 0
