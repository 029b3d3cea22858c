"""Standard cells in the table of placement: netlists placed, refined, and a large one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from anneal.control import Control
from anneal.instances import bookshelf
from anneal.placement.grids import DEGREES, grid_netlist, known_wirelength
from anneal.placement.legalise import legalise
from anneal.placement.netlist import Netlist, Placement, hpwl
from anneal.placement.pictures import fullest
from anneal.placement.place import place
from anneal.placement.refine import refine
from anneal.placement.verify import verify
from anneal.records import peak_memory
from qbnn.paper.placement_jobs import DRAGON, NETLIST, SECONDS_LONG, Result, Spec, Wanted, there
from qbnn.paper.placement_peers import coloquinte_placement
from qbnn.paper.processes import apart, clocked

DENSITY = 0.95


def netlist_specs(wanted: Wanted) -> Iterator[Spec]:
    """Yield placements of the netlist: ours, and Coloquinte's spread and packed."""
    if wanted.file(NETLIST) is None or not wanted.chosen(["ibm01"]):
        return
    for method, density in (("even", DENSITY), ("ours", None)):
        spec: Spec = {"instance": "ibm01", "method": method, "density": density}
        yield from wanted.seeded({**spec, "time_limit": wanted.time_limit}, 3)
    for method, density in (("coloquinte", DENSITY), ("packed", None)):
        spec = {"instance": "ibm01", "method": method, "density": density}
        yield from wanted.seeded({**spec, "peer": "coloquinte"}, 3)


def run_netlist(spec: Spec, wanted: Wanted) -> Result:
    """Place; judged by our wirelength and our verify.

    ``even``: Coloquinte makes cells wider until they cover the density, so that once they have
    their widths again no place is fuller than what they cover, over the density; so do we then.
    """
    netlist = bookshelf.read(there(wanted.file(NETLIST)))
    if "peer" in spec:
        density, seed = spec["density"], spec["seed"]
        found, clock = coloquinte_placement(netlist, density=density, seed=seed)
        return {**judged(netlist, found), **clock._asdict()}
    used = netlist.cell_area / netlist.rows.area
    density = 1.0 if spec["density"] is None else used / spec["density"]
    rng, control = np.random.default_rng(spec["seed"]), Control(time_limit=spec["time_limit"])
    found, clock = clocked(lambda: place(netlist, density=density, rng=rng, control=control))
    return {**judged(netlist, found), **clock._asdict()}


def judged(netlist: Netlist, placement: Placement) -> Result:
    """Return wirelength, what is wrong, and how full the fullest twentieth of the bins is."""
    wrong = verify(netlist, placement)
    return {
        "hpwl": hpwl(netlist, placement),
        "legal": wrong.is_legal,
        "overlaps": len(wrong.overlaps),
        "off_site": len(wrong.off_site),
        "fullest": fullest(netlist, placement),
    }


def refine_specs(wanted: Wanted) -> Iterator[Spec]:
    """Yield what placements of others are refined."""
    if wanted.file(NETLIST) is None or not wanted.chosen(["ibm01"]):
        return
    spec: Spec = {"instance": "ibm01", "time_limit": wanted.time_limit or SECONDS_LONG}
    if wanted.file(DRAGON):
        yield from wanted.seeded({**spec, "method": "dragon"}, 3)
    peer = {"method": "coloquinte", "peer": "coloquinte", "density": DENSITY}
    yield from wanted.seeded({**spec, **peer}, 3)


def run_refine(spec: Spec, wanted: Wanted) -> Result:
    """Refine for the time; what is not on sites is first put there by our legaliser."""
    netlist = bookshelf.read(there(wanted.file(NETLIST)))
    if spec["method"] == "dragon":
        given = bookshelf.read_placement(there(wanted.file(DRAGON)), netlist)
    else:
        given, _ = coloquinte_placement(netlist, density=spec["density"], seed=1)
    wrong = verify(netlist, given)
    start = given if wrong.is_aligned else legalise(netlist, given)
    rng, control = np.random.default_rng(spec["seed"]), Control(time_limit=spec["time_limit"])
    found, clock = clocked(lambda: refine(netlist, start, rng=rng, control=control))
    lengths = {"given": hpwl(netlist, given), "before": hpwl(netlist, start)}
    told = {"given_off_site": len(wrong.off_site), "given_fullest": fullest(netlist, given)}
    return {**lengths, **told, **judged(netlist, found), **clock._asdict()}


def large_specs(wanted: Wanted) -> Iterator[Spec]:
    """Yield the large netlist of known wirelength."""
    name = f"grid-{wanted.num_cells}"
    spec = {"instance": name, "num_cells": wanted.num_cells}
    if wanted.chosen([name]):
        yield from wanted.seeded(spec, 1)


def run_large(spec: Spec, wanted: Wanted) -> Result:
    """Place in a process of its own, whose memory is measured."""
    return apart(place_large, spec["num_cells"], spec["seed"])


def place_large(num_cells: int, seed: int) -> Result:
    """Generate a netlist of about so many cells on nine tenths of the sites, and place it."""
    rows = max(1, round((1.25 * num_cells) ** 0.5))
    netlist, _ = grid_netlist(
        columns=round(num_cells / rows), rows=rows, degrees=DEGREES, utilisation=0.9, seed=seed
    )
    warm_up()
    rng = np.random.default_rng(seed)
    found, clock = clocked(lambda: place(netlist, rng=rng, control=Control()))
    facts = {"num_placed": netlist.num_cells, "best_known": float(known_wirelength(netlist).sum())}
    peak = peak_memory()  # before it is judged
    return {**facts, "peak_bytes": peak, **judged(netlist, found), **clock._asdict()}


def warm_up() -> None:
    """Place a few cells, so that no compiling is timed."""
    netlist, _ = grid_netlist(columns=4, rows=4, seed=1)
    place(netlist, moves_per_cell=1, rng=np.random.default_rng(1), control=Control())
