"""The laws that a plug-in inherits: call them from its tests."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import dimod
import dimod.testing
import numpy as np
from dimod.exceptions import SamplerUnknownArgWarning
from numpy.typing import NDArray

from anneal.problem import Problem, Values, as_sample
from anneal.squares import Squares

# Beyond this many variables, ground states are not looked for.
EXHAUSTIVE = 16


def check_problem(problem: Problem, *, seed: int) -> None:
    """Raise AssertionError where ``problem`` breaks a law of :class:`~anneal.problem.Problem`.

    Random solutions and random samples are drawn with ``seed``; a problem of at most 16 variables
    is also searched exhaustively. Energies must agree exactly where every bias is a multiple of
    1/4, and to rounding otherwise.

    >>> from anneal.problems.maxcut import MaxCut
    >>> check_problem(MaxCut.generate(seed=1, num_vertices=5), seed=1)
    """
    rng = np.random.default_rng(seed)
    model = problem.bqm()
    assert model.num_variables, "bqm() has no variables"
    tolerance = _tolerance(model)
    _check_split(problem, model, rng, tolerance)
    for _ in range(4):
        _check_solution(problem, problem.random_solution(rng), model, tolerance)
    states = _random_states(model, 8, rng)
    for state, energy in zip(states, _energies(model, states), strict=True):
        _check_sample(problem, state, energy, model, tolerance)
    if model.num_variables <= EXHAUSTIVE:
        _check_ground_states(problem, model, tolerance)


def check_sampler(sampler_factory: Callable[[], Any], *, seed: int) -> None:
    """Raise AssertionError where a sampler with the keywords of ours breaks a law.

    ``sampler_factory()`` makes the sampler; small random models with labels of mixed types are
    drawn with ``seed``. The laws: exact energies, in whatever form a model comes; ``num_reads``;
    one result a seed, for any number of threads; what ``info`` has to tell; initial states; every
    way to stop; and errors for what cannot be sampled.

    >>> from anneal.solvers.random import RandomSampler
    >>> check_sampler(RandomSampler, seed=1)
    """
    sampler = sampler_factory()
    dimod.testing.assert_sampler_api(sampler)
    rng = np.random.default_rng(seed)
    for vartype in ("SPIN", "BINARY"):
        model = _random_model(rng, vartype)
        for other in _same_models(model):
            found = sampler.sample(other, num_reads=3, seed=seed)
            check_sample_set(found, other)
            assert len(found) == 3, f"num_reads=3 gave {len(found)} samples"
        _check_seed(sampler, model, seed)
        _check_initial_states(sampler, model, rng, seed)
        _check_refusals(sampler, model, seed)
    _check_stops(sampler, model, seed)
    if "squares" in sampler.parameters:
        _check_squares(sampler, model, rng, seed)


def check_sample_set(found: dimod.SampleSet, model: dimod.BinaryQuadraticModel) -> None:
    """Raise AssertionError unless ``found`` has energies of ``model`` and a complete ``info``."""
    assert found.vartype is model.vartype
    assert set(found.variables) == set(model.variables)
    states = found.record.sample[:, [found.variables.index(v) for v in model.variables]]
    expected = _energies(model, states)
    assert (np.abs(found.record.energy - expected) <= _tolerance(model)).all(), (
        f"energies are {expected}, not {found.record.energy}"
    )
    timing = found.info["timing"]
    for name in ("preprocessing_ns", "sampling_ns", "postprocessing_ns"):
        assert isinstance(timing[name], int) and timing[name] >= 0, f"timing {name}: {timing[name]}"
    seconds, energies = zip(*found.info["trace"], strict=True)
    assert all(a <= b for a, b in itertools.pairwise(seconds)), f"the trace goes back: {seconds}"
    assert all(a > b for a, b in itertools.pairwise(energies)), f"the trace rises: {energies}"
    assert energies[-1] == found.first.energy, (
        f"the trace ends at {energies[-1]}, the best sample has {found.first.energy}"
    )
    assert isinstance(found.info["interrupted"], bool)


def _check_split(
    problem: Problem, model: dimod.BinaryQuadraticModel, rng: np.random.Generator, tolerance: float
) -> None:
    part, squares = problem.split()
    assert list(part.variables) == list(model.variables), "split() has other variables than bqm()"
    states = _random_states(model, 8, rng)
    energies = _energies(part, states)
    if squares is not None:
        spins = states if model.vartype is dimod.SPIN else 2 * states - 1
        energies = energies + squares.energies(spins)
    assert (np.abs(energies - _energies(model, states)) <= tolerance).all(), (
        "split() does not add up to bqm()"
    )


def _random_model(rng: np.random.Generator, vartype: str) -> dimod.BinaryQuadraticModel:
    labels: list[Any] = [7, "b", (2, "a"), 0, "a", (1,), -3]
    labels = [labels[k] for k in rng.permutation(len(labels))]
    model = dimod.BinaryQuadraticModel(vartype)
    for k, label in enumerate(labels):
        model.add_variable(label, float(rng.integers(-9, 10)))
        for other in labels[:k]:
            if rng.random() < 0.6:
                model.add_quadratic(label, other, float(rng.integers(-9, 10)))
    model.offset = float(rng.integers(-9, 10)) / 2
    return model


def _same_models(model: dimod.BinaryQuadraticModel) -> list[dimod.BinaryQuadraticModel]:
    """The model in other forms: gauge, vartype, labels, units, and next to nothing of it."""
    other_type = dimod.BINARY if model.vartype is dimod.SPIN else dimod.SPIN
    forms = [model, model.change_vartype(other_type, inplace=False), dimod.DictBQM(model)]
    gauge = model.copy()
    gauge.flip_variable(model.variables[1])
    names = dict(zip(model.variables, "zyxwvut", strict=True))
    forms += [gauge, model.relabel_variables(names, inplace=False)]
    for unit in (2.0**-9, 2.0**40, math.pi, 1e30, 1e-30):
        scaled = model.copy()
        scaled.scale(unit)
        forms.append(scaled)
    linear = dimod.BinaryQuadraticModel(dict(model.linear), {}, model.vartype)
    zeros = dimod.BinaryQuadraticModel(dict.fromkeys(model.variables, 0.0), {}, model.vartype)
    single = dimod.BinaryQuadraticModel({"x": -0.0}, {}, 1.0, model.vartype)
    return [*forms, linear, zeros, single, dimod.BinaryQuadraticModel({}, {}, 1.5, model.vartype)]


def _check_seed(sampler: Any, model: dimod.BinaryQuadraticModel, seed: int) -> None:
    """Threads, runs and labels change nothing."""
    first = sampler.sample(model, num_reads=70, seed=seed, num_threads=1).record.sample
    for threads in (1, 2, 3):
        again = sampler.sample(model, num_reads=70, seed=seed, num_threads=threads).record.sample
        assert np.array_equal(first, again), f"a seed gives other samples in {threads} threads"
    renamed = model.relabel_variables(
        dict(zip(model.variables, "zyxwvut", strict=True)), inplace=False
    )
    again = sampler.sample(renamed, num_reads=70, seed=seed).record.sample
    assert np.array_equal(first, again), "other labels give other samples"


def _check_initial_states(
    sampler: Any, model: dimod.BinaryQuadraticModel, rng: np.random.Generator, seed: int
) -> None:
    states = (_random_states(model, 3, rng), list(model.variables))
    for generator, reads, expected in (
        ("none", None, 3),
        ("tile", 5, 5),
        ("random", 4, 4),
        ("none", 2, 2),
    ):
        given = {"initial_states": states, "initial_states_generator": generator}
        found = sampler.sample(model, num_reads=reads, seed=seed, **given)
        check_sample_set(found, model)
        assert len(found) == expected, f"{expected} initial states gave {len(found)} samples"
    wrong = (states[0], [f"not {label}" for label in states[1]])
    _refused(sampler, model, "initial states of other variables", initial_states=wrong)
    _refused(
        sampler, model, "too few initial states", num_reads=4, initial_states=states,
        initial_states_generator="none",
    )  # fmt: skip


def _check_refusals(sampler: Any, model: dimod.BinaryQuadraticModel, seed: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sampler.sample(model, seed=seed, no_such_keyword=1)
    assert any(w.category is SamplerUnknownArgWarning for w in caught), (
        "no warning of a wrong keyword"
    )
    for wrong in (math.nan, math.inf, -math.inf):
        broken = model.copy()
        broken.set_linear(model.variables[0], wrong)
        _refused(sampler, broken, f"a bias of {wrong}")
        _refused(sampler, model, f"a time limit of {wrong}", time_limit=wrong)
    _refused(sampler, model, "a target that is not a number", target_energy=math.nan)
    for number in (0, -1, 1.5, math.inf):
        _refused(sampler, model, f"num_reads={number}", num_reads=number)
    for number in (-1, 2**32, 0.5):
        _refused(sampler, model, f"seed={number}", seed=number)


def _refused(sampler: Any, model: dimod.BinaryQuadraticModel, what: str, **parameters: Any) -> None:
    try:
        sampler.sample(model, **parameters)
    except ValueError:
        return
    raise AssertionError(f"{what} must raise a ValueError")


def _check_squares(
    sampler: Any, model: dimod.BinaryQuadraticModel, rng: np.random.Generator, seed: int
) -> None:
    """Constraints that come apart count as those that are multiplied out."""
    for rows in (3, 1):
        amounts = rng.integers(-2, 3, (rows, model.num_variables))
        squares = Squares(amounts, rng.integers(-2, 3, rows), rng.integers(1, 9, rows) / 2)
        whole = model.copy()
        squares.add_to(whole)
        for given in ({}, {"num_sweeps": 200}, {"time_limit": 0.1}, {"num_threads": 2}):
            found = sampler.sample(model, squares=squares, num_reads=5, seed=seed, **given)
            check_sample_set(found, whole)
        best = dimod.ExactSolver().sample(whole).first.energy
        assert abs(found.first.energy - best) <= _tolerance(whole), "a square is not minded"
    for wrong in (Squares(np.ones((1, model.num_variables + 1))), "squares"):
        _refused(sampler, model, "squares of another model", squares=wrong)


def _check_stops(sampler: Any, model: dimod.BinaryQuadraticModel, seed: int) -> None:
    """With a minute to run, each way to stop early does; callbacks come 20 times a second."""
    check_sample_set(sampler.sample(model, seed=seed, time_limit=0.0), model)
    check_sample_set(sampler.sample(model, seed=seed, time_limit=0.1, progress=_progress), model)
    found = sampler.sample(model, seed=seed, num_reads=3, target_energy=-math.inf)
    check_sample_set(found, model)
    late = time.perf_counter() + 30
    for target in (math.inf, found.first.energy):
        found = sampler.sample(
            model, seed=seed, num_reads=3, time_limit=60.0, target_energy=target,
            interrupt_function=lambda: time.perf_counter() > late,
        )  # fmt: skip
        check_sample_set(found, model)
        assert found.first.energy <= target and not found.info["interrupted"], (
            "the target did not stop it"
        )
    for callback in ("interrupt_function", "progress"):
        calls: list[Any] = []

        def stop(*progress: float, calls: list[Any] = calls) -> bool:
            calls.append(progress)
            if progress and len(calls) == 1:
                raise KeyboardInterrupt
            return True

        found = sampler.sample(model, seed=seed, time_limit=60.0, **{callback: stop})
        check_sample_set(found, model)
        assert found.info["interrupted"] or not calls, f"{callback} did not interrupt it"
        assert len(calls) < 400, f"{callback} did not stop it"


def _progress(fraction: float, best: float) -> None:
    assert 0 <= fraction <= 1, f"progress was told {fraction}"
    assert not math.isnan(best), "progress was told an energy that is no number"


def _check_solution(
    problem: Problem, solution: Any, model: dimod.BinaryQuadraticModel, tolerance: float
) -> None:
    sample, cost = problem.encode(solution), problem.cost(solution)
    assert set(sample) == set(model.variables), "encode() must give every variable of bqm() a value"
    energy = model.energy(sample)
    assert abs(energy - cost) <= tolerance, (
        f"encode(solution) has energy {energy} but the solution costs {cost}: a missing offset?"
    )
    assert problem.feasible(sample), "encode() gave a sample that feasible() refuses"
    decoded = problem.decode(sample)
    assert _same(decoded, solution), f"decode(encode(solution)) is {decoded}, not {solution}"


def _check_sample(
    problem: Problem,
    state: Values,
    energy: float,
    model: dimod.BinaryQuadraticModel,
    tolerance: float,
) -> None:
    sample = as_sample(state, model.variables)
    solution = problem.decode(sample)
    assert _same(solution, problem.decode(sample)), "decode() gave two solutions for one sample"
    assert _same(solution, problem.decode(state)), "decode() reads an array unlike a mapping"
    cost = problem.cost(solution)
    assert np.isfinite(cost), f"decode() gave a solution of cost {cost} for a random sample"
    if problem.feasible(sample):
        assert abs(energy - cost) <= tolerance, (
            f"a feasible sample has energy {energy} but its solution costs {cost}"
        )
    _check_solution(problem, solution, model, tolerance)


def _check_ground_states(
    problem: Problem, model: dimod.BinaryQuadraticModel, tolerance: float
) -> None:
    """As every solution's energy is its cost, a ground state of that cost is a best solution."""
    states = _all_states(model)
    energies = _energies(model, states)
    ground = float(energies.min())
    for state in states[energies <= ground + tolerance][:16]:
        sample = as_sample(state, model.variables)
        assert problem.feasible(sample), (
            f"a ground state of energy {ground} is not feasible: the penalty is too small"
        )
        cost = problem.cost(problem.decode(sample))
        assert abs(cost - ground) <= 2 * tolerance, (
            f"a ground state of energy {ground} decodes to a solution of cost {cost}"
        )
    best = problem.best_known
    assert best is None or best >= ground - tolerance, (
        f"best_known is {best}, but no solution costs less than {ground}"
    )


