"""Rounding a network without images: weights alone, and ranges that its statistics tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from anneal.errors import InputError
from anneal.rounding import get_rounder
from anneal.rounding.bounds import judge_rows
from anneal.rounding.graphs import Traced, bias_of
from anneal.rounding.inputs import weight_rows
from anneal.rounding.layers import (
    SEARCHED,
    RoundedLayer,
    RoundingOptions,
    layer_grid,
    quantise_layers,
)
from anneal.rounding.quantisers import Quantiser
from anneal.rounding.rows import LayerRows
from anneal.rounding.sequential import Progress, RoundedNetwork, install
from anneal.rounding.tracing import Layer

METHODS = ("nearest", "stochastic")  # those that do not look at the Hessian


def check_blind(options: RoundingOptions) -> None:
    """Raise :class:`~anneal.errors.InputError` for options that need images."""
    if options.method not in METHODS:
        known = " or ".join(METHODS)
        raise InputError(f"without images the method is {known}; '{options.method}' needs some")
    if options.centred or options.asymmetric or options.correct:
        raise InputError("the best bias, and outputs to keep up with, are not known without images")
    if options.scale in ("hessian", SEARCHED):
        raise InputError("without images nothing is known of the Hessian to scale by")


def round_blind(
    traced: Traced,
    options: RoundingOptions,
    *,
    ranges: Mapping[str, tuple[float, float]],
    keep: Callable[[str, RoundedLayer], None] = lambda name, layer: None,
    progress: Progress = lambda fraction, remark: None,
) -> RoundedNetwork:
    """Return a copy of a network whose layers are rounded without inputs; biases stay.

    ``ranges``: of the inputs of layers, for activations of ``activation_bits``. The costs are those
    of inputs that are independent and have variance 1. Raises
    :class:`~anneal.errors.InputError` as :func:`check_blind`, and for a layer without a range.

    >>> from torch import nn, zeros
    >>> from anneal.rounding.graphs import trace
    >>> plain = RoundingOptions(method="nearest", centred=False, asymmetric=False)
    >>> found = round_blind(trace(nn.Linear(9, 2), zeros(1, 9)), plain, ranges={})
    >>> [layer.levels.shape for layer in found.layers.values()]
    [(2, 9)]
    """
    check_blind(options)
    rounded, layers = traced.copy(), {}
    for index, name in enumerate(traced.layers):
        progress(index / len(traced.layers), name)
        quantiser = None
        if options.activation_bits is not None:
            if name not in ranges:
                raise InputError(
                    f"layer '{name}': the range of its inputs is not known without images"
                )
            quantiser = Quantiser.over(*ranges[name], options.activation_bits)
        rng = np.random.default_rng([options.seed, index])
        layers[name] = _round(rounded.layer(name), quantiser, options, rng=rng)
        install(rounded.layer(name), layers[name])
        keep(name, layers[name])
    quantise_layers(rounded, layers)
    return RoundedNetwork(rounded, layers)


def _round(
    layer: Layer,
    quantiser: Quantiser | None,
    options: RoundingOptions,
    *,
    rng: np.random.Generator,
) -> RoundedLayer:
    """Return a layer rounded for the least change of its weights."""
    started = time.perf_counter()
    weights, bias = weight_rows(layer), bias_of(layer).detach().double().numpy()
    grid = layer_grid(weights, options)
    around = weights if options.corners else None
    rows = LayerRows.of(weights, np.eye(weights.shape[1])[None], grid, around=around)
    levels = get_rounder(options.method)(rows, rng=rng)
    posed = judge_rows(rows, levels, rows.nearest(), bounds=options.bounds)
    return RoundedLayer(
        levels=levels,
        grid=grid,
        bias=bias.copy(),
        ridge=0.0,
        cost=posed.cost,
        nearest=posed.nearest,
        up=float(np.mean(levels > np.floor(rows.target))),
        seconds=time.perf_counter() - started,
        quantiser=quantiser,
        posed=posed,
    )
