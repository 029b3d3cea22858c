"""The cap on how full rows may be, and where cells begin."""

from __future__ import annotations

import numpy as np
import pytest

from anneal.control import Control
from anneal.errors import InfeasibleError, InputError
from anneal.placement.density import narrowed, widened
from anneal.placement.grids import DEGREES, grid_netlist
from anneal.placement.netlist import Netlist
from anneal.placement.pictures import density_map, fullest
from anneal.placement.place import place
from anneal.placement.quadratic import quadratic_start
from anneal.placement.verify import verify


def netlist_of(utilisation: float, cell_sites: int = 4) -> Netlist:
    return grid_netlist(
        columns=24, rows=24, degrees=DEGREES, utilisation=utilisation, cell_sites=cell_sites, seed=2
    )[0]


def test_a_density_is_kept_everywhere() -> None:
    netlist = netlist_of(0.5)
    found = place(
        netlist, density=0.6, moves_per_cell=50, rng=np.random.default_rng(1), control=Control()
    )
    assert verify(netlist, found).is_aligned
    packed = place(netlist, moves_per_cell=50, rng=np.random.default_rng(1), control=Control())
    assert verify(netlist, packed).is_aligned
    assert fullest(netlist, found) < 0.8 < 0.95 < fullest(netlist, packed)
    bins = density_map(netlist, found)
    assert bins.reshape(4, bins.shape[0] // 4, 4, -1).mean(axis=(1, 3)).max() < 0.63


def test_cells_become_wider_by_their_share_and_narrow_again() -> None:
    netlist = netlist_of(0.5)
    wide = widened(netlist, 0.8, np.random.default_rng(1))
    assert wide.cell_area == pytest.approx(netlist.cell_area / 0.8, rel=1e-3)
    assert (wide.width >= netlist.width).all()
    back = narrowed(netlist, wide, netlist.given)
    spare = back.x - netlist.given.x
    assert (spare >= 0).all() and (spare + netlist.width <= wide.width).all()


def test_full_rows_leave_what_room_there_is() -> None:
    wide = widened(netlist_of(0.9), 0.5, np.random.default_rng(1))
    assert 0.95 < wide.cell_area / wide.rows.area <= 0.98 + 1e-9
    full = netlist_of(1.0)
    assert widened(full, 0.7, np.random.default_rng(1)) is full


@pytest.mark.parametrize("density", [0.0, -1.0, 1.5, np.nan])
def test_a_density_is_a_share(density: float) -> None:
    with pytest.raises(InputError, match="density"):
        widened(netlist_of(0.5), density, np.random.default_rng(1))


def test_too_many_cells_are_told() -> None:
    netlist = netlist_of(0.9)
    wider = widened(netlist, 0.99, np.random.default_rng(1))
    over = type(netlist)(**{**vars(netlist), "width": wider.width * 2})
    with pytest.raises(InfeasibleError, match="take"):
        widened(over, 0.9, np.random.default_rng(1))


def test_springs_pull_between_what_is_fixed() -> None:
    """Two pads and a chain between them: cells lie at even distances."""
    netlist, _ = grid_netlist(columns=5, rows=1, seed=1)
    pins = np.array([0, 1, 1, 2, 2, 3, 3, 4])
    fixed = np.array([True, False, False, False, True])
    chain = type(netlist)(
        **{
            **vars(netlist),
            "movable": ~fixed,
            "net_names": list("abcd"),
            "start": np.arange(0, 9, 2),
            "cell": pins,
            "dx": np.zeros(8),
            "dy": np.zeros(8),
            "weight": np.ones(4),
        }
    )
    middles = np.array([[0.0, 9, 9, 9, 8], [1.0, 9, 9, 9, 5]])
    found = quadratic_start(chain, middles, np.array([0.0, 0.0]))
    assert np.allclose(found, [[2, 4, 6], [2, 3, 4]], atol=1e-3)
