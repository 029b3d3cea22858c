"""dimod's BQM as JSON: what ``json.dumps(bqm.to_serializable())`` gives (schema 3)."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from anneal.errors import InputError
from anneal.instances.arrays import FloatArray, IntArray, Qubo

if TYPE_CHECKING:
    import dimod

NAME = "bqm-json"
EXTENSIONS = (".json",)
DESCRIPTION = "BQM in dimod's JSON, with labels"
HOLDS = "bqm"
OPTIONS = ()


def sniff(data: bytes) -> bool:
    """Tell whether this is a JSON object."""
    return data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def parse(data: bytes) -> dimod.BinaryQuadraticModel:
    """Read a BQM with its labels; lists become tuples, as in dimod.

    Raises :class:`~anneal.errors.InputError` for anything malformed, naming the line of a JSON
    syntax error.

    >>> import dimod
    >>> bqm = dimod.BinaryQuadraticModel({"a": 1}, {("a", ("b", 2)): -1}, 0.5, "SPIN")
    >>> parse(dump(bqm)) == bqm
    True
    """
    found = load_json(data)
    if not isinstance(found, dict) or found.get("type") != "BinaryQuadraticModel":
        raise InputError("this JSON is no BQM of dimod: its 'type' is not 'BinaryQuadraticModel'")
    version = found.get("version")
    schema = version.get("bqm_schema") if isinstance(version, dict) else None
    if not isinstance(schema, str) or not schema.startswith("3.") or found.get("use_bytes"):
        raise InputError("only dimod's schema 3, without bytes, is read")
    names = parse_labels(found.get("variable_labels"))
    linear = _floats(found, "linear_biases", len(names), "num_variables")
    value = _floats(found, "quadratic_biases", None, "num_interactions")
    i, j = (_integers(found, f"quadratic_{end}", len(value)) for end in ("head", "tail"))
    if (i == j).any():
        raise InputError("a variable interacts with itself")
    every = np.arange(len(names))
    return Qubo(
        len(names),
        np.concatenate([every, i]),
        np.concatenate([every, j]),
        np.concatenate([linear, value]),
        _float(found, "offset"),
        str(found.get("variable_type")),
        names,
    ).to_bqm()


def dump(instance: dimod.BinaryQuadraticModel) -> bytes:
    """Return the JSON of a BQM; raises where :func:`check_bqm` does."""
    check_bqm(instance)
    # dimod sorts the variables where it can; a file that is read back keeps their order.
    vectors = instance.to_numpy_vectors(variable_order=instance.variables)
    content = instance.to_serializable() | {
        "variable_labels": instance.variables.to_serializable(),
        "linear_biases": vectors.linear_biases.tolist(),
        "quadratic_head": vectors.quadratic.row_indices.tolist(),
        "quadratic_tail": vectors.quadratic.col_indices.tolist(),
        "quadratic_biases": vectors.quadratic.biases.tolist(),
    }
    return json.dumps(content).encode()


def check_bqm(bqm: dimod.BinaryQuadraticModel) -> None:
    """Raise :class:`~anneal.errors.InputError` unless a file of dimod's can hold ``bqm`` unchanged:
    it has variables, its biases are finite, and a label is a string, number or tuple of these."""
    Qubo.from_bqm(bqm)
    try:
        names = json.dumps(bqm.variables.to_serializable())
        kept = parse_labels(json.loads(names)) == tuple(bqm.variables)
    except (TypeError, InputError):
        kept = False
    if not kept:
        raise InputError("labels in dimod's files are strings, finite numbers and tuples of these")


def load_json(data: bytes) -> Any:
    """Return what JSON text holds; raises :class:`~anneal.errors.InputError` also for NaN and
    infinity."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise InputError("this is not UTF-8 text", line=line) from None
    except json.JSONDecodeError as error:
        raise InputError(f"malformed JSON: {error.msg}", line=error.lineno) from None
    except RecursionError:
        raise InputError("malformed JSON: nested too deeply") from None
    except InputError:
        raise
    except ValueError as error:
        # Python refuses integers of more than 4300 digits.
        raise InputError(f"malformed JSON: {error}") from None


def parse_labels(found: Any) -> tuple[Hashable, ...]:
    """Return labels with every list in them as a tuple; raises where one is no string, number or
    list of these."""
    if not isinstance(found, list):
        raise InputError("the variables' labels are missing")
    return tuple(_label(label) for label in found)


def _label(found: Any, depth: int = 0) -> Hashable:
    if isinstance(found, list) and depth < 100:
        return tuple(_label(part, depth + 1) for part in found)
    if isinstance(found, str) or (_is_number(found) and abs(found) < math.inf):
        return found  # type: ignore[no-any-return]
    raise InputError(f"'{str(found)[:40]}' is no label: strings, numbers and lists of these are")


def _refuse(constant: str) -> float:
    raise InputError(f"'{constant}' is not a finite number")


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _float(found: dict[str, Any], key: str) -> float:
    return float(_vector([found.get(key)], f"'{key}'")[0])


def _floats(found: dict[str, Any], key: str, size: int | None, count: str) -> FloatArray:
    array = _vector(found.get(key), f"'{key}'")
    if not len(array) == found.get(count, len(array)) == (len(array) if size is None else size):
        raise InputError(
            f"'{key}' has {len(array)} entries, but '{count}' or the labels say otherwise"
        )
    return array


def _integers(found: dict[str, Any], key: str, size: int) -> IntArray:
    array = _vector(found.get(key), f"'{key}'")
    if len(array) != size:
        raise InputError(f"'{key}' has {len(array)} entries for {size} quadratic biases")
    whole = array.astype(np.int64) if (np.abs(array) < 1 << 53).all() else None
    if whole is None or (whole != array).any():
        raise InputError(f"an entry of '{key}' is not an index")
    return whole


def _vector(found: Any, what: str) -> FloatArray:
    if not isinstance(found, list) or not all(map(_is_number, found)):
        raise InputError(f"{what} is missing or holds something that is no number")
    try:
        array = np.array(found, dtype=np.float64)
    except OverflowError:
        raise InputError(f"{what} holds a number that is too large") from None
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds a number that is not finite")
    return array
