"""Facts about instances, and about what the registries hold."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from anneal import registry
from anneal.detect import described
from anneal.instances import FORMATS, get_format
from anneal.ising import Ising, integer_scale
from anneal.problems import PROBLEMS, get_problem
from anneal.sampler import with_squares
from anneal.schedules import automatic_betas
from anneal.solvers import SOLVERS, get_solver
from anneal.solvers.auto import plan, summary
from anneal.suites import SUITES
from anneal.tables import Column, Table, column
from qbnn.architectures import ARCHITECTURES, SUITED
from qbnn.terminal.solve import Loaded


def facts(loaded: Loaded) -> dict[str, Any]:
    """Return what `qbnn describe` says of an instance.

    Couplings and fields are those of the Ising form. ``integer_scale`` is the number that all of
    them are whole multiples of, None where there is none.
    """
    ising = Ising.from_bqm(loaded.bqm)
    csr = ising.csr()
    degrees = np.diff(csr.indptr)
    apart = loaded.models[1]
    posed = ising
    if apart is not None:
        posed = with_squares(Ising.from_bqm(apart[0]), apart[1]["squares"])
    reduction, parts = plan(posed)
    solver, reason = summary(parts)
    kept = reduction.ising.squares
    own = loaded.problem.describe()
    return {
        "file": str(loaded.path),
        **own,
        "sense": loaded.sense,
        "vartype": loaded.bqm.vartype.name,
        "density": ising.density,
        "degree": {
            "least": int(degrees.min()),
            "mean": float(degrees.mean()),
            "most": int(degrees.max()),
        },
        "coupling_range": _ends(csr.data),
        "field_range": _ends(ising.h),
        "offset": ising.offset,
        "integer_scale": integer_scale(ising.h, csr.data),
        "solver": solver,
        "reason": reason,
        "squares": None if kept is None else described(kept),
        "presolve_leaves": reduction.ising.num_spins,
        "presolve": dict(reduction.counts),
        "parts": len(parts),
        # The first and the last of two sweeps.
        "beta_range": [float(beta) for beta in automatic_betas(ising, 2)],
    }


def _ends(values: Any) -> list[float] | None:
    return [float(values.min()), float(values.max())] if len(values) else None


def shown(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return :func:`facts` as a person reads them."""
    degree = known["degree"]
    scale = known["integer_scale"]
    whole = "no: floating point" if scale is None else f"multiples of {scale:g}"
    return {
        **{key: value for key, value in known.items() if key not in ("reason", "offset")},
        "density": f"{known['density']:.3%}",
        "degree": f"{degree['least']} … {degree['most']}, mean {degree['mean']:.4g}",
        "integer_scale": whole,
        "solver": f"{known['solver']} ({known['reason']})",
        "presolve": ", ".join(f"{count} {rule}" for rule, count in known["presolve"].items()),
        "beta_range": [float(f"{beta:.4g}") for beta in known["beta_range"]],
    }


def solvers() -> list[dict[str, Any]]:
    """Return name, description and keywords of every solver."""
    found = []
    for name in SOLVERS:
        solver = get_solver(name)
        found.append(_entry(name, solver) | {"keywords": list(solver().parameters)})
    return found


def problems() -> list[dict[str, Any]]:
    """Return name, description and the parameters of ``generate`` of every problem."""
    return [
        _entry(name, get_problem(name)) | {"parameters": generate_parameters(name)}
        for name in PROBLEMS
    ]


def formats() -> list[dict[str, Any]]:
    """Return name, description and extensions of every format."""
    found = []
    for name in FORMATS:
        module = get_format(name)
        entry = {"name": name, "description": module.DESCRIPTION, "holds": module.HOLDS}
        found.append(entry | {"extensions": list(module.EXTENSIONS)})
    return found


def suites() -> list[dict[str, Any]]:
    """Return name and description of every benchmark suite."""
    return [_entry(name, suite) for name, suite in SUITES.items()]


def families() -> list[dict[str, Any]]:
    """Return name and description of every family of networks."""
    from qbnn import binary, controls
    from qbnn.config import FREE, SIGN
    from qbnn.deformation import FAMILIES

    found = [_entry(name, registry.load(at)) for name, at in FAMILIES.items()]
    return [*found, _entry(SIGN, binary), _entry(FREE, controls)]


def architectures() -> list[dict[str, Any]]:
    """Return name, description and stages of every architecture that has a name."""
    return [
        {"name": name, "description": found.description, "stages": found.stages}
        for name, found in ARCHITECTURES.items()
    ]


def datasets() -> list[dict[str, Any]]:
    """Return name and description of every set of images, and the architecture that suits it."""
    from qbnn.data import DATASETS

    return [
        _entry(name, registry.load(at)) | {"architecture": SUITED[name]["architecture"]}
        for name, at in DATASETS.items()
    ]


def rounders() -> list[dict[str, Any]]:
    """Return name, description and keywords of every way to round weights."""
    from anneal.rounding import ROUNDERS, get_rounder, keywords

    return [
        _entry(name, get_rounder(name)) | {"keywords": list(keywords(name))} for name in ROUNDERS
    ]


LISTS = {
    "solvers": solvers,
    "problems": problems,
    "formats": formats,
    "suites": suites,
    "families": families,
    "architectures": architectures,
    "datasets": datasets,
    "rounders": rounders,
}


def generate_parameters(problem: str) -> dict[str, Any]:
    """Return the parameters that a problem's ``generate`` takes, with their defaults.

    >>> generate_parameters("sk")
    {'num_spins': 100, 'gaussian': False}
    """
    signature = inspect.signature(get_problem(problem).generate)
    return {
        name: None if item.default is item.empty else item.default
        for name, item in signature.parameters.items()
        if name != "seed"
    }


def as_table(name: str, entries: list[dict[str, Any]]) -> Table:
    """Return one of the lists as a table: names, what they are, and parameters or extensions."""
    columns = [column("name"), column("description", "what")]
    if name == "problems":
        columns.append(Column("--set (default)", lambda row: _pairs(row["parameters"])))
    if name == "formats":
        columns.append(Column("names end in", lambda row: " ".join(row["extensions"])))
    if name == "architectures":
        columns.append(column("stages"))
    if name == "datasets":
        columns.append(column("architecture"))
    return Table(name, columns, entries)


def _pairs(defaults: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in defaults.items())


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_word, value))
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _entry(name: str, described: Any) -> dict[str, Any]:
    first = (inspect.getdoc(described) or "").partition("\n\n")[0]
    first = re.sub(r":\w+:`~?([^`]*)`", r"\1", first.replace("``", ""))
    words = " ".join(first.split()).removesuffix(".").removeprefix("Return ")
    return {"name": name, "description": words[:1].upper() + words[1:]}


def listing(what: str | None) -> dict[str, list[dict[str, Any]]]:
    """Return one of ``LISTS`` by name, or all.

    >>> [entry["name"] for entry in listing("suites")["suites"]]
    ['tiny', 'core', 'penalties', 'large']
    """
    if what is not None and what not in LISTS:
        raise registry.unknown(what, LISTS, kind="list")
    return {name: make() for name, make in LISTS.items() if what in (None, name)}
