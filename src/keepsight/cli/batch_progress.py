"""How a batch tells what it does: bars in a terminal, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from keepsight.pipeline.batch.conduct import Told
    from keepsight.pipeline.batch.manifest import Unit


@contextmanager
def telling(*, as_json: bool) -> Iterator[Told]:
    """What is to be called with every unit that changes."""
    from rich.console import Console

    console = Console(stderr=True)
    if as_json:
        yield _tell_json
    elif not console.is_terminal:
        yield _tell_line
    else:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[busy]}")),
        )
        with Progress(*columns, console=console, transient=True) as bars:
            stages = ("plan", "clip", "segment", "crop")
            tasks = {stage: bars.add_task(stage, total=None, busy="") for stage in stages}
            busy: dict[int, Unit] = {}

            def show(unit: Unit, counts: Counter[tuple[str, str]]) -> None:
                busy.pop(unit.id, None)
                if unit.state == "running":
                    busy[unit.id] = unit
                if unit.state == "failed":
                    bars.console.print(_line(unit), markup=False, highlight=False)
                for stage, task in tasks.items():
                    ended = counts[stage, "done"] + counts[stage, "failed"]
                    # Every clip is to be followed and cut out, also where nobody has begun with it.
                    whole = "plan" if stage == "plan" else "clip"
                    total = sum(counts[whole, state] for state in ("ready", "running", "done", "failed"))
                    names = ", ".join(item.name for item in busy.values() if item.stage == stage)
                    bars.update(task, completed=ended, total=total, busy=names)

            yield show


def _line(unit: Unit) -> str:
    return f"failed: {unit.stage} {unit.name}: {unit.error}"


def _tell_line(unit: Unit, counts: Counter[tuple[str, str]]) -> None:
    if unit.state == "failed":
        typer.echo(_line(unit))
    elif unit.state == "done":
        count = unit.results.get("objects")
        found = f", {count} objects" if isinstance(count, int) else ""
        typer.echo(f"{unit.stage} {unit.name}: {unit.seconds:.1f} s{found}")


def _tell_json(unit: Unit, counts: Counter[tuple[str, str]]) -> None:
    values: dict[str, object] = {
        "stage": unit.stage,
        "video": unit.video,
        "clip": unit.clip or None,
        "state": unit.state,
    }
    values |= {"attempts": unit.attempts, "seconds": round(unit.seconds, 3), "error": unit.error or None}
    typer.echo(json.dumps(values))
