"""A server that is killed in the middle of a job: at most the frame in hand is tracked again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from small_desks import BLUE, RED, counts, stored, wait, workshop, write_clip

from forks import fork
from keepsight.annotation import FrameDone, TrackRequest
from keepsight.store import Project

LENGTH = 60


def _serve(model: Path, video: Path, project: Path, job_id: int | None, ticks: Path) -> None:
    """What a server does: begins a job or goes on with it, and a byte in ``ticks`` for every frame that was stored."""
    desk = workshop(model).open("one", video, project).result()
    with ticks.open("ab", buffering=0) as file:
        desk.subscribe(lambda event: file.write(b".") and None if isinstance(event.what, FrameDone) else None)
        if job_id is None:
            desk.prompt(RED).result()
            desk.prompt(BLUE).result()
            desk.track(TrackRequest(8, "both")).result()
        else:
            desk.resume(job_id).result()
        wait(desk)


def _run_and_kill(ticks: Path, after: int, *args: object) -> None:
    ticks.write_bytes(b"")
    child = fork(_serve, *args, ticks)
    assert child.pid is not None
    while child.is_alive() and ticks.stat().st_size < after:
        time.sleep(0.0005)
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def test_killed_and_gone_on_with_tracks_at_most_one_frame_again(model, tmp_path):
    video, path, ticks = write_clip(tmp_path / "clip.mp4", LENGTH), tmp_path / "one.keepsight", tmp_path / "ticks"
    _run_and_kill(ticks, 9, model, video, path, None)
    with Project.open(path, read_only=True) as project:
        [run] = project.runs(1)
        assert run.state == "interrupted"
        assert 9 <= run.facts["done"] < LENGTH
        first = run.facts["done"]
    _run_and_kill(ticks, 45, model, video, path, run.id)
    with Project.open(path, read_only=True) as project:
        [run] = project.runs(1)
        assert run.state == "interrupted"
        done, units = run.facts["done"], run.facts["units"]
        assert done >= first + 45 - 1
        before = {result.frame: result for result in project.results(1)}

    shop = workshop(model)
    desk = shop.open("one", video, path).result()
    found = desk.jobs().result()[0]
    assert (found.state, found.done, found.resumable) == ("interrupted", done, True)
    desk.resume(found.id).result()
    job = wait(desk)
    assert (job.state, job.done, job.total) == ("finished", job.total, job.total)
    # Everything that was stored is as it was, and the frames followed are those that were open, each once.
    for number in (1, 2):
        now = counts(desk, number)
        assert list(now) == list(range(LENGTH))
        old = {
            frame: item.mask.counts
            for frame, result in before.items()
            for item in result.objects
            if item.object_id == number
        }
        assert {frame: now[frame] for frame in old} == old
    open_before = sum(
        frame not in {f for f, r in before.items() if number in [o.object_id for o in r.objects]}
        for number in (1, 2)
        for frame in stored(desk, number)
    )
    assert desk.units_decoded == open_before
    assert units + desk.units_decoded == 2 * (LENGTH - 1)
    shop.shut()
