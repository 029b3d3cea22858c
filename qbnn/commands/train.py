"""`qbnn train` and `qbnn eval`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qbnn.commands.shared import NETWORKS, Json, Quiet, Run, Seed, add

NETWORK, TRAINING, DATA = "Network", "Training", "Data and machine"
QUANTUM = "On a quantum device"

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the set's files, or of a folder with its name. (QBNN_DATA, the cache)",
        rich_help_panel=DATA,
    ),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch what is missing.", rich_help_panel=DATA)
]
Limit = Annotated[
    int | None,
    typer.Option(help="Take so many images of each part.", rich_help_panel=DATA),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1.", rich_help_panel=DATA)]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads. (all cores)", rich_help_panel=DATA)
]
Mode = Annotated[
    Literal["propagate", "sample"] | None,
    typer.Option(
        help="Hand hidden bits on as probabilities, or draw them. (propagate)",
        rich_help_panel=NETWORK,
    ),
]
Law = Annotated[
    Literal["clt", "clt-cc", "edgeworth", "exact"] | None,
    typer.Option(help="Law of a neuron's count. (clt-cc)", rich_help_panel=NETWORK),
]
Pool = Annotated[
    Literal["sample", "mean", "or"] | None,
    typer.Option(
        help="Hand on of a window the site of the largest draw or of the largest mean, or whether "
        "any fires. (sample where bits are drawn, else mean)",
        rich_help_panel=NETWORK,
    ),
]


def train(
    data: Annotated[
        str | None,
        typer.Option(help="A name in `qbnn list datasets`, or module:function. (digits)"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. (runs/DATA-FAMILY-SEED)")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT, if there is one.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of these options; those given here win.")
    ] = None,
    seed: Seed = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="A name in `qbnn list architectures`, or stages: 16C3-MP2-32C3S2-64FC-SM10.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="A name in `qbnn list families`. (none)", rich_help_panel=NETWORK),
    ] = None,
    share: Annotated[
        Literal["connection", "output", "input", "layer"] | None,
        typer.Option(help="What has a deformation of its own.", rich_help_panel=NETWORK),
    ] = None,
    trainable: Annotated[
        bool | None,
        typer.Option("--trainable/--frozen", help="Of deformations.", rich_help_panel=NETWORK),
    ] = None,
    init_std: Annotated[
        float | None,
        typer.Option(help="Spread of their first angles.", rich_help_panel=NETWORK),
    ] = None,
    input: Annotated[
        Literal["bernoulli", "real"] | None,
        typer.Option(
            help="A pixel is P(bit = 1), or a number for an undeformed first layer. (bernoulli)",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    mode: Mode = None,
    law: Law = None,
    head: Annotated[
        Literal["ce", "bce"] | None,
        typer.Option(
            help="Cross entropy of the means, or of each class's bit. (ce)", rich_help_panel=NETWORK
        ),
    ] = None,
    pool: Pool = None,
    pseudo_gradient: Annotated[
        str | None,
        typer.Option(
            help="Of the family sign: clip, identity, polynomial, swish or tanh. (clip)",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="(20)", rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="(128; of digits 32)", rich_help_panel=TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="(0.1)", rich_help_panel=TRAINING)
    ] = None,
    schedule: Annotated[
        Literal["cosine", "plateau", "constant"] | None,
        typer.Option(
            help="Of the rate: to zero, halved where validation stalls, or none. (cosine)",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="End after so many epochs without a better validation.", rich_help_panel=TRAINING
        ),
    ] = None,
    clip_gradient: Annotated[
        float | None,
        typer.Option(help="Greatest norm of a gradient.", rich_help_panel=TRAINING),
    ] = None,
    augment: Annotated[
        Literal["shift"] | None,
        typer.Option(help="Move images by up to two pixels.", rich_help_panel=TRAINING),
    ] = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    download: Download = False,
    device: Device = "cpu",
    num_threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on images and test the best one of its epochs.

    The run's folder takes network, state, settings, history and pictures.
    Ctrl-C keeps the best so far, and --resume goes on, bit for bit.
    Under torchrun several processes train one network.
    """
    from qbnn.terminal.console import print_document, print_facts, say
    from qbnn.terminal.settings import load_settings
    from qbnn.training.runs import run_training, training_summary
    from qbnn.training.settings import TrainSettings

    network = {
        "architecture": architecture,
        "family": family,
        "share": share,
        "trainable": trainable,
        "init_std": init_std,
        "input": input,
        "mode": mode,
        "law": law,
        "head": head,
        "pool": pool,
        "pseudo_gradient": pseudo_gradient,
    }
    training = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "patience": patience,
        "clip_gradient": clip_gradient,
        "augment": augment,
    }
    options: dict[str, Any] = {"data": data, "limit": limit, "seed": seed}
    options |= {"network": _given(network), "training": _given(training)}
    settings = load_settings(options, TrainSettings, config=config)
    found = run_training(
        settings,
        out=out,
        resume=resume,
        data_dir=data_dir,
        download=download,
        device=device,
        num_threads=num_threads,
        quiet=quiet,
    )
    if found is None:
        return
    if json:
        print_document("train", found)
    elif not quiet:
        print_facts(f"{found['data']}: {found['architecture']}", training_summary(found))
    elif found["test"] is not None:
        print(f"{found['test']['accuracy']:.12g}")
    if found["interrupted"]:
        say(f"interrupted; go on by: qbnn train --resume --out {shlex.quote(found['out'])}")
        raise typer.Exit(130)


