"""Keeps what the tracker remembers in agreement with what the project says.

The project is the truth. The session is kept while every mask that it remembers is the one that is stored; an object of which
it remembers anything else is forgotten and told anew: the frames on which a person said what it is, and the frames just before
the one to come as what was seen last. So undo, merges, swaps, deletions, edits by hand, a restart, or another program that
writes to the project need no word to the tracker.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from keepsight.annotation.live import LiveSession
from keepsight.core import TrackedObject
from keepsight.store import Project

MOST_ANCHORS = 8
"""Frames with a person's word that an object is told anew at most, the nearest ones; each costs the encoding of a frame."""


@dataclass(frozen=True)
class _Telling:
    frame: int
    anchor: bool
    objects: dict[int, TrackedObject]


class Agreement:
    """Between a session and a video of a project; used by the worker's thread only."""

    def __init__(self, session: LiveSession, video_id: int) -> None:
        self.session = session
        self.video_id = video_id

    def forget_what_is_wrong(self, project: Project, object_ids: Collection[int]) -> None:
        """Forgets objects that are no more, and those of ``object_ids`` that remember other masks than are stored."""
        there = {item.object_id for item in project.objects(self.video_id)}
        for known in self.session.object_ids:
            if known not in there:
                self.session.forget(known)
        for one in object_ids:
            believed = self.session.believes(one)
            stored = project.masks_of(self.video_id, one, believed)
            if any(frame not in stored or stored[frame].mask.counts != mask for frame, mask in believed.items()):
                self.session.forget(one)

    def settle(self, project: Project, object_ids: Collection[int], frame: int, *, reverse: bool) -> bool:
        """Does one piece of what is needed before objects are followed onto a frame.

        Args:
            frame: the one to come.
            reverse: the way.

        Returns:
            Whether all is done; if not, call again. A piece is one frame looked at.
        """
        self.forget_what_is_wrong(project, object_ids)
        telling = self._next_telling(project, object_ids, frame, reverse)
        if telling is None:
            return True
        self.session.tell(telling.frame, telling.objects, anchor=telling.anchor, reverse=reverse)
        return False

    def is_ready(self, object_id: int, frame: int, *, reverse: bool) -> bool:
        """Whether an object remembers the frame before; a cheap look that does not ask the project."""
        return frame + (1 if reverse else -1) in self.session.believes(object_id)

    def _next_telling(
        self, project: Project, object_ids: Collection[int], frame: int, reverse: bool
    ) -> _Telling | None:
        """What is told next: anchors by frame, then what was seen last, in the order of the way; all objects of a frame at
        once."""
        anchors: dict[int, dict[int, TrackedObject]] = {}
        recents: dict[int, dict[int, TrackedObject]] = {}
        for one in object_ids:
            wanted = self._anchors_of(project, one, frame, reverse)
            missing = [at for at in wanted if at not in self.session.anchored(one)]
            for at, item in project.masks_of(self.video_id, one, missing).items():
                anchors.setdefault(at, {})[one] = item
            for at, item in self._recents_of(project, one, frame, reverse).items():
                if at not in wanted:
                    recents.setdefault(at, {})[one] = item
        if anchors:
            at = min(anchors)
            return _Telling(at, True, anchors[at])
        if recents:
            at = max(recents) if reverse else min(recents)
            return _Telling(at, False, recents[at])
        return None

    def _anchors_of(self, project: Project, object_id: int, frame: int, reverse: bool) -> list[int]:
        given = project.given_frames(self.video_id, object_id, frame, MOST_ANCHORS)
        if given or self.session.anchored(object_id):
            return given
        # Nobody pointed at it: it was found, imported, or split off. It is what it was last before this frame.
        behind = (frame + 1, None) if reverse else (0, frame)
        nearest = project.nearest_visible(self.video_id, object_id, frame, *behind)
        if nearest is None:
            nearest = project.nearest_visible(self.video_id, object_id, frame)
        return [] if nearest is None else [nearest]

    def _recents_of(self, project: Project, object_id: int, frame: int, reverse: bool) -> dict[int, TrackedObject]:
        """Stored masks of the frames just before ``frame`` that are not remembered, without a gap."""
        way = 1 if reverse else -1
        frames = [frame + way * steps for steps in range(1, self.session.reach + 1)]
        stored = project.masks_of(self.video_id, object_id, frames)
        believed = self.session.believes(object_id)
        found = {}
        for at in frames:
            if at not in stored:
                break
            if at not in believed:
                found[at] = stored[at]
        return found
