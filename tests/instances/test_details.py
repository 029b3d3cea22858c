"""What single formats promise: senses, bases, comments, and files that dimod reads and writes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import dimod
import numpy as np
import pytest
from dimod.serialization import coo
from hypothesis import given
from hypothesis import strategies as st

from anneal.instances import Graph, QuadraticAssignment, Qubo, detect_format, get_format, read, sln
from anneal.instances import write as write_instance
from tests.instances.strategies import bqms, qubos


def test_rudy_comments_bases_and_weights() -> None:
    parse = get_format("rudy").parse
    graph = parse(b"\xef\xbb\xbf% one\r\nc two\r\n# three\r\n\r\n 3 2 \r\n3 1\r\n1\t2\r\n")
    assert (graph.i.tolist(), graph.j.tolist()) == ([0, 0], [1, 2])
    assert graph.weight.tolist() == [1, 1]
    graph = parse(b"3 1\n2 0 -1.5\n", base=0)
    assert (graph.i.tolist(), graph.j.tolist(), graph.weight.tolist()) == ([0], [2], [-1.5])


def test_a_graph_without_edges_is_a_graph() -> None:
    assert get_format("rudy").parse(b"1 0\n").num_edges == 0


def test_whole_weights_are_written_whole() -> None:
    graph = Graph(3, np.array([0, 1]), np.array([1, 2]), np.array([-1.0, 2.0**60]))
    assert get_format("rudy").dump(graph) == b"3 2\n1 2 -1\n2 3 1.152921504606847e+18\n"


@pytest.mark.parametrize(
    ("comment", "sense", "found", "value"),
    [
        ("c plain", None, "min", 3.0),
        ("c from Beasley file bqp50", None, "max", -3.0),
        ("c from Beasley file bqp50", "min", "min", 3.0),
        ("c plain", "max", "max", -3.0),
    ],
)
def test_the_sense_of_a_qubo_file(
    comment: str, sense: str | None, found: str, value: float, tmp_path: Path
) -> None:
    path = tmp_path / "x.qubo"
    path.write_text(f"{comment}\nc offset 2\np qubo unconstrained 4 1 0\n1 1 3.0\n")
    qubo = read(path, sense=sense)
    assert isinstance(qubo, Qubo)
    assert (qubo.sense, qubo.value.tolist(), qubo.num_variables) == (found, [value], 4)
    assert qubo.offset == 2 * np.sign(value)
    write_instance(qubo, path)
    again = read(path)
    assert isinstance(again, Qubo)
    assert (again.sense, again.value.tolist()) == ("min", [value])


def test_beasley_counts_both_triangles_and_selects_a_problem() -> None:
    text = b" 2\n 2 1\n 1 1 7\n 3 3\n 1 1 2\n 3 1 -5\n 2 3 4\n"
    matrix = np.array([[2, 0, -5], [0, 0, 4], [-5, 4, 0]])
    qubo = get_format("beasley").parse(text, problem=2)
    model = qubo.to_bqm()
    for bits in np.ndindex(2, 2, 2):
        x = np.array(bits)
        assert model.energy(dict(enumerate(bits))) == -(x @ matrix @ x)
    assert get_format("beasley").parse(text).value.tolist() == [-7]
    assert get_format("beasley").parse(text, sense="min").value.tolist() == [7]


def test_repeated_terms_add_up_as_in_dimod() -> None:
    text = "# vartype=BINARY\n0 1 1.5\n1 0 2\n1 1 -1\n1 1 4\n"
    assert get_format("coo").parse(text.encode()).to_bqm() == coo.loads(text)


@given(qubo=st.one_of(qubos(offsets=False), qubos(vartype="SPIN", offsets=False)))
def test_dimod_reads_our_coo(qubo: Qubo) -> None:
    assert coo.loads(get_format("coo").dump(qubo).decode()) == qubo.to_bqm()


@given(
    qubo=st.one_of(qubos(offsets=False), qubos(vartype="SPIN", offsets=False)),
    header=st.booleans(),
    scale=st.sampled_from([1, 1000]),
)
def test_we_read_dimods_coo(qubo: Qubo, header: bool, scale: int) -> None:
    labels = {v: v * scale for v in range(qubo.num_variables)}
    model = qubo.to_bqm().relabel_variables(labels, inplace=False)
    text = coo.dumps(model, vartype_header=header)
    if not any(line[0] != "#" for line in text.splitlines()):
        return
    found = get_format("coo").parse(text.encode(), vartype=None if header else qubo.vartype)
    assert found.to_bqm() == coo.loads(text, vartype=qubo.vartype)


def test_coo_indices_are_labels() -> None:
    qubo = get_format("coo").parse(b"# vartype=SPIN\n900719925474099 3 1\n3 3 2\n")
    assert qubo.labels == (3, 900719925474099)
    assert get_format("coo").parse(get_format("coo").dump(qubo)).labels == qubo.labels


@given(bqm=bqms())
def test_dimod_reads_our_bqm_files(bqm: dimod.BinaryQuadraticModel) -> None:
    data = get_format("bqm").dump(bqm)
    assert dimod.BinaryQuadraticModel.from_file(data) == bqm
    found = json.loads(get_format("bqm-json").dump(bqm))
    assert dimod.BinaryQuadraticModel.from_serializable(found) == bqm


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labels", ["abc", range(3)])
def test_we_read_every_bqm_file_of_dimod(version: int, dtype: type, labels: str | range) -> None:
    a, b, c = labels
    bqm = dimod.BinaryQuadraticModel({c: 0.1}, {(a, b): 0.2, (c, b): -1}, 0.5, "SPIN", dtype=dtype)
    with bqm.to_file(version=version) as stream:
        found = get_format("bqm").parse(stream.read())
    assert found == bqm
    assert list(found.variables) == list(bqm.variables)


def test_labels_keep_their_order() -> None:
    bqm = dimod.BinaryQuadraticModel({"b": 1, "a": 2, 7: 3}, {"ba": 4}, 0, "BINARY")
    assert Qubo.from_bqm(bqm).labels == ("b", "a", 7)
    assert Qubo.from_bqm(bqm).value.tolist() == [1, 4, 2, 3]


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("g.txt", b"# vartype=SPIN\n0 1 1\n", "coo"),
        ("g.txt", b"0 1 1\n1 2 1\n", "coo"),
        ("g.txt", b"2 1\n1 2 1\n", "rudy"),
        ("g.txt", b"1\n2 1\n1 2 1\n", "beasley"),
        ("g.txt", b"2\n0 1\n1 0\n0 5\n5 0\n", "qaplib"),
        ("g.dat", b"2 1\n1 2 1\n", "rudy"),
        ("g.txt.GZ", b"2 1\n1 2 1\n", "rudy"),
        ("g", b"c\np qubo 0 1 1 0\n0 0 1\n", "qubo"),
        ("g", b'\xef\xbb\xbf {"type": 1}', "bqm-json"),
        ("g", b"DIMODBQM", "bqm"),
        ("g.QUBO", b"p kubo\n", "qubo"),
    ],
)
def test_formats_are_told_by_name_and_content(file: str, text: bytes, found: str) -> None:
    assert detect_format(file, text) == found


def test_a_solution_beside_an_assignment_sets_best_known(tmp_path: Path) -> None:
    flow, distance = np.array([[0, 1], [0, 0]]), np.array([[0, 5], [3, 0]])
    path = tmp_path / "x.dat"
    write_instance(QuadraticAssignment(flow, distance), path)

    def best() -> float | None:
        found = read(path)
        assert isinstance(found, QuadraticAssignment)
        return found.best_known

    assert best() is None
    (tmp_path / "x.sln").write_text("no numbers here")
    assert best() is None
    (tmp_path / "x.sln").write_text("2 4")
    assert best() == 4
    # The header says more than its permutation costs.
    (tmp_path / "x.sln").write_text("2, 4,\n 2, 1")
    assert best() == 3


@given(order=st.permutations(range(5)), cost=st.floats(-1e9, 1e9))
def test_solutions_are_read_back(order: list[int], cost: float) -> None:
    text = sln.dump(sln.StoredAssignment(cost, np.array(order)))
    found = sln.parse(text)
    assert found.permutation is not None
    assert (found.cost, found.permutation.tolist()) == (cost, order)
    first_zero = b"5 1\n" + " ".join(map(str, order)).encode()
    zero_based = sln.parse(first_zero).permutation
    assert zero_based is not None
    assert zero_based.tolist() == order


def test_solution_files(tmp_path: Path) -> None:
    path = tmp_path / "my solution.sln"
    sln.write(sln.StoredAssignment(9.0, np.array([1, 0])), path)
    assert path.read_text() == "2 9\n2 1\n"
    assert sln.read(path).cost == 9
    assert sln.parse(io.BytesIO(b"3 40").read()).permutation is None
