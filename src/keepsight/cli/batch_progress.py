"""How a batch tells what it does: bars in a terminal, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from keepsight.pipeline.batch.manifest import STAGES
from keepsight.pipeline.batch.progress import Observer, Tally

if TYPE_CHECKING:
    from rich.console import Console

    from keepsight.pipeline.batch.executors.base import Hand
    from keepsight.pipeline.batch.manifest import Unit

#: How often a program, or a log, is told how far the batch is.
_JSON_S = 5.0
_LINE_S = 60.0


@contextmanager
def telling(*, as_json: bool) -> Iterator[Observer]:
    """Who is to be told what happens in a batch."""
    from rich.console import Console

    console = Console(stderr=True)
    if as_json:
        yield _JsonLines()
    elif not console.is_terminal:
        yield _Lines()
    else:
        from rich.live import Live

        with Live(console=console, transient=True, refresh_per_second=4) as live:
            yield _Bars(console, live)


class _JsonLines(Observer):
    """An object a line: ``event`` is ``unit`` (one has changed) or ``progress``."""

    def __init__(self) -> None:
        self._next = 0.0

    def changed(self, unit: Unit, counts: Counter[tuple[str, str]]) -> None:
        self._say(
            event="unit",
            stage=unit.stage,
            video=unit.video,
            clip=unit.clip or None,
            state=unit.state,
            worker=unit.worker or None,
            attempts=unit.attempts,
            seconds=round(unit.seconds, 3),
            error=unit.error or None,
        )

    def looked(self, hands: Sequence[Hand], tally: Tally) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _JSON_S
        left_s = tally.left_s(hands)
        self._say(
            event="progress",
            ended={stage: tally.ended(stage) for stage in STAGES},
            total={stage: tally.total(stage) for stage in STAGES},
            left_s=None if left_s is None else round(left_s, 1),
            workers=[_worker(hand) for hand in hands],
        )

    def remarked(self, line: str) -> None:
        self._say(event="remark", text=line)

    def _say(self, **values: Any) -> None:
        typer.echo(json.dumps(values))


def _worker(hand: Hand) -> dict[str, Any]:
    values: dict[str, Any] = {"worker": hand.name, "stage": None}
    if hand.unit is not None:
        values |= {"stage": hand.unit.stage, "video": hand.unit.video, "clip": hand.unit.clip or None}
        values["seconds"] = round(time.monotonic() - hand.since, 1)
    if hand.progress is not None:
        values |= {"doing": hand.progress.stage, "frames": hand.progress.done, "of": hand.progress.total}
    return values


class _Lines(Observer):
    """A line for every unit that has ended, and every minute one about the whole."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_S

    def changed(self, unit: Unit, counts: Counter[tuple[str, str]]) -> None:
        if unit.state == "failed":
            typer.echo(_failure(unit))
        elif unit.state == "done":
            count = unit.results.get("objects")
            found = f", {count} objects" if isinstance(count, int) else ""
            typer.echo(f"{unit.stage} {unit.name}: {unit.seconds:.1f} s{found}")

    def looked(self, hands: Sequence[Hand], tally: Tally) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_S
        typer.echo(f"-- {_whole(hands, tally)}")

    def remarked(self, line: str) -> None:
        typer.echo(f"-- {line}")


class _Bars(Observer):
    """A line about the whole, a bar a stage, and a line a worker."""

    def __init__(self, console: Console, live: Any) -> None:
        self._console, self._live = console, live
        self._begin = time.monotonic()

    def changed(self, unit: Unit, counts: Counter[tuple[str, str]]) -> None:
        if unit.state == "failed":
            self._console.print(_failure(unit), markup=False, highlight=False)

    def remarked(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False)

    def looked(self, hands: Sequence[Hand], tally: Tally) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        stages = Table.grid(padding=(0, 2))
        for stage in STAGES:
            ended, total = tally.ended(stage), tally.total(stage)
            bar = ProgressBar(total=total or 1, completed=ended, width=40)
            failed = tally.counts[stage, "failed"]
            stages.add_row(stage, bar, f"{ended}/{total}", f"{failed} failed" if failed else "")
        workers = Table.grid(padding=(0, 2))
        for hand in hands:
            # A name of a file may hold what rich takes for markup.
            workers.add_row(*(Text(cell) for cell in _cells(hand)))
        passed = timedelta(seconds=int(time.monotonic() - self._begin))
        self._live.update(Group(stages, workers, Text(f"{passed}  {_whole(hands, tally)}")))


def _cells(hand: Hand) -> tuple[str, str, str, str]:
    if hand.unit is None:
        return hand.name, "waits", "", ""
    passed = f"{time.monotonic() - hand.since:.0f} s"
    progress = hand.progress
    frames = "" if progress is None else f"{progress.stage} {progress.done}/{progress.total or '?'}"
    return hand.name, f"{hand.unit.stage} {hand.unit.name}", frames, passed


def _whole(hands: Sequence[Hand], tally: Tally) -> str:
    """Clips done, workers, time left."""
    busy = sum(hand.unit is not None for hand in hands)
    failed = sum(tally.counts[stage, "failed"] for stage in STAGES)
    left_s = tally.left_s(hands)
    return (
        f"{tally.counts['crop', 'done']} of {tally.total('crop')} clips done, {failed} failed; "
        f"{busy} of {len(hands)} workers busy"
        + (f"; about {timedelta(seconds=round(left_s))} left" if left_s is not None else "")
    )


def _failure(unit: Unit) -> str:
    return f"failed: {unit.stage} {unit.name}: {unit.error}"
