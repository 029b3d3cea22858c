"""Rows of speed: what is timed is the same work, and rows and tables have what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from anneal.records import Record, RecordFile, Task
from qbnn.commands import paper
from qbnn.config import make_config
from qbnn.kernels import poisson_binomial
from qbnn.models import Network
from qbnn.paper.speed_page import tables
from qbnn.paper.step_rates import NETWORKS, plain_network, rates, transformed_tail

app = typer.Typer()
paper.register(app)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_plain_network_has_the_same_weights(name: str) -> None:
    plain = plain_network(NETWORKS[name])
    config = make_config({"architecture": NETWORKS[name], "in_shape": (1, 28, 28)})
    named = Network(config).named_parameters()
    ours = [tuple(p.shape) for name, p in named if name.endswith("latent")]
    assert [tuple(p.shape) for p in plain.parameters() if p.dim() > 1] == ours
    assert plain(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_the_peer_of_the_exact_law_is_right() -> None:
    r = np.random.default_rng(1).random((5, 20))
    for kappa in (0, 1, 9, 20):
        assert np.allclose(transformed_tail(r, kappa), poisson_binomial.tail(r, kappa), atol=1e-13)


def test_rows_have_their_ratio_and_a_table() -> None:
    rows = list(rates(batch_sizes=[2], num_threads=[1], networks=["B"], fan_ins=[9], rounds=1))
    for row in rows:
        assert row.result["ratio"] == pytest.approx(row.result["ours"] / row.result["theirs"])
    assert [table.name for table in tables(rows)] == [
        "training_step",
        "exact_law",
        "packed_inference",
    ]
    assert rows[2].result["error"] < 1e-12


def test_the_command_writes_rows_and_a_page(tmp_path: Path) -> None:
    words = ["paper", "speed", "--out", str(tmp_path), "--networks", "B"]
    found = CliRunner().invoke(app, [*words, "--threads", "1", "--batch-sizes", "2"])
    assert found.exit_code == 0, found.output
    rows = RecordFile(tmp_path / "speed.jsonl").read()
    assert {row.task.job for row in rows} == {"training step", "exact law", "packed inference"}
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "times as long" in page and "--networks B --threads 1 --batch-sizes 2`" in page


@pytest.mark.parametrize(
    "job, spec, ratio, goal",
    [
        ("training step", {"network": NETWORKS["C"], "family": "real4"}, 2.9, "≤ 3: met"),
        ("training step", {"network": NETWORKS["dense"], "family": "none"}, 2.1, "≤ 2: missed"),
        ("exact law", {"fan_in": 784}, 0.04, "≥ 20: met"),
        ("exact law", {"fan_in": 72}, 0.04, ""),
        ("packed inference", {"network": "a", "batch_size": 1}, 0.2, "≥ 10: missed"),
        ("packed inference", {"network": "a", "batch_size": 1, "num_threads": 2}, 0.2, ""),
    ],
)
def test_goals_are_met_or_missed(job: str, spec: dict[str, Any], ratio: float, goal: str) -> None:
    times = {"ours": ratio, "theirs": 1.0, "ratio": ratio}
    [table] = tables([Record(Task(job, {"num_threads": 1, **spec}), times, 0.0)])
    assert table.columns[-1].show(table.rows[0]) == goal


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    [row] = [
        row
        for row in rates(
            batch_sizes=[2], num_threads=[], networks=["C"], families=["none"], fan_ins=[]
        )
        if row.task.job == "peak memory of training"
    ]
    assert 1e8 < row.result["bytes"] < 2e9
    [table] = tables([row])
    assert table.columns[-1].show(table.rows[0]) == "≤ 2: met"


@pytest.mark.parametrize("words", [["--networks", "D"], ["--threads", "0"], ["--threads", "x"]])
def test_what_the_command_refuses(words: list[str], tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["paper", "speed", "--out", str(tmp_path), *words])
    assert found.exit_code != 0
    assert not list(tmp_path.iterdir())
