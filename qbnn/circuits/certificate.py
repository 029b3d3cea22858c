"""What a comparison of circuits with their emulation found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from anneal.tables import Column, Table, column


@dataclass(frozen=True)
class Check:
    """One comparison of a circuit with the emulation.

    ``pairs``: how many of the neuron's ``fan_in`` inputs took part. ``path``: how the device ran
    it. ``difference``: the greatest, of the probability to fire and of each count's. Where all
    inputs took part it is also that of the mean and the variance of the layer, divided by N, and
    ``law_difference`` says how far the law that the network uses is from the exact one. A neuron's
    ``gradient_difference`` is the greatest of all derivatives by activations, weights and gates.
    """

    stage: str
    layer: int
    neuron: int
    position: int
    image: int
    fan_in: int
    pairs: int
    circuit: str
    path: str
    value: float
    difference: float
    gradient_difference: float | None
    agrees: bool
    law_difference: float | None = None


@dataclass(frozen=True)
class Certificate:
    """All comparisons, and what they had to keep within."""

    checks: tuple[Check, ...]
    tolerance: float
    gradient_tolerance: float
    device: str
    seed: int

    @property
    def agrees(self) -> bool:
        """Whether every comparison does."""
        return all(check.agrees for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "agrees": self.agrees,
            "device": self.device,
            "seed": self.seed,
            "tolerance": self.tolerance,
            "gradient_tolerance": self.gradient_tolerance,
            "largest_difference": max(check.difference for check in self.checks),
            "largest_gradient_difference": max(
                (check.gradient_difference or 0.0 for check in self.checks), default=0.0
            ),
            "checks": [asdict(check) for check in self.checks],
        }

    @property
    def verdict(self) -> str:
        """One word of it."""
        return "agree" if self.agrees else "DISAGREE"

    def summary(self) -> dict[str, Any]:
        """Return the facts as a person reads them, below the table."""
        found = self.document()
        laws = [check.law_difference or 0.0 for check in self.checks]
        return {
            "comparisons": len(self.checks),
            "largest_difference": f"{found['largest_difference']:.1e} (≤ {self.tolerance:g})",
            "largest_gradient": f"{found['largest_gradient_difference']:.1e} "
            f"(≤ {self.gradient_tolerance:g})",
            "law_of_the_network": f"off by at most {max(laws):.1e} from the exact one",
            "paths": ", ".join(dict.fromkeys(check.path for check in self.checks)),
            "seed": self.seed,
        }

    def table(self) -> Table:
        """Return a row for each comparison, for :mod:`anneal.tables`."""
        return Table("certificate", _COLUMNS, [asdict(check) for check in self.checks])


def _pairs(row: dict[str, Any]) -> str:
    """Say plainly where not all inputs took part."""
    pairs, fan_in = row["pairs"], row["fan_in"]
    return f"all {fan_in}" if pairs == fan_in else f"{pairs} of {fan_in}"


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


_COLUMNS = [
    Column("layer", lambda row: f"{row['layer']} {row['stage']}"),
    column("neuron"),
    column("position"),
    column("image"),
    Column("pairs", _pairs),
    column("circuit"),
    column("path"),
    column("value", "P(fires)", lambda value: f"{value:.6f}"),
    column("difference", show=_small),
    column("gradient_difference", "gradient", _small),
    column("law_difference", "law − exact", _small),
    column("agrees", show=lambda agrees: "yes" if agrees else "NO"),
]
