"""A camera or stream without an end: followed, shown and stored as it comes.

Frames come once, so nothing may depend on seeing one again: each is recorded, followed, stored in a transaction of its own and
drawn into an overlay that plays while it grows. Ctrl-C is the normal way to end, and loses nothing. The recording is what
crops and the report are made from afterwards, and what can be followed again with corrections.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keepsight.core import InputError, KeepsightError, Prompt
from keepsight.pipeline.finding import (
    check_asked,
    count_found,
    detector_line,
    open_stream,
    remarks_of,
    settle_finding,
)
from keepsight.pipeline.folder import check_folder, create_project
from keepsight.pipeline.job import Mode, Progress, ProgressCallback, SegmentJob, SegmentOutcome
from keepsight.pipeline.outputs import LIVE_OVERLAY, RECORDING, crop_style, write_outputs
from keepsight.pipeline.run import facts_of, load_tracker
from keepsight.pipeline.settings import Settings, settings_of
from keepsight.pipeline.stopping import StopRequest
from keepsight.pipeline.timing import StageClock
from keepsight.pipeline.trouble import as_keepsight_errors
from keepsight.render import draw_overlay
from keepsight.store import Project
from keepsight.video import VideoWriter, open_video

if TYPE_CHECKING:
    from keepsight.concepts import ConceptStream
    from keepsight.tracking import Tracker
    from keepsight.video import VideoSource


def run_live(job: SegmentJob, progress: ProgressCallback | None = None) -> SegmentOutcome:
    """Follows a live source until it ends, ``job.stop`` frames have come, or Ctrl-C.

    Prompts say on which frame they hold, counted from the first one that comes.

    Args:
        job: ``video`` is a camera number, a stream address, or a file to be treated like one.
        progress: called after every frame.

    Raises:
        InputError, ModelError, StoreError: one line for the person; what was followed until then is kept.
    """
    with as_keepsight_errors(job):
        return _Live(job, progress).run()


class _Live:
    def __init__(self, job: SegmentJob, progress: ProgressCallback | None) -> None:
        self.job = job
        self.progress = progress
        self.times_s: dict[str, float] = {}
        self.notes: list[str] = []
        self.frames = 0

    def run(self) -> SegmentOutcome:
        job = self.job
        if job.mode == Mode.RESUME:
            raise InputError(
                "A live source cannot be resumed: what was missed is gone. Choose another --out, or --overwrite."
            )
        if job.start is not None or job.stride not in (None, 1) or job.direction not in (None, "forward"):
            raise InputError(
                "--start, --stride and --direction do not apply to a live source; --stop N ends after N frames."
            )
        check_folder(job)
        crop_style(job.crop_options)
        settings = settle_finding(settings_of(job))
        if settings.removed or any(concept.exemplars for concept in settings.concepts):
            raise InputError(
                "--exemplar and --remove do not apply to a live source; follow its recording.mp4 afterwards."
            )
        with StageClock(self.times_s, "open"):
            source = _open(job.video)
        with source:
            check_asked(settings, source.height, source.width, job.stop)
            tracker, settings = load_tracker(settings, self.times_s, self._tell)
            follower = open_stream(tracker, settings)
            with create_project(job) as project:
                return self._follow_and_conclude(project, source, follower, settings)

    def _follow_and_conclude(
        self, project: Project, source: VideoSource, follower: Tracker | ConceptStream, settings: Settings
    ) -> SegmentOutcome:
        recording = self.job.folder / RECORDING
        with project.transaction():
            video_id = project.add_video(
                path=str(recording),
                name=source.name,
                height=source.height,
                width=source.width,
                fps=source.fps,
                frame_count=None,
                fingerprint=source.fingerprint(),
            )
            # Beside what is found their ids are known when their frame comes.
            for prompt in settings.prompts if not settings.concepts else ():
                project.add_prompt(video_id, prompt)
            run_id = project.start_run(video_id, settings.to_json())
        try:
            with StopRequest() as stop:
                self._follow(project, video_id, run_id, source, follower, stop, settings)
        except BaseException as error:
            with contextlib.suppress(KeepsightError):
                project.set_frame_count(video_id, self.frames)
                project.finish_run(run_id, "failed", note=str(error) or type(error).__name__)
            raise
        self.notes += [*source.warnings, *remarks_of(follower)]
        if not self.frames:
            project.finish_run(run_id, "failed", note="no frame came")
            raise InputError(f"{source.name} ended before its first frame; check that it plays elsewhere.")
        project.set_frame_count(video_id, self.frames)
        late = sorted({prompt.frame for prompt in settings.prompts if prompt.frame >= self.frames})
        if late:
            self.notes.append(
                f"The stream ended after {self.frames} frames, before the prompts on {late}; those were not used."
            )
        project.finish_run(run_id, "finished", facts=facts_of(self.times_s, self.frames, self.notes, self.job.credit))
        with open_video(recording) as video:
            files = write_outputs(
                self.job,
                project,
                video,
                video_id,
                tell=self._tell,
                timed=lambda stage: StageClock(self.times_s, stage),
                notes=self.notes,
            )
        return SegmentOutcome(
            out=self.job.folder,
            state="finished",
            frames=self.frames,
            tracked=self.frames,
            objects=len(project.objects(video_id)),
            times_s=self.times_s,
            files=files,
            notes=self.notes,
            detector=detector_line(settings, by_default=self.job.detector is None),
            found=count_found(project, video_id, settings.concepts),
        )

    def _follow(
        self,
        project: Project,
        video_id: int,
        run_id: int,
        source: VideoSource,
        follower: Tracker | ConceptStream,
        stop: StopRequest,
        settings: Settings,
    ) -> None:
        prompts = settings.prompts
        given = {prompt.object_id: prompt.label for prompt in prompts if prompt.label and not settings.concepts}
        overlay: VideoWriter | None = None
        time_s = -1.0
        with contextlib.ExitStack() as stack:
            clock = stack.enter_context(StageClock(self.times_s, "decode"))
            for frame in source.frames(stop=self.job.stop):
                clock.enter("write")
                if self.frames == 0:
                    # Only now: a source without a frame shall not leave an empty video behind.
                    recording = stack.enter_context(_writer(self.job.folder / RECORDING, source))
                    if self.job.outputs.overlay:
                        overlay = stack.enter_context(_writer(self.job.folder / LIVE_OVERLAY, source))
                time_s = max(frame.time_s, time_s + 1e-3)  # a sender's clock may stand still; a video's may not
                recording.write(frame.rgb, time_s)
                clock.enter("track")
                for prompt in [item for item in prompts if item.frame == self.frames]:
                    self._say(project, video_id, follower, prompt, settings)
                result = follower.step(frame.rgb, frame.time_s)
                labels = given or dict(getattr(follower, "labels", {}))
                clock.enter("store")
                project.write_result(video_id, run_id, result, labels=labels)
                clock.enter("write")
                if overlay is not None:
                    overlay.write(draw_overlay(frame.rgb, result, labels), time_s)
                self.frames += 1
                self._tell("live", self.frames, self.job.stop)
                if stop.asked:
                    return
                clock.enter("decode")

    def _say(
        self, project: Project, video_id: int, follower: Tracker | ConceptStream, prompt: Prompt, settings: Settings
    ) -> None:
        """Says to the tracker what a person said about the frame that comes next."""
        if settings.concepts and prompt.object_id in settings.dealt:
            prompt = replace(prompt, object_id=follower.next_id)  # type: ignore[union-attr]
        try:
            follower.add(
                object_id=prompt.object_id,
                points=prompt.points,
                labels=prompt.labels,
                box=prompt.box,
                mask=prompt.mask,
                label=prompt.label,
            )
        except InputError as error:
            if not settings.concepts:
                raise
            self.notes.append(
                f"What was said about object {prompt.object_id} on frame {prompt.frame} was left out: {error}"
            )
            return
        if settings.concepts:
            project.add_prompt(video_id, prompt)

    def _tell(self, stage: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total))


def _open(video: str | Path) -> VideoSource:
    text = str(video)
    return open_video(int(text)) if text.isdigit() else open_video(text)


def _writer(path: Path, source: VideoSource) -> VideoWriter:
    return VideoWriter(path, height=source.height, width=source.width, fps=source.fps, live=True)
