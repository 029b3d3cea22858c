"""What `qbnn place partition` does: a hypergraph in parts, and the file of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anneal.control import Control, supervise
from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.instances import hmetis
from anneal.partition.bisection import bisect
from anneal.partition.hypergraph import Hypergraph, are_whole, side_limits
from anneal.partition.kway import partition
from anneal.partition.multilevel import Partition
from anneal.records import machine, versions
from anneal.sampler import available_threads
from qbnn.terminal.console import check_file, progress_bar
from qbnn.terminal.settings import drawn_seed

SHOWN = 16  # areas of parts that a person is told


def read(path: Path) -> Hypergraph:
    """Return the hypergraph of a .hgr file, or of the netlist of an .aux file."""
    if path.suffix != ".aux":
        return hmetis.read(path)
    from anneal.instances import bookshelf
    from anneal.placement.hypergraphs import to_hypergraph

    return to_hypergraph(bookshelf.read(path))


def run(
    file: Path,
    *,
    num_parts: int,
    objective: str,
    tolerance: float,
    fix: Pathlike | None,
    num_starts: int,
    sampler: str,
    time_limit: float | None,
    num_threads: int | None,
    seed: int | None,
    out: Path | None,
    quiet: bool,
) -> dict[str, Any]:
    """Part the hypergraph in ``file``, write the parts where ``out`` says; return the document.

    Ctrl-C keeps the best so far. Raises :class:`~anneal.errors.InputError`, and
    :class:`~anneal.errors.InfeasibleError` where no parts within the limit were found.
    """
    check_file(out)
    hypergraph, drawn = read(file), drawn_seed(seed)
    if not 1 <= num_parts <= hypergraph.num_vertices:
        raise InputError(f"parts must be 1 … {hypergraph.num_vertices}, not {num_parts}")
    fixed = None if fix is None else hmetis.read_parts(fix, hypergraph.num_vertices, least=-1)
    if fixed is not None and fixed.max() >= num_parts:
        raise InputError(f"part {fixed.max()} of {num_parts}, counted from 0", path=fix)
    control = Control(time_limit=time_limit)
    options: dict[str, Any] = {
        "tolerance": tolerance,
        "fixed": fixed,
        "num_starts": num_starts,
        "solver": sampler,
        "seed": drawn,
        "num_threads": num_threads or available_threads(),
        "control": control,
    }

    def work() -> Partition:
        # A cut in two is the same by either measure.
        if num_parts == 2:
            return bisect(hypergraph, **options)
        return partition(hypergraph, num_parts, objective=objective, **options)

    with progress_bar(f"{num_parts} parts", quiet=quiet) as show:
        found = supervise(
            work,
            control,
            progress=lambda share, best: show(share, f"{objective} {best:,.12g}"),
        )
    if out is not None:
        hmetis.write_parts(found.parts, out)
    whole = are_whole(hypergraph.area)
    limit = side_limits(hypergraph.total_area, [1 / num_parts], tolerance=tolerance, whole=whole)
    return {
        "file": str(file),
        "out": None if out is None else str(out),
        "num_vertices": hypergraph.num_vertices,
        "num_nets": hypergraph.num_nets,
        "num_pins": len(hypergraph.pins),
        "num_parts": num_parts,
        "objective": objective,
        "cut": found.cut,
        "km1": found.km1,
        "areas": found.areas.tolist(),
        "imbalance": found.imbalance,
        "tolerance": tolerance,
        "limit": float(limit[0]),
        "seed": drawn,
        "interrupted": control.interrupted,
        "seconds": control.elapsed(),
        "trace": found.trace,
        "versions": versions(),
        "machine": machine(),
    }


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of parts as a person reads them."""
    areas = [f"{area:,.12g}" for area in found["areas"][:SHOWN]]
    more = len(found["areas"]) - len(areas)
    return {
        "cut": found["cut"],
        "km1": None if found["num_parts"] == 2 else found["km1"],
        "areas": ", ".join(areas) + (f" and {more} more" if more else ""),
        "limit": f"{found['limit']:,.12g}, {100 * found['tolerance']:g} % above an equal share",
        "imbalance": f"{100 * found['imbalance']:.2f} %",
        "time": f"{found['seconds']:.2f} s",
        "seed": found["seed"],
        "parts": found["out"],
        "interrupted": "yes: these are the best so far" if found["interrupted"] else None,
    }
