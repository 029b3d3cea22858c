"""Bookshelf files: what is written is read again, real files, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from anneal.errors import InputError
from anneal.instances import bookshelf
from anneal.placement.grids import DEGREES, grid_netlist
from anneal.placement.netlist import Netlist, Placement, hpwl
from anneal.placement.verify import verify

FILES = {
    "a.aux": "RowBasedPlacement : a.nodes a.nets a.wts a.pl a.scl\n",
    "a.nodes": "UCLA nodes 1.0\n# two cells and a pad\nNumNodes : 3\nNumTerminals : 1\n"
    "one 4 10\ntwo 2 10\npad 0 0 terminal\n",
    "a.nets": "UCLA nets 1.0\nNumNets : 2\nNumPins : 5\nNetDegree : 3 n\n one I : -1 2.5e0\n"
    " two O : 0 0\n pad B\nNetDegree : 2\n one\n two : 1 -3\n",
    "a.wts": "UCLA wts 1.0\nn 2\none 7\n",
    "a.pl": "UCLA pl 1.0\none 0 0 : N\ntwo 4 0 : FS\npad 20 -5\n",
    "a.scl": "UCLA scl 1.0\nNumRows : 1\nCoreRow Horizontal\n Coordinate : 0\n Height : 10\n"
    " Sitewidth : 2\n Sitespacing : 2\n Siteorient : N\n SubrowOrigin : 0 NumSites : 6\nEnd\n",
}


def written(folder: Path, **changes: str) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(changes.get(name.replace("a.", ""), text))
    return folder / "a.aux"


def test_a_small_circuit(tmp_path: Path) -> None:
    netlist = bookshelf.read(written(tmp_path))
    assert (netlist.num_cells, netlist.num_nets, netlist.num_pins) == (2, 2, 5)
    assert netlist.movable.tolist() == [True, True, False]
    assert netlist.weight.tolist() == [2, 1] and netlist.net_names[1] == "net1"
    # Pins of n: (1, 7.5), (5, 5), (20, -5); of the other net (2, 5) and, upside down, (6, 8).
    assert hpwl(netlist, netlist.given) == 19 + 12.5 + 4 + 3
    assert hpwl(netlist, netlist.given, weighted=True) == 2 * 31.5 + 7
    assert hpwl(netlist, netlist.given, centred=True) == 18 + 10 + 3 + 0
    assert hpwl(netlist, netlist.given, max_degree=2) == 7
    assert verify(netlist, netlist.given).is_aligned


def same(one: Netlist, two: Netlist) -> None:
    for name in ("width", "height", "movable", "blocks", "start", "cell", "dx", "dy", "weight"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert list(one.names) == list(two.names) and list(one.net_names) == list(two.net_names)
    for name in ("x", "y", "height", "site", "num_sites"):
        assert np.array_equal(getattr(one.rows, name), getattr(two.rows, name)), name


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_is_read_again(tmp_path: Path, seed: int) -> None:
    netlist, best = grid_netlist(columns=9, rows=7, degrees=DEGREES, utilisation=0.8, seed=seed)
    bookshelf.write(tmp_path / "b.aux", netlist, best)
    again = bookshelf.read(tmp_path / "b.aux")
    same(netlist, again)
    assert np.array_equal(again.given.x, best.x) and np.array_equal(again.given.y, best.y)
    small = bookshelf.read(written(tmp_path))
    bookshelf.write(tmp_path / "c.aux", small)
    same(small, bookshelf.read(tmp_path / "c.aux"))


def test_a_placement_of_some_cells(tmp_path: Path) -> None:
    netlist = bookshelf.read(written(tmp_path))
    (tmp_path / "b.pl.gz").write_bytes(b"two 6 0 : FN /FIXED\n")
    found = bookshelf.read_placement(tmp_path / "b.pl.gz", netlist)
    assert found.x.tolist() == [0, 6, 20] and found.orientation.tolist() == [0, 2, 0]
    assert netlist.given.x.tolist() == [0, 4, 20]


def test_fixed_cells_do_not_move(tmp_path: Path) -> None:
    text = FILES["a.pl"].replace("two 4 0 : FS", "two 4 0 : FS /FIXED")
    netlist = bookshelf.read(written(tmp_path, pl=text))
    assert netlist.movable.tolist() == [True, False, False]
    moved = Placement(netlist.given.x + 2, netlist.given.y, netlist.given.orientation)
    assert verify(netlist, moved).moved.tolist() == [1, 2]


REFUSED = [
    ("aux", "RowBasedPlacement : a.nodes a.nets a.pl", "a.aux: names no .scl file"),
    ("nodes", FILES["a.nodes"].replace("two 2", "one 2"), "a.nodes:6: cell one is there twice"),
    ("nodes", FILES["a.nodes"].replace("two 2", "two -2"), "a.nodes:6: cell two has a negative"),
    ("nodes", FILES["a.nodes"].replace("two 2", "two nan"), "a.nodes:6: width is not finite"),
    ("nodes", FILES["a.nodes"].replace("two 2 10", "two 2"), "a.nodes:6: expected: name width"),
    ("nodes", FILES["a.nodes"].replace("s : 3", "s : 4"), "a.nodes:3: NumNodes is 4, but there"),
    ("nodes", "UCLA nodes 1.0\n", "a.nodes: holds no cells"),
    ("nets", FILES["a.nets"].replace(" two O", " tow O"), "a.nets:6: net n names the unknown cell"),
    (
        "nets",
        FILES["a.nets"].replace(" pad B\n", ""),
        "a.nets:4: NetDegree is 3, but the net has 2",
    ),
    (
        "nets",
        FILES["a.nets"].replace(": 2\n one\n two : 1 -3\n", ": 2\n one\n"),
        "a.nets:8: NetDeg",
    ),
    ("nets", FILES["a.nets"].replace("Pins : 5", "Pins : 6"), "a.nets:3: NumPins is 6, but there"),
    ("nets", FILES["a.nets"].replace("2.5e0", "wide"), "a.nets:5: offset is not a number: 'wide'"),
    ("nets", "one I : 0 0\n", "a.nets:1: a pin before any NetDegree"),
    ("pl", FILES["a.pl"].replace("two", "ten"), "a.pl:3: cell 'ten' is unknown"),
    ("pl", FILES["a.pl"].replace("FS", "SF"), "a.pl:3: 'SF' is no orientation"),
    ("pl", FILES["a.pl"].replace("4 0", "inf 0"), "a.pl:3: x is not finite"),
    ("pl", FILES["a.pl"] + "one 1 1\n", "a.pl:5: cell one is there twice"),
    ("scl", FILES["a.scl"].replace("End\n", ""), "a.scl:3: the last row has no End"),
    ("scl", FILES["a.scl"].replace("Rows : 1", "Rows : 2"), "a.scl: NumRows is 2, but there are 1"),
    (
        "scl",
        FILES["a.scl"].replace("NumSites : 6", "NumSites : 0"),
        "a.scl:9: a row wants a height",
    ),
    ("scl", "UCLA scl 1.0\n", "a.scl: holds no rows"),
    ("wts", FILES["a.wts"].replace("n 2", "n inf"), "a.wts:2: weight is not finite"),
]


@pytest.mark.parametrize(("file", "text", "reason"), REFUSED, ids=[each[2] for each in REFUSED])
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, file: str, text: str, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        bookshelf.read(written(tmp_path, **{file: text}))
    assert reason in str(caught.value)


def test_the_published_placement() -> None:
    base = Path(os.environ.get("QBNN_DATA", "nowhere")) / "ibm01-cu85"
    if not base.is_dir():
        pytest.skip("needs ibm01-cu85 in QBNN_DATA")
    netlist = bookshelf.read(base / "ibm01.aux")
    placement = bookshelf.read_placement(base / "dragon.pl", netlist)
    assert hpwl(netlist, placement, centred=True) == 51_641_058
    assert verify(netlist, placement).is_aligned
