"""The default: the solver that the structure of the problem asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.ising import Couplings, Ising, multiplied_out
from anneal.layouts import ROWS_ABOVE
from anneal.presolve import Reduction, reduce, untouched
from anneal.sampler import IsingSampler
from anneal.solvers import get_solver
from anneal.squares import Squares

EXHAUSTIVE = 24  # spins whose 2²⁴ states take a few hundredths of a second


def choose(ising: Ising) -> tuple[str, str]:
    """The name of the solver for a problem, and why, in one sentence."""
    n = ising.num_spins
    if n == 0:
        return "exact", "presolve eliminated every variable, the result is proven"
    if n <= EXHAUSTIVE:
        return "exact", f"{n} variables: all {2**n} states are searched, the result is proven"
    if ising.squares is not None:
        return "anneal", "constraints stay squares, and annealing moves along them"
    if ising.density > ROWS_ABOVE:
        return (
            "tabu",
            f"density {ising.density:.1%}: tabu search after a short anneal leads on dense ones",
        )
    return (
        "crossover",
        f"density {ising.density:.2%}: annealed replicas recombine well on sparse ones",
    )


def plan(ising: Ising) -> tuple[Reduction, str, str]:
    """What presolve leaves of a problem, the solver for that, and why.

    Squares are not presolved; those of few variables are multiplied out.
    """
    if ising.squares is not None and ising.num_spins > EXHAUSTIVE:
        reduction = untouched(ising)
    else:
        reduction = reduce(multiplied_out(ising))
    return reduction, *choose(reduction.ising)


class AutoSampler(IsingSampler):
    """Presolve, then ``exact`` for few variables, ``tabu`` for dense problems, ``crossover`` for
    sparse ones; ``anneal``, without a presolve, where constraints come as ``squares``.

    ``info["solver"]`` names the choice and ``info["reason"]`` says why; ``info["presolved"]`` is
    the number of variables that presolve left.

    >>> AutoSampler().sample_ising({0: 1.0}, {(0, 1): 1.0}).info["solver"]
    'exact'
    """

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        num_threads: int = 1,
        num_sweeps: int | None = None,
        beta_range: Any = None,
        beta_schedule_type: str | None = None,
        beta_schedule: Any = None,
        squares: Squares | None = None,
    ) -> NDArray[np.int8]:
        given = {
            "num_sweeps": num_sweeps, "beta_range": beta_range, "beta_schedule_type":
            beta_schedule_type, "beta_schedule": beta_schedule,
        }  # fmt: skip
        options = {key: value for key, value in given.items() if value is not None}
        common = {
            "control": control,
            "rng": rng,
            "num_reads": num_reads,
            "num_threads": num_threads,
        }
        isings = [Ising(linear, J, squares=squares) for linear in h]
        return np.stack([_solve(ising, initial, common, options) for ising in isings])


def _solve(
    ising: Ising, initial: NDArray[np.int8] | None, common: dict[str, Any], options: dict[str, Any]
) -> NDArray[np.int8]:
    control: Control = common["control"]
    reduction, name, reason = plan(ising)
    small = reduction.ising
    control.info.update(solver=name, reason=reason, presolved=small.num_spins)
    if small.num_spins == 0:
        control.info["proven"] = True
        control.improve(small.offset)
        return reduction.expand(np.empty((common["num_reads"] or 1, 0), np.int8))
    # Its kernel is loaded by now, not at the end.
    reduction.expand(np.empty((0, small.num_spins), np.int8))
    if initial is not None:
        initial = reduction.restrict(initial)
    constant, control.offset = control.offset, control.offset + small.offset
    given = {} if name == "exact" else options
    if small.squares is not None:
        given = given | {"squares": small.squares}
    found = get_solver(name)().search(small.h[None], small.J, initial=initial, **common, **given)
    control.offset = constant
    whole = reduction.expand(found[0])
    return np.asarray(whole[np.arange(common["num_reads"] or len(whole)) % len(whole)])
