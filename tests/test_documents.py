"""The examples in README, CONTRIBUTING and docs run, and print what they say they print.

All blocks of one document share a folder and a namespace. A ``python`` block is run, and one that
starts with ``# name.py`` is also written to that file. In a ``console`` block every ``$`` line is
run and, where output is shown below it, has to print that (``...`` stands for anything). Blocks of
other languages are not run.
"""

from __future__ import annotations

import doctest
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parents[1]
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
NOTEBOOKS = [path for path in (ROOT / "docs").glob("*.py") if path.name != "conf.py"]


def run_python(example: Example) -> str | None:
    """Run a block, and write it where its first line names a file."""
    named = re.match(r"# (\w+\.py)\n", example.parsed)
    if named:
        Path(named[1]).write_text(example.parsed)
    return PythonEvaluator()(example)


def run_console(example: Example) -> str | None:
    """Run the commands of a console block; return what is wrong with their output."""
    commands = Path(sys.executable).parent
    assert (commands / "qbnn").exists(), "qbnn is not installed beside this Python"
    # One thread: several that share a core with another test wait for each other.
    environment = os.environ | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
    }
    for block in f"\n{example.parsed}".split("\n$ ")[1:]:
        line, expected = re.fullmatch(r"((?:.*\\\n)*.*)\n?((?:.|\n)*)", block).groups()
        done = subprocess.run(
            line, shell=True, env=environment, capture_output=True, text=True, timeout=240
        )
        if done.returncode:
            return f"$ {line}\nexit code {done.returncode}\n{done.stderr}"
        same = doctest.OutputChecker().check_output(expected, done.stdout, LENIENT)
        if expected.strip() and not same:
            return f"$ {line}\nexpected:\n{expected}\nprinted:\n{done.stdout}"
    return None


@pytest.mark.parametrize("path", sorted(DOCUMENTS), ids=lambda path: path.name)
def test_examples(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    parsers = [
        CodeBlockParser(language="python", evaluator=run_python),
        CodeBlockParser(language="console", evaluator=run_console),
    ]
    for example in Sybil(parsers, path=str(path.parent)).parse(path).examples():
        example.evaluate()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS), ids=lambda path: path.name)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(path))
