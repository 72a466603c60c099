"""Undo: a log of row changes in the project file itself, so that it outlives the process.

Every edit goes through :meth:`History.change`, which notes the row before and after. Undoing writes the rows before, redoing
the rows after. A row that something else has rewritten since (a tracker that came by) is newer and stays as it is.

What a run writes is part of the log too (:meth:`History.run`): one step, begun anew after each edit that a person makes
meanwhile, so that the steps are in the order in which all of it happened and each gives back exactly what was there before.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from keepsight.store.database import Database
from keepsight.store.run_log import RunLog

Row: TypeAlias = dict[str, Any]

KEEP_OPERATIONS = 200
KEEP_BYTES = 512 * 2**20  # of masks in the log; the oldest steps go first, the latest one stays whatever its size
_KEYS = {
    "objects": ("video_id", "object_id"),
    "prompts": ("id",),
    "masks": ("video_id", "frame", "object_id"),
    "accepted": ("video_id", "frame", "object_id"),
}


class History:
    """The undo log of one project."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._runs = RunLog(database)
        self._name: str | None = None
        self._operation_id: int | None = None

    @contextlib.contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Everything changed in the block is undone in one step, under the outermost name; all of it or nothing is kept."""
        if self._name is not None:
            with self._db.transaction(f"'{name}' was stored"):
                yield
            return
        self._name = name
        try:
            with self._db.transaction(f"'{name}' was stored"):
                yield
        finally:
            self._name = self._operation_id = None

    @contextlib.contextmanager
    def run(self, name: str, run_id: int, rows: Sequence[Row], frame: Row) -> Iterator[None]:
        """A frame of a run is written in the block: part of the run's step, or the first of a new one after an edit.

        Args:
            name: of a new step; the number of its frames is added to it.
            rows: masks that are about to be written.
            frame: ``video_id``, ``frame`` and ``time_s``.
        """
        with self._db.transaction(f"frame {frame['frame']} was written"):
            latest = self._db.row("SELECT id, run_id FROM operations WHERE NOT undone ORDER BY id DESC LIMIT 1")
            self._name = name
            try:
                if latest is not None and latest["run_id"] == run_id:
                    self._operation_id = latest["id"]
                else:
                    self._runs.begin(self._open_operation(), run_id)
                operation = self._open_operation()
                self._runs.visit(operation, run_id, **frame)
                self._runs.replace(operation, run_id, rows)
                yield
            finally:
                self._name = self._operation_id = None

    def change(self, table: str, key: Row, row: Row | None) -> None:
        """Writes (or, with ``None``, deletes) one row inside an open :meth:`operation` and logs how to go back."""
        before = self._read(table, key)
        self._write(table, key, row)
        after = self._read(table, key)
        if before == after:
            return
        self._log(table, [(_dump(before), _dump(after))])

    def exchange(self, table: str, gone: Sequence[Row], come: Sequence[Row]) -> None:
        """Deletes rows and writes others inside an open :meth:`operation`, many at once.

        Args:
            gone: as they are in the file now.
            come: no row that stays may have one of their keys.
        """
        if not gone and not come:
            return
        where = " AND ".join(f"{name} = :{name}" for name in _KEYS[table])
        self._db.execute_many(f"DELETE FROM {table} WHERE {where}", gone)
        if come:
            names = ", ".join(come[0])
            places = ", ".join(f":{name}" for name in come[0])
            self._db.execute_many(f"INSERT INTO {table} ({names}) VALUES ({places})", come)
        self._log(table, [(_dump(row), None) for row in gone] + [(None, _dump(row)) for row in come])

    def undo(self, going: int | None = None) -> str | None:
        """Takes back the latest operation; its name, ``None`` when there is nothing to undo.

        Args:
            going: a run that still writes: only what people have done since it began can be taken back.
        """
        return self._step(going, forward=False)

    def redo(self) -> str | None:
        """Does the last undone operation again; its name, ``None`` when there is nothing to redo."""
        return self._step(None, forward=True)

    def next_run(self, *, forward: bool) -> int | None:
        """The run whose work :meth:`undo` (or, ``forward``, :meth:`redo`) comes to next; ``None``: it is a person's, or none."""
        found = self._next(None, forward=forward)
        return None if found is None else found["run_id"]

    def names(self, going: int | None = None) -> tuple[str | None, str | None]:
        """What :meth:`undo` and :meth:`redo` would do next."""
        undo, redo = self._next(going, forward=False), self._next(None, forward=True)
        return (undo["name"] if undo else None, redo["name"] if redo else None)

    def _next(self, going: int | None, *, forward: bool) -> Row | None:
        where = "undone = 1 ORDER BY id ASC" if forward else "undone = 0 ORDER BY id DESC"
        values: tuple[int, ...] = ()
        if going is not None:
            where = (
                "run_id IS NOT ?1 AND id > COALESCE((SELECT MIN(id) FROM operations WHERE run_id = ?1), 0) AND " + where
            )
            values = (going,)
        row = self._db.row(f"SELECT id, name, run_id FROM operations WHERE {where} LIMIT 1", values)
        if row is None:
            return None
        found = dict(row)
        if found["run_id"] is not None:
            sql = "SELECT COUNT(*) FROM visits WHERE operation_id = ?"
            frames = self._db.rows(sql, (found["id"],))[0][0]
            found["name"] += f" {frames} frame{'' if frames == 1 else 's'}"
        return found

    def _log(self, table: str, sides: Sequence[tuple[str | None, str | None]]) -> None:
        operation = self._open_operation()
        self._db.execute_many(
            "INSERT INTO changes (operation_id, table_name, before, after) VALUES (?, ?, ?, ?)",
            [(operation, table, *both) for both in sides],
        )
        size = sum(len(side) for both in sides for side in both if side is not None)
        self._db.execute("UPDATE operations SET bytes = bytes + ? WHERE id = ?", (size, operation))

    def _open_operation(self) -> int:
        if self._operation_id is None:
            assert self._name is not None, "changes belong to an operation"
            # A new edit after an undo starts a new branch; the undone one is gone, as everywhere else.
            self._db.execute("DELETE FROM operations WHERE undone = 1")
            cursor = self._db.execute("INSERT INTO operations (name) VALUES (?)", (self._name,))
            self._operation_id = int(cursor.lastrowid or 0)
            self._db.execute(
                "DELETE FROM operations WHERE id NOT IN (SELECT id FROM (SELECT id, SUM(bytes) OVER (ORDER BY id DESC) AS kept "
                "FROM operations ORDER BY id DESC LIMIT ?) WHERE kept <= ?)",
                (KEEP_OPERATIONS, KEEP_BYTES),
            )
        return self._operation_id

    def _step(self, going: int | None, *, forward: bool) -> str | None:
        with self._db.transaction("an edit was undone or redone"):
            operation = self._next(going, forward=forward)
            if operation is None:
                return None
            order = "ASC" if forward else "DESC"
            changes = self._db.execute(
                f"SELECT table_name, before, after FROM changes WHERE operation_id = ? ORDER BY id {order}",
                (operation["id"],),
            )
            for change in changes:
                left, wanted = _load(change["before"]), _load(change["after"])
                if not forward:
                    left, wanted = wanted, left
                table = change["table_name"]
                key = {name: (left or wanted or {})[name] for name in _KEYS[table]}
                if self._read(table, key) == left:
                    self._write(table, key, wanted)
                elif table == "masks":
                    self._runs.correct(operation["id"], left, wanted, key)
            if operation["run_id"] is not None:
                self._runs.exchange(operation["id"], forward=forward)
            self._db.execute("UPDATE operations SET undone = ? WHERE id = ?", (0 if forward else 1, operation["id"]))
            return str(operation["name"])

    def _read(self, table: str, key: Row) -> Row | None:
        where = " AND ".join(f"{name} = ?" for name in key)
        row = self._db.row(f"SELECT * FROM {table} WHERE {where}", tuple(key.values()))
        return dict(row) if row else None

    def _write(self, table: str, key: Row, row: Row | None) -> None:
        where = " AND ".join(f"{name} = ?" for name in key)
        self._db.execute(
            f"DELETE FROM {table} WHERE {where}" if row is None else _upsert(table, row), tuple((row or key).values())
        )


def _upsert(table: str, row: Row) -> str:
    # ON CONFLICT instead of OR REPLACE: the latter deletes first, and the deletion would cascade to an object's masks.
    keys = ", ".join(_KEYS[table])
    sets = ", ".join(f"{name} = excluded.{name}" for name in row)
    places = ", ".join("?" * len(row))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) ON CONFLICT ({keys}) DO UPDATE SET {sets}"


def _dump(row: Row | None) -> str | None:
    if row is None:
        return None
    return json.dumps(
        {name: value.decode("ascii") if isinstance(value, bytes) else value for name, value in row.items()}
    )


def _load(text: str | None) -> Row | None:
    if text is None:
        return None
    row: Row = json.loads(text)
    if isinstance(row.get("counts"), str):
        row["counts"] = row["counts"].encode("ascii")  # the one blob column; COCO run lengths are ASCII
    return row
