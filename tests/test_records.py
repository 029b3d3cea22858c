from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.records import Record, RecordFile, Task, canonical_json, machine, versions

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
specs = st.dictionaries(st.text(), json_values, max_size=4)


def record(seed: int, energy: float = -1.0) -> Record:
    return Record(Task("solve", {"seed": seed}), {"energy": energy}, 0.5)


@given(specs)
def test_id_does_not_depend_on_the_order_of_keys(spec: dict[str, object]) -> None:
    backwards = dict(reversed(spec.items()))
    assert Task("solve", spec).id == Task("solve", backwards).id
    assert Task("solve", spec).id != Task("other", spec).id


def test_id_tells_exact_inputs_apart() -> None:
    tasks = [Task("a", {"x": value}) for value in (0, 1, 1.5, "1", None, [1], np.nextafter(1.5, 2))]
    assert len({task.id for task in tasks}) == len(tasks)
    assert Task("a", {"x": np.int8(3)}).id == Task("a", {"x": 3}).id


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), {"a": 1j}])
def test_what_json_cannot_hold_is_an_input_error(value: object) -> None:
    with pytest.raises(InputError, match="not a JSON value"):
        canonical_json({"x": value})


@given(specs, specs, st.floats(0, 1e6))
def test_record_comes_back(spec: dict[str, object], result: dict[str, object], s: float) -> None:
    written = Record(Task("solve", spec), result, s)
    line = written.to_json()
    assert "\n" not in line and line.isascii()
    assert Record.from_json(line) == written


def test_rows_accumulate_in_order(tmp_path: Path) -> None:
    rows = RecordFile(tmp_path / "rows.jsonl")
    assert rows.done() == set()
    for seed in range(5):
        rows.append(record(seed))
    assert [row.task.spec["seed"] for row in rows.read()] == list(range(5))
    assert rows.done() == {record(seed).task.id for seed in range(5)}


def test_last_row_of_a_task_counts(tmp_path: Path) -> None:
    rows = RecordFile(tmp_path / "rows.jsonl")
    for seed, energy in [(1, -1.0), (2, -2.0), (1, -9.0)]:
        rows.append(record(seed, energy))
    assert [row.result["energy"] for row in rows.read()] == [-2.0, -9.0]


def test_files_add(tmp_path: Path) -> None:
    for part in (1, 2):
        RecordFile(tmp_path / f"{part}.jsonl").append(record(part))
    both = b"".join((tmp_path / f"{part}.jsonl").read_bytes() for part in (1, 2))
    (tmp_path / "both.jsonl").write_bytes(both)
    assert len(RecordFile(tmp_path / "both.jsonl").read()) == 2


def test_a_row_torn_anywhere_loses_no_other(tmp_path: Path) -> None:
    whole = (record(1).to_json() + "\n").encode()
    torn = record(2).to_json().encode()
    for cut in range(1, len(torn)):
        rows = RecordFile(tmp_path / "rows.jsonl")
        rows.path.write_bytes(whole + torn[:cut])
        assert rows.done() == {record(1).task.id}
        if cut % 40 == 1:
            rows.append(record(3))
            assert [row.task.spec["seed"] for row in rows.read()] == [1, 3]
            assert rows.path.read_bytes().startswith(whole + torn[:cut] + b"\n")


def test_a_last_row_without_newline_is_whole(tmp_path: Path) -> None:
    rows = RecordFile(tmp_path / "rows.jsonl")
    rows.path.write_text(record(1).to_json())
    assert len(rows.read()) == 1
    rows.append(record(2))
    assert len(rows.read()) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"[]",
        b"7",
        b'{"energy": 1}',
        b"\xff\xfe",
        record(1).to_json().replace('"seed":1', '"seed":2').encode(),
        record(1).to_json().replace('"schema":1', '"schema":99').encode(),
        record(1).to_json().replace('"seconds":0.5', '"seconds":null').encode(),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes) -> None:
    rows = RecordFile(tmp_path / "rows.jsonl")
    rows.path.write_bytes(record(3).to_json().encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match=r"record") as caught:
        rows.read()
    assert caught.value.line == 2 and caught.value.path == str(rows.path)


def test_unwritable_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        RecordFile(tmp_path / "no" / "rows.jsonl").append(record(1))
    with pytest.raises(InputError, match="No such file"):
        RecordFile(tmp_path / "rows.jsonl").read()


def test_two_processes_interleave_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    program = (
        "import sys; from anneal.records import *\n"
        "for i in range(40):\n"
        "    row = Record(Task(sys.argv[2], {'i': i}), {'x': 'y' * 9000}, 0)\n"
        "    RecordFile(sys.argv[1]).append(row)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(path), job]) for job in ("a", "b")
    ]
    assert [process.wait() for process in started] == [0, 0]
    assert len(RecordFile(path).done()) == 80
    assert path.read_bytes().count(b"\n") == 80


def test_rows_say_with_what_and_where_but_not_who(tmp_path: Path) -> None:
    row = json.loads(record(1).to_json())
    assert row["versions"]["python"].startswith("3.") and "numpy" in row["versions"]
    assert set(row["machine"]) == {"cpu", "cores", "system"}
    assert os.uname().nodename not in row["machine"].values()
    assert versions() is versions() and machine() is machine()
