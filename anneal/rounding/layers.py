"""Rounding one layer: its moments, its grid, its problem, its bias."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anneal.rounding import get_rounder
from anneal.rounding.bounds import Posed, judge_rows
from anneal.rounding.formulation import (
    RIDGES,
    Formulation,
    InputMoments,
    output_error,
)
from anneal.rounding.graphs import Traced, bias_of
from anneal.rounding.grids import Floats, Grid, make_grid
from anneal.rounding.inputs import active_moments, moments, weight_rows
from anneal.rounding.planes import babai
from anneal.rounding.quantisers import Quantiser, quantise_inputs, range_of
from anneal.rounding.rows import LayerRows
from anneal.rounding.spheres import MAX_NODES
from anneal.rounding.steps import searched
from anneal.rounding.tracing import Layer

SEARCHED = "searched"
MOST_ACTIVE = 2**25  # of the matrices of all outputs of a layer: 256 MiB each


@dataclass(frozen=True)
class RoundingOptions:
    """How to round a network.

    ``method``: a name in ``ROUNDERS``, with its ``parameters``. ``ridge``: a share of the mean
    diagonal, or ``held-out``, what :func:`held_out_ridge` finds.
    ``corners``: the two levels around each weight alone. ``scale``: steps as
    :func:`~anneal.rounding.grids.make_grid` has them, or ``searched`` as
    :func:`~anneal.rounding.steps.searched`. ``activation_bits``: of each layer's
    input, one grid for all of it, over a range by ``minmax``, ``mse`` or ``percentile``.
    ``correct``: where the bias is no part of the problem (``centred``), let it make up for the mean
    of what rounding changes, before the next layer comes: b̂ = b + W E[x] − Ŵ E[x].
    ``activation_aware``: outputs count where the activation that follows passes them on, see
    :func:`~anneal.rounding.inputs.active_moments`; but of no more than ``MOST_ACTIVE`` numbers.
    ``bounds``: also say below which cost no rounding of a layer can be; what the method ``exact``
    has proved is proved again, from where it ended.
    """

    bits: int = 4
    method: str = "lns"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    centred: bool = True
    asymmetric: bool = True
    correct: bool = False
    ridge: float | Literal["held-out"] = "held-out"
    corners: bool = False
    symmetric: bool = True
    per_row: bool = True
    scale: str = "mse"
    activation_bits: int | None = None
    activation_range: str = "mse"
    activation_aware: bool = False
    bounds: bool = True
    seed: int = 0


class RoundedLayer(NamedTuple):
    """A layer's levels, grid and bias, the ridge that was taken, and what it was judged by.

    cost, nearest: E[(Ŵx + b̂ − Wf − b)²], without what nothing can change, summed over outputs; of
    the rounding and of the nearest levels with the bias that goes with them. up: share of weights
    at the upper of the two levels around them. posed: what the problem that was solved says.
    """

    levels: NDArray[np.int64]
    grid: Grid
    bias: Floats
    ridge: float
    cost: float
    nearest: float
    up: float
    seconds: float
    quantiser: Quantiser | None = None
    posed: Posed | None = None


def round_layer(
    layer: Layer,
    inputs: Sequence[Tensor],
    floats: Sequence[Tensor],
    options: RoundingOptions,
    *,
    given: tuple[float, float] | None,
    ends: tuple[float, float] | None,
    rng: np.random.Generator,
    num_threads: int,
) -> RoundedLayer:
    """Return a layer rounded for its inputs, which have a given range or one to be measured.

    ``ends``: between which the activation that follows passes its outputs on; None for all.
    """
    started = time.perf_counter()
    quantiser = None
    if options.activation_bits is not None:
        span = given or range_of(inputs, options.activation_bits, options.activation_range)
        quantiser = Quantiser.over(*span, options.activation_bits)
        inputs = [quantiser(batch) for batch in inputs]
    aware = ends if options.activation_aware and _fits(layer) else None
    halves = _moments(layer, inputs, floats, aware)
    total = halves[0] + halves[1]
    weights = weight_rows(layer)
    grid = layer_grid(weights, options, total=total, num_threads=num_threads)
    bias = bias_of(layer).detach().double().numpy()
    ridge = options.ridge
    if ridge == "held-out":
        ridge = held_out_ridge(weights, bias, grid, halves, options, rng=rng)
    formulation = Formulation(options.centred, options.asymmetric, float(ridge))
    rows = formulation.rows(weights, total, grid, corners=options.corners)
    if options.scale == SEARCHED:
        target, around = grid.weights(rows.target), weights if options.corners else None
        grid = searched(
            target,
            rows.hessian,
            grid,
            around=around,
            per_row=options.per_row,
            rng=rng,
            num_threads=num_threads,
        )
        rows = LayerRows.of(target, rows.hessian, grid, around=around)
    round_rows = get_rounder(options.method)
    levels = round_rows(rows, rng=rng, num_threads=num_threads, **options.parameters)
    new, plain = grid.weights(levels), grid.nearest(weights)
    if options.correct:
        formulation = replace(formulation, centred=True)
    new_bias = formulation.bias(weights, new, bias, total)
    plain_bias = formulation.bias(weights, plain, bias, total)
    cost = output_error(weights, new, bias, new_bias, total).sum()
    nearest = output_error(weights, plain, bias, plain_bias, total).sum()
    up = float(np.mean(levels > np.floor(grid.levels(weights))))
    seconds = time.perf_counter() - started
    beside = np.rint(grid.levels(plain)).astype(np.int64)
    posed = judge_rows(
        rows,
        levels,
        beside,
        bounds=options.bounds,
        max_nodes=_nodes_searched(options),
        num_threads=num_threads,
    )
    return RoundedLayer(
        levels, grid, new_bias, float(ridge), float(cost), float(nearest), up, seconds, quantiser,
        posed,
    )  # fmt: skip


def _nodes_searched(options: RoundingOptions) -> int | None:
    """Return how many nodes of each row the method itself may search, if it is ``exact``."""
    if options.method != "exact":
        return None
    return int(options.parameters.get("max_nodes", MAX_NODES))


def layer_grid(
    weights: Floats,
    options: RoundingOptions,
    *,
    total: InputMoments | None = None,
    num_threads: int = 1,
) -> Grid:
    """Return the grid of a layer; of searched steps the one that the search begins from.

    ``total``: the moments of its inputs, which the scale ``hessian`` wants.
    """
    importance = None
    if options.scale == "hessian":
        assert total is not None
        diagonal = np.einsum("gii->gi", total.second)
        importance = np.repeat(diagonal, len(weights) // len(diagonal), 0)
    return make_grid(
        weights,
        options.bits,
        symmetric=options.symmetric,
        per_row=options.per_row,
        method="mse" if options.scale == SEARCHED else options.scale,
        importance=importance,
        num_threads=num_threads,
    )


def quantise_layers(traced: Traced, layers: Mapping[str, RoundedLayer]) -> None:
    """Put the quantisers of rounded layers before them."""
    quantisers = {name: one.quantiser for name, one in layers.items() if one.quantiser}
    quantise_inputs(traced.module, quantisers)


def _fits(layer: Layer) -> bool:
    return layer.weight.numel() * layer.weight[0].numel() <= MOST_ACTIVE


def _moments(
    layer: Layer,
    inputs: Sequence[Tensor],
    floats: Sequence[Tensor],
    ends: tuple[float, float] | None,
) -> tuple[InputMoments, InputMoments]:
    """Return the moments over every second batch and over the others, or of one batch's halves."""
    if len(inputs) == 1:
        inputs, floats = inputs[0].tensor_split(2), floats[0].tensor_split(2)
    pairs = list(zip(inputs, floats, strict=True))

    def measure(x: Tensor, f: Tensor) -> InputMoments:
        return moments(layer, x, f) if ends is None else active_moments(layer, x, f, ends)

    one, other = (
        functools.reduce(operator.add, (measure(x, f) for x, f in half))
        for half in (pairs[::2], pairs[1::2])
    )
    return one, other


def held_out_ridge(
    weights: Floats,
    bias: Floats,
    grid: Grid,
    halves: tuple[InputMoments, InputMoments],
    options: RoundingOptions,
    *,
    rng: np.random.Generator,
) -> float:
    """Return the ridge that suits all images: half of the one that suits half of them.

    That is the one of ``RIDGES`` whose rounding for either half is best for the other. What it is
    to hold down, the error of a moment, falls with their number.
    """
    errors = []
    for ridge in RIDGES:
        formulation = Formulation(options.centred, options.asymmetric, ridge)
        error = 0.0
        for here, there in (halves, halves[::-1]):
            rows = formulation.rows(weights, here, grid, corners=options.corners)
            new = grid.weights(babai(rows, rng=rng))
            new_bias = formulation.bias(weights, new, bias, here)
            error += float(output_error(weights, new, bias, new_bias, there).sum())
        errors.append(error)
    return RIDGES[int(np.argmin(errors))] / 2
