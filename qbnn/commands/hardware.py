"""`qbnn certify`, `qbnn circuit` and `qbnn resources`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands.shared import CIRCUITS, Json, Quiet, Run, add

MaybeRun = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN]", help="Folder of `qbnn train`, or a .safetensors file.", show_default=False
    ),
]
Data = Annotated[str | None, typer.Option(help="Set of the images. (the one of the training)")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of its files.")]
Protocol = Literal["fresh", "sequential-bit", "sequential-count"]
Counter = Literal["register", "gray", "iterative", "direct"]


def certify(
    run: Run,
    num_neurons: Annotated[int, typer.Option(help="Neurons of each layer.")] = 2,
    fan_in: Annotated[
        int,
        typer.Option(
            help="Inputs in a state vector, the others left out. 8 take half a minute a neuron."
        ),
    ] = 6,
    device: Annotated[
        str, typer.Option(help="PennyLane device that runs the circuits.")
    ] = "default.qubit",
    num_images: Annotated[int, typer.Option(min=1, help="Test images to choose from.")] = 16,
    tolerance: Annotated[float, typer.Option(help="Of probabilities.")] = 1e-12,
    gradient_tolerance: Annotated[float, typer.Option(help="Of their derivatives.")] = 1e-10,
    data: Data = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(help="File for all comparisons, as --json prints them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare neurons of RUN with their circuits: values, gradients, and the path each took.

    Neurons and inputs are drawn by lot, activations are those of a test image.
    Exit code 1: a circuit and its emulation disagree.
    """
    from anneal.files import write_text
    from qbnn.circuits.runs import certify_run
    from qbnn.terminal.console import print_facts, print_table, say, to_document

    found = certify_run(
        run,
        data=data,
        data_dir=data_dir,
        num_images=num_images,
        quiet=quiet,
        num_neurons=num_neurons,
        fan_in=fan_in,
        device=device,
        seed=seed,
        tolerance=tolerance,
        gradient_tolerance=gradient_tolerance,
    )
    document = to_document("certify", {"run": str(run), **found.document()})
    if out is not None:
        write_text(out, document)
    if json:
        print(document, end="")
    else:
        if not quiet:
            print_table(found.table())
        print_facts(f"{run}: circuits and emulation {found.verdict}", found.summary())
    if not found.agrees:
        count = sum(not check.agrees for check in found.checks)
        say(f"error: {count} of {len(found.checks)} comparisons disagree")
        raise typer.Exit(1)


def circuit(
    run: MaybeRun = None,
    layer: Annotated[int, typer.Option(min=0, help="Layer of RUN, from 0.")] = 0,
    neuron: Annotated[int, typer.Option(min=0, help="Neuron of the layer, from 0.")] = 0,
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|all",
            help="Inputs to show, drawn by lot where the neuron has more. (3; all for .qasm)",
        ),
    ] = None,
    image: Annotated[
        int | None,
        typer.Option(min=0, help="Test image that gives RUN's activations. (fair coins)"),
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Without RUN: a random neuron's deformation. (none)")
    ] = None,
    counter: Annotated[
        Literal["register", "gray", "iterative"] | None,
        typer.Option(
            help="t counting wires, the same with the fewest CNOTs, or one wire read t times. "
            "(register; gray for .qasm)"
        ),
    ] = None,
    protocol: Annotated[
        Protocol | None, typer.Option(help="Draw neurons of a layer, one after the other.")
    ] = None,
    num_neurons: Annotated[
        int | None, typer.Option(min=1, help="How many, with --protocol. (2)")
    ] = None,
    expand: Annotated[bool, typer.Option("--expand", help="Open the counter's box.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="File: .png, .svg, .pdf, or .qasm for OpenQASM 2.")
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn by lot.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the circuit of a neuron of RUN, or of a random one, and count its gates."""
    from qbnn.circuits.runs import circuit_summary, drawing_width, show_circuit
    from qbnn.circuits.selection import choose_neurons
    from qbnn.terminal.console import print_document, print_facts

    chosen = choose_neurons(
        run,
        layer=layer,
        neuron=neuron,
        inputs=inputs,
        image=image,
        family=family,
        num_neurons=num_neurons,
        protocol=protocol,
        whole=out is not None and out.suffix.lower() == ".qasm",
        data=data,
        data_dir=data_dir,
        seed=seed,
    )
    found = show_circuit(
        chosen, counter=counter, protocol=protocol, expand=expand, width=drawing_width(), out=out
    )
    if json:
        print_document("circuit", found)
        return
    if not quiet:
        print_facts(found["title"], circuit_summary(found, chosen.inputs))
    if found["drawing"] is not None:
        print(found["drawing"] if quiet else "\n" + found["drawing"])


def resources(
    run: MaybeRun = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="Without RUN: a name in `qbnn list architectures`, or stages."),
    ] = None,
    in_shape: Annotated[
        str | None, typer.Option(help="Its images: channels, height, width. (1,28,28)")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Its deformation. (none)")] = None,
    protocol: Annotated[Protocol, typer.Option(help="How a layer reads its inputs.")] = "fresh",
    counter: Annotated[
        Counter,
        typer.Option(
            help="Phase estimation with t wires, the same with fewer CNOTs, with one wire, or none."
        ),
    ] = "register",
    precision: Annotated[
        float, typer.Option(help="Standard error of every unit's probability.")
    ] = 0.05,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count qubits, gates, depth and shots of the circuits of RUN, per image.

    Gates are CNOTs and rotations of one qubit. Under `fresh` every neuron of every position is a
    circuit of its own; else a position's neurons are one. Shots are 1/(4 precision²) of each.
    """
    from qbnn.circuits.runs import describe_resources, resources_summary
    from qbnn.terminal.console import print_document, print_facts, print_table

    network = {"architecture": architecture, "in_shape": in_shape, "family": family}
    given = {name: value for name, value in network.items() if value is not None}
    found, tables = describe_resources(
        run, network=given, protocol=protocol, counter=counter, precision=precision
    )
    if json:
        print_document("resources", found)
        return
    if not quiet:
        print_facts(found["run"] or found["architecture"], resources_summary(found))
        print()
    for table in tables[: 1 if quiet else None]:
        print_table(table)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    add(
        app,
        certify,
        "qbnn certify runs/digits",
        "qbnn certify runs/digits --num-neurons 5 --json",
        "qbnn certify runs/digits --device default.mixed --fan-in 3",
        panel=CIRCUITS,
    )
    add(
        app,
        circuit,
        "qbnn circuit --family real4 --inputs 2",
        "qbnn circuit runs/digits --layer 1 --neuron 4 --image 0 --out neuron.svg",
        "qbnn circuit runs/digits --image 0 --out neuron.qasm",
        "qbnn circuit runs/digits --protocol sequential-bit --inputs 2",
        panel=CIRCUITS,
    )
    add(
        app,
        resources,
        "qbnn resources runs/digits",
        "qbnn resources --architecture pbnet-mnist --family real4 --precision 0.01",
        "qbnn resources runs/digits --protocol sequential-bit --counter gray --json",
        panel=CIRCUITS,
    )
