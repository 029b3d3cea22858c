"""`qbnn paper`: the experiments behind the results pages, each a resumable command."""

from __future__ import annotations

import typer

from qbnn.commands import paper_networks, paper_placement, paper_rounding
from qbnn.commands.shared import NETWORKS

paper = typer.Typer(
    help="Run the experiments of the results pages.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def register(app: typer.Typer) -> None:
    """Add the group: networks, rounding and placement."""
    paper_networks.register(paper)
    paper_rounding.register(paper)
    paper_placement.register(paper)
    app.add_typer(paper, name="paper", rich_help_panel=NETWORKS)
