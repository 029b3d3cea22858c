"""Rates are measured on what they are told to, once, and shown in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from anneal import rates
from anneal.records import RecordFile
from anneal.report import rates_table
from anneal.suites import generated_instance


def test_rates_resume_and_make_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = generated_instance("sk", seed=1, num_spins=120)
    graph = generated_instance("maxcut", seed=1, num_vertices=30, density=0.1)
    chosen = [
        rates.Rate("anneal", instance, rates.annealing, "updates/ns"),
        rates.Rate("neal", instance, rates.neal_annealing, "updates/ns"),
        rates.Rate("tabu", instance, rates.tabu_moves, "moves/s"),
        rates.Rate("anneal, bits", graph, rates.bit_annealing, "updates/ns"),
        rates.Rate("memory", instance, rates.peak_memory, "GB"),
    ]
    monkeypatch.setattr(rates, "rates", lambda: chosen)
    monkeypatch.setattr(rates, "REPEATS", 1)
    monkeypatch.setattr(rates, "MEMORY", rates.MEMORY.replace("time_limit=10", "num_sweeps=100"))
    told: list[str] = []
    file = RecordFile(tmp_path / "records.jsonl")
    rows = rates.run_rates(file, progress=lambda fraction, text: told.append(text))
    assert [text.partition(" on ")[0] for text in told] == [
        "anneal",
        "neal",
        "tabu",
        "anneal, bits",
        "memory",
    ]
    assert all(row.result["rate"] > 0 for row in rows)
    assert rows[4].result["rate"] < 16  # GB, not bytes
    assert rates.run_rates(file, progress=lambda *_: pytest.fail("measured again")) == rows
    assert [row["unit"] for row in rates_table(rows).rows] == [rate.unit for rate in chosen]
