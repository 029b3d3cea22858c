"""Bad input: one line that names the file, the line and the reason."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest

from anneal.errors import InputError
from anneal.instances import FORMATS, Graph, QuadraticAssignment, Qubo, get_format, read, sln, write

RUDY = [
    (b"", None, "empty"),
    (b"# nothing\n\n", None, "empty"),
    (b"0 0\n", 1, "empty: it has 0 vertices"),
    (b"3 2\n1 2 1\n2 3 nan\n", 3, "'nan' is not a finite number"),
    (b"3 2\n1 2 1\n2 3 -inf\n", 3, "'-inf' is not a finite number"),
    (b"3 2\n1 2 1\n2 3 1e999\n", 3, "'1e999' is not a finite number"),
    (b"3 2\n1 2 1_0\n2 3 1\n", 2, "'1_0' is not a finite number"),
    (b"3 2\n1 2 1\n2 3 x\xff\n", 3, r"'x\xff' is not a finite number"),
    (b"3 2\r\n\r\n1 2 1\r\n2 2 1\r\n", 4, "vertex 2 has a self loop"),
    (b"3 2\r1 2 1\r2 2 1\r", 3, "vertex 2 has a self loop"),
    (b"3 2\n1 2 1\n2 4 1\n", 3, "vertex 4 is outside 1 to 3"),
    (b"3 2\n1 2 1\n-2 3 1\n", 3, "vertex -2 is outside 1 to 3"),
    (b"3 2\n1 2 1\n0 1 1\n", 3, "vertex 0 is outside 1 to 3: vertices seem to be counted from 0"),
    (b"3 2\n1 2 1\n1.5 3 1\n", 3, "vertex 1.5 is not an integer"),
    (b"3 2\n1 2 1\n2 3\n", 3, "expected 3 columns (i j weight), found 2"),
    (b"3 2\n1 2\n2 3 1\n", 3, "expected 2 columns (i j), found 3"),
    (b"3 2\n1 2 1 9\n2 3 1\n", 2, "expected 3 columns (i j weight), found 4"),
    (b"3 2 1\n1 2 1\n", 1, "expected 2 columns (vertices edges), found 3"),
    (b"# two\n3 2\n1 2 1\n", 2, "the header promises 2 edges, but 1 follow"),
    (b"3 1\n1 2 1\n\n2 3 1\n", 4, "the header promises 1 edges, but 2 follow"),
    (b"3 1.5\n1 2 1\n", 1, "edges = 1.5 is not an integer"),
    (b"3 -1\n", 1, "edges = -1 is outside 0"),
    (b"3 3\n1 2 1\n2 3 1\n2 1 1\n", 4, "edge 1 2 was given in line 2 already"),
    (b"1000000000000 0\n", 1, "1000000000000 vertices are claimed, but at most 10000000"),
    (b"3 2\n1 2 1\n2 \0 1\n", 3, "binary data"),
    ("3 2\n1 2 1\n".encode("utf-16"), 1, "binary data"),
]
QUBO = [
    (b"c nothing\n", None, "there is no line 'p qubo"),
    (b"p qubo 0 2 1\n0 0 1\n", 1, "expected 'p qubo topology maxNodes nNodes nCouplers'"),
    (b"c\np qubo 0 x 1 0\n0 0 1\n", 2, "'x' is not a finite number"),
    (b"c\np qubo 0 0 0 0\n", 2, "empty"),
    (b"p qubo 0 2 1 0\n0 0 1\np qubo 0 2 1 0\n", 3, "second line 'p"),
    (b"0 0 1\np qubo 0 2 1 0\n", 1, "before the line 'p qubo"),
    (b"p qubo 0 2 1 1\n0 0 1\n0 2 1\n", 3, "variable 2 is outside 0 to 1"),
    (b"p qubo 0 2 2 0\n0 0 1\n", 1, "the header promises 2 nodes, but 1 follow"),
    (b"p qubo 0 2 1 0\n0 0 1\n0 1 1\n", 3, "the header promises 0 couplers, but 1 follow"),
    (b"p qubo 0 2 1 0\n0 0\n", 2, "expected 3 columns"),
    (b"p qubo 0 2 1 0\nc offset nan\n0 0 1\n", 2, "'nan' is not a finite number"),
    (b"p qubo 0 1 2 0\n0 0 1e308\n0 0 1e308\n", None, "sum of a repeated term is not finite"),
    (b"p qubo 0 1000000000000 0 0\n", 1, "at most 10000000 are accepted"),
]
COO = [
    (b"0 1 1\n", None, "no comment '# vartype=BINARY'"),
    (b"# vartype=TERNARY\n0 1 1\n", None, "vartype is BINARY or SPIN, not 'TERNARY'"),
    (b"# vartype=SPIN\n# vartype=BINARY\n0 1 1\n", None, "ambiguous"),
    (b"# vartype=SPIN\n", None, "empty"),
    (b"# vartype=SPIN\n0 1 1\n0 1\n", 3, "expected 3 columns"),
    (b"# vartype=SPIN\n0 1 1\n-1 1 2\n", 3, "variable -1 is outside 0"),
    (b"# vartype=SPIN\n0.5 1 2\n", 2, "variable 0.5 is not an integer"),
    (b"# vartype=SPIN\n# offset=inf\n0 1 1\n", 2, "'inf' is not a finite number"),
]
BEASLEY = [
    (b"1\n2 1\n1 3 1\n", 3, "variable 3 is outside 1 to 2"),
    (b"1\n2 1\n0 1 1\n", 3, "variable 0 is outside 1 to 2"),
    (b"1\n2 2\n1 1 1\n", 2, "the header promises 2 non-zeros, but 1 follow"),
    (b"2\n2 1\n1 1 1\n", 1, "the header promises 2 problems, but 1 follow"),
    (b"1\n2 1\n1 1 1\n2 2 1\n", 4, "expected 2 columns (variables non-zeros), found 3"),
    (b"1\n2 2\n1 2 1\n2 1 1\n", 4, "entry 2 1 was given in line 3 already"),
    (b"1\n2 1\n1 2 1e308\n", 3, "twice this entry is not finite"),
    (b"1\n0 0\n", 2, "empty"),
]
QAPLIB = [
    (b"2\n0 1\n1 0\n0 5\n5\n", 5, "n = 2 asks for 8 numbers after it, but 7 follow"),
    (b"2\n0 1\n1 0\n0 5\n5 0\n\n7\n", 7, "n = 2 asks for 8 numbers after it, but 9 follow"),
    (b"2.5\n0 1\n", 1, "n = 2.5 is not an integer"),
    (b"0\n", 1, "n = 0 is outside 1"),
    (b"2\n0 1\n1 0\n0 nan\n5 0\n", 4, "'nan' is not a finite number"),
]
OPB = [
    (b"", None, "empty"),
    (b"* nothing\n", None, "empty"),
    (b"min: ;\n", None, "empty"),
    (b"min: +1 x1\n", 1, "not ended by ';'"),
    (b"min: +1 x1 ;\n+1 x1 >= 1\n", 2, "not ended by ';'"),
    (b"min: +1 x1 ;\nmin: +1 x1 ;\n", 2, "must stand first and once"),
    (b"+1 x1 >= 1 ;\nmin: +1 x1 ;\n", 2, "must stand first and once"),
    (b"min: +1 x1 ;\n;\n", 2, "nothing stands before"),
    (b"min: +1 x1 x2 x3 ;\n", 1, "a product of 3 variables"),
    (b"min: +1 x1 ;\n\n+1 x1 x2 >= 1 ;\n", 3, "this constraint holds a product"),
    (b"min: +1 x1 ;\n+1 x1 + x2 1 ;\n", 2, "expected one of >=, <= and ="),
    (b"min: +1 x1 ;\n1 >= +1 x1 >= 0 ;\n", 2, "expected one of >=, <= and ="),
    (b"min: +1 x1 ;\n+1 x1 >= ;\n", 2, "expected a number after >="),
    (b"min: +1 x1 ;\n+1 x1 >= +1 x2 ;\n", 2, "expected a number after >="),
    (b"min: +1 x1 ;\n>= 1 ;\n", 2, "expected terms before >="),
    (b"min: +1.5 x1 ;\n", 1, "'.5 x1 ;' is not understood"),
    (b"min: +1x1 ;\n", 1, "'1x1 ;' is not understood"),
    (b"min: +1 x1\n + ;\n", 2, "a sign must stand before"),
    (b"min: + + 1 x1 ;\n", 1, "a sign must stand before"),
    (b"min: +1 x1 = ;\n", 1, "'=' does not belong here"),
    (b"soft: 6 ;\n[4] +1 x1 >= 1 ;\n", 1, "':"),
    (b"min: 99999999999999999999 x1 ;\n", 1, "is larger than 2^53"),
    (b"* offset= nan\nmin: +1 x1 ;\n", 1, "'nan' is not a finite number"),
]
LP = [
    (b"", None, "empty"),
    (b"\\ nothing\n", None, "empty"),
    (b"\n3 x\n", 2, "expected 'minimize' or 'maximize'"),
    (b"min x\nbinary x\n", 2, "'end' is missing"),
    (b"min x\nbinary x\nend\nmax\n", 4, "something follows 'end'"),
    (b"min x\nmax x\nend\n", 2, "one objective"),
    (b"min x\nsubject\nx >= 1\nend\n", 2, "expected 'subject to'"),
    (b"min x\nst\nx + y\nbinary x y\nend\n", 3, "expected a relation"),
    (b"min x\nst\nx + y >=\nbinary x y\nend\n", 3, "expected a number after >="),
    (b"min x\nst\n0 <= x <= 1\nbinary x\nend\n", 3, "expected a number after <="),
    (b"min x\nst\nx >= 2 y\nbinary x y\nend\n", 3, "expected a new line"),
    (b"min x\nst\nc: [ x * y ] >= 2\nbinary x y\nend\n", 3, "holds a product"),
    (b"min x\nst\nc: >= 2\nbinary x\nend\n", 3, "expected terms before >="),
    (b"min x + [ x * y ]\nbinary x y\nend\n", 1, "one last '[ … ] / 2'"),
    (b"min x + [ 3 x ] / 2\nbinary x y\nend\n", 1, "expected x * y or x ^ 2"),
    (b"min x + [ x ^ 3 ] / 2\nbinary x y\nend\n", 1, "expected x * y or x ^ 2"),
    (b"min x + * y\nbinary x y\nend\n", 1, "'*' does not belong here"),
    (b"min x\nst\nx + y >= 1\nbinary x\nend\n", 3, "variable 'y' is not declared binary"),
    (b"min x\nbounds\nx <= 4\nbinary x\nend\n", 3, "bounds other than 0 and 1: x <= 4"),
    (b"min x\nbounds\nx free\nend\n", 3, "bounds other than 0 and 1: x free"),
    (b"min x\ngeneral\nx\nend\n", 2, "only binary variables can be held"),
    (b"min x\nbinary 3\nend\n", 2, "'3' is no name of a variable"),
    (b"min 1e999 x\nbinary x\nend\n", 1, "'1e999' is not a finite number"),
    (b"min | x\nbinary x\nend\n", 1, "'| x' is not understood"),
]
TEXTS = {
    "lp": LP,
    "opb": OPB,
    "rudy": RUDY,
    "qubo": QUBO,
    "coo": COO,
    "beasley": BEASLEY,
    "qaplib": QAPLIB,
}


@pytest.mark.parametrize(
    ("name", "text", "line", "reason"),
    [(name, *case) for name, cases in TEXTS.items() for case in cases],
)
def test_text_is_refused_with_its_line(
    name: str, text: bytes, line: int | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a bad file"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        read(path, format=name)
    assert reason in caught.value.reason
    where = f"{path}:{line}: " if line else f"{path}: "
    assert str(caught.value) == where + caught.value.reason


def bqm_json(**changes: object) -> bytes:
    bqm = dimod.BinaryQuadraticModel({"a": 1, "b": 2}, {"ab": 3}, 0.5, "SPIN")
    return json.dumps(bqm.to_serializable() | changes).encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{\n", "malformed JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff{}", "not UTF-8"),
        (b'{"type": "SampleSet"}', "is not 'BinaryQuadraticModel'"),
        (b"[]", "is not 'BinaryQuadraticModel'"),
        (bqm_json(version={"bqm_schema": "1.0.0"}), "schema 3"),
        (bqm_json(use_bytes=True), "without bytes"),
        (bqm_json(linear_biases=[1, float("nan")]), "'NaN' is not a finite number"),
        (bqm_json(linear_biases=[1, 10**400]), "too large"),
        (bqm_json(linear_biases=[1, "2"]), "'linear_biases' is missing or holds something"),
        (bqm_json(linear_biases=[1]), "'linear_biases' has 1 entries"),
        (bqm_json(num_interactions=2), "'quadratic_biases' has 1 entries"),
        (bqm_json(quadratic_head=[0, 1]), "'quadratic_head' has 2 entries for 1"),
        (bqm_json(quadratic_head=[0.5]), "is not an index"),
        (bqm_json(quadratic_head=[10**12]), "an index is outside 0 to 1"),
        (bqm_json(quadratic_head=[-1]), "an index is outside 0 to 1"),
        (bqm_json(quadratic_head=[0], quadratic_tail=[0]), "interacts with itself"),
        (bqm_json(variable_labels=["a", "a"]), "same label"),
        (bqm_json(variable_labels=["a", None]), "is no label"),
        (bqm_json(variable_labels="ab"), "labels are missing"),
        (bqm_json(variable_type="DISCRETE"), "vartype is BINARY or SPIN"),
        (bqm_json(offset=None), "offset"),
        (json.dumps(dimod.BinaryQuadraticModel("SPIN").to_serializable()).encode(), "empty"),
    ],
)
def test_json_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        get_format("bqm-json").parse(text)
    assert reason in caught.value.reason


def bqm_file(**changes: object) -> bytes:
    """Return dimod's file of a triangle with other entries in its header."""
    bqm = dimod.BinaryQuadraticModel({}, {"ab": 1, "bc": 2, "ac": 3}, 0.5, "SPIN")
    data = get_format("bqm").dump(bqm)
    length = struct.unpack("<I", data[10:14])[0]
    header = json.dumps(json.loads(data[14 : 14 + length]) | changes).encode()
    return data[:10] + struct.pack("<I", len(header)) + header + data[14 + length :]


