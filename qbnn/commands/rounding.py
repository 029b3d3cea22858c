"""The command that rounds trained networks to few bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands.shared import NETWORKS, Json, Quiet, add
from qbnn.commands.train import Threads

IMAGES, HOW, BLIND = "Images", "How to round", "What needs no images"


def round_weights(
    network: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="efficientnet-lite0, an ONNX file, or `package.module:factory`.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images to calibrate with and to judge by; without one the network "
            "alone is looked at."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Of a factory's network: safetensors, or a state dict.")
    ] = None,
    bits: Annotated[int, typer.Option(min=1, max=16, help="Of each weight.")] = 4,
    activation_bits: Annotated[
        int | None, typer.Option(min=2, max=16, help="Of each layer's input. (float)")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT, if there is one.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    method: Annotated[
        str | None,
        typer.Option(
            help="A name in `qbnn list rounders`, or module:function. (lns; nearest without "
            "images)",
            rich_help_panel=HOW,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A keyword of the method; repeat.",
            rich_help_panel=HOW,
        ),
    ] = None,
    target: Annotated[
        Literal["network", "layer"] | None,
        typer.Option(
            help="Keep up with the float network, whatever the layers before have lost, or with "
            "each layer alone. (network)",
            rich_help_panel=HOW,
        ),
    ] = None,
    bias: Annotated[
        Literal["optimal", "sequential", "empirical", "analytic", "none"] | None,
        typer.Option(
            help="Chosen with the levels; corrected before the next layer comes, or after all, "
            "by images or by what normalisations tell; left. (optimal; analytic without images)",
            rich_help_panel=HOW,
        ),
    ] = None,
    ridge: Annotated[
        str,
        typer.Option(
            help="Share of the mean diagonal that holds weights where they were, or held-out.",
            rich_help_panel=HOW,
        ),
    ] = "held-out",
    corners: Annotated[
        bool,
        typer.Option(
            "--corners/--all-levels",
            help="The two levels around each weight, or all.",
            rich_help_panel=HOW,
        ),
    ] = False,
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--asymmetric", help="Grids.", rich_help_panel=HOW)
    ] = True,
    per_row: Annotated[
        bool,
        typer.Option("--per-channel/--per-tensor", help="Steps of grids.", rich_help_panel=HOW),
    ] = True,
    scale: Annotated[
        Literal["minmax", "mse", "hessian", "searched"],
        typer.Option(
            help="What their steps suit: all weights, the nearest levels, those by the Hessian's "
            "diagonal, or the rounding.",
            rich_help_panel=HOW,
        ),
    ] = "mse",
    activation_range: Annotated[
        Literal["minmax", "mse", "percentile", "statistics"] | None,
        typer.Option(
            help="Of activations: measured, or told by normalisations. (mse; statistics without "
            "images)",
            rich_help_panel=HOW,
        ),
    ] = None,
    activation_aware: Annotated[
        bool,
        typer.Option(
            "--activation-aware",
            help="Count outputs where the activation that follows passes them on.",
            rich_help_panel=HOW,
        ),
    ] = False,
    bounds: Annotated[
        bool,
        typer.Option(
            "--bounds/--no-bounds",
            help="Prove how far each layer is from the best.",
            rich_help_panel=HOW,
        ),
    ] = True,
    equalise: Annotated[
        bool,
        typer.Option(
            "--equalise",
            help="Make the weight ranges of layers that follow each other alike.",
            rich_help_panel=BLIND,
        ),
    ] = False,
    absorb: Annotated[
        bool,
        typer.Option(
            "--absorb", help="Move high biases into the next layer.", rich_help_panel=BLIND
        ),
    ] = False,
    num_calibration: Annotated[
        int,
        typer.Option(
            min=0, help="Images to calibrate with; the others judge.", rich_help_panel=IMAGES
        ),
    ] = 192,
    limit: Annotated[
        int, typer.Option(min=1, help="Take so many images, evenly spread.", rich_help_panel=IMAGES)
    ] = 1000,
    labels: Annotated[
        Literal["none", "names", "folders"],
        typer.Option(
            help="Class of an image: the number that is its file's name, or its folder's place.",
            rich_help_panel=IMAGES,
        ),
    ] = "none",
    size: Annotated[
        int | None, typer.Option(min=1, help="In pixels. (the network's)", rich_help_panel=IMAGES)
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(help="Share of the shorter side to keep. (0.875)", rich_help_panel=IMAGES),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=1, max=3, help="3, or 1 for grey. (the network's)", rich_help_panel=IMAGES
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="Taken off pixels of 0 … 255: a number, or one for each channel. (127)",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(help="What is left is divided by. (128)", rich_help_panel=IMAGES),
    ] = None,
    num_threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Round the weights of a trained network, layer by layer, and judge it on images held out.

    OUT gets network.onnx, network.safetensors, result.json and index.html.

    An interrupted run keeps the layers that are done; --resume goes on.
    """
    from anneal.rounding.layers import RoundingOptions
    from anneal.rounding.report import layer_table
    from anneal.rounding.runs import RunOptions, round_run
    from anneal.rounding.stored import SETTINGS
    from qbnn.terminal.console import (
        print_document,
        print_facts,
        print_table,
        progress_bar,
        say,
    )
    from qbnn.terminal.rounding import summary, with_time_left, write_page
    from qbnn.terminal.settings import parse_pairs
    from qbnn.training.runs import threads

    blind = images is None or num_calibration == 0
    biases = bias or ("analytic" if blind else "optimal")
    ranges = activation_range or ("statistics" if blind else "mse")
    rounding = RoundingOptions(
        bits=bits,
        method=method or ("nearest" if blind else "lns"),
        parameters=parse_pairs(parameter),
        centred=biases == "optimal",
        correct=biases == "sequential",
        asymmetric=(target or ("layer" if blind else "network")) == "network",
        ridge=parse_ridge(ridge),
        corners=corners,
        symmetric=symmetric,
        per_row=per_row,
        scale=scale,
        activation_bits=activation_bits,
        activation_range="mse" if ranges == "statistics" else ranges,
        activation_aware=activation_aware,
        bounds=bounds,
        seed=seed,
    )
    options = RunOptions(
        network,
        images=None if images is None else str(images),
        weights=None if weights is None else str(weights),
        labels=labels,
        size=size,
        channels=channels,
        mean=parse_channels("mean", mean),
        std=parse_channels("std", std),
        crop=crop,
        num_calibration=num_calibration,
        limit=limit,
        equalise=equalise,
        absorb=absorb,
        ranges="statistics" if ranges == "statistics" else "measured",
        correction="none" if biases == "optimal" or biases == "sequential" else biases,
        seed=seed,
        rounding=rounding,
    )
    try:
        with threads(num_threads), progress_bar("rounding", quiet=quiet or json) as show:
            found = round_run(options, out, resume=resume, progress=with_time_left(show))
            write_page(out, found, title=f"{network}, {bits} bits by {rounding.method}")
    except KeyboardInterrupt:
        if (out / SETTINGS).exists():
            say(f"the layers so far are in {out}; the same command with --resume goes on")
        raise
    if json:
        print_document("round", found)
    elif quiet:
        print(out if found["kl"] is None else f"{found['kl']:.12g}")
    else:
        print_table(layer_table(found["layers"]))
        print_facts(f"wrote {out}", {**summary(found), "page": str(out / "index.html")})


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


def parse_channels(name: str, text: str | None) -> float | tuple[float, ...] | None:
    """Return a number, or one for each channel, as it is written on the command line.

    >>> parse_channels("mean", "127"), parse_channels("mean", "124,116,104")
    (127.0, (124.0, 116.0, 104.0))
    """
    from anneal.errors import InputError

    if text is None:
        return None
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"{name} must be a number, or three with commas, not '{text}'") from None
    return values if len(values) > 1 else values[0]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app,
        round_weights,
        "qbnn round efficientnet-lite0 --images photographs --bits 4 --out runs/lite0",
        "qbnn round network.onnx --images photographs --bits 8 --activation-bits 8 --out RUN",
        "qbnn round my.module:factory --weights w.pt --bits 8 --equalise --out RUN",
        panel=NETWORKS,
        name="round",
    )
