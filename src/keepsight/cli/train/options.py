"""What `keepsight train tracker` and `keepsight train detector` share: options of a run, and how its end is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Protocol

import typer

LEARN, HOW, WRITE, ROOM = "What to learn from", "How to learn and measure", "What to write", "How much room"

HeldOut = Annotated[
    float, typer.Option("--held-out", metavar="SHARE", rich_help_panel=HOW, help="How much is kept back to measure.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, rich_help_panel=HOW, help="Of everything drawn.")]
Accumulate = Annotated[
    int, typer.Option("--accumulate", min=1, metavar="N", rich_help_panel=ROOM, help="Batches a step.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", rich_help_panel=ROOM, help="Folder for features. (default: in --out)")
]
CacheGb = Annotated[float, typer.Option("--cache-gb", min=0.0, rich_help_panel=ROOM, help="What it may hold.")]
MemoryGb = Annotated[
    float | None,
    typer.Option("--memory-gb", min=0.0, rich_help_panel=ROOM, help="Memory to use. (default: what is free)"),
]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel=WRITE, help="Go on from the last checkpoint in --out.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=WRITE, help="Replace an earlier run in --out.")]


class Outcome(Protocol):
    """What came of a run."""

    @property
    def better(self) -> bool: ...

    def lines(self) -> list[str]: ...


def conclude(outcome: Outcome | None) -> None:
    """Says what came of a run, the verdict last; of several processes only the first has an outcome.

    Raises:
        typer.Exit: it is no better.
    """
    from keepsight.training.run_folder import NOT_BETTER

    if outcome is None:
        return
    *told, verdict = outcome.lines()
    for line in told:
        typer.echo(line)
    typer.echo(verdict, err=not outcome.better)
    if not outcome.better:
        raise typer.Exit(NOT_BETTER)
