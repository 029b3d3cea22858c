from __future__ import annotations

import csv
import io
import json
import math
import struct
import subprocess
import sys
from typing import Any

import pytest

from anneal import plots, report, target_plots
from anneal.errors import InputError
from anneal.records import Record, Task
from anneal.tables import Table, column, show_energy, show_number, to_csv, to_json, to_markdown


def row(
    solver: str,
    energy: float,
    *,
    instance: str = "G0",
    seed: int = 0,
    best_known: float | None = -100.0,
    trace: list[list[float]] | None = None,
    **spec: Any,
) -> Record:
    exact = {"name": instance, "sha256": spec.pop("sha256", "0")}
    inputs = {"budget": 1.0, "clock": "cpu", "num_threads": 1} | spec
    inputs |= {"instance": exact, "solver": solver, "seed": seed}
    result = {
        "energy": energy,
        "best_known": best_known,
        "cpu_seconds": 1.0 + seed / 10,
        "wall_seconds": 2.0,
        "trace": [[0.5, energy]] if trace is None else trace,
        "energies": {"values": [energy, energy + 4], "counts": [1, 3]},
    }
    return Record(Task("bench", inputs), result, 2.0)


def rows_of(solver: str, energies: list[float], **options: Any) -> list[Record]:
    return [row(solver, energy, seed=seed, **options) for seed, energy in enumerate(energies)]


def test_summary_is_what_one_would_compute_by_hand() -> None:
    (found,) = report.summarise(rows_of("ours", [-100.0, -98.0, -100.0, -90.0, -100.0])).rows
    assert (found["instance"], found["solver"], found["budget"]) == ("G0", "ours", 1.0)
    assert (found["best"], found["median_energy"]) == (-100.0, -100.0)
    assert found["hits"] == 3 and found["runs"] == 5
    assert found["gap"].value == 0.0 and found["gap"].high == pytest.approx(0.1)
    assert found["success"].value == 0.6
    assert found["seconds"] == pytest.approx(1.2)
    assert found["tts99"].value == pytest.approx(1.2 * math.log(0.01) / math.log(0.4))
    assert found["time_to_target"].value == 0.5
    assert found["time_to_target"].high == math.inf


def test_a_hit_without_a_trace_took_the_whole_run() -> None:
    (found,) = report.summarise([row("peer", -100.0, trace=[])]).rows
    assert found["time_to_target"].value == 1.0
    (missed,) = report.summarise([row("peer", -99.0, trace=[])]).rows
    assert missed["time_to_target"].value == math.inf and missed["tts99"].value == math.inf


def test_best_found_stands_in_for_an_unknown_best() -> None:
    records = rows_of("a", [-5.0], best_known=None) + rows_of("b", [-7.0], best_known=None)
    table = report.summarise(records)
    assert [(r["target"], r["known"], r["hits"]) for r in table.rows] == [
        (-7.0, False, 0),
        (-7.0, False, 1),
    ]
    assert "-7 (best found)" in to_markdown([table])


def test_rows_of_one_instance_stand_together_by_budget() -> None:
    records = [
        row("a", -1.0, instance="X", budget=10.0),
        row("a", -1.0, instance="Y"),
        row("b", -1.0, instance="X", budget=1.0),
    ]
    keys = [(r["instance"], r["budget"]) for r in report.summarise(records).rows]
    assert keys == [("X", 1.0), ("X", 10.0), ("Y", 1.0)]


def test_what_is_not_the_same_is_not_mixed() -> None:
    records = [
        row("a", -1.0, sha256="1"),
        row("a", -2.0, sha256="2"),
        row("a", -2.0, sha256="2", num_threads=2),
        row("a", -2.0, sha256="2", clock="wall"),
    ]
    found = [(r["instance"], r["solver"]) for r in report.summarise(records).rows]
    assert found == [
        ("G0 #1", "a"),
        ("G0 #2", "a"),
        ("G0 #2", "a ×2 threads"),
        ("G0 #2", "a (wall)"),
    ]


