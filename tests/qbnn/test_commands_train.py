"""`qbnn train` and `qbnn eval`: a run's folder, resuming, Ctrl-C, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cli
from anneal.files import write_text
from anneal.records import RecordFile
from qbnn.training import checkpoints

FILES = {
    "best.safetensors", "config.toml", "confusion-matrix.png", "environment.json", "filters.png",
    "history.jsonl", "index.html", "records.jsonl", "reliability.png", "result.json",
    "state.safetensors", "training-curve.png",
}  # fmt: skip
TRAIN_KEYS = {
    "schema", "command", "out", "data", "architecture", "family", "mode", "num_parameters",
    "num_epochs", "best", "test", "seed", "interrupted", "seconds", "history", "versions",
    "machine",
}  # fmt: skip
EVAL_KEYS = {
    "schema", "command", "run", "data", "split", "architecture", "family", "mode", "binarised",
    "reestimated", "num_draws", "seed", "num_images", "accuracy", "accuracy_interval",
    "cross_entropy", "calibration_error", "classes", "confusion", "reliability", "shots", "noise",
    "readout", "protocol",
}  # fmt: skip
TINY = ("--limit", 120, "--architecture", "4C3-MP2-SM10", "--seed", 3)


def qbnn(*arguments: object, code: int = 0) -> Result:
    wide = {"COLUMNS": "250"}
    result = CliRunner().invoke(cli.app, [str(item) for item in arguments], env=wide)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def document(*arguments: object, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(qbnn(*arguments, "--json", code=code).stdout))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a few digits."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    qbnn("train", "--data", "digits", "--epochs", 2, "--out", out, *TINY, "--quiet")
    return out


# Train


def test_train_fills_a_folder(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == FILES
    result = json.loads((run / "result.json").read_text())
    assert result.keys() == TRAIN_KEYS
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert result["history"] == rows and len(rows) == 2
    assert result["best"] in rows
    (record,) = RecordFile(run / "records.jsonl").read()
    assert record.result["test"]["accuracy"] == result["test"]["accuracy"]
    assert record.task.spec["network"]["architecture"] == "4C3-MP2-SM10"
    page = (run / "index.html").read_text()
    assert page.count("<img") == 4 and "4C3-MP2-SM10, none, on digits" in page


def test_settings_are_complete_and_serve_again(run: Path, tmp_path: Path) -> None:
    settings = tomllib.loads((run / "config.toml").read_text())
    assert settings["seed"] == 3 and settings["training"]["batch_size"] == 32
    assert settings["network"]["family"] == "none" and "in_shape" not in settings["network"]
    found = document("train", "--config", run / "config.toml", "--out", tmp_path / "again")
    kept, extra = checkpoints.load(tmp_path / "again")
    first, about = checkpoints.load(run)
    assert kept.config == first.config
    assert all(map(_equal, kept.state_dict().values(), first.state_dict().values()))
    assert about["data"] == extra["data"] == "digits" and about["seed"] == 3
    assert found["test"] == json.loads((run / "result.json").read_text())["test"]


def _equal(first: Any, second: Any) -> bool:
    return bool((first == second).all())


def test_an_option_wins_over_the_file(run: Path, tmp_path: Path) -> None:
    options = ("--config", run / "config.toml", "--family", "h-local", "--epochs", 1)
    found = document("train", *options, "--out", tmp_path / "other")
    assert (found["family"], found["num_epochs"]) == ("h-local", 1)
    assert found["architecture"] == "4C3-MP2-SM10"


def test_for_people(tmp_path: Path) -> None:
    shown = qbnn("train", "--epochs", 1, "--out", tmp_path / "run", *TINY).stdout
    assert "digits: 4C3-MP2-SM10" in shown
    assert re.search(r"test +\d+\.\d\d % \(.* … .*\) of 120 images", shown)
    assert re.search(r"validation +\d+\.\d\d % in epoch 1 of 1", shown)
    shown = qbnn("eval", tmp_path / "run").stdout
    assert re.search(r"accuracy +\d+\.\d\d %", shown) and "worst class" in shown


def test_every_option_arrives(tmp_path: Path) -> None:
    given = {
        "family": "real4", "share": "layer", "init_std": 0.2, "input": "real",
        "mode": "sample", "law": "clt", "head": "bce", "pool": "or",
    }  # fmt: skip
    training = {
        "epochs": 1, "batch_size": 50, "learning_rate": 0.03, "schedule": "plateau", "patience": 3,
        "clip_gradient": 2.0, "augment": "shift",
    }  # fmt: skip
    options = [
        item
        for name, value in (given | training).items()
        for item in ("--" + name.replace("_", "-"), value)
    ]
    qbnn("train", *options, "--frozen", *TINY, "--out", tmp_path / "run", "--num-threads", 1)
    settings = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert settings["training"] == training
    assert settings["network"].items() >= {**given, "trainable": False}.items()
    config = checkpoints.load(tmp_path / "run")[0].config
    assert config.model_dump().items() >= {**given, "trainable": False, "seed": 3}.items()


def test_a_folder_is_named_after_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    qbnn("train", "--epochs", 1, *TINY, "--architecture", "A", "--quiet")
    assert (tmp_path / "runs" / "digits-none-3" / "best.safetensors").exists()
    assert "holds a run already" in qbnn("train", "--epochs", 1, *TINY, code=2).stderr


# Resume


def test_a_run_is_not_written_over(run: Path) -> None:
    before = contents(run)
    refused = qbnn("train", "--epochs", 2, "--out", run, *TINY, code=2).stderr
    assert "holds a run already; go on with it by --resume, or take another --out" in refused
    for options, words in [
        (("--family", "real4"), "holds a run with family none, not real4"),
        (("--seed", 4), "holds a run with seed 3, not 4"),
        (("--learning-rate", 0.2), "holds a run with learning_rate 0.1, not 0.2"),
        (("--data", "mnist"), "holds a run with data digits, not mnist"),
    ]:
        refused = qbnn("train", "--out", run, "--resume", *options, code=2).stderr
        assert words in refused and refused.count("\n") == 1
    assert contents(run) == before


def test_a_run_goes_on_for_more_epochs(tmp_path: Path) -> None:
    constant = (*TINY, "--schedule", "constant")
    out, straight = tmp_path / "out", tmp_path / "straight"
    qbnn("train", "--epochs", 1, "--out", out, *constant)
    found = document("train", "--epochs", 3, "--out", out, "--resume")
    wanted = document("train", "--epochs", 3, "--out", straight, *constant)
    assert found["num_epochs"] == 3
    assert found["test"] == wanted["test"]
    assert tomllib.loads((out / "config.toml").read_text())["training"]["epochs"] == 3
    again = document("train", "--out", out, "--resume")
    assert again["history"] == found["history"]


def test_resume_begins_where_nothing_is(tmp_path: Path) -> None:
    found = document("train", "--epochs", 1, "--out", tmp_path / "new", *TINY, "--resume")
    assert found["num_epochs"] == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_interrupt_keeps_the_best_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "a run"
    options = ["--epochs", "5000", "--out", str(out), *map(str, TINY), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import cli; cli.app()", "train", *options],
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (out / "history.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error == f"interrupted; go on by: qbnn train --resume --out '{out}'\n"
    found = json.loads(printed)
    assert found["interrupted"] and found["test"] is None
    assert checkpoints.load(out)[1]["epoch"] == found["best"]["epoch"]
    done = document("train", "--resume", "--out", out, "--epochs", found["num_epochs"])
    assert done["history"] == found["history"] and not done["interrupted"]


# Eval


def test_eval_is_the_test_of_the_training(run: Path) -> None:
    found = document("eval", run)
    assert found.keys() == EVAL_KEYS
    test = json.loads((run / "result.json").read_text())["test"]
    assert {key: found[key] for key in test} == test
    assert document("eval", run / "best.safetensors")["accuracy"] == test["accuracy"]
    quiet = qbnn("eval", run, "--quiet").stdout
    assert float(quiet) == pytest.approx(test["accuracy"])


def test_eval_of_the_parts_and_of_other_modes(run: Path, tmp_path: Path) -> None:
    best = json.loads((run / "result.json").read_text())["best"]
    assert document("eval", run, "--split", "validation")["accuracy"] == pytest.approx(
        best["validation_accuracy"]
    )
    drawn = document("eval", run, "--mode", "sample", "--num-draws", 3, "--seed", 1)
    assert (drawn["mode"], drawn["num_draws"]) == ("sample", 3)
    assert drawn == document("eval", run, "--mode", "sample", "--num-draws", 3, "--seed", 1)
    hard = document("eval", run, "--binarised", "--out", tmp_path / "hard")
    anew = document("eval", run, "--binarised", "--reestimate")
    assert hard["binarised"] and not hard["reestimated"] and anew["reestimated"]
    assert {path.name for path in (tmp_path / "hard").iterdir()} == FILES & {
        "confusion-matrix.png", "filters.png", "index.html", "reliability.png", "result.json",
    }  # fmt: skip
    assert document("eval", run, "--limit", 50)["num_images"] == 50


# What is refused


def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_text(tmp_path / "bad.toml", 'familly = "none"\n')
    for options, words in [
        (("--family", "reel4"), "did you mean 'real4'"),
        (("--data", "digit"), "did you mean 'digits'"),
        (("--data", "mnist", "--data-dir", tmp_path), "mnist"),
        (("--architecture", "9X"), "cannot read '9X'"),
        (("--architecture", "4C3-MP9-SM10"), "nothing is left of images of 8×8"),
        (("--architecture", "SM7"), "has 7 classes, but 'digits'"),
        (("--epochs", 0), "epochs: input should be greater than or equal to 1"),
        (("--learning-rate", "nan"), "learning_rate: input should be"),
        (("--limit", 0), "limit: input should be greater than or equal to 1"),
        (("--seed", -1), "seed: input should be greater than or equal to 0"),
        (("--device", "abacus"), "no device 'abacus'"),
        (("--law", "exact", "--family", "scaled"), "no Poisson-binomial"),
        (("--pseudo-gradient", "clap", "--family", "sign"), "did you mean 'clip'"),
        (("--config", tmp_path / "bad.toml"), "bad.toml: unknown setting 'familly'"),
        (("--config", tmp_path / "none.toml"), "none.toml: No such file"),
    ]:
        error = qbnn("train", "--out", out, *options, code=2).stderr
        assert words in error, error
        assert error.startswith("error: ") and error.count("\n") == 1
        assert not out.exists(), options


SETS = """
import numpy as np
from qbnn.data.imagesets import Arrays

