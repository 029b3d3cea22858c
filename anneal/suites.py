"""Named lists of benchmark instances, each known by its exact content."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes
from anneal.records import canonical_json

if TYPE_CHECKING:
    import dimod

    from anneal.problem import Problem

    Loaded: TypeAlias = Problem | dimod.BinaryQuadraticModel

# Best known energies: Max-Cut as −cut, bqp as −value, quadratic assignment as its cost. Cuts from
# the literature on G-set up to G55 10300, G70 9595 and G81 14060; bqp from OR-Library (Beasley
# 1998); the assignments are proven optimal (QAPLIB).
BEST_KNOWN: dict[str, float] = {
    **{"G1": -11624, "G2": -11620, "G3": -11622, "G11": -564, "G12": -556, "G13": -582},
    **{"G14": -3064, "G15": -3050, "G22": -13359, "G23": -13344, "G32": -1410, "G33": -1382},
    **{"G35": -7687, "G43": -6660, "G44": -6650, "G48": -6000, "G51": -3848, "G55": -10300},
    **{"G60": -14190, "G70": -9595},
    **{"bqp50_1": -2098, "bqp50_2": -3702, "bqp100_1": -7970, "bqp100_2": -11036},
    **{"bqp250_1": -45607, "bqp250_2": -44810, "bqp500_1": -116586, "bqp500_2": -128339},
    **{"bqp1000_1": -371438, "bqp1000_2": -354932},
    **{"nug12": 578, "nug15": 1150, "nug20": 2570},
}
_FOLDERS = {"G": "gset/{}.txt", "b": "orlib/{}.qubo", "n": "qaplib/{}.dat", "s": "qaplib/{}.dat"}


@dataclass(frozen=True)
class Instance:
    """One instance of a benchmark: what identifies it, and how it is loaded when its turn comes.

    name: what tables call it. spec: its exact content, a part of every task's id. load: gives a
    problem or a BQM. best_known: the least energy known, unless the problem knows it.
    """

    name: str
    spec: Mapping[str, Any]
    load: Callable[[], Loaded] = field(compare=False)
    best_known: float | None = None

    def __hash__(self) -> int:
        return hash(canonical_json(self.spec))


def file_instance(path: Pathlike, *, best_known: float | None = None) -> Instance:
    """Return the instance in a file of any known format, identified by the hash of its content.

    A compressed file is the same instance. Raises :class:`~anneal.errors.InputError` where the file
    cannot be read.
    """
    name = Path(path).name.removesuffix(".gz")
    content = hashlib.sha256(read_bytes(path)).hexdigest()
    spec = {"name": Path(name).stem, "file": name, "sha256": content}
    return Instance(spec["name"], spec, partial(_read, path), best_known)


def generated_instance(problem: str, *, seed: int, **parameters: Any) -> Instance:
    """Return the instance that a registered problem generates, identified by its parameters.

    >>> generated_instance("sk", seed=1, num_spins=50).name
    'sk-50-1'
    """
    name = "-".join([problem, *map(_short, parameters.values()), str(seed)])
    spec = {"name": name, "problem": problem, "parameters": parameters, "seed": seed}
    return Instance(name, spec, partial(_generate, problem, seed, parameters))


def tiny() -> list[Instance]:
    """Return six generated instances of 16 to 400 variables: a benchmark of seconds."""
    return [
        generated_instance("planted", seed=1, length=4),
        generated_instance("planted", seed=2, length=20),
        generated_instance("lattice", seed=1, shape=[5, 5, 5]),
        generated_instance("sk", seed=1, num_spins=64),
        generated_instance("maxcut", seed=1, num_vertices=100, density=0.1),
        generated_instance("qubo", seed=1, num_variables=50, density=0.2),
    ]


def core() -> list[Instance]:
    """Return 20 G-set graphs, 10 of Beasley's bqp and 3 one-hot assignments from QBNN_DATA."""
    return [make() for make in _CORE.values()]


def penalties() -> list[Instance]:
    """Return models with terms of very different size: a one-hot assignment (ste36a, from
    QBNN_DATA), a balanced partition of 2,000 vertices, and three rows of weights whose Hessian
    spans six decades below one huge eigenvalue.
    """
    return [make() for make in _PENALTIES.values()]


def large() -> list[Instance]:
    """Return the dense p3000.1 and p5000.1 of Palubeckis and G-set's torus G81, all generated."""
    return [make() for make in _LARGE.values()]


