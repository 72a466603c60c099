"""`keepsight eval report`: the page of a run, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run (with run.json).")],
) -> None:
    """Make the page of a run anew from its run.json; nothing is measured again."""
    from keepsight.cli import show
    from keepsight.evaluation.report import open_run, write_pages

    opened = open_run(run)
    for path in write_pages(opened):
        typer.echo(f"  {show.shown(path)}")
