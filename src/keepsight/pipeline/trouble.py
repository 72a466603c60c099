"""Turns what can go wrong around us (disk, memory, permissions) into one line for the person."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from keepsight.core import MemoryExhausted, StoreError
from keepsight.pipeline.job import SegmentJob

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Of plain RuntimeErrors: torch's allocator on a CPU, Apple's GPU, libraries that allocate for themselves.
_EXHAUSTED = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "alloc_failed")


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
        if is_out_of_memory(error):
            raise MemoryExhausted(
                "Not enough memory for this model and number of objects; use a smaller --model, follow fewer objects, "
                "or another --device."
            ) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted: Python's own, a GPU's, or torch's about the memory of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _EXHAUSTED)
