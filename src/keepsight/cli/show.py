"""What the commands print with: a console, a progress bar, paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from keepsight.pipeline.exchange import Exchange
    from keepsight.pipeline.job import Progress as Event
    from keepsight.pipeline.job import SegmentOutcome


def out(least_width: int = 0) -> Console:
    """Console on standard output. Long lines are not broken: paths must stay whole when they are copied.

    Args:
        least_width: columns that a table needs; a narrower terminal wraps it, which is better than cutting words out.
    """
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    return console if console.width >= least_width else Console(soft_wrap=True, highlight=False, width=least_width)


@contextmanager
def progress_bar() -> Iterator[Callable[[Event], None] | None]:
    """A bar with frames a second and the time left on standard error; ``None`` when that is not a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task, stage = bar.add_task("", total=None, count="", rate=""), ""

        def show(event: Event) -> None:
            nonlocal task, stage
            if event.stage != stage:
                bar.remove_task(task)
                task, stage = (
                    bar.add_task(event.stage, total=event.total, completed=event.done, count="", rate=""),
                    event.stage,
                )
            speed = bar.tasks[0].speed
            count = str(event.done or "") if event.total is None else f"{event.done}/{event.total}"
            rate = "" if speed is None else f"{speed:.1f} frames/s"
            bar.update(task, completed=event.done, total=event.total, count=count, rate=rate)

        yield show


def outcome(result: SegmentOutcome) -> None:
    """Says what a run did, how long it took, and where to look."""
    console = out()
    for line in result.notes:
        console.print(f"note: {line}", markup=False)
    console.print(result.summary(), markup=False)
    width = max((len(name) for name, _ in result.files), default=0)
    for name, path in result.files:
        console.print(f"  {name:<{width}}  {shown(path)}", markup=False)


def exchange(result: Exchange) -> None:
    """Says what went in or out, what could not be held, and where it is."""
    console = out()
    for line in result.notes:
        console.print(f"note: {line}", markup=False)
    console.print(result.summary, markup=False)
    console.print(f"  {shown(result.path)}", markup=False)


def shown(path: Path) -> str:
    """The path as short as it can be told: relative when it lies below the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
