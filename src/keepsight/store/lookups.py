"""Questions about many frames at once, answered without decoding a mask: timelines, and what a tracker has to know."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from keepsight.core import TrackedObject
from keepsight.store.database import Database
from keepsight.store.frames import stored_object
from keepsight.store.records import StoredVideo

Ranges = tuple[tuple[int, int], ...]

_CHUNK = 500  # values in one statement; SQLite's limit is far above


@dataclass(frozen=True)
class Lane:
    """One object over time; ranges are half-open, ascending and apart.

    Attributes:
        present: it is visible.
        absent: somebody looked and it is not.
        low: visible, and the score is below the limit asked for.
        prompted: frames on which a person pointed at it, the first of them the beginning.
        corrected: those of them that came later than the first word about it.
        edited: frames on which its mask was drawn by hand.
        accepted: frames on which its mask is final.
    """

    object_id: int
    present: Ranges = ()
    absent: Ranges = ()
    low: Ranges = ()
    prompted: tuple[int, ...] = ()
    corrected: tuple[int, ...] = ()
    edited: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()


class Lookups:
    """Reads only; :class:`Project` documents the methods."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ---- timelines ----

    def lanes(self, video_id: int, low_score: float) -> list[Lane]:
        seen = self._islands(video_id, "area > 0", "1")
        low = self._islands(video_id, "1", f"area > 0 AND score < {float(low_score)}")
        prompted: dict[int, dict[int, int]] = {}
        for row in self._db.rows(
            "SELECT object_id, frame, MIN(id) AS id FROM prompts WHERE video_id = ? GROUP BY object_id, frame",
            (video_id,),
        ):
            prompted.setdefault(row["object_id"], {})[row["frame"]] = row["id"]
        edited = self._frames_of(
            "SELECT object_id, frame FROM masks INDEXED BY masks_by_object WHERE video_id = ? AND source = 'edited' "
            "ORDER BY frame",
            video_id,
        )
        accepted = self._frames_of("SELECT object_id, frame FROM accepted WHERE video_id = ? ORDER BY frame", video_id)
        lanes = []
        for row in self._db.rows(
            "SELECT object_id FROM objects WHERE video_id = ? AND NOT removed ORDER BY position", (video_id,)
        ):
            one = row["object_id"]
            said = prompted.get(one, {})
            first = min(said, key=lambda frame: said[frame], default=None)
            frames = sorted(said)
            lanes.append(
                Lane(
                    one,
                    present=seen.get((one, 1), ()),
                    absent=seen.get((one, 0), ()),
                    low=low.get((one, 1), ()),
                    prompted=tuple(frames),
                    corrected=tuple(frame for frame in frames if frame != first),
                    edited=edited.get(one, ()),
                    accepted=accepted.get(one, ()),
                )
            )
        return lanes

    def done_ranges(self, video_id: int) -> Ranges:
        rows = self._db.rows(
            "SELECT MIN(frame) AS first, MAX(frame) + 1 AS stop FROM ("
            "SELECT frame, frame - ROW_NUMBER() OVER (ORDER BY frame) AS island FROM ("
            "SELECT frame FROM frames WHERE video_id = ? UNION SELECT frame FROM masks WHERE video_id = ?)) "
            "GROUP BY island ORDER BY first",
            (video_id, video_id),
        )
        return tuple((row["first"], row["stop"]) for row in rows)

    def _islands(self, video_id: int, kind: str, where: str) -> dict[tuple[int, int], Ranges]:
        """Ranges without a gap, by object and by the value of ``kind``, from the covering index alone."""
        rows = self._db.rows(
            "SELECT object_id, kind, MIN(frame) AS first, MAX(frame) + 1 AS stop FROM ("
            f"SELECT object_id, frame, {kind} AS kind, "
            f"frame - ROW_NUMBER() OVER (PARTITION BY object_id, {kind} ORDER BY frame) AS island "
            f"FROM masks INDEXED BY masks_by_object WHERE video_id = ? AND {where}) "
            "GROUP BY object_id, kind, island ORDER BY first",
            (video_id,),
        )
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for row in rows:
            found.setdefault((row["object_id"], row["kind"]), []).append((row["first"], row["stop"]))
        return {key: tuple(ranges) for key, ranges in found.items()}

    def _frames_of(self, sql: str, video_id: int) -> dict[int, tuple[int, ...]]:
        found: dict[int, list[int]] = {}
        for row in self._db.rows(sql, (video_id,)):
            found.setdefault(row["object_id"], []).append(row["frame"])
        return {one: tuple(frames) for one, frames in found.items()}

    # ---- single masks ----

    def masks(self, video: StoredVideo, object_id: int, frames: Collection[int]) -> dict[int, TrackedObject]:
        wanted = sorted(frames)
        found = {}
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            for row in self._db.rows(
                f"SELECT * FROM masks WHERE video_id = ? AND object_id = ? AND frame IN ({', '.join('?' * len(chunk))})",
                (video.id, object_id, *chunk),
            ):
                found[row["frame"]] = stored_object(video, row)
        return found

    def given_frames(self, video_id: int, object_id: int, near: int, limit: int) -> list[int]:
        rows = self._db.rows(
            "SELECT frame FROM masks m INDEXED BY masks_by_object WHERE video_id = ? AND object_id = ? AND area > 0 "
            "AND (source IN ('prompt', 'edited') OR EXISTS (SELECT 1 FROM accepted a WHERE a.video_id = m.video_id "
            "AND a.frame = m.frame AND a.object_id = m.object_id)) ORDER BY ABS(frame - ?), frame LIMIT ?",
            (video_id, object_id, near, limit),
        )
        return sorted(row["frame"] for row in rows)

    def nearest_visible(self, video_id: int, object_id: int, near: int, start: int, stop: int) -> int | None:
        row = self._db.row(
            "SELECT frame FROM masks INDEXED BY masks_by_object WHERE video_id = ? AND object_id = ? AND area > 0 "
            "AND frame >= ? AND frame < ? ORDER BY ABS(frame - ?), frame LIMIT 1",
            (video_id, object_id, start, stop, near),
        )
        return None if row is None else int(row["frame"])

    def removed_ids(self, video_id: int) -> set[int]:
        rows = self._db.rows("SELECT object_id FROM objects WHERE video_id = ? AND removed", (video_id,))
        return {row["object_id"] for row in rows}

    def accepted_frames(self, video_id: int, object_id: int) -> Iterator[int]:
        for row in self._db.rows(
            "SELECT frame FROM accepted WHERE video_id = ? AND object_id = ? ORDER BY frame", (video_id, object_id)
        ):
            yield row["frame"]