SUITES: dict[str, Callable[[], list[Instance]]] = {
    "tiny": tiny,
    "core": core,
    "penalties": penalties,
    "large": large,
}


def select(names: Iterable[str]) -> list[Instance]:
    """Return the instances meant by names of suites, of the instances of these, and of files.

    Raises :class:`~anneal.errors.InputError` with the nearest known names for anything else.

    >>> len(select(["tiny"]))
    6
    """
    found: list[Instance] = []
    for name in names:
        if name in SUITES:
            found += SUITES[name]()
        elif name in _NAMED and not os.path.exists(name):
            found.append(_NAMED[name]())
        elif os.path.exists(name) or os.sep in name:
            found.append(file_instance(name))
        else:
            near = difflib.get_close_matches(name, [*SUITES, *_NAMED], n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"suites: {', '.join(SUITES)}"
            raise InputError(f"no suite, instance or file '{name}'; {hint}")
    return found


def data_folder() -> Path:
    """Return the folder that QBNN_DATA names.

    Raises :class:`~anneal.errors.InputError` that says how to set it.
    """
    given = os.environ.get("QBNN_DATA", "")
    if not given or not Path(given).is_dir():
        state = f"is '{given}', which is no folder" if given else "is not set"
        raise InputError(
            f"QBNN_DATA {state}; set it to a folder that holds gset/, orlib/ and qaplib/, "
            "for example: export QBNN_DATA=~/data"
        )
    return Path(given)


def _from_folder(name: str, best_known: float) -> Instance:
    return file_instance(data_folder() / _FOLDERS[name[0]].format(name), best_known=best_known)


def _bisection() -> Instance:
    name = "bisection-2000"
    return _named(name, generated_instance("bisection", seed=1, num_vertices=2000, density=0.01))


def _palubeckis(name: str, size: int, seed: int) -> Instance:
    parameters = {"family": "palubeckis", "num_variables": size, "density": 0.5}
    return _named(name, generated_instance("qubo", seed=seed, **parameters))


def _named(name: str, instance: Instance) -> Instance:
    return replace(instance, name=name, spec={**instance.spec, "name": name})


def _specimen(
    name: str, function: str, *, best_known: float | None = None, **parameters: int
) -> Instance:
    """An instance that a function of :mod:`anneal.specimens` makes."""
    spec = {"name": name, "specimen": function, "parameters": parameters}
    return Instance(name, spec, partial(_make_specimen, function, parameters), best_known)


def _make_specimen(function: str, parameters: Mapping[str, int]) -> Loaded:
    from anneal import specimens

    made: Problem = getattr(specimens, function)(**parameters)
    return made


def _read(path: Pathlike) -> Loaded:
    from anneal.problems import read_problem

    loaded: Problem = read_problem(path)
    return loaded


def _generate(problem: str, seed: int, parameters: Mapping[str, Any]) -> Loaded:
    from anneal.problems import get_problem

    loaded: Problem = get_problem(problem).generate(seed=seed, **parameters)
    return loaded


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_CORE: dict[str, Callable[[], Instance]] = {
    name: partial(_from_folder, name, known) for name, known in BEST_KNOWN.items()
}
_PENALTIES: dict[str, Callable[[], Instance]] = {
    "ste36a": partial(_from_folder, "ste36a", 9526.0),
    "bisection-2000": _bisection,
    "row-64": partial(_specimen, "row-64", "steep_row", fan_in=64, seed=1),
    "row-240": partial(_specimen, "row-240", "steep_row", fan_in=240, seed=1),
    "row-600": partial(_specimen, "row-600", "steep_row", fan_in=600, seed=1),
}
_LARGE: dict[str, Callable[[], Instance]] = {
    "p3000.1": partial(_palubeckis, "p3000.1", 3000, 31000),
    "p5000.1": partial(_palubeckis, "p5000.1", 5000, 51000),
    "G81": partial(
        _specimen, "G81", "gset_torus", best_known=-14060.0, rows=200, columns=100, seed=200001
    ),
}
_NAMED = _CORE | _PENALTIES | _LARGE
# Whether nothing is to be chosen while looking at an instance: at every other one of each suite,
# in its order, which parts the two of each of Beasley's sizes, and neighbours in the G-set.
HELD_OUT: dict[str, bool] = {
    name: place % 2 == 1
    for suite in (_CORE, _PENALTIES, _LARGE)
    for place, name in enumerate(suite)
}
