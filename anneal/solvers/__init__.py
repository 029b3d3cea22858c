"""Solvers: dimod samplers by name."""

from __future__ import annotations

from typing import Any

from anneal.registry import resolve

SOLVERS = {
    "auto": "anneal.solvers.auto:AutoSampler",
    "anneal": "anneal.solvers.anneal:AnnealSampler",
    "crossover": "anneal.solvers.crossover:CrossoverSampler",
    "tempering": "anneal.solvers.tempering:TemperingSampler",
    "population": "anneal.solvers.population:PopulationSampler",
    "tabu": "anneal.solvers.tabu:TabuSampler",
    "bifurcation": "anneal.solvers.bifurcation:BifurcationSampler",
    "greedy": "anneal.solvers.greedy:GreedySampler",
    "exact": "anneal.solvers.exact:ExactSampler",
    "highs": "anneal.solvers.highs:HighsSampler",
    "random": "anneal.solvers.random:RandomSampler",
    "qaoa": "anneal.solvers.qaoa:QaoaSampler",
    "neal": "neal:SimulatedAnnealingSampler",
    "dwave-tabu": "dwave.samplers:TabuSampler",
    "dwave-greedy": "dwave.samplers:SteepestDescentSampler",
    "dwave-path-integral": "dwave.samplers:PathIntegralAnnealingSampler",
    "dwave-rotor": "dwave.samplers:RotorModelAnnealingSampler",
    "dwave-planar": "dwave.samplers:PlanarGraphSolver",
    "dwave-tree": "dwave.samplers:TreeDecompositionSolver",
    "dwave-random": "dwave.samplers:RandomSampler",
}


def get_solver(name: str) -> Any:
    """The sampler class of a registered name, or of ``"module:Class"``.

    Raises :class:`~anneal.errors.InputError` for an unknown name.

    >>> get_solver("random")().sample_ising({"a": -1.0}, {}, num_reads=3, seed=1).variables
    Variables(['a'])
    """
    return resolve(SOLVERS, name, kind="solver")
