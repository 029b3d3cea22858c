"""What every command of the command line shares: options, panels of the help, errors, output."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

# Panels of `qbnn --help`.
PROBLEMS, NETWORKS, CIRCUITS = "Problems over bits", "Networks", "Circuits and devices"
OVERVIEW = "Overview"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the result alone and no progress.")
]
Seed = Annotated[int | None, typer.Option(help="Drawn, and reported, if not given.")]
Executor = Annotated[
    str | None,
    typer.Option(help="Share the work out to workers: threads, processes or dask."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Workers of the executor. (all cores)")]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Dask scheduler, such as tcp://10.0.0.1:8786."),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of `qbnn train`, or a .safetensors file.")
]


class Command(TyperCommand):
    """Turns the errors of a command into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            from qbnn.terminal.console import exit_code

            raise typer.Exit(exit_code(error, debug=ctx.find_root().params["debug"])) from None


def add(
    app: typer.Typer,
    function: Callable[..., None],
    *examples: str,
    panel: str,
    name: str | None = None,
) -> None:
    """Add a command to a panel of the help; its own help ends with examples."""
    lines = "\n\n".join(["Examples:", *(f"  {line}" for line in examples)])
    app.command(name, cls=Command, epilog=lines, rich_help_panel=panel)(function)


def executor_of(executor: str | None, workers: int | None, scheduler: str | None) -> str | None:
    """Return the executor's name: a scheduler alone means Dask.

    Raises :class:`~anneal.errors.InputError` for workers without an executor.

    >>> executor_of(None, None, "tcp://10.0.0.1:8786")
    'dask'
    """
    if executor is None and scheduler is not None:
        return "dask"
    if executor is None and workers is not None:
        from anneal.errors import InputError

        raise InputError("--workers wants an --executor: threads, processes or dask")
    return executor


def words_of(text: str) -> list[str]:
    """Return what commas join.

    >>> words_of("A, B")
    ['A', 'B']
    """
    return [word.strip() for word in text.split(",")]


def spelled(command: str, options: Mapping[str, Any]) -> str:
    """Return the line that calls a command, without options that are None.

    >>> spelled("qbnn paper speed", {"out": "runs/a b", "batch_sizes": 128, "networks": None})
    "qbnn paper speed --out 'runs/a b' --batch-sizes 128"
    """
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in options.items())
    words = [str(word) for name, value in pairs if value is not None for word in (name, value)]
    return " ".join([command, shlex.join(words)]).strip()


def tell(
    command: str,
    title: str,
    facts: dict[str, Any],
    *,
    json: bool,
    quiet: bool = False,
    human: dict[str, Any] | None = None,
) -> None:
    """Print what a command did: as one JSON document, or for people (``human`` if given)."""
    from qbnn.terminal.console import print_document, print_facts

    if json:
        print_document(command, facts)
    elif not quiet:
        shown = facts if human is None else human
        print_facts(
            title, {k: v for k, v in shown.items() if k not in ("file", "out", "parameters")}
        )