def eval_(
    run: Run,
    split: Annotated[
        Literal["test", "validation", "train"], typer.Option(help="Part of the set.")
    ] = "test",
    num_draws: Annotated[
        int,
        typer.Option(min=1, help="Passes over which a network that draws is averaged."),
    ] = 1,
    binarised: Annotated[
        bool,
        typer.Option(
            "--binarised", help="The deterministic twin of an undeformed network: bits alone."
        ),
    ] = False,
    reestimate: Annotated[
        bool,
        typer.Option(
            "--reestimate", help="Estimate the running statistics anew, on 20 training batches."
        ),
    ] = False,
    mode: Mode = None,
    law: Law = None,
    pool: Pool = None,
    shots: Annotated[
        int | None,
        typer.Option(
            help="Of every circuit; where bits are drawn, passes of one shot. (exact)",
            rich_help_panel=QUANTUM,
        ),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(
            help="Probability that a prepared qubit is depolarised; gates are perfect.",
            rich_help_panel=QUANTUM,
        ),
    ] = 0.0,
    readout: Annotated[
        float,
        typer.Option(help="Probability that a bit is misread.", rich_help_panel=QUANTUM),
    ] = 0.0,
    protocol: Annotated[
        Literal["fresh", "sequential-bit", "sequential-count"],
        typer.Option(
            help="Each neuron reads its own copy of the activations, or all read one: hidden "
            "layers of few inputs alone.",
            rich_help_panel=QUANTUM,
        ),
    ] = "fresh",
    data: Annotated[
        str | None,
        typer.Option(help="Another set. (the one of the training)", rich_help_panel=DATA),
    ] = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    download: Download = False,
    device: Device = "cpu",
    num_threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for result, pictures and page.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate the network of RUN: accuracy with its interval, cross entropy, calibration."""
    from qbnn.terminal.console import print_document, print_facts
    from qbnn.training.runs import evaluation_summary, run_evaluation

    found = run_evaluation(
        run,
        split=split,
        data=data,
        limit=limit,
        num_draws=num_draws,
        changes=_given({"mode": mode, "law": law, "pool": pool}),
        hard=binarised,
        anew=reestimate,
        hardware={"shots": shots, "noise": noise, "readout": readout, "protocol": protocol},
        seed=seed,
        data_dir=data_dir,
        download=download,
        device=device,
        num_threads=num_threads,
        out=out,
        quiet=quiet,
    )
    if json:
        print_document("eval", found)
    elif quiet:
        print(f"{found['accuracy']:.12g}")
    else:
        print_facts(f"{run}: {found['split']} of {found['data']}", evaluation_summary(found))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    add(
        app,
        train,
        "qbnn train --data digits --epochs 2 --out runs/digits",
        "qbnn train --data digits --family real4 --seed 1",
        "qbnn train --data mnist --download --architecture pbnet-mnist --mode sample",
        "qbnn train --out runs/digits --resume --epochs 10",
        "qbnn train --config runs/digits/config.toml --family su4 --out runs/su4",
        panel=NETWORKS,
    )
    add(
        app,
        eval_,
        "qbnn eval runs/digits",
        "qbnn eval runs/digits --binarised --reestimate",
        "qbnn eval runs/digits --mode sample --num-draws 16 --json",
        "qbnn eval runs/digits --shots 100 --noise 0.01 --readout 0.02",
        panel=NETWORKS,
        name="eval",
    )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
