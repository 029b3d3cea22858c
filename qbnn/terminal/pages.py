"""A self-contained HTML page of text, tables and pictures, readable in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from anneal.tables import Column, Table, column

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9da7b3; --line: #30363d; --page: #0d1117; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 3rem 1.25rem 4rem; max-width: 52rem; background: var(--page);
  color: var(--ink); font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 2rem; line-height: 1.2; }
h2 { margin: 3.5rem 0 .5rem; font-size: 1.35rem; line-height: 1.3; }
p { margin: .75rem 0; }
footer, figcaption { color: var(--soft); font-size: .875rem; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); }
.table { overflow-x: auto; margin: 1.25rem 0; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem .4rem 0; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
.facts td:last-child { white-space: normal; }
figure { margin: 1.5rem 0; }
img { display: block; width: 100%; padding: .5rem; border: 1px solid var(--line);
  border-radius: .5rem; background: #fff; }
.zoom svg { display: block; width: 100%; max-height: 85vh; border: 1px solid var(--line);
  border-radius: .5rem; background: #fff; cursor: grab; touch-action: none; }
"""

# The view box of a picture follows the wheel and what is dragged; a double click shows all again.
_ZOOM = """<script>
for (const svg of document.querySelectorAll(".zoom svg")) {
  const all = svg.getAttribute("viewBox"), view = svg.viewBox.baseVal;
  const at = event =>
    new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  let held = null;
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    const point = at(event), factor = event.deltaY > 0 ? 1.2 : 1 / 1.2;
    view.x = point.x + (view.x - point.x) * factor;
    view.y = point.y + (view.y - point.y) * factor;
    view.width *= factor;
    view.height *= factor;
  }, {passive: false});
  svg.addEventListener("pointerdown", event => {
    held = at(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    if (held === null) return;
    const point = at(event);
    view.x += held.x - point.x;
    view.y += held.y - point.y;
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => held = null);
  svg.addEventListener("dblclick", () => svg.setAttribute("viewBox", all));
}
</script>"""


def page(title: str, parts: Iterable[str], *, footer: Iterable[str] = ()) -> str:
    """Return the HTML document of parts that the functions below make.

    >>> "<h1>Demo</h1>" in page("Demo", [text("a < b")])
    True
    """
    lines = "".join(f"<p>{escape(line)}</p>" for line in footer)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + f"\n<footer>{lines}</footer>\n"
        "</body>\n</html>\n"
    )


def heading(words: str) -> str:
    """Return a section's heading."""
    return f"<h2>{escape(words)}</h2>"


def text(words: str) -> str:
    """Return a paragraph.

    >>> text("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{escape(words)}</p>"


def table(rows: Table) -> str:
    """Return a table of :mod:`anneal.tables`."""
    head = "".join(f"<th>{escape(column.heading)}</th>" for column in rows.columns)
    body = "\n".join(
        "<tr>"
        + "".join(f"<td>{escape(column.show(row))}</td>" for column in rows.columns)
        + "</tr>"
        for row in rows.rows
    )
    return f'<div class="table"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def facts(known: Mapping[str, Any]) -> str:
    """Return a table of names and values, those that are None left out."""
    rows = [
        {"name": name.replace("_", " "), "value": value}
        for name, value in known.items()
        if value is not None
    ]
    shown = Column("", lambda fact: str(fact["value"]))
    made = table(Table("facts", [column("name", "what"), shown], rows))
    return f'<div class="facts">{made}</div>'


def picture(image: bytes, caption: str) -> str:
    """Return an SVG or PNG picture, inside the page, with a caption."""
    data = base64.b64encode(image).decode()
    kind = "png" if image.startswith(b"\x89PNG") else "svg+xml"
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def zoomable(svg: str, caption: str) -> str:
    """Return an SVG picture that the wheel zooms and the pointer drags; one of them a page."""
    return (
        f'<figure class="zoom" role="img" aria-label="{escape(caption)}">{svg}'
        f"<figcaption>{escape(caption)} Wheel: zoom; drag: move; double click: all.</figcaption>"
        f"</figure>{_ZOOM}"
    )
