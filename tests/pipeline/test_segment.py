"""Whole jobs: outputs, cancelling, resuming, and what happens to earlier results when something goes wrong."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_jobs import FRAMES, NOTHING, PROMPTS, small_job, stored

from keepsight.core import Cancelled, InputError, KeepsightError, Prompt, StoreError
from keepsight.pipeline import outputs as output_module
from keepsight.pipeline.checkpoints import Cadence
from keepsight.pipeline.job import Mode, Outputs, Progress, SegmentJob
from keepsight.pipeline.live import run_live
from keepsight.pipeline.segment import run_segment
from keepsight.store import Project
from keepsight.video import open_video

ALL = Outputs()
FILES = {"project.keepsight", "masks", "annotations.json", "overlay.mp4", "objects", "report.html"}


def _press_ctrl_c(after: int) -> Callable[[Progress], None]:
    """A progress callback that interrupts this process once ``after`` frames are done."""

    def watch(event: Progress) -> None:
        if event.stage in ("track", "live") and event.done == after:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix not in (".keepsight-shm", ".keepsight-wal")}


def _state(job: SegmentJob) -> str:
    with Project.open(job.project_path) as project:
        return project.runs(project.videos()[0].id)[-1].state


def test_ctrl_c_keeps_everything_and_the_resumed_run_equals_an_uninterrupted_one(studio: Path, tmp_path: Path) -> None:
    calm = small_job(studio, tmp_path / "calm")
    run_segment(calm)
    job = small_job(studio, tmp_path / "stopped", outputs=ALL)
    stopped = run_segment(job, progress=_press_ctrl_c(after=11))
    assert (stopped.state, stopped.exit_code, stopped.frames) == ("cancelled", 130, 11)
    assert "--resume" in stopped.summary()
    assert _names(job.folder) == FILES
    # It began at the first prompt, on frame 4; the frames before the second one still lack the way back.
    assert stored(job.folder)[5:] == stored(calm.folder)[9:15]
    early = (job.folder / "overlay.mp4").read_bytes()

    # Nothing but the folder has to be said again; the outputs of the early state are made anew.
    rest = run_segment(SegmentJob(job.video, out=job.folder, mode=Mode.RESUME, outputs=ALL))
    assert (rest.state, rest.exit_code, rest.frames) == ("finished", 0, FRAMES)
    assert stored(job.folder) == stored(calm.folder)
    assert (job.folder / "overlay.mp4").read_bytes() != early
    assert len(list((job.folder / "masks").glob("*.png"))) == FRAMES

    # A finished run: only what is missing is made, and without loading a model.
    (job.folder / "overlay.mp4").unlink()
    before = (job.folder / "report.html").stat().st_mtime_ns
    again = run_segment(replace(job, mode=Mode.RESUME))
    assert again.tracked == 0
    assert "load" not in again.times_s
    assert _names(job.folder) == FILES
    assert (job.folder / "report.html").stat().st_mtime_ns == before


def test_the_built_in_model_too_goes_on_exactly(studio: Path, tmp_path: Path) -> None:
    calm = small_job(studio, tmp_path / "calm", model="builtin")
    run_segment(calm)
    job = small_job(studio, tmp_path / "stopped", model="builtin", mode=Mode.RESUME)
    assert run_segment(job, progress=_press_ctrl_c(after=13)).state == "cancelled"
    assert run_segment(job).state == "finished"
    assert stored(job.folder) == stored(calm.folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stride": 2}, "stride .1 then, 2 now"),
        ({"prompts": (*PROMPTS, Prompt(3, 0, points=((5.0, 5.0),), labels=(1,)))}, "the prompts"),
        ({"policy_options": {"stride": 3}, "stop": 20}, "policy_options .*, stop"),
        ({"video": "other.mp4"}, "about another video"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(studio: Path, tmp_path: Path, change: dict, says: str) -> None:
    job = small_job(studio, tmp_path / "out")
    run_segment(job, progress=_press_ctrl_c(after=3))
    if "video" in change:
        other = tmp_path / "other.mp4"
        other.write_bytes(Path(job.video).read_bytes() + b"\0")
        change = {"video": other}
    before = stored(job.folder)
    with pytest.raises(InputError, match=says):
        run_segment(replace(job, mode=Mode.RESUME, **change))
    assert stored(job.folder) == before
    assert _state(job) == "cancelled"


def test_earlier_results_survive_what_is_refused_and_only_then_are_replaced(studio: Path, tmp_path: Path) -> None:
    job = small_job(studio, tmp_path / "out", stop=12, outputs=ALL)
    run_segment(job)
    before = {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
    mine = job.folder / "masks" / "notes.txt"
    with pytest.raises(StoreError, match=r"--resume.*--overwrite"):
        run_segment(job)
    wrong: list[tuple[SegmentJob, str]] = [
        (replace(job, prompts=(Prompt(1, 99, points=((1.0, 1.0),), labels=(1,)),)), "no frame 99"),
        (replace(job, prompts=()), "Nothing to follow"),
        (replace(job, model="builtn"), "Did you mean builtin"),
        (replace(job, policy="sam22"), "Did you mean 'sam2'"),
        (replace(job, start=30, stop=20), "holds no frame"),
        (replace(job, direction="forward", stop=3), "nothing to follow forward"),
        (replace(job, crop_options={"margn": 1}), "no option 'margn'"),
        (replace(job, video=tmp_path / "missing.mp4"), "missing.mp4"),
    ]
    for refused, says in wrong:
        with pytest.raises(KeepsightError, match=says):
            run_segment(replace(refused, mode=Mode.OVERWRITE))
    assert {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == before

    run_segment(replace(job, mode=Mode.OVERWRITE, stop=8, outputs=NOTHING))
    assert len(stored(job.folder)) == 8
    assert _names(job.folder) == {"project.keepsight"}
    mine.parent.mkdir()
    mine.touch()
    run_segment(replace(job, mode=Mode.OVERWRITE, outputs=NOTHING))
    assert mine.exists()


def test_a_full_disk_leaves_every_frame_and_says_how_to_go_on(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = small_job(studio, tmp_path / "out", stop=12, outputs=Outputs(overlay=False, crops=False, report=False))
    write = Project.write_result

    def full(self: Project, video_id: int, run_id: int, result: object, **options: object) -> None:
        if result.frame == 9:  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, video_id, run_id, result, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Project, "write_result", full)
        with pytest.raises(StoreError, match=r"disk is full.*--resume"):
            run_segment(job)
    assert _state(job) == "failed"
    assert [result.frame for result in stored(job.folder)] == [4, 5, 6, 7, 8]

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "annotations.json")

    # Tracking succeeds now, an output does not: the run counts as finished, and the output is made by the next try.
    with monkeypatch.context() as patch:
        patch.setattr(output_module, "export_ytvis", no_room)
        with pytest.raises(StoreError, match=r"annotations.json could not be written.*--resume"):
            run_segment(replace(job, mode=Mode.RESUME))
    assert _state(job) == "finished"
    assert _names(job.folder) == {"project.keepsight", "masks"}
    run_segment(replace(job, mode=Mode.RESUME))
    assert _names(job.folder) == {"project.keepsight", "masks", "annotations.json"}
    assert [result.frame for result in stored(job.folder)] == list(range(12))


def test_a_run_that_is_going_on_is_left_alone_and_a_second_ctrl_c_leaves_at_once(studio: Path, tmp_path: Path) -> None:
    job = small_job(studio, tmp_path / "out", outputs=ALL)

    def meddle(event: Progress) -> None:
        if event.stage != "track" or event.done != 5:
            return
        for mode in (Mode.RESUME, Mode.OVERWRITE):
            with pytest.raises(StoreError, match=r"still going in another process|in use by a run"):
                run_segment(replace(job, mode=mode))
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Cancelled, match=r"every frame so far is kept.*--resume"):
        run_segment(job, progress=meddle)
    assert (_state(job), len(stored(job.folder))) == ("cancelled", 5)
    assert _names(job.folder) == {"project.keepsight"}


def test_live_stream_is_followed_recorded_and_ended_by_ctrl_c(studio: Path, tmp_path: Path) -> None:
    job = small_job(studio, tmp_path / "out", direction=None, outputs=ALL)
    outcome = run_live(job, progress=_press_ctrl_c(after=20))
    assert (outcome.state, outcome.exit_code, outcome.frames) == ("finished", 0, 20)
    assert _names(job.folder) == FILES | {"recording.mp4"}
    results = stored(job.folder)
    assert [result.frame for result in results] == list(range(20))
    assert [len(result.objects) for result in results] == [0] * 4 + [1] * 5 + [2] * 11
    for name in ("recording.mp4", "overlay.mp4"):
        with open_video(job.folder / name) as video:
            assert video.frame_count == 20
    with pytest.raises(InputError, match="do not apply to a live source"):
        run_live(replace(job, mode=Mode.OVERWRITE, stride=2))
    with pytest.raises(InputError, match="cannot be resumed"):
        run_live(replace(job, mode=Mode.RESUME))


def test_checkpoints_cost_at_most_their_share() -> None:
    now = 0.0
    cadence = Cadence(5.0, share=0.05, clock=lambda: now)
    spent = 0.0
    while now < 1000:
        now += 0.1
        if cadence.due():
            now += 2.0
            spent += 2.0
            cadence.saved(2.0)
    assert 0.03 < spent / now < 0.055
