"""GSRC and YAL: what is written is read again, and what is malformed is told with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.floorplan.blocks import Blocks, evaluate, hpwl
from anneal.floorplan.files import read
from anneal.floorplan.guillotine import guillotine_blocks
from anneal.floorplan.verify import verify
from anneal.instances import gsrc

BLOCKS = """UCSC blocks 1.0
NumSoftRectangularBlocks : 1
NumHardRectilinearBlocks : 2
NumTerminals : 1

a hardrectilinear 4 (0, 0) (0, 2) (6, 2) (6, 0)
b hardrectilinear 4
  (0, 0) (0, 3)
  (3, 3) (3, 0)
c softrectangular 8 0.5 2.0
p terminal
"""
NETS = """UCLA nets 1.0
NumNets : 2
NumPins : 5
NetDegree : 3 first
a B : %50 %-50
b B
p B
NetDegree : 2
b B : 1.5 0
c
"""
PLACES = "UCLA pl 1.0\na 0 0\nb 6 0\nc 0 2 DIMS = (4, 2) : N\np 10 10\n"
YAL = """/* two blocks
   of one module */
MODULE m;
 TYPE GENERAL;
 DIMENSIONS 4 0 4 2 0 2 0 0;
 IOLIST;
  A B 4 1 1 METAL2;
  B PWR LEFT 2 1 METAL2 CURRENT 0.1
    VOLTAGE 5;
 ENDIOLIST;
ENDMODULE;
MODULE bound;
 TYPE PARENT;
 DIMENSIONS 10 0 10 8 0 8 0 0;
 IOLIST;
  S PI 0 4 1 METAL2;
  V PWR 5 0;
  V PWR 5 8;
 ENDIOLIST;
 NETWORK;
  I0 m S V;
  I1 m S V;
 ENDNETWORK;
ENDMODULE;
"""


def folder_with(folder: Path, **texts: str) -> Path:
    """Write the example's files, or others, and return the path of the .blocks file."""
    for kind, text in {"blocks": BLOCKS, "nets": NETS, "pl": PLACES, **texts}.items():
        (folder / f"x.{kind}").write_text(text)
    return folder / "x.blocks"


def same(one: Blocks, two: Blocks) -> None:
    """Assert that all of two instances is equal."""
    for name in Blocks.__dataclass_fields__:
        left, right = getattr(one, name), getattr(two, name)
        if isinstance(left, np.ndarray) and left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
        else:
            assert list(left) == list(right)


