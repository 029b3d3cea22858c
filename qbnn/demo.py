"""The demonstration: problems beside neal at equal time, as a table and a page.

It is a list of sections; what comes next joins as one more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anneal.files import write_text
from anneal.plots import comparison, energy_against_time, energy_distribution
from anneal.records import Record, RecordFile
from anneal.suites import Instance, generated_instance
from anneal.tables import Table
from qbnn import pages
from qbnn.console import check_file, make_folder, print_table, say
from qbnn.reports import ROWS, bench, results

SOLVERS = ("auto", "neal")
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Section:
    """One problem of the demonstration; budget: seconds of each run."""

    title: str
    text: str
    instance: Instance
    budget: float


def sections() -> list[Section]:
    """Return what `qbnn demo` shows, in order."""
    return [
        Section(
            "A spin glass whose ground state is known",
            "1,024 spins on a square torus, made of tiles that were planted around a hidden state: "
            "its energy is the lowest by proof, so the gap is to the true optimum.",
            generated_instance("planted", seed=1, length=32),
            budget=3.0,
        ),
        Section(
            "Maximum cut of a large graph",
            "2,000 vertices and about 20,000 edges at random, the size of G22 in the G-set. The "
            "energy is minus the cut; nobody knows the best, so the gap is to the best found here.",
            generated_instance("maxcut", seed=1, num_vertices=2000, density=0.01),
            budget=3.0,
        ),
        Section(
            "Quadratic assignment with penalties",
            "16 facilities go to 16 sites: 256 bits, one-hot in rows and columns, kept so by a "
            "penalty that provably suffices. The energy of a permutation is its cost.",
            generated_instance("assignment", seed=1, num_facilities=16),
            budget=3.0,
        ),
    ]


def run(
    out: Path,
    *,
    quiet: bool = False,
    shown: Sequence[Section] | None = None,
    seeds: Sequence[int] = SEEDS,
) -> Path:
    """Run the sections, append their rows to ``out/records.jsonl``, write ``out/index.html``.

    Rows of an earlier demonstration are not taken for these. Returns the page's path.
    """
    folder, page = make_folder(out), Path(out) / "index.html"
    check_file(page)
    chosen, found = sections() if shown is None else shown, []
    for number, section in enumerate(chosen, start=1):
        label = f"problem {number} of {len(chosen)}"
        rows = run_section(section, seeds=seeds, label=label, quiet=quiet)
        for row in rows:
            RecordFile(folder / ROWS).append(row)
        found.append(rows)
    write_text(page, to_page(chosen, found))
    if quiet:
        print(page)
    else:
        print_table(results([row for rows in found for row in rows]), title=False)
        say(f"page with pictures: {page}")
    return page


def run_section(section: Section, *, seeds: Sequence[int], label: str, quiet: bool) -> list[Record]:
    """Return the rows of every solver and seed on one problem."""
    with tempfile.TemporaryDirectory() as folder:
        return bench(
            [section.instance],
            SOLVERS,
            seeds=seeds,
            budgets=[section.budget],
            file=Path(folder) / ROWS,
            label=label,
            quiet=quiet,
        )


def to_page(chosen: Sequence[Section], found: Sequence[Sequence[Record]]) -> str:
    """Return the page: the comparison first, then each problem with its pictures."""
    every = [row for rows in found for row in rows]
    parts = [
        pages.text(
            f"Each problem is solved {len(found[0]) // len(SOLVERS)} times by our default solver "
            "and as often by neal, D-Wave's simulated annealing as it comes. Both get the same "
            f"CPU time, {chosen[0].budget:g} s on one thread, and every energy is computed anew "
            "from the problem. In the tables the gap is a median, hits says how many runs came to "
            "the best known energy, and after is the median time to it (∞: most never came). "
            "A best known in parentheses is only the best found here."
        ),
        pages.picture(comparison(every, image="svg"), "Median gap and its 95 % interval."),
    ]
    for section, rows in zip(chosen, found, strict=True):
        parts += [pages.heading(section.title), pages.text(section.text)]
        parts += [pages.table(_inner(results(rows))), *_pictures(section, rows)]
    return pages.page("Problems over bits, beside neal", parts, footer=_footer(every[0]))


def _pictures(section: Section, rows: Sequence[Record]) -> list[str]:
    """The race of the first seed, and the energies of all reads of all seeds."""
    first = {row.task.spec["solver"]: row.result for row in reversed(rows)}
    known = next(iter(first.values()))["best_known"]
    traces = {name: first[name]["trace"] for name in SOLVERS}
    race = energy_against_time(traces, best_known=known, seconds=section.budget, image="svg")
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
