"""What the rows of a benchmark say: summary, head-to-head and failures, as tables."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from anneal.errors import InputError
from anneal.measure import (
    Estimate,
    gap,
    median,
    median_difference,
    reached,
    success_probability,
    time_to_target,
    tts99,
)
from anneal.records import Record, canonical_json
from anneal.suites import HELD_OUT
from anneal.tables import (
    Column,
    Row,
    Table,
    column,
    show_energy,
    show_number,
    show_percent,
    with_interval,
)


def summarise(records: Iterable[Record]) -> Table:
    """Return one row per instance, budget and solver.

    Best and median energy; the median gap with its bootstrap interval; the runs that hit the best
    known energy (of all rows of that instance, where nobody knows one: ``known`` is false), their
    share with Wilson's interval, TTS99 of runs of the median time, and the median time to the
    target with its bootstrap interval. Times are of the clock that the budget was of.
    """
    rows = []
    groups = grouped(records)
    known = targets(groups)
    for (instance, budget, solver), runs in groups.items():
        rows.append(_summary(instance, budget, solver, runs, *known[instance]))
    return Table("summary", _SUMMARY, rows)


def head_to_head(records: Iterable[Record], *, against: str) -> Table:
    """Return one row per instance, budget and solver other than ``against``: who is better.

    The verdict compares median energies at equal time. ``gain`` is by how much the solver's is
    lower, relative to the reference's, with its bootstrap interval; ``time_ratio`` its median time
    over the reference's. Raises :class:`~anneal.errors.InputError` where ``against`` has no rows.
    """
    groups = grouped(records)
    if against not in {solver for _, _, solver in groups}:
        known = ", ".join(sorted({solver for _, _, solver in groups})) or "none"
        raise InputError(f"no rows of solver '{against}' to compare with; solvers: {known}")
    rows = [
        _duel(instance, budget, solver, runs, groups[instance, budget, against])
        for (instance, budget, solver), runs in groups.items()
        if solver != against and (instance, budget, against) in groups
    ]
    return Table("head_to_head", _head_to_head_columns(against), rows)


def tally(duels: Table) -> Table:
    """Return, from :func:`head_to_head`, on how many instances each solver is better and worse.

    ``half``: of all of them, and of the two halves of the suites (:data:`anneal.suites.HELD_OUT`).
    """
    counts: dict[tuple[str, float, str], Counter[str]] = defaultdict(Counter)
    losses: dict[tuple[str, float, str], list[str]] = defaultdict(list)
    for row in duels.rows:
        for half in _halves(row["instance"]):
            key = row["solver"], row["budget"], half
            counts[key][row["verdict"]] += 1
            if row["verdict"] == "worse":
                losses[key].append(row["instance"])
    rows = [
        {
            "solver": solver,
            "budget": budget,
            "half": half,
            **{verdict: count[verdict] for verdict in ("better", "equal", "worse")},
            "worse_on": ", ".join(losses[solver, budget, half]),
        }
        for (solver, budget, half), count in sorted(counts.items(), key=_tally_place)
    ]
    return Table("tally", _TALLY, rows)


def _tally_place(item: tuple[tuple[str, float, str], Any]) -> tuple[str, float, int]:
    (solver, budget, half), _ = item
    return solver, budget, ("all", "looked at", "held out").index(half)


def _halves(instance: str) -> list[str]:
    """What the instance counts to; one of other content under the same name counts as that."""
    held_out = HELD_OUT.get(instance.partition(" #")[0])
    return ["all"] if held_out is None else ["all", "held out" if held_out else "looked at"]


def failures(records: Iterable[Record]) -> Table:
    """Return one row per instance and solver that could not work together, with the reason."""
    reasons = {
        (record.task.spec["instance"]["name"], record.task.spec["solver"]): record.result["error"]
        for record in records
        if "error" in record.result
    }
    rows = [{"instance": i, "solver": s, "reason": reason} for (i, s), reason in reasons.items()]
    return Table("failures", _FAILURES, rows)


def rates_table(records: Iterable[Record]) -> Table:
    """Return one row per kernel and instance whose speed was measured."""
    rows = [
        {
            "kernel": record.task.spec["kernel"],
            "instance": record.task.spec["instance"]["name"],
            "rate": record.result["rate"],
            "unit": record.result["unit"],
        }
        for record in records
        if record.task.job == "rate"
    ]
    columns = [
        column("kernel"),
        column("instance"),
        column("rate", show=show_number),
        column("unit"),
    ]
    return Table("rates", columns, rows)


def report(records: Sequence[Record], *, against: str | None = None) -> list[Table]:
    """Return every table that has rows, the summary first."""
    tables = [summarise(records)]
    if against is not None:
        duels = head_to_head(records, against=against)
        tables += [tally(duels), duels]
    return [table for table in [*tables, rates_table(records), failures(records)] if table.rows]


Groups = dict[tuple[str, float, str], list[Record]]
_NEEDED = {"energy", "best_known", "trace", "cpu_seconds", "wall_seconds"}


def grouped(records: Iterable[Record]) -> Groups:
    """Benchmark rows that have a result, by instance, budget and solver in order of appearance."""
    rows = [row for row in records if row.task.job == "bench" and "error" not in row.result]
    for row in rows:
        if missing := _NEEDED - row.result.keys():
            raise InputError(f"row {row.task.id[:12]} has no {', '.join(sorted(missing))}")
    contents: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        instance = row.task.spec["instance"]
        contents[instance["name"]][canonical_json(instance)] = None
    groups: Groups = defaultdict(list)
    for row in rows:
        spec = row.task.spec
        name = spec["instance"]["name"]
        if len(contents[name]) > 1:
            # Other content under the same name: numbered in order of appearance.
            name += f" #{list(contents[name]).index(canonical_json(spec['instance'])) + 1}"
        groups[name, spec["budget"], _solver_label(spec)].append(row)
    places: dict[str, int] = {}
    for name, _, _ in groups:
        places.setdefault(name, len(places))
    return dict(sorted(groups.items(), key=lambda item: (places[item[0][0]], item[0][1])))


def _solver_label(spec: Mapping[str, Any]) -> str:
    """The solver's name, and what is unusual about its time."""
    threads = f" ×{spec['num_threads']} threads" if spec["num_threads"] != 1 else ""
    wall = " (wall)" if spec["clock"] == "wall" else ""
    return f"{spec['solver']}{threads}{wall}"


