"""Ranges that are tracked while nobody listens; the client that asked comes back and looks how far they are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from keepsight.core import KeepsightError
from keepsight.server.anylabeling.remote import Range
from keepsight.server.errors import ApiError, describe

_MOST = 200
_KEPT_S = 1800.0
_log = logging.getLogger(__name__)


@dataclass
class _Task:
    asked: Range
    work: asyncio.Task[None]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    used: float = field(default_factory=time.monotonic)

    @property
    def state(self) -> Literal["processing", "cancelled", "failed", "completed"]:
        if not self.work.done():
            return "processing"
        if self.work.cancelled():
            return "cancelled"
        return "failed" if self.work.exception() is not None else "completed"


class Tasks:
    """Tasks by id. Those at rest that nobody has asked about for long are forgotten, their masks are in the project.

    For the event loop's thread.
    """

    def __init__(self) -> None:
        self._all: dict[str, _Task] = {}

    def begin(self, asked: Range) -> str:
        """Begins to track a range; gives the task's id.

        Raises:
            ApiError: 503, too many are going.
        """
        now = time.monotonic()
        resting = [task for task in self._all.values() if task.work.done()]
        resting.sort(key=lambda task: task.used)
        spare = _MOST - len(self._all) - 1
        for number, task in enumerate(resting):
            if now - task.used > _KEPT_S or number < -spare:
                del self._all[task.id]
        if len(self._all) >= _MOST:
            raise ApiError(503, "busy", "Too many ranges are being tracked; try again later.")
        task = _Task(asked, asyncio.create_task(asked.work()))
        self._all[task.id] = task
        return task.id

    async def status(self, id: str) -> dict[str, Any]:
        """How far a task is, and what it found once it is through.

        Raises:
            ApiError: 404, there is none.
        """
        task = self._get(id)
        asked = task.asked
        asked.touch()
        values: dict[str, Any] = {
            "status": task.state,
            "progress": round(asked.done / asked.total, 4),
            "current_frame": asked.done,
            "total_frames": asked.total,
        }
        if task.state == "completed":
            values["results"] = await asked.results()
        if task.state == "failed":
            values["error"] = _line(task.work.exception())
        return values

    async def cancel(self, id: str) -> None:
        """Ends a task after the frame in hand; what was tracked stays."""
        await _ended(self._get(id).work)

    async def close(self) -> None:
        """Ends all of them."""
        for task in list(self._all.values()):
            await _ended(task.work)

    def _get(self, id: str) -> _Task:
        task = self._all.get(id)
        if task is None:
            raise ApiError(404, "TASK_NOT_FOUND", "There is no such task any more; ask for the range again.")
        task.used = time.monotonic()
        return task


async def _ended(work: asyncio.Task[None]) -> None:
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await work


def _line(error: BaseException | None) -> str:
    if isinstance(error, KeepsightError):
        return describe(error)[2]
    _log.error("a range could not be tracked", exc_info=error)
    return "A defect of Keepsight ended the task; please report it."