def with_bytes(old: bytes, new: bytes) -> bytes:
    data = bqm_file()
    assert data.count(old) >= 1
    return data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"DIMODBQM", "cut short"),
        (bqm_file()[:-10], "labels are missing"),
        (bqm_file()[:250], "cut short"),
        (bqm_file()[:8] + b"\x07" + bqm_file()[9:], "version 7"),
        (bqm_file(shape=[3, 10**12]), "cut short"),
        (bqm_file(shape=[10**12, 3]), "at most 10000000"),
        (bqm_file(shape=[3, -1]), "not two counts"),
        (bqm_file(shape=[0, 0]), "empty"),
        (bqm_file(dtype="object"), "'dtype' is none of"),
        (bqm_file(itype=["int32"]), "'itype' is none of"),
        (bqm_file(vartype="INTEGER"), "vartype is BINARY or SPIN"),
        (with_bytes(struct.pack("<id", 1, 1.0), struct.pack("<id", 9, 1.0)), "outside 0 to 2"),
        (with_bytes(struct.pack("<id", 1, 1.0), struct.pack("<id", 0, 1.0)), "with itself"),
        (with_bytes(struct.pack("<id", 1, 1.0), struct.pack("<id", 1, 7.0)), "directions"),
        (with_bytes(struct.pack("<d", 0.5), struct.pack("<d", np.nan)), "not finite"),
        (with_bytes(b'["a", "b", "c"]', b'["a", "b", "a"]'), "same label"),
        (with_bytes(b'["a", "b", "c"]', b'["a", "b"]     '), "2 labels are given for 3"),
    ],
)
def test_a_bqm_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        get_format("bqm").parse(data)
    assert reason in caught.value.reason


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\x00\x01\x02\xfe\xff" * 40, b"\x89PNG\r\n"])
def test_nothing_and_garbage_are_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{get_format(name).EXTENSIONS[0]}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        read(path)


