"""The command line: results, exit codes, JSON, files, errors, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dimod
import pytest
from typer.testing import CliRunner, Result

import cli
from anneal import read_problem
from anneal.files import read_bytes, write_bytes, write_text
from anneal.instances import sln
from anneal.records import RecordFile

COMMANDS = ["solve", "generate", "convert", "describe", "bench", "report", "list", "demo"]
SOLVE_KEYS = {
    "schema", "command", "file", "problem", "sense", "num_variables", "num_interactions",
    "energy", "cost", "feasible", "feasible_energy", "best_known", "gap", "num_reads", "energies",
    "solution", "sample", "vartype", "variables", "solver", "chosen", "reason", "details", "seed",
    "time_limit", "interrupted", "timing", "trace", "versions", "machine",
}  # fmt: skip
TRIANGLE = "3 3\n1 2 1\n1 3 1\n2 3 1\n"
# Two facilities; the best order is the one on the diagonal.
ASSIGNMENT = "2\n0 3\n3 0\n0 2\n2 0\n"


def qbnn(*arguments: object, code: int = 0) -> Result:
    # Wide enough that no path or reason is wrapped, whoever runs the tests.
    wide = {"COLUMNS": "250"}
    result = CliRunner().invoke(cli.app, [str(item) for item in arguments], env=wide)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def document(*arguments: object, code: int = 0) -> dict[str, Any]:
    found = json.loads(qbnn(*arguments, "--json", code=code).stdout)
    assert found["schema"] == 1
    return dict(found)


@pytest.fixture
def triangle(tmp_path: Path) -> Path:
    path = tmp_path / "a triangle [1].txt"
    write_text(path, TRIANGLE)
    return path


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph that takes more than an exhaustive search."""
    path = tmp_path / "graph.txt"
    qbnn("generate", "maxcut", "--out", path, "--seed", 1, "--set", "num_vertices=60", "--quiet")
    return path


# Help


