"""Turns what can go wrong around us (disk, memory, permissions) into one line for the person."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from keepsight.core import InputError, StoreError
from keepsight.pipeline.job import SegmentJob

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def as_keepsight_errors(job: SegmentJob) -> Iterator[None]:
    """Inside, a full disk, a refused write or exhausted memory becomes a KeepsightError; defects of ours stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreError(
                f"The disk is full: {error.filename or job.folder} could not be written. Every frame so far is in "
                f"{job.project_path}; free some space and go on with: {job.resume_line()}"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(f"Cannot write {error.filename or job.folder}: {error.strerror}.") from error
        raise
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise InputError(
                "Not enough memory for this model and number of objects; use a smaller --model, follow fewer objects, "
                "or another --device."
            ) from error
        raise
