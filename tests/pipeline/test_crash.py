"""A run that is killed again and again and resumed ends as one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

from small_jobs import DATA, FRAMES, small_job, stored

from forks import fork
from keepsight.pipeline.job import Mode, Progress, SegmentJob
from keepsight.pipeline.segment import run_segment
from keepsight.store import Project

_KILLS = 5


def _work(job: SegmentJob, ticks: Path) -> None:
    """What a child does: the job, and a byte in ``ticks`` for every step of progress."""
    with ticks.open("wb", buffering=0) as file:

        def tick(_: Progress) -> None:
            file.write(b".")
            time.sleep(0.005)

        run_segment(job, progress=tick)


def _run_and_kill(job: SegmentJob, ticks: Path, after_steps: int, after_s: float) -> None:
    """Runs the job in a process of its own and kills it some steps and then some time later, wherever it is by then."""
    ticks.write_bytes(b"")
    child = fork(_work, job, ticks)
    assert child.pid is not None
    while child.is_alive() and ticks.stat().st_size < after_steps:
        time.sleep(0.001)
    time.sleep(after_s)
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    child.join()


def test_killed_at_random_moments_and_resumed_equals_uninterrupted(studio: Path, tmp_path: Path) -> None:
    reference = small_job(studio, tmp_path / "calm")
    run_segment(reference)
    expected = stored(reference.folder)
    assert [result.frame for result in expected] == list(range(FRAMES))

    job = small_job(studio, tmp_path / "storm", mode=Mode.RESUME, checkpoint_s=0.05, outputs=DATA)
    dice = random.Random(time.time_ns())
    seen: list[tuple[str, int]] = []
    for _ in range(_KILLS):
        _run_and_kill(job, tmp_path / "ticks", dice.randint(1, 16), dice.uniform(0.0, 0.03))
        if job.project_path.exists():
            with Project.open(job.project_path) as project:
                runs = [run for video in project.videos() for run in project.runs(video.id)]
                seen += [(run.state, len(project.frames_done(run.video_id, run.id))) for run in runs]
    assert any(state == "interrupted" and 0 < frames < FRAMES for state, frames in seen), seen

    outcome = run_segment(job)
    assert (outcome.state, outcome.frames) == ("finished", FRAMES)
    assert stored(job.folder) == expected
    assert len(list((job.folder / "masks").glob("*.png"))) == FRAMES
    leftovers = {path.name for path in job.folder.iterdir() if not path.name.startswith("project.keepsight")}
    assert leftovers == {"masks", "annotations.json"}
    run_segment(replace(job, prompts=(), model=None, direction=None))


def test_what_a_writer_left_that_was_killed_goes_with_the_next_run(studio: Path, tmp_path: Path) -> None:
    job = small_job(studio, tmp_path / "out", mode=Mode.RESUME, outputs=DATA)
    run_segment(job)
    before = sorted(path.name for path in job.folder.iterdir())
    (job.folder / ".masks.0badcafe.tmp").mkdir()
    (job.folder / ".masks.0badcafe.tmp" / "00000.png").touch()
    (job.folder / ".annotations.0badcafe.json").touch()
    run_segment(job)
    assert sorted(path.name for path in job.folder.iterdir()) == before
