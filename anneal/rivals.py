"""Other packages that solve Ising problems: each takes a problem over, then runs batches of reads.

They are imported on use. Nothing here minds the time:
:mod:`anneal.peers` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt
from scipy import sparse

from anneal.errors import InputError
from anneal.ising import Ising

# Reads, steps of each, seed → samples.
Run = Callable[[int, int, int], dimod.SampleSet]
Spins = npt.NDArray[np.int8]

MOST_DENSE = 10_000  # variables of a package that keeps every pair: three copies are 1.2 GB


@dataclass(frozen=True)
class Rival:
    """One sampler of another package.

    package: what is installed. module: what is imported. prepare: takes a problem over. steps: the
    length of a read that is its default. reads: how many a batch holds, one where a batch is no
    faster than its reads. install: what pip installs it by.
    """

    package: str
    module: str
    prepare: Callable[[Any, dimod.BinaryQuadraticModel], Run]
    steps: int = 1000
    reads: int = 1
    install: str = "'qbnn[bench]'"

    def load(self) -> Any:
        """Import it; raises :class:`~anneal.errors.InputError` where it is not installed."""
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            reason = f"{self.package} is wanted: pip install {self.install} ({error})"
            raise InputError(reason) from error

    def versions(self) -> dict[str, str]:
        """Return the installed version by the package's name, nothing where it has none."""
        try:
            return {self.package: version(self.package)}
        except PackageNotFoundError:
            return {}


def _openjij(openjij: Any, bqm: dimod.BinaryQuadraticModel, *, sampler: str) -> Run:
    """Its samplers as they come: geometric temperatures (SA); β = 5, Γ = 1, four slices (SQA).

    It gives every read of a call the same random numbers, so a read is a call.
    """
    vectors: Any = bqm.to_numpy_vectors(bqm.variables)
    row, column, value = (array.tolist() for array in vectors.quadratic)
    model = openjij.model.model.BinaryQuadraticModel(
        dict(enumerate(vectors.linear_biases.tolist())),
        dict(zip(zip(row, column, strict=True), value, strict=True)),
        float(bqm.offset),
        bqm.vartype.name,
        sparse=True,
    )
    names = dict(enumerate(bqm.variables))
    solver = getattr(openjij, sampler)()

    def run(reads: int, steps: int, seed: int) -> dimod.SampleSet:
        # It draws from numpy's global generator, too.
        with _seeded_numpy(seed):
            found = [
                solver.sample(model, num_reads=1, num_sweeps=steps, seed=seed + read)
                for read in range(reads)
            ]
        joined: dimod.SampleSet = dimod.concatenate(found)
        joined.relabel_variables(names)
        return joined

    return run


def _mindquantum(qaia: Any, bqm: dimod.BinaryQuadraticModel, *, solver: str) -> Run:
    """Bifurcation with its own scale of couplings, Δt = 1 (Goto et al. 2021)."""
    ising = Ising.from_bqm(bqm)
    couplings = sparse.csr_matrix(-ising.J)
    fields = -ising.h if ising.h.any() else None

    def run(reads: int, steps: int, seed: int) -> dimod.SampleSet:
        # It draws from numpy's global generator.
        with _seeded_numpy(seed):
            found = getattr(qaia, solver)(couplings, h=fields, n_iter=steps, batch_size=reads)
            found.update()
        return _as_samples(found.x.T, ising, bqm)

    return run


def _simulated_bifurcation(package: Any, bqm: dimod.BinaryQuadraticModel, *, mode: str) -> Run:
    """Bifurcation with Δt = 0.1; the pump reaches its end with the last step.

    By default it does so after 1000 steps, and a longer read would only wait.
    """
    import torch

    if bqm.num_variables > MOST_DENSE:
        raise InputError(
            f"simulated-bifurcation keeps every pair: at most {MOST_DENSE} variables, "
            f"not {bqm.num_variables}"
        )
    ising = Ising.from_bqm(bqm)
    dense = ising.J.toarray() if isinstance(ising.J, sparse.csr_array) else ising.J
    model = package.core.ising.Ising(-dense.astype(np.float32), ising.h.astype(np.float32))

    def run(reads: int, steps: int, seed: int) -> dimod.SampleSet:
        with torch.random.fork_rng(devices=()), _one_thread(torch):
            torch.manual_seed(seed)
            time_step = package.get_env()["time_step"]
            package.set_env(pressure_slope=1 / (time_step * steps))
            try:
                spins = model.minimize(
                    agents=reads, max_steps=steps, mode=mode, verbose=False, early_stopping=False
                )
            finally:
                package.reset_env()
        return _as_samples(spins.numpy().T, ising, bqm)

    return run


def _as_samples(
    positions: npt.NDArray[Any], ising: Ising, bqm: dimod.BinaryQuadraticModel
) -> dimod.SampleSet:
    """Return the signs of positions, (reads, n), as samples; zero counts as +1."""
    spins: Spins = np.where(positions >= 0, 1, -1).astype(np.int8)
    found: dimod.SampleSet = dimod.SampleSet.from_samples(
        (spins, list(bqm.variables)), energy=ising.energies(spins), vartype=dimod.SPIN
    )
    return found


@contextmanager
def _seeded_numpy(seed: int) -> Iterator[None]:
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _of_mindquantum(solver: str) -> Rival:
    prepare = partial(_mindquantum, solver=solver)
    # It wants rich 10.9.0 and no other, for printing circuits.
    install = "--no-deps mindquantum"
    return Rival("mindquantum", "mindquantum.algorithm.qaia", prepare, reads=16, install=install)


def _of_simulated_bifurcation(mode: str) -> Rival:
    prepare = partial(_simulated_bifurcation, mode=mode)
    return Rival("simulated-bifurcation", "simulated_bifurcation", prepare, reads=16)


# Simulated annealing and its quantum kin by path integrals (OpenJij); ballistic and discrete
# bifurcation (MindQuantum, simulated-bifurcation).
RIVALS: dict[str, Rival] = {
    "openjij": Rival("openjij", "openjij", partial(_openjij, sampler="SASampler")),
    "openjij+quantum": Rival("openjij", "openjij", partial(_openjij, sampler="SQASampler")),
    "mindquantum+ballistic": _of_mindquantum("BSB"),
    "mindquantum+discrete": _of_mindquantum("DSB"),
    "simulated-bifurcation+ballistic": _of_simulated_bifurcation("ballistic"),
    "simulated-bifurcation+discrete": _of_simulated_bifurcation("discrete"),
}