def test_gsrc_means_what_it_says(tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    blocks = read(path)
    assert blocks.names == ["a", "b", "c"] and blocks.pad_names == ["p"]
    assert blocks.width.tolist() == [6, 3, pytest.approx(8**0.5)] and blocks.area == 29
    assert blocks.soft.tolist() == [False, False, True]
    plan = gsrc.read_plan(tmp_path / "x.pl", blocks)
    assert verify(blocks, plan, outline=(9, 4)).is_legal
    x, y = blocks.pins_at(plan)
    assert x.tolist() == [6, 7.5, 10, 9, 2] and y.tolist() == [0, 1.5, 10, 1.5, 3]
    assert evaluate(blocks, plan)["hpwl"] == 4 + 10 + 7 + 1.5


def test_compressed_and_bare_files_are_read(tmp_path: Path) -> None:
    given = folder_with(tmp_path)
    blocks = read(given)
    for kind in ("blocks", "nets", "pl"):
        plain = tmp_path / f"x.{kind}"
        (tmp_path / f"x.{kind}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    same(read(tmp_path / "x.blocks.gz"), blocks)
    bare = tmp_path / "y.blocks"
    bare.write_text("a hardrectilinear 4 (0, 0) (0, 2) (6, 2) (6, 0)\r\n")
    assert read(bare).num_nets == 0 and len(read(bare)) == 1


@given(st.integers(0, 10**6), st.integers(1, 20), st.sampled_from([1.0, 1.7]))
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, softness: float
) -> None:
    blocks, plan = guillotine_blocks(num_blocks=count, softness=softness, seed=seed)
    rng = np.random.default_rng(seed)
    inside = blocks.member < count
    blocks.dx[inside], blocks.dy[inside] = rng.uniform(-0.5, 0.5, (2, inside.sum()))
    path = tmp_path_factory.mktemp("gsrc") / "x.blocks"
    gsrc.write(path, blocks, plan)
    again = read(path)
    if softness == 1:
        same(again, blocks)
    found = gsrc.read_plan(path.with_suffix(".pl"), again)
    for one, two in zip(found, plan, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    assert verify(again, found).is_legal
    assert hpwl(again, found) == pytest.approx(hpwl(blocks, plan))


@pytest.mark.parametrize(
    ("kind", "old", "new", "line", "reason"),
    [
        ("blocks", "Blocks : 2", "Blocks : 3", 3, "NumHardRectilinearBlocks is 3, but there are 2"),
        ("blocks", "Terminals : 1", "Terminals : x", 4, "wants a whole number"),
        ("blocks", "a hard", "b hard", 7, "b is there twice"),
        ("blocks", "(6, 2) ", "", 6, "says 4 corners, but 6 numbers follow"),
        ("blocks", "(6, 2) ", "(5, 2) ", 6, "block a is no rectangle"),
        ("blocks", "(0, 2) (6, 2)", "(0, 0) (6, 0)", 6, "block a is no rectangle"),
        ("blocks", "(6, 2)", "(6, nan)", 6, "not finite"),
        ("blocks", "8 0.5", "-8 0.5", 10, "area of block c must be positive"),
        ("blocks", "8 0.5", "8 3", 10, "above its most"),
        ("blocks", "8 0.5 2.0", "8", 10, "softrectangular area least most"),
        ("blocks", "p terminal", "p", 11, "expected: name hardrectilinear"),
        ("nets", "NumNets : 2", "NumNets : 3", 2, "NumNets is 3, but there are 2"),
        ("nets", "b B\np", "z B\np", 6, "net first names the unknown block 'z'"),
        ("nets", "NetDegree : 2", "NetDegree : 3", 8, "NetDegree is 3, but the net has 2 pins"),
        ("nets", "\nc\n", "\n", 8, "NetDegree is 2, but the net has 1 pins"),
        ("nets", "NetDegree : 3 first\n", "", 4, "a pin before any NetDegree"),
        ("nets", "%50 %-50", "%50", 5, "block direction"),
        ("nets", "%50 %-50", "%50 %inf", 5, "not finite"),
        ("pl", "p 10 10", "p 10", 5, "expected: name x y"),
        ("pl", "p 10 10", "q 10 10", 5, "'q' is unknown"),
        ("pl", "p 10 10", "a 10 10", 5, "a is there twice"),
        ("pl", "p 10 10", "", None, "1 terminals have no place, p among them"),
        ("pl", "a 0 0", "a 0 0 : R", 2, "'R' is no orientation"),
        ("pl", "(4, 2) : N", "(4)", 4, "DIMS = "),
        ("pl", "(4, 2)", "(4, 0)", 4, "height of block c must be positive"),
    ],
)
def test_what_is_malformed_is_told_with_its_line(
    tmp_path: Path, kind: str, old: str, new: str, line: int | None, reason: str
) -> None:
    text = {"blocks": BLOCKS, "nets": NETS, "pl": PLACES}[kind]
    assert text.count(old) >= 1
    path = folder_with(tmp_path, **{kind: text.replace(old, new, 1)})
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.line == line and caught.value.path == str(tmp_path / f"x.{kind}")
    assert reason in caught.value.reason


def test_files_that_say_nothing_are_told(tmp_path: Path) -> None:
    path = folder_with(tmp_path, blocks="UCSC blocks 1.0\n")
    with pytest.raises(InputError, match="holds no blocks"):
        read(path)
    path = folder_with(tmp_path)
    (tmp_path / "x.pl").unlink()
    with pytest.raises(InputError, match=r"no \.pl file beside it"):
        read(path)
    with pytest.raises(InputError, match=r"expected a file of \.blocks or \.yal"):
        read(tmp_path / "x.nets")
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "z.yal")


def test_a_plan_without_all_blocks_is_told(tmp_path: Path) -> None:
    blocks = read(folder_with(tmp_path))
    (tmp_path / "y.pl").write_text("a 0 0\nb 1 1\n")
    with pytest.raises(InputError, match="1 blocks have no place, c among them"):
        gsrc.read_plan(tmp_path / "y.pl", blocks)


def test_yal_means_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "x.yal"
    path.write_text(YAL)
    blocks = read(path)
    assert blocks.names == ["I0", "I1"] and blocks.pad_names == ["S", "V@0", "V@1"]
    assert blocks.width.tolist() == [4, 4] and blocks.height.tolist() == [2, 2]
    assert blocks.net_names == ["S", "V"] and np.diff(blocks.start).tolist() == [3, 4]
    assert blocks.member.tolist() == [0, 1, 2, 0, 1, 3, 4]
    assert blocks.dx.tolist() == [0.5, 0.5, 0, -0.5, -0.5, 0, 0]
    assert blocks.dy.tolist() == [0, 0, 0, 0.5, 0.5, 0, 0]
    assert blocks.pad_x.tolist() == [0, 5, 5] and blocks.pad_y.tolist() == [4, 0, 8]
    path.write_text(YAL.replace("  I1 m S V;\n", ""))
    assert read(path).names == ["m"]


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("I1 m S V", "I1 n S V", 22, "instance I1 names the unknown block 'n'"),
        ("I1 m S V", "I1 m S", 22, "has 1 signals, but m has 2 pins"),
        ("I1 m S V", "I1 bound S V V", 22, "of the parent itself"),
        ("I1 m S V", "I0 m S V", 12, "two instances have one name"),
        ("4 0 4 2 0 2 0 0", "4 0 4 2 0 2", 5, "no rectangle of four corners"),
        ("4 0 4 2 0 2 0 0", "4 0 4 x 0 2 0 0", 5, "dimension is not a number"),
        ("A B 4 1 1 METAL2", "A B 4", 7, "expected: name type x y"),
        (" DIMENSIONS 4 0 4 2 0 2 0 0;\n", "", 5, "no DIMENSIONS before IOLIST"),
        ("ENDIOLIST;\nENDMODULE;\nMODULE bound;", "ENDIOLIST;\nMODULE bound;", 11, "not known"),
        ("MODULE bound", "MODULE m", 12, "module m is there twice"),
        ("TYPE PARENT", "TYPE GENERAL", None, "one module of type PARENT, found 0"),
        (" ENDNETWORK;\nENDMODULE;\n", "", 12, "module bound has no ENDNETWORK"),
        ("ENDNETWORK;\nENDMODULE;", "ENDNETWORK", 23, "no semicolon"),
        ("/* two blocks\n   of one module */\n", "nonsense;\n", 1, "expected: MODULE name;"),
    ],
)
def test_malformed_yal_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int | None, reason: str
) -> None:
    assert old in YAL
    path = tmp_path / "x.yal"
    path.write_text(YAL.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.line == line and reason in caught.value.reason


@pytest.mark.parametrize(
    ("name", "blocks", "area", "nets"),
    [
        ("apte.blocks", 9, 46561628, 97),
        ("xerox.blocks", 10, 19350296, 203),
        ("hp.blocks", 11, 8830584, 83),
        ("ami33.blocks", 33, 1156449, 123),
        ("ami33.yal", 33, 1156449, 123),
        ("ami49.yal", 49, 35445424, 408),
        ("n300.blocks", 300, 273170, 1893),
    ],
)
def test_benchmarks_are_read(
    data_folder: Path, name: str, blocks: int, area: float, nets: int
) -> None:
    found = read(data_folder / "floorplan" / name)
    assert (len(found), found.area, found.num_nets) == (blocks, area, nets)


def test_the_given_floorplan_of_a_benchmark_is_judged(data_folder: Path) -> None:
    blocks = read(data_folder / "floorplan" / "n10.blocks")
    plan = gsrc.read_plan(data_folder / "floorplan" / "n10.pl", blocks)
    found = verify(blocks, plan)
    assert not len(found.misshapen) and not len(found.nowhere)


@given(
    st.sampled_from(["blocks", "nets", "pl", "yal"]),
    st.integers(0, 400),
    st.sampled_from(["", "0", "-", "e9", "x", " ", "\n", "(", ";", "%", "nan", "\0"]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at: int, put: str, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    text = {"blocks": BLOCKS, "nets": NETS, "pl": PLACES, "yal": YAL}[kind]
    at %= len(text)
    path = folder_with(folder, **{kind: text[:at] + put + ("" if cut else text[at + 1 :])})
    try:
        blocks = read(folder / "x.yal" if kind == "yal" else path)
        if kind != "yal":
            evaluate(blocks, gsrc.read_plan(folder / "x.pl", blocks))
    except InputError as error:
        assert error.path is not None and Path(error.path).parent == folder
