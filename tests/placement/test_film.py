"""Films of placements, and the picture on their page that can be zoomed."""

from __future__ import annotations

import functools
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cli
from anneal.control import Control
from anneal.errors import InputError
from anneal.instances import bookshelf
from anneal.placement.film import MOST_OF_A_STAGE, Reel, Snapshot, film
from anneal.placement.grids import DEGREES, grid_netlist
from anneal.placement.netlist import Netlist, Placement, hpwl
from anneal.placement.pictures import placement_svg
from anneal.placement.place import place
from anneal.placement.refine import refine


@pytest.fixture
def circuit() -> tuple[Netlist, Placement]:
    return grid_netlist(columns=9, rows=8, degrees=DEGREES, utilisation=0.8, seed=1)


def frames(data: bytes) -> list[Image.Image]:
    image = Image.open(io.BytesIO(data))
    found = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        found.append(image.convert("RGB"))
    return found


@pytest.mark.parametrize("count", [1, 2, MOST_OF_A_STAGE, MOST_OF_A_STAGE + 1, 40, 999])
def test_a_reel_keeps_the_ends_and_even_steps(count: int) -> None:
    reel = Reel()
    for number in range(count):
        place = np.array([float(number)])
        reel("spread", Placement(place, place, np.zeros(1, np.int8)))
        place[:] = -1
    kept = [int(one.placement.x[0]) for one in reel.snapshots()]
    assert kept[0] == 0 and kept[-1] == count - 1
    assert min(count, MOST_OF_A_STAGE // 2) <= len(kept) <= MOST_OF_A_STAGE + 1
    assert len(set(np.diff(kept)[:-1].tolist())) <= 1


def test_a_placement_is_filmed_and_filming_changes_nothing(
    circuit: tuple[Netlist, Placement],
) -> None:
    netlist, _ = circuit
    reel = Reel()
    begin = functools.partial(place, netlist, moves_per_cell=20)
    filmed = begin(rng=np.random.default_rng(1), control=Control(), watch=reel)
    plain = begin(rng=np.random.default_rng(1), control=Control())
    assert hpwl(netlist, filmed) == hpwl(netlist, plain)
    shots = reel.snapshots()
    assert list(dict.fromkeys(one.stage for one in shots)) == ["spread", "on sites", "annealed"]
    assert 3 <= len(shots) <= 40
    spreads = [one.placement.x.std() for one in shots if one.stage == "spread"]
    assert spreads[-1] > spreads[0]


def test_a_film_has_a_frame_for_each_snapshot(circuit: tuple[Netlist, Placement]) -> None:
    netlist, best = circuit
    reel = Reel()
    refine(
        netlist, best, moves_per_cell=50, rng=np.random.default_rng(1), control=Control(),
        watch=reel,
    )  # fmt: skip
    mirrored = Placement(best.x.max() - best.x, best.y, best.orientation)
    shots = [Snapshot("before", mirrored), *reel.snapshots(), Snapshot("best", best)]
    made = frames(film(netlist, shots))
    # A frame that is the same as the one before it is shown longer instead.
    assert 3 <= len(made) <= len(shots)
    assert made[0].size == made[-1].size and made[0].size[0] == 640
    # Mirrored cells have mirrored colours; those that end on the left are bluer.
    first, last = (_red_by_side(made[number]) for number in (0, -1))
    assert last[0] < last[1] and first[0] > first[1]
    with pytest.raises(InputError, match="snapshot"):
        film(netlist, [])


def _red_by_side(frame: Image.Image) -> list[float]:
    """How red what is not white is, left and right of the middle of the cells."""
    red = np.asarray(frame, float)[60:-20, :, 0]
    drawn = np.flatnonzero((red < 250).sum(axis=0) > 40)
    middle = (drawn[1] + drawn[-2]) // 2
    return [float(half[half < 250].mean()) for half in (red[:, :middle], red[:, middle:])]


def test_fixed_cells_are_grey_and_cells_beyond_the_core_do_no_harm(
    circuit: tuple[Netlist, Placement],
) -> None:
    netlist, best = circuit
    netlist.movable[:] = False
    best.x[0] = -1e6
    image = np.asarray(frames(film(netlist, [Snapshot("best", best)]))[0])
    assert {tuple(colour) for colour in image[30:].reshape(-1, 3)} == {
        (255, 255, 255), (187, 187, 187), (50, 50, 50),
    }  # fmt: skip


def test_the_pages_picture_has_every_cell_where_it_is(
    circuit: tuple[Netlist, Placement],
) -> None:
    netlist, best = circuit
    netlist.movable[3] = False
    root = ElementTree.fromstring(placement_svg(netlist, best, nets=7))
    paths = root.findall("{*}g/{*}path")
    boxes = {
        (float(x), float(y))
        for path in paths
        for x, y in re.findall(r"M(\S+) (\S+?)h1v1h-1z", path.attrib["d"])
    }
    top = netlist.rows.core[3]
    assert boxes == {(x, top - y - 1) for x, y in zip(best.x, best.y, strict=True)}
    assert root.findall("{*}g")[1].find("{*}path").attrib["d"].count("M") == 1  # type: ignore[union-attr]
    _, low, wide, high = map(float, root.attrib["viewBox"].split())
    assert low < 0 and wide > 9 / 0.8 and high > 8


def test_a_large_page_stays_small() -> None:
    netlist, best = grid_netlist(columns=200, rows=200)
    assert len(placement_svg(netlist, best)) < 25 * netlist.num_cells


def test_commands_write_a_film_and_a_page_to_zoom(
    tmp_path: Path, circuit: tuple[Netlist, Placement]
) -> None:
    netlist, best = circuit
    bookshelf.write(tmp_path / "c.aux", netlist, best)
    for words in (["netlist"], ["refine"]):
        out = tmp_path / words[0]
        words += [str(tmp_path / "c.aux"), "--moves", "5", "--seed", "1", "--out", str(out)]
        result = CliRunner().invoke(cli.app, ["place", *words, "--film"])
        assert result.exit_code == 0 and "film.gif" in result.stdout
        assert len(frames((out / "film.gif").read_bytes())) > 1
        page = (out / "index.html").read_text()
        assert page.count("<svg") == 1 and '"wheel"' in page
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
