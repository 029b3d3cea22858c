"""The comparison of rounding methods, on the network that is trained in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anneal.errors import InputError
from anneal.records import RecordFile
from qbnn.paper import rounding_methods, rounding_table
from qbnn.paper.rounding_methods import METHODS, Case, load_case, photographs, rounded
from qbnn.paper.rounding_table import roundings, run_roundings, tables, write_page

OURS = [name for name, method in METHODS.items() if method.peer is None]


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("digits", num_calibration=96, limit=120)


@pytest.mark.parametrize("name", OURS)
def test_eight_bits_change_little_and_the_case_not_at_all(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anneal.rounding.relaxation.NUM_STEPS", 200)
    before = {key: tensor.clone() for key, tensor in case.traced.module.state_dict().items()}
    network = rounded(case, METHODS[name], 8, 8, seed=1)
    wanted, found = case.traced.module(case.images), network(case.images)
    changed = 0.1 if name in ("stochastic", "dfq", "no-images") else 0.03
    assert 0 < (found - wanted).norm() / wanted.norm() < changed
    for key, tensor in case.traced.module.state_dict().items():
        assert torch.equal(tensor, before[key])


def test_rows_are_made_once_and_the_page_holds_them(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str, **_: Any) -> Case:
        loaded.append(name)
        return case

    monkeypatch.setattr(rounding_table, "load_case", load)
    records = RecordFile(tmp_path / "records.jsonl")
    few = roundings(networks=["digits"], widths=["W3"], methods=["nearest", "gptq+bias"])
    run_roundings(few, records)
    more = roundings(networks=["digits"], widths=["W3", "W4A8"], methods=["gptq+bias", "nearest"])
    seen: list[tuple[int, int]] = []
    run_roundings(more, records, progress=lambda done, total, row: seen.append((done, total)))
    assert loaded == ["digits", "digits"] and seen == [(3, 4), (4, 4)]
    run_roundings(more, records)
    assert len(records.read()) == 4 and len(loaded) == 2
    by = {(row.task.spec["bits"], row.task.spec["method"]): row.result for row in records.read()}
    assert by[3, "gptq+bias"]["kl"] < by[3, "nearest"]["kl"]
    found = list(tables(records.read()))
    assert [[row["method"] for row in table.rows] for table in found] == [
        ["nearest", "gptq+bias"]
    ] * 2
    write_page(tmp_path, command="a command")
    page = (tmp_path / "README.md").read_text()
    assert "a command" in page and "digits W4A8" in page.replace("Digits", "digits")
    assert page.count("| gptq+bias ") == 3  # in both tables and in the list of methods


def test_names_that_are_not_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'lns'"):
        roundings(methods=["lsn"])
    with pytest.raises(InputError, match="unknown width"):
        roundings(widths=["W5"])
    with pytest.raises(InputError, match="efficientnet-lite0, digits"):
        load_case("mnits", num_calibration=8)
    with pytest.raises(InputError, match="holds no rows"):
        (tmp_path / "records.jsonl").write_text("")
        write_page(tmp_path, command="")


def test_photographs_that_are_not_there_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QBNN_DATA", raising=False)
    with pytest.raises(InputError, match="QBNN_DATA"):
        photographs(None)
    with pytest.raises(InputError, match="photographs"):
        photographs(tmp_path)
    (tmp_path / rounding_methods.PHOTOGRAPHS).mkdir()
    assert photographs(tmp_path) == tmp_path / "photographs"


def test_a_peer_that_is_not_installed_leaves_a_row_that_says_so(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*args: Any, **options: Any) -> Any:
        raise InputError("brevitas is not installed")

    monkeypatch.setattr(rounding_table, "rounded", absent)
    one = roundings(networks=["digits"], widths=["W4"], methods=["brevitas-gptq"])[0]
    row = rounding_table.run_rounding(one, case)
    assert row.result == {"error": "brevitas is not installed"}
    assert not list(tables([row]))
