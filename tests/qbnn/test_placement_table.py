"""The comparison of placers and their peers, on instances that take a moment."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from anneal.errors import InputError
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.instances import bookshelf, gsrc, qaplib, sln
from anneal.instances.arrays import QuadraticAssignment
from anneal.partition import Hypergraph, planted_hypergraph
from anneal.placement.grids import DEGREES, grid_netlist, known_wirelength
from anneal.placement.netlist import Netlist, Placement, hpwl
from anneal.placement.verify import verify
from anneal.problems.assignment import Assignment
from anneal.records import Record, RecordFile
from anneal.tables import Row
from qbnn.commands import paper
from qbnn.paper import placement_cells, placement_jobs
from qbnn.paper.placement_goals import GOALS, goals_table, grouped
from qbnn.paper.placement_jobs import BEST_KNOWN, Wanted
from qbnn.paper.placement_peers import coloquinte_placement, faq, kahypar_parts
from qbnn.paper.placement_table import PARTS, left_out, run_task, run_tasks, table_tasks, write_page
from qbnn.paper.processes import Clock, apart


def cells_and_best() -> tuple[Netlist, Placement]:
    return grid_netlist(columns=8, rows=8, degrees=DEGREES, utilisation=0.8, cell_sites=2, seed=1)


def optimum(problem: Assignment) -> float:
    orders = itertools.permutations(range(len(problem.flow)))
    return min(problem.cost(np.array(order)) for order in orders)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """Return a data folder of tiny files under the names of the real ones."""
    problem = Assignment.generate(seed=1, num_facilities=5)
    monkeypatch.setattr(placement_jobs, "BEST_KNOWN", {"nug12": optimum(problem)})
    for folder in ("qaplib", "ibm01-cu85", "floorplan"):
        (tmp_path / folder).mkdir()
    matrices = QuadraticAssignment(problem.flow, problem.distance)
    (tmp_path / "qaplib" / "nug12.dat").write_bytes(qaplib.dump(matrices))
    netlist, best = cells_and_best()
    bookshelf.write(tmp_path / placement_jobs.NETLIST, netlist)
    bookshelf.write_placement(tmp_path / placement_jobs.DRAGON, netlist, best)
    gsrc.write(tmp_path / "floorplan" / "apte.blocks", guillotine_blocks(num_blocks=5, seed=1)[0])
    return Wanted(tmp_path, seeds=1, time_limit=0.05, num_cells=64)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put others in the place of the peers: every second vertex; half a site beside the best."""

    def parts(hypergraph: Hypergraph, **_: Any) -> tuple[list[int], Clock]:
        return [vertex % 2 for vertex in range(hypergraph.num_vertices)], Clock(1.0, 1.0)

    def place(netlist: Netlist, **_: Any) -> tuple[Placement, Clock]:
        best = cells_and_best()[1]
        return best._replace(x=best.x + 0.5), Clock(1.0, 1.0)

    monkeypatch.setattr(placement_jobs, "kahypar_parts", parts)
    monkeypatch.setattr(placement_cells, "coloquinte_placement", place)


def test_every_part_has_rows_once_and_the_page_their_tables(
    tmp_path: Path, small: Wanted, peers: None
) -> None:
    records, names = RecordFile(tmp_path / "records.jsonl"), list(PARTS)
    assert not left_out(names, small)
    tasks = table_tasks(names, small)
    assert [task.spec["part"] for task in tasks] == [
        *["assignment"] * 2, *["partition"] * 4, *["netlist"] * 4, *["refine"] * 2, "floorplan",
        "large",
    ]  # fmt: skip
    run_tasks(tasks[3:], small, records)
    seen: list[tuple[int, int]] = []
    run_tasks(tasks, small, records, progress=lambda done, total, row: seen.append((done, total)))
    assert seen == [(1, 14), (2, 14), (3, 14)]
    run_tasks(tasks, small, records, progress=lambda *_: pytest.fail("a row was made twice"))
    write_page(tmp_path, command="a command")
    page = (tmp_path / "README.md").read_text()
    for title in ("Goals", *(name.capitalize() for name in PARTS)):
        assert f"\n## {title}\n" in page
    assert "a command" in page and "runs worse than FAQ" in page and "200,000 cells" not in page
    rows = {(row.task.spec["part"], row.task.spec.get("method")): row for row in records.read()}
    _check(rows, *cells_and_best())


