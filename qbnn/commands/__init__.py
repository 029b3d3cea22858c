"""The commands of networks, a module for each group, beside those of annealing in `cli.py`.

A module here imports nothing heavy as it loads (typer and :mod:`qbnn.commands.shared` are light);
a command imports what it needs inside. It has plain functions and one that adds them::

    def certify(run: Run, json: Json = False) -> None:
        \"\"\"One line of what it does, which the help shows.\"\"\"

    def register(app: typer.Typer) -> None:
        \"\"\"Add the commands of this module.\"\"\"
        add(app, certify, "qbnn certify runs/digits", panel=CIRCUITS)

and a line of its own in `cli.py`, where the others stand: ``hardware.register(app)``. The order of
those lines is the order of the help.
"""
