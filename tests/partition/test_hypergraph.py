"""Hypergraphs: what a partition cuts, hMETIS's files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.instances import hmetis
from anneal.partition.hypergraph import Hypergraph, planted_hypergraph, side_limits


@st.composite
def hypergraphs(draw: st.DrawFn) -> Hypergraph:
    size = draw(st.integers(1, 7))
    vertex = st.integers(0, size - 1)
    nets = draw(st.lists(st.lists(vertex, min_size=1, max_size=5), max_size=6))
    whole = st.integers(0, 2**52).map(float)
    one = st.just(1.0)
    area, weight = draw(st.sampled_from([whole, one])), draw(st.sampled_from([whole, one]))
    return Hypergraph.from_nets(
        size, nets,
        area=draw(st.lists(area, min_size=size, max_size=size)),
        weight=draw(st.lists(weight, min_size=len(nets), max_size=len(nets))),
    )  # fmt: skip


@given(hypergraphs(), st.data())
def test_cut_and_connectivity_count_parts_net_by_net(
    graph: Hypergraph, data: st.DataObject
) -> None:
    size = graph.num_vertices
    parts = data.draw(st.lists(st.integers(0, size), min_size=size, max_size=size))
    spread = [len({parts[pin] for pin in graph.net(net)}) for net in range(graph.num_nets)]
    weights = graph.weight.tolist()
    assert graph.cut(parts) == sum(w for w, s in zip(weights, spread, strict=True) if s > 1)
    km1 = sum(w * (s - 1) for w, s in zip(weights, spread, strict=True))
    assert graph.km1(parts) == pytest.approx(km1)
    areas = [sum(graph.area[v] for v in range(size) if parts[v] == p) for p in range(size + 1)]
    assert graph.part_areas(parts, size + 1).tolist() == areas


def test_a_vertex_named_twice_counts_once() -> None:
    graph = Hypergraph(3, [0, 3, 5], [2, 0, 2, 1, 1])
    assert [graph.net(net).tolist() for net in range(2)] == [[2, 0], [1]]
    assert graph.cut([0, 1, 0]) == 0
    assert not graph.pins.flags.writeable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [0], []), "num_vertices"),
        ((2, [0, 1], [2]), "pins must lie in 0 … 1"),
        ((2, [0, 1], [-1]), "pins must lie"),
        ((2, [0, 2, 1], [0, 1]), "start must rise"),
        ((2, [1, 2], [0, 1]), "start must rise"),
        ((2, [], []), "start must rise"),
        ((2, [0, 2], [0, 0.5]), "pins must be a list of whole numbers"),
        ((2, [0, 1], [0], [1, -1]), "area must not be negative"),
        ((2, [0, 1], [0], [1, np.nan]), "area holds a value that is not finite"),
        ((2, [0, 1], [0], [1]), r"area must have shape \(2,\)"),
        ((2, [0, 1], [0], None, [-1]), "weight must not be negative"),
    ],
)
def test_what_is_no_hypergraph_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hypergraph(*arguments)


@pytest.mark.parametrize("parts", [[0], [0, -1], [0, 3], [0.0, 1.0]])
def test_what_are_no_parts_is_refused(parts: list) -> None:
    with pytest.raises(InputError, match="parts"):
        Hypergraph(2, [0], []).cut(parts)


def test_planted_parts_are_even_and_cut_little() -> None:
    graph, parts = planted_hypergraph(seed=3, num_vertices=301, num_parts=3, most_area=4)
    assert np.ptp(np.bincount(parts)) <= 1
    assert graph.area.max() == 4 and graph.num_nets == 301
    other = np.random.default_rng(0).permutation(parts)
    assert graph.cut(parts) < 0.1 * graph.cut(other)


def test_limits_round_up_where_areas_are_whole() -> None:
    assert side_limits(101, [0.5, 0.5], tolerance=0, whole=True).tolist() == [51, 51]
    assert side_limits(100, [0.3, 0.7], tolerance=0.1, whole=True).tolist() == [33, 77]
    limit = side_limits(0.3, [0.5, 0.5], tolerance=0, whole=False)
    assert 0.15 <= limit[0] < 0.1500001


# Files


def same(left: Hypergraph, right: Hypergraph) -> bool:
    names = ("num_vertices", "start", "pins", "area", "weight")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


@given(hypergraphs())
def test_what_is_written_reads_the_same(graph: Hypergraph) -> None:
    assert same(hmetis.parse(hmetis.dump(graph)), graph)


@pytest.mark.parametrize(
    ("text", "area", "weight"),
    [
        ("2 3\n1 2\n3 1\n", [1, 1, 1], [1, 1]),
        ("2 3 0\n1 2\n3 1\n", [1, 1, 1], [1, 1]),
        ("% a comment\n2 3 1\n\n7 1 2\n% another\n8 3 1\n", [1, 1, 1], [7, 8]),
        ("2 3 10\r\n1 2\r\n3 1\r\n4\r\n5\r\n6\r\n", [4, 5, 6], [1, 1]),
        ("2 3 11\n7 1 2\n8 3 1\n4\n5\n6", [4, 5, 6], [7, 8]),
    ],
)
def test_every_format_of_hmetis(
    tmp_path: Path, text: str, area: list[int], weight: list[int]
) -> None:
    path = tmp_path / "a.hgr"
    path.write_text(text)
    graph = hmetis.read(path)
    assert [graph.net(net).tolist() for net in range(2)] == [[0, 1], [2, 0]]
    assert graph.area.tolist() == area and graph.weight.tolist() == weight
    hmetis.write(graph, tmp_path / "b.hgr.gz")
    assert (tmp_path / "b.hgr.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert same(hmetis.read(tmp_path / "b.hgr.gz"), graph)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a.hgr: the file is empty"),
        ("3\n", "a.hgr:1: expected nets, vertices and perhaps a format"),
        ("1 2 2\n1 2\n", "a.hgr:1: the format must be 0, 1, 10 or 11, not 2"),
        ("1 0\n1\n", "a.hgr:1: a hypergraph has at least one vertex"),
        ("1 2.5\n1 2\n", "a.hgr:1: vertices = 2.5 is not an integer"),
        ("2 3\n1 2\n", "a.hgr:2: the first line asks for 2 lines of nets, but 1 follow"),
        ("1 3\n1 2\n% no\n2 3\n1\n", "a.hgr:4: the first line asks for 1 lines of nets"),
        ("1 2 10\n1 2\n1\n", "a.hgr:3: the first line asks for 1 lines of nets and 2 of vertices"),
        ("1 3\n\n1 4\n", "a.hgr:3: vertex 4 is outside 1 to 3"),
        ("1 3\n0 1\n", "a.hgr:2: vertex 0 is outside 1 to 3"),
        ("1 3\n1 x\n", "a.hgr:2: 'x' is not a finite number"),
        ("2 3 1\n5 1\n6\n", "a.hgr:3: net 2 has no vertices"),
        ("1 2 1\n-5 1 2\n", "a.hgr:2: weight -5 must not be negative"),
        ("1 2 10\n1 2\n1\n-2\n", "a.hgr:4: weight -2 must not be negative"),
        ("1 2 10\n1 2\n1 1\n2\n", "a.hgr:3: expected 1 columns"),
    ],
)
def test_a_malformed_file_is_named_with_line_and_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "a.hgr"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        hmetis.read(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (Hypergraph(2, [0, 1], [0], [0.5, 1]), "whole areas only"),
        (Hypergraph(2, [0, 1], [0], None, [0.5]), "whole weights only"),
        (Hypergraph(2, [0, 0], []), "no net without vertices"),
    ],
)
def test_what_hmetis_cannot_hold_is_not_written(graph: Hypergraph, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        hmetis.dump(graph)


def test_parts_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    hmetis.write_parts(np.array([0, 2, 1]), path)
    assert path.read_text() == "0\n2\n1\n"
    assert hmetis.read_parts(path, 3).tolist() == [0, 2, 1]
    with pytest.raises(InputError, match=r"a\.part:3: expected 4 lines, found 3"):
        hmetis.read_parts(path, 4)
    with pytest.raises(InputError, match=r"a\.part:3: expected 2 lines, found 3"):
        hmetis.read_parts(path, 2)
    path.write_text("0\n-1\n")
    assert hmetis.read_parts(path, 2, least=-1).tolist() == [0, -1]
    with pytest.raises(InputError, match=r"a\.part:2: part -1 is outside"):
        hmetis.read_parts(path, 2)
