"""`qbnn place export`: its files hold the models of the assignment, whatever reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from anneal import instances
from anneal.assignment.swaps import swapped
from anneal.instances import bookshelf, hmetis, sln
from anneal.placement.grids import grid_netlist
from anneal.placement.hypergraphs import to_hypergraph
from anneal.problems import write_problem
from anneal.problems.assignment import Assignment
from anneal.problems.domain_wall import DomainWallAssignment

PROBLEM = Assignment.generate(seed=3, num_facilities=5)


def run(*words: object) -> Result:
    wide = {"COLUMNS": "250"}
    return CliRunner().invoke(cli.app, ["place", "export", *map(str, words)], env=wide)


def told(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    path = tmp_path / "five.dat"
    write_problem(PROBLEM, path)
    return path


def model_in(path: Path) -> dimod.BinaryQuadraticModel:
    if path.suffix == ".lp":
        with path.open() as stream:
            objective = dimod.lp.load(stream).objective
        return dimod.BinaryQuadraticModel(
            objective.linear, objective.quadratic, objective.offset, "BINARY"
        )
    found: Any = instances.read(path)
    return found.to_bqm() if isinstance(found, instances.Qubo) else found


@pytest.mark.parametrize("name", ["m.coo", "m.bqm", "m.json", "m.qubo", "m.lp"])
@pytest.mark.parametrize("encoding", ["one-hot", "domain-wall"])
def test_energies_of_permutations_are_costs(
    instance: Path, tmp_path: Path, encoding: str, name: str
) -> None:
    found = told(instance, "--encoding", encoding, "--out", tmp_path / name)
    model = model_in(tmp_path / name)
    assert model.num_variables == found["num_variables"]
    assert model.num_interactions == found["num_interactions"]
    other = DomainWallAssignment(PROBLEM)
    order = np.random.default_rng(1).permutation(5)
    sample = (PROBLEM if encoding == "one-hot" else other).encode(order)
    if name == "m.lp":
        letter, first = ("x", 0) if encoding == "one-hot" else ("d", 1)
        width = 5 - first
        sample = {
            f"{letter}_{v // width}_{v % width + first}": bit  # type: ignore[operator]
            for v, bit in sample.items()
        }
    assert model.energy(sample) == pytest.approx(PROBLEM.cost(order))


def test_penalties_are_measured_or_sufficient(instance: Path, tmp_path: Path) -> None:
    for encoding in ("one-hot", "domain-wall"):
        words = instance, "--encoding", encoding, "--out", tmp_path / "m.bqm"
        found = told(*words)
        assert found["penalty"] == found["measured_penalty"]
        found = told(*words, "--penalty", "sufficient")
        assert found["penalty"] == found["sufficient_penalty"]
    model = model_in(tmp_path / "m.bqm")
    least = DomainWallAssignment(PROBLEM)
    assert model.energy(least.encode(np.arange(5))) == PROBLEM.cost(np.arange(5))
    assert found["chain_strength"] == least.chain_strength


@pytest.mark.parametrize("given", [True, False])
def test_swaps_change_the_cost_by_their_energy(instance: Path, tmp_path: Path, given: bool) -> None:
    sln.write(sln.StoredAssignment(0.0, np.array([4, 1, 0, 3, 2])), tmp_path / "start.sln")
    start = ["--start", tmp_path / "start.sln"] if given else []
    words = instance, "--encoding", "swaps", "--seed", 3, *start, "--out", tmp_path / "s.coo"
    found = told(*words)
    order, pairs = np.array(found["permutation"]), np.array(found["pairs"])
    assert found["cost"] == PROBLEM.cost(order) and len(pairs) == 2
    if given:
        assert order.tolist() == [4, 1, 0, 3, 2]
    model = model_in(tmp_path / "s.coo")
    for bits in ((0, 0), (1, 0), (0, 1), (1, 1)):
        new = swapped(order, pairs[np.array(bits) == 1])
        energy = model.energy(dict(enumerate(bits)))
        assert energy == pytest.approx(PROBLEM.cost(new) - found["cost"])
    assert told(*words)["pairs"] == found["pairs"]
    human = run(*words).stdout
    assert "-".join(map(str, pairs[0])) in human and "seed" in human


def test_a_netlist_becomes_a_hypergraph(tmp_path: Path) -> None:
    netlist, _ = grid_netlist(columns=4, rows=3, cell_sites=2, degrees={2: 1.0}, seed=1)
    bookshelf.write(tmp_path / "grid.aux", netlist)
    found = told(tmp_path / "grid.aux", "--out", tmp_path / "grid.hgr.gz")
    read = hmetis.read(tmp_path / "grid.hgr.gz")
    graph = to_hypergraph(netlist)
    assert found["num_pins"] == len(read.pins) and np.array_equal(read.pins, graph.pins)
    assert np.array_equal(read.area, np.full(12, 2.0))


def test_what_does_not_fit_is_refused(tmp_path: Path, instance: Path) -> None:
    netlist, _ = grid_netlist(columns=2, rows=2)
    bookshelf.write(tmp_path / "grid.aux", netlist)
    out, grid = ["--out", tmp_path / "m.bqm"], tmp_path / "grid.aux"
    for words, reason in (
        ([instance, "--out", tmp_path / "m.png"], "name"),
        ([instance, "--out", tmp_path / "m.hgr"], "name"),
        ([instance, "--out", tmp_path / "m.dat"], "a model is"),
        ([instance, "--out", tmp_path / "no" / "m.bqm"], "cannot write"),
        ([instance, "--start", "x.sln", *out], "--encoding swaps"),
        ([grid, *out], "hypergraph, .hgr"),
        ([grid, "--encoding", "swaps", "--out", tmp_path / "m.hgr"], "for .dat"),
        ([tmp_path / "none.dat", *out], "none.dat"),
    ):
        result = run(*words)
        assert result.exit_code == 2 and reason in result.stderr, (words, result.output)
    assert not (tmp_path / "m.bqm").exists()
