"""The manifest: what is to be done, who is doing it, and what came of it.

One SQLite file, written by the process that conducts the batch and by no other; anyone may read it meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from keepsight.core import InputError, StoreError
from keepsight.store.runs import is_alive, is_of_this_machine, this_process

#: How long a worker of another machine, or a conductor there, is believed to live without a word. Turning it up makes going
#: on after the loss of the conductor's machine wait longer; down, a pause of the network looks like a loss.
LEASE_S = 60.0
STAGES = ("plan", "clip", "segment", "crop", "link")
_WHOLE = STAGES.index("link")
#: To be raised with every change of the tables or of the stages.
_FORM = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS units (
    id INTEGER PRIMARY KEY,
    video TEXT NOT NULL, source TEXT NOT NULL, clip INTEGER NOT NULL, stage INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    worker TEXT NOT NULL DEFAULT '',
    lease REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0,
    settings TEXT NOT NULL DEFAULT '{}', results TEXT NOT NULL DEFAULT '{}', outputs TEXT NOT NULL DEFAULT '{}',
    completed INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (video, clip, stage)
);
CREATE INDEX IF NOT EXISTS by_state ON units (state, stage);
CREATE INDEX IF NOT EXISTS by_change ON units (changed);
"""
# Late stages first: what is begun is finished before more is begun, so that little lies about half done.
# A clip's unit waits for those before it; the one that puts a video together waits until nothing more can come of any of them.
_CLAIM = f"""
SELECT id FROM units AS u WHERE state = 'ready' AND stage IN ({{}}) AND NOT EXISTS (
    SELECT 1 FROM units AS e WHERE e.video = u.video AND e.stage < u.stage AND (
        u.stage < {_WHOLE} AND e.clip IN (0, u.clip) AND e.state != 'done'
        OR u.stage = {_WHOLE} AND (e.state = 'running' OR e.state = 'ready' AND NOT EXISTS (
            SELECT 1 FROM units AS f
            WHERE f.video = e.video AND f.clip IN (0, e.clip) AND f.stage < e.stage AND f.state = 'failed'
        ))
    )
) ORDER BY stage DESC, id LIMIT 1
"""
_AGAIN = (
    f"UPDATE units SET state = 'ready', attempts = 0, error = '', {{}} WHERE video = ? AND stage = {_WHOLE} AND stage > ? "
    "AND state IN ('done', 'failed')"
)
_CHANGED = "changed = (SELECT MAX(changed) + 1 FROM units)"


@dataclass(frozen=True)
class Unit:
    """One step of one clip (of a whole video where ``clip`` is 0).

    Attributes:
        video: name of the video in the batch, fit for a folder.
        source: the video itself.
        attempts: how often it was begun since it was last asked for.
        owner: the process that does it, as :func:`keepsight.store.runs.this_process` calls it.
        settings: what the unit before left for it.
        results: what is worth telling about what it did.
        outputs: SHA-256 by path.
        completed: how often it was done to the end; more than once only where its outputs were removed.
        changed: rises with every change of any unit.
        worker: what people call its owner: its device, on several machines with the machine.
        lease: until when (seconds since 1970) its owner is believed to live, where nobody can look.
    """

    id: int
    video: str
    source: str
    clip: int
    stage: str
    state: str
    attempts: int
    owner: str | None
    error: str
    seconds: float
    settings: dict[str, Any]
    results: dict[str, Any]
    outputs: dict[str, str]
    completed: int
    changed: int
    worker: str = ""
    lease: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.video}_{self.clip:04d}" if self.clip else self.video


