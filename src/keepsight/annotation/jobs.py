"""The jobs of a desk: one at a time, frame by frame between clicks; paused, cancelled and gone on with, after a restart too."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from keepsight.annotation.case import Case
from keepsight.annotation.clicks import TrackerSide
from keepsight.annotation.plan import KIND, Plan, make_plan
from keepsight.annotation.progress import JobRun, Progress
from keepsight.annotation.tracking import TrackRun
from keepsight.annotation.trouble import Conflict, NotFound
from keepsight.annotation.values import DeskSettings, FrameDone, Job, TrackRequest
from keepsight.annotation.words import WordsRun
from keepsight.annotation.worker import Urgency
from keepsight.core.errors import KeepsightError
from keepsight.store import UNDONE, Project, StoredRun

_log = logging.getLogger(__name__)


class JobBook:
    """Starts, drives and ends jobs.

    Requests come on the clerk's thread, the work is done on the worker's. A lock guards what both touch; the worker holds it
    only between frames.
    """

    def __init__(self, case: Case, side: TrackerSide) -> None:
        self._case, self._side = case, side
        self._lock = threading.RLock()
        self._progress: Progress | None = None
        self._run: JobRun | None = None
        self._wanted: str | None = None  # "pause" or "cancel"
        self._published: Job | None = None

    # ---- what there is ----

    @property
    def current(self) -> Job | None:
        """The job that holds the desk."""
        # Asked for by threads that must not wait for a plan in the making.
        job = self._published
        return job if job is not None and job.going else None

    def all(self, project: Project) -> list[Job]:
        """Newest first."""
        runs = [run for run in project.runs(self._case.video_id) if run.settings.get("kind") == KIND]
        return [self._job_of(run) for run in reversed(runs)]

    def get(self, project: Project, job_id: int) -> Job:
        """One job.

        Raises:
            NotFound: there is none of this number.
        """
        return self._job_of(self._stored(project, job_id))

    def _job_of(self, run: StoredRun) -> Job:
        with self._lock:
            if self._progress is not None and self._progress.run_id == run.id:
                return self._progress.job()
        progress = Progress(run.id, Plan.from_json(run.settings), run.facts)
        progress.state, progress.message = run.state, run.note  # type: ignore[assignment]
        return progress.job()

    def _stored(self, project: Project, job_id: int) -> StoredRun:
        for run in project.runs(self._case.video_id):
            if run.id == job_id and run.settings.get("kind") == KIND:
                return run
        raise NotFound(f"There is no job {job_id}.")

    # ---- what people ask for; on the clerk's thread ----

    def start(self, project: Project, request: TrackRequest, settings: DeskSettings) -> Job:
        """Begins a job.

        Raises:
            Conflict: one is going.
            InputError: nothing to track.
        """
        with self._lock:
            self._check_free()
            plan = make_plan(project, self._case.video_id, self._case.frame_count, request, settings)
            run_id = project.start_run(self._case.video_id, plan.to_json())
            return self._begin(Progress(run_id, plan))

    def resume(self, project: Project, job_id: int) -> Job:
        """Goes on with a job that was paused, cancelled, interrupted or has failed; frames that are stored stay.

        Raises:
            Conflict: another one is going, or this one is finished.
        """
        with self._lock:
            progress = self._progress
            if progress is not None and progress.run_id == job_id and progress.state in ("running", "queued"):
                if self._wanted is None:
                    raise Conflict(f"Job {job_id} is going.")
                self._wanted = None
                return progress.job()
            paused = progress is not None and progress.run_id == job_id and progress.state == "paused"
            if not paused:
                self._check_free()
            run = self._stored(project, job_id)
            if not self._job_of(run).resumable and run.note == UNDONE:
                raise Conflict(f"What job {job_id} tracked was undone; redo that, or start another job.")
            if run.state in ("finished", "running") and not paused:
                raise Conflict(f"Job {job_id} is {run.state}; start another one.")
            project.resume_run(job_id)
            if paused:
                assert progress is not None
                return self._begin(progress)
            return self._begin(Progress(job_id, Plan.from_json(run.settings), run.facts))

    def pause(self, project: Project, job_id: int) -> Job:
        """Stops a job after the frame in hand; :meth:`resume` goes on."""
        return self._ask("pause", project, job_id)

    def cancel(self, project: Project, job_id: int) -> Job:
        """Ends a job after the frame in hand; what was tracked stays."""
        return self._ask("cancel", project, job_id)

    # ---- undo ----

    @property
    def writing(self) -> int | None:
        """The job that may store another frame at any moment."""
        job = self.current
        return None if job is None or job.state == "paused" else job.id

    def make_way(self, project: Project, *, forward: bool) -> None:
        """Before a step of undo or redo that concerns a run's frames: ends the run if it is paused.

        Raises:
            Conflict: it is going.
        """
        with self._lock:
            run_id, progress = project.next_run(forward=forward), self._progress
            if run_id is None or progress is None or run_id != progress.run_id or not progress.job().going:
                return
            if progress.state != "paused":
                raise Conflict("Tracking is going: pause or cancel it first; undo then takes back what it has tracked.")
            self._end(project, "cancelled")

    def read_again(self, project: Project, run_id: int) -> None:
        """How far a run is was changed in the project, by undo or redo."""
        with self._lock:
            if self._progress is not None and self._progress.run_id == run_id:
                self._progress = None
            job = self.get(project, run_id)
            if self.current is None:
                self._published = job
            self._case.bulletin.job(job)

    def _ask(self, what: str, project: Project, job_id: int) -> Job:
        with self._lock:
            progress = self._progress
            if progress is None or progress.run_id != job_id or not progress.job().going:
                job = self.get(project, job_id)
                if what == "cancel":
                    return job  # it has ended already, which is what was wanted
                raise Conflict(f"Job {job_id} is {job.state}.")
            if progress.state == "paused":
                if what == "cancel":
                    self._end(project, "cancelled")
                return progress.job()
            self._wanted = what
        # The worker must not finish the frame after the next before it sees this, whatever else waits.
        self._case.at_worker(self._heed, Urgency.CLICK)
        return progress.job()

    def _check_free(self) -> None:
        if self.current is not None:
            raise Conflict("A job is going on this video; pause it, cancel it or wait for its end.")

    def _begin(self, progress: Progress) -> Job:
        self._close_run()
        self._progress, self._wanted = progress, None
        progress.state, progress.message = "queued", ""
        self._publish()
        self._next_piece(progress)
        return progress.job()

    # ---- the work; on the worker's thread ----

    def _next_piece(self, progress: Progress) -> None:
        self._case.at_worker(lambda project: self._piece(project, progress), Urgency.TRACK)

    def _piece(self, project: Project, progress: Progress) -> None:
        self._heed(project)
        with self._lock:
            if progress is not self._progress or progress.state not in ("queued", "running"):
                return
            progress.state = "running"
        try:
            more = self._running(progress).advance(project)
        except KeepsightError as error:
            self._fail(project, progress, str(error))
            return
        except Exception as error:
            _log.exception("job %d failed", progress.run_id)
            self._fail(
                project, progress, f"A defect of Keepsight ended the job ({type(error).__name__}); please report it."
            )
            return
        with self._lock:
            if progress is not self._progress:
                return
            self._heed(project)
            if progress.state != "running":
                return
            if not more:
                self._end(project, "finished")
                return
            self._publish()
        self._next_piece(progress)

    def _running(self, progress: Progress) -> JobRun:
        if self._run is None or self._run.progress is not progress:
            self._close_run()
            case, settings = self._case, progress.plan.settings
            if progress.plan.request.text:
                self._run = WordsRun(progress, case, self._side, self._tell)
            else:
                agreement = self._side.agreement(settings)
                self._run = TrackRun(progress, agreement, case.video, lambda: case.changes, self._tell)
        return self._run

    def _heed(self, project: Project) -> None:
        """Does what was asked for."""
        with self._lock:
            progress, wanted = self._progress, self._wanted
            if progress is None or wanted is None or progress.state not in ("queued", "running"):
                return
            self._wanted = None
            if wanted == "cancel":
                self._end(project, "cancelled")
                return
            # The project knows no pause: a paused job whose server is stopped is a cancelled one.
            with suppress(KeepsightError):
                project.finish_run(progress.run_id, "cancelled", "paused", progress.facts())
            progress.state = "paused"
            self._close_run()
            self._publish()

    def _fail(self, project: Project, progress: Progress, line: str) -> None:
        with self._lock:
            if progress is self._progress:
                self._end(project, "failed", line)

    def _end(self, project: Project, state: str, line: str = "") -> None:
        progress = self._progress
        assert progress is not None
        # A full disk refuses this too; the run then counts as interrupted when the server is gone.
        with suppress(KeepsightError):
            project.finish_run(progress.run_id, state, line, progress.facts())
        progress.state, self._wanted = state, None  # type: ignore[assignment]
        progress.message = line or progress.message
        self._close_run()
        self._publish()

    def _close_run(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None

    def _tell(self, done: FrameDone) -> None:
        self._case.bulletin.frame(done)

    def _publish(self) -> None:
        assert self._progress is not None
        self._published = self._progress.job()
        self._case.bulletin.job(self._published)
