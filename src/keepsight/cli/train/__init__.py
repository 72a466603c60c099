"""`keepsight train ...`: one file a command."""

from __future__ import annotations

import typer

from keepsight.cli.train.builtin import builtin
from keepsight.cli.train.detector import detector
from keepsight.cli.train.tracker import tracker

app = typer.Typer(help="Train a model.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Train a model."""


app.command("tracker")(tracker)
app.command("builtin")(builtin)
app.command("detector")(detector)