def test_help_shows_every_command() -> None:
    shown = qbnn("--help").stdout
    assert [name for name in COMMANDS if name not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    shown = qbnn(command, "--help").stdout
    assert f"qbnn {command}" in shown.partition("Examples:")[2]


def test_version() -> None:
    assert re.fullmatch(r"qbnn \d+\.\d+\S*\n", qbnn("--version").stdout)


# Solve


def test_solve_prints_the_document(triangle: Path) -> None:
    found = document("solve", triangle, "--seed", 1)
    assert found.keys() == SOLVE_KEYS
    assert (found["energy"], found["cost"], found["seed"]) == (-2.0, -2.0, 1)
    assert (found["problem"], found["sense"], found["vartype"]) == ("maxcut", "min", "SPIN")
    assert (found["solver"], found["chosen"]) == ("auto", "exact")
    assert found["reason"]
    assert found["feasible"] is True and found["interrupted"] is False


def test_sample_and_solution_have_the_energy(graph: Path) -> None:
    found = document("solve", graph, "--time-limit", 0.1, "--seed", 1)
    problem = read_problem(graph)
    bqm = problem.bqm()
    spins = [2 * int(bit) - 1 for bit in found["sample"]]
    assert bqm.energy(dict(zip(bqm.variables, spins, strict=True))) == found["energy"]
    assert problem.cost(found["solution"]) == found["cost"] == found["energy"]
    assert found["trace"][-1][1] == found["energy"]


def test_a_proof_is_told(triangle: Path) -> None:
    assert document("solve", triangle, "--solver", "exact")["details"]["proven"] is True
    assert re.search(r"proven +yes", qbnn("solve", triangle, "--solver", "exact").stdout)


def test_solve_for_people(triangle: Path) -> None:
    shown = qbnn("solve", triangle, "--seed", 1).stdout
    assert f"{triangle}: maxcut, 3 variables, 3 interactions" in shown
    assert re.search(r"energy +-2\s", shown) and re.search(r"seed +1\s", shown)


def test_reads_are_shared_out_alike_on_every_executor(graph: Path) -> None:
    given = ("solve", graph, "--solver", "anneal", "--num-reads", 100, "--num-sweeps", 5)
    found = [
        document(*given, "--seed", 3, "--executor", executor, "--workers", 2)
        for executor in ("threads", "processes")
    ]
    assert found[0]["sample"] == found[1]["sample"] and found[0]["energies"] == found[1]["energies"]
    assert found[0]["num_reads"] == 100 and found[0]["details"] == {"parts": 2, "lost_parts": 0}
    assert "wants an --executor" in qbnn(*given, "--workers", 2, code=2).stderr
    wrong = qbnn(*given, "--executor", "dusk", code=2).stderr
    assert "did you mean 'dask'" in wrong
    wrong = qbnn(
        "solve", graph, "--solver", "neal", "--time-limit", 1, "--executor", "threads", code=2
    )
    assert "executor" in wrong.stderr


def test_a_benchmark_runs_side_by_side(tmp_path: Path) -> None:
    given = ("--suite", "tiny", "--solver", "random", "--seeds", 2, "--budget", 0.01, "--quiet")
    qbnn("bench", *given, "--out", tmp_path / "b", "--executor", "processes", "--workers", 2)
    assert len((tmp_path / "b" / "records.jsonl").read_text().splitlines()) == 12
    wrong = qbnn("bench", *given, "--out", tmp_path / "c", "--executor", "threads", code=2).stderr
    assert "take 'wall'" in wrong


def test_quiet_prints_the_energy_alone(triangle: Path) -> None:
    result = qbnn("solve", triangle, "--quiet")
    assert (result.stdout, result.stderr) == ("-2\n", "")


def test_same_seed_same_sample(graph: Path) -> None:
    first, again = (
        document("solve", graph, "--solver", "anneal", "--num-sweeps", 5, "--seed", 3)
        for _ in range(2)
    )
    assert first["sample"] == again["sample"]
    assert first["time_limit"] is None


def test_a_drawn_seed_is_reported(triangle: Path) -> None:
    seeds = {document("solve", triangle)["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_maximising_file(tmp_path: Path) -> None:
    path = tmp_path / "one.bqp"
    write_text(path, "1\n2 2\n1 1 3\n2 2 -1\n")
    found = document("solve", path)
    assert (found["sense"], found["energy"], found["solution"]) == ("max", -3.0, [1, 0])
    assert re.search(r"value +3\s", qbnn("solve", path).stdout)
    assert document("solve", path, "--sense", "min")["energy"] == -1.0


def test_options_of_a_format(tmp_path: Path) -> None:
    path = tmp_path / "model.coo"
    write_text(path, "0 0 -1\n0 1 2\n")
    assert "vartype" in qbnn("solve", path, code=2).stderr
    found = document("solve", path, "--read", "vartype=SPIN")
    assert (found["energy"], found["vartype"]) == (-3.0, "SPIN")
    qbnn("solve", path, "--read", "vartyp=SPIN", code=2)


def test_labels_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    bqm = dimod.BinaryQuadraticModel({"a": 1.0, "b": -1.0}, {}, "BINARY")
    write_text(path, json.dumps(bqm.to_serializable()))
    found = document("solve", path, "--save", tmp_path / "best.txt")
    assert (found["variables"], found["sample"]) == (["a", "b"], "01")
    assert (tmp_path / "best.txt").read_text() == "a 0\nb 1\n"


def test_solvers_of_others(graph: Path) -> None:
    once = document("solve", graph, "--solver", "neal", "--num-reads", 3, "--seed", 1)
    assert (once["num_reads"], once["time_limit"]) == (3, None)
    timed = document("solve", graph, "--solver", "neal", "--time-limit", 0.1, "--seed", 1)
    assert timed["num_reads"] > 3 and timed["time_limit"] == 0.1
    both = ("--time-limit", 0.1, "--num-reads", 3)
    assert "either" in qbnn("solve", graph, "--solver", "neal", *both, code=2).stderr


def test_target_ends_the_search(graph: Path) -> None:
    found = document("solve", graph, "--solver", "anneal", "--target", 1e9, "--seed", 1)
    assert found["energy"] <= 1e9
    assert found["time_limit"] == 10 and found["timing"]["solve_seconds"] < 10


def test_infeasible_best_sample(tmp_path: Path) -> None:
    path = tmp_path / "two.dat"
    write_text(path, ASSIGNMENT)
    states = tmp_path / "zeros.py"
    write_text(
        states,
        "import dimod\n"
        "class Zeros(dimod.NullSampler):\n"
        "    parameters = {}\n"
        "    def sample(self, bqm):\n"
        "        return dimod.SampleSet.from_samples_bqm([{v: 0 for v in bqm.variables}], bqm)\n",
    )
    sys.path.insert(0, str(tmp_path))
    try:
        result = qbnn("solve", path, "--solver", "zeros:Zeros", "--json", code=3)
        shown = qbnn("solve", path, "--solver", "zeros:Zeros", code=3).stdout
    finally:
        sys.path.remove(str(tmp_path))
    found = json.loads(result.stdout)
    assert (found["feasible"], found["feasible_energy"]) == (False, None)
    assert sorted(found["solution"]) == [0, 1] and found["cost"] == 12.0
    assert "no feasible solution" in result.stderr
    assert "breaks a constraint" in shown


def test_feasible_assignment_and_its_file(tmp_path: Path) -> None:
    path, saved = tmp_path / "two.dat", tmp_path / "two.sln"
    write_text(path, ASSIGNMENT)
    found = document("solve", path, "--save", saved)
    assert found["feasible"] is True and found["feasible_energy"] == found["energy"] == 12.0
    stored = sln.parse(read_bytes(saved))
    assert stored.cost == 12.0
    assert stored.permutation is not None and stored.permutation.tolist() == found["solution"]


# The run's folder and the configuration


def test_out_holds_what_the_run_was(graph: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    call = ("solve", graph, "--solver", "anneal", "--num-sweeps", 5, "--seed", 3)
    found = document(*call, "--num-reads", 2, "--out", run)
    assert {path.name for path in run.iterdir()} == {
        "config.toml", "result.json", "environment.json", "solution.txt", "records.jsonl",
        "energies.png", "energy-against-time.png",
    }  # fmt: skip
    assert json.loads((run / "result.json").read_text()) == found
    assert (run / "energies.png").read_bytes().startswith(b"\x89PNG")
    (row,) = RecordFile(run / "records.jsonl").read()
    assert row.task.job == "solve" and row.result["energy"] == found["energy"]
    assert row.task.spec["seed"] == 3 and len(row.task.spec["instance"]["sha256"]) == 64
    again = document("solve", graph, "--config", run / "config.toml")
    assert again["sample"] == found["sample"]


def test_options_win_over_the_configuration(triangle: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    write_text(config, 'solver = "random"\nseed = 4\n[set]\nnum_reads = 2\n')
    found = document("solve", triangle, "--config", config, "--time-limit", 0)
    assert (found["solver"], found["seed"], found["num_reads"]) == ("random", 4, 2)
    options = ("--seed", 5, "--set", "num_reads=3", "--time-limit", 0)
    found = document("solve", triangle, "--config", config, *options)
    assert (found["solver"], found["seed"], found["num_reads"]) == ("random", 5, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("solvr = 'auto'", "did you mean 'solver'"),
        ("seed = 'one'", "seed: "),
        ("time_limit = -1", "time_limit: "),
        ("time_limit = nan", "time_limit: "),
        ("seed =", "not a TOML file"),
    ],
)
def test_configuration_that_is_wrong(
    text: str, reason: str, triangle: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    write_text(config, text)
    message = qbnn("solve", triangle, "--config", config, code=2).stderr
    assert message.startswith(f"error: {config}: ") and reason in message


# Errors


def test_errors_name_file_line_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "bad file.txt"
    write_text(path, "3 1\n1 9 1\n")
    for command in ("solve", "describe"):
        message = qbnn(command, path, code=2).stderr
        assert message.startswith(f"error: {path}:2: ") and message.count("\n") == 1


def test_names_that_are_not_known(triangle: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.txt"
    for arguments, near in [
        (("solve", triangle, "--solver", "aneal"), "'anneal'"),
        (("solve", triangle, "--set", "num_reeds=1"), "'num_reads'"),
        (("solve", triangle, "--format", "rudi"), "'rudy'"),
        (("generate", "maxcutt", "--out", out), "'maxcut'"),
        (("generate", "sk", "--out", out, "--set", "num_spin=3"), "'num_spins'"),
        (("bench", "--suite", "tinny", "--out", tmp_path / "rows"), "tiny"),
        (("bench", triangle, "--solver", "aneal", "--out", tmp_path / "rows"), "'anneal'"),
        (("list", "solver"), "'solvers'"),
    ]:
        assert f"did you mean {near}" in qbnn(*arguments, code=2).stderr
    assert not out.exists() and not (tmp_path / "rows").exists()


def test_wrong_usage(triangle: Path) -> None:
    for arguments in [
        ("solve",),
        ("solve", triangle, "--seed", "one"),
        ("solve", triangle, "--seed", -1),
        ("solve", triangle, "--time-limit", "nan"),
        ("solve", triangle, "--set", "tenure"),
        ("solve", triangle, "--set", "seed=1"),
        ("solvee", triangle),
        ("bench",),
        ("bench", triangle, "--seeds", "0"),
        ("bench", triangle, "--budget", 0),
        ("bench", triangle, "--solver", "auto", "--against", "neal"),
        ("generate", "sk", "--out", "x.bqm", "--set", "num_spins=many"),
        ("generate", "sk", "--out", "x.bqm", "--seed", -1),
    ]:
        qbnn(*arguments, code=2)


def test_output_that_cannot_be_written(
    triangle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def searched(*arguments: object, **keywords: object) -> None:
        raise AssertionError("the search began")

    monkeypatch.setattr("qbnn.terminal.solve.solve", searched)
    monkeypatch.setattr("anneal.bench.timed_peer", searched)
    before = sorted(tmp_path.iterdir())
    inside = triangle / "inside"
    for arguments in [
        ("solve", triangle, "--out", inside),
        ("solve", triangle, "--save", tmp_path / "none" / "best.txt"),
        ("solve", triangle, "--save", tmp_path),
        ("generate", "sk", "--out", tmp_path / "none" / "sk.bqm"),
        ("convert", triangle, tmp_path / "none" / "g.qubo"),
        ("bench", triangle, "--out", inside),
        ("demo", "--out", inside),
    ]:
        message = qbnn(*arguments, code=2).stderr
        assert message.startswith("error: ") and message.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_failures_have_one_line_and_a_traceback_on_demand(
    triangle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("qbnn.terminal.solve.solve", fail)
    message = qbnn("solve", triangle, code=1).stderr
    assert message.startswith("error: ZeroDivisionError: by zero") and message.count("\n") == 1
    assert "Traceback" in qbnn("--debug", "solve", triangle, code=1).stderr


TELLING = """
from pathlib import Path
from anneal.solvers.anneal import AnnealSampler

class Telling(AnnealSampler):
    def search(self, h, J, *, control, rng, num_threads=1):
        Path("started").touch()
        return super().search(h, J, control=control, rng=rng, num_threads=num_threads)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_interrupt_prints_the_best_so_far(graph: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "telling.py", TELLING)
    options = ["--solver", "telling:Telling", "--time-limit", "120", "--json"]
    root = Path(cli.__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", "import cli; cli.app()", "solve", str(graph), *options],
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["interrupted"] is True and found["energy"] < 0


def test_interrupt_before_the_search(triangle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qbnn.terminal.solve.load", interrupted)
    result = qbnn("solve", triangle, code=130)
    assert (result.stdout, result.stderr) == ("", "interrupted\n")


# Generate, convert, describe, list


def test_generate_and_describe(tmp_path: Path) -> None:
    path = tmp_path / "cube.bqm"
    options = ("--set", "shape=3,3,4", "--set", "periodic=false", "--seed", 7)
    made = document("generate", "lattice", "--out", path, *options)
    assert made["parameters"] == {"shape": [3, 3, 4], "periodic": False}
    assert (made["seed"], made["num_variables"], made["problem"]) == (7, 36, "lattice")
    facts = document("describe", path)
    assert (facts["num_variables"], facts["integer_scale"]) == (36, 1.0)
    assert facts["coupling_range"] == [-1.0, 1.0] and facts["field_range"] == [0.0, 0.0]
    assert facts["degree"]["least"] == 3 and facts["degree"]["most"] == 6
    assert 0 < facts["beta_range"][0] < facts["beta_range"][1]
    assert facts["solver"] and facts["reason"]
    shown = qbnn("describe", path).stdout
    assert "3 … 6" in shown and facts["reason"] in shown


def test_generate_is_repeatable(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        qbnn("generate", "maxcut", "--out", tmp_path / name, "--seed", 3, "-q")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def test_planted_instance_tells_its_ground_state(tmp_path: Path) -> None:
    path = tmp_path / "planted.bqm"
    made = document("generate", "planted", "--out", path, "--set", "length=4", "--seed", 1)
    found = document("solve", path, "--seed", 1)
    assert found["energy"] == made["best_known"]


@pytest.mark.parametrize("name", ["t.qubo", "t.coo", "t.bqm", "t.json", "t.txt.gz"])
def test_convert_keeps_energies(name: str, triangle: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    assert "wrote" in qbnn("convert", triangle, out).stdout
    assert document("solve", out)["energy"] == -2.0


def test_convert_by_names_of_formats(triangle: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain"
    qbnn("convert", triangle, out, "--from", "rudy", "--to", "qubo")
    assert document("solve", out, "--format", "qubo")["energy"] == -2.0
    qbnn("convert", triangle, tmp_path / "t.dat", code=2)
    assert not (tmp_path / "t.dat").exists()


def test_list(tmp_path: Path) -> None:
    found = document("list")
    assert {"solvers", "problems", "formats", "suites"} <= found.keys()
    assert all(entry["name"] and entry["description"] for entry in found["solvers"])
    (sk,) = (entry for entry in found["problems"] if entry["name"] == "sk")
    assert sk["parameters"] == {"num_spins": 100, "gaussian": False}
    assert "num_vertices=800" in qbnn("list", "problems").stdout


# Bench and report


def test_bench_resumes_and_reports(graph: Path, tmp_path: Path) -> None:
    out = tmp_path / "my rows"
    call = ("bench", graph, "--solver", "auto", "--solver", "neal", "--budget", 0.05, "--out", out)
    assert "graph" in qbnn(*call, "--seeds", 1).stdout
    first = (out / "records.jsonl").read_bytes()
    assert qbnn(*call, "--seeds", 2, "--quiet").stdout == ""
    rows = (out / "records.jsonl").read_bytes()
    assert rows.startswith(first) and rows.count(b"\n") == 4
    text = (out / "report.md").read_text()
    assert text.startswith("# my rows\n") and "Head to head" in text
    assert all((out / name).exists() for name in re.findall(r"\]\((.+?)\)", text))
    shown = qbnn("report", out, "--against", "neal", "--plots", tmp_path / "pictures").stdout
    assert "## Summary" in shown and "## Tally" in shown
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "comparison.png",
        "profile.png",
        "targets.png",
    }
    tables = json.loads(qbnn("report", out, "--format", "json").stdout)["tables"]
    assert [row["solver"] for row in tables["summary"]] == ["auto", "neal"]
    lines = qbnn("report", out, "--format", "csv").stdout.splitlines()
    assert lines[0].startswith("instance,budget,solver") and len(lines) == 3
    qbnn("report", out, "--table", "tallly", code=2)


def test_bench_by_the_wall_compares_too(triangle: Path, tmp_path: Path) -> None:
    call = ("bench", triangle, "--solver", "exact", "--solver", "random", "--against", "random")
    shown = qbnn(*call, "--clock", "wall", "--seeds", 1, "--budget", 0.02, "--out", tmp_path / "w")
    assert "Tally" in shown.stdout


def test_report_without_rows(tmp_path: Path) -> None:
    assert "no-such" in qbnn("report", tmp_path / "no-such", code=2).stderr
    write_bytes(tmp_path / "records.jsonl", b"")
    assert "no benchmark rows" in qbnn("report", tmp_path, code=2).stderr
