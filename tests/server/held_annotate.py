"""`keepsight annotate` whose jobs wait where a test says, so that what a person does in the middle of one never comes too late.

The first argument is a file that says how many frames a job may have done before it waits; without the file it never does.
A job that waits lets clicks through, and is paused and cancelled as ever.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from keepsight.annotation.jobs import JobBook
from keepsight.annotation.progress import Progress
from keepsight.cli.main import main
from keepsight.store import Project

LIMIT = Path(sys.argv.pop(1))
_piece = JobBook._piece


def may_do(frames: int) -> bool:
    """Whether a job that has done so many frames may do one more."""
    try:
        return frames < int(LIMIT.read_text())
    except FileNotFoundError:
        return True


def piece(book: JobBook, project: Project, progress: Progress) -> None:
    if book._wanted is None and not may_do(progress.done):
        time.sleep(0.005)
        book._next_piece(progress)
    else:
        _piece(book, project, progress)


JobBook._piece = piece
main()
