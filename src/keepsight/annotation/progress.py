"""How far a job is, as the project keeps it and people see it; and what every kind of job does with a frame that is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

from keepsight.annotation.plan import Plan, Way
from keepsight.annotation.values import Facts, FrameDone, Job, JobState
from keepsight.core import FrameResult, Source, TrackedObject
from keepsight.store import UNDONE, Project

GIVEN = (Source.PROMPT, Source.EDITED)
"""Masks that a person's word made; no job writes over them."""


class Progress:
    """How far a job is, as the project keeps it and people see it."""

    def __init__(self, run_id: int, plan: Plan, facts: Facts | None = None) -> None:
        facts = facts or {}
        self.run_id, self.plan = run_id, plan
        self.state: JobState = "queued"
        self.message = ""
        self.way: int = facts.get("way", 0)
        self.frame: int | None = facts.get("frame")
        self.latest: int | None = facts.get("latest")
        self.done: int = facts.get("done", 0)
        self.units: int = facts.get("units", 0)
        self.found: list[int] = list(facts.get("found", []))
        self._ended: list[tuple[int, int, int]] = []
        for number, one, end in facts.get("ended", []):
            self._end(number, one, end)

    def end_at(self, object_id: int, frame: int) -> None:
        """Lets an object's present way end before a frame."""
        self._end(self.way, object_id, frame)

    def _end(self, way: int, object_id: int, frame: int) -> None:
        self._ended.append((way, object_id, frame))
        self.plan.ways[way].end_at(object_id, frame)

    def next(self) -> tuple[Way, int] | None:
        """The frame to come and the way it is on; ``None`` when all is done."""
        while self.way < len(self.plan.ways):
            way = self.plan.ways[self.way]
            frame = way.next_frame(self.frame)
            if frame is not None:
                return way, frame
            self.way, self.frame = self.way + 1, None
        return None

    def visited(self, frame: int) -> None:
        """Notes that a frame is done with."""
        self.frame = self.latest = frame
        self.done += 1

    @property
    def total(self) -> int:
        """Frames done and to come."""
        here = [self.plan.ways[self.way].length(self.frame)] if self.way < len(self.plan.ways) else []
        return self.done + sum(here) + sum(way.length() for way in self.plan.ways[self.way + 1 :])

    @property
    def is_undone(self) -> bool:
        """Whether all that it did was taken back."""
        return self.message == UNDONE and not self.done

    @property
    def undo_name(self) -> str:
        """What undo calls its frames."""
        text = self.plan.request.text
        return f"look for '{text}' on" if text else "track"

    def facts(self) -> Facts:
        """Plain values for the project."""
        return {
            "way": self.way,
            "frame": self.frame,
            "latest": self.latest,
            "done": self.done,
            "total": self.total,
            "units": self.units,
            "found": list(self.found),
            "ended": [list(item) for item in self._ended],
        }

    def job(self) -> Job:
        """What people see."""
        return Job(
            self.run_id,
            self.state,
            str(self.plan.request.direction),
            self.latest,
            self.done,
            self.total,
            self.message,
            (*self.plan.objects, *self.found),
            self.plan.request.text,
            resumable=self.state in ("cancelled", "interrupted", "failed") and not self.is_undone,
        )


class JobRun(ABC):
    """A job at work; used by the worker's thread only.

    Args:
        tell: is told about every frame that was stored.
    """

    def __init__(self, progress: Progress, video_id: int, tell: Callable[[FrameDone], None]) -> None:
        self.progress = progress
        self.video_id = video_id
        self._tell = tell

    @abstractmethod
    def advance(self, project: Project) -> bool:
        """Does one piece: about one frame is looked at.

        Returns:
            Whether there is more to do.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets the decoder go."""

    def stored(self, project: Project, frame: int) -> dict[int, TrackedObject]:
        """What is stored of a frame, by object."""
        result = project.result(self.video_id, frame)
        return {} if result is None else {item.object_id: item for item in result.objects}

    def store(
        self, project: Project, frame: int, result: FrameResult | None, labels: Mapping[int, str] | None = None
    ) -> None:
        """Keeps a frame and that it is done, in one transaction, and says so; ``None``: nothing is known about it."""
        progress = self.progress
        before, found = (progress.frame, progress.latest, progress.done), list(progress.found)
        try:
            with project.transaction():
                written = () if result is None else self.write(project, result, labels)
                progress.visited(frame)
                project.note_run(progress.run_id, progress.facts())
        except BaseException:
            (progress.frame, progress.latest, progress.done), progress.found = before, found
            raise
        if result is None:
            progress.message = f"Frame {frame} is damaged and was passed over."
        self._tell(FrameDone(0, frame, written))

    def write(
        self, project: Project, result: FrameResult, labels: Mapping[int, str] | None = None
    ) -> tuple[TrackedObject, ...]:
        """Writes what may be written, inside a transaction: a person may have been quicker.

        What the job revises (:attr:`FrameResult.revised`) is its own, so that it may be written over.
        """
        known = {item.object_id: item for item in project.objects(self.video_id)}
        removed = project.removed_ids(self.video_id)
        locked = {one for one, item in known.items() if item.locked}
        final = {one for _, one in project.accepted(self.video_id, result.frame, result.frame + 1)}
        stored = self.stored(project, result.frame)
        keep_all = self.progress.plan.settings.non_overwrite and not result.revised
        kept = {one for one, item in stored.items() if item.source in GIVEN or (keep_all and item.present)}
        stay = removed | locked | final | kept
        items = tuple(item for item in result.objects if item.object_id not in stay)
        project.write_result(
            self.video_id,
            self.progress.run_id,
            replace(result, objects=items),
            labels=labels,
            undo_name=self.progress.undo_name,
        )
        return items