def make(value, label):
    def load(*, data_dir=None, download=False, progress=None):
        images = np.full((40, 1, 4, 4), 0.5, np.float32)
        images[3, 0, 1, 1] = value
        labels = np.arange(40) % 2
        labels[3] = label
        return Arrays(images, labels, images, labels, ("a", "b"), 1, 4)
    return load

fine, pixel, label = make(0.5, 1), make(np.nan, 1), make(0.5, 2)
bright = make(1.5, 1)
"""


def test_sets_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "own_sets.py", SETS)
    monkeypatch.syspath_prepend(tmp_path)
    call = ("train", "--epochs", 1, "--out", tmp_path / "run", "--quiet")
    assert "name one" in qbnn(*call, "--data", "own_sets:fine", code=2).stderr
    call = (*call, "--architecture", "SM2")
    error = qbnn(*call, "--data", "own_sets:pixel", code=2).stderr
    assert "has a pixel that is not finite" in error
    error = qbnn(*call, "--data", "own_sets:bright", code=2).stderr
    assert "has a pixel that is not in 0…1" in error
    error = qbnn(*call, "--data", "own_sets:label", code=2).stderr
    assert "has a label that is not in 0…1" in error
    assert not (tmp_path / "run").exists()
    qbnn(*call, "--data", "own_sets:fine")
    assert document("eval", tmp_path / "run")["num_images"] == 40


def test_bad_checkpoints_are_one_line(run: Path, tmp_path: Path) -> None:
    data = (run / "best.safetensors").read_bytes()
    torn, other = tmp_path / "torn.safetensors", tmp_path / "other.safetensors"
    torn.write_bytes(data[:-100])
    other.write_bytes(data.replace(rb"\"version\":1", rb"\"version\":9"))
    unknown = tmp_path / "unknown.safetensors"
    network, _ = checkpoints.load(run)
    checkpoints.save(unknown, network, {})
    for path, words in [
        (torn, "torn.safetensors: not a whole safetensors file, or cut short"),
        (other, "other.safetensors: 'qbnn-network' of version 9; this program reads version 1"),
        (unknown, "name the set by --data"),
        (tmp_path, "holds no best.safetensors"),
        (tmp_path / "nothing", "nothing: No such file or directory"),
    ]:
        error = qbnn("eval", path, code=2).stderr
        assert words in error and error.count("\n") == 1
    assert document("eval", unknown, "--data", "digits")["num_images"] == 360
    assert "no deterministic twin" in _deformed(tmp_path)


def _deformed(folder: Path) -> str:
    out = folder / "real4"
    qbnn("train", "--epochs", 1, "--family", "real4", "--out", out, *TINY, "--quiet")
    return qbnn("eval", out, "--binarised", code=2).stderr


def test_lists() -> None:
    families = {row["name"] for row in document("list", "families")["families"]}
    assert families >= {"none", "real4", "su4", "sign", "free"}
    named = document("list", "architectures")["architectures"]
    assert {"name": "a", "stages": "SM10"}.items() <= named[0].items()
    sets = {row["name"]: row["architecture"] for row in document("list", "datasets")["datasets"]}
    assert set(sets) == {"digits", "mnist", "fashion-mnist", "cifar10"}
    assert set(sets.values()) <= {row["name"] for row in named}


@pytest.mark.parametrize("command", ["train", "eval"])
def test_help_has_an_example(command: str) -> None:
    assert f"qbnn {command}" in qbnn(command, "--help").stdout.partition("Examples:")[2]
