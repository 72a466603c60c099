"""Runs (one pass of a tracker over a video) and the checkpoints from which a run can go on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from datetime import UTC, datetime
from typing import Any

import psutil

from keepsight.core import InputError
from keepsight.store.database import Database
from keepsight.store.records import StoredRun

_KEEP_CHECKPOINTS = 2


class Runs:
    """The tables ``runs`` and ``checkpoints``; :class:`Project` documents the methods."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def start(self, video_id: int, settings: dict[str, Any]) -> int:
        with self._db.transaction("the run was started"):
            cursor = self._db.execute(
                "INSERT INTO runs (video_id, settings, state, owner, started_at) VALUES (?, ?, 'running', ?, ?)",
                (video_id, _json(settings), this_process(), utc_now()),
            )
            return int(cursor.lastrowid or 0)

    def resume(self, run_id: int) -> None:
        with self._db.transaction("the run was resumed"):
            self._db.execute(
                "UPDATE runs SET state = 'running', note = '', finished_at = NULL, owner = ? WHERE id = ?",
                (this_process(), run_id),
            )

    def finish(self, run_id: int, state: str, note: str, facts: dict[str, Any]) -> None:
        if state not in ("finished", "cancelled", "failed"):
            raise InputError(f"A run ends as finished, cancelled or failed, not {state!r}.")
        with self._db.transaction("the run was finished"):
            self._db.execute(
                "UPDATE runs SET state = ?, note = ?, facts = ?, finished_at = ? WHERE id = ?",
                (state, note, _json(facts), utc_now(), run_id),
            )
            if state == "finished":
                self._db.execute("DELETE FROM checkpoints WHERE run_id = ?", (run_id,))
        if state == "finished":
            self._db.give_space_back()

    def note(self, run_id: int, facts: dict[str, Any]) -> None:
        with self._db.transaction("the progress of the run was stored"):
            self._db.execute("UPDATE runs SET facts = ? WHERE id = ?", (_json(facts), run_id))

    def of_video(self, video_id: int) -> list[StoredRun]:
        runs = []
        for row in self._db.rows("SELECT * FROM runs WHERE video_id = ? ORDER BY id", (video_id,)):
            values = dict(row)
            owner = values.pop("owner")
            if values["state"] == "running" and not is_alive(owner):
                values["state"] = "interrupted"
            values["settings"], values["facts"] = json.loads(values["settings"]), json.loads(values["facts"])
            runs.append(StoredRun(**values))
        return runs

    def save_checkpoint(self, run_id: int, frame: int, state: bytes) -> None:
        with self._db.transaction(f"the checkpoint of frame {frame} was written"):
            self._db.execute("INSERT INTO checkpoints (run_id, frame, state) VALUES (?, ?, ?)", (run_id, frame, state))
            self._db.execute(
                "DELETE FROM checkpoints WHERE run_id = ? AND id NOT IN "
                "(SELECT id FROM checkpoints WHERE run_id = ? ORDER BY id DESC LIMIT ?)",
                (run_id, run_id, _KEEP_CHECKPOINTS),
            )

    def latest_checkpoint(self, run_id: int) -> tuple[int, bytes] | None:
        row = self._db.row("SELECT frame, state FROM checkpoints WHERE run_id = ? ORDER BY id DESC LIMIT 1", (run_id,))
        return (row["frame"], bytes(row["state"])) if row else None


def utc_now() -> str:
    """The time as the file keeps it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _json(values: dict[str, Any]) -> str:
    try:
        return json.dumps(values, default=str, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"Run settings and facts must be plain JSON values: {error}.") from error


def this_process() -> str:
    # The start time tells a process from a later one that was given the same number.
    return f"{platform.node()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def is_of_this_machine(owner: str) -> bool:
    return owner.rsplit("/", 2)[0] == platform.node()


def is_alive(owner: str) -> bool:
    _, pid, started = owner.rsplit("/", 2)
    if not is_of_this_machine(owner):
        return False  # the file was copied here; its run cannot be
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(int(pid))
        return f"{process.create_time():.2f}" == started and process.status() != psutil.STATUS_ZOMBIE
    return False
