"""`keepsight train builtin`: makes the built-in model's weights anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train a model.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Train a model."""


@app.command()
def builtin(
    out: Annotated[Path, typer.Option("--out", help="Folder for data, checkpoints and the exported model.")],
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.1, help="Training time; more minutes, better masks.")
    ] = 45.0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train the built-in model: data downloaded, clips generated, features cached, stages, export."""
    from keepsight.training.builtin import train_builtin

    train_builtin(out, minutes=minutes, device=device, resume=resume)
