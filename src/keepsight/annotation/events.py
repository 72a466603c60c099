"""Who watches a desk, and what they are told."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from keepsight.annotation.values import Change, Event, FrameDone, Job, Listener, People

_KEPT_EVENTS = 500  # of a frame with 20 objects each: 10 MB
_log = logging.getLogger(__name__)


class Bulletin:
    """Events of one desk, in the order of their revisions, to everybody who watches.

    Revisions go up by one with every change. They begin at the time of day in milliseconds, so that those of a desk that was
    opened anew are above all that anybody has seen before.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._revision = time.time_ns() // 1_000_000
        self._begun = self._revision
        self._listeners: dict[int, Listener] = {}
        self._next = 0
        self._past: deque[Event] = deque(maxlen=_KEPT_EVENTS)

    @property
    def revision(self) -> int:
        """Of the latest change."""
        return self._revision

    @property
    def listeners(self) -> int:
        """How many watch."""
        return len(self._listeners)

    def subscribe(self, listener: Listener, since: int | None = None) -> Callable[[], None]:
        """Tells ``listener`` about everything from now on; it is called from any thread and must return at once.

        Args:
            since: revision seen last: what happened after it comes first, or, where that is too long ago, word that
                everything may have changed.

        Returns:
            what ends the subscription; a second call does nothing.
        """
        with self._lock:
            for event in self._missed(since):
                self._tell(listener, event)
            number, self._next = self._next, self._next + 1
            self._listeners[number] = listener
            self._count()

        def leave() -> None:
            with self._lock:
                if self._listeners.pop(number, None) is not None:
                    self._count()

        return leave

    def changed(self, change: Change) -> int:
        """Publishes a change under the next revision, which is given back."""
        with self._lock:
            self._revision += 1
            self._publish(Event("changed", self._revision, replace(change, revision=self._revision)))
            return self._revision

    def frame(self, done: FrameDone) -> int:
        """Publishes a tracked frame under the next revision."""
        with self._lock:
            self._revision += 1
            self._publish(Event("frame", self._revision, replace(done, revision=self._revision)))
            return self._revision

    def job(self, job: Job) -> None:
        """Publishes where a job is; that is no change of the project."""
        with self._lock:
            self._publish(Event("job", self._revision, job))

    def _count(self) -> None:
        event = Event("people", self._revision, People(len(self._listeners)))
        for listener in list(self._listeners.values()):
            self._tell(listener, event)

    def _missed(self, since: int | None) -> list[Event]:
        if since is None or since == self._revision:
            return []
        oldest = self._past[0].revision if len(self._past) == _KEPT_EVENTS else self._begun
        if since < oldest or since > self._revision:
            everything = Change(self._revision, ("objects", "prompts", "masks", "accepted", "settings"))
            return [Event("changed", self._revision, everything)]
        return [event for event in self._past if event.revision > since]

    def _publish(self, event: Event) -> None:
        self._past.append(event)
        for listener in list(self._listeners.values()):
            self._tell(listener, event)

    def _tell(self, listener: Listener, event: Event) -> None:
        try:
            listener(event)
        except Exception:
            # One page that went away must not stop the work for the others.
            _log.exception("a listener failed")
