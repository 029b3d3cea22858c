"""Max-Cut, QUBO and spin glasses, the registry, and problems in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problem import Problem
from anneal.problems import PROBLEMS, get_problem, read_problem, write_problem
from anneal.problems.assignment import Assignment
from anneal.problems.maxcut import MaxCut
from anneal.problems.qubo import Qubo
from anneal.problems.spin_glass import Lattice, SherringtonKirkpatrick
from anneal.testing import check_problem

seeds = st.integers(0, 9999)


@given(
    seed=seeds,
    family=st.sampled_from(["random", "regular", "toroidal"]),
    num_vertices=st.sampled_from([9, 12, 16, 30]),
    density=st.floats(0, 1),
    degree=st.sampled_from([0, 2, 4]),
    signed=st.booleans(),
)
@settings(max_examples=40)
def test_max_cut_obeys_the_laws(seed: int, **parameters: Any) -> None:
    check_problem(MaxCut.generate(seed=seed, **parameters), seed=seed)


@given(
    seed=seeds,
    shape=st.one_of(
        st.integers(1, 20), st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
    ),
    periodic=st.booleans(),
    gaussian=st.booleans(),
)
@settings(max_examples=40)
def test_lattices_obey_the_laws(seed: int, **parameters: Any) -> None:
    check_problem(Lattice.generate(seed=seed, **parameters), seed=seed)


@given(seed=seeds, num_spins=st.integers(1, 20), gaussian=st.booleans())
@settings(max_examples=20)
def test_sk_obeys_the_laws(seed: int, **parameters: Any) -> None:
    check_problem(SherringtonKirkpatrick.generate(seed=seed, **parameters), seed=seed)


@given(seed=seeds, num_variables=st.integers(1, 20), density=st.floats(0, 1))
@settings(max_examples=20)
def test_qubos_obey_the_laws(seed: int, **parameters: Any) -> None:
    check_problem(Qubo.generate(seed=seed, **parameters), seed=seed)


def test_any_labels_and_either_vartype_make_a_qubo() -> None:
    model = dimod.BinaryQuadraticModel({"b": 0.1}, {("b", ("a", 1)): -0.7}, 0.3, "SPIN")
    check_problem(Qubo(model), seed=0)
    assert Qubo(model).cost([1, -1]) == pytest.approx(1.1)
    changed = Qubo(model).bqm()
    changed.offset = 9
    assert model.offset == 0.3


def test_cut_is_the_weight_between_the_sides() -> None:
    rng = np.random.default_rng(0)
    problem = MaxCut.generate(seed=1, num_vertices=30, density=0.3, signed=True)
    side = rng.choice([-1, 1], 30)
    pairs = zip(problem.i, problem.j, problem.weight, strict=True)
    assert problem.cost(side) == -sum(w for i, j, w in pairs if side[i] != side[j])


def test_parallel_edges_add_up() -> None:
    problem = MaxCut(3, [0, 1, 1], [1, 0, 2], [1.0, 2.5, -4.0])
    check_problem(problem, seed=0)
    assert problem.cost([1, -1, -1]) == -3.5


def test_lattice_ground_states_of_ferromagnets() -> None:
    """All couplings −1: the ground energy is minus the number of bonds, 3 a site in a cube."""
    random = Lattice.generate(seed=0, shape=(4, 4, 4))
    problem = Lattice(64, random.i, random.j, -np.ones(192))
    assert problem.cost(np.ones(64)) == -192
    assert set(random.coupling) == {-1.0, 1.0}


def test_large_instances_are_built_from_arrays() -> None:
    problem = Lattice.generate(seed=0, shape=(1000, 1000))
    assert problem.coupling.size == 2 * 10**6
    assert problem.bqm().num_interactions == 2 * 10**6
    sparse = MaxCut.generate(seed=0, num_vertices=10**6, density=2e-6)
    assert abs(sparse.weight.size - 10**6) < 6000


def test_arrays_of_an_instance_cannot_be_written_to() -> None:
    problem = MaxCut.generate(seed=0, num_vertices=9)
    for array in (problem.i, problem.j, problem.weight):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2


@pytest.mark.parametrize(
    ("num_vertices", "i", "j", "weight"),
    [
        (0, [], [], []),
        (2.5, [], [], []),
        (10**12, [], [], []),
        (2, [0], [0], [1.0]),
        (2, [0], [2], [1.0]),
        (2, [-1], [1], [1.0]),
        (2, [0], [1], [1.0, 2.0]),
        (2, [[0]], [[1]], [[1.0]]),
        (2, [0.5], [1.0], [1.0]),
        (2, [0], [1], [float("nan")]),
        (2, [0], [1], [float("inf")]),
        (2, [0, 0], [1, 1], [1.7e308, 1.7e308]),
        (2, [0], [1], ["x"]),
    ],
)
@pytest.mark.parametrize("found", [MaxCut, Lattice])
def test_bad_edges_are_refused(found: Any, num_vertices: Any, i: Any, j: Any, weight: Any) -> None:
    with pytest.raises(InputError):
        found(num_vertices, i, j, weight)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("maxcut", {"family": "petersen"}),
        ("maxcut", {"num_vertices": -1}),
        ("maxcut", {"num_vertices": "many"}),
        ("maxcut", {"density": 1.5}),
        ("maxcut", {"density": float("nan")}),
        ("maxcut", {"density": "much"}),
        ("maxcut", {"family": "toroidal", "num_vertices": 13}),
        ("maxcut", {"family": "regular", "num_vertices": 5, "degree": 3}),
        ("lattice", {"shape": ()}),
        ("lattice", {"shape": (4, 0)}),
        ("lattice", {"shape": (4.5,)}),
        ("lattice", {"shape": (10**5, 10**5)}),
        ("sk", {"num_spins": 0}),
        ("sk", {"num_spins": 10**6}),
        ("qubo", {"num_variables": 0}),
        ("qubo", {"density": -0.1}),
        ("assignment", {"num_facilities": 0}),
        ("assignment", {"num_facilities": 10**6}),
        ("assignment", {"density": 2}),
    ],
)
def test_bad_parameters_are_refused(name: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        get_problem(name).generate(seed=1, **parameters)


def test_bad_models_are_refused() -> None:
    for model in (
        dimod.BinaryQuadraticModel("SPIN"),
        dimod.BinaryQuadraticModel({0: float("nan")}, {}, "SPIN"),
        dimod.BinaryQuadraticModel({}, {(0, 1): float("inf")}, "SPIN"),
        dimod.BinaryQuadraticModel({0: 1.0}, {}, float("nan"), "SPIN"),
        {"a": 1},
    ):
        with pytest.raises(InputError):
            Qubo(model)


def test_registry_names_are_the_problems_names() -> None:
    for name in PROBLEMS:
        assert get_problem(name).name == name
        assert issubclass(get_problem(name), Problem)
    assert get_problem("anneal.problems.qubo:Qubo") is Qubo
    with pytest.raises(InputError, match="did you mean 'maxcut'"):
        get_problem("max-cut")
    with pytest.raises(InputError, match="not a subclass"):
        get_problem("math:pi")


@pytest.mark.parametrize(
    ("name", "file", "comes_back"),
    [
        ("maxcut", "a graph.rud", MaxCut),
        ("maxcut", "graph.rud.gz", MaxCut),
        ("maxcut", "graph.bqm", Qubo),
        ("assignment", "plan.dat", Assignment),
        ("assignment", "plan.bqm", Qubo),
        ("assignment", "plan.qubo", Qubo),
        ("qubo", "model.qubo", Qubo),
        ("lattice", "glass.bqm", Qubo),
        ("planted", "glass.bqm.gz", Qubo),
    ],
)
def test_files_keep_the_energies(
    tmp_path: Path, name: str, file: str, comes_back: type[Problem]
) -> None:
    found = get_problem(name)
    problem = found.generate(seed=4, **found.small)
    write_problem(problem, tmp_path / file)
    again = read_problem(tmp_path / file)
    assert type(again) is comes_back
    bits = np.random.default_rng(1).integers(2, size=(20, problem.bqm().num_variables))
    before, after = problem.bqm(), again.bqm()
    before.change_vartype("BINARY")
    after.change_vartype("BINARY")
    np.testing.assert_array_equal(
        before.energies((bits, list(before.variables))),
        after.energies((bits, list(after.variables))),
    )


def test_an_assignment_keeps_its_matrices_in_a_file(tmp_path: Path) -> None:
    problem = Assignment.generate(seed=1, num_facilities=5)
    write_problem(problem, tmp_path / "plan.dat")
    again = read_problem(tmp_path / "plan.dat")
    assert isinstance(again, Assignment)
    assert np.array_equal(again.flow, problem.flow)
    assert np.array_equal(again.distance, problem.distance)


def test_a_bad_instance_in_a_good_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.dat"
    path.write_text("1\n1e200\n1e200\n")
    with pytest.raises(InputError, match=r"huge\.dat: .*too large"):
        read_problem(path)


def test_g_set_and_beasley_obey_the_laws(data_folder: Path) -> None:
    graph = read_problem(data_folder / "gset" / "G11.txt")
    assert isinstance(graph, MaxCut)
    check_problem(graph, seed=1)
    model = read_problem(data_folder / "orlib" / "bqp50_1.qubo")
    assert isinstance(model, Qubo)
    check_problem(model, seed=1)
