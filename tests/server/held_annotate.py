"""`keepsight annotate` whose jobs wait where a test says, so that what a person does in the middle of one never comes too late.

A job that waits lets clicks through, and is paused and cancelled as ever.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from keepsight.annotation.jobs import JobBook
from keepsight.annotation.progress import Progress
from keepsight.cli.main import run
from keepsight.store import Project

_piece = JobBook._piece


def held_annotate(limit: Path, arguments: list[str], said: Connection) -> None:
    """Runs the command; for a process of its own.

    Args:
        limit: a file that says how many frames a job may have done before it waits; without the file it never does.
        arguments: what follows ``keepsight annotate``.
        said: where what it prints goes.
    """
    for number in (1, 2):
        os.dup2(said.fileno(), number)
    said.close()
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, encoding="utf-8")

    def may_do(frames: int) -> bool:
        try:
            return frames < int(limit.read_text())
        except FileNotFoundError:
            return True

    def piece(book: JobBook, project: Project, progress: Progress) -> None:
        if book._wanted is None and not may_do(progress.done):
            time.sleep(0.005)
            book._next_piece(progress)
        else:
            _piece(book, project, progress)

    JobBook._piece = piece
    sys.exit(run(["annotate", *arguments]))
