"""Undo: a log of row changes in the project file itself, so that it outlives the process.

Every edit goes through :meth:`History.change`, which notes the row before and after. Undoing writes the rows before, redoing
the rows after. A row that something else has rewritten since (a tracker that came by) is newer and stays as it is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from keepsight.store.database import Database

Row: TypeAlias = dict[str, Any]

KEEP_OPERATIONS = 200
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

    def change(self, table: str, key: Row, row: Row | None) -> None:
        """Writes (or, with ``None``, deletes) one row inside an open :meth:`operation` and logs how to go back."""
        before = self._read(table, key)
        self._write(table, key, row)
        after = self._read(table, key)
        if before == after:
            return
        self._db.execute(
            "INSERT INTO changes (operation_id, table_name, before, after) VALUES (?, ?, ?, ?)",
            (self._open_operation(), table, _dump(before), _dump(after)),
        )

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
        operation = self._open_operation()
        self._db.execute_many(
            "INSERT INTO changes (operation_id, table_name, before, after) VALUES (?, ?, ?, ?)",
            [(operation, table, _dump(row), None) for row in gone]
            + [(operation, table, None, _dump(row)) for row in come],
        )

    def undo(self) -> str | None:
        """Takes back the latest operation; its name, ``None`` when there is nothing to undo."""
        return self._step("undone = 0 ORDER BY id DESC", forward=False)

    def redo(self) -> str | None:
        """Does the last undone operation again; its name, ``None`` when there is nothing to redo."""
        return self._step("undone = 1 ORDER BY id ASC", forward=True)

    def names(self) -> tuple[str | None, str | None]:
        """What :meth:`undo` and :meth:`redo` would do next."""
        undo = self._db.row("SELECT name FROM operations WHERE undone = 0 ORDER BY id DESC LIMIT 1")
        redo = self._db.row("SELECT name FROM operations WHERE undone = 1 ORDER BY id ASC LIMIT 1")
        return (undo["name"] if undo else None, redo["name"] if redo else None)

    def _open_operation(self) -> int:
        if self._operation_id is None:
            assert self._name is not None, "changes belong to an operation"
            # A new edit after an undo starts a new branch; the undone one is gone, as everywhere else.
            self._db.execute("DELETE FROM operations WHERE undone = 1")
            cursor = self._db.execute("INSERT INTO operations (name) VALUES (?)", (self._name,))
            self._operation_id = int(cursor.lastrowid or 0)
            self._db.execute(
                "DELETE FROM operations WHERE id NOT IN (SELECT id FROM operations ORDER BY id DESC LIMIT ?)",
                (KEEP_OPERATIONS,),
            )
        return self._operation_id

    def _step(self, which: str, *, forward: bool) -> str | None:
        with self._db.transaction("an edit was undone or redone"):
            operation = self._db.row(f"SELECT id, name FROM operations WHERE {which} LIMIT 1")
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
