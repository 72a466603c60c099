"""What a person, a log and a program are told while a batch runs."""

from __future__ import annotations

import io
import json
import time

import pytest
from rich.console import Console
from rich.live import Live

from keepsight.cli import batch_progress
from keepsight.pipeline.batch.executors.base import Hand
from keepsight.pipeline.batch.manifest import STAGES, Unit
from keepsight.pipeline.batch.progress import Observer, Tally
from keepsight.pipeline.job import Progress


def unit(clip: int, stage: str, state: str, **more: object) -> Unit:
    values = {"results": {}, "error": "", "seconds": 0.0} | more
    return Unit(
        *(100 * clip + STAGES.index(stage), "barn [red]", "barn.mp4", clip, stage, state, 1, None, values["error"]),
        *(values["seconds"], {}, values["results"], {}, 0, 0, "east cuda:0"),
    )


def tell(observer: Observer) -> None:
    """A clip of three is followed, one has failed."""
    tally = Tally()
    for item in (
        unit(0, "plan", "done", seconds=1.0),
        *(unit(clip, "clip", "done", seconds=1.0) for clip in (1, 2, 3)),
        unit(1, "segment", "failed", error="it is [broken]"),
        unit(2, "segment", "done", seconds=60.0, results={"objects": 4}),
        unit(2, "crop", "done", seconds=2.0),
        unit(3, "segment", "running"),
    ):
        tally.note(item)
        observer.changed(item, tally.counts)
    busy = Hand("east cuda:0", ("segment",), "1", unit(3, "segment", "running"), Progress("track", 7, 12))
    busy.since = time.monotonic() - 5
    observer.remarked("east [2] is with us.")
    observer.looked([busy, Hand("east cutter", ("plan", "clip", "crop", "link"), "2")], tally)


def test_bars_show_stages_workers_failures_and_the_time_left() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        bars = batch_progress._Bars(console, live)
        tell(bars)
        live.refresh()
    shown = text.getvalue()
    for piece in (
        "failed: segment barn [red]_0001: it is [broken]",
        "east [2] is with us.",
        *("2/3", "1 failed", "1/2"),
        *("east cuda:0", "segment barn [red]_0003", "track 7/12", "5 s", "east cutter", "waits"),
        "1 of 2 clips done, 1 failed; 1 of 2 workers busy; about 0:00:30 left",
    ):
        assert piece in shown, piece


def test_a_log_gets_a_line_a_unit_and_now_and_then_one_about_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch_progress, "_LINE_S", 0.0)
    tell(batch_progress._Lines())
    assert capsys.readouterr().out.splitlines() == [
        "plan barn [red]: 1.0 s",
        *(f"clip barn [red]_000{clip}: 1.0 s" for clip in (1, 2, 3)),
        "failed: segment barn [red]_0001: it is [broken]",
        "segment barn [red]_0002: 60.0 s, 4 objects",
        "crop barn [red]_0002: 2.0 s",
        "-- east [2] is with us.",
        "-- 1 of 2 clips done, 1 failed; 1 of 2 workers busy; about 0:00:30 left",
    ]


def test_a_program_gets_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    tell(batch_progress._JsonLines())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["unit"] * 8 + ["remark", "progress"]
    assert (lines[4]["error"], lines[4]["worker"], lines[4]["clip"]) == ("it is [broken]", "east cuda:0", 1)
    whole = lines[-1]
    assert (whole["ended"]["segment"], whole["total"]["segment"], whole["left_s"]) == (2, 3, 30.0)
    busy, free = whole["workers"]
    assert (busy["worker"], busy["video"], busy["clip"], busy["doing"]) == ("east cuda:0", "barn [red]", 3, "track")
    assert (busy["frames"], busy["of"]) == (7, 12)
    assert busy["seconds"] >= 5
    assert free == {"worker": "east cutter", "stage": None}
