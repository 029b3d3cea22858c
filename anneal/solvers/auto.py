"""The default: the solver that the structure of the problem asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.detect import described, find_squares
from anneal.ising import Couplings, Ising, multiplied_out
from anneal.layouts import ROWS_ABOVE
from anneal.presolve import Reduction, reduce_for_lanes, untouched
from anneal.sampler import IsingSampler
from anneal.solvers import get_solver
from anneal.solvers.exact import EXHAUSTIVE
from anneal.solvers.parts import PartControl, components, part_of, solve_apart
from anneal.squares import Squares
from anneal.treewidth import Order, cheapest_order

ELIMINATED = 22  # log2 of the work of an elimination that takes a few hundredths of a second
MOST_ORDERED = 2**16  # spins: of more, the tables of a few neighbours each are too many
PATIENCE = 2**21  # looks into lists for an order, about a hundredth of a second
APART = 1 / 64  # of the spins and couplings: a smaller component is not solved apart


@dataclass(frozen=True, eq=False)
class Part:
    """Spins of a reduced problem that have no coupling to others, their solver, and why."""

    spins: NDArray[np.int64]
    solver: str
    reason: str


def choose(ising: Ising) -> tuple[str, str]:
    """The name of the solver for a problem, and why, in one sentence."""
    n = ising.num_spins
    if n == 0:
        return "exact", "presolve eliminated every variable, the result is proven"
    if n <= EXHAUSTIVE:
        return "exact", f"{n} variables: all {2**n} states are searched, the result is proven"
    if ising.squares is not None:
        return "anneal", "constraints stay squares, and annealing moves along them"
    order = _order(ising)
    if order is not None:
        width = max(map(len, order.bags))
        return "exact", f"treewidth {width} at most: eliminated one by one, the result is proven"
    if ising.density > ROWS_ABOVE:
        return (
            "tabu",
            f"density {ising.density:.1%}: tabu search after a short anneal leads on dense ones",
        )
    return (
        "crossover",
        f"density {ising.density:.2%}: annealed replicas recombine well on sparse ones",
    )


def _order(ising: Ising) -> Order | None:
    if ising.num_spins > MOST_ORDERED:
        return None
    return cheapest_order(ising, most=ELIMINATED, patience=PATIENCE)


def plan(ising: Ising, control: Control | None = None) -> tuple[Reduction, list[Part]]:
    """What presolve leaves of a problem, and the solvers for the parts of that.

    Squares are found where none are given (:mod:`anneal.detect`). They are not presolved; those of
    few variables are multiplied out. Components are parts of their own, small ones one together,
    unless all can be proven at once.
    """
    kept = _with_squares(ising, control)
    if kept.squares is not None and ising.num_spins > EXHAUSTIVE:
        reduction = untouched(kept)
    else:
        reduction = reduce_for_lanes(multiplied_out(ising), control)
    small = reduction.ising
    everything = Part(np.arange(small.num_spins), *choose(small))
    if everything.solver == "exact" or small.squares is not None:
        return reduction, [everything]
    found = components(small)
    if len(found) == 1:
        return reduction, [everything]
    degrees = np.diff(small.csr().indptr)
    sizes = [len(spins) + int(degrees[spins].sum()) for spins in found]
    own = [spins for spins, size in zip(found, sizes, strict=True) if size >= APART * sum(sizes)]
    rest = found[len(own) :]
    groups = [*own, np.sort(np.concatenate(rest))] if rest else own
    return reduction, [Part(spins, *choose(part_of(small, spins))) for spins in groups]


def _with_squares(ising: Ising, control: Control | None) -> Ising:
    """The problem with the squares it has or hides, unless it can be proven without."""
    if ising.squares is not None or ising.num_spins <= EXHAUSTIVE:
        return ising
    found = find_squares(ising)
    if found is ising or ising.density > ROWS_ABOVE:
        return found
    return ising if choose(reduce_for_lanes(ising, control).ising)[0] == "exact" else found


def summary(parts: list[Part]) -> tuple[str, str]:
    """The solvers of all parts and why, in words."""
    if len(parts) == 1:
        return parts[0].solver, parts[0].reason
    names = " + ".join(dict.fromkeys(part.solver for part in parts))
    sizes = ", ".join(str(len(part.spins)) for part in parts[:3])
    more = ", …" if len(parts) > 3 else ""
    return names, f"{len(parts)} parts without couplings between them, of {sizes}{more} variables"


class AutoSampler(IsingSampler):
    """Presolve, then ``exact`` for few variables or low treewidth, ``tabu`` for dense problems,
    ``crossover`` for sparse ones; ``anneal``, without a presolve, where constraints come as
    ``squares`` or are found among the couplings. Components are solved apart.

    ``info["solver"]`` names the choice and ``info["reason"]`` says why; ``info["presolved"]`` is
    the number of variables that presolve left, ``info["presolve"]`` how many went by which rule,
    ``info["squares"]`` what stays squares. tune: as of ``anneal`` and ``crossover``.

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
        tune: bool = False,
    ) -> NDArray[np.int8]:
        given = {
            "num_sweeps": num_sweeps, "beta_range": beta_range, "beta_schedule_type":
            beta_schedule_type, "beta_schedule": beta_schedule, "tune": tune or None,
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
    reduction, parts = plan(ising, control)
    small = reduction.ising
    name, reason = summary(parts)
    control.info.update(solver=name, reason=reason, presolved=small.num_spins)
    control.info["presolve"] = dict(reduction.counts)
    if small.squares is not None:
        control.info["squares"] = described(small.squares)
    if small.num_spins == 0:
        control.info.update(proven=True, lower_bound=small.offset + control.offset)
        control.improve(small.offset)
        return reduction.expand(np.empty((common["num_reads"] or 1, 0), np.int8))
    # Its kernel is loaded by now, not at the end.
    reduction.expand(np.empty((0, small.num_spins), np.int8))
    if initial is not None:
        initial = reduction.restrict(initial)
    constant, control.offset = control.offset, control.offset + small.offset
    if len(parts) == 1:
        found = _run(parts[0].solver, small, initial, common, options)
    else:
        found = _apart(small, parts, initial, common, options)
    control.offset = constant
    whole = reduction.expand(found)
    return np.asarray(whole[np.arange(common["num_reads"] or len(whole)) % len(whole)])


def _run(
    name: str,
    ising: Ising,
    initial: NDArray[np.int8] | None,
    common: dict[str, Any],
    options: dict[str, Any],
) -> NDArray[np.int8]:
    given = {} if name == "exact" else options
    if name not in ("anneal", "crossover"):
        given = {key: value for key, value in given.items() if key != "tune"}
    if ising.squares is not None:
        given = given | {"squares": ising.squares}
    found = get_solver(name)().search(ising.h[None], ising.J, initial=initial, **common, **given)
    return np.asarray(found[0])


def _apart(
    ising: Ising,
    parts: list[Part],
    initial: NDArray[np.int8] | None,
    common: dict[str, Any],
    options: dict[str, Any],
) -> NDArray[np.int8]:
    start = np.ones(ising.num_spins, np.int8) if initial is None else initial[0]

    def solve(k: int, part: Ising, control: PartControl) -> NDArray[np.int8]:
        own = None if initial is None else np.ascontiguousarray(initial[:, parts[k].spins])
        return _run(parts[k].solver, part, own, common | {"control": control}, options)

    return solve_apart(
        ising, [part.spins for part in parts], solve,
        control=common["control"], rng=common["rng"], start=start,
    )  # fmt: skip