def targets(groups: Groups) -> dict[str, tuple[float, bool]]:
    """For each instance the energy to reach and whether it is known from elsewhere."""
    results: dict[str, list[Any]] = defaultdict(list)
    for (instance, _, _), runs in groups.items():
        results[instance] += [record.result for record in runs]
    found = {}
    for instance, rows in results.items():
        known = [row["best_known"] for row in rows if row["best_known"] is not None]
        found[instance] = min(known or [row["energy"] for row in rows]), bool(known)
    return found


def _seconds(runs: Sequence[Record]) -> list[float]:
    return [record.result[f"{record.task.spec['clock']}_seconds"] for record in runs]


def _energies(runs: Sequence[Record]) -> list[float]:
    return [record.result["energy"] for record in runs]


def times_to_target(runs: Sequence[Record], target: float) -> list[float]:
    """Return when each run first reached an energy, infinite where it never did."""
    return [
        # A trace that does not show it: it was there by the end.
        min(
            time_to_target(run.result["trace"], target),
            used if reached(run.result["energy"], target) else math.inf,
        )
        for run, used in zip(runs, _seconds(runs), strict=True)
    ]


def _summary(
    instance: str, budget: float, solver: str, runs: Sequence[Record], target: float, known: bool
) -> Row:
    energies, seconds = _energies(runs), _seconds(runs)
    found = reached(energies, target)
    hits, typical = int(found.sum()), float(np.median(seconds))
    return {
        "instance": instance,
        "budget": budget,
        "solver": solver,
        "runs": len(runs),
        "target": target,
        "known": known,
        "best": min(energies),
        "median_energy": float(np.median(energies)),
        "gap": median(gap(energies, target)),
        "hits": hits,
        "success": success_probability(hits, len(runs)),
        "tts99": tts99(typical, hits, len(runs)),
        "time_to_target": median(times_to_target(runs, target)),
        "seconds": typical,
    }


def _duel(
    instance: str, budget: float, solver: str, ours: Sequence[Record], theirs: Sequence[Record]
) -> Row:
    energy, reference = float(np.median(_energies(ours))), float(np.median(_energies(theirs)))
    lower = median_difference(_energies(theirs), _energies(ours))
    equal = reached(energy, reference) and reached(reference, energy)
    verdict = "equal" if equal else "better" if energy < reference else "worse"
    return {
        "instance": instance,
        "budget": budget,
        "solver": solver,
        "median_energy": energy,
        "reference_energy": reference,
        "gain": Estimate(*(-float(gap(reference - by, reference)) + 0.0 for by in lower)),
        "verdict": verdict,
        "time_ratio": float(np.median(_seconds(ours)) / max(np.median(_seconds(theirs)), 1e-9)),
    }


def _reference(row: Row) -> str:
    return show_energy(row["target"]) + ("" if row["known"] else " (best found)")


_INSTANCE = column("instance")
_BUDGET = column("budget", "budget s", lambda seconds: f"{seconds:g}")
_SOLVER = column("solver")
_SUMMARY = [
    _INSTANCE,
    _BUDGET,
    _SOLVER,
    Column("best known", _reference),
    column("best", show=show_energy),
    column("gap", "median gap % [95 %]", with_interval(show_percent)),
    Column("hits", lambda row: f"{row['hits']}/{row['runs']}"),
    column("success", "success [95 %]", with_interval(show_number)),
    column("tts99", "TTS99 s [95 %]", with_interval(show_number)),
    column("time_to_target", "time to target s [95 %]", with_interval(show_number)),
    column("seconds", "time s", show_number),
]
_TALLY = [
    _SOLVER,
    _BUDGET,
    column("half"),
    column("better"),
    column("equal"),
    column("worse"),
    column("worse_on", "worse on"),
]
_FAILURES = [_INSTANCE, _SOLVER, column("reason")]


def _head_to_head_columns(against: str) -> list[Column]:
    return [
        _INSTANCE,
        _BUDGET,
        _SOLVER,
        column("median_energy", "median energy", show_energy),
        column("reference_energy", f"{against}'s", show_energy),
        column("gain", "lower by % [95 %]", with_interval(show_percent)),
        column("verdict"),
        column("time_ratio", "time ratio", show_number),
    ]
