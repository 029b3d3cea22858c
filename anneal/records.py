"""Results as lines of JSON that add: interrupted work resumes and a table is a query over rows."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes

SCHEMA = 1
# Every row starts like this, which tells a torn row from a file of something else.
_START = b'{"id":"'


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, ASCII, shortest exact floats.

    Numpy's scalars and arrays count as Python's. Raises :class:`~anneal.errors.InputError` for NaN,
    infinities and what JSON cannot hold.

    >>> canonical_json({"b": 1.0, "a": [True, None]})
    '{"a":[true,null],"b":1.0}'
    """
    try:
        return json.dumps(
            value, sort_keys=True, allow_nan=False, separators=(",", ":"), default=_as_python
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"not a JSON value: {error}") from error


@dataclass(frozen=True)
class Task:
    """One piece of work: a job's name and its exact inputs.

    >>> Task("solve", {"seed": 1}).id[:8]
    'f19eeee7'
    """

    job: str
    spec: Mapping[str, Any]

    @functools.cached_property
    def id(self) -> str:
        """The SHA-256, in hex, of the task's canonical JSON."""
        text = canonical_json({"job": self.job, "spec": self.spec})
        return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result, where installed."""
    found = {"python": platform.python_version()}
    for name in (
        "numpy",
        "numba",
        "dimod",
        "dwave-samplers",
        "torch",
        "pennylane",
        "safetensors",
        "qbnn",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def machine() -> dict[str, Any]:
    """Return the CPU's model, the number of cores this process may use and the system."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return {"cpu": _cpu_model(), "cores": cores, "system": platform.system()}


def peak_memory() -> int | None:
    """Return the most bytes this process has had in memory, or the one that started it had.

    None where the system does not say.

    >>> peak_memory() > 10**6
    True
    """
    try:
        import resource
    except ImportError:  # Windows has none.
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass(frozen=True)
class Record:
    """What a task gave: its result, the seconds it took, and with what and where."""

    task: Task
    result: Mapping[str, Any]
    seconds: float
    versions: Mapping[str, str] = field(default_factory=lambda: dict(versions()))
    machine: Mapping[str, Any] = field(default_factory=lambda: dict(machine()))

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        body = canonical_json(
            {
                "job": self.task.job,
                "spec": self.task.spec,
                "result": self.result,
                "seconds": self.seconds,
                "versions": self.versions,
                "machine": self.machine,
                "schema": SCHEMA,
            }
        )
        return f'{_START.decode()}{self.task.id}",{body[1:]}'

    @classmethod
    def from_json(cls, line: str | bytes) -> Record:
        """Return the record of one line; raise :class:`~anneal.errors.InputError` otherwise."""
        try:
            row = json.loads(line)
            schema, claimed = row["schema"], row["id"]
            task = Task(row["job"], dict(row["spec"]))
            result, seconds = dict(row["result"]), float(row["seconds"])
            record = cls(task, result, seconds, dict(row["versions"]), dict(row["machine"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError("not a record") from error
        if schema != SCHEMA:
            raise InputError(f"a record of schema {schema}; this version reads schema {SCHEMA}")
        if claimed != task.id:
            raise InputError("the record's id is not that of its task: was the line edited?")
        return record


class RecordFile:
    """Records in a file, one a line, only ever appended.

    Files add: the concatenation of two is the file of both.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = RecordFile(pathlib.Path(folder) / "rows.jsonl")
    ...     rows.append(Record(Task("solve", {"seed": 1}), {"energy": -3.0}, 0.1))
    ...     [record.result for record in rows.read()]
    [{'energy': -3.0}]
    """

    def __init__(self, path: Pathlike) -> None:
        self.path = Path(path)

    def append(self, record: Record) -> None:
        """Add one row in a single write and hand it to the disk, one process at a time.

        A row torn by an earlier interruption is first ended with a newline. Raises
        :class:`~anneal.errors.InputError` where the file cannot be written.
        """
        row = record.to_json().encode() + b"\n"
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _lock(handle)
                if _ends_torn(handle):
                    row = b"\n" + row
                if os.write(handle, row) != len(row):
                    raise OSError("the disk took only a part of the row")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            reason = f"cannot write: {error.strerror or error}"
            raise InputError(reason, path=self.path) from error

    def read(self) -> list[Record]:
        """Return the records in the order of the file, the last one of each task.

        A row that an interruption tore is passed over. Raises
        :class:`~anneal.errors.InputError` where the file is missing or holds a line that is no
        record.
        """
        found: dict[str, Record] = {}
        for number, line in enumerate(read_bytes(self.path).split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                record = Record.from_json(line)
            except InputError as error:
                if _is_torn(line):
                    continue
                raise InputError(error.reason, path=self.path, line=number) from error
            found.pop(record.task.id, None)
            found[record.task.id] = record
        return list(found.values())

    def done(self) -> set[str]:
        """Return the ids of the tasks that have a row; none where there is no file yet."""
        return {record.task.id for record in self.read()} if self.path.exists() else set()


def _as_python(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _lock(handle: int) -> None:
    """Wait for other processes that append; closing the file lets the next one in."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def _ends_torn(handle: int) -> bool:
    size = os.lseek(handle, 0, os.SEEK_END)
    if size == 0:
        return False
    os.lseek(handle, -1, os.SEEK_END)
    return os.read(handle, 1) != b"\n"


def _is_torn(line: bytes) -> bool:
    if not (line.startswith(_START) or _START.startswith(line)):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False
