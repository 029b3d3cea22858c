"""What `qbnn round` shows: time left, a summary, a page with a table and pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anneal.errors import InputError
from anneal.files import write_bytes, write_text
from anneal.rounding.report import RoundedUp, cost_picture, gap, layer_table, up_picture
from anneal.rounding.runs import KEPT
from anneal.tables import Column, Table, column, show_number
from qbnn.terminal import pages

Show = Callable[[float, str], None]
CLOSE = 0.01  # a gap that is as good as none
LEAST_SHARE = 0.01  # of the work; after less nobody knows how long the rest will take
CAPTIONS = {
    "costs": "What each layer's rounding costs beside the nearest levels, in the quadratic problem "
    "that was solved; where a line goes to the left, no rounding costs less than its end.",
    "rounded-up": "Weights that went to the upper of the two levels around them: by outputs, and "
    "by where between the levels they were.",
}
COSTS = (
    "Costs and bounds are of the quadratic problem that was solved, the nearest levels' being 1."
)


def with_time_left(show: Show) -> Show:
    """Return a way to show progress that adds about how long it will take yet.

    Layers that were kept count neither as time nor as work.

    >>> with_time_left(lambda fraction, remark: print(remark))(0.0, "layer 1")
    layer 1
    """
    began: tuple[float, float] | None = None

    def shown(fraction: float, remark: str) -> None:
        nonlocal began
        now = time.monotonic()
        if fraction <= 0 or remark.endswith(KEPT):
            began = None
        elif began is None:
            began = now, fraction
        elif began[1] + LEAST_SHARE < fraction < 1:
            rate = (now - began[0]) / (fraction - began[1])
            remark += f", {duration((1 - fraction) * rate)} left"
        show(fraction, remark)

    return shown


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(12.4), duration(200), duration(8000)
    ('12 s', '3 min', '2 h 13 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def summary(found: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the facts of a rounding as a person reads them."""
    num, top1, onnx, peak = (found[name] for name in ("num_images", "top1", "onnx", "peak_memory"))
    before = None if top1 is None else _percent(found["float_top1"])
    near = ""
    if onnx["difference"] is not None:
        size = f"{onnx['difference']:.1g} of torch's, the largest {onnx['largest']:.2g}"
        near = f", outputs in onnxruntime within {size}"
    wide = "" if found["activation_bits"] is None else f", inputs {found['activation_bits']} bits"
    return {
        "distance": num and f"{show_number(found['kl'])} nats (KL), of {num:,} images held out",
        "agreement": num and f"{_percent(found['agreement'])} have the same first class",
        "top-1": None if top1 is None else f"{_percent(top1)}, before {before}",
        "bits": f"weights {found['bits']}{wide}",
        "method": f"{found['method']}, biases: {found['bias']}",
        "layers": f"{len(found['layers'])}, in float: {', '.join(found['in_float']) or 'none'}",
        "proved": _proved(found["layers"]),
        "onnx": f"{onnx['file']}{near}" if onnx["file"] else f"none: {onnx['reason']}",
        "time": f"{found['seconds']:.1f} s of rounding",
        "memory": peak and f"{peak / 1e9:.2f} GB at most",
    }


def write_page(folder: Path, found: Mapping[str, Any], *, title: str) -> None:
    """Write pictures of a rounding into its folder, and ``index.html`` with all there is to say.

    Raises :class:`~anneal.errors.InputError` where it cannot be written.
    """
    made: dict[str, bytes] = {}
    with contextlib.suppress(InputError):  # No layer has a cost.
        made["costs"] = cost_picture(found["layers"])
    with contextlib.suppress(InputError):  # No weight had a choice.
        made["rounded-up"] = up_picture(RoundedUp(**found["rounded_up"]))
    for name, data in made.items():
        write_bytes(folder / f"{name}.png", data)
    facts = [
        {"name": name.replace("_", " "), "value": value}
        for name, value in summary(found).items()
        if value
    ]
    shown = Table(
        "summary", [column("name", "what"), Column("", lambda fact: str(fact["value"]))], facts
    )
    parts = [pages.table(shown), *(pages.picture(data, CAPTIONS[n]) for n, data in made.items())]
    if found["in_float"]:
        parts.append(pages.heading("Left in float"))
        parts += [pages.text(f"{name}: {why}") for name, why in found["in_float"].items()]
    parts += [pages.heading("Layers"), pages.text(COSTS), pages.table(layer_table(found["layers"]))]
    write_text(folder / "index.html", pages.page(title, parts))


def _proved(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return how many layers are as good as optimal, None where no bound is known."""
    gaps = [gap(dict(row)) for row in rows if row["bound"] is not None]
    close = sum(found is not None and found <= CLOSE for found in gaps)
    share = f"within {_percent(CLOSE)} of the least cost there is"
    return f"{close} of {len(gaps)} layers {share}" if gaps else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
