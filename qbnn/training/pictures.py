"""Pictures of a network as PNG or SVG bytes: its training, its errors and its first layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.files import write_bytes, write_text
from anneal.plots import COLOURS, ImageFormat, blank_figure, image_bytes, style_axes
from qbnn.models import Block, Network
from qbnn.terminal import pages
from qbnn.training.evaluate import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _RED = COLOURS[:2]
_GREY = "#666666"
MAX_FILTERS = 12
CAPTIONS = {
    "training-curve": "Losses, and the accuracy on the images for validation.",
    "confusion-matrix": "What the images of each class were taken for.",
    "reliability": "How often predictions of a confidence are right.",
    "filters": "The first layer; of a deformed one also what m = α + βφ + γχ is made of.",
}


def training_curve(history: Sequence[Mapping[str, Any]], *, image: ImageFormat = "png") -> bytes:
    """Draw losses and the validation's accuracy against epochs, the best epoch marked.

    ``history``: rows of :func:`qbnn.training.train.train`. Raises
    :class:`~anneal.errors.InputError` without rows.
    """
    if not history:
        raise InputError("no epoch to draw")
    figure = blank_figure(8.0, 3.4)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    shares = [100 * row["validation_accuracy"] for row in history]
    look: dict[str, Any] = {"marker": "o" if len(history) < 30 else "", "ms": 3.5}
    left.plot(epochs, [row["train_loss"] for row in history], label="training", **look)
    left.plot(epochs, [row["validation_loss"] for row in history], label="validation", **look)
    for line, colour in zip(left.lines, COLOURS, strict=False):
        line.set_color(colour)
    _log_axis(left)
    left.set_ylabel("loss")
    left.legend(frameon=False, fontsize=9)
    right.plot(epochs, shares, color=_RED, **look)
    top = max(shares)
    place = epochs[shares.index(top)]
    right.plot(place, top, "o", ms=9, mfc="none", mec=_GREY)
    right.set_title(f"highest {top:.2f} %, epoch {place}", fontsize=9, color=_GREY, loc="right")
    right.set_ylabel("validation accuracy in %")
    for axes in (left, right):
        style_axes(axes)
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
    return image_bytes(figure, image)


def confusion_matrix(
    found: Evaluation, class_names: Sequence[str], *, image: ImageFormat = "png"
) -> bytes:
    """Draw how often each class (row) was taken for each other (column).

    Colours are shares of the row, and errors are coloured apart so that they show beside the
    diagonal; empty cells stay empty.
    """
    counts = found.confusion
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = len(counts)
    figure = blank_figure(1.6 + 0.48 * size, 1.3 + 0.44 * size)
    axes = figure.subplots()
    right = np.eye(size, dtype=bool)
    # An error is seldom, so its scale ends at a fifth of the row.
    axes.imshow(np.where(right, share, np.nan), cmap="Blues", vmin=0, vmax=1.25)
    errors = np.where(right | (counts == 0), np.nan, share)
    axes.imshow(errors, cmap="Oranges", vmin=-0.02, vmax=0.2)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = share[row, column] > (0.7 if row == column else 0.12)
            colour = "white" if dark else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right"}
    slanted = slanted if max(map(len, class_names)) > 3 else {}
    axes.set_xticks(range(size), class_names, **slanted)
    axes.set_yticks(range(size), class_names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    axes.tick_params(length=0)
    axes.set_title(_headline(found), fontsize=9, color=_GREY, loc="left")
    return image_bytes(figure, image)


def reliability_diagram(found: Evaluation, *, image: ImageFormat = "png") -> bytes:
    """Draw how often predictions of a confidence are right, with Wilson's intervals of 95 %.

    On the diagonal a network is calibrated; below it, too sure. The lower panel has the number
    of images in each bin.
    """
    bins = found.reliability()
    figure = blank_figure(4.8, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=_GREY, lw=1, ls="--", label="calibrated")
    confidence = [b.confidence for b in bins]
    for b in bins:
        upper.plot([b.confidence] * 2, b.accuracy[1:], color=_BLUE, lw=1.5)
    label = "images of a bin, 95 %"
    upper.plot(confidence, [b.accuracy.value for b in bins], "o", ms=5, color=_BLUE, label=label)
    upper.set_ylabel("share of right predictions")
    upper.set_ylim(-0.02, 1.02)
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    remark = f"calibration error {100 * found.calibration_error:.2f} %"
    upper.set_title(remark, fontsize=9, color=_GREY, loc="right")
    middles = [(b.low + b.high) / 2 for b in bins]
    counts, width = [b.num_images for b in bins], bins[0].high - bins[0].low
    lower.bar(middles, counts, width=width, color=_BLUE, edgecolor="white")
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.5)
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.set_ylabel("images")
    lower.set_xlabel("highest probability")
    lower.set_xlim(-0.02, 1.02)
    for axes in (upper, lower):
        style_axes(axes)
    return image_bytes(figure, image)


def write_pictures(
    folder: Path,
    network: Network,
    found: Evaluation,
    class_names: Sequence[str],
    *,
    title: str,
    history: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the pictures into a folder, and ``index.html`` with all of them."""
    made = {
        "confusion-matrix": confusion_matrix(found, class_names),
        "reliability": reliability_diagram(found),
        "filters": filters(network),
    }
    if history:
        made = {"training-curve": training_curve(history), **made}
    for name, image in made.items():
        write_bytes(folder / f"{name}.png", image)
    parts = [pages.picture(image, CAPTIONS[name]) for name, image in made.items()]
    write_text(folder / "index.html", pages.page(title, [pages.text(_headline(found)), *parts]))


