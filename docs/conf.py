"""Sphinx settings; the tables of solvers, problems and formats are made from the registries."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from numba.core.dispatcher import Dispatcher

import anneal.kernels
from anneal import registry

# autodoc takes a compiled function for data: show it the plain one.
for item in pkgutil.iter_modules(anneal.kernels.__path__, "anneal.kernels."):
    kernels = vars(importlib.import_module(item.name))
    kernels |= {name: it.py_func for name, it in kernels.items() if isinstance(it, Dispatcher)}


def table(module: str, name: str) -> str:
    """Return a Markdown table of a registry's names and the first lines of their docstrings."""
    rows = ["| name | what |", "|---|---|"]
    for key, target in getattr(importlib.import_module(module), name).items():
        what = (inspect.getdoc(registry.load(target)) or "").partition("\n\n")[0]
        rows.append(f"| `{key}` | {' '.join(what.split())} |")
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
    "results": result_pages(),
}
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autosummary_generate = True

html_theme = "furo"
html_title = f"qbnn {release}"
