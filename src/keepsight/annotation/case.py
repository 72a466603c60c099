"""A video with its project file, the two threads that work on it, and those who are told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from keepsight.annotation.events import Bulletin
from keepsight.annotation.trouble import Conflict, Locked, NotFound
from keepsight.annotation.values import Change, ChangedPart, DeskObject, Limits
from keepsight.annotation.worker import Urgency, Worker
from keepsight.render.palette import object_colour, to_hex
from keepsight.store import Project, StoredObject
from keepsight.video import VideoSource

Result = TypeVar("Result")

_CLOSED = "The video was closed; open it again."


class Case:
    """What a desk and its parts share.

    The project is written by two threads, each with a connection of its own: the clerk's, which is quick, and the device's
    worker. SQLite lets one write at a time.

    Attributes:
        changes: grows with every change that was not made by a job.
    """

    def __init__(self, key: str, video: VideoSource, path: Path, video_id: int, worker: Worker, limits: Limits) -> None:
        assert video.frame_count is not None
        self.key, self.video, self.path, self.video_id = key, video, path, video_id
        self.frame_count: int = video.frame_count
        self.limits = limits
        self.bulletin = Bulletin()
        self.worker = worker
        self.changes = 0
        self._clerk = ThreadPoolExecutor(1, f"keepsight-clerk-{key[:8]}")
        self._local = threading.local()
        self._counter = itertools.count(1)
        self._closed = False

    # ---- threads ----

    def clerk(self, work: Callable[[Project], Result]) -> Future[Result]:
        """Has something done to the project, in the order of asking.

        Raises:
            Conflict: the desk is closed.
        """
        try:
            return self._clerk.submit(lambda: work(self._project()))
        except RuntimeError:
            raise Conflict(_CLOSED) from None

    def at_worker(
        self, work: Callable[[Project], Result], urgency: Urgency, key: Hashable | None = None
    ) -> Future[Result | None]:
        """Has something done that needs the model; raises as :meth:`clerk` does."""
        if self._closed:
            raise Conflict(_CLOSED)
        return self.worker.submit(lambda: work(self._project()), urgency, key)

    def _project(self) -> Project:
        project: Project | None = getattr(self._local, "project", None)
        if project is None:
            if self._closed:
                # Work that was still in the queue must not open the file again.
                raise Conflict(_CLOSED)
            project = self._local.project = Project.open(self.path)
        return project

    def _close_project(self) -> None:
        project: Project | None = getattr(self._local, "project", None)
        if project is not None:
            self._local.project = None
            project.close()

    def close(self) -> None:
        """Ends the clerk and closes the video; waits for what is in hand."""
        self._closed = True
        self.worker.submit(self._close_project, Urgency.CLICK).result()
        self._clerk.submit(self._close_project).result()
        self._clerk.shutdown(wait=True)
        self.video.close()

    # ---- being told ----

    def note(self, *what: ChangedPart, frames: tuple[int, int] | None = None, by: str | None = None) -> int:
        """Says that somebody changed the project; gives the new revision."""
        self.changes = next(self._counter)
        return self.bulletin.changed(Change(0, what, frames, by))

    # ---- checks ----

    def check_frame(self, frame: int) -> None:
        """Raises :class:`NotFound` when there is no such frame."""
        if not 0 <= frame < self.frame_count:
            raise NotFound(f"There is no frame {frame}; the frames are 0 to {self.frame_count - 1}.")

    def object(self, project: Project, object_id: int) -> DeskObject:
        """An object that is there.

        Raises:
            NotFound: it is not.
        """
        for item in self.objects(project):
            if item.id == object_id:
                return item
        raise NotFound(f"There is no object {object_id}.")

    def objects(self, project: Project) -> tuple[DeskObject, ...]:
        """All of them, in order."""
        return tuple(as_desk_object(item, place) for place, item in enumerate(project.objects(self.video_id)))

    def check_free(self, project: Project, object_id: int, frame: int | None = None) -> DeskObject:
        """An object whose mask on a frame may be changed.

        Raises:
            NotFound, Locked: why not.
        """
        item = self.object(project, object_id)
        if item.locked:
            raise Locked(f"Object {object_id} is locked; unlock it first.")
        if frame is not None and (frame, object_id) in project.accepted(self.video_id, frame, frame + 1):
            raise Locked(f"Object {object_id} is accepted on frame {frame}; take that back first.")
        return item


def as_desk_object(item: StoredObject, position: int) -> DeskObject:
    """With the colour that it is shown in."""
    colour = to_hex(object_colour(item.object_id, item.colour))
    return DeskObject(item.object_id, item.label, colour, item.hidden, item.locked, position)
