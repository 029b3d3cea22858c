"""Sphinx settings; the tables of solvers, families and the like are made from the registries."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from numba.core.dispatcher import Dispatcher

import anneal.kernels
import qbnn.kernels
from anneal import registry

# autodoc takes a compiled function for data: show it the plain one.
for package in (anneal.kernels, qbnn.kernels):
    for item in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        kernels = vars(importlib.import_module(item.name))
        kernels |= {name: it.py_func for name, it in kernels.items() if isinstance(it, Dispatcher)}


def table(module: str, name: str) -> str:
    """Return a Markdown table of a registry's names and the first lines of their docstrings."""
    rows = ["| name | what |", "|---|---|"]
    for key, target in getattr(importlib.import_module(module), name).items():
        what = (inspect.getdoc(registry.load(target)) or "").partition("\n\n")[0]
        what = re.sub(r":class:`(\w+)`", r"`\1`", " ".join(what.split()))
        what = what.removeprefix("Return ")
        what = what[:1].upper() + what[1:]
        rows.append(f"| `{key}` | {what} |")
    return "\n".join(rows)


def result_pages() -> str:
    """Return the list of pages that `make bench` has made."""
    pages = sorted((ROOT / "docs" / "results").glob("*/*.md"))
    if not pages:
        return "There are none yet: `make bench` puts them here."
    names = [page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in pages]
    return "\n".join(["```{toctree}", *names, "```"])


project = "qbnn"
author = "the qbnn authors"
copyright = author
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
templates_path = ["templates"]
exclude_patterns = ["_build", "conf.py", "jupyter_execute", "templates"]

myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    "solvers": table("anneal.solvers", "SOLVERS"),
    "problems": table("anneal.problems", "PROBLEMS"),
    "formats": table("anneal.instances", "FORMATS"),
    "families": table("qbnn.deformation", "FAMILIES"),
    "datasets": table("qbnn.data", "DATASETS"),
    "rounders": table("anneal.rounding", "ROUNDERS"),
    "results": result_pages(),
}
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autosummary_generate = True

html_theme = "furo"
html_title = f"qbnn {release}"


def escape_bars(
    _app: Any, _what: str, _name: str, _item: Any, _options: Any, lines: list[str]
) -> None:
    """Take a bar outside of code, as in |0>, for a bar: reStructuredText begins a name with it."""
    code = False
    for number, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))
        if not code:
            parts = line.split("``")
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[number] = "``".join(parts)


def skip_inherited(
    _app: Any, _what: str, name: str, item: Any, skip: bool, _options: Any
) -> bool | None:
    """Leave out the functions of autograd that have only torch's docstring, with torch's links."""
    return True if name in ("forward", "backward") and not item.__doc__ else None


def setup(app: Any) -> None:
    """Connect what is above with Sphinx."""
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("autodoc-skip-member", skip_inherited)
