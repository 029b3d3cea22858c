"""The demonstration: problems beside neal at equal time, then networks, as tables and a page.

It is a list of sections; what comes next joins as one more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from anneal.files import write_text
from anneal.plots import comparison, energy_against_time, energy_distribution
from anneal.records import Record, RecordFile
from anneal.suites import Instance, generated_instance
from anneal.tables import Table
from qbnn.terminal import pages
from qbnn.terminal.console import check_file, make_folder, print_table, say
from qbnn.terminal.reports import ROWS, bench, results

SOLVERS = ("auto", "neal")
SEEDS = (1, 2, 3)


class Shown(NamedTuple):
    """What a section made: rows of records, a table for the terminal, parts of the page."""

    rows: list[Record]
    table: Table
    parts: list[str]


class Section(Protocol):
    """A part of the demonstration."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def text(self) -> str:
        """What it is about."""

    def run(self, *, label: str, quiet: bool) -> Shown:
        """Do it, with progress under ``label``."""


@dataclass(frozen=True)
class ProblemSection:
    """One problem, solved by all solvers with every seed; budget: seconds of each run."""

    title: str
    text: str
    instance: Instance
    budget: float
    seeds: Sequence[int] = SEEDS

    def run(self, *, label: str, quiet: bool) -> Shown:
        """Return the rows of every solver and seed."""
        with tempfile.TemporaryDirectory() as folder:
            rows = bench(
                [self.instance],
                SOLVERS,
                seeds=self.seeds,
                budgets=[self.budget],
                file=Path(folder) / ROWS,
                label=label,
                quiet=quiet,
            )
        table = results(rows)
        return Shown(rows, table, [pages.table(_inner(table)), *_pictures(self.budget, rows)])


def sections() -> list[Section]:
    """Return what `qbnn demo` shows, in order."""
    from qbnn.terminal.demo_networks import NetworkSection

    return [
        ProblemSection(
            "A spin glass whose ground state is known",
            "1,024 spins on a square torus, made of tiles that were planted around a hidden state: "
            "its energy is the lowest by proof, so the gap is to the true optimum.",
            generated_instance("planted", seed=1, length=32),
            budget=3.0,
        ),
        ProblemSection(
            "Maximum cut of a large graph",
            "2,000 vertices and about 20,000 edges at random, the size of G22 in the G-set. The "
            "energy is minus the cut; nobody knows the best, so the gap is to the best found here.",
            generated_instance("maxcut", seed=1, num_vertices=2000, density=0.01),
            budget=3.0,
        ),
        ProblemSection(
            "Quadratic assignment with penalties",
            "16 facilities go to 16 sites: 256 bits, one-hot in rows and columns, kept so by a "
            "penalty that provably suffices. The energy of a permutation is its cost.",
            generated_instance("assignment", seed=1, num_facilities=16),
            budget=3.0,
        ),
        NetworkSection(),
    ]


def run(out: Path, *, quiet: bool = False, shown: Sequence[Section] | None = None) -> Path:
    """Run the sections, append their rows to ``out/records.jsonl``, write ``out/index.html``.

    Rows of an earlier demonstration are not taken for these. Returns the page's path.
    """
    folder, page = make_folder(out), Path(out) / "index.html"
    check_file(page)
    chosen, found = sections() if shown is None else shown, []
    for number, section in enumerate(chosen, start=1):
        made = section.run(label=f"part {number} of {len(chosen)}", quiet=quiet)
        for row in made.rows:
            RecordFile(folder / ROWS).append(row)
        found.append(made)
    write_text(page, to_page(chosen, found))
    if quiet:
        print(page)
        return page
    if solved := _solved(found):
        print_table(results(solved), title=False)
    for made in found:
        if made.rows[0].task.job != "bench":
            print_table(made.table)
    say(f"page with pictures: {page}")
    return page


def to_page(chosen: Sequence[Section], found: Sequence[Shown]) -> str:
    """Return the page: the comparison of the solvers first, then each section."""
    solved, parts = _solved(found), []
    if solved:
        budget = next(each.budget for each in chosen if isinstance(each, ProblemSection))
        num_seeds = len({row.task.spec["seed"] for row in solved})
        parts = [
            pages.text(
                f"Each problem is solved {num_seeds} times by our default solver and as often by "
                "neal, D-Wave's simulated annealing as it comes. Both get the same CPU time, "
                f"{budget:g} s on one thread, and every energy is computed anew from the problem. "
                "In the tables the gap is a median, hits says how many runs came to the best known "
                "energy, and after is the median time to it (∞: most never came). A best known in "
                "parentheses is only the best found here."
            ),
            pages.picture(comparison(solved, image="svg"), "Median gap and its 95 % interval."),
        ]
    for section, made in zip(chosen, found, strict=True):
        parts += [pages.heading(section.title), pages.text(section.text), *made.parts]
    title = "Problems over bits, beside neal, and networks of bits"
    return pages.page(title, parts, footer=_footer(found[0].rows[0]))


def _solved(found: Sequence[Shown]) -> list[Record]:
    """Return the rows of problems."""
    return [row for made in found for row in made.rows if row.task.job == "bench"]


def _pictures(budget: float, rows: Sequence[Record]) -> list[str]:
    """The race of the first seed, and the energies of all reads of all seeds."""
    first = {row.task.spec["solver"]: row.result for row in reversed(rows)}
    known = next(iter(first.values()))["best_known"]
    traces = {name: first[name]["trace"] for name in SOLVERS}
    race = energy_against_time(traces, best_known=known, seconds=budget, image="svg")
    spread = {name: first[name]["energies"] for name in SOLVERS}
    return [
        pages.picture(race, "Best energy so far, first seed."),
        pages.picture(
            energy_distribution(spread, best_known=known, image="svg"),
            "Energies of what came back, first seed: auto returns its best, neal every read.",
        ),
    ]


def _inner(table: Table) -> Table:
    """Without the instance and the budget, which are the section's."""
    return Table(table.name, table.columns[2:], table.rows)


def _footer(row: Record) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in row.versions.items())
    return [f"{row.machine['cpu']}, {row.machine['system']}; {versions}.", f"Rows: {ROWS}."]
