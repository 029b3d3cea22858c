"""The report of a rounding: tables, pictures, and how long it will take yet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from anneal.errors import InputError
from anneal.rounding.graphs import trace
from anneal.rounding.inputs import weight_rows
from anneal.rounding.layers import RoundingOptions
from anneal.rounding.report import (
    NUM_BINS,
    RoundedUp,
    cost_picture,
    gap,
    layer_table,
    rounded_up,
    up_picture,
)
from anneal.rounding.runs import layer_rows
from anneal.rounding.sequential import round_network
from anneal.tables import to_markdown
from qbnn.terminal import rounding
from qbnn.terminal.rounding import summary, with_time_left


def row(**changes: object) -> dict[str, object]:
    plain = {"layer": "a|b", "rows": 2, "fan_in": 9, "cost": 0.5, "nearest": 2.0, "bound": 0.25}
    return plain | {"ridge": 0.01, "saved": 1.0, "up": 0.5, "seconds": 0.1} | changes


@pytest.mark.parametrize(
    ("cost", "bound", "expected"),
    [(1.0, 1.0, 0), (3.0, 2.0, 0.5), (0.0, 0.0, 0), (1.0, 0.0, None), (1.0, None, None)],
)
def test_a_gap_is_relative_to_the_bound(
    cost: float, bound: float | None, expected: float | None
) -> None:
    assert gap(row(cost=cost, bound=bound)) == expected


def test_the_table_has_the_columns_that_are_known() -> None:
    whole = to_markdown([layer_table([row()])])
    assert "gap % at most" in whole and "| 0.250 | 0.125 | 100" in whole
    assert "bound" not in to_markdown([layer_table([row(bound=None)])])
    bare = to_markdown([layer_table([row(cost=None, nearest=None, bound=None)])])
    assert "cost" not in bare
    assert "–" in to_markdown([layer_table([row(cost=0.0, nearest=0.0, bound=0.0)])])


def test_pictures_are_drawn_of_what_there_is() -> None:
    rows = [row(), row(bound=None), row(cost=0.0, bound=0.0), row(nearest=0.0), row(cost=9.0)]
    assert cost_picture(rows).startswith(b"\x89PNG")
    assert b"<svg" in cost_picture(rows, image="svg")
    with pytest.raises(InputError, match="no layer"):
        cost_picture([row(cost=None)])
    some = [0] * (NUM_BINS - 1) + [3]
    assert up_picture(RoundedUp(some, some, some)).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="no weight"):
        up_picture(RoundedUp([0] * NUM_BINS, [0] * NUM_BINS, [0] * NUM_BINS))


def test_what_was_rounded_up_is_counted() -> None:
    torch.manual_seed(0)
    traced = trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), torch.zeros(1, 1, 5, 5))
    images = torch.randn(8, 1, 5, 5)
    found = round_network(traced, images, RoundingOptions(method="nearest", bits=3)).layers
    up = rounded_up(traced, found)
    ((name, layer),) = found.items()
    places = layer.grid.levels(weight_rows(traced.layer(name)))
    inside = (places > layer.grid.lowest) & (places < layer.grid.highest)
    assert sum(up.weights) == inside.sum() and sum(up.rows) == 4
    # Nearest levels: no fraction below one half goes up, and each above does.
    half = NUM_BINS // 2
    assert sum(up.up[:half]) == 0 and up.up[half:] == up.weights[half:]
    assert layer_rows(found)[0]["cost"] == pytest.approx(layer_rows(found)[0]["nearest"])


def test_time_left_is_that_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 5.0, 100.0, 101.0, 110.0, 130.0, 140.0])
    monkeypatch.setattr(rounding.time, "monotonic", lambda: next(now))
    shown: list[str] = []
    show = with_time_left(lambda fraction, remark: shown.append(remark))
    for fraction, remark in (
        (0.0, "image 1"), (0.3, "a (kept)"), (0.4, "b"), (0.401, "c"), (0.5, "d"), (0.7, "e"),
        (1.0, "comparing"),
    ):  # fmt: skip
        show(fraction, remark)
    assert shown == [
        "image 1", "a (kept)", "b", "c", "d, 50 s left", "e, 30 s left", "comparing",
    ]  # fmt: skip


def test_the_summary_says_what_is_known() -> None:
    found = {
        "num_images": None, "kl": None, "agreement": None, "top1": None, "float_top1": None,
        "bits": 4, "activation_bits": 8, "method": "lns", "bias": "optimal", "in_float": {"x": "?"},
        "layers": [row(), row(cost=0.25)], "seconds": 1.0, "peak_memory": 2_345_000_000,
        "onnx": {"file": None, "difference": None, "largest": None, "reason": "no package"},
    }  # fmt: skip
    facts = summary(found)
    assert facts["distance"] is None and facts["top-1"] is None
    assert facts["layers"] == "2, in float: x"
    assert facts["proved"] == "1 of 2 layers within 1 % of the least cost there is"
    assert facts["onnx"] == "none: no package" and facts["memory"] == "2.35 GB at most"
    assert np.all([value is None or isinstance(value, str) for value in facts.values()])
    judged = summary(found | {"num_images": 9, "kl": 0.1, "agreement": 0.0, "top1": 0.0,
                              "float_top1": 0.5})  # fmt: skip
    assert judged["agreement"] == "0 % have the same first class"
    assert judged["top-1"] == "0 %, before 50 %"
