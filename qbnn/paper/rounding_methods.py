"""The methods of rounding that are compared, the widths, and the networks that are rounded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anneal.errors import InputError
from anneal.files import Pathlike
from anneal.rounding.bias import input_ranges
from anneal.rounding.formulation import RIDGE
from anneal.rounding.graphs import Traced, trace
from anneal.rounding.images import read_images, split
from anneal.rounding.layers import RoundingOptions
from anneal.rounding.runs import prepare, round_prepared
from anneal.rounding.sequential import Progress
from anneal.rounding.sources import load_network
from qbnn.data import load
from qbnn.paper.networks import ROWS, make_network, row_config
from qbnn.training.train import TrainOptions, train

# Bits of weights and of activations.
WIDTHS: Mapping[str, tuple[int, int | None]] = {
    "W4": (4, None),
    "W3": (3, None),
    "W4A8": (4, 8),
    "W8A8": (8, 8),
}
IMAGENET, PHOTOGRAPHS = "efficientnet-lite0", "photographs"
ARCHITECTURE, EPOCHS, LEARNING_RATE = "16C3-MP2-32C3-MP2-64FC-SM10", 3, 0.01
TRAINED = ("digits", "mnist", "fashion-mnist")
NETWORKS = (IMAGENET, "mnist", "fashion-mnist")
# What the bias costs is not in the quadratic, and outputs to keep up with are the layer's own.
PLAIN: Mapping[str, Any] = {"centred": False, "asymmetric": False}


@dataclass(frozen=True)
class Method:
    """A way to round a network.

    ``blind``: without images, biases are corrected by statistics. ``equalised``: and high biases
    absorbed, before it.
    ``peer``: what :func:`qbnn.paper.rounding_peers.brevitas_rounded` is told, for a peer's.
    """

    description: str
    options: Mapping[str, Any] = field(default_factory=dict)
    blind: bool = False
    equalised: bool = False
    peer: Mapping[str, bool] | None = None

    def spec(self) -> dict[str, Any]:
        """Return what decides the method, for a row's task."""
        if self.peer is not None:
            return {"brevitas": dict(self.peer)}
        return {"options": dict(self.options), "blind": self.blind, "equalised": self.equalised}


METHODS: Mapping[str, Method] = {
    "nearest": Method("every weight to the nearest level", {"method": "nearest", **PLAIN}),
    "stochastic": Method(
        "up with the probability of the fraction (Gupta et al. 2015)",
        {"method": "stochastic", **PLAIN},
    ),
    "nearest+bias": Method(
        "nearest, each bias corrected before the next layer comes",
        {"method": "nearest", **PLAIN, "correct": True},
    ),
    "nearest+bias-minmax": Method(
        "the same with steps over all of a row's range",
        {"method": "nearest", **PLAIN, "correct": True, "scale": "minmax"},
    ),
    "no-images": Method(
        "nearest, biases corrected and ranges chosen by what the normalisations tell",
        {"method": "nearest", **PLAIN},
        blind=True,
    ),
    "dfq": Method(
        "the same, layers equalised and high biases absorbed, and as published one step a layer",
        {"method": "nearest", **PLAIN, "per_row": False},
        blind=True,
        equalised=True,
    ),
    "adaround": Method(
        "AdaRound's relaxation between the two levels around each weight, 10,000 steps, asymmetric",
        {"method": "relax", "centred": False, "corners": True},
    ),
    "gptq+bias": Method(
        "GPTQ with act-order and 1 % damping, each bias corrected before the next layer",
        {"method": "gptq", **PLAIN, "correct": True},
    ),
    "gptq+bias-minmax": Method(
        "the same with steps over all of a row's range",
        {"method": "gptq", **PLAIN, "correct": True, "scale": "minmax"},
    ),
    "gptq-asymmetric": Method(
        "GPTQ's recursion on the covariance, with the asymmetric target", {"method": "gptq"}
    ),
    "lns": Method("neighbourhood search, covariance, asymmetric target", {"method": "lns"}),
    "lns-steps": Method(
        "the same, and each output's step is the one of nine by which it is rounded best",
        {"method": "lns", "scale": "searched"},
    ),
    "lns-held-out": Method(
        "lns with each layer's ridge chosen on the other half of the images",
        {"method": "lns", "ridge": "held-out"},
    ),
    "lns-steps-held-out": Method(
        "lns with searched steps and such a ridge",
        {"method": "lns", "scale": "searched", "ridge": "held-out"},
    ),
    "gptq-steps-held-out": Method(
        "the same with GPTQ's recursion alone",
        {"method": "gptq", "scale": "searched", "ridge": "held-out"},
    ),
    "relax+lns": Method("lns from a relaxation of 1,000 steps", {"method": "relax+lns"}),
    "brevitas-nearest": Method(
        "brevitas: nearest, biases corrected", peer={"gptq": False, "correct_bias": True}
    ),
    "brevitas-equalised": Method(
        "brevitas: equalised, nearest, biases corrected",
        peer={"gptq": False, "equalise": True, "correct_bias": True},
    ),
    "brevitas-gptq": Method(
        "brevitas: GPTQ with act-order, biases corrected",
        peer={"gptq": True, "correct_bias": True},
    ),
}


