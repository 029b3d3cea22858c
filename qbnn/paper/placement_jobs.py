"""What the table of placement measures: in each part the tasks, and how one of them is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anneal.assignment.solving import solve_assignment
from anneal.control import Control
from anneal.errors import InputError
from anneal.floorplan import files
from anneal.floorplan import verify as floorplan_verify
from anneal.floorplan.blocks import Blocks, evaluate
from anneal.floorplan.floorplanning import MANY, floorplan
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.instances import bookshelf
from anneal.kernels import __main__ as kernels
from anneal.partition import Hypergraph, bisect, planted_hypergraph
from anneal.placement.hypergraphs import to_hypergraph
from anneal.problems import read_problem
from anneal.problems.assignment import Assignment
from qbnn.paper.placement_peers import faq, kahypar_parts
from qbnn.paper.processes import clocked

Spec = dict[str, Any]
Result = dict[str, Any]

# Best known costs, as https://qaplib.mgi.polymtl.ca lists them (Burkard, Karisch & Rendl). Stored
# permutations are no measure: that of tai40a costs more.
BEST_KNOWN = {
    "chr12a": 9552, "had12": 1652, "had20": 6922, "kra30a": 88900, "nug12": 578, "nug15": 1150,
    "nug20": 2570, "nug25": 3744, "nug30": 6124, "ste36a": 9526, "ste36b": 15852, "tai12a": 224416,
    "tai20a": 703482, "tai25a": 1167256, "tai30a": 1818146, "sko42": 15812, "sko49": 23386,
    "tai40a": 3139370, "tai50a": 4938796, "tai60a": 7205962, "tai64c": 1855928, "wil50": 48816,
}  # fmt: skip
SMALL = 36  # facilities up to which an assignment has SECONDS_SMALL, else SECONDS_LARGE
SECONDS_SMALL, SECONDS_LARGE = 5.0, 15.0
FAQ_STARTS = 30
TOLERANCE = 0.02
PRESETS = ("default", "quality", "highest_quality")
PLANTED = {"planted-2000": 2000, "planted-20000": 20_000}
SECONDS_LONG = 60.0
FLOORPLANS = ("apte", "xerox", "hp", "ami33", "ami49", "n100", "n200", "n300")
CUT_BLOCKS = {"cut-30": 30, "cut-100": 100}
NETLIST = Path("ibm01-cu85", "ibm01.aux")
DRAGON = NETLIST.with_name("dragon.pl")
LARGE_CELLS = 200_000


@dataclass(frozen=True)
class Wanted:
    """What of the table is wanted; ``None``: as the part has it by default.

    data_dir: the folder that holds ``qaplib/``, ``ibm01-cu85/`` and ``floorplan/``. seeds: 1 … so
    many. time_limit: seconds of each task that has a limit. num_cells: of the large netlist.
    """

    data_dir: Path | None = None
    instances: Sequence[str] | None = None
    seeds: int | None = None
    time_limit: float | None = None
    num_threads: int = 1
    num_cells: int = LARGE_CELLS

    def file(self, *names: str | Path) -> Path | None:
        """Return a file of the data folder, or None where it is not there."""
        found = None if self.data_dir is None else self.data_dir.joinpath(*names)
        return found if found is not None and found.exists() else None

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return those of the names that are wanted."""
        return [name for name in names if self.instances is None or name in self.instances]

    def seeded(self, spec: Spec, seeds: int) -> Iterator[Spec]:
        """Yield a task for each seed."""
        for seed in range(1, (self.seeds or seeds) + 1):
            yield {**spec, "seed": seed}


def assignment_specs(wanted: Wanted) -> Iterator[Spec]:
    """Yield what QAPLIB's instances are solved by: the engine, then FAQ with the engine beside."""
    names = [name for name in BEST_KNOWN if wanted.file("qaplib", f"{name}.dat")]
    for name in wanted.chosen(names):
        size = int("".join(filter(str.isdigit, name)))
        limit = wanted.time_limit or (SECONDS_SMALL if size <= SMALL else SECONDS_LARGE)
        spec = {"instance": name, "num_threads": wanted.num_threads, "time_limit": limit}
        yield from wanted.seeded({"method": "memetic", **spec}, 10 if size <= SMALL else 3)
        yield from wanted.seeded({"instance": name, "method": "faq", "starts": FAQ_STARTS}, 3)


