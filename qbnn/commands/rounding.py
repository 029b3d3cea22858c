"""The command that rounds trained networks to few bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands.shared import NETWORKS, Json, Quiet, add
from qbnn.commands.train import Threads

IMAGES, HOW = "Images", "How to round"


def round_weights(
    network: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="efficientnet-lite0, or `package.module:factory`."),
    ],
    images: Annotated[
        Path, typer.Option(help="Folder of images to calibrate with and to judge by.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    weights: Annotated[
        Path | None, typer.Option(help="Of a factory's network: safetensors, or a state dict.")
    ] = None,
    bits: Annotated[int, typer.Option(min=1, max=16, help="Of each weight.")] = 4,
    activation_bits: Annotated[
        int | None, typer.Option(min=2, max=16, help="Of each layer's input. (float)")
    ] = None,
    method: Annotated[
        str, typer.Option(help="A rounder: nearest, gptq, beam, lns …", rich_help_panel=HOW)
    ] = "lns",
    ridge: Annotated[
        str,
        typer.Option(help="Share of the mean diagonal, or held-out.", rich_help_panel=HOW),
    ] = "0.01",
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--asymmetric", help="Grids.", rich_help_panel=HOW)
    ] = True,
    per_row: Annotated[
        bool,
        typer.Option("--per-channel/--per-tensor", help="Steps of grids.", rich_help_panel=HOW),
    ] = True,
    corners: Annotated[
        bool,
        typer.Option(
            "--corners/--all-levels",
            help="The two levels around each weight, or all.",
            rich_help_panel=HOW,
        ),
    ] = False,
    num_calibration: Annotated[
        int, typer.Option(min=2, help="Images to calibrate with.", rich_help_panel=IMAGES)
    ] = 192,
    labels: Annotated[
        Literal["none", "names", "folders"],
        typer.Option(
            help="Class of an image: the number that is its file's name, or its folder's place.",
            rich_help_panel=IMAGES,
        ),
    ] = "none",
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Of the images. (the network's)", rich_help_panel=IMAGES),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=3, help="Take so many images.", rich_help_panel=IMAGES)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT, if there is one.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    num_threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Round the weights of a trained network, layer by layer, and judge it on images held out.

    An interrupted run keeps the layers that are done; --resume goes on.
    """
    from anneal.rounding.runs import RunOptions, round_run
    from anneal.rounding.sequential import RoundingOptions
    from qbnn.terminal.console import print_document, print_facts, progress_bar
    from qbnn.training.runs import threads

    rounding = RoundingOptions(
        bits=bits,
        method=method,
        ridge=parse_ridge(ridge),
        corners=corners,
        symmetric=symmetric,
        per_row=per_row,
        activation_bits=activation_bits,
        seed=seed,
    )
    options = RunOptions(
        network,
        str(images),
        weights=None if weights is None else str(weights),
        labels=labels,
        size=size,
        num_calibration=num_calibration,
        limit=limit,
        seed=seed,
        rounding=rounding,
    )
    with threads(num_threads), progress_bar("rounding", quiet=quiet or json) as progress:
        found = round_run(options, out, resume=resume, progress=progress)
    if json:
        print_document("round", found)
    elif quiet:
        print(f"{found['kl']:.12g}")
    else:
        facts = {key: value for key, value in found.items() if key not in ("layers", "in_float")}
        print_facts(
            f"wrote {out}", {**facts, "in float": ", ".join(found["in_float"]) or "nothing"}
        )


def parse_ridge(text: str) -> float | Literal["held-out"]:
    """Return a ridge as it is written on the command line.

    >>> parse_ridge("0.01"), parse_ridge("held-out")
    (0.01, 'held-out')
    """
    from anneal.errors import InputError

    if text == "held-out":
        return "held-out"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(f"ridge must be a number not below 0, or held-out; it is '{text}'")
    return value


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app,
        round_weights,
        "qbnn round efficientnet-lite0 --images photographs --bits 4 --out runs/lite0",
        "qbnn round my.module:factory --weights w.safetensors --images DIR --bits 3 --out RUN",
        panel=NETWORKS,
        name="round",
    )