@torch.no_grad()
def filters(network: Network, *, image: ImageFormat = "png") -> bytes:
    """Draw the first layer, a column for each output: its weights, and what becomes of them.

    Rows: the spin means θ of the weights (latent weights of the family ``sign``), and of a
    deformed layer α, β and γ of m = α + βφ + γχ. A dense layer's rows are images; of several
    input channels the mean is shown. Colours go from −1 (orange) to 1 (violet).
    """
    rows = {name: _pictures(network, values) for name, values in _coefficients(network).items()}
    sheet, places = _sheet(list(rows.values()))
    total = len(next(iter(rows.values())))
    figure = blank_figure(1.0 + 0.012 * sheet.shape[1], 0.5 + 0.012 * sheet.shape[0])
    axes = figure.subplots()
    drawn = axes.imshow(sheet, cmap="PuOr", vmin=-1, vmax=1)
    axes.set_xticks([])
    axes.set_yticks(places, list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axes, aspect=8 * len(rows), pad=0.01, ticks=[-1, 0, 1])
    shown = min(MAX_FILTERS, total)
    figure.suptitle(f"first layer, {shown} of {total} outputs", fontsize=9, color=_GREY)
    return image_bytes(figure, image)


def _sheet(rows: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], list[float]]:
    """Return all images on one sheet, (height, width), a gap between them, and the rows' middles.

    One image is drawn in a tenth of the time of forty.
    """
    gap, side = 5, 60
    lines = []
    for images in rows:
        height, width = images.shape[1:]
        size = max(1, side // max(height, width))
        framed = [
            np.pad(np.kron(picture, np.ones((size, size))), gap, constant_values=np.nan)
            for picture in images[:MAX_FILTERS]
        ]
        lines.append(np.hstack(framed))
    height = len(lines[0])
    return np.vstack(lines), [height * (place + 0.5) for place in range(len(lines))]


def _coefficients(network: Network) -> dict[str, torch.Tensor]:
    layer: Any = network.blocks[0].layer
    if not isinstance(network.blocks[0], Block):
        return {"weight": layer.latent}
    alpha, beta, gamma = layer.coefficients()
    found = {"θ": layer.weight.spin}
    if alpha is not None or gamma is not None:
        found |= {"α": alpha, "β": beta, "γ": gamma}
    return {name: v.expand_as(layer.latent) for name, v in found.items() if v is not None}


def _pictures(network: Network, values: torch.Tensor) -> NDArray[Any]:
    """Return weights (out, in, …) as images (out, height, width)."""
    shape = values.shape[2:] or network.config.in_shape[1:]
    pictures: NDArray[Any] = values.reshape(len(values), -1, *shape).mean(1).cpu().numpy()
    return pictures


def _log_axis(axes: Axes) -> None:
    """Label a logarithmic axis with plain numbers, also where it is less than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _headline(found: Evaluation) -> str:
    low, high = (100 * value for value in found.accuracy_interval[1:])
    share = f"{100 * found.accuracy:.2f} % ({low:.2f} … {high:.2f})"
    return f"{share} of {len(found.labels):,} images"
