"""Legality against plain loops over all pairs, and netlists whose best placement is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.placement.grids import DEGREES, grid_netlist, known_wirelength, least_span
from anneal.placement.netlist import Netlist, Placement, hpwl, net_spans
from anneal.placement.verify import verify


def overlaps(netlist: Netlist, placement: Placement) -> set[tuple[int, int]]:
    """What `verify` should find, by looking at every pair."""
    found = set()
    x, y, w, h = placement.x, placement.y, netlist.width, netlist.height
    for i, j in itertools.combinations(range(len(x)), 2):
        if not (netlist.movable[i] or netlist.movable[j]):
            continue
        across = min(x[i] + w[i], x[j] + w[j]) - max(x[i], x[j])
        along = min(y[i] + h[i], y[j] + h[j]) - max(y[i], y[j])
        if across > 1e-6 and along > 1e-6:
            found.add((i, j))
    return found


def scattered(seed: int, *, aligned: bool) -> tuple[Netlist, Placement]:
    """Cells of many sizes anywhere, some of them fixed."""
    rng = np.random.default_rng(seed)
    netlist, best = grid_netlist(columns=5, rows=4, utilisation=0.5, seed=seed)
    count = len(netlist.names)
    netlist.width[:] = rng.integers(0, 4, count)
    netlist.height[:] = rng.choice([1.0, 1.0, 2.5], count)
    netlist.movable[:] = rng.random(count) < 0.8
    x, y = rng.uniform(-1, 9, count), rng.uniform(-1, 4, count)
    if aligned:
        x, y = np.round(x), np.round(y)
    return netlist, Placement(x, y, best.orientation)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_overlaps_are_those_of_every_pair(seed: int, aligned: bool) -> None:
    netlist, placement = scattered(seed, aligned=aligned)
    found = verify(netlist, placement).overlaps
    assert set(map(tuple, found.tolist())) == overlaps(netlist, placement)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_every_cell_is_judged_once(seed: int) -> None:
    netlist, placement = scattered(seed, aligned=bool(seed % 2))
    found = verify(netlist, placement)
    left, low = placement.x, placement.y
    for cell in np.flatnonzero(netlist.movable):
        right, top = left[cell] + netlist.width[cell], low[cell] + netlist.height[cell]
        out = left[cell] < 0 or low[cell] < 0 or right > 10 or top > 4
        assert out == (cell in found.outside)
        in_row = not out and netlist.height[cell] == 1 and low[cell] == round(low[cell])
        assert (not out and not in_row) == (cell in found.off_row)
        assert (in_row and left[cell] != round(left[cell])) == (cell in found.off_site)
    assert not set(found.moved) & set(np.flatnonzero(netlist.movable))


def test_places_that_are_not_finite_are_told() -> None:
    netlist, best = grid_netlist(columns=3, rows=2)
    best.x[1] = np.nan
    found = verify(netlist, best)
    assert found.nowhere.tolist() == [1] and not found.is_legal and not len(found.overlaps)


@pytest.mark.parametrize(("degrees", "cell_sites"), [(None, 1), (DEGREES, 1), (DEGREES, 3)])
def test_the_known_placement_is_legal_and_as_short_as_can_be(
    degrees: dict[int, float] | None, cell_sites: int
) -> None:
    netlist, best = grid_netlist(
        columns=20, rows=17, degrees=degrees, cell_sites=cell_sites, utilisation=0.9, seed=4
    )
    assert verify(netlist, best).is_aligned
    spans = net_spans(netlist, best)
    assert (spans <= known_wirelength(netlist)).all()
    assert hpwl(netlist, best) == spans.sum() > 0


@pytest.mark.parametrize("degree", range(2, 7))
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_no_net_can_be_shorter(degree: int, width: float) -> None:
    """All ways to put so many cells into a small grid of cells."""
    wide, high = least_span(degree, width)
    least = min(
        (max(c for c, _ in cells) - min(c for c, _ in cells)) * width
        + max(r for _, r in cells) - min(r for _, r in cells)
        for cells in itertools.combinations(itertools.product(range(3), range(6)), degree)
    )  # fmt: skip
    assert (wide - 1) * width + high - 1 == least


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": 0},
        {"utilisation": 1.5},
        {"degrees": {1: 1.0}},
        {"degrees": {}},
        {"cell_sites": 2},
        {"degrees": {900: 1.0}},
    ],
)
def test_no_grid(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        grid_netlist(**{"columns": 4, "rows": 3, **wrong})  # type: ignore[arg-type]