def run_assignment(spec: Spec, wanted: Wanted) -> Result:
    """Solve until the best known cost or for the time; or FAQ, and the engine on one thread for as
    long.
    """
    best = float(BEST_KNOWN[spec["instance"]])
    problem = read_problem(there(wanted.file("qaplib", f"{spec['instance']}.dat")))
    assert isinstance(problem, Assignment)
    if spec["method"] == "memetic":
        return {"best_known": best, **_solved(problem, spec, spec["time_limit"], best)}
    order, clock = clocked(lambda: faq(problem, num_starts=spec["starts"], seed=spec["seed"]))
    ours = _solved(problem, {**spec, "num_threads": 1}, clock.seconds, best)
    theirs = {"faq_cost": problem.cost(order), "faq_seconds": clock.seconds}
    return {"best_known": best, **ours, **theirs, "faq_cpu_seconds": clock.cpu_seconds}


def _solved(problem: Assignment, spec: Spec, seconds: float, target: float) -> Result:
    found, clock = clocked(
        lambda: solve_assignment(
            problem, seed=spec["seed"], time_limit=seconds, target_cost=target,
            num_threads=spec["num_threads"],
        )
    )  # fmt: skip
    if found.interrupted:
        raise KeyboardInterrupt
    cost = problem.cost(found.permutation)
    return {"cost": cost, "reached": cost <= target, **clock._asdict()}


def partition_specs(wanted: Wanted) -> Iterator[Spec]:
    """Yield bisections: of the netlist, or of hypergraphs with planted parts where it is not
    there.
    """
    names = ["ibm01"] if wanted.file(NETLIST) else list(PLANTED)
    for name in wanted.chosen(names):
        spec = {"instance": name, "tolerance": TOLERANCE, "num_threads": wanted.num_threads}
        yield from wanted.seeded({**spec, "method": "ours"}, 10)
        for preset in PRESETS:
            peer = {"method": f"Mt-KaHyPar {preset}", "preset": preset, "peer": "mtkahypar"}
            yield from wanted.seeded({**spec, **peer}, 10)


def run_partition(spec: Spec, wanted: Wanted) -> Result:
    """Part in two; the cut and the areas are counted by our hypergraph, whoever parted it."""
    if spec["instance"] in PLANTED:
        size = PLANTED[spec["instance"]]
        hypergraph, _ = planted_hypergraph(seed=1, num_vertices=size, most_area=4)
    else:
        hypergraph = to_hypergraph(bookshelf.read(there(wanted.file(NETLIST))))
    told = {key: spec[key] for key in ("tolerance", "seed", "num_threads")}
    if "peer" in spec:
        parts, clock = kahypar_parts(hypergraph, preset=spec["preset"], **told)
    else:
        control = Control()
        found, clock = clocked(lambda: bisect(hypergraph, control=control, **told))
        if control.interrupted:
            raise KeyboardInterrupt
        parts = found.parts.tolist()
    return {**_parted(hypergraph, parts), **clock._asdict()}


def _parted(hypergraph: Hypergraph, parts: list[int]) -> Result:
    most = float(hypergraph.part_areas(parts, 2).max())
    return {"cut": hypergraph.cut(parts), "imbalance": most / (hypergraph.total_area / 2) - 1}


def floorplan_specs(wanted: Wanted) -> Iterator[Spec]:
    """Yield floorplans: of what is there of MCNC and GSRC, or of blocks cut from a rectangle."""
    names = [name for name in FLOORPLANS if wanted.file("floorplan", f"{name}.blocks")]
    for name in wanted.chosen(names or list(CUT_BLOCKS)):
        spec = {"instance": name, "time_limit": wanted.time_limit or SECONDS_LONG}
        yield from wanted.seeded(spec, 3)


def run_floorplan(spec: Spec, wanted: Wanted) -> Result:
    """Floorplan for area alone."""
    name = spec["instance"]
    blocks: Blocks
    if name in CUT_BLOCKS:
        blocks, _ = guillotine_blocks(num_blocks=CUT_BLOCKS[name], seed=1)
    else:
        blocks = files.read(there(wanted.file("floorplan", f"{name}.blocks")))
    rng, control = np.random.default_rng(spec["seed"]), Control(time_limit=spec["time_limit"])
    plan, clock = clocked(lambda: floorplan(blocks, rng=rng, control=control))
    legal = floorplan_verify.verify(blocks, plan).is_legal
    worth = {key: evaluate(blocks, plan)[key] for key in ("area", "dead_space")}
    return {"num_blocks": len(blocks), "legal": legal, **worth, **clock._asdict()}


def warm_up_floorplans() -> None:
    """Run both engines of floorplans, so that no compiling is timed."""
    kernels.warm_up_floorplans()
    blocks, _ = guillotine_blocks(num_blocks=MANY, seed=1)
    rng = np.random.default_rng(1)
    floorplan(blocks, moves_per_block=1, rng=rng, control=Control())


def there(file: Path | None) -> Path:
    """Return a file that was there when the tasks were listed."""
    if file is None:
        raise InputError("a file of the data folder is gone")
    return file