def _check(rows: dict[tuple[str, str | None], Record], netlist: Netlist, best: Placement) -> None:
    """Compare what rows say with what is known of the instances."""
    found = {key: row.result for key, row in rows.items()}
    assert found["assignment", "memetic"]["reached"]
    assert found["assignment", "faq"]["faq_cost"] >= found["assignment", "faq"]["cost"]
    assert found["partition", "ours"]["imbalance"] <= 0.04
    assert found["partition", "ours"]["cut"] < found["partition", "Mt-KaHyPar quality"]["cut"]
    least = known_wirelength(netlist).sum()
    assert found["netlist", "ours"]["legal"] and found["netlist", "ours"]["hpwl"] >= least
    assert found["netlist", "coloquinte"]["off_site"] == 64
    assert found["netlist", "coloquinte"]["hpwl"] == pytest.approx(least)
    assert found["refine", "dragon"]["given"] == found["refine", "dragon"]["hpwl"] == least
    other = found["refine", "coloquinte"]
    assert other["given_off_site"] == 64 and other["off_site"] == 0 and other["legal"]
    assert least <= other["hpwl"] <= other["before"]
    assert found["floorplan", None]["legal"] and 0 <= found["floorplan", None]["dead_space"] < 0.5
    large = found["large", None]
    assert large["legal"] and large["num_placed"] == 63 and large["peak_bytes"] > 10**7
    assert large["hpwl"] >= large["best_known"]


def test_without_data_instances_are_generated_or_parts_left_out() -> None:
    nothing = Wanted()
    assert list(left_out(list(PARTS), nothing)) == ["assignment", "netlist", "refine"]
    names = {task.spec["instance"] for task in table_tasks(["partition", "floorplan"], nothing)}
    assert names == {*placement_jobs.PLANTED, *placement_jobs.CUT_BLOCKS}
    with pytest.raises(InputError, match="did you mean 'large'"):
        left_out(["lage"], nothing)
    with pytest.raises(InputError, match="no instance 'n99' in floorplan"):
        table_tasks(["floorplan"], Wanted(instances=["n99", "cut-30"]))


def test_a_peer_that_fails_leaves_a_row_and_is_asked_again(
    tmp_path: Path, small: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: Any, **__: Any) -> Any:
        raise InputError("mtkahypar is wanted")

    monkeypatch.setattr(placement_jobs, "kahypar_parts", absent)
    tasks = [task for task in table_tasks(["partition"], small) if "peer" in task.spec][:1]
    records = RecordFile(tmp_path / "records.jsonl")
    for _ in range(2):
        run_tasks(tasks, small, records)
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2
    assert records.read()[0].result == {"error": "mtkahypar is wanted"}
    write_page(tmp_path, command="")
    page = (tmp_path / "README.md").read_text()
    assert "partition, mtkahypar: mtkahypar is wanted" in page and "## Partition" not in page
    monkeypatch.setattr(placement_jobs, "bisect", absent)
    with pytest.raises(InputError, match="wanted"):
        run_task(table_tasks(["partition"], small)[0], small)


# Goals


def _goals(rows: list[Row]) -> dict[str, str]:
    return {line["goal"]: line["met"] for line in goals_table(rows).rows}


def test_goals_are_met_or_missed_by_what_rows_say() -> None:
    small = {"part": "assignment", "method": "memetic", "instance": "nug30", "time_limit": 5.0}
    rows: list[Row] = [
        {**small, "seed": seed, "reached": seed > 2, "cost": 6124, "best_known": 6124}
        for seed in range(1, 11)
    ]
    large = {**small, "time_limit": 15.0, "best_known": 1000, "reached": False}
    rows += [{**large, "instance": "sko42", "cost": 1001}, {**large, "instance": "tai60a",
             "cost": 1012}]  # fmt: skip
    rows += [
        {"part": "partition", "method": method, "instance": "ibm01", "cut": cut}
        for method, cut in (("ours", 120), ("ours", 130), ("one", 125), ("other", 100))
    ]
    assert list(_goals(rows).values()) == [
        "missed by 10.00 %", "met", "missed by 0.20 %", "missed by 0.150",
    ]  # fmt: skip


