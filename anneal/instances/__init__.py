"""Instance files: text (or bytes) to arrays and back, one module a format.

A format's module has ``NAME``, ``EXTENSIONS``, ``DESCRIPTION``, ``HOLDS`` (graph, qubo, bqm,
assignment or program), ``OPTIONS`` (the keywords of its ``parse``), ``sniff(data) -> bool``,
``parse(data, ...) -> instance`` and ``dump(instance) -> bytes``.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from anneal import registry
from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes, write_bytes
from anneal.instances.arrays import Graph, Program, QuadraticAssignment, Qubo

if TYPE_CHECKING:
    import dimod

    Instance = Graph | Qubo | QuadraticAssignment | Program | dimod.BinaryQuadraticModel

__all__ = [
    "FORMATS",
    "Graph",
    "Program",
    "QuadraticAssignment",
    "Qubo",
    "detect_format",
    "get_format",
    "kinds_for",
    "read",
    "write",
]

FORMATS: dict[str, str] = {
    "rudy": "anneal.instances.rudy",
    "qubo": "anneal.instances.qubo",
    "coo": "anneal.instances.coo",
    "beasley": "anneal.instances.beasley",
    "bqm": "anneal.instances.bqm_file",
    "bqm-json": "anneal.instances.bqm_json",
    "qaplib": "anneal.instances.qaplib",
    "opb": "anneal.instances.opb",
    "lp": "anneal.instances.lp",
}


def get_format(name: str) -> Any:
    """Return the module of a format; raises :class:`~anneal.errors.InputError` for a name that is
    not known.

    >>> get_format("rudy").EXTENSIONS
    ('.rud', '.mc', '.rudy', '.txt')
    """
    return registry.resolve(FORMATS, name, kind="format")


def detect_format(path: Pathlike, data: bytes) -> str:
    """Return the format that a file's name and content agree on.

    Among the formats with the name's extension (``.gz`` aside), the first that knows the content is
    taken; then the first of all that does; then the only one with the extension, whose reader will
    say what is wrong.

    Raises :class:`~anneal.errors.InputError` where none fits.

    >>> detect_format("G1.txt", b"2 1\\n1 2 1\\n"), detect_format("bqp.txt", b"1\\n2 1\\n1 2 9\\n")
    ('rudy', 'beasley')
    """
    named = _formats_for(path)
    for candidates in (named, list(FORMATS)):
        for name in candidates:
            if get_format(name).sniff(data):
                return name
    if not data.strip():
        raise InputError("the file is empty", path=path)
    if len(named) == 1:
        return named[0]
    among = ", ".join(named or FORMATS)
    raise InputError(f"the format is not recognised; name one of: {among}", path=path)


def read(
    path: Pathlike,
    *,
    format: str | None = None,
    sense: str | None = None,
    vartype: str | None = None,
    base: int | None = None,
    problem: int | None = None,
) -> Instance:
    """Read an instance file, compressed by gzip or not.

    ``format`` is a name in ``FORMATS`` and otherwise detected. ``sense`` (``"min"``, ``"max"``)
    overrides that of a .qubo or Beasley file, ``vartype`` names that of a COO file without one,
    ``base`` is the first vertex of a rudy file, ``problem`` counts the problems in a Beasley file
    from 1. A QAPLIB ``.sln`` beside a ``.dat``, if it can be read, sets ``best_known``.

    Raises :class:`~anneal.errors.InputError` with file, line and reason.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "triangle.rud"
    >>> write(Graph(3, [0, 0, 1], [1, 2, 2], [1.0, 1.0, 1.0]), path)
    >>> read(path).num_edges
    3
    """
    data = read_bytes(path)
    module = get_format(detect_format(path, data) if format is None else format)
    given = {"sense": sense, "vartype": vartype, "base": base, "problem": problem}
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in module.OPTIONS:
            raise InputError(f"format '{module.NAME}' has no option '{name}'", path=path)
    try:
        instance: Instance = module.parse(data, **options)
    except InputError as error:
        raise InputError(error.reason, path=path, line=error.line) from None
    if isinstance(instance, QuadraticAssignment):
        return _with_best_known(instance, path)
    return instance


def write(instance: Instance, path: Pathlike, *, format: str | None = None) -> None:
    """Write an instance file, whole or not at all; compress it where the name ends in ``.gz``.

    ``format`` is a name in ``FORMATS``; otherwise the first that has the name's extension and holds
    such an instance. A :class:`Qubo` and a BQM stand for each other, and for a program without
    constraints; spins become bits where a format has bits only.

    Raises :class:`~anneal.errors.InputError` where the format cannot hold the instance or the file
    not be written.
    """
    kind = _kind(instance)
    kinds = ("qubo", "bqm", "program") if kind in ("qubo", "bqm") else (kind,)
    if format is None:
        names = [name for name in _formats_for(path) if get_format(name).HOLDS in kinds]
        if not names:
            known = ", ".join(name for name in FORMATS if get_format(name).HOLDS in kinds)
            raise InputError(f"the name says no format for this; name one of: {known}", path=path)
        format = names[0]
    module = get_format(format)
    if module.HOLDS not in kinds:
        raise InputError(f"format '{format}' holds a {module.HOLDS}, not a {kind}", path=path)
    try:
        data = module.dump(_convert(instance, module))
    except InputError as error:
        raise InputError(error.reason, path=path) from None
    write_bytes(path, data)


def kinds_for(path: Pathlike, *, format: str | None = None) -> set[str]:
    """Return what a file of that name (or format) may hold: graph, qubo, bqm, assignment or
    program.

    >>> kinds_for("x.rud"), kinds_for("x.qubo.gz"), kinds_for("x.dat", format="rudy")
    ({'graph'}, {'qubo'}, {'graph'})
    """
    names = _formats_for(path) if format is None else [format]
    return {get_format(name).HOLDS for name in names}


def _formats_for(path: Pathlike) -> list[str]:
    """Return the formats that have the extension of ``path``."""
    name = PurePath(path)
    extension = PurePath(name.stem).suffix if name.suffix.lower() == ".gz" else name.suffix
    return [name for name in FORMATS if extension.lower() in get_format(name).EXTENSIONS]


def _kind(instance: Any) -> str:
    kinds = {Graph: "graph", Qubo: "qubo", QuadraticAssignment: "assignment", Program: "program"}
    return kinds.get(type(instance), "bqm")


def _convert(instance: Any, module: Any) -> Any:
    """Return ``instance`` as what ``module`` holds, a Qubo, a BQM or a program without rows."""
    if module.HOLDS == "bqm":
        return instance.to_bqm() if isinstance(instance, Qubo) else instance
    if module.HOLDS not in ("qubo", "program") or isinstance(instance, Program):
        return instance
    qubo = instance if isinstance(instance, Qubo) else Qubo.from_bqm(instance)
    return qubo if module.HOLDS == "qubo" else Program.unconstrained(qubo)


def _with_best_known(instance: QuadraticAssignment, path: Pathlike) -> QuadraticAssignment:
    from anneal.instances import sln

    try:
        solution = sln.read(PurePath(path).with_suffix(".sln"))
    except InputError:
        return instance
    best = sln.best_known(instance, solution)
    return QuadraticAssignment(instance.flow, instance.distance, best)