@pytest.mark.parametrize("size", [1, 5, 15, 25])
def test_a_truncated_gz_is_refused(size: int, tmp_path: Path) -> None:
    path = tmp_path / "g.txt.gz"
    path.write_bytes(gzip.compress(b"2 1\n1 2 1\n")[:size])
    with pytest.raises(InputError, match=r"g\.txt\.gz"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such graph\.txt: No such file"):
        read(tmp_path / "no such graph.txt")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "rudi"}, "did you mean 'rudy'"),
        ({"sense": "max"}, "format 'rudy' has no option 'sense'"),
        ({"base": 2}, "base is 0 or 1"),
        ({"format": "beasley", "problem": 2}, "problem 2 is outside 1 to 1"),
        ({"format": "beasley", "sense": "up"}, "sense is min or max"),
    ],
)
def test_options_are_checked(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.rud"
    path.write_bytes(b"1\n1 0\n" if "beasley" in options.values() else b"2 0\n")
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert reason in caught.value.reason


def test_an_unknown_file_is_told_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "x.xyz"
    path.write_bytes(b"hello\n")
    with pytest.raises(InputError, match="name one of: rudy, qubo"):
        read(path)


GRAPH = Graph(2, np.array([0]), np.array([1]), np.array([1.0]))
LABELLED = dimod.BinaryQuadraticModel({"a": 1}, {}, 0.5, "BINARY")


@pytest.mark.parametrize(
    ("instance", "file", "format", "reason"),
    [
        (GRAPH, "g.qubo", None, "name one of: rudy"),
        (GRAPH, "g.qubo", "qubo", "format 'qubo' holds a qubo, not a graph"),
        (LABELLED, "g.rud", "rudy", "format 'rudy' holds a graph, not a bqm"),
        (LABELLED, "g.coo", None, "labels in COO text are integers"),
        (LABELLED, "g.bqp", None, "no place for the offset"),
        (dimod.BinaryQuadraticModel("SPIN"), "g.qubo", None, "empty"),
        (dimod.BinaryQuadraticModel("SPIN"), "g.json", None, "empty"),
        (dimod.BinaryQuadraticModel("SPIN"), "g.bqm", None, "empty"),
        (dimod.BinaryQuadraticModel({frozenset("a"): 1}, {}, "SPIN"), "g.json", None, "labels"),
        (dimod.BinaryQuadraticModel({frozenset("a"): 1}, {}, "SPIN"), "g.bqm", None, "labels"),
        (dimod.BinaryQuadraticModel({"a": np.nan}, {}, "SPIN"), "g.bqm", None, "not finite"),
        (dimod.BinaryQuadraticModel({"a": np.inf}, {}, "SPIN"), "g.json", None, "not finite"),
        (Qubo(2, [0], [1], [5e-324]), "g.bqp", None, "too small to be halved"),
        (GRAPH, "nowhere/g.rud", None, "cannot write"),
    ],
)
def test_what_a_file_cannot_hold_leaves_none(
    instance: Graph | Qubo, file: str, format: str | None, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        write(instance, tmp_path / file, format=format)
    assert reason in caught.value.reason
    assert caught.value.path == str(tmp_path / file)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Graph(2, [0], [0], [1.0]), "self loop"),
        (lambda: Graph(2, [0, 1], [1, 0], [1.0, 1.0]), "edge 0 1 is given twice"),
        (lambda: Graph(2, [0], [2], [1.0]), "outside 0 to 1"),
        (lambda: Graph(2, [0.5], [1], [1.0]), "`i` must hold integers"),
        (lambda: Graph(2, [0], [1], [1.0, 2.0]), "vectors of one length"),
        (lambda: Graph(2, [0], [1], [np.inf]), "not finite"),
        (lambda: Graph(0, [], [], []), "empty"),
        (lambda: Qubo(1, [0], [0], [1.0], np.nan), "offset"),
        (lambda: Qubo(1, [0], [0], [1.0], 0.0, "SPIN", ("a", "b")), "2 labels"),
        (lambda: Qubo(1, [0], [0], [1.0], sense="most"), "sense"),
        (lambda: QuadraticAssignment(np.eye(2), np.eye(3)), r"shape (2, 2), but has shape (3, 3)"),
        (lambda: QuadraticAssignment(np.eye(2), np.full((2, 2), np.nan)), "`distance`"),
        (lambda: QuadraticAssignment(np.empty((0, 0)), np.empty((0, 0))), "empty"),
        (lambda: QuadraticAssignment(1.0, 1.0), "empty"),
    ],
)
def test_arrays_check_themselves(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"3\n", 1, "expected n and the cost"),
        (b"3 40\n1 2\n", 2, "no permutation of 1 to 3"),
        (b"3 40\n1 2 2\n", 2, "no permutation of 1 to 3"),
        (b"3 40\n0 1 3\n", 2, "no permutation"),
        (b"3 x\n", 1, "'x' is not a finite number"),
    ],
)
def test_a_bad_solution_is_refused(text: bytes, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sln"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        sln.read(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert reason in caught.value.reason
