"""Looks for what words name on later frames too, so that what comes in later is found; once a frame, also after a restart."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keepsight.annotation import Desk
from keepsight.server.anylabeling.following import Following
from keepsight.server.anylabeling.offers import wordless
from keepsight.server.anylabeling.sessions import Session
from keepsight.server.reception import soon

_FILE = "anylabeling.json"


class Looked:
    """Which frames were looked at for what, and since when objects are there that were found on the way.

    Kept in a file beside the project.
    """

    def __init__(self, project: Path) -> None:
        self._path = project.with_name(_FILE)
        self._values: dict[str, Any] = {"looked": {}, "since": {}}
        try:
            kept = json.loads(self._path.read_text())
            self._values = {"looked": dict(kept["looked"]), "since": dict(kept["since"])}
        except (OSError, ValueError, TypeError, KeyError):
            pass  # the first time; or it is looked once more

    @property
    def since(self) -> dict[int, int]:
        """First frame on which an object may be, by its id."""
        return {int(one): int(frame) for one, frame in self._values["since"].items()}

    def frames(self, what: str) -> set[int]:
        """Frames that were looked at."""
        return set(self._values["looked"].get(what, ()))

    def note(self, what: str, frame: int, found: Iterable[int], since: int) -> None:
        """Notes a look and what is new."""
        self._values["looked"].setdefault(what, []).append(frame)
        self._values["since"].update({str(one): since for one in found})
        draft = self._path.with_suffix(".part")
        draft.write_text(json.dumps(self._values))
        os.replace(draft, self._path)


class Lookout:
    """The looks that a range needs.

    Args:
        every: frames between looks; 0: none.
        detector: of the settings.
        low, high: the range, both inclusive.
    """

    def __init__(self, desk: Desk, session: Session, detector: str | None, every: int, low: int, high: int) -> None:
        self._desk, self._session = desk, session
        self._looked = Looked(Path(desk.project_path))
        text = session.text
        self._detector = detector if text is None else wordless(text) or detector
        self._what = json.dumps([(text or "").casefold(), session.threshold, self._detector])
        wanted: Iterable[int] = ()
        # Everything that there is would be found over and over, a little different each time.
        if text is not None and every and self._detector != "everything":
            wanted = range(-(-low // every) * every, high + 1, every)
        known = self._looked.frames(self._what) | {session.prompted}
        self._todo = [frame for frame in wanted if frame not in known]
        self._before = sorted({*wanted, *(frame for frame in known if frame is not None)})

    @property
    def left(self) -> int:
        """Looks to come."""
        return len(self._todo)

    @property
    def since(self) -> dict[int, int]:
        """See :attr:`Looked.since`."""
        return self._looked.since

    async def look(self, following: Following) -> None:
        """Looks on every frame that is due, and has followed at once what is new there."""
        session = self._session
        while self._todo:
            frame = self._todo[0]
            found = await soon(self._desk.find(frame, session.text or "", self._detector, session.threshold))
            new = {item.id: item.label or "" for item, _ in found.objects}
            since = max((other + 1 for other in self._before if other < frame), default=0)
            self._looked.note(self._what, frame, new, since)
            for one, label in found.known_as:
                session.labels.setdefault(one, label)
            session.labels |= new
            self._todo.pop(0)
            if new:
                await following.follow(list(session.labels), self._looked.since)
