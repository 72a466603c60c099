"""The main job: a video and prompts in, a project and everything derived from it out.

The order of things is chosen for what can go wrong. All that can be refused (input, prompts, model) is tried before anything
in the output folder is touched, so earlier results survive a typing error. From then on every frame is a transaction of its
own and the engine's state is saved now and then, so a crash costs a few seconds of work. Outputs come last, each moved into
place when it is whole; one that is missing is made again from the project.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsight.core import Cancelled, Direction, Frame, FrameResult, InputError, KeepsightError, Source, StoreError
from keepsight.models.registry import local_dir, resolve
from keepsight.pipeline.along import Along, place_overlay
from keepsight.pipeline.checkpoints import Cadence, pack, unpack
from keepsight.pipeline.finding import (
    check_asked,
    count_found,
    detector_line,
    open_session,
    remarks_of,
    settle_finding,
)
from keepsight.pipeline.folder import add_video, check_folder, create_project
from keepsight.pipeline.job import Mode, Progress, ProgressCallback, SegmentJob, SegmentOutcome
from keepsight.pipeline.loaded import LoadedModels
from keepsight.pipeline.outputs import crop_style, remove_outputs, write_outputs
from keepsight.pipeline.run import facts_of, load_tracker
from keepsight.pipeline.settings import Settings, check_same, settings_of, weights_fingerprint
from keepsight.pipeline.stopping import StopRequest
from keepsight.pipeline.timing import StageClock
from keepsight.pipeline.trouble import as_keepsight_errors
from keepsight.store import Project, StoredRun
from keepsight.tracking.plan import Visit, plan_visits
from keepsight.video import open_video

if TYPE_CHECKING:
    from keepsight.tracking import Session
    from keepsight.video import VideoSource


def run_segment(
    job: SegmentJob, progress: ProgressCallback | None = None, models: LoadedModels | None = None
) -> SegmentOutcome:
    """Runs a job to its end, or until Ctrl-C.

    Args:
        job: what to do.
        progress: called after every frame of every stage.
        models: those of jobs before, to be used again; this job's stay in it.

    Returns:
        What is there now; ``state`` is ``cancelled`` after Ctrl-C, with everything up to there kept and written out.

    Raises:
        InputError, ModelError, StoreError: one line for the person; earlier results are intact.
        Cancelled: a second Ctrl-C, or one while outputs were written.
    """
    work = _Segmentation(job, progress, models or LoadedModels())
    with as_keepsight_errors(job):
        try:
            return work.run()
        except KeyboardInterrupt:
            if not work.begun:
                raise
            line = f"Stopped at once; every frame so far is kept. Go on with: {job.resume_line()}"
            raise Cancelled(line) from None


@dataclass(frozen=True)
class _Work:
    """A session ready to go along ``visits``, of which ``done`` were followed before."""

    session: Session
    settings: Settings
    visits: list[Visit]
    done: int = 0

    @property
    def total(self) -> int:
        return len(self.visits)

    def results(self, on_stage: Callable[[str], None], on_frame: Callable[[Frame], None]) -> Generator[FrameResult]:
        """The frames that are left."""
        settings = self.settings
        yield from self.session.propagate(
            settings.start,
            settings.stop,
            stride=settings.stride,
            direction=settings.direction,
            resume=self.done > 0,
            on_stage=on_stage,
            on_frame=on_frame,
        )


@dataclass
class _Segmentation:
    job: SegmentJob
    progress: ProgressCallback | None
    models: LoadedModels
    times_s: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tracked: int = 0
    begun: bool = False
    drawn: Path | None = None
    beside_s: dict[str, float] = field(default_factory=dict)

    def run(self) -> SegmentOutcome:
        job = self.job
        check_folder(job)
        crop_style(job.crop_options)
        with self._timed("open"):
            video = open_video(job.video)
        with video:
            if video.live or video.frame_count is None:
                raise InputError(f"{job.video} is a stream without an end; add --camera to follow it live.")
            project = self._earlier_project()
            if project is None:
                return self._from_the_start(video, video.frame_count)
            with project:
                return self._resume(video, video.frame_count, project)

    # ---- the three ways in ----

    def _from_the_start(self, video: VideoSource, frame_count: int) -> SegmentOutcome:
        settings = settings_of(self.job)
        if not (settings.prompts or settings.concepts or settings.detector) and self.job.mode == Mode.RESUME:
            raise InputError(
                f"There is no run to resume in {self.job.folder}; say what to follow with --text, --point, --box, --mask or "
                "--prompts to begin one."
            )
        settings = settle_finding(settings)
        check_asked(settings, video.height, video.width, frame_count)
        visits = visits_of(settings, frame_count)
        self._say_what_is_left_out(settings)
        tracker, settings = load_tracker(settings, self.times_s, self._tell, self.models, self.job.units)
        with self._timed("prompts"):
            session, prompts = open_session(tracker, video, settings, {v.frame for v in visits}, self.models)
            for prompt in prompts:
                session.add_prompt(prompt)
        work = _Work(session, settings, visits)
        with create_project(self.job) as project:
            with project.transaction():
                video_id = add_video(project, video)
                for prompt in settings.prompts:
                    project.add_prompt(video_id, prompt)
                run_id = project.start_run(video_id, settings.to_json())
            state = self._track(project, video_id, run_id, work)
            return self._conclude(project, video, video_id, run_id, settings, state)

    def _say_what_is_left_out(self, settings: Settings) -> None:
        if settings.concepts:
            if settings.dealt:
                highest = max(settings.dealt)
                self.notes.append(
                    f"What was pointed at without @OBJECT has ids up to {highest}; what is found is counted on from there."
                )
            return
        first = min(prompt.frame for prompt in settings.prompts)
        if settings.direction == "forward" and settings.start is not None and settings.start < first:
            self.notes.append(
                f"Nothing is followed before the first prompt on frame {first}; --direction both follows it there too."
            )

    def _resume(self, video: VideoSource, frame_count: int, project: Project) -> SegmentOutcome:
        video_id, run = self._run_to_resume(project, video)
        earlier = Settings.from_json(run.settings, [item.prompt for item in project.prompts(video_id)])
        settings = settle_finding(settings_of(self.job, earlier))
        weights = weights_fingerprint(local_dir(resolve(settings.model)))
        check_same(earlier, replace(settings, weights=weights), self.job.folder)
        state = run.state
        if state == "finished":
            self.notes.append("The run is finished already; only outputs that are missing are made.")
        else:
            visits = visits_of(settings, frame_count)
            tracker, _ = load_tracker(settings, self.times_s, self._tell, self.models, self.job.units)
            saved, done = project.latest_checkpoint(run.id), 0
            with self._timed("prompts"):
                session, prompts = open_session(tracker, video, settings, {v.frame for v in visits}, self.models)
                if saved is None:
                    for prompt in prompts:
                        session.add_prompt(prompt)
                else:
                    done, engine_state = unpack(saved[1])
                    session.load_state(engine_state)
            project.resume_run(run.id)
            if settings.concepts:
                # What was on trial when the run was stopped may be found to be none now.
                project.forget_results(video_id, run.id, {visit.frame for visit in visits[done:]})
            state = self._track(project, video_id, run.id, _Work(session, settings, visits, done))
        return self._conclude(project, video, video_id, run.id, settings, state, run.facts)

    def _earlier_project(self) -> Project | None:
        if self.job.mode != Mode.RESUME or not self.job.project_path.exists():
            return None
        project = Project.open(self.job.project_path)
        if project.videos():
            return project
        project.close()  # killed between making the file and starting the run: nothing in it
        self.job.project_path.unlink()
        return None

    def _run_to_resume(self, project: Project, video: VideoSource) -> tuple[int, StoredRun]:
        where = self.job.folder
        if project.read_only:
            raise StoreError(f"{project.path} cannot be written, so its run cannot be resumed; copy the folder first.")
        same = [item for item in project.videos() if item.fingerprint == video.fingerprint()]
        if not same:
            names = ", ".join(item.name for item in project.videos())
            raise InputError(f"The project in {where} is about another video ({names}) than {self.job.video}.")
        runs = project.runs(same[0].id)
        if not runs:
            raise InputError(
                f"The project in {where} has no run to resume; start anew with --overwrite or another --out."
            )
        if runs[-1].state == "running":
            raise StoreError(
                f"The run in {where} is still going in another process, since {runs[-1].started_at}; wait for it."
            )
        return same[0].id, runs[-1]

    # ---- the work ----

    def _track(self, project: Project, video_id: int, run_id: int, work: _Work) -> str:
        """Follows what is left of the run; returns the state in which it ended.

        Raises:
            KeepsightError: also noted in the project.
        """
        self.begun = True
        try:
            with StopRequest() as stop, self._along(project, video_id, work) as along:
                revised = self._follow(project, video_id, run_id, work, stop, along)
                with self._timed("finish"):
                    self.drawn = along.finish(revised=revised or stop.asked)
                self.beside_s = dict(along.times_s)
        except BaseException as error:
            state = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
            # A full disk may refuse this too; the run then counts as interrupted.
            with contextlib.suppress(KeepsightError):
                project.finish_run(run_id, state, note=str(error) or type(error).__name__)
            raise
        return "cancelled" if stop.asked and work.done + self.tracked < work.total else "finished"

    def _along(self, project: Project, video_id: int, work: _Work) -> Along:
        """What is made of the frames beside their masks."""
        job = self.job
        return Along(
            project,
            video_id,
            work.session.video,
            job.folder,
            crops=crop_style(job.crop_options) if job.patches else None,
            overlay=job.outputs.overlay and not work.done and work.settings.direction == "forward",
        )

    def _follow(
        self, project: Project, video_id: int, run_id: int, work: _Work, stop: StopRequest, along: Along
    ) -> bool:
        """Follows what is left of the run; returns whether frames were revised at its end."""
        cadence, clock = Cadence(self.job.checkpoint_s), StageClock(self.times_s)
        with clock, contextlib.closing(work.results(clock.enter, along.saw)) as results:
            for result in results:
                clock.enter("store")
                self._store(project, video_id, run_id, work, result)
                clock.enter("hand over")
                along.stored(result, work.session.labels)
                done = work.done + self.tracked
                self._tell("track", done, work.total)
                if stop.asked or cadence.due():
                    clock.enter("checkpoints")
                    begin = time.perf_counter()
                    project.save_checkpoint(run_id, result.frame, pack(done, work.session.save_state()))
                    cadence.saved(time.perf_counter() - begin)
                if stop.asked and done < work.total:
                    # What is still on trial is shown as it is now; a resumed run goes on from before it.
                    work.session.cancel()
                    for held in results if work.settings.concepts else ():
                        self._store(project, video_id, run_id, work, held)
                    break
                clock.enter("track")
        self.notes += [line for line in remarks_of(work.session) if line not in self.notes]
        if work.done + self.tracked < work.total:
            return False
        # A kill among these is made good by the next resume: the checkpoint before them gives the same ones again.
        revised = work.session.finalize()
        for result in revised:
            project.write_result(video_id, run_id, _marked_revised(result))
        return bool(revised)

    def _store(self, project: Project, video_id: int, run_id: int, work: _Work, result: FrameResult) -> None:
        project.write_result(video_id, run_id, result, labels=work.session.labels)
        self.tracked += 1

    def _conclude(
        self,
        project: Project,
        video: VideoSource,
        video_id: int,
        run_id: int,
        settings: Settings,
        state: str,
        earlier_facts: dict[str, Any] | None = None,
    ) -> SegmentOutcome:
        """Ends the run and writes its outputs.

        An output that is there is complete and current, always: it is written under another name and moved into place, and the
        ones of an earlier state go before the run ends. So a resumed job can tell what is missing by looking.
        """
        self.notes += video.warnings
        if self.tracked:
            remove_outputs(self.job.folder)
        earlier = earlier_facts or {}

        def facts() -> dict[str, Any]:
            return facts_of(self.times_s, self.tracked, self.notes, self.job.credit, earlier)

        project.finish_run(run_id, state, facts=facts())
        place_overlay(self.job.folder, self.drawn)
        made = write_outputs(self.job, project, video, video_id, tell=self._tell, timed=self._timed, notes=self.notes)
        project.finish_run(run_id, state, facts=facts())  # now with the time that the outputs took
        return SegmentOutcome(
            out=self.job.folder,
            state=state,
            frames=len(project.frames_done(video_id, run_id)),
            tracked=self.tracked,
            objects=len(project.objects(video_id)),
            times_s=self.times_s,
            beside_s=self.beside_s,
            files=made,
            notes=self.notes,
            resume=self.job.resume_line() if state == "cancelled" else None,
            detector=detector_line(settings, by_default=self.job.detector is None and self.job.mode != Mode.RESUME),
            found=count_found(project, video_id, settings.concepts),
        )

    # ---- book-keeping ----

    def _timed(self, stage: str) -> StageClock:
        return StageClock(self.times_s, stage)

    def _tell(self, stage: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total))


def _marked_revised(result: FrameResult) -> FrameResult:
    return replace(result, objects=tuple(replace(item, source=Source.REVISED) for item in result.objects))


def visits_of(settings: Settings, frame_count: int) -> list[Visit]:
    """The frames that a run will visit, for the progress bar and to refuse a range in which there is nothing to do.

    Raises:
        InputError: no frame at all.
    """
    frames: dict[int, list[int]] = {}
    for prompt in settings.prompts:
        frames.setdefault(prompt.object_id, []).append(prompt.frame)
    spans = [(min(of_object), max(of_object)) for of_object in frames.values()]
    if settings.concepts:
        spans = [(0, frame_count - 1)]
    prompted = sorted({prompt.frame for prompt in settings.prompts})
    direction = Direction(settings.direction)
    visits = plan_visits(frame_count, spans, prompted, settings.start, settings.stop, settings.stride, direction)
    if not visits:
        raise InputError(
            f"There is nothing to follow {direction} between --start and --stop: the first prompt is on frame {prompted[0]}, "
            f"the last on frame {prompted[-1]}. Widen the range, or choose another --direction."
        )
    return visits
