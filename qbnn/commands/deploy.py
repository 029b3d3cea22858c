"""The command that compiles trained networks for use without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands.shared import NETWORKS, Json, Quiet, Run, add
from qbnn.commands.train import DATA, DataDir, Law, Threads


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
    law: Law = None,
    data: Annotated[
        str | None,
        typer.Option(help="Another set. (the one of the training)", rich_help_panel=DATA),
    ] = None,
    data_dir: DataDir = None,
    num_threads: Threads = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile the network of RUN to packed bits, tables or ONNX, and test it beside torch.

    Nothing is written where what was compiled disagrees with torch.
    """
    from qbnn.deploy.compilation import CompileOptions, compile_run, shown
    from qbnn.terminal.console import print_document, print_facts

    options = CompileOptions(
        kind=kind,
        num_members=num_members,
        weights=weights,
        num_draws=num_draws,
        reestimated=reestimate,
        num_threads=num_threads,
        seed=seed,
    )
    found = compile_run(run, options, out=out, law=law, data=data, data_dir=data_dir)
    if json:
        print_document("compile", found)
    elif quiet:
        print(f"{found['accuracy']['compiled']:.12g}")
    else:
        print_facts(f"wrote {found['out']}", shown(found))


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
