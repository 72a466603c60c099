"""Server-sent events that end with the client: when it goes, what makes them is cancelled at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keepsight.core import KeepsightError
from keepsight.server.anylabeling.remote import Range
from keepsight.server.anylabeling.shapes import compact
from keepsight.server.errors import describe

TICK_S = 0.2
"""The client looks for its Cancel button when an event comes."""


class EventStream(Response):
    """Sends what a generator yields; closes it when the client has gone."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        self.status_code, self.background, self.body = 200, None, b""
        self._lines = lines
        self.init_headers({"Cache-Control": "no-store"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_until_gone(receive))
        sending = asyncio.create_task(self._send_all(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending
            await self._lines.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def events(asked: Range) -> AsyncGenerator[bytes, None]:
    """A range's progress from the first moment on, and in the end everything at once, as the client wants it."""
    start = asked.low + asked.first
    yield _line({"type": "started", "total_frames": asked.total, "start_frame_index": start})
    work = asyncio.create_task(_through(asked))
    try:
        while True:
            done, _ = await asyncio.wait({work}, timeout=TICK_S)
            asked.touch()
            yield _line(
                {
                    "type": "progress",
                    "current_frame": asked.done,
                    "total_frames": asked.total,
                    "progress": round(asked.done / asked.total, 4),
                }
            )
            if done:
                break
        try:
            yield _line({"type": "completed", "results": work.result()})
        except KeepsightError as error:
            yield _line({"type": "error", "message": describe(error)[2]})
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, KeepsightError):
            await work


async def _through(asked: Range) -> dict[str, Any]:
    await asked.work()
    return await asked.results()


def _line(event: dict[str, Any]) -> bytes:
    return b"data: " + compact(event) + b"\n\n"
