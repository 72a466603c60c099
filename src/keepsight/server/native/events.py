"""What happens at a desk, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from keepsight.annotation import Change, Desk, Event, FrameDone, Job, People
from keepsight.server.native.answers import job_item, mask_items
from keepsight.server.native.shared import Here, Reach
from keepsight.server.reception import Reception

router = APIRouter(prefix="/api/videos/{video}", tags=["events"])

BEAT_S = 10.0
_MOST_WAITING = 5000  # events that a slow client may be behind; then it is cut off, and catches up when it comes back


@router.get("/events", response_class=StreamingResponse)
async def events(
    reach: Reach,
    here: Here,
    since: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    client: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(max_length=32)] = None,
) -> StreamingResponse:
    """``frame``, ``job``, ``changed`` and ``people`` as they happen, after what has happened since a revision.

    A client that was cut off says with ``Last-Event-ID`` (browsers do) where it was.
    """
    seen = int(last_event_id) if last_event_id is not None and last_event_id.isdigit() else since
    stream = _stream(here, reach, seen, client)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _stream(here: Reception, desk: Desk, since: int | None, client: str | None) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[Event | None] = asyncio.Queue()
    people = here.people.setdefault(desk.key, Counter())
    who = client or str(id(waiting))
    people[who] += 1

    def listen(event: Event) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, event)

    leave = desk.subscribe(listen, since)
    closing = asyncio.create_task(_end(here, waiting))
    try:
        yield b"retry: 1000\n\n"
        if desk.job is not None:
            yield _pack(Event("job", desk.revision, desk.job), people)
        while waiting.qsize() <= _MOST_WAITING:
            try:
                event = await asyncio.wait_for(waiting.get(), BEAT_S)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if event is None:
                return
            yield _pack(event, people)
    finally:
        closing.cancel()
        people[who] -= 1
        if people[who] <= 0:
            del people[who]
        if not people:
            here.people.pop(desk.key, None)
        leave()


async def _end(here: Reception, waiting: asyncio.Queue[Event | None]) -> None:
    await here.closing.wait()
    waiting.put_nowait(None)


def _pack(event: Event, people: Counter[str]) -> bytes:
    data = json.dumps(_values(event.what, people), separators=(",", ":"))
    return f"id: {event.revision}\nevent: {event.kind}\ndata: {data}\n\n".encode()


def _values(what: Any, people: Counter[str]) -> Any:
    match what:
        case FrameDone():
            return {"frame": what.frame, "objects": mask_items(what.objects), "revision": what.revision}
        case Change():
            return {"revision": what.revision, "what": what.what, "frames": what.frames, "by": what.by}
        case Job():
            return job_item(what)
        case People():
            return {"count": len(people)}
    raise AssertionError(what)
