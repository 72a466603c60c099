"""`keepsight train builtin`: makes the built-in model's weights anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def builtin(
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, the curve and the weights.")],
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="Training time; more gives better masks. (default: 170)"),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto (a GPU when there is one), cpu or cuda.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    data: Annotated[
        Path,
        typer.Option("--data", help="Folder for downloads and features (14 GB, as much below --out); may be shared."),
    ] = Path("data/builtin"),
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that make clips beside the training.")
    ] = 1,
) -> None:
    """Train the built-in model: data downloaded, clips generated, features cached, stages, export."""
    from keepsight.core import InputError
    from keepsight.training.builtin import train_builtin
    from keepsight.training.sources import SourceError

    try:
        weights = train_builtin(out, data=data, minutes=minutes, device=device, workers=workers, resume=resume)
    except SourceError as error:
        raise InputError(str(error)) from error
    typer.echo(f"weights: {weights}")
