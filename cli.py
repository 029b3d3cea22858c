"""The command `qbnn`: parse, call, print. What is heavy to import is imported inside commands."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from qbnn.commands import deploy, hardware, paper, place, rounding, train
from qbnn.commands.shared import (
    OVERVIEW,
    PROBLEMS,
    Executor,
    Json,
    Quiet,
    Scheduler,
    Seed,
    Workers,
    add,
    executor_of,
    tell,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="Instance file, gzipped or not.")]
Format = Annotated[
    str | None,
    typer.Option(help="Format of FILE; told from its name and content if not given."),
]
Sense = Annotated[
    Literal["min", "max"] | None, typer.Option(help="What FILE wants of its value, if it can say.")
]
Read = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Keyword of the format: base, vartype, problem."),
]

app = typer.Typer(
    name="qbnn",
    help="Solve problems over bits with a quadratic energy, and train networks of classical, "
    "probabilistic and quantum bits.",
    epilog="Begin with: qbnn generate maxcut --out g.txt --seed 1, then qbnn solve g.txt; "
    "or with: qbnn train --data digits --epochs 2 --out runs/digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(
    *examples: str, name: str | None = None, panel: str = PROBLEMS
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose help ends with examples."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        add(app, function, *examples, name=name, panel=panel)
        return function

    return register


def print_version(wanted: bool) -> None:
    """Print the version and end, where it is wanted."""
    if wanted:
        from importlib.metadata import version

        print(f"qbnn {version('qbnn')}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@command(
    "qbnn solve g.txt --time-limit 2 --seed 1",
    "qbnn solve nug12.dat --target 578 --json",
    "qbnn solve g.txt --solver anneal --num-reads 256 --num-sweeps 2000 --out runs/g",
    "qbnn solve g.txt --config runs/g/config.toml --set beta_range=0.1,4",
    "qbnn solve g.txt --num-reads 1000 --num-sweeps 500 --solver anneal --executor processes",
)
def solve(
    file: File,
    solver: Annotated[
        str | None, typer.Option(help="A name in `qbnn list solvers`, or module:Class. (auto)")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            help="Seconds to search. Without it 10 for a solver that minds the time, unless "
            "--num-sweeps is given; exact, and solvers of others, run until they are done."
        ),
    ] = None,
    target: Annotated[float | None, typer.Option(help="Stop at an energy this low.")] = None,
    seed: Seed = None,
    num_reads: Annotated[int | None, typer.Option(help="Samples to return.")] = None,
    num_sweeps: Annotated[int | None, typer.Option(help="Sweeps of a read.")] = None,
    num_threads: Annotated[int | None, typer.Option(help="Threads. (all cores)")] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Choose the schedule by races, for a fifth of the time.")
    ] = False,
    executor: Executor = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another keyword of the solver; repeat."),
    ] = None,
    format: Format = None,
    sense: Sense = None,
    read: Read = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of these options; those given here win.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for settings, result, solution, pictures and a row.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="File for the solution: text, .json, or .sln of a QAP.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Solve the problem in FILE and print the best energy found.

    Ctrl-C ends the search and prints the best so far. Exit code 3: no feasible solution was found.
    """
    from qbnn.terminal.console import print_document, print_facts, say
    from qbnn.terminal.settings import SolveSettings, load_settings, parse_pairs
    from qbnn.terminal.solve import run_file, summary

    options = {
        "solver": solver,
        "time_limit": time_limit,
        "target": target,
        "seed": seed,
        "num_reads": num_reads,
        "num_sweeps": num_sweeps,
        "num_threads": num_threads,
        "tune": tune or None,
        "executor": executor_of(executor, workers, scheduler),
        "workers": workers,
        "scheduler": scheduler,
        "set": parse_pairs(parameter),
        "format": format,
        "sense": sense,
        "read": parse_pairs(read),
    }
    settings = load_settings(options, SolveSettings, config=config)
    found = run_file(file, settings, out=out, save=save, quiet=quiet)
    if json:
        print_document("solve", found)
    elif quiet:
        print(f"{found['energy']:.12g}")
    else:
        size = f"{found['num_variables']} variables, {found['num_interactions']} interactions"
        print_facts(f"{file}: {found['problem']}, {size}", summary(found))
    if found["interrupted"]:
        raise typer.Exit(130)
    if found["feasible_energy"] is None:
        say("error: no feasible solution was found; the one shown is repaired")
        raise typer.Exit(3)


