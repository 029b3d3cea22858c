"""What placement should reach, beside what rows say that it does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from anneal.records import Record
from anneal.tables import Row, Table, column
from qbnn.paper.placement_jobs import LARGE_CELLS, SECONDS_LARGE, SECONDS_LONG, SECONDS_SMALL

DRAGON_HPWL = 51_641_058  # of the placement of ibm01 that Dragon 3.01's authors publish
OURS = ("ours", "even")
Rows = Sequence[Mapping[str, Any]]


class Goal(NamedTuple):
    """measure: the figure of the rows of a part, None where they do not tell; ``limit``: what it
    should be at most, or at least; show: a figure with its unit.
    """

    part: str
    text: str
    limit: float
    measure: Callable[[Rows], float | None]
    show: Callable[[float], str]
    at_least: bool = False

    def line(self, rows: Rows) -> Row | None:
        """Return the goal beside what was measured, and by how much it was missed."""
        found = self.measure([row for row in rows if row["part"] == self.part])
        if found is None:
            return None
        short = self.limit - found if self.at_least else found - self.limit
        met = "met" if short <= 0 else f"missed by {self.show(short)}"
        return {"goal": self.text, "measured": self.show(found), "met": met}


def plain(rows: Iterable[Record]) -> list[Row]:
    """Return what was asked and what came of it, of the rows that have a result."""
    return [{**row.task.spec, **row.result} for row in rows if "error" not in row.result]


def grouped(rows: Rows, *keys: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Return the rows by what they say under the keys, in the order in which they come.

    >>> grouped([{"seed": 1}, {"seed": 2}, {"seed": 1}], "seed")[(1,)]
    [{'seed': 1}, {'seed': 1}]
    """
    found = defaultdict(list)
    for row in rows:
        found[tuple(row.get(key) for key in keys)].append(row)
    return dict(found)


def goals_table(rows: Rows) -> Table:
    """Return a line for each goal of which the rows tell."""
    lines = [line for line in (goal.line(rows) for goal in GOALS) if line is not None]
    return Table("goals", [column("goal"), column("measured"), column("met", "")], lines)


def _worst(rows: Rows, value: Callable[[Mapping[str, Any]], float]) -> float | None:
    return max(map(value, rows), default=None)


def gap(row: Mapping[str, Any]) -> float:
    """Return how much more than the best known cost a row has, as a share of it."""
    return float(row["cost"] / row["best_known"] - 1)


def _least_reached(rows: Rows) -> float | None:
    """The share of seeds that reach the best known cost, of the instance with the fewest."""
    runs = [row for row in rows if row.get("time_limit") == SECONDS_SMALL]
    by = grouped(runs, "instance").values()
    return min((sum(row["reached"] for row in seeds) / len(seeds) for seeds in by), default=None)


def _worst_gap(*names: str) -> Callable[[Rows], float | None]:
    def measure(rows: Rows) -> float | None:
        return _worst([row for row in _long(rows) if row["instance"] in names], gap)

    return measure


def _long(rows: Rows) -> Rows:
    return [row for row in rows if row.get("time_limit") == SECONDS_LARGE]


def _worse_than_faq(rows: Rows) -> float | None:
    runs = [row for row in rows if row["method"] == "faq"]
    return float(sum(row["cost"] > row["faq_cost"] for row in runs)) if runs else None


def _cut_over_peer(rows: Rows) -> float | None:
    """Median cut over that of the best preset of the peer, on the instance where it is most."""
    over = []
    for members in grouped(rows, "instance").values():
        by = grouped(members, "method").items()
        cuts = {key[0]: median(row["cut"] for row in runs) for key, runs in by}
        ours = cuts.pop("ours", None)
        if ours is not None and cuts and min(cuts.values()):
            over.append(ours / min(cuts.values()))
    return max(over, default=None)


def _of(rows: Rows, *methods: str) -> Rows:
    return [row for row in rows if row["method"] in methods]


def _placed(rows: Rows, *methods: str) -> Rows:
    """Return placements of the usual length."""
    return [row for row in _of(rows, *methods) if row.get("time_limit") is None]


