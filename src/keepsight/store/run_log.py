"""What a run wrote over, so that undo can take the run back: one step of the log for as long as nobody edits meanwhile.

A run writes far more than a person does, so its step keeps one side only: while it stands, the rows that had been there
before; while it is undone, the rows that it wrote. Undo and redo exchange the two, in SQL alone, whatever their number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from keepsight.store.database import Database
from keepsight.store.records import UNDONE

Row: TypeAlias = dict[str, Any]

_MASK = ("counts", "area", "x1", "y1", "x2", "y2", "score", "presence", "source", "run_id")
_VALUES = ", ".join(_MASK)
_KEY = "video_id, frame, object_id"
_SAME = "{a}.video_id = {b}.video_id AND {a}.frame = {b}.frame AND {a}.object_id = {b}.object_id"
_NOTHING, _NOBODY = 0, -1  # for `expects`: no row, and a row that no run wrote; runs count from 1


class RunLog:
    """The tables ``replaced`` and ``visits``."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def begin(self, operation_id: int, run_id: int) -> None:
        """Makes a fresh operation a run's; taking it back also takes back how far the run is."""
        run = self._db.row("SELECT facts FROM runs WHERE id = ?", (run_id,))
        assert run is not None
        before = {"state": "cancelled", "note": UNDONE, "facts": run["facts"]}
        self._db.execute(
            "UPDATE operations SET run_id = ?, run_row = ? WHERE id = ?", (run_id, json.dumps(before), operation_id)
        )

    def visit(self, operation_id: int, run_id: int, video_id: int, frame: int, time_s: float) -> None:
        """Notes a frame that the run has not done before; call it before the frame's row is written."""
        self._db.execute(
            "INSERT OR IGNORE INTO visits (operation_id, video_id, frame, time_s) SELECT ?, ?, ?, ? WHERE NOT EXISTS "
            "(SELECT 1 FROM frames WHERE video_id = ? AND frame = ? AND run_id = ?)",
            (operation_id, video_id, frame, time_s, video_id, frame, run_id),
        )

    def replace(self, operation_id: int, run_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Notes what is there now for mask rows that the run is about to write; the first note of a mask counts."""
        self._db.execute_many(
            f"INSERT OR IGNORE INTO replaced (operation_id, expects, {_KEY}, {_VALUES}) "
            f"SELECT {int(operation_id)}, {int(run_id)}, n.video_id, n.frame, n.object_id, "
            + ", ".join(f"m.{name}" for name in _MASK)
            + " FROM (SELECT :video_id AS video_id, :frame AS frame, :object_id AS object_id) n "
            f"LEFT JOIN masks m ON {_SAME.format(a='m', b='n')}",
            rows,
        )
        for video_id, frame in {(row["video_id"], row["frame"]) for row in rows}:
            self._db.execute(
                "UPDATE operations SET bytes = bytes + (SELECT COALESCE(SUM(LENGTH(counts)), 0) FROM replaced "
                "WHERE operation_id = ?1 AND video_id = ?2 AND frame = ?3) WHERE id = ?1",
                (operation_id, video_id, frame),
            )

    def exchange(self, operation_id: int, *, forward: bool) -> None:
        """Undoes (or, ``forward``, does again) what a run wrote. A mask that is neither side's is newer and stays."""
        db, one = self._db, (operation_id,)
        db.execute("DROP TABLE IF EXISTS temp.leaving")
        db.execute(f"CREATE TEMP TABLE leaving (slot INTEGER PRIMARY KEY, mask INTEGER, {_VALUES})")
        there = f"CASE WHEN m.rowid IS NULL THEN {_NOTHING} ELSE COALESCE(m.run_id, {_NOBODY}) END"
        db.execute(
            f"INSERT INTO leaving SELECT r.id, m.rowid, {', '.join(f'm.{name}' for name in _MASK)} FROM replaced r "
            f"LEFT JOIN masks m ON {_SAME.format(a='m', b='r')} WHERE r.operation_id = ? AND {there} = r.expects",
            one,
        )
        db.execute("DELETE FROM masks WHERE rowid IN (SELECT mask FROM leaving WHERE mask IS NOT NULL)")
        db.execute(
            f"INSERT INTO masks ({_KEY}, {_VALUES}) SELECT {_KEY}, {_VALUES} FROM replaced "
            "WHERE id IN (SELECT slot FROM leaving) AND counts IS NOT NULL"
        )
        come = f"CASE WHEN counts IS NULL THEN {_NOTHING} ELSE COALESCE(run_id, {_NOBODY}) END"
        db.execute(
            f"UPDATE replaced SET expects = {come}, ({_VALUES}) = (SELECT {_VALUES} FROM leaving WHERE slot = replaced.id) "
            "WHERE id IN (SELECT slot FROM leaving)"
        )
        db.execute("DROP TABLE leaving")
        self._exchange_visits(operation_id, forward=forward)
        self._exchange_run(operation_id)
        db.execute(
            "UPDATE operations SET bytes = (SELECT COALESCE(SUM(LENGTH(counts)), 0) FROM replaced WHERE operation_id = ?1) "
            "WHERE id = ?1",
            one,
        )

    def _exchange_visits(self, operation_id: int, *, forward: bool) -> None:
        if forward:
            self._db.execute(
                "INSERT OR IGNORE INTO frames (video_id, frame, run_id, time_s) SELECT v.video_id, v.frame, o.run_id, v.time_s "
                "FROM visits v JOIN operations o ON o.id = v.operation_id WHERE o.id = ?",
                (operation_id,),
            )
            return
        self._db.execute(
            "DELETE FROM frames WHERE run_id = (SELECT run_id FROM operations WHERE id = ?1) "
            "AND (video_id, frame) IN (SELECT video_id, frame FROM visits WHERE operation_id = ?1)",
            (operation_id,),
        )

    def _exchange_run(self, operation_id: int) -> None:
        row = self._db.row(
            "SELECT o.run_row, r.id, r.state, r.note, r.facts FROM operations o JOIN runs r ON r.id = o.run_id WHERE o.id = ?",
            (operation_id,),
        )
        if row is None:
            return
        other = json.loads(row["run_row"])
        self._db.execute(
            "UPDATE runs SET state = :state, note = :note, facts = :facts WHERE id = :id", other | {"id": row["id"]}
        )
        now = {name: row[name] for name in ("state", "note", "facts")}
        self._db.execute("UPDATE operations SET run_row = ? WHERE id = ?", (json.dumps(now), operation_id))

    def correct(self, operation_id: int, left: Row | None, wanted: Row | None, key: Row) -> None:
        """An older step was undone or redone under a run that has since written over its mask: what the run's step keeps as
        having been before it is corrected, so that undoing the run brings ``wanted`` back."""
        slot = self._db.row(
            f"SELECT r.id, {', '.join(f'r.{name}' for name in _MASK)} FROM replaced r JOIN operations o ON o.id = r.operation_id "
            "WHERE r.operation_id > ? AND NOT o.undone AND r.video_id = ? AND r.frame = ? AND r.object_id = ? "
            "ORDER BY r.operation_id LIMIT 1",
            (operation_id, key["video_id"], key["frame"], key["object_id"]),
        )
        if slot is None:
            return
        kept = None if slot["counts"] is None else {name: slot[name] for name in _MASK}
        if kept != (None if left is None else {name: left[name] for name in _MASK}):
            return
        values = wanted or dict.fromkeys(_MASK)
        self._db.execute(
            f"UPDATE replaced SET {', '.join(f'{name} = ?' for name in _MASK)} WHERE id = ?",
            (*(values[name] for name in _MASK), slot["id"]),
        )