class Case(NamedTuple):
    """A network to round with its images: to calibrate with, and to judge by.

    span: the least and the greatest number that a pixel becomes.
    """

    network: nn.Module
    traced: Traced
    calibration: Tensor
    images: Tensor
    labels: Tensor
    span: tuple[float, float]


def load_case(
    name: str,
    *,
    data_dir: Pathlike | None = None,
    num_calibration: int,
    limit: int | None = None,
    size: int = 160,
    seed: int = 1,
) -> Case:
    """Return a network of ``NETWORKS`` with its images, ``limit`` of them to judge by.

    Of photographs ``num_calibration`` are drawn by ``seed``; the small networks are trained here,
    with that seed, and calibrated with images that they were trained on. Raises
    :class:`~anneal.errors.InputError` for unknown names and missing data.
    """
    if name == IMAGENET:
        source = load_network(name)
        preprocessing = source.preprocessing._replace(size=size)
        images = read_images(photographs(data_dir), preprocessing, labels="names")
        calibration, rest = split(images, num_calibration, seed=seed)
        assert rest.labels is not None
        parts = calibration.pixels, rest.pixels[:limit], rest.labels[:limit]
        network, span = source.network, preprocessing.span()
    else:
        if name not in TRAINED:
            raise InputError(f"unknown network '{name}'; known: {', '.join((IMAGENET, *TRAINED))}")
        dataset = load(name, data_dir=data_dir)
        config = row_config(ROWS["float"], ARCHITECTURE, in_shape=dataset.in_shape, seed=seed)
        network, span = make_network(config), (0.0, 1.0)
        told = {"epochs": EPOCHS, "learning_rate": LEARNING_RATE, "seed": seed}
        options = TrainOptions.model_validate(told)
        train(network, dataset, options)  # type: ignore[arg-type]
        pixels, _ = dataset.train.batch(torch.arange(min(num_calibration, len(dataset.train))))
        parts = pixels, *dataset.test.batch(torch.arange(len(dataset.test))[:limit])
    network.eval()
    return Case(network, trace(network, parts[0][:1]), *parts, span)


def networks_at_hand(data_dir: Pathlike | None) -> Sequence[str]:
    """Return ``NETWORKS``, or the one of the digits alone where there are no photographs."""
    try:
        photographs(data_dir)
    except InputError:
        return ("digits",)
    return NETWORKS


def photographs(data_dir: Pathlike | None) -> Path:
    """Return the folder of photographs; raise :class:`~anneal.errors.InputError` without one."""
    base = data_dir or os.environ.get("QBNN_DATA")
    folder = Path(base or ".") / PHOTOGRAPHS
    if base is None or not folder.is_dir():
        raise InputError(f"no folder '{PHOTOGRAPHS}' of images; name what holds it by QBNN_DATA")
    return folder


def rounded(
    case: Case,
    method: Method,
    bits: int,
    activation_bits: int | None,
    *,
    seed: int,
    num_threads: int = 1,
    progress: Progress = lambda fraction, remark: None,
) -> nn.Module:
    """Return the network of a case, rounded by a method."""
    if method.peer is not None:
        from qbnn.paper.rounding_peers import brevitas_rounded

        asked = {"equalise": False, **method.peer}
        return brevitas_rounded(
            case.network,
            case.calibration,
            bits=bits,
            activation_bits=activation_bits,
            seed=seed,
            **asked,
        )
    options = RoundingOptions(bits, activation_bits=activation_bits, ridge=RIDGE, seed=seed)
    options = replace(options, bounds=False, **method.options)
    traced = prepare(case.traced, equalised=method.equalised, absorbed=method.equalised)
    told = method.blind and activation_bits is not None
    return round_prepared(
        traced,
        None if method.blind else case.calibration,
        options,
        correction="analytic" if method.blind else "none",
        ranges=input_ranges(traced, image=case.span) if told else {},
        num_threads=num_threads,
        progress=progress,
    ).traced.module
