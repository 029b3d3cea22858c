"""The rows of the comparison of deformed networks: every deformation, and what it has to beat.

The architectures are those of Bondesan & Welling 2020 (arXiv:2010.11189); the controls are the
ones without which an advantage of a deformation says nothing about the deformation.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnn.config import FREE, SIGN, Config
from qbnn.models import Network, Placed, count_parameters, place_stages

FLOAT = "float"


class Plan(NamedTuple):
    """An architecture, and how much of the comparison is run on it if nothing is said."""

    stages: str
    description: str
    epochs: int
    num_seeds: int
    rows: tuple[str, ...]


class Row(NamedTuple):
    """One row of the comparison: a network for every architecture.

    ``matched``: as many parameters as :data:`DEFORMED`. ``learning_rate``: one of its own.
    """

    description: str
    family: str
    share: Literal["connection", "layer"] = "connection"
    trainable: bool = True
    init_std: float = 0.1
    matched: bool = False
    learning_rate: float | None = None


# The row that is held against the controls, and the two that it must beat.
DEFORMED, SAME_WIDTH, MATCHED = "real4", "none", "none-matched"
ROWS = {
    SAME_WIDTH: Row("PBNet, the undeformed network of the same width", "none"),
    MATCHED: Row("PBNet, wider: as many parameters as real4", "none", matched=True),
    "h-local": Row("a rotation of the activation for each connection", "h-local"),
    "entangling": Row("the two entangling rotations for each connection", "entangling"),
    DEFORMED: Row("every real gate, one for each connection", "real4"),
    "real4-layer": Row("every real gate, one for each layer", "real4", share="layer"),
    "su4": Row("every complex gate, one for each connection", "su4"),
    # A normal angle of this spread is uniform on the circle within one percent.
    "real4-frozen": Row(
        "a random real gate for each connection, not trained",
        "real4",
        trainable=False,
        init_std=math.pi,
    ),
    "free": Row("classical control: any α, β and γ for each connection", FREE),
    SIGN: Row("bottom rung: classical bits, trained by a pseudo-gradient", SIGN),
    FLOAT: Row("for orientation: the same layers of floats, with ReLU", FLOAT, learning_rate=0.01),
}
ARCHITECTURES = {
    "A": Plan("SM10", "one dense layer of 10", 12, 5, tuple(ROWS)),
    "B": Plan(
        "8C3S2P0-16C3S2P0-SM10",
        "convolutions 3×3 of stride 2 with 8 and 16 channels, dense 10",
        10,
        5,
        tuple(ROWS),
    ),
    "C": Plan(
        "32C3S2P0-64C3S2P0-SM10",
        "convolutions 3×3 of stride 2 with 32 and 64 channels, dense 10",
        10,
        3,
        (SAME_WIDTH, MATCHED, DEFORMED, "real4-layer"),
    ),
}


def row_config(
    row: Row, architecture: str, *, in_shape: tuple[int, int, int], seed: int = 0
) -> Config:
    """Return the network of a row for an architecture's stages.

    >>> row_config(ROWS["none-matched"], "SM10", in_shape=(1, 28, 28)).architecture
    '49FC-SM10'
    """
    config = Config(
        architecture=architecture,
        in_shape=in_shape,
        family=row.family,
        share=row.share,
        trainable=row.trainable,
        init_std=row.init_std,
        seed=seed,
    )
    if not row.matched:
        return config
    deformed = row_config(ROWS[DEFORMED], architecture, in_shape=in_shape)
    return matched_config(config, count_parameters(Network(deformed)))


def matched_config(config: Config, num_parameters: int) -> Config:
    """Return the config with its hidden layers widened to about so many parameters.

    All hidden layers are scaled by one factor; a network without one gets a dense one. The last
    step of the widest layer decides how near the number is.

    >>> found = matched_config(Config(architecture="SM10", in_shape=(1, 8, 8)), 3220)
    >>> found.architecture, count_parameters(Network(found))
    ('42FC-SM10', 3212)
    """

    def of_width(widest: int) -> Config:
        stages = widened(config.architecture, widest)
        return config.model_copy(update={"architecture": stages})

    def size(widest: int) -> int:
        return count_parameters(Network(of_width(widest)))

    below, above = 0, 1
    while size(above) < num_parameters:
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if size(middle) < num_parameters else (below, middle)
    near = [width for width in (below, above) if width > 0]
    return of_width(min(near, key=lambda width: abs(size(width) - num_parameters)))


def widened(architecture: str, widest: int) -> str:
    """Return the stages with their hidden widths scaled so that the greatest is ``widest``.

    >>> widened("8C3S2P0-16C3S2P0-SM10", 24), widened("SM10", 5)
    ('12C3S2P0-24C3S2P0-SM10', '5FC-SM10')
    """
    *hidden, head = architecture.split("-")
    if not hidden:
        return f"{widest}FC-{head}"
    # A stage is a width and a rest like C3S2P0; pools, MP2, have no width.
    rests = [word.lstrip("0123456789") for word in hidden]
    widths = [int(word[: -len(rest)] or 0) for word, rest in zip(hidden, rests, strict=True)]
    scaled = [max(round(width * widest / max(widths)), 1) if width else "" for width in widths]
    return "-".join([*(f"{w}{rest}" for w, rest in zip(scaled, rests, strict=True)), head])


def make_network(config: Config) -> nn.Module:
    """Return the network of a config, which may be one of floats."""
    return FloatNetwork(config) if config.family == FLOAT else Network(config)


class FloatBlock(nn.Module):
    """A layer of floats with its normalisation, and where it stands."""

    def __init__(self, placed: Placed, *, generator: torch.Generator) -> None:
        super().__init__()
        stage, shape = placed
        self.placed = placed
        if stage.kernel:
            sizes = {"stride": stage.stride, "padding": stage.padding, "bias": False}
            self.layer: nn.Module = nn.utils.skip_init(
                nn.Conv2d, shape[0], stage.width, stage.kernel, **sizes
            )
            self.norm: nn.Module = nn.BatchNorm2d(stage.width)
        else:
            self.layer = nn.utils.skip_init(nn.Linear, math.prod(shape), stage.width, bias=False)
            self.norm = nn.BatchNorm1d(stage.width)
        for weight in self.layer.parameters():
            nn.init.kaiming_normal_(weight, generator=generator)

    def forward(self, values: Tensor) -> Tensor:
        """Return the normalised values of the layer."""
        values = values if self.placed.stage.kernel else values.flatten(1)
        found: Tensor = self.norm(self.layer(values))
        return found


class FloatNetwork(nn.Module):
    """The stages of a config with float weights and ReLU, to be trained like a ``Network``.

    >>> config = Config(architecture="4C3-MP2-SM10", in_shape=(1, 8, 8), family="float")
    >>> FloatNetwork(config)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        self.blocks = nn.ModuleList(
            FloatBlock(placed, generator=generator) for placed in place_stages(config)
        )

    def reseed(self, seed: int) -> None:
        """Nothing is drawn."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        values = images
        *hidden, head = self.blocks
        for block in hidden:
            assert isinstance(block, FloatBlock)
            values = F.relu(block(values))
            pool = block.placed.stage.pool
            values = F.max_pool2d(values, pool) if pool > 1 else values
        found: Tensor = head(values)
        return found

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy."""
        return F.cross_entropy(self(images), labels)
