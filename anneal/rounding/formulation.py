"""What rounding a layer should minimise, from moments of its inputs.

The rounded layer reads x, inputs as the rounded layers before it leave them; the network that is
kept up with reads f. Ŵ and a bias are to minimise E‖Ŵx + b̂ − Wf − b‖². The best bias for any Ŵ is
b̂ = b + W E[f] − Ŵ E[x]; what is left is quadratic in Ŵ with H = Cov(x), its minimum over real
weights at T = W Cov(f, x) H⁻¹ (for f = x it is W itself).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anneal.errors import InputError
from anneal.rounding.grids import Floats, Grid
from anneal.rounding.rows import LayerRows

RIDGE = 0.01  # share of the mean diagonal
NOISE = 1e-6  # share of the mean square, as moments are sums in single precision
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, eq=False)
class InputMoments:
    """Means over all places where a layer reads its input, for each group of channels.

    second: E[xxᵀ], cross: E[xfᵀ], (groups, n, n); mean: E[x], float_mean: E[f], (groups, n). count:
    how many places, or of each group, (groups,). Without a float network beside it f is x.
    """

    second: Floats
    mean: Floats
    cross: Floats
    float_mean: Floats
    count: int | Floats

    @classmethod
    def of(cls, inputs: Floats, floats: Floats | None = None) -> InputMoments:
        """Return the moments of inputs, (groups, places, n)."""
        reference = inputs if floats is None else floats
        places = inputs.shape[1]
        turned = inputs.transpose(0, 2, 1)
        return cls(
            turned @ inputs / places,
            inputs.mean(1),
            turned @ reference / places,
            reference.mean(1),
            places,
        )

    def __add__(self, other: InputMoments) -> InputMoments:
        """Return the moments over the places of both."""
        count = self.count + other.count

        def joined(one: Floats, more: Floats) -> Floats:
            shape = (-1, *[1] * (one.ndim - 1))
            a, b = (np.reshape(part, shape) for part in (self.count, other.count))
            found: Floats = (one * a + more * b) / np.maximum(a + b, 1)
            return found

        second, mean, cross, float_mean = (
            joined(getattr(self, name), getattr(other, name))
            for name in ("second", "mean", "cross", "float_mean")
        )
        return InputMoments(second, mean, cross, float_mean, count)


@dataclass(frozen=True)
class Formulation:
    """How the cost of a layer is made of its inputs' moments.

    ``centred``: the bias is optimal for the levels chosen, so H is the covariance; else the bias
    stays and H = E[xxᵀ]. ``asymmetric``: keep up with the float network's outputs, whatever the
    layers before have lost; else f = x. ``ridge``: share of the mean diagonal that is added to H
    and holds the weights where they were.
    """

    centred: bool = True
    asymmetric: bool = True
    ridge: float = RIDGE

    def curvature(self, moments: InputMoments) -> Floats:
        """Return H, (groups, n, n), with its ridge."""
        plain = self._plain(moments)
        return plain + self._ridge(plain, moments)

    def target(self, weights: Floats, moments: InputMoments) -> Floats:
        """Return T, the real weights, (rows, n), of least cost; dead inputs keep theirs."""
        if not self.asymmetric:
            return weights
        plain, across = self._plain(moments), moments.cross
        if self.centred:
            across = across - moments.mean[:, :, None] * moments.float_mean[:, None, :]
        grouped = weights.reshape(len(plain), -1, weights.shape[1]).transpose(0, 2, 1)
        ridge = self._ridge(plain, moments)
        found = np.linalg.solve(plain + ridge, (across + ridge) @ grouped)
        return np.ascontiguousarray(found.transpose(0, 2, 1)).reshape(weights.shape)

    def rows(
        self, weights: Floats, moments: InputMoments, grid: Grid, *, corners: bool = False
    ) -> LayerRows:
        """Return the problem of rounding weights, (rows, n), to a grid.

        ``corners``: to the two levels around each weight alone, wherever its target is. Raises
        :class:`~anneal.errors.InputError` for moments that are not finite.
        """
        if not all(np.isfinite(part).all() for part in (moments.second, moments.cross)):
            raise InputError("an input of the layer is not finite")
        target = self.target(weights, moments)
        around = weights if corners else None
        return LayerRows.of(target, self.curvature(moments), grid, around=around)

    def bias(self, weights: Floats, rounded: Floats, bias: Floats, moments: InputMoments) -> Floats:
        """Return the bias that goes with rounded weights, (rows,)."""
        if not self.centred:
            return bias
        floats = moments.float_mean if self.asymmetric else moments.mean
        return bias + _outputs(weights, floats) - _outputs(rounded, moments.mean)

    def _plain(self, moments: InputMoments) -> Floats:
        if not self.centred:
            return moments.second
        found: Floats = moments.second - moments.mean[:, :, None] * moments.mean[:, None, :]
        return found

    def _ridge(self, plain: Floats, moments: InputMoments) -> Floats:
        """Return what is added, a multiple of the identity; 1 where no input ever came.

        A ridge is never so small that the rounding errors of the moments are greater; where they
        leave a negative eigenvalue all the same, it outweighs that.
        """
        mean, square = (_mean_diagonal(part) for part in (plain, moments.second))
        share = self.ridge * mean
        if self.ridge > 0:
            share = np.maximum(share, NOISE * square)
        share = np.where((mean > 0) | (share > 0), share, 1.0)
        eye = np.eye(plain.shape[1])
        try:
            np.linalg.cholesky(plain + share[:, None, None] * eye)
        except np.linalg.LinAlgError:
            least = np.linalg.eigvalsh(plain)[:, 0]
            share = np.maximum(share, NOISE * square - 2 * np.minimum(least, 0))
        found: Floats = share[:, None, None] * eye
        return found


def _mean_diagonal(matrices: Floats) -> Floats:
    found: Floats = np.einsum("gii->g", matrices) / matrices.shape[1]
    return found


def output_error(
    weights: Floats, rounded: Floats, bias: Floats, new_bias: Floats, moments: InputMoments
) -> Floats:
    """Return E[(Ŵx + b̂ − Wf − b)²] of each output, less what no Ŵ and b̂ can change, (rows,).

    It judges a rounding by moments of inputs that were held out.
    """
    groups = len(moments.second)
    w, q = (part.reshape(groups, -1, part.shape[1]) for part in (weights, rounded))
    shift = (new_bias - bias).reshape(groups, -1)
    # Two products of matrices; einsum over three arrays would take a hundred times as long.
    square = np.einsum("gri,gri->gr", q @ moments.second, q)
    across = np.einsum("gri,gri->gr", q @ moments.cross, w)
    means = np.einsum("gri,gi->gr", q, moments.mean) - np.einsum(
        "gri,gi->gr", w, moments.float_mean
    )
    found: Floats = (square - 2 * across + 2 * shift * means + shift**2).reshape(-1)
    return found


def _outputs(weights: Floats, mean: Floats) -> Floats:
    """Return W E[x], (rows,), for means of each group, (groups, n)."""
    grouped = weights.reshape(len(mean), -1, weights.shape[1])
    found: Floats = np.einsum("gri,gi->gr", grouped, mean).reshape(-1)
    return found