def _tolerance(model: dimod.BinaryQuadraticModel) -> float:
    vectors = model.to_numpy_vectors()
    biases = np.concatenate(
        [vectors.linear_biases, vectors.quadratic.biases, [float(model.offset)]]
    )
    total = float(np.abs(biases).sum())
    exact = bool(np.all(4 * biases == np.floor(4 * biases))) and total < 2.0**50
    return 0.0 if exact else 1e-12 * total


def _energies(model: dimod.BinaryQuadraticModel, states: Values) -> NDArray[np.float64]:
    return np.asarray(model.energies((states, list(model.variables))), dtype=np.float64)


def _random_states(
    model: dimod.BinaryQuadraticModel, count: int, rng: np.random.Generator
) -> Values:
    return _from_bits(model, rng.integers(2, size=(count, model.num_variables)))


def _all_states(model: dimod.BinaryQuadraticModel) -> Values:
    numbers = np.arange(2**model.num_variables)[:, np.newaxis]
    return _from_bits(model, numbers >> np.arange(model.num_variables) & 1)


def _from_bits(model: dimod.BinaryQuadraticModel, bits: NDArray[np.int64]) -> Values:
    return (2 * bits - 1 if model.vartype is dimod.SPIN else bits).astype(np.int8)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.array_equal(left, right)
    return bool(left == right)
