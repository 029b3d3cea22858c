"""The demonstration's sections, rows and page, on problems and networks that take no time."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from anneal.records import RecordFile
from anneal.suites import generated_instance
from qbnn.terminal import demo, pages
from qbnn.terminal.demo_networks import NETWORKS, NetworkSection

PLANTED = generated_instance("planted", seed=1, length=4)
ASSIGNMENT = generated_instance("assignment", seed=1, num_facilities=3)
TINY = [
    demo.ProblemSection("A & B", "Known <ground> state.", PLANTED, 0.02, seeds=[1, 2]),
    demo.ProblemSection("Penalties", "One-hot.", ASSIGNMENT, 0.02, seeds=[1, 2]),
]


class Outline(HTMLParser):
    """The tags of a page, and whether each is closed where it has to be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_sections_are_what_was_promised() -> None:
    *problems, networks = demo.sections()
    assert all(isinstance(section, demo.ProblemSection) for section in problems)
    names = [section.instance.spec["problem"] for section in problems]
    assert names == ["planted", "maxcut", "assignment"]
    runs = len(demo.SOLVERS) * len(demo.SEEDS)
    assert sum(section.budget * runs for section in problems) < 90
    assert isinstance(networks, NetworkSection)
    families = [settings["family"] for settings in networks.networks.values()]
    assert families == ["sign", "none", "none", "real4"]


def test_demo_writes_rows_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a run"
    page = demo.run(out, shown=TINY)
    shown = capsys.readouterr()
    assert "planted-4-1" in shown.out and "neal" in shown.out
    assert str(page) in shown.err
    rows = RecordFile(out / "records.jsonl").read()
    assert len(rows) == len(TINY) * len(demo.SOLVERS) * 2
    assert all(row.result["energy"] == row.result["best_known"] for row in rows[:4])
    outline = Outline(page.read_text())
    assert outline.open == []
    assert outline.seen.count("img") == 1 + 2 * len(TINY)
    assert outline.seen.count("table") == len(TINY)
    assert all(link.startswith("data:image/svg+xml;base64,") for link in outline.links)
    assert "A &amp; B" in page.read_text() and "Known &lt;ground&gt; state." in page.read_text()


def test_a_second_demo_runs_anew_and_keeps_the_rows(tmp_path: Path) -> None:
    for _ in range(2):
        demo.run(tmp_path, shown=TINY[:1], quiet=True)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert len(lines) == 4 * len(demo.SOLVERS)
    assert len(RecordFile(tmp_path / "records.jsonl").read()) == 2 * len(demo.SOLVERS)


def test_networks_are_trained_certified_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = list(NETWORKS)[1::2]
    section = NetworkSection(
        networks={name: {"family": NETWORKS[name]["family"]} for name in names},
        architecture="4FC-SM10",
        epochs=1,
        seeds=[1],
    )
    page = demo.run(tmp_path, shown=[*TINY[:1], section])
    shown = capsys.readouterr()
    assert all(name in shown.out for name in names)
    rows = RecordFile(tmp_path / "records.jsonl").read()
    made = [row for row in rows if row.task.job == "demo-network"]
    assert [row.task.spec["name"] for row in made] == names
    assert all(0.1 < row.result["accuracy"] <= 1 for row in made)
    text = page.read_text()
    outline = Outline(text)
    assert outline.open == []
    assert outline.seen.count("img") == 1 + 2 + 3
    assert outline.seen.count("table") == 1 + 2
    assert all(link.startswith("data:image/svg+xml;base64,") for link in outline.links)
    assert "Circuits and emulation agree" in text and "of 64" in text


def test_page_escapes_what_it_is_given() -> None:
    page = pages.page("<b>", [pages.heading("<i>"), pages.text("<u>")], footer=["<s>"])
    assert not {"b", "i", "u", "s"} & set(Outline(page).seen)
