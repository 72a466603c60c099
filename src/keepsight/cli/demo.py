"""`keepsight demo`: the shipped clip from click to overlay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("out/demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier demo.")] = False,
    model: Annotated[str | None, typer.Option("--model", help="Name, folder or hub id. (default: builtin)")] = None,
) -> None:
    """Follow the rabbit (by a click) and a rock (by a box) through the sample clip."""
    from keepsight.cli import show
    from keepsight.pipeline.demo import CREDIT, demo_job
    from keepsight.pipeline.segment import run_segment

    with show.progress_bar() as progress:
        result = run_segment(demo_job(out, overwrite=overwrite, model=model), progress=progress)
    show.outcome(result)
    show.out().print(CREDIT, markup=False)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
