"""Rows shared among threads: each is worked on once, by as many threads as were asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from anneal.errors import InputError
from anneal.kernels import threads
from anneal.kernels.threads import over_rows

HEAVY = 1e6  # microseconds a row: always split


@pytest.fixture(params=["torch's", "pool"])
def team(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    assert torch.get_num_threads() > 0
    if request.param == "pool":
        monkeypatch.delitem(sys.modules, "torch")
    elif threads._openmp_team() is None:
        pytest.skip("torch does not compute with GNU's OpenMP here")
    return str(request.param)


@pytest.mark.parametrize("num_rows", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("num_threads", [1, 2, 5, None])
def test_every_row_is_worked_on_once(team: str, num_rows: int, num_threads: int | None) -> None:
    counts = np.zeros(num_rows, int)

    def work(start: int, stop: int) -> None:
        counts[start:stop] += 1

    over_rows(work, num_rows, microseconds=HEAVY, num_threads=num_threads)
    assert (counts == 1).all()


def test_parts_run_side_by_side(team: str) -> None:
    together = threading.Barrier(3, timeout=20)  # It breaks where fewer than three come.

    def work(start: int, stop: int) -> None:
        together.wait()

    over_rows(work, 3, microseconds=HEAVY, num_threads=3)
    assert not together.broken


def test_little_work_is_not_split(team: str) -> None:
    seen = []
    over_rows(lambda *part: seen.append(part), 10, microseconds=1.0, num_threads=4)
    assert seen == [(0, 10)]


def test_what_a_part_raises_is_raised_here_and_the_rest_is_left(team: str) -> None:
    def work(start: int, stop: int) -> None:
        if start == 0:
            raise InputError("the first")
        time.sleep(0.01)

    for _ in range(3):
        with pytest.raises(InputError, match="the first"):
            over_rows(work, 4, microseconds=HEAVY, num_threads=2)
    over_rows(lambda *part: None, 4, microseconds=HEAVY, num_threads=2)


def test_parts_within_parts_come_to_an_end(team: str) -> None:
    done = []

    def inner(start: int, stop: int) -> None:
        done.append((start, stop))

    def outer(start: int, stop: int) -> None:
        over_rows(inner, 4, microseconds=HEAVY, num_threads=4)

    over_rows(outer, 4, microseconds=HEAVY, num_threads=4)
    assert sorted(done) == sorted([(0, 1), (1, 2), (2, 3), (3, 4)] * 4)


def test_no_thread_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1, is 0"):
        over_rows(print, 3, microseconds=1.0, num_threads=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_of_the_process_has_threads_of_its_own() -> None:
    code = """
import os, sys
from anneal.kernels.threads import over_rows
assert "torch" not in sys.modules
over_rows(lambda *part: None, 4, microseconds=1e6, num_threads=2)
child = os.fork()
over_rows(lambda *part: None, 4, microseconds=1e6, num_threads=2)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0
