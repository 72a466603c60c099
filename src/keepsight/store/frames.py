"""Frame results in and out of the tables ``frames`` and ``masks``."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from keepsight.core import FrameResult, Mask, Source, StoreError, TrackedObject
from keepsight.store.database import Database
from keepsight.store.history import History
from keepsight.store.objects import Objects
from keepsight.store.records import StoredVideo, TrackPoint

_PAGE_FRAMES = 32  # frames read at a time: what `results` holds in memory
_PAGE_POINTS = 2000
_END = 2**62

# What a person drew outlives a run; nothing else does.
_UPSERT = """
INSERT INTO masks (video_id, frame, object_id, counts, area, x1, y1, x2, y2, score, presence, source, run_id)
VALUES (:video_id, :frame, :object_id, :counts, :area, :x1, :y1, :x2, :y2, :score, :presence, :source, :run_id)
ON CONFLICT (video_id, frame, object_id) DO UPDATE SET
    counts = excluded.counts, area = excluded.area, x1 = excluded.x1, y1 = excluded.y1, x2 = excluded.x2, y2 = excluded.y2,
    score = excluded.score, presence = excluded.presence, source = excluded.source, run_id = excluded.run_id
WHERE masks.source != 'edited' OR NOT :keep_edited
"""


def mask_row(video: StoredVideo, frame: int, item: TrackedObject, run_id: int | None) -> dict[str, Any]:
    """The ``masks`` row of one object; checks what SQLite would only call a failed constraint.

    Raises:
        StoreError: a mask of another size than the video, or numbers that are not finite.
    """
    where = f"Frame {frame}, object {item.object_id}"
    mask = item.mask
    if (mask.height, mask.width) != (video.height, video.width):
        raise StoreError(
            f"{where}: the mask is {mask.width}x{mask.height} px but the video is {video.width}x{video.height} px."
        )
    if not (math.isfinite(item.score) and math.isfinite(item.presence)):
        raise StoreError(f"{where}: score {item.score} and presence {item.presence} must be finite numbers.")
    x1, y1, x2, y2 = mask.box or (None, None, None, None)
    return {
        "video_id": video.id,
        "frame": frame,
        "object_id": item.object_id,
        "counts": mask.counts,
        "area": mask.area,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "score": float(item.score),
        "presence": float(item.presence),
        "source": str(item.source),
        "run_id": run_id,
    }


class Frames:
    """Reads and writes results; every method takes the video's record because masks need its size."""

    def __init__(self, database: Database, history: History, objects: Objects) -> None:
        self._db = database
        self._history, self._objects = history, objects

    def write(
        self,
        video: StoredVideo,
        run_id: int,
        result: FrameResult,
        *,
        labels: Mapping[int, str] | None = None,
        keep_edited: bool,
        undo_name: str | None,
    ) -> None:
        """One frame, one transaction; objects that are not in ``result``, or are final there, keep the rows they have."""
        names = labels or {}
        rows = [
            mask_row(video, result.frame, item, run_id)
            | {"keep_edited": keep_edited, "label": names.get(item.object_id)}
            for item in result.objects
        ]
        with self._db.transaction(f"frame {result.frame} was written"):
            final = self._final(video.id, result.frame)
            free = [row for row in rows if row["object_id"] not in final]
            if undo_name is None:
                self._write(video, run_id, result, rows, free)
                return
            frame = {"video_id": video.id, "frame": result.frame, "time_s": float(result.time_s)}
            with self._history.run(undo_name, run_id, free, frame):
                for row in rows:
                    self._announce(row)
                self._write(video, run_id, result, rows, free)

    def _write(
        self,
        video: StoredVideo,
        run_id: int,
        result: FrameResult,
        rows: list[dict[str, Any]],
        free: list[dict[str, Any]],
    ) -> None:
        connection = self._db.connection
        connection.execute(
            "INSERT INTO frames (video_id, frame, run_id, time_s) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (video_id, frame, run_id) DO UPDATE SET time_s = excluded.time_s",
            (video.id, result.frame, run_id, float(result.time_s)),
        )
        # An object that a tracker reports exists, whether or not somebody announced it (a detector's finds are not).
        connection.executemany(
            "INSERT INTO objects (video_id, object_id, position, label) VALUES (:video_id, :object_id, "
            "(SELECT COALESCE(MAX(position), 0) + 1 FROM objects WHERE video_id = :video_id), :label) "
            "ON CONFLICT (video_id, object_id) DO UPDATE SET label = COALESCE(label, excluded.label)",
            rows,
        )
        connection.executemany(_UPSERT, free)

    def _announce(self, row: Mapping[str, Any]) -> None:
        """Adds the object of a row, where it is new, or gives it the name that it lacks, as undo takes it back."""
        video_id, object_id, label = row["video_id"], row["object_id"], row["label"]
        known = self._objects.row(video_id, object_id)
        if known is None:
            self._objects.add(video_id, object_id, label)
        elif known["label"] is None and label is not None:
            self._objects.change(video_id, object_id, label=label)

    def _final(self, video_id: int, frame: int) -> set[int]:
        """Objects whose masks on a frame no run may write: accepted there, or locked."""
        sql = (
            "SELECT object_id FROM accepted WHERE video_id = ? AND frame = ? "
            "UNION ALL SELECT object_id FROM objects WHERE video_id = ? AND locked"
        )
        return {row["object_id"] for row in self._db.execute(sql, (video_id, frame, video_id))}

    def forget(self, video: StoredVideo, run_id: int, frames: Collection[int]) -> None:
        """Takes back what a run wrote on frames, and objects that were nowhere else; what a person drew or said stays."""
        with self._db.transaction("results were taken back"):
            connection = self._db.connection
            keys = [(video.id, run_id, frame) for frame in frames]
            ours = "video_id = ? AND run_id = ? AND frame = ?"
            shown = {
                (video.id, row["object_id"])
                for key in keys
                for row in connection.execute(f"SELECT object_id FROM masks WHERE {ours}", key)
            }
            connection.executemany(f"DELETE FROM frames WHERE {ours}", keys)
            connection.executemany(
                f"DELETE FROM masks WHERE {ours} AND source != 'edited' AND NOT EXISTS (SELECT 1 FROM accepted a WHERE "
                "a.video_id = masks.video_id AND a.frame = masks.frame AND a.object_id = masks.object_id)",
                keys,
            )
            connection.executemany(
                "DELETE FROM objects WHERE video_id = ? AND object_id = ? AND NOT removed AND NOT EXISTS "
                "(SELECT 1 FROM masks m WHERE m.video_id = objects.video_id AND m.object_id = objects.object_id) "
                "AND NOT EXISTS (SELECT 1 FROM prompts p WHERE p.video_id = objects.video_id "
                "AND p.object_id = objects.object_id)",
                sorted(shown),
            )

    def read(self, video: StoredVideo, start: int, stop: int) -> Iterator[FrameResult]:
        """Results of ``start <= frame < stop`` in order of frames, a page at a time.

        No cursor stays open between pages: a reader that dawdles would keep the write-ahead log from being folded back.
        """
        while start < stop:
            times, last = self._page(video, start, stop)
            if not times:
                return
            masks: dict[int, list[TrackedObject]] = {frame: [] for frame in times}
            for row in self._db.rows(
                "SELECT m.* FROM masks m JOIN objects o USING (video_id, object_id) "
                "WHERE m.video_id = ? AND m.frame BETWEEN ? AND ? AND NOT o.removed ORDER BY m.frame, o.position",
                (video.id, start, last),
            ):
                masks.setdefault(row["frame"], []).append(stored_object(video, row))
            for frame in sorted(times):
                yield FrameResult(frame, times[frame], video.height, video.width, tuple(masks[frame]))
            start = last + 1

    def _page(self, video: StoredVideo, start: int, stop: int) -> tuple[dict[int, float], int]:
        """The next frames that have a result (by a run or by hand) with their times, and the last frame that is covered."""
        window = (video.id, start, stop, _PAGE_FRAMES)
        done = self._db.rows(
            "SELECT frame, MAX(time_s) AS time_s FROM frames WHERE video_id = ? AND frame >= ? AND frame < ? "
            "GROUP BY frame ORDER BY frame LIMIT ?",
            window,
        )
        drawn = self._db.rows(
            "SELECT DISTINCT frame FROM masks WHERE video_id = ? AND frame >= ? AND frame < ? ORDER BY frame LIMIT ?",
            window,
        )
        last = min(rows[-1]["frame"] if len(rows) == _PAGE_FRAMES else stop - 1 for rows in (done, drawn))
        times = {row["frame"]: row["frame"] / video.fps for row in drawn if row["frame"] <= last}
        times.update({row["frame"]: row["time_s"] for row in done if row["frame"] <= last})
        return times, last

    def done(self, video_id: int, run_id: int | None) -> set[int]:
        """Frames that the run has written; with ``None``, frames that have a result from anyone."""
        if run_id is None:
            sql = "SELECT frame FROM frames WHERE video_id = ? UNION SELECT frame FROM masks WHERE video_id = ?"
            return {row["frame"] for row in self._db.execute(sql, (video_id, video_id))}
        sql = "SELECT frame FROM frames WHERE video_id = ? AND run_id = ?"
        return {row["frame"] for row in self._db.execute(sql, (video_id, run_id))}

    def track(self, video_id: int, object_id: int) -> Iterator[TrackPoint]:
        """One object over time, answered from the covering index alone."""
        start = 0
        while True:
            rows = self._db.rows(
                "SELECT frame, score, presence, area, x1, y1, x2, y2, source FROM masks INDEXED BY masks_by_object "
                "WHERE video_id = ? AND object_id = ? AND frame >= ? ORDER BY frame LIMIT ?",
                (video_id, object_id, start, _PAGE_POINTS),
            )
            for row in rows:
                box = None if row["x1"] is None else (row["x1"], row["y1"], row["x2"], row["y2"])
                yield TrackPoint(row["frame"], row["score"], row["presence"], row["area"], box, Source(row["source"]))
            if len(rows) < _PAGE_POINTS:
                return
            start = rows[-1]["frame"] + 1

    def masklet(self, video: StoredVideo, object_id: int) -> Iterator[tuple[int, TrackedObject]]:
        """One object over time with its masks."""
        start = 0
        while True:
            rows = self._db.rows(
                "SELECT * FROM masks WHERE video_id = ? AND object_id = ? AND frame >= ? ORDER BY frame LIMIT ?",
                (video.id, object_id, start, _PAGE_FRAMES),
            )
            for row in rows:
                yield row["frame"], stored_object(video, row)
            if len(rows) < _PAGE_FRAMES:
                return
            start = rows[-1]["frame"] + 1

    def keys(self, video_id: int, object_id: int | None, start: int, stop: int | None) -> list[tuple[int, int]]:
        """``(frame, object_id)`` of the stored masks in a range."""
        return [
            (row["frame"], row["object_id"])
            for row in self._db.rows(
                "SELECT frame, object_id FROM masks WHERE video_id = ? AND frame >= ? AND frame < ? "
                "AND (? IS NULL OR object_id = ?) ORDER BY frame, object_id",
                (video_id, start, _END if stop is None else stop, object_id, object_id),
            )
        ]


def stored_object(video: StoredVideo, row: sqlite3.Row) -> TrackedObject:
    """A row of the table ``masks``."""
    mask = Mask(video.height, video.width, bytes(row["counts"]))
    return TrackedObject(row["object_id"], mask, row["score"], row["presence"], Source(row["source"]))
