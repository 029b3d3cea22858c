"""PresolveComposite: any dimod sampler, asked for what presolve leaves of a model."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.ising import Ising
from anneal.presolve import Reduction, reduce


class PresolveComposite(dimod.ComposedSampler):  # type: ignore[misc,name-defined]
    """Reduces a model exactly, has ``child`` sample the rest, and gives every sample its other
    variables back.

    The child gets variables of the same names and vartype, and all keywords; ``initial_states``
    lose the variables that went. The best completion of a sample is one of least energy, so a
    ground state of what is left gives one of the model. ``info`` is the child's, with
    ``info["presolve"]``: how many variables went by which rule
    (:class:`~anneal.presolve.Reduction`), and how many are left. Nothing is asked of the child
    where none is: the result is then a ground state, ``num_reads`` times.

    Raises :class:`~anneal.errors.InputError` for coefficients that are not finite, and for
    ``squares``, which speak of variables that may go.

    >>> from anneal.solvers.random import RandomSampler
    >>> found = PresolveComposite(RandomSampler()).sample_ising({"a": 1}, {"ab": -1, "bc": 2})
    >>> found.record.sample.tolist(), found.info["presolve"]["left"]
    ([[-1, -1, 1]], 0)
    """

    def __init__(self, child: Any) -> None:
        self._child = child

    @property
    def children(self) -> list[Any]:
        """The sampler of what is left."""
        return [self._child]

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the child."""
        return {name: value for name, value in self._child.parameters.items() if name != "squares"}

    @property
    def properties(self) -> dict[str, Any]:
        """Those of the child, under ``child_properties``."""
        return {"child_properties": dict(self._child.properties)}

    def sample(self, bqm: dimod.BinaryQuadraticModel, **parameters: Any) -> dimod.SampleSet:
        """Sample a BQM with the child's keywords."""
        if parameters.get("squares") is not None:
            raise InputError("squares cannot be presolved: multiply them out, or leave presolve")
        ising = Ising.from_bqm(bqm)
        reduction = reduce(ising)
        kept = [bqm.variables[k] for k in reduction.kept]
        told = {"presolve": {**reduction.counts, "left": len(kept)}}
        if not kept:
            states = np.empty((parameters.get("num_reads") or 1, 0), np.int8)
            return _restored(bqm, ising, reduction, states, info=told)
        if parameters.get("initial_states") is not None:
            parameters["initial_states"] = _restricted(parameters["initial_states"], kept)
        small = reduction.ising.to_bqm(kept)
        small.change_vartype(bqm.vartype, inplace=True)
        found = self._child.sample(small, **parameters)
        order = [found.variables.index(variable) for variable in kept]
        states = np.asarray(found.record.sample[:, order], np.int8)
        if found.vartype is dimod.BINARY:
            states = (2 * states - 1).astype(np.int8)
        more = {
            name: found.record[name]
            for name in found.record.dtype.names
            if name not in ("sample", "energy")
        }
        return _restored(bqm, ising, reduction, states, info={**found.info, **told}, **more)


def _restricted(states: Any, kept: list[Any]) -> Any:
    """The initial states of the variables that are left, as dimod takes samples."""
    if isinstance(states, dimod.SampleSet):
        values, variables = states.record.sample, list(states.variables)
    else:
        values, variables = dimod.as_samples(states)
    try:
        columns = [list(variables).index(variable) for variable in kept]
    except ValueError as error:
        raise InputError(f"initial_states must name every variable: {error}") from error
    return np.asarray(values)[:, columns], kept


def _restored(
    bqm: dimod.BinaryQuadraticModel,
    ising: Ising,
    reduction: Reduction,
    states: NDArray[np.int8],
    **vectors: Any,
) -> dimod.SampleSet:
    whole = reduction.expand(states)
    energies = ising.energies(whole) if ising.num_spins else np.full(len(whole), ising.offset)
    samples = whole if bqm.vartype is dimod.SPIN else ((whole + 1) // 2).astype(np.int8)
    found: dimod.SampleSet = dimod.SampleSet.from_samples(
        (samples, list(bqm.variables)),
        vartype=bqm.vartype,
        energy=energies,
        sort_labels=False,
        **vectors,
    )
    return found
