"""A job at work: one frame a piece, stored with how far it is, so that a kill costs the frame in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace

from keepsight.annotation.agreement import Agreement
from keepsight.annotation.plan import Plan, Way
from keepsight.annotation.values import Facts, FrameDone, Job, JobState
from keepsight.core import Frame, FrameResult, Source, TrackedObject
from keepsight.store import Project
from keepsight.video import VideoSource
from keepsight.video.ahead import prefetch

LOOK_AHEAD = 3
"""Frames decoded ahead of the tracker."""

_GIVEN = (Source.PROMPT, Source.EDITED)
_PIECE_S = 0.05  # frames on which there is nothing to do are passed over for as long as this in one piece


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

    def facts(self) -> Facts:
        """Plain values for the project."""
        return {
            "way": self.way,
            "frame": self.frame,
            "latest": self.latest,
            "done": self.done,
            "total": self.total,
            "units": self.units,
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
            self.plan.objects,
            self.plan.request.text,
            resumable=self.state in ("cancelled", "interrupted", "failed"),
        )


class TrackRun:
    """Follows objects over a plan; used by the worker's thread only.

    Args:
        changes: a number that grows whenever somebody else than this run changes the project.
        tell: is told about every frame that was stored.
    """

    def __init__(
        self,
        progress: Progress,
        agreement: Agreement,
        video: VideoSource,
        changes: Callable[[], int],
        tell: Callable[[FrameDone], None],
    ) -> None:
        self.progress = progress
        self._agreement, self._session = agreement, agreement.session
        self._video, self._video_id = video, agreement.video_id
        self._changes, self._tell = changes, tell
        self._settled = -1
        self._frames: Generator[Frame, None, None] | None = None
        self._expected: tuple[int, bool] | None = None

    def advance(self, project: Project) -> bool:
        """Does one piece: at most one frame is looked at.

        Returns:
            Whether there is more to do.
        """
        progress = self.progress
        begun = time.monotonic()
        while (to_come := progress.next()) is not None:
            way, frame = to_come
            number = progress.way
            moving = self._moving(project, way, frame)
            if moving:
                return self._settle_or_follow(project, way, frame, moving)
            if way.active(frame):
                progress.visited(frame)
            self._end_way(project, way, number)
            if time.monotonic() - begun > _PIECE_S:
                return True
        return False

    def close(self) -> None:
        """Lets the decoder go."""
        if self._frames is not None:
            self._frames.close()
        self._frames = self._expected = None

    # ---- who moves ----

    def _moving(self, project: Project, way: Way, frame: int) -> list[int]:
        """Objects that are followed onto a frame. Where one is final its way ends; where a person's word stands it stays."""
        active = way.active(frame)
        if not active:
            return []
        free = {item.object_id for item in project.objects(self._video_id) if not item.locked}
        final = {one for _, one in project.accepted(self._video_id, frame, frame + 1)}
        for one in active:
            if one not in free or one in final:
                self.progress.end_at(one, frame)
        stored = {item.object_id: item for item in self._stored(project, frame)}
        keep_all = self.progress.plan.settings.non_overwrite
        kept = {one for one, item in stored.items() if item.source in _GIVEN or (keep_all and item.present)}
        return [one for one in way.active(frame) if one not in kept]

    def _stored(self, project: Project, frame: int) -> tuple[TrackedObject, ...]:
        result = project.result(self._video_id, frame)
        return () if result is None else result.objects

    # ---- one frame ----

    def _settle_or_follow(self, project: Project, way: Way, frame: int, moving: list[int]) -> bool:
        changes = self._changes()
        if changes != self._settled or not all(
            self._agreement.is_ready(one, frame, reverse=way.reverse) for one in moving
        ):
            if not self._agreement.settle(project, moving, frame, reverse=way.reverse):
                self._settled = -1  # and on until all is told, whatever looks ready before
                return True
            self._settled = changes
            lost = [one for one in moving if one not in self._session.object_ids]
            for one in lost:
                self.progress.end_at(one, frame)
            if lost:
                return True
        picture = self._read(frame, way.reverse)
        units = self._session.units_decoded
        result = None if picture is None else self._session.follow(picture, moving, reverse=way.reverse)
        self.progress.units += self._session.units_decoded - units
        number = self.progress.way
        self._store(project, frame, result)
        self._end_way(project, way, number)
        return True

    def _store(self, project: Project, frame: int, result: FrameResult | None) -> None:
        progress = self.progress
        before = (progress.frame, progress.latest, progress.done)
        try:
            with project.transaction():
                written = () if result is None else self._write(project, result)
                progress.visited(frame)
                project.note_run(progress.run_id, progress.facts())
        except BaseException:
            progress.frame, progress.latest, progress.done = before
            raise
        if result is None:
            progress.message = f"Frame {frame} is damaged and was passed over."
        self._tell(FrameDone(0, frame, written))

    def _write(self, project: Project, result: FrameResult) -> tuple[TrackedObject, ...]:
        """Writes what may still be written, inside a transaction: a person may have been quicker."""
        free = {item.object_id for item in project.objects(self._video_id) if not item.locked}
        final = {one for _, one in project.accepted(self._video_id, result.frame, result.frame + 1)}
        given = {item.object_id for item in self._stored(project, result.frame) if item.source in _GIVEN}
        items = tuple(item for item in result.objects if item.object_id in free - final - given)
        project.write_result(self._video_id, self.progress.run_id, replace(result, objects=items))
        return items

    def _end_way(self, project: Project, way: Way, number: int) -> None:
        """At the end of a way: stores what a policy decided only when it knew the end."""
        if self.progress.next() is not None and self.progress.way == number:
            return
        sign = -1 if way.reverse else 1
        for result in self._session.finalize():
            items = tuple(
                replace(item, source=Source.REVISED)
                for item in result.objects
                if item.object_id in way.spans and sign * way.spans[item.object_id][0] <= sign * result.frame
            )
            if items:
                with project.transaction():
                    written = self._write(project, replace(result, objects=items))
                self._tell(FrameDone(0, result.frame, written))

    # ---- frames ----

    def _read(self, frame: int, reverse: bool) -> Frame | None:
        """The frame, out of one sweep for as long as the frames follow one another; ``None`` for a damaged one."""
        if self._expected != (frame, reverse) or self._frames is None:
            self.close()
            self._frames = _sweep(self._video, frame, reverse)
        self._expected = (frame - 1 if reverse else frame + 1, reverse)
        picture = next(self._frames, None)
        if picture is None or picture.index != frame:
            self.close()
            return None
        return picture


def _sweep(video: VideoSource, frame: int, reverse: bool) -> Generator[Frame, None, None]:
    frames: Iterator[Frame] = video.frames(frame, None, -1 if reverse else 1)
    with closing(prefetch(frames, LOOK_AHEAD)) as ahead:
        yield from ahead
