"""What a network is, in one line of text and a few words; no torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from anneal.errors import InputError
from anneal.registry import unknown

# Families beside the deformations: the bottom rung, and the classical control of the top one.
SIGN, FREE = "sign", "free"
_DENSE = re.compile(r"(\d+)FC")
_HEAD = re.compile(r"SM(\d+)")
_CONVOLUTION = re.compile(r"(\d+)C(\d+)(?:S(\d+))?(?:P(\d+))?")
_POOL = re.compile(r"MP(\d+)")


class Stage(NamedTuple):
    """One layer with what follows it: kernel 0 is a dense layer, pool 1 is none."""

    width: int
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    pool: int = 1


class Config(BaseModel):
    """Everything that decides a network; equal configs with equal seeds are equal networks.

    ``architecture``: stages joined by ``-``: ``32C3`` a convolution of 32 channels, 3×3, with
    border 1; ``8C3S2P0`` one of stride 2 and no border; ``MP2`` pooling of 2×2 after it; ``512FC``
    a dense layer; last, ``SM10`` the head with ten classes.
    ``family``: a deformation, ``none`` for the probabilistic network (PBNet), ``sign`` for the
    classical one, ``free`` for the classical control of a deformation.
    ``input``: a pixel is P(bit = 1) (``bernoulli``) or a number (``real``, undeformed first layer).
    ``mode``: hidden bits are handed on as probabilities (``propagate``) or drawn (``sample``).

    >>> Config(architecture="SM10", in_shape=(1, 8, 8)).family
    'none'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    in_shape: tuple[int, int, int]
    family: str = "none"
    share: Literal["connection", "output", "input", "layer"] = "connection"
    trainable: bool = True
    init_std: float = 0.1
    input: Literal["bernoulli", "real"] = "bernoulli"
    mode: Literal["propagate", "sample"] = "propagate"
    law: Literal["clt", "clt-cc", "edgeworth", "exact"] = "clt-cc"
    head: Literal["ce", "bce"] = "ce"
    pool: Literal["sample", "mean", "or"] = "sample"
    pseudo_gradient: str = "clip"
    seed: int = 0

    def stages(self) -> list[Stage]:
        """Return the stages of the architecture; see :func:`parse_architecture`."""
        return parse_architecture(self.architecture)

    @property
    def num_classes(self) -> int:
        """The width of the head."""
        return self.stages()[-1].width


def make_config(values: Mapping[str, Any]) -> Config:
    """Return a config from plain values, checked whole.

    Raises :class:`~anneal.errors.InputError` naming what is unknown or out of range.

    >>> make_config({"architecture": "SM10", "in_shape": [1, 8, 8], "famly": "none"})
    Traceback (most recent call last):
    ...
    anneal.errors.InputError: unknown setting 'famly'; did you mean 'family'?
    """
    for name in values:
        if name not in Config.model_fields:
            raise unknown(name, Config.model_fields, kind="setting")
    try:
        config = Config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"setting '{place}': {first['msg'].lower()}") from error
    check_family(config)
    config.stages()
    return config


def check_family(config: Config) -> None:
    """Raise :class:`~anneal.errors.InputError` for an unknown family."""
    from qbnn.deformation import FAMILIES

    known = (*FAMILIES, SIGN, FREE)
    if config.family not in known and ":" not in config.family:
        raise unknown(config.family, known, kind="family")


def parse_architecture(text: str) -> list[Stage]:
    """Return the stages of an architecture; the last is the head.

    Raises :class:`~anneal.errors.InputError` for a word that is none, or a head out of place.

    >>> parse_architecture("8C3S2P0-MP2-SM10")
    [Stage(width=8, kernel=3, stride=2, padding=0, pool=2), Stage(width=10, kernel=0, ...)]
    """
    words = text.upper().split("-")
    stages: list[Stage] = []
    for word in words:
        if match := _CONVOLUTION.fullmatch(word):
            width, kernel = int(match[1]), int(match[2])
            padding = (kernel - 1) // 2 if match[4] is None else int(match[4])
            stages.append(Stage(width, kernel, int(match[3] or 1), padding))
        elif (match := _POOL.fullmatch(word)) and stages and stages[-1].kernel:
            stages[-1] = stages[-1]._replace(pool=stages[-1].pool * int(match[1]))
        elif match := _DENSE.fullmatch(word) or _HEAD.fullmatch(word):
            stages.append(Stage(int(match[1])))
        else:
            raise InputError(
                f"architecture '{text}': cannot read '{word}'; "
                "stages are like 32C3, 8C3S2P0, MP2 (after a convolution), 512FC and last SM10"
            )
    _check_order(text, words, stages)
    return stages


def _check_order(text: str, words: list[str], stages: list[Stage]) -> None:
    heads = [bool(_HEAD.fullmatch(word)) for word in words]
    if heads != [False] * (len(words) - 1) + [True]:
        raise InputError(f"architecture '{text}': the last stage, and only it, is a head like SM10")
    kinds = [bool(stage.kernel) for stage in stages]
    if kinds != sorted(kinds, reverse=True):
        raise InputError(f"architecture '{text}': a convolution after a dense layer")
    if min(min(s.width, s.stride, s.pool) for s in stages) < 1 or stages[-1].width < 2:
        raise InputError(f"architecture '{text}': widths, strides and pools are at least 1")