def test_goals_leave_out_runs_of_other_lengths_and_parts() -> None:
    run = {"part": "floorplan", "instance": "apte", "legal": True, "dead_space": 0.02}
    assert _goals([{**run, "time_limit": 3.0}]) == {}
    assert list(_goals([{**run, "time_limit": 60.0}]).values()) == ["missed by 1.00 %"]
    wrong = {**run, "time_limit": 60.0, "dead_space": 0.001, "legal": False}
    assert list(_goals([wrong]).values()) == ["missed by 99.00 %"]
    placed = {"hpwl": 100.0, "legal": True, "off_site": 0, "overlaps": 0, "seconds": 61.0}
    both = [{"part": "netlist", "method": name, **placed} for name in ("even", "coloquinte")]
    assert list(_goals(both).values()) == ["met", "met", "missed by 1.0 s"]
    assert {goal.part for goal in GOALS} == set(PARTS)


def test_groups_hold_every_row_in_its_order() -> None:
    rows = [{"a": number % 3, "b": number} for number in range(10)]
    groups = grouped(rows, "a")
    assert sorted(row["b"] for group in groups.values() for row in group) == list(range(10))
    assert all(row["a"] == key for (key,), group in groups.items() for row in group)


# Peers, and processes of their own


def test_faq_is_the_best_of_its_starts() -> None:
    problem = Assignment.generate(seed=3, num_facilities=6)
    costs = [problem.cost(faq(problem, num_starts=count, seed=1)) for count in (1, 30)]
    assert optimum(problem) <= costs[1] <= costs[0]


def test_kahypar_keeps_the_tolerance() -> None:
    pytest.importorskip("mtkahypar", reason="the extra bench is not installed")
    hypergraph, planted = planted_hypergraph(seed=1, num_vertices=300)
    options: dict[str, Any] = {"tolerance": 0.02, "preset": "quality", "num_threads": 1}
    parts, clock = kahypar_parts(hypergraph, seed=1, **options)
    assert hypergraph.part_areas(parts, 2).max() <= 153
    assert hypergraph.cut(parts) <= 1.5 * hypergraph.cut(planted) and clock.seconds > 0


def test_coloquinte_places_legally() -> None:
    pytest.importorskip("coloquinte", reason="the extra bench is not installed")
    netlist, best = cells_and_best()
    found, _ = coloquinte_placement(netlist, density=None, seed=1)
    assert verify(netlist, found).is_legal
    assert hpwl(netlist, found) >= hpwl(netlist, best)


def refuse(reason: str) -> None:
    print("what nobody wants to read")
    raise InputError(reason)


def test_work_apart_returns_refuses_or_ends(capfd: pytest.CaptureFixture[str]) -> None:
    assert apart(os.getpid) != os.getpid()
    with pytest.raises(InputError, match="not like this"):
        apart(refuse, "not like this")
    with pytest.raises(RuntimeError, match="_exit ended with exit code 7"):
        apart(os._exit, 7)
    assert "nobody" not in capfd.readouterr().out


# The command, and real data


def run(*words: str) -> Any:
    app = typer.Typer()

    @app.callback()
    def main(debug: bool = False) -> None:
        """Take the option that every command knows of."""

    paper.register(app)
    return CliRunner().invoke(app, ["paper", "placement-table", *words])


def test_the_command_runs_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QBNN_DATA", raising=False)
    words = ["--out", str(tmp_path), "--instances", "cut-30", "--seeds", "2"]
    found = run(*words, "--time-limit", "0.05")
    assert found.exit_code == 0, found.output
    assert "netlist left out: no ibm01-cu85/ibm01.aux" in found.output
    assert "2/2 floorplan cut-30 seed 2: dead_space 0." in found.output
    assert len(RecordFile(tmp_path / "records.jsonl").read()) == 2
    page = (tmp_path / "README.md").read_text()
    assert "placement-table --instances cut-30 --seeds 2 --time-limit 0.05" in page
    assert run("--out", str(tmp_path), "--report", "--quiet").exit_code == 0
    assert "`qbnn paper placement-table`" in (tmp_path / "README.md").read_text()
    assert run("--out", str(tmp_path), "--parts", "netlist").exit_code == 2


def test_best_known_costs_are_those_of_the_files(data_folder: Path) -> None:
    folder = data_folder / "qaplib"
    for name, cost in BEST_KNOWN.items():
        assert sln.read(folder / f"{name}.sln").cost == cost
    wanted = Wanted(data_folder)
    names = {task.spec["instance"] for task in table_tasks(["assignment"], wanted)}
    assert names == set(BEST_KNOWN)