def test_head_to_head_compares_medians_at_equal_time() -> None:
    records = (
        rows_of("neal", [-90.0, -95.0, -99.0])
        + rows_of("ours", [-96.0, -96.0, -80.0])
        + rows_of("same", [-95.0, -95.0 - 1e-12, -95.0])
        + rows_of("bad", [-80.0, -94.0, -99.0])
        # Nothing to compare with at this budget.
        + rows_of("ours", [-99.0], budget=5.0)
    )
    duels = report.head_to_head(records, against="neal")
    verdicts = {r["solver"]: r["verdict"] for r in duels.rows}
    assert verdicts == {"ours": "better", "same": "equal", "bad": "worse"}
    assert len(duels.rows) == 3
    gain = duels.rows[0]["gain"]
    assert gain.value == pytest.approx(1 / 95)
    # At worst −80 beside −99, at best −96 beside −90.
    assert gain.low == pytest.approx(-19 / 95) and gain.high == pytest.approx(6 / 95)
    assert duels.rows[0]["time_ratio"] == 1.0
    counts = {r["solver"]: (r["better"], r["equal"], r["worse"]) for r in report.tally(duels).rows}
    assert counts == {"ours": (1, 0, 0), "same": (0, 1, 0), "bad": (0, 0, 1)}
    assert {r["solver"]: r["worse_on"] for r in report.tally(duels).rows}["bad"] == "G0"


def test_halves_are_told_apart() -> None:
    records = [
        row(solver, energy, instance=instance)
        for instance, ours in (("G1", -99.0), ("G2", -80.0), ("G3", -99.0), ("mine", -99.0))
        for solver, energy in (("neal", -90.0), ("ours", ours))
    ]
    told = report.tally(report.head_to_head(records, against="neal")).rows
    counts = {r["half"]: (r["better"], r["equal"], r["worse"], r["worse_on"]) for r in told}
    assert list(counts) == ["all", "looked at", "held out"]
    assert counts == {
        "all": (3, 0, 1, "G2"),
        "looked at": (2, 0, 0, ""),
        "held out": (0, 0, 1, "G2"),
    }


def test_times_to_the_target() -> None:
    runs = [
        row("a", -100.0, trace=[[0.2, -90.0], [0.4, -100.0]]),
        row("a", -100.0, seed=1, trace=[]),
        row("a", -99.0, seed=2),
    ]
    assert report.times_to_target(runs, -100.0) == [0.4, 1.1, math.inf]


def test_an_absent_reference_is_named() -> None:
    with pytest.raises(InputError, match=r"no rows of solver 'neal' .*solvers: ours"):
        report.report([row("ours", -1.0)], against="neal")


def test_failures_are_told_and_do_not_count() -> None:
    failed = row("exact", 0.0)
    failed = Record(failed.task, {"error": "too many | variables"}, 0.0)
    tables = report.report([failed, row("ours", -1.0)])
    assert [table.name for table in tables] == ["summary", "failures"]
    assert len(tables[0].rows) == 1
    assert "too many \\| variables" in to_markdown(tables)
    assert report.report([failed])[0].name == "failures"


def test_rows_of_another_job_are_left_out_and_incomplete_ones_named() -> None:
    other = Record(Task("solve", {}), {"energy": 1.0}, 0.0)
    assert report.report([other]) == []
    broken = Record(row("a", 1.0).task, {"energy": 1.0}, 0.0)
    with pytest.raises(InputError, match="has no best_known, cpu_seconds, trace, wall_seconds"):
        report.report([broken])


def sample_tables() -> tuple[list[Record], list[Table]]:
    records = rows_of("neal", [-99.0, -100.0]) + rows_of("ours", [-99.0, -98.0])
    return records, report.report(records, against="neal")


def test_markdown_is_a_rectangle() -> None:
    _, tables = sample_tables()
    for block in to_markdown(tables).split("## ")[1:]:
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) == 1
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) == 2 + len(next(t for t in tables if _title(t) in block).rows)


def _title(table: Table) -> str:
    return table.name.replace("_", " ").capitalize() + "\n"


def test_csv_reads_back() -> None:
    _, tables = sample_tables()
    read = list(csv.DictReader(io.StringIO(to_csv(tables[0]))))
    assert [float(line["best"]) for line in read] == [r["best"] for r in tables[0].rows]
    assert read[1]["tts99"] == "inf" and float(read[0]["success_low"]) > 0


def test_json_has_a_schema_and_no_infinity() -> None:
    records, tables = sample_tables()
    body = json.loads(to_json(tables, records=records), parse_constant=pytest.fail)
    assert body["schema"] == 1
    assert set(body["tables"]) == {"summary", "tally", "head_to_head"}
    ours = body["tables"]["summary"][1]
    assert ours["solver"] == "ours" and ours["tts99"] is None and ours["gap"] == 0.015
    assert len(body["versions"]) == len(body["machines"]) == 1


