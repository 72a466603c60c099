"""One video on the desk: everything that people do with it, each a call that gives a future.

What a call gives is in the project before its future is done. Nothing here waits; futures raise :class:`KeepsightError` with one
line for the person, of a kind from :mod:`.trouble` where a server may want to know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar

from keepsight.annotation.bench import Bench
from keepsight.annotation.by_hand import EVERYTHING, HandWork
from keepsight.annotation.case import Case
from keepsight.annotation.clicks import Clicks, TrackerSide, check_label
from keepsight.annotation.finding import Finder, check_threshold, split_words
from keepsight.annotation.jobs import JobBook
from keepsight.annotation.pictures import PictureCache, draw
from keepsight.annotation.trouble import TooMuch
from keepsight.annotation.values import (
    Answer,
    DeskLine,
    DeskObject,
    DeskSettings,
    DeskView,
    Found,
    FrameMasks,
    Job,
    Listener,
    Picture,
    Said,
    Timeline,
    TrackRequest,
)
from keepsight.annotation.worker import Urgency
from keepsight.core import Mask, TrackedObject
from keepsight.core.errors import InputError
from keepsight.memory import policy_factory
from keepsight.models.registry import resolve
from keepsight.render.palette import parse_colour
from keepsight.store import Edit, EditEffect, Project

Result = TypeVar("Result")


class Desk:
    """A video, its project and its tracker.

    Made by :class:`~keepsight.annotation.Workshop`. ``by`` names whoever asks, and comes back in the events.

    Attributes:
        key: names the desk in its workshop.
        name, width, height, fps, frame_count: of the video.
    """

    def __init__(
        self,
        case: Case,
        bench: Bench,
        settings: DeskSettings,
        pictures: PictureCache,
        painters: ThreadPoolExecutor,
        name: str | None = None,
    ) -> None:
        self._case, self._bench = case, bench
        self._settings = settings
        self._pictures, self._painters = pictures, painters
        side = TrackerSide(case, bench)
        self._by_hand = HandWork(case)
        self._clicks, self._finder, self._jobs = Clicks(case, side), Finder(case, side), JobBook(case, side)
        self._side = side
        self._used = time.monotonic()
        self._look = 0  # number of the latest place that was to be looked at
        self.key, self.name = case.key, name or case.video.name
        self.width, self.height, self.frame_count = case.video.width, case.video.height, case.frame_count
        self.fps = case.video.fps

    # ---- what there is ----

    @property
    def settings(self) -> DeskSettings:
        return self._settings

    @property
    def revision(self) -> int:
        """Of the latest change."""
        return self._case.bulletin.revision

    @property
    def job(self) -> Job | None:
        """The job that is going, if any."""
        return self._jobs.current

    @property
    def project_path(self) -> str:
        return str(self._case.path)

    def line(self) -> Future[DeskLine]:
        """The video, for a list of videos; does not count as a use."""
        return self._case.clerk(self._line)

    def view(self) -> Future[DeskView]:
        """Everything but masks."""

        def look(project: Project) -> DeskView:
            undo, redo = project.undo_names(self._jobs.writing)
            video_id = self._case.video_id
            return DeskView(
                self._line(project),
                self.revision,
                self._case.objects(project),
                tuple(project.prompts(video_id)),
                tuple(project.accepted(video_id)),
                undo,
                redo,
                self._settings,
                tuple(self._case.video.warnings),
            )

        return self._ask(look)

    def _line(self, project: Project) -> DeskLine:
        done = sum(stop - start for start, stop in project.done_ranges(self._case.video_id))
        jobs = self._jobs.all(project)
        objects = len(project.objects(self._case.video_id))
        return DeskLine(
            self.key,
            self.name,
            self.width,
            self.height,
            self.fps,
            self.frame_count,
            objects,
            done,
            jobs[0] if jobs else None,
        )

    def picture(self, frame: int, width: int | None = None) -> Future[Picture]:
        """A frame as JPEG, at most ``width`` px wide."""
        self.touch()
        case = self._case
        make = lambda: draw(case.video, frame, width)  # noqa: E731
        return self._painters.submit(lambda: self._pictures.get((self.key, frame, width), make))

    def masks(
        self, start: int, stop: int, objects: Sequence[int] | None = None
    ) -> Future[tuple[int, list[FrameMasks]]]:
        """Revision and stored masks of the frames ``start <= frame < stop`` that have any."""
        most = self._case.limits.masks_frames
        if start < 0 or stop <= start:
            raise InputError(f"The range from {start} to {stop} (exclusive) holds no frame.")
        if stop - start > most:
            raise TooMuch(f"At most {most} frames of masks at once; ask for the rest later.")
        wanted = None if objects is None else set(objects)

        def look(project: Project) -> tuple[int, list[FrameMasks]]:
            revision = self.revision
            found = []
            for result in project.results(self._case.video_id, start, stop):
                items = tuple(item for item in result.objects if wanted is None or item.object_id in wanted)
                found.append(FrameMasks(result.frame, items))
            return revision, found

        return self._ask(look)

    def timeline(self, low_score: float = 0.5) -> Future[Timeline]:
        """Who is where; quick for any length, no masks decoded.

        Args:
            low_score: visible masks with a lower score are marked.
        """

        def look(project: Project) -> Timeline:
            revision, video_id = self.revision, self._case.video_id
            return Timeline(revision, project.done_ranges(video_id), tuple(project.lanes(video_id, low_score)))

        return self._ask(look)

    def subscribe(self, listener: Listener, since: int | None = None) -> Callable[[], None]:
        """See :meth:`keepsight.annotation.events.Bulletin.subscribe`."""
        self.touch()
        return self._case.bulletin.subscribe(listener, since)

    # ---- pointing ----

    def look_at(self, frame: int, said: Said | None = None) -> Future[None]:
        """Gets a frame ready for clicks, before the first; of several calls that wait the last one counts.

        Args:
            said: the click to come, where that is known: a pointer rests there. Its looks are made one by one, so that a click
                at another place waits for one of them at most.
        """
        settings = self._settings
        self.touch()
        number = self._look = self._look + 1

        def piece(project: Project) -> None:
            if said is None:
                self._clicks.look_at(settings, frame)
            elif number == self._look and self._clicks.look_closely(project, settings, said) and number == self._look:
                self._case.at_worker(piece, Urgency.LOOK, ("look", self.key))

        return self._case.at_worker(piece, Urgency.LOOK, ("look", self.key))

    def prompt(self, said: Said, by: str | None = None) -> Future[Answer]:
        """Says by clicks, a box or a mask what an object is on a frame; the mask comes at once."""
        settings = self._settings
        return self._click(lambda project: self._clicks.prompt(project, settings, said, by))

    def preview(self, said: Said, who: str = "") -> Future[TrackedObject | None]:
        """The mask that a prompt would give; nothing is stored.

        Args:
            who: of several previews of one person that wait only the last is answered, the others give ``None``.
        """
        settings = self._settings
        self.touch()
        return self._case.at_worker(
            lambda project: self._clicks.preview(project, settings, said), Urgency.HOVER, ("preview", self.key, who)
        )

    def glance(self, said: Said, who: str = "") -> Future[TrackedObject | None]:
        """What can be shown of a first click's mask before the frame was looked at closely; coarser, and nothing is stored.

        Gives ``None`` where :meth:`prompt` answers as soon itself. Ask for it just before.
        """
        settings = self._settings
        self.touch()
        return self._case.at_worker(
            lambda project: self._clicks.glance(project, settings, said), Urgency.CLICK, ("glance", self.key, who)
        )

    def clear_prompts(self, object_id: int, frame: int, by: str | None = None) -> Future[int]:
        """Takes back what was said about an object on a frame, and the mask that it made; gives the revision."""
        return self._ask(lambda project: self._by_hand.clear_prompts(project, object_id, frame, by))

    def find(
        self,
        frame: int,
        text: str,
        detector: str | None = None,
        threshold: float | None = None,
        by: str | None = None,
    ) -> Future[Found]:
        """Makes objects of what words name on a frame; several concepts are separated by commas."""
        settings = self._settings
        return self._click(lambda project: self._finder.find(project, settings, frame, text, detector, threshold, by))

    # ---- masks by hand ----

    def set_mask(
        self, object_id: int, frame: int, mask: Mask, by: str | None = None
    ) -> Future[tuple[TrackedObject, int]]:
        """Stores a mask that was drawn; gives it and the revision. An empty one says that the object is not there."""
        return self._ask(lambda project: self._by_hand.set_mask(project, object_id, frame, mask, by))

    def delete_mask(self, object_id: int, frame: int, by: str | None = None) -> Future[int]:
        """Deletes an object's mask on a frame, with what was said there; gives the revision."""
        return self._ask(lambda project: self._by_hand.delete_mask(project, object_id, frame, by))

    # ---- objects ----

    def add_object(
        self, label: str | None = None, colour: str | None = None, by: str | None = None
    ) -> Future[DeskObject]:
        """A new object, still without a mask."""
        check_label(label)
        _check_colour(colour)
        return self._ask(lambda project: self._by_hand.add_object(project, label, colour, by))

    def change_object(
        self,
        object_id: int,
        *,
        label: str | None = None,
        colour: str | None = None,
        hidden: bool | None = None,
        locked: bool | None = None,
        by: str | None = None,
    ) -> Future[DeskObject]:
        """Renames, recolours, hides or locks an object; what is ``None`` stays, an empty label is none."""
        check_label(label or None)
        _check_colour(colour)
        return self._ask(
            lambda project: self._by_hand.change_object(
                project, object_id, label=label, colour=colour, hidden=hidden, locked=locked, by=by
            )
        )

    def remove_object(self, object_id: int, by: str | None = None) -> Future[int]:
        """Removes an object with its masks; gives the revision."""
        return self._ask(lambda project: self._by_hand.remove_object(project, object_id, by))

    # ---- edits ----

    def preview_edit(self, edit: Edit) -> Future[EditEffect]:
        """What an edit would change."""
        return self._ask(lambda project: project.edit_effect(self._case.video_id, edit))

    def edit(self, edit: Edit, confirm: bool = False, by: str | None = None) -> Future[tuple[EditEffect, int]]:
        """Merges, splits, swaps, renames and so on; gives what changed and the revision.

        Args:
            confirm: yes to a merge of two objects that are visible on the same frames.
        """
        return self._ask(lambda project: self._by_hand.edit(project, edit, confirm, by))

    def accept(self, frame: int, objects: Sequence[int] | None = None, by: str | None = None) -> Future[int]:
        """Declares masks on a frame final; ``None``: of all objects that have one there. Gives the revision."""
        return self._ask(lambda project: self._by_hand.accept(project, frame, objects, by, on=True))

    def unaccept(self, frame: int, objects: Sequence[int] | None = None, by: str | None = None) -> Future[int]:
        """Takes :meth:`accept` back."""
        return self._ask(lambda project: self._by_hand.accept(project, frame, objects, by, on=False))

    def undo(self, by: str | None = None) -> Future[tuple[str | None, int]]:
        """Takes the latest change back; gives its name (``None``: there was none) and the revision.

        What a job tracked is one change; while it goes on, only what people have done since it began is taken back.

        Raises:
            Conflict: (the future) there is only what a job that is going has tracked.
        """
        return self._step_of_history(by, forward=False)

    def redo(self, by: str | None = None) -> Future[tuple[str | None, int]]:
        """Does what was undone last again."""
        return self._step_of_history(by, forward=True)

    def _step_of_history(self, by: str | None, *, forward: bool) -> Future[tuple[str | None, int]]:
        def change(project: Project) -> tuple[str | None, int]:
            writing = self._jobs.writing
            if forward or writing is None or project.undo_names(writing)[0] is None:
                self._jobs.make_way(project, forward=forward)
                writing = None
            run_id = project.next_run(forward=forward)
            name = project.redo() if forward else project.undo(writing)
            if name is None:
                return None, self.revision
            revision = self._case.note(*EVERYTHING, by=by)
            if run_id is not None and run_id != writing:
                self._jobs.read_again(project, run_id)
            return name, revision

        return self._ask(change)

    # ---- jobs ----

    def track(self, request: TrackRequest) -> Future[Job]:
        """Begins to track; frames come as events, stored one by one."""
        settings = self._settings
        if request.text is not None:
            split_words(request.text, self._case.limits.text_length)
            check_threshold(request.threshold)
        return self._ask(lambda project: self._jobs.start(project, request, settings))

    def pause(self, job_id: int) -> Future[Job]:
        """Stops a job after the frame in hand."""
        return self._ask(lambda project: self._jobs.pause(project, job_id))

    def resume(self, job_id: int) -> Future[Job]:
        """Goes on with a job that was paused, cancelled or interrupted; nothing that is stored is tracked again."""
        return self._ask(lambda project: self._jobs.resume(project, job_id))

    def cancel(self, job_id: int) -> Future[Job]:
        """Ends a job after the frame in hand; what was tracked stays."""
        return self._ask(lambda project: self._jobs.cancel(project, job_id))

    def jobs(self) -> Future[list[Job]]:
        """All jobs of the video, newest first."""
        return self._ask(self._jobs.all)

    def get_job(self, job_id: int) -> Future[Job]:
        """One job."""
        return self._ask(lambda project: self._jobs.get(project, job_id))

    # ---- settings ----

    def change_settings(self, settings: DeskSettings, by: str | None = None) -> Future[DeskSettings]:
        """Other settings from now on; a job that is going keeps its own."""
        resolve(settings.model)
        policy_factory(settings.policy)
        if settings.output not in ("masks", "boxes", "both"):
            raise InputError(f"The output is masks, boxes or both, not '{settings.output}'.")

        def change(project: Project) -> DeskSettings:
            project.set_preferences(self._case.video_id, asdict(settings))
            self._settings = settings
            self._case.note("settings", by=by)
            return self._settings

        return self._ask(change)

    # ---- life ----

    @property
    def idle_s(self) -> float:
        """Seconds since somebody used the desk; 0 while a job is at work or somebody watches."""
        job = self.job
        if (job is not None and job.state != "paused") or self._case.bulletin.listeners:
            return 0.0
        return time.monotonic() - self._used

    @property
    def units_decoded(self) -> int:
        """Objects times frames that the tracker has followed since the desk was opened."""
        return self._side.units_decoded

    def close(self) -> None:
        """Ends what is going (a job can be resumed) and lets go of everything; waits for that."""
        job = self.job
        if job is not None:
            self.cancel(job.id).result()
        self._case.close()

    def touch(self) -> None:
        """Counts as a use."""
        self._used = time.monotonic()

    def _ask(self, work: Callable[[Project], Result]) -> Future[Result]:
        self.touch()
        return self._case.clerk(work)

    def _click(self, work: Callable[[Project], Result]) -> Future[Result]:
        self.touch()
        future: Future[Result] = self._case.at_worker(work, Urgency.CLICK)  # type: ignore[assignment]
        return future


def _check_colour(colour: str | None) -> None:
    if colour is not None:
        parse_colour(colour)