class Manifest:
    """Opens the manifest, making it where there is none.

    Raises:
        StoreError: it cannot be read or written.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            raise InputError(f"There is no batch in {path.parent}; begin one with `keepsight pipeline run`.")
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._make_tables()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The manifest {path} cannot be used: {error}.") from error

    def _make_tables(self) -> None:
        form = self._db.execute("PRAGMA user_version").fetchone()[0]
        if form != _FORM:
            if self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
                raise InputError(
                    f"{self.path} was written by another version of keepsight; choose another output_folder (--out)."
                )
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_FORM}; COMMIT;")

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"The manifest {self.path} cannot be written: {error}.") from error

    # ---- the batch ----

    def fact(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_fact(self, name: str, value: Any) -> None:
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def take_charge(self) -> None:
        """Makes this process the one that conducts the batch, for :data:`LEASE_S`; to be called again before that is over.

        Raises:
            StoreError: another one is at it.
        """
        with self._write() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'conductor'").fetchone()
            if row is not None:
                conductor = json.loads(row[0])
                if conductor["process"] != this_process() and _lives(conductor["process"], conductor["lease"]):
                    raise StoreError(
                        f"The batch in {self.path.parent} is being worked on by another process "
                        f"({conductor['process']}); wait for it."
                    )
            now = {"process": this_process(), "lease": time.time() + LEASE_S}
            db.execute("INSERT OR REPLACE INTO facts VALUES ('conductor', ?)", (json.dumps(now),))

    def leave(self) -> None:
        """Says that nobody conducts the batch any more."""
        with self._write() as db:
            db.execute("DELETE FROM facts WHERE name = 'conductor'")

    def add_videos(self, videos: Mapping[str, str]) -> None:
        """Adds videos (source by name) that are not there."""
        with self._write() as db:
            db.executemany(
                f"INSERT OR IGNORE INTO units (video, source, clip, stage, changed) VALUES (?, ?, 0, 0, {_NEXT})",
                list(videos.items()),
            )

    # ---- units ----

    def units(self, since: int = -1) -> list[Unit]:
        """Units that changed after ``since``, in the order of their changes."""
        rows = self._db.execute("SELECT * FROM units WHERE changed > ? ORDER BY changed", (since,))
        return [_unit(row) for row in rows]

    def claim(self, stages: Sequence[str], owner: str, worker: str = "") -> Unit | None:
        """Takes a unit that can be done now, for a process that does it.

        Args:
            owner, worker: see :class:`Unit`.
        """
        marks = ",".join(str(STAGES.index(stage)) for stage in stages)
        with self._write() as db:
            row = db.execute(_CLAIM.format(marks)).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE units SET state = 'running', owner = ?, worker = ?, lease = ?, attempts = attempts + 1, "
                f"{_CHANGED} WHERE id = ?",
                (owner, worker, time.time() + LEASE_S, row["id"]),
            )
            return _unit(db.execute("SELECT * FROM units WHERE id = ?", (row["id"],)).fetchone())

    def renew(self, owners: Sequence[str]) -> None:
        """Lengthens the leases of processes that have been heard."""
        with self._write() as db:
            db.executemany(
                "UPDATE units SET lease = ? WHERE state = 'running' AND owner = ?",
                [(time.time() + LEASE_S, owner) for owner in owners],
            )

    def finish(
        self,
        unit: Unit,
        seconds: float,
        outputs: Mapping[str, str],
        results: Mapping[str, Any],
        following: Sequence[tuple[int, Mapping[str, Any]]],
    ) -> bool:
        """Ends a unit and makes those that follow from it, together.

        Args:
            following: (clip, settings) of units of the next stage; clip 0: of the one that puts the video together. Where that
                was done and these outputs are others than before, it is to be done again.

        Returns:
            ``False`` where the unit is no longer its owner's, or was begun again since; then nothing is changed.
        """
        with self._write() as db:
            done = db.execute(
                "UPDATE units SET state = 'done', owner = NULL, error = '', seconds = ?, outputs = ?, results = ?, "
                f"completed = completed + 1, {_CHANGED} {_HELD}",
                (seconds, json.dumps(outputs), json.dumps(results), *_lease_of(unit)),
            )
            if done.rowcount != 1:
                return False
            db.executemany(
                f"INSERT OR IGNORE INTO units (video, source, clip, stage, settings, changed) VALUES (?, ?, ?, ?, ?, {_NEXT})",
                [
                    (
                        *(unit.video, unit.source, clip),
                        STAGES.index(unit.stage) + 1 if clip else _WHOLE,
                        json.dumps(settings),
                    )
                    for clip, settings in following
                ],
            )
            if dict(outputs) != unit.outputs:
                db.execute(_AGAIN.format(_CHANGED), (unit.video, STAGES.index(unit.stage)))
            return True

    def fail(self, unit: Unit, error: str, seconds: float) -> None:
        """Ends a unit that cannot be done; what it once left counts no more."""
        with self._write() as db:
            failed = db.execute(
                f"UPDATE units SET state = 'failed', owner = NULL, error = ?, seconds = ?, {_CHANGED} {_HELD}",
                (error, seconds, *_lease_of(unit)),
            )
            if failed.rowcount:
                self._forget_outputs(unit)

    def _forget_outputs(self, unit: Unit) -> None:
        """Of a unit that was done once and has failed now; what was put together from them is to be put together again."""
        if unit.outputs:
            self._db.execute("UPDATE units SET outputs = '{}' WHERE id = ?", (unit.id,))
            self._db.execute(_AGAIN.format(_CHANGED), (unit.video, STAGES.index(unit.stage)))

    def give_back(self, unit: Unit, attempts: int | None, why: str = "its process died") -> None:
        """Makes a unit that was begun ready for another try.

        Args:
            attempts: a unit that was begun so often fails; ``None`` does not count this time (it was no fault of the unit's).
        """
        lost = attempts is not None and unit.attempts >= attempts
        with self._write() as db:
            given = db.execute(
                f"UPDATE units SET state = ?, owner = NULL, attempts = ?, error = ?, {_CHANGED} {_HELD}",
                (
                    "failed" if lost else "ready",
                    unit.attempts - (attempts is None),
                    f"{why}; tried {unit.attempts} times" if lost else "",
                    *_lease_of(unit),
                ),
            )
            if lost and given.rowcount:
                self._forget_outputs(unit)

    def recover(self, crew: Collection[str] = ()) -> int:
        """Gives back what processes held that live no more, as left by a conductor that was killed.

        Args:
            crew: processes that somebody looks after.

        Returns:
            How many units are still held by processes outside ``crew``.
        """
        others = [unit for unit in self._running() if unit.owner not in crew]
        gone = [unit for unit in others if unit.owner is None or not _lives(unit.owner, unit.lease)]
        for unit in gone:
            self.give_back(unit, None)
        return len(others) - len(gone)

    def _running(self) -> list[Unit]:
        return [_unit(row) for row in self._db.execute("SELECT * FROM units WHERE state = 'running'")]

    def ask_again(self, ids: Sequence[int]) -> None:
        """Makes units ready once more."""
        with self._write() as db:
            db.executemany(
                f"UPDATE units SET state = 'ready', attempts = 0, error = '', {_CHANGED} WHERE id = ?",
                [(i,) for i in ids],
            )

    def over(self) -> bool:
        """Whether nothing is being done and nothing can be."""
        everything = ",".join(str(number) for number in range(len(STAGES)))
        busy = self._db.execute("SELECT 1 FROM units WHERE state = 'running' LIMIT 1").fetchone()
        return busy is None and self._db.execute(_CLAIM.format(everything)).fetchone() is None


def _lives(process: str, lease: float) -> bool:
    """Whether a process lives; one of another machine does until its lease is over."""
    return is_alive(process) if is_of_this_machine(process) else time.time() < lease


def _lease_of(unit: Unit) -> tuple[int, str | None, int]:
    return unit.id, unit.owner, unit.attempts


_HELD = "WHERE id = ? AND owner = ? AND attempts = ? AND state = 'running'"
_NEXT = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM units)"


def _unit(row: sqlite3.Row) -> Unit:
    values = dict(row)
    values["stage"] = STAGES[values["stage"]]
    for name in ("settings", "results", "outputs"):
        values[name] = json.loads(values[name])
    return Unit(**values)
