"""Tracking: a plan's objects are followed, one frame a piece, each stored with how far the job is."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace

from keepsight.annotation.agreement import Agreement
from keepsight.annotation.plan import Way
from keepsight.annotation.progress import GIVEN, JobRun, Progress
from keepsight.annotation.values import FrameDone
from keepsight.core import Frame, Source
from keepsight.store import Project
from keepsight.video import VideoSource
from keepsight.video.ahead import prefetch

LOOK_AHEAD = 3
"""Frames decoded ahead of the tracker."""

_PIECE_S = 0.05  # frames on which there is nothing to do are passed over for as long as this in one piece


class TrackRun(JobRun):
    """Follows objects over a plan.

    Args:
        changes: a number that grows whenever somebody else than this run changes the project.
    """

    def __init__(
        self,
        progress: Progress,
        agreement: Agreement,
        video: VideoSource,
        changes: Callable[[], int],
        tell: Callable[[FrameDone], None],
    ) -> None:
        super().__init__(progress, agreement.video_id, tell)
        self._agreement, self._session = agreement, agreement.session
        self._video = video
        self._changes = changes
        self._changes_seen = -1
        self._settled: set[int] = set()  # objects that were held against the project since
        self._frames: Generator[Frame, None, None] | None = None
        self._expected: tuple[int, bool] | None = None

    def advance(self, project: Project) -> bool:
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
        if self._frames is not None:
            self._frames.close()
        self._frames = self._expected = None

    # ---- who moves ----

    def _moving(self, project: Project, way: Way, frame: int) -> list[int]:
        """Objects that are followed onto a frame. Where one is final its way ends; where a person's word stands it stays."""
        active = way.active(frame)
        if not active:
            return []
        free = {item.object_id for item in project.objects(self.video_id) if not item.locked}
        final = {one for _, one in project.accepted(self.video_id, frame, frame + 1)}
        for one in active:
            if one not in free or one in final:
                self.progress.end_at(one, frame)
        stored = self.stored(project, frame)
        keep_all = self.progress.plan.settings.non_overwrite
        kept = {one for one, item in stored.items() if item.source in GIVEN or (keep_all and item.present)}
        return [one for one in way.active(frame) if one not in kept]

    # ---- one frame ----

    def _settle_or_follow(self, project: Project, way: Way, frame: int, moving: list[int]) -> bool:
        changes = self._changes()
        if changes != self._changes_seen:
            self._changes_seen = changes
            self._settled.clear()
        if not all(
            one in self._settled and self._agreement.is_ready(one, frame, reverse=way.reverse) for one in moving
        ):
            # Until all is told, whatever looks ready before.
            self._settled.difference_update(moving)
            if not self._agreement.settle(project, moving, frame, reverse=way.reverse):
                return True
            self._settled.update(moving)
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
        self.store(project, frame, result)
        self._end_way(project, way, number)
        return True

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
                    written = self.write(project, replace(result, objects=items))
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
