"""What a command is told: options, a TOML file below them, and ``key=value`` pairs."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes
from anneal.registry import unknown


class SolveSettings(BaseModel):
    """The settings of one solve; a file of them holds the same names.

    read: keywords of the file's format. set: keywords of the solver.

    >>> SolveSettings(time_limit=2.0).solver
    'auto'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    solver: str = "auto"
    format: str | None = None
    sense: Literal["min", "max"] | None = None
    time_limit: float | None = Field(None, ge=0, allow_inf_nan=False)
    target: float | None = Field(None, allow_inf_nan=False)
    seed: int | None = Field(None, ge=0, lt=2**32)
    num_reads: int | None = Field(None, ge=1)
    num_sweeps: int | None = Field(None, ge=1)
    num_threads: int | None = Field(None, ge=1)
    tune: bool | None = None
    executor: str | None = None
    workers: int | None = Field(None, ge=1)
    scheduler: str | None = None
    read: dict[str, Any] = {}
    set: dict[str, Any] = {}

    def seeded(self) -> SolveSettings:
        """Return the settings with a seed, a random one where none was given.

        >>> SolveSettings(seed=7).seeded().seed
        7
        """
        return self.model_copy(update={"seed": drawn_seed(self.seed)})

    def to_toml(self) -> str:
        """Return the file that :func:`load_settings` reads back, without what is not set.

        >>> print(SolveSettings(seed=1, set={"tenure": 20}).to_toml())
        solver = "auto"
        seed = 1
        <BLANKLINE>
        [set]
        tenure = 20
        <BLANKLINE>
        """
        return to_toml(self.model_dump(exclude_none=True))


Settings = TypeVar("Settings", bound=BaseModel)


def load_settings(
    options: Mapping[str, Any], model: type[Settings], *, config: Pathlike | None = None
) -> Settings:
    """Return the settings of the command line's options over those of a TOML file.

    An option of None was not given. Tables are joined key by key. Raises
    :class:`~anneal.errors.InputError` for unknown names and values of another kind.

    >>> load_settings({"seed": 3, "solver": None}, SolveSettings).seed
    3
    """
    found = {} if config is None else _read_toml(config)
    for name in found.keys() - model.model_fields.keys():
        raise _at(unknown(name, model.model_fields, kind="setting"), config)
    for name, value in options.items():
        if isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = found[name] | value
        elif value is not None and value != {}:
            found[name] = value
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = f"{name}: {first['msg'].lower()}, not {first['input']!r}"
        from_file = options.get(name) is None
        raise _at(InputError(reason), config if from_file else None) from None


def parse_pairs(pairs: Iterable[str] | None) -> dict[str, Any]:
    """Return the dict of ``key=value`` texts: JSON values, lists by commas, and else words.

    Raises :class:`~anneal.errors.InputError` where a text has no ``=``.

    >>> parse_pairs(["n=100", "beta_range=0.1,4", "family=regular", "signed=true"])
    {'n': 100, 'beta_range': [0.1, 4], 'family': 'regular', 'signed': True}
    """
    found = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not (equals and key.strip()):
            raise InputError(f"'{pair}' is not key=value")
        found[key.strip().replace("-", "_")] = _value(text.strip())
    return found


def drawn_seed(seed: int | None) -> int:
    """Return the seed, or a random one where none was given.

    Raises :class:`~anneal.errors.InputError` for one below 0.

    >>> drawn_seed(7)
    7
    """
    if seed is None:
        return secrets.randbelow(2**31)
    if seed < 0:
        raise InputError(f"seed must not be negative, is {seed}")
    return seed


def check_keys(given: Iterable[str], known: Iterable[str], *, kind: str) -> None:
    """Raise :class:`~anneal.errors.InputError` for the first key that is not known."""
    names = list(known)
    for key in given:
        if key not in names:
            raise unknown(key, names, kind=kind)


def to_toml(values: Mapping[str, Any]) -> str:
    """Return a TOML text of plain values, tables after them and without those that are empty.

    >>> print(to_toml({"set": {"tenure": 20}, "read": {}, "seed": 1}), end="")
    seed = 1
    <BLANKLINE>
    [set]
    tenure = 20
    """
    text = _lines({name: value for name, value in values.items() if not isinstance(value, dict)})
    for name, value in values.items():
        text += f"\n[{name}]\n{_lines(value)}" if isinstance(value, dict) and value else ""
    return text


def _value(text: str) -> Any:
    for candidate in (text, f"[{text}]" if "," in text else text):
        try:
            value = json.loads(candidate, parse_constant=lambda word: word)
        except (ValueError, RecursionError):
            continue
        return value
    return text


def _read_toml(path: Pathlike) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a TOML file: {error}", path=path) from None


def _at(error: InputError, path: Pathlike | None) -> InputError:
    return InputError(error.reason, path=None if path is None else Path(path), line=error.line)


def _lines(values: Mapping[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's too.
    return "".join(f"{_key(key)} = {json.dumps(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)
