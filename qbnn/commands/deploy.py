"""The command that compiles trained networks for use without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands.shared import NETWORKS, Json, Quiet, Run, add, tell


def compile(
    run: Run,
    kind: Annotated[
        Literal["auto", "bits", "ternary", "ensemble", "table", "onnx"],
        typer.Option(
            help="auto: bits, or table for a deformed network. ternary: 0 for weights that are "
            "not sure. ensemble: also of drawn weights. onnx: the emulated network."
        ),
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="File to write. (compiled.KIND.safetensors beside RUN)")
    ] = None,
    num_members: Annotated[int, typer.Option(min=1, help="Networks of an ensemble.")] = 16,
    weights: Annotated[
        Literal["qubit", "map"],
        typer.Option(help="Of a table: qubits as they are, or their likelier bits."),
    ] = "qubit",
    num_draws: Annotated[int, typer.Option(min=1, help="Passes of a sampled network.")] = 16,
    reestimate: Annotated[
        bool,
        typer.Option("--reestimate", help="Estimate the normalisations of bits anew; others do."),
    ] = False,
    data: Annotated[str | None, typer.Option(help="Set to test on. (that of the training)")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of its files.")] = None,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads. (all cores)")] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile the network of RUN to packed bits, tables or ONNX, and test it beside torch.

    Nothing is written where what was compiled disagrees with torch.
    """
    from qbnn.compilation import compile_run, shown

    found = compile_run(
        run,
        kind=kind,
        out=out,
        data=data,
        data_dir=data_dir,
        reestimated=reestimate,
        num_members=num_members,
        weights=weights,
        num_draws=num_draws,
        num_threads=num_threads,
        seed=seed,
    )
    tell("compile", f"wrote {found['out']}", found, json=json, quiet=quiet, human=shown(found))


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app,
        compile,
        "qbnn compile runs/digits --json",
        "qbnn compile runs/digits --kind ensemble --num-members 8 --out ensemble.safetensors",
        "qbnn compile runs/digits --kind onnx --out digits.onnx",
        panel=NETWORKS,
    )
