"""The videos of a project, and what people like about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keepsight.core import StoreError
from keepsight.store.database import Database
from keepsight.store.records import StoredVideo
from keepsight.store.runs import utc_now


class Videos:
    """Rows of the tables ``videos`` and ``preferences``; :class:`Project` documents the methods."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: dict[int, StoredVideo] = {}

    def add(
        self, path: str, name: str, height: int, width: int, fps: float, frame_count: int | None, fingerprint: str
    ) -> int:
        with self._db.transaction(f"video {name} was added"):
            cursor = self._db.execute(
                "INSERT INTO videos (name, path, height, width, fps, frame_count, fingerprint, added_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, path, height, width, fps, frame_count, fingerprint, utc_now()),
            )
            return int(cursor.lastrowid or 0)

    def all(self) -> list[StoredVideo]:
        return [StoredVideo(**dict(row)) for row in self._db.rows("SELECT * FROM videos ORDER BY id")]

    def get(self, video_id: int) -> StoredVideo:
        if video_id not in self._known:
            row = self._db.row("SELECT * FROM videos WHERE id = ?", (video_id,))
            if row is None:
                raise StoreError(f"{self._db.path} has no video {video_id}; add_video registers one.")
            self._known[video_id] = StoredVideo(**dict(row))
        return self._known[video_id]

    def set_frame_count(self, video_id: int, frame_count: int) -> None:
        with self._db.transaction("the length of the video was stored"):
            self._db.execute("UPDATE videos SET frame_count = ? WHERE id = ?", (frame_count, video_id))
        self._known.pop(video_id, None)

    def preferences(self, video_id: int) -> dict[str, Any]:
        rows = self._db.rows("SELECT name, value FROM preferences WHERE video_id = ?", (video_id,))
        return {row["name"]: json.loads(row["value"]) for row in rows}

    def set_preferences(self, video_id: int, values: Mapping[str, Any]) -> None:
        rows = [(self.get(video_id).id, name, json.dumps(value)) for name, value in values.items()]
        with self._db.transaction("the preferences were stored"):
            self._db.connection.executemany(
                "INSERT INTO preferences (video_id, name, value) VALUES (?, ?, ?) "
                "ON CONFLICT (video_id, name) DO UPDATE SET value = excluded.value",
                rows,
            )
