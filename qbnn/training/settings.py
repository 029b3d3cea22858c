"""What a run of `qbnn train` is told, what suits if nothing is said, and what its folder holds."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anneal.errors import InputError
from qbnn.architectures import SUITED, stages_of
from qbnn.config import Config, make_config
from qbnn.data import Dataset
from qbnn.terminal.settings import check_keys, load_settings
from qbnn.training.checkpoints import BEST, STATE
from qbnn.training.train import TrainOptions

SETTINGS = "config.toml"
# They say when a training ends, not what happens in it, so a run may go on with others.
OPEN = ("epochs", "patience")


class TrainSettings(BaseModel):
    """What decides a run; a file of them holds the same names.

    ``network``: the fields of :class:`~qbnn.config.Config` but the shape of the images, which is
    the set's. ``training``: those of :class:`~qbnn.training.train.TrainOptions`. One seed serves
    all.

    >>> TrainSettings(network={"family": "real4"}).data
    'digits'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    data: str = "digits"
    limit: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0, lt=2**32)
    network: dict[str, Any] = {}
    training: dict[str, Any] = {}

    def flat(self) -> dict[str, Any]:
        """Return what was set, by name, without tables."""
        given = self.model_dump(exclude_unset=True, exclude_none=True)
        return {**given.pop("network", {}), **given.pop("training", {}), **given}


def plan(settings: TrainSettings, dataset: Dataset) -> tuple[Config, TrainOptions]:
    """Return the network and the training that settings mean for a set.

    Raises :class:`~anneal.errors.InputError` for unknown names, values out of range, and a set of
    one's own without an architecture.
    """
    suited, seed = SUITED.get(settings.data, {}), settings.seed or 0
    network, training = dict(settings.network), dict(settings.training)
    check_keys(network, Config.model_fields.keys() - {"in_shape", "seed"}, kind="setting")
    check_keys(training, TrainOptions.model_fields.keys() - {"seed"}, kind="setting")
    text = network.pop("architecture", suited.get("architecture"))
    if text is None:
        raise InputError(f"no architecture is known to suit '{settings.data}'; name one")
    # Measured: the drawn site of a window costs a propagating network 1 to 2 points.
    network.setdefault("pool", "sample" if network.get("mode") == "sample" else "mean")
    shape = {"architecture": stages_of(str(text)), "in_shape": dataset.in_shape}
    if "batch_size" in suited:
        training.setdefault("batch_size", suited["batch_size"])
    config = make_config({**network, **shape, "seed": seed})
    try:
        return config, TrainOptions(**training, seed=seed)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}: {first['msg'].lower()}") from None


def completed(settings: TrainSettings, config: Config, options: TrainOptions) -> TrainSettings:
    """Return the settings with every default in them."""
    network = config.model_dump(mode="json", exclude={"in_shape", "seed"})
    training = options.model_dump(exclude={"seed"}, exclude_none=True)
    return settings.model_copy(update={"network": network, "training": training})


def settle_run(
    given: TrainSettings, out: Path | None, *, resume: bool
) -> tuple[TrainSettings, Path]:
    """Return the settings of a run, with a seed, and its folder.

    Where the folder holds a run its settings count. Raises :class:`~anneal.errors.InputError` where
    that one is not to be resumed, or was given other settings.
    """
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    seeded = given.model_copy(update={"seed": seed})
    folder = out or default_folder(seeded)
    if not any((folder / name).exists() for name in (SETTINGS, BEST, STATE)):
        return seeded, folder
    if not resume:
        reason = "holds a run already; go on with it by --resume, or take another --out"
        raise InputError(reason, path=folder)
    stored = load_settings({}, TrainSettings, config=folder / SETTINGS)
    there = stored.flat()
    for name, value in given.flat().items():
        wanted = stages_of(value) if name == "architecture" else value
        if name not in OPEN and there.get(name) != wanted:
            reason = f"holds a run with {name} {there.get(name)}, not {wanted}; take another --out"
            raise InputError(reason, path=folder)
    later = {name: value for name, value in given.training.items() if name in OPEN}
    return stored.model_copy(update={"training": stored.training | later}), folder


def default_folder(settings: TrainSettings) -> Path:
    """Return where a run goes if nothing is said.

    >>> default_folder(TrainSettings(seed=1)).as_posix()
    'runs/digits-none-1'
    """
    words = (settings.data, settings.network.get("family", "none"), settings.seed)
    return Path("runs", re.sub(r"[^\w.-]+", "-", "-".join(map(str, words))))
