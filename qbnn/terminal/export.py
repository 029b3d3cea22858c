"""What `qbnn place export` writes: the models of an assignment, and netlists as hypergraphs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dimod
import numpy as np

from anneal import instances
from anneal.assignment.swaps import swap_bqm
from anneal.errors import InputError
from anneal.files import write_bytes
from anneal.problems.assignment import Assignment
from anneal.problems.domain_wall import DomainWallAssignment
from qbnn.terminal.assign import encoded, read, read_start
from qbnn.terminal.console import check_file
from qbnn.terminal.settings import drawn_seed

# What a variable is called where a format wants names: by facility and site, or by facilities.
NAMES = {"one-hot": "x_{}_{}", "domain-wall": "d_{}_{}", "swaps": "s_{}_{}"}


def export(
    file: Path,
    out: Path,
    *,
    encoding: str | None,
    penalty: str,
    start: Path | None,
    seed: int | None,
) -> dict[str, Any]:
    """Write the model of a .dat file, or the hypergraph of an .aux file; return facts about it.

    Raises :class:`~anneal.errors.InputError` for names of files that say nothing fitting.
    """
    check_file(out)
    if file.suffix == ".aux":
        if encoding is not None or start is not None:
            raise InputError("a netlist becomes a hypergraph: --encoding and --start are for .dat")
        return {"file": str(file), "out": str(out), **_write_hypergraph(file, out)}
    encoding = encoding or "one-hot"
    if start is not None and encoding != "swaps":
        raise InputError("--start is for --encoding swaps")
    problem = read(file)
    if encoding == "swaps":
        order = None if start is None else read_start(start, problem)
        model, names, facts = _swaps(problem, order, seed)
    else:
        model, names, facts = _penalised(problem, encoding, sufficient=penalty == "sufficient")
    _write_model(model, names, out)
    return {
        "file": str(file),
        "out": str(out),
        "encoding": encoding,
        "num_facilities": len(problem.flow),
        "num_variables": model.num_variables,
        "num_interactions": model.num_interactions,
        **facts,
    }


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of what was written as a person reads them."""
    shown = {key: value for key, value in found.items() if key not in ("pairs", "permutation")}
    if "pairs" in found:
        shown["pairs"] = ", ".join(f"{one}-{two}" for one, two in found["pairs"])
    return shown


def _write_hypergraph(file: Path, out: Path) -> dict[str, Any]:
    from anneal.instances import bookshelf, hmetis
    from anneal.placement.hypergraphs import to_hypergraph

    if Path(out.name.removesuffix(".gz")).suffix != ".hgr":
        raise InputError("a netlist is written as a hypergraph, .hgr", path=out)
    hypergraph = to_hypergraph(bookshelf.read(file))
    hmetis.write(hypergraph, out)
    return {
        "num_vertices": hypergraph.num_vertices,
        "num_nets": hypergraph.num_nets,
        "num_pins": len(hypergraph.pins),
        "area": hypergraph.total_area,
    }


Made = tuple[dimod.BinaryQuadraticModel, list[str], dict[str, Any]]


def _penalised(problem: Assignment, encoding: str, *, sufficient: bool) -> Made:
    chosen = encoded(problem, encoding)
    if sufficient:
        none: dict[str, Any] = {"penalty": None}
        if isinstance(chosen, DomainWallAssignment):
            none["chain_strength"] = None
        chosen = replace(chosen, **none)
    facts = chosen.describe()
    size = len(problem.flow)
    sites = range(size) if encoding == "one-hot" else range(1, size)
    names = [NAMES[encoding].format(i, k) for i in range(size) for k in sites]
    kept = ("penalty", "chain_strength", "sufficient_penalty", "measured_penalty")
    return chosen.bqm(), names, {key: facts[key] for key in kept if key in facts}


def _swaps(problem: Assignment, order: np.ndarray[Any, Any] | None, seed: int | None) -> Made:
    """Return the model of which of n/2 disjoint swaps to make, drawn at random."""
    drawn, size = drawn_seed(seed), len(problem.flow)
    rng = np.random.default_rng(drawn)
    if order is None:
        order = problem.random_solution(rng)
    pairs = rng.permutation(size)[: size // 2 * 2].reshape(-1, 2)
    if not len(pairs):
        raise InputError("swaps want at least two facilities")
    names = [NAMES["swaps"].format(*pair) for pair in pairs]
    facts = {
        "seed": drawn,
        "cost": problem.cost(order),
        "pairs": pairs.tolist(),
        "permutation": order.tolist(),
    }
    return swap_bqm(problem, order, pairs), names, facts


def _write_model(model: dimod.BinaryQuadraticModel, names: list[str], out: Path) -> None:
    """Write a model by its file's name, an .lp with its variables named."""
    if Path(out.name.removesuffix(".gz")).suffix != ".lp":
        kinds = instances.kinds_for(out)
        if kinds and not kinds & {"qubo", "bqm"}:
            raise InputError("a model is .coo, .bqm, .json, .qubo or .lp", path=out)
        instances.write(model, out)
        return
    named = model.relabel_variables(dict(enumerate(names)), inplace=False)
    text = io.StringIO()
    dimod.lp.dump(dimod.ConstrainedQuadraticModel.from_bqm(named), text)
    write_bytes(out, f"{text.getvalue()}\n".encode())