def _hpwl_over_peer(rows: Rows) -> float | None:
    ours, theirs = ([row["hpwl"] for row in _placed(rows, name)] for name in ("even", "coloquinte"))
    return median(ours) / median(theirs) - 1 if ours and theirs else None


def _unaligned(row: Mapping[str, Any]) -> int:
    return int(row["off_site"] + row["overlaps"]) or int(not row["legal"])


def _shorter(method: str) -> Callable[[Rows], float | None]:
    def measure(rows: Rows) -> float | None:
        runs = [row for row in _of(rows, method) if row["time_limit"] == SECONDS_LONG]
        return min((1 - row["hpwl"] / row["given"] for row in runs), default=None)

    return measure


def _dead_space(name: str) -> Callable[[Rows], float | None]:
    def measure(rows: Rows) -> float | None:
        runs = [row for row in rows if row["instance"] == name]
        long = [row for row in runs if row["time_limit"] == SECONDS_LONG]
        return _worst(long, lambda row: row["dead_space"] if row["legal"] else 1.0)

    return measure


def _large(rows: Rows, value: Callable[[Mapping[str, Any]], float]) -> float | None:
    return _worst([row for row in rows if row["num_placed"] >= LARGE_CELLS], value)


def percent(share: float) -> str:
    """Return a share as per cent.

    >>> percent(0.0123)
    '1.23 %'
    """
    return f"{100 * share:.2f} %"


def seconds(value: float) -> str:
    """Return seconds."""
    return f"{value:.1f} s"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


GOALS = (
    Goal("assignment", "n ≤ 36: seeds of the hardest instance that reach the best known cost in "
         "5 s, ≥ 90 %", 0.9, _least_reached, percent, at_least=True),
    Goal("assignment", "sko42, sko49, wil50: worst gap in 15 s ≤ 0.1 %", 0.001,
         _worst_gap("sko42", "sko49", "wil50"), percent),
    Goal("assignment", "tai40a, tai50a, tai60a: worst gap in 15 s ≤ 1.0 %", 0.01,
         _worst_gap("tai40a", "tai50a", "tai60a"), percent),
    Goal("assignment", "runs worse than FAQ from 30 starts in equal time: none", 0,
         _worse_than_faq, _whole),
    Goal("partition", "median cut ≤ 1.1 × that of Mt-KaHyPar's best preset", 1.1, _cut_over_peer,
         "{:.3f}".format),
    Goal("netlist", "wirelength over Coloquinte's, spread as evenly, ≤ 3 %", 0.03, _hpwl_over_peer,
         percent),
    Goal("netlist", "our overlaps and cells off their sites: none", 0,
         lambda rows: _worst(_placed(rows, *OURS), _unaligned), _whole),
    Goal("netlist", "our longest run ≤ 60 s", 60,
         lambda rows: _worst(_placed(rows, *OURS), lambda row: row["seconds"]), seconds),
    Goal("refine", "wirelength of Dragon's placement as published: off by none", 0,
         lambda rows: _worst(_of(rows, "dragon"), lambda row: abs(row["given"] - DRAGON_HPWL)),
         _whole),
    Goal("refine", "Dragon's placement shorter in 60 s by ≥ 1 %, every seed", 0.01,
         _shorter("dragon"), percent, at_least=True),
    Goal("refine", "Coloquinte's placement shorter in 60 s by ≥ 1.5 %, every seed", 0.015,
         _shorter("coloquinte"), percent, at_least=True),
    *(Goal("floorplan", f"{name}: dead space in 60 s ≤ {100 * most:g} %, every seed", most,
           _dead_space(name), percent)
      for name, most in {"apte": 0.01, "ami33": 0.025, "ami49": 0.025, "n100": 0.04,
                         "n200": 0.05}.items()),
    Goal("large", "200,000 cells placed in ≤ 15 min", 900,
         lambda rows: _large(rows, lambda row: row["seconds"]), seconds),
    Goal("large", "200,000 cells placed in ≤ 4 GB", 4e9,
         lambda rows: _large(rows, lambda row: row["peak_bytes"]),
         lambda value: f"{value / 1e9:.2f} GB"),
    Goal("large", "200,000 cells: placements that are not legal: none", 0,
         lambda rows: _large(rows, lambda row: not row["legal"]), _whole),
)  # fmt: skip