def test_numbers_are_short_and_right() -> None:
    shown = [show_number(v) for v in (0.0, -0.5, 1 / 3, 99.96, 1234.5, 1e-9, 3e12, -math.inf)]
    assert shown == ["0", "-0.500", "0.333", "100.0", "1234", "1.00e-09", "3.00e+12", "−∞"]
    assert show_energy(-14190.0) == "-14190" and show_energy(-0.25) == "-0.25"


def test_column_defaults_to_its_key() -> None:
    assert column("better").heading == "better"
    assert column("better").show({"better": 3}) == "3"


def _size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_pictures_are_pictures() -> None:
    records = [
        record
        for instance in ("A", "B", "C")
        for solver, energies in (("neal", [-99.0, -98.0]), ("ours", [-100.0, -99.5]))
        for record in rows_of(solver, energies, instance=instance)
    ]
    traces = {"neal": [(0.1, -90.0), (0.5, -99.0)], "ours": [(0.01, -100.0)], "mute": []}
    energies = {record.task.spec["solver"]: record.result["energies"] for record in records}
    for picture in (
        plots.energy_against_time(traces, best_known=-100.0),
        plots.energy_distribution(energies, best_known=-100.0),
        plots.performance_profile(records),
    ):
        assert _size(picture) == (1050, 630)
    few, many = plots.comparison(records[:4]), plots.comparison(records)
    assert _size(few)[1] < _size(many)[1]


def test_there_is_a_panel_for_every_instance_and_one_for_all() -> None:
    def panels(*rows: Record) -> int:
        return target_plots.share_at_target(rows, image="svg").count(b'<g id="axes_')

    a, b = row("a", -99.0, instance="A"), row("b", -100.0, instance="A")
    c, d = row("a", -99.0, instance="B"), row("b", -99.0, instance="B")
    assert panels(a, b) == 1 and panels(a, b, c, d) == 3
    # None that every solver has rows of: nothing to put together.
    assert panels(a, d) == 2
    # Another budget has pictures of its own.
    assert panels(a, b, row("a", -1.0, instance="B", budget=0.5)) == 1


def test_lines_differ_beyond_the_number_of_colours() -> None:
    styles = [plots.line_style(index, 12) for index in range(12)]
    assert len({(style["color"], str(style["ls"])) for style in styles}) == 12
    marks = {(i % len(plots.COLOURS), i % len(plots.MARKERS)) for i in range(50)}
    assert len(marks) == 50


def test_the_same_picture_is_the_same_bytes() -> None:
    records = rows_of("neal", [-99.0, -98.0])
    first = plots.comparison(records, image="svg")
    assert first.startswith(b"<?xml") and first == plots.comparison(records, image="svg")


@pytest.mark.parametrize("energies", [[0.0], [0.0, 5.0], [-100.0] * 3, [-101.0, -100.0]])
def test_pictures_of_odd_gaps(energies: list[float]) -> None:
    records = rows_of("neal", energies, best_known=None if min(energies) == 0 else -100.0)
    for draw in (plots.comparison, plots.performance_profile):
        assert _size(draw(records))[0] > 0
    assert _size(target_plots.share_at_target(records))[0] > 0


def test_distribution_bins_hold_whole_levels() -> None:
    edges = plots._edges(plots.np.arange(0.0, 200.0, 2.0))
    assert len(edges) <= 61 and (edges[1] - edges[0]) % 2 == 0
    assert edges[0] < 0 and edges[-1] > 198
    assert len(plots._edges(plots.np.array([3.0]))) == 2


def test_nothing_to_draw_is_an_input_error() -> None:
    for draw in (
        lambda: plots.energy_against_time({"a": []}),
        lambda: plots.energy_distribution({}),
        lambda: plots.comparison([]),
        lambda: plots.performance_profile([row("a", -1.0)], budget=7.0),
        lambda: target_plots.share_at_target([]),
    ):
        with pytest.raises(InputError, match="to draw"):
            draw()
    with pytest.raises(InputError, match="png or svg"):
        plots.energy_against_time({"a": [(1.0, 1.0)]}, image="bmp")  # type: ignore[arg-type]


def test_pictures_leave_pyplot_alone_and_load_late() -> None:
    program = (
        "import sys; from anneal import plots; assert 'matplotlib' not in sys.modules\n"
        "plots.energy_against_time({'a': [(0.1, -1.0), (0.2, -3.0)]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
