"""The errors that the command line turns into one line and an exit code."""

from __future__ import annotations

import os


class InputError(ValueError):
    """Input that cannot be used: a malformed file, an impossible number, an unknown name (exit code
    2).

    ``str(error)`` is one line, ``file:line: reason``, with the parts that are known.

    >>> str(InputError("weight is not a number", path="g.txt", line=3))
    'g.txt:3: weight is not a number'
    """

    def __init__(
        self, reason: str, *, path: str | os.PathLike[str] | None = None, line: int | None = None
    ) -> None:
        self.reason = " ".join(reason.split())
        self.path = None if path is None else os.fspath(path)
        self.line = line
        super().__init__(self.reason)

    def __str__(self) -> str:
        where = "" if self.path is None else self.path
        if self.line is not None:
            where += f":{self.line}" if where else f"line {self.line}"
        return f"{where}: {self.reason}" if where else self.reason


class InfeasibleError(RuntimeError):
    """No solution satisfies the constraints (exit code 3)."""


def first_line(error: Exception) -> str:
    """Return the first line of what another package's error says, or its kind where it is silent.

    >>> first_line(RuntimeError("no such shape\\nTraceback: ..."))
    'no such shape'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
