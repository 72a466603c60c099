"""The objects of a video: their ids, names, flags, and the frames on which a person has accepted their masks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from keepsight.core import StoreError
from keepsight.store.database import Database
from keepsight.store.history import History
from keepsight.store.records import StoredObject

Row = dict[str, Any]

GAVE_ALL = 2
"""In the column ``removed``: the object's masks went to another one. Nothing hangs on its id, which stays taken all the same."""


class Objects:
    """Rows of the tables ``objects`` and ``accepted``; every change goes through the undo log."""

    def __init__(self, database: Database, history: History) -> None:
        self._db = database
        self._history = history

    def add(self, video_id: int, object_id: int, label: str | None = None, colour: str | None = None) -> None:
        """Registers an object; ids are never given twice."""
        if not self.is_free(video_id, object_id):
            row = self.row(video_id, object_id)
            state = "was removed, and ids are never reused" if row and row["removed"] else "exists already"
            raise StoreError(f"Object {object_id} {state}; choose another id, for instance {self.next_id(video_id)}.")
        with self._history.operation(f"add object {object_id}"):
            position = self._db.rows(
                "SELECT COALESCE(MAX(position), 0) + 1 FROM objects WHERE video_id = ?", (video_id,)
            )[0][0]
            # The row stays for good (a run may hang masks on it), so what the log records is its removal being lifted.
            self._db.execute(
                "INSERT INTO objects (video_id, object_id, position, removed) VALUES (?, ?, ?, 1) "
                "ON CONFLICT (video_id, object_id) DO NOTHING",
                (video_id, object_id, position),
            )
            new = {"position": position, "label": label, "colour": colour, "removed": 0, "hidden": 0, "locked": 0}
            self.change(video_id, object_id, **new)

    def all(self, video_id: int) -> list[StoredObject]:
        """Objects that were not removed, in the order in which they were added."""
        rows = self._db.rows("SELECT * FROM objects WHERE video_id = ? AND NOT removed ORDER BY position", (video_id,))
        return [
            StoredObject(row["object_id"], row["label"], row["colour"], bool(row["hidden"]), bool(row["locked"]))
            for row in rows
        ]

    def next_id(self, video_id: int) -> int:
        """The smallest id above every id ever used, from 1."""
        found = self._db.rows("SELECT COALESCE(MAX(object_id), 0) + 1 FROM objects WHERE video_id = ?", (video_id,))
        return int(found[0][0])

    def is_free(self, video_id: int, object_id: int) -> bool:
        """Whether no object has or had this id, but for one whose adding was undone."""
        row = self.row(video_id, object_id)
        return row is None or (row["removed"] == 1 and not self._has_rows(video_id, object_id))

    def row(self, video_id: int, object_id: int) -> Row | None:
        found = self._db.row("SELECT * FROM objects WHERE video_id = ? AND object_id = ?", (video_id, object_id))
        return dict(found) if found else None

    def existing(self, video_id: int, object_id: int) -> Row:
        """The row of an object that is there.

        Raises:
            StoreError: it never was, or was removed.
        """
        row = self.row(video_id, object_id)
        if row is None or row["removed"]:
            raise StoreError(f"Video {video_id} has no object {object_id}.")
        return row

    def ensure(self, video_id: int, object_id: int, label: str | None = None) -> None:
        if self.row(video_id, object_id) is None:
            self.add(video_id, object_id, label)
        self.existing(video_id, object_id)

    def change(self, video_id: int, object_id: int, **values: Any) -> None:
        """Sets columns of an object's row, inside an open operation."""
        row = self.row(video_id, object_id)
        assert row is not None
        self._history.change("objects", {"video_id": video_id, "object_id": object_id}, row | values)

    def _has_rows(self, video_id: int, object_id: int) -> bool:
        return any(
            self._db.row(f"SELECT 1 FROM {table} WHERE video_id = ? AND object_id = ? LIMIT 1", (video_id, object_id))
            is not None
            for table in ("masks", "prompts")
        )

    # ---- accepted frames ----

    def accept(self, video_id: int, frame: int, object_ids: Collection[int] | None, *, on: bool) -> int:
        """Marks masks on a frame as final, or takes that back; ``None`` means every object that has a mask there."""
        if object_ids is None:
            table = "masks" if on else "accepted"
            object_ids = [
                row["object_id"]
                for row in self._db.rows(
                    f"SELECT a.object_id FROM {table} a JOIN objects o USING (video_id, object_id) "
                    "WHERE a.video_id = ? AND a.frame = ? AND NOT o.removed",
                    (video_id, frame),
                )
            ]
        before = {object_id for _, object_id in self.accepted(video_id, frame, frame + 1)}
        with self._history.operation(f"{'accept' if on else 'unlock'} frame {frame}"):
            for object_id in object_ids:
                self.existing(video_id, object_id)
                key = {"video_id": video_id, "frame": frame, "object_id": object_id}
                if (
                    on
                    and self._db.row(
                        "SELECT 1 FROM masks WHERE video_id = ? AND frame = ? AND object_id = ?", tuple(key.values())
                    )
                    is None
                ):
                    raise StoreError(f"Object {object_id} has no mask on frame {frame} that could be accepted.")
                self._history.change("accepted", key, key if on else None)
        return len(set(object_ids) - before if on else before & set(object_ids))

    def accepted(self, video_id: int, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """``(frame, object_id)`` in order of frames."""
        rows = self._db.rows(
            "SELECT a.frame, a.object_id FROM accepted a JOIN objects o USING (video_id, object_id) "
            "WHERE a.video_id = ? AND a.frame >= ? AND a.frame < ? AND NOT o.removed ORDER BY a.frame, a.object_id",
            (video_id, start, 2**62 if stop is None else stop),
        )
        return [(row["frame"], row["object_id"]) for row in rows]
