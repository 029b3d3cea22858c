"""Placing: gradients by differences, the field by direct sums, and legal after every step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.kernels.wirelength import smooth_spans
from anneal.placement.analytic import Spread, place_globally
from anneal.placement.grids import DEGREES, grid_netlist
from anneal.placement.legalise import free_segments, legalise
from anneal.placement.netlist import Netlist, Placement, hpwl
from anneal.placement.place import place
from anneal.placement.refine import on_sites, refine
from anneal.placement.spreading import Boxes, Field, charge, fill, forces
from anneal.placement.verify import verify


def mixed(seed: int, *, blocks: int = 2, utilisation: float = 0.6) -> tuple[Netlist, Placement]:
    """Cells of several widths in rows that fixed blocks cut, scattered anywhere."""
    rng = np.random.default_rng(seed)
    netlist, best = grid_netlist(
        columns=10, rows=6, degrees=DEGREES, utilisation=utilisation / 2, seed=seed
    )
    count = len(netlist.names)
    width = rng.integers(1, 4, count).astype(float)
    height, movable = np.ones(count), np.ones(count, bool)
    fixed = rng.choice(count, blocks, replace=False)
    width[fixed], height[fixed], movable[fixed] = 3.0, 2.0, False
    x, y = rng.uniform(0, netlist.rows.right[0] - 3, count), rng.uniform(0, 5, count)
    x[fixed], y[fixed] = np.floor(x[fixed]) + 0.5, rng.integers(0, 4, blocks)
    given = Placement(x, y, best.orientation)
    sized = dataclasses.replace(netlist, width=width, height=height)
    return dataclasses.replace(sized, movable=movable, given=given), given


@given(st.integers(0, 10**6), st.floats(0.05, 20))
@settings(max_examples=20, deadline=None)
def test_smooth_wirelength_has_its_gradient(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    netlist, _ = grid_netlist(columns=4, rows=4, degrees={2: 0.5, 4: 0.5}, seed=seed)
    middle, offset = rng.normal(0, 5, 16), rng.normal(size=netlist.num_pins)
    weight = rng.uniform(0.5, 2, netlist.num_nets)

    def value(at: np.ndarray, gradient: np.ndarray) -> float:
        pins = netlist.start, netlist.cell, offset, at
        return float(smooth_spans(*pins, weight, gamma, gradient)[0])

    gradient = np.zeros(16)
    total = value(middle, gradient)
    at = (middle[netlist.cell] + offset, netlist.start[:-1])
    exact = float(weight @ (np.maximum.reduceat(*at) - np.minimum.reduceat(*at)))
    told = smooth_spans(netlist.start, netlist.cell, offset, middle, weight, gamma, np.zeros(16))
    assert told[1] == pytest.approx(exact)
    # The weighted average of a net is never wider than the net (Hsu et al. 2011, theorem 1).
    assert total <= exact + 1e-9
    steps = np.eye(16) * 1e-5
    numeric = [
        (value(middle + one, np.zeros(16)) - value(middle - one, np.zeros(16))) / 2e-5
        for one in steps
    ]
    assert np.allclose(gradient, numeric, rtol=1e-4, atol=1e-5)


def test_smooth_wirelength_becomes_exact_far_from_the_origin() -> None:
    netlist, best = grid_netlist(columns=5, rows=5, degrees=DEGREES | {}, seed=3)
    pins = netlist.start, netlist.cell, netlist.dx, best.x + 1e6
    smooth, _ = smooth_spans(*pins, netlist.weight, 1e-3, np.zeros(25))
    at = (best.x[netlist.cell], netlist.start[:-1])
    exact = np.sum(np.maximum.reduceat(*at) - np.minimum.reduceat(*at))
    assert smooth == pytest.approx(exact, rel=1e-6)


def test_the_field_is_the_sum_of_its_waves() -> None:
    shape = columns, rows = 8, 4
    density = np.random.default_rng(0).random(shape)
    energy, across, along = Field(shape).solve(density)
    x, y = 2 * np.arange(columns) + 1, 2 * np.arange(rows) + 1
    psi, to_right, upwards = np.zeros((3, *shape))
    for u in range(columns):
        for v in range(rows):
            if u == v == 0:
                continue
            a, b = np.pi * u / 2 / columns, np.pi * v / 2 / rows
            wave = np.outer(np.cos(a * x), np.cos(b * y))
            size = (density * wave).sum() * (1 + (u > 0)) * (1 + (v > 0)) / columns / rows
            size /= (2 * a) ** 2 + (2 * b) ** 2
            psi += size * wave
            to_right += size * 2 * a * np.outer(np.sin(a * x), np.cos(b * y))
            upwards += size * 2 * b * np.outer(np.cos(a * x), np.sin(b * y))
    assert np.allclose(across, to_right) and np.allclose(along, upwards)
    assert energy == pytest.approx((density * psi).sum() / 2)


def test_a_charge_is_pushed_to_where_there_is_less() -> None:
    density = np.zeros((16, 16))
    density[:5] = 1.0
    boxes = Boxes.of(np.ones(1), np.ones(1))
    x, y = np.array([5.0]), np.array([8.0])
    charge(x, y, boxes, density)
    assert density.sum() == pytest.approx(81)
    _, across, along = forces(x, y, boxes, Field((16, 16)), density)
    assert across[0] > 0 and abs(along[0]) < 1e-9
    assert fill(x, y, boxes, (16, 16)).sum() == pytest.approx(1)


@given(st.integers(0, 10**6), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_what_is_made_legal_is_legal(seed: int, blocks: int) -> None:
    netlist, scattered = mixed(seed, blocks=blocks)
    found = legalise(netlist, scattered)
    assert verify(netlist, found).is_aligned
    # What is legal already stays where it is.
    again = legalise(netlist, found)
    assert np.array_equal(again.x, found.x) and np.array_equal(again.y, found.y)


@given(st.integers(0, 10**6), st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_refining_keeps_what_is_legal_and_is_never_longer(seed: int, blocks: int) -> None:
    netlist, scattered = mixed(seed, blocks=blocks)
    legal, control = legalise(netlist, scattered), Control()
    rng = np.random.default_rng(seed)
    found = refine(netlist, legal, moves_per_cell=200, hot=0.5, rng=rng, control=control)
    assert verify(netlist, found).is_aligned
    assert hpwl(netlist, found) < hpwl(netlist, legal)
    assert control.best == pytest.approx(hpwl(netlist, found))


def test_refining_with_weights_offsets_and_centred_pins() -> None:
    netlist, scattered = mixed(5)
    rng = np.random.default_rng(0)
    netlist.dx[:], netlist.dy[:] = rng.normal(0, 0.4, (2, netlist.num_pins))
    netlist.weight[:] = rng.uniform(0, 3, netlist.num_nets)
    legal = legalise(netlist, scattered)
    for centred in (False, True):
        control = Control()
        found = refine(
            netlist, legal, moves_per_cell=100, centred=centred, rng=rng, control=control
        )
        told = hpwl(netlist, found, weighted=True, centred=centred)
        assert control.best == pytest.approx(told)
        assert told < hpwl(netlist, legal, weighted=True, centred=centred)


def test_sites_know_their_cells() -> None:
    netlist, scattered = mixed(7)
    legal = legalise(netlist, scattered)
    state = on_sites(netlist, legal)
    for cell in state.cells:
        segment = state.where[cell]
        assert state.segments.y[segment] == legal.y[cell]
        at = state.left[segment] + state.spot[cell] - state.base[segment]
        assert at == pytest.approx(legal.x[cell])
        inside = state.sites[state.spot[cell] : state.spot[cell] + state.width[cell]]
        assert (inside == cell).all()
    assert (state.sites >= 0).sum() == state.width[state.cells].sum()


@pytest.mark.parametrize("utilisation", [1.0, 0.7])
def test_a_placement_is_near_the_best(utilisation: float) -> None:
    netlist, best = grid_netlist(
        columns=16, rows=16, degrees=DEGREES, utilisation=utilisation, seed=2
    )
    found = place(netlist, rng=np.random.default_rng(3), control=Control())
    assert verify(netlist, found).is_aligned
    assert hpwl(netlist, best) <= hpwl(netlist, found) < 1.35 * hpwl(netlist, best)


def test_one_seed_is_one_placement() -> None:
    netlist, _ = grid_netlist(columns=8, rows=8, degrees={2: 1.0}, utilisation=0.8, seed=1)
    one, two, other = (
        place(netlist, moves_per_cell=50, rng=np.random.default_rng(seed), control=Control())
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.x, two.x) and not np.array_equal(one.x, other.x)


def test_interrupted_it_is_legal_and_the_best_so_far() -> None:
    netlist, _ = grid_netlist(columns=8, rows=8, degrees={2: 1.0}, utilisation=0.8, seed=1)
    control = Control()
    control.interrupt()
    found = place(netlist, rng=np.random.default_rng(1), control=control)
    assert verify(netlist, found).is_aligned and control.best == hpwl(netlist, found)


def test_what_cannot_be_placed_is_refused() -> None:
    netlist, best = grid_netlist(columns=4, rows=3, seed=1)
    wide = dataclasses.replace(netlist, width=netlist.width * 2)
    with pytest.raises(InfeasibleError, match="take 2 of the rows"):
        place(wide, rng=np.random.default_rng(0), control=Control())
    with pytest.raises(InfeasibleError, match="no room is left for cell"):
        legalise(wide, best)
    tall = dataclasses.replace(netlist, height=netlist.height * 2)
    with pytest.raises(InputError, match="higher than a row"):
        legalise(tall, best)
    blocked = dataclasses.replace(netlist, width=np.full(12, 9.0), movable=np.zeros(12, bool))
    blocked.given.y[:] = best.y
    with pytest.raises(InfeasibleError, match="fixed cells take all rows"):
        free_segments(blocked)
    rough = place_globally(
        netlist, Spread(max_steps=3), rng=np.random.default_rng(0), control=Control()
    )
    with pytest.raises(InputError, match="only a legal placement"):
        refine(netlist, rough, rng=np.random.default_rng(0), control=Control())
