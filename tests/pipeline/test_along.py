"""What is made while a clip is followed: each frame is decoded once, and nothing differs from what is made afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from found_jobs import Scripted, finding_job, truth
from small_jobs import FRAMES, NOTHING, small_job, stored

from keepsight.core import Frame, Source
from keepsight.pipeline.along import PATCHES_NAME
from keepsight.pipeline.crops import crop_objects
from keepsight.pipeline.job import Mode, Outputs, Progress, SegmentJob
from keepsight.pipeline.segment import run_segment
from keepsight.render import render_overlay
from keepsight.store import Project
from keepsight.video import VideoWriter, open_video
from keepsight.video.file import FileVideo

OVERLAY = Outputs(overlay=True, crops=False, masks=False, annotations=False, report=False)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each frame was decoded."""
    counted: Counter[int] = Counter()
    frames, read = FileVideo.frames, FileVideo.read

    def watched(self: FileVideo, *args: int, **named: int) -> Iterator[Frame]:
        for frame in frames(self, *args, **named):
            counted[frame.index] += 1
            yield frame

    def watched_read(self: FileVideo, index: int) -> Frame:
        counted[index] += 1
        return read(self, index)

    monkeypatch.setattr(FileVideo, "frames", watched)
    monkeypatch.setattr(FileVideo, "read", watched_read)
    return counted


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[np.ndarray]]:
    """What is given to encoders, by file name."""
    given: dict[str, list[np.ndarray]] = {}
    write = VideoWriter.write

    def note(self: VideoWriter, rgb: np.ndarray, time_s: float | None = None) -> None:
        given.setdefault(self.path.name, []).append(rgb)
        write(self, rgb, time_s)

    monkeypatch.setattr(VideoWriter, "write", note)
    return given


def check_equal(job: SegmentJob, tmp_path: Path, pictures: dict[str, list[np.ndarray]]) -> int:
    """The overlay and the crops are those that are made from project and video; how many frames the crops have decoded."""
    pictures.clear()
    made = crop_objects(job.folder, tmp_path / "crops", patches=job.folder / PATCHES_NAME)
    ours = dict(pictures)
    pictures.clear()
    plain = crop_objects(job.folder, tmp_path / "plain")
    assert made.clips.keys() == plain.clips.keys()
    assert len(made.clips) >= 2
    assert ours.keys() == pictures.keys()
    for name, shown in pictures.items():
        np.testing.assert_array_equal(shown, ours[name])
    assert made.boxes[0].read_bytes() == plain.boxes[0].read_bytes()
    with (
        Project.open(job.project_path, read_only=True) as project,
        open_video(job.video) as video,
    ):
        render_overlay(video, project, project.videos()[0].id, tmp_path / "overlay.mp4")
    assert (job.folder / "overlay.mp4").read_bytes() == (tmp_path / "overlay.mp4").read_bytes()
    others = {path.name for path in job.folder.iterdir() if not path.name.startswith("project.keepsight")}
    assert others == {"overlay.mp4", PATCHES_NAME}
    return made.decoded


def test_every_frame_is_decoded_once(
    studio: Path,
    tmp_path: Path,
    script: Callable[[Scripted], None],
    decoded: Counter[int],
    pictures: dict[str, list[np.ndarray]],
) -> None:
    script(Scripted(truth))
    job = finding_job(studio, tmp_path / "out", outputs=OVERLAY, patches=True)
    outcome = run_segment(job)
    assert outcome.beside_s.keys() == {"patches", "overlay"}
    crop_objects(job.folder, tmp_path / "first", patches=job.folder / PATCHES_NAME)
    assert decoded == Counter(range(FRAMES))
    assert check_equal(job, tmp_path, pictures) == 0


@pytest.mark.usefixtures("torn")
def test_what_a_policy_revises_at_the_end_is_drawn_and_cut_as_it_was_revised(
    studio: Path, tmp_path: Path, pictures: dict[str, list[np.ndarray]]
) -> None:
    policy = {"policy": "sam2long", "policy_options": {"uncertainty": 1000}, "direction": "forward", "stop": 20}
    job = small_job(studio, tmp_path / "out", **policy, outputs=OVERLAY, patches=True)
    run_segment(job)
    assert any(item.source is Source.REVISED for result in stored(job.folder) for item in result.objects)
    check_equal(job, tmp_path, pictures)


@pytest.mark.parametrize("at", [5, 20])
def test_a_run_that_broke_off_goes_on_with_what_was_kept(
    studio: Path,
    tmp_path: Path,
    script: Callable[[Scripted], None],
    pictures: dict[str, list[np.ndarray]],
    at: int,
) -> None:
    def break_off(progress: Progress) -> None:
        if progress.stage == "track" and progress.done == at:
            raise RuntimeError("broken off")

    script(Scripted(truth))
    job = finding_job(
        studio, tmp_path / "out", rules={"hotstart_frames": 8}, outputs=OVERLAY, patches=True, checkpoint_s=0.0
    )
    with pytest.raises(RuntimeError, match="broken off"):
        run_segment(job, break_off)
    detector = Scripted(truth)
    detector.frame = at + 3  # it tells frames by how often it was asked
    script(detector)
    again = finding_job(
        studio, tmp_path / "out", rules=None, detector=None, mode=Mode.RESUME, outputs=OVERLAY, patches=True
    )
    assert run_segment(again).tracked < FRAMES
    # At most what waited for the thread when it broke off, and the frames whose results were on trial; on a busy machine the
    # thread may have caught up.
    assert check_equal(again, tmp_path, pictures) <= 4 + 8


def test_patches_are_for_those_who_ask(studio: Path, tmp_path: Path) -> None:
    job = small_job(studio, tmp_path / "out", outputs=NOTHING)
    assert run_segment(job).beside_s == {}
    assert [path.name for path in job.folder.iterdir()] == ["project.keepsight"]