@command(
    "qbnn generate maxcut --out g.txt --seed 1",
    "qbnn generate maxcut --out torus.txt --set family=toroidal --set num_vertices=800",
    "qbnn generate lattice --out cube.bqm --set shape=8,8,8 --seed 2",
)
def generate(
    problem: Annotated[str, typer.Argument(help="A name in `qbnn list problems`.")],
    out: Annotated[Path, typer.Option(help="File to write; its name says the format.")],
    seed: Seed = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the problem; repeat."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Format, where OUT's name says none.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a random instance of PROBLEM, or a planted one whose ground state is known.

    `qbnn list problems` shows the parameters of each.
    """
    from qbnn.terminal.files import generate
    from qbnn.terminal.settings import parse_pairs

    made = generate(problem, out, seed=seed, parameters=parse_pairs(parameter), format=format)
    tell("generate", f"wrote {out}", made, json=json, quiet=quiet)


@command(
    "qbnn convert g.txt g.qubo",
    "qbnn convert bqp50.1 bqp50.qubo --from beasley",
    "qbnn convert model.coo model.bqm --read vartype=SPIN",
)
def convert(
    file: File,
    out: Annotated[Path, typer.Argument(help="File to write; its name says the format.")],
    source: Annotated[str | None, typer.Option("--from", help="Format of FILE.")] = None,
    target: Annotated[str | None, typer.Option("--to", help="Format of OUT.")] = None,
    sense: Sense = None,
    read: Read = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert FILE to another format; energies stay what they are.

    A Max-Cut or a QAP becomes its BQM where the format holds models only.
    """
    from qbnn.terminal.files import convert
    from qbnn.terminal.settings import parse_pairs

    made = convert(file, out, source=source, target=target, sense=sense, read=parse_pairs(read))
    tell("convert", f"wrote {out}", made, json=json, quiet=quiet)


@command("qbnn describe g.txt", "qbnn describe g.txt --json")
def describe(
    file: File,
    format: Format = None,
    sense: Sense = None,
    read: Read = None,
    json: Json = False,
) -> None:
    """Show size, density, degrees and couplings of FILE, and what `auto` would take and why."""
    from qbnn.terminal.describe import facts, shown
    from qbnn.terminal.settings import parse_pairs
    from qbnn.terminal.solve import load

    found = facts(load(file, format=format, sense=sense, **parse_pairs(read)))
    tell("describe", str(file), found, json=json, human=shown(found))


@command(
    "qbnn bench --suite tiny --out runs/tiny",
    "qbnn bench g.txt h.qubo --solver auto --solver neal --seeds 5 --budget 1 --budget 10",
    "qbnn bench --suite core --executor dask --scheduler tcp://10.0.0.1:8786",
)
def bench(
    instances: Annotated[
        list[str] | None, typer.Argument(help="Files, or names of instances.", show_default=False)
    ] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="A name in `qbnn list suites`; repeat.")
    ] = None,
    solver: Annotated[
        list[str] | None,
        typer.Option(help="Solver; repeat. (auto, neal, neal+schedule: neal with our schedule)"),
    ] = None,
    seeds: Annotated[str, typer.Option(help="A count, a range 1-10 or a list 1,2,5.")] = "10",
    budget: Annotated[
        list[float] | None, typer.Option(help="Seconds of every run; repeat. (1)")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for rows and report, or a .jsonl file for rows alone.")
    ] = Path("runs/bench"),
    clock: Annotated[Literal["cpu", "wall"], typer.Option(help="Clock of the budget.")] = "cpu",
    num_threads: Annotated[int, typer.Option(min=1, help="Threads of our solvers.")] = 1,
    against: Annotated[
        str | None, typer.Option(help="Solver to compare with. (neal, where it is among them)")
    ] = None,
    rates: Annotated[bool, typer.Option(help="Also measure how fast the kernels are.")] = False,
    executor: Executor = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    quiet: Quiet = False,
) -> None:
    """Run instances × solvers × seeds × budgets at equal time.

    Rows that exist are kept: stop it with Ctrl-C and the same command goes on where it was.
    """
    from qbnn.terminal.reports import run

    chosen = solver or ["auto", "neal", "neal+schedule"]
    run(
        [*(suite or []), *(instances or [])],
        chosen,
        seeds=seeds,
        budgets=budget or [1.0],
        out=out,
        clock=clock,
        num_threads=num_threads,
        against=against or ("neal" if "neal" in chosen else None),
        quiet=quiet,
        command=shlex.join(["qbnn", *sys.argv[1:]]),
        with_rates=rates,
        executor=executor_of(executor, workers, scheduler),
        num_workers=workers,
        scheduler=scheduler,
    )


@command(
    "qbnn report runs/tiny --against neal",
    "qbnn report runs/tiny --format csv --table head_to_head --against neal",
    "qbnn report a.jsonl b.jsonl --format json --plots pictures",
)
def report(
    records: Annotated[list[Path], typer.Argument(help="Files of rows, or folders of `bench`.")],
    format: Annotated[Literal["md", "csv", "json"], typer.Option(help="Of the tables.")] = "md",
    against: Annotated[str | None, typer.Option(help="Solver to compare with.")] = None,
    table: Annotated[
        str | None, typer.Option(help="Only this table; CSV has one, the summary.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures.")] = None,
) -> None:
    """Print tables of benchmark rows and draw pictures of them."""
    from anneal.report import report as tables_of
    from qbnn.terminal.reports import as_text, draw, read_rows

    rows = read_rows(records)
    text = as_text(tables_of(rows, against=against), rows, format=format, table=table)
    if plots is not None:
        draw(rows, plots)
    print(text, end="")


# The commands of networks, one line for each module of qbnn.commands.
train.register(app)
hardware.register(app)
deploy.register(app)
rounding.register(app)
place.register(app)
paper.register(app)


@command(
    "qbnn list", "qbnn list problems", "qbnn list families --json", name="list", panel=OVERVIEW
)
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            help="solvers, problems, formats, suites, families, architectures, datasets, rounders.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List what has a name: solvers, problems, formats, suites; families, rounders and the like."""
    from qbnn.terminal.console import print_document, print_table
    from qbnn.terminal.describe import as_table, listing

    found = listing(what)
    if json:
        print_document("list", found)
    else:
        for name, entries in found.items():
            print_table(as_table(name, entries))


@command("qbnn demo", "qbnn demo --out runs/demo", panel=OVERVIEW)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page and the rows.")] = Path(
        "runs/demo"
    ),
    quiet: Quiet = False,
) -> None:
    """Solve problems beside neal at equal time, train networks: tables, a page with pictures."""
    from qbnn.terminal.demo import run

    run(out, quiet=quiet)
