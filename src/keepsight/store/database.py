"""One SQLite connection: opening, transactions, and errors that a person can act on."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keepsight.core import StoreError
from keepsight.store.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION, TABLES

_MAGIC = b"SQLite format 3\0"


class Database:
    """A connection in WAL mode, with nested transactions and every ``sqlite3`` error turned into :class:`StoreError`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
        self.connection = connection
        self.path = path
        self.read_only = read_only
        self._depth = 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs one statement outside or inside a transaction."""
        with self._clear_errors("the project was read"):
            return self.connection.execute(sql, values)

    def execute_many(self, sql: str, values: Iterable[Sequence[Any] | Mapping[str, Any]]) -> None:
        """Runs one statement for many rows inside a transaction."""
        with self._clear_errors("the project was written"):
            self.connection.executemany(sql, values)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a statement whose result is known to be small."""
        with self._clear_errors("the project was read"):
            return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row, if any."""
        with self._clear_errors("the project was read"):
            row: sqlite3.Row | None = self.connection.execute(sql, values).fetchone()
            return row

    def give_space_back(self) -> None:
        """Shrinks the file by what was deleted."""
        with self._clear_errors("the project was written"):
            # The statement frees one page a step, and an ordinary query takes a single step.
            self.connection.executescript("PRAGMA incremental_vacuum")

    @contextlib.contextmanager
    def transaction(self, doing: str) -> Iterator[None]:
        """All of the block or none of it. Blocks nest: an inner one that fails takes back only its own part.

        Args:
            doing: what is at stake, for the error line ("frame 12 was written").
        """
        if self.read_only:
            raise StoreError(f"{self.path} is open for reading only; copy it to a folder that you may write to.")
        begin, commit, rollback = (
            ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
            if self._depth == 0
            else ("SAVEPOINT inner", "RELEASE inner", "ROLLBACK TO inner")
        )
        with self._clear_errors(doing):
            # IMMEDIATE takes the write lock at once: a second writer then waits here, for the busy time-out, instead of
            # failing half way when a reader turns writer.
            self.connection.execute(begin)
            self._depth += 1
            try:
                yield
                self.connection.execute(commit)
            except BaseException:
                # A full disk makes SQLite roll back by itself; a second ROLLBACK would hide the first error.
                if self.connection.in_transaction:
                    self.connection.execute(rollback)
                    if self._depth > 1:
                        self.connection.execute("RELEASE inner")
                raise
            finally:
                self._depth -= 1

    def close(self) -> None:
        """Folds the write-ahead log into the file and lets go of it; a second call does nothing."""
        with self._clear_errors("the project was closed"):
            self.connection.close()

    @contextlib.contextmanager
    def _clear_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(explain(error, self.path, doing)) from error


def explain(error: sqlite3.Error, path: Path, doing: str) -> str:
    """One line for a person: what happened, to which file, what to do next."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    text = str(error)
    if primary == sqlite3.SQLITE_FULL:
        return f"The disk is full: {path} could not grow while {doing}. All earlier frames are safe; free some space and go on."
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"Another process is writing to {path}, so it was locked while {doing}. Wait for that process or stop it."
        )
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return f"{path} cannot be written (read-only file or folder); copy it to a folder that you may write to."
    if primary == sqlite3.SQLITE_CANTOPEN:
        return f"{path} cannot be opened or created; check that its folder exists and that you may write to it."
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"{path} is damaged ({text}); restore a copy, or try `sqlite3 FILE .recover`."
    if primary == sqlite3.SQLITE_IOERR:
        return f"The disk failed under {path} while {doing} ({text}). Check the disk and its free space."
    if isinstance(error, sqlite3.ProgrammingError) and "thread" in text:
        return f"{path} was opened in another thread; open the project again in the thread that uses it."
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in text:
        return f"{path} is closed; open the project again."
    return f"{path} refused while {doing}: {text}."


def create_file(path: Path, *, overwrite: bool) -> None:
    """Writes an empty project under a temporary name and moves it into place, so that a half-made project never exists.

    Raises:
        StoreError: the file exists (without ``overwrite``), is no project of ours (with it), or cannot be written.
    """
    if path.exists() or path.is_symlink():
        if not overwrite:
            raise StoreError(f"{path} already exists; open it, choose another name, or ask to overwrite it.")
        if not path.is_file() or (path.stat().st_size and not is_project(path)):
            raise StoreError(f"{path} is not a Keepsight project, so it is not overwritten; choose another name.")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            # Must come before the first table; lets finished runs give the room of their checkpoints back.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        if path.exists():
            path.unlink()
        for suffix in ("-wal", "-shm"):  # a log left by an older file of this name would be replayed into the new one
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.replace(temporary, path)
    except sqlite3.Error as error:
        raise StoreError(explain(error, path, "the project was created")) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be created: {error.strerror or error}.") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def is_project(path: Path) -> bool:
    """True when the file's header carries our application id; reads 100 bytes and changes nothing."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    return header[:16] == _MAGIC and int.from_bytes(header[68:72], "big") == APPLICATION_ID


def open_file(path: Path, *, read_only: bool, busy_timeout_s: float) -> Database:
    """Connects to an existing project; falls back to reading when the file or its folder cannot be written.

    Raises:
        StoreError: missing, not ours, of a newer version, damaged.
    """
    if not path.is_file():
        raise StoreError(f"{path} does not exist." if not path.exists() else f"{path} is a folder, not a project file.")
    if not is_project(path):
        raise StoreError(f"{path} is not a Keepsight project.")
    writable_folder = os.access(path.parent, os.W_OK)
    read_only = read_only or not (writable_folder and os.access(path, os.W_OK))
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
    if read_only and not writable_folder and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"  # WAL needs a file beside the project; where none can be made, nobody can write either
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_timeout_s)
    except sqlite3.Error as error:
        raise StoreError(explain(error, path, "it was opened")) from error
    database = Database(connection, path, read_only=read_only)
    try:
        connection.row_factory = sqlite3.Row
        database.execute("PRAGMA foreign_keys = ON")
        version = int(database.rows("PRAGMA user_version")[0][0])
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a newer Keepsight (file version {version}, this one reads up to {SCHEMA_VERSION}); "
                "upgrade Keepsight."
            )
        if not read_only:
            database.execute("PRAGMA journal_mode = WAL")
            # In WAL mode NORMAL syncs at checkpoints only: a killed process loses nothing (the pages are with the kernel),
            # a power cut may lose the last frames but never damages the file. FULL would wait for the disk every frame.
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA journal_size_limit = 67108864")
            _migrate(database, version)
        database.rows("SELECT id FROM videos LIMIT 1")  # a damaged file speaks up here, not in the middle of a run
    except BaseException:
        connection.close()
        raise
    return database


def _migrate(database: Database, version: int) -> None:
    for old in range(version, SCHEMA_VERSION):
        with database.transaction("it was brought to the current file version"):
            for statement in MIGRATIONS[old].split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {old + 1}")
