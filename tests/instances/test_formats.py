"""Laws of every format in the registry: round trips, detection, and readers that nothing upsets."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.instances import (
    FORMATS,
    Graph,
    Program,
    QuadraticAssignment,
    Qubo,
    get_format,
    read,
    sln,
    write,
)
from tests.instances.strategies import INSTANCES, bqms, nonzero, qubos

per_format = pytest.mark.parametrize("name", FORMATS)
many = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def same(one: Any, other: Any) -> bool:
    """Tell whether two instances are equal to the last bit (a zero has no sign)."""
    if isinstance(one, dimod.BinaryQuadraticModel):
        return bool(one == other) and list(one.variables) == list(other.variables)
    if type(one) is not type(other):
        return False
    if isinstance(one, Program) and not same(nonzero(one.objective), nonzero(other.objective)):
        return False
    names = {
        Program: ("row", "column", "value", "right", "equal"),
        Graph: ("num_vertices", "i", "j", "weight"),
        Qubo: ("num_variables", "i", "j", "value", "offset", "vartype", "labels"),
        QuadraticAssignment: ("flow", "distance"),
    }[type(one)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_every_format_has_a_strategy() -> None:
    assert INSTANCES.keys() == FORMATS.keys()


@per_format
def test_a_format_describes_itself(name: str) -> None:
    module = get_format(name)
    assert name == module.NAME
    assert module.DESCRIPTION and all(extension[0] == "." for extension in module.EXTENSIONS)
    assert module.HOLDS in ("graph", "qubo", "bqm", "assignment", "program")


@per_format
def test_the_documentation_names_the_extensions(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    extensions = " ".join(f"`{extension}`" for extension in get_format(name).EXTENSIONS)
    assert f"| `{name}` | {extensions} |" in page


@per_format
@many
@given(data=st.data())
def test_what_is_written_is_read_back(name: str, data: st.DataObject) -> None:
    module = get_format(name)
    instance = data.draw(INSTANCES[name])
    text = module.dump(instance)
    found = module.parse(text)
    if name == "coo":
        instance, found = nonzero(instance), nonzero(found)
    assert same(found, instance)
    assert module.dump(module.parse(text)) == text
    assert module.sniff(text)


@per_format
@pytest.mark.parametrize("ending", ["", ".gz"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_files_go_by_their_names(
    name: str, ending: str, data: st.DataObject, tmp_path: Path
) -> None:
    module = get_format(name)
    instance = data.draw(INSTANCES[name])
    path = tmp_path / f"an instance{module.EXTENSIONS[0]}{ending}"
    write(instance, path)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == bool(ending)
    again = read(path)
    assert module.dump(again) == module.dump(instance)
    unnamed = tmp_path / "instance"
    write(instance, unnamed, format=name)
    assert same(read(unnamed), again)


@per_format
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(name: str, data: st.DataObject) -> None:
    module = get_format(name)
    damaged = bytearray(module.dump(data.draw(INSTANCES[name])))
    junk = st.one_of(
        st.binary(max_size=4),
        st.sampled_from(
            [b"nan", b"-inf", b"1e999", b"-1", b"99999999999999999999", b"1_0", b"\n", b" ", b"[["]
        ),
    )
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        stop = data.draw(st.integers(start, min(len(damaged), start + 8)))
        damaged[start:stop] = data.draw(junk)
    read_or_refuse(module, bytes(damaged))


@per_format
@given(
    garbage=st.one_of(
        st.binary(max_size=200), st.text("0123456789 .-+einfac#%p:;=<>x~*[]\n\r\t", max_size=80)
    )
)
def test_garbage_is_read_or_refused(name: str, garbage: bytes | str) -> None:
    module = get_format(name)
    text = garbage.encode() if isinstance(garbage, str) else garbage
    starts = {
        "bqm": b"DIMODBQM\x02\x00",
        "qubo": b"p qubo 0 ",
        "bqm-json": b'{"type": ',
        "opb": b"min: +1 x1 ",
    }
    for start in (b"", starts.get(name, b"2 1\n")):
        read_or_refuse(module, start + text)


def read_or_refuse(module: Any, text: bytes) -> None:
    """Assert that an instance comes out, or an InputError of one line."""
    assert module.sniff(text) in (True, False)
    try:
        found = module.parse(text)
    except InputError as error:
        assert error.reason and "\n" not in str(error)
        assert error.line is None or 1 <= error.line <= len(text.splitlines()) + 1
    else:
        kinds = {Graph: "graph", Qubo: "qubo", QuadraticAssignment: "assignment"}
        kinds[Program] = "program"
        assert kinds.get(type(found), "bqm") == module.HOLDS


@given(text=st.one_of(st.binary(max_size=60), st.text("0123 ,.-en\n", max_size=60)))
def test_garbage_is_no_solution(text: bytes | str) -> None:
    try:
        found = sln.parse(text.encode() if isinstance(text, str) else text)
    except InputError:
        return
    if found.permutation is not None:
        assert sorted(found.permutation) == list(range(len(found.permutation)))


@many
@given(data=st.data())
def test_a_damaged_gz_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    text = b"3 2\n1 2 1\n2 3 1\n"
    packed = bytearray(gzip.compress(text, mtime=0))
    place = data.draw(st.integers(2, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "graph.rud.gz"
    path.write_bytes(packed)
    try:
        # Bits that carry a date or a name may change; the content may not.
        assert same(read(path), get_format("rudy").parse(text))
    except InputError as error:
        assert error.path == str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rudy", b"1000000000000 1\n1 2 1\n"),
        ("rudy", b"5 1000000000000\n1 2 1\n"),
        ("qubo", b"p qubo 0 1000000000000 1 0\n0 0 1\n"),
        ("beasley", b"1\n1000000000000 1\n1 1 1\n"),
        ("beasley", b"1000000000000\n2 1\n1 1 1\n"),
        ("qaplib", b"1000000\n1 2\n"),
    ],
)
def test_a_size_that_is_only_claimed_takes_no_memory(name: str, text: bytes) -> None:
    module = get_format(name)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"accepted|promises|asks for"):
            module.parse(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@many
@given(bqm=bqms())
def test_a_bqm_and_its_arrays_are_the_same_energy(bqm: dimod.BinaryQuadraticModel) -> None:
    assert same(Qubo.from_bqm(bqm).to_bqm(), bqm)


@many
@given(qubo=qubos(vartype="SPIN"))
def test_spins_become_bits_where_a_format_has_only_bits(qubo: Qubo, tmp_path: Path) -> None:
    small = Qubo(qubo.num_variables, qubo.i, qubo.j, np.sign(qubo.value), 0.0, "SPIN")
    write(small, tmp_path / "bits.qubo")
    bits = read(tmp_path / "bits.qubo")
    assert isinstance(bits, Qubo) and bits.vartype == "BINARY"
    states = dimod.generators.combinations(small.num_variables, 1).variables  # 0 … n−1
    spins = np.random.default_rng(0).choice([-1, 1], size=(5, len(states)))
    energies = small.to_bqm().energies((spins, list(states)))
    assert bits.to_bqm().energies(((1 + spins) // 2, list(states))) == pytest.approx(energies)
