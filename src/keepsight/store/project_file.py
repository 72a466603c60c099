"""The file of a project: made, opened, closed, and written to in transactions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from keepsight.core import StoreError
from keepsight.store.database import Database, create_file, open_file
from keepsight.store.records import StoredRun
from keepsight.store.runs import Runs
from keepsight.store.videos import Videos


class ProjectFile:
    """What a :class:`~keepsight.store.Project` is as a file, whatever is in it."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @classmethod
    def create(cls, path: str | os.PathLike[str], overwrite: bool = False) -> Self:
        """Makes an empty project and opens it.

        Args:
            overwrite: replaces an existing *project*; a file of any other kind, or one that a live run is writing, is never
                replaced.
        """
        file = Path(path)
        if overwrite and file.is_file() and file.stat().st_size:
            busy: list[StoredRun] = []
            with contextlib.suppress(StoreError), cls.open(file, read_only=True) as old:
                busy = _running(old._db)
            if busy:
                raise StoreError(f"{file} is in use by a run that started at {busy[0].started_at}; stop it first.")
        create_file(file, overwrite=overwrite)
        return cls.open(file)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False, busy_timeout_s: float = 10.0) -> Self:
        """Opens an existing project, for reading only where the file or its folder cannot be written.

        Args:
            busy_timeout_s: how long a write waits for another process's write.
        """
        return cls(open_file(Path(path), read_only=read_only, busy_timeout_s=busy_timeout_s))

    @property
    def path(self) -> Path:
        return self._db.path

    @property
    def read_only(self) -> bool:
        return self._db.read_only

    def close(self) -> None:
        """Folds the write-ahead log into the file. Closing twice is allowed."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes as one: all of the block is stored or none of it (a frame together with its checkpoint, say)."""
        with self._db.transaction("a group of writes was stored"):
            yield


def _running(database: Database) -> list[StoredRun]:
    videos, runs = Videos(database).all(), Runs(database)
    return [run for video in videos for run in runs.of_video(video.id) if run.state == "running"]
