"""What a client has said about a clip so far. Masks are not here: they are in the clip's project, which outlives all of this."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TypeAlias

from keepsight.server.anylabeling.shapes import EPSILON
from keepsight.server.errors import ApiError

Marks: TypeAlias = tuple[tuple[float, float, int], ...]
"""Points about an object on a frame: x, y in px, 1 on the object or 0 not on it."""

_MOST = 500


@dataclass
class Session:
    """A client at work on a clip.

    Attributes:
        video: the clip's id in the catalog.
        model: that looks at it, as the settings name it.
        first: number that the client gives to the first frame.
        labels: of the objects that the session is about, by id.
        current: the object that points are about.
        said: points of this session by frame, all about ``current``.
        text, threshold: what was looked for last; ``None`` while points are what counts.
        prompted: frame on which the client has prompted last.
        epsilon: fineness of its polygons.
        delivered: whether the client has had the objects of ``labels`` by an Auto Run.
    """

    video: str
    model: str
    frame_count: int
    first: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    labels: dict[int, str] = field(default_factory=dict)
    current: int | None = None
    said: dict[int, Marks] = field(default_factory=dict)
    text: str | None = None
    threshold: float | None = None
    prompted: int | None = None
    epsilon: float = EPSILON
    delivered: bool = False
    used: float = field(default_factory=time.monotonic)

    def frame(self, index: int) -> int:
        """The frame that the client calls ``index``.

        Raises:
            ApiError: 422, there is none.
        """
        frame = index - self.first
        if not 0 <= frame < self.frame_count:
            last = self.first + self.frame_count - 1
            raise ApiError(422, "PROMPT_ERROR", f"There is no such frame; the frames are {self.first} to {last}.")
        return frame


class Sessions:
    """Sessions by id. Unused ones end; too many at once are refused, never dropped. For the event loop's thread.

    Args:
        idle_s: after which a session ends, counted from its last use.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._all: dict[str, Session] = {}

    def add(self, session: Session) -> Session:
        """Raises :class:`ApiError` when there are too many."""
        now = time.monotonic()
        for id in [id for id, other in self._all.items() if now - other.used > self._idle_s]:
            del self._all[id]
        if len(self._all) >= _MOST:
            raise ApiError(503, "busy", "Too many sessions are open; try again later.")
        self._all[session.id] = session
        return session

    def get(self, id: str) -> Session:
        """Raises :class:`ApiError`, 404, for a session that has ended: the client then begins another."""
        session = self._all.get(id)
        now = time.monotonic()
        if session is None or now - session.used > self._idle_s:
            self._all.pop(id, None)
            raise ApiError(404, "SESSION_NOT_FOUND", "There is no such session any more; send the frames again.")
        session.used = now
        return session

    def touch(self, id: str) -> None:
        """Notes that a session is in use, if it is still there."""
        session = self._all.get(id)
        if session is not None:
            session.used = time.monotonic()

    def end(self, id: str) -> None:
        self._all.pop(id, None)
