"""Finds the desk that a request is about, and keeps to the limits while doing so."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from concurrent.futures import Future
from typing import TypeVar

from fastapi.concurrency import run_in_threadpool

from keepsight.annotation import Desk, Workshop
from keepsight.core import KeepsightError
from keepsight.server.catalog import Catalog, Entry
from keepsight.server.config import ServerConfig
from keepsight.server.errors import ApiError
from keepsight.store import Project
from keepsight.video import open_video

Result = TypeVar("Result")


async def soon(future: Future[Result]) -> Result:
    """What a desk promised. A client that goes away does not take back what is under way."""
    return await asyncio.shield(asyncio.wrap_future(future))


class Reception:
    """What all routes share.

    Attributes:
        config, catalog, workshop: as given.
        people: who watches which desk, and over how many connections each.
        closing: set when the server is being stopped; streams that would go on for ever end then.
    """

    def __init__(self, config: ServerConfig, catalog: Catalog, workshop: Workshop) -> None:
        self.config, self.catalog, self.workshop = config, catalog, workshop
        self.people: dict[str, Counter[str]] = {}
        self.closing = asyncio.Event()
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def desk(self, id: str) -> Desk:
        """The desk of a video, opened if it is not.

        Raises:
            ApiError: there is no such video, or it is larger than the limits allow.
        """
        desk = self.workshop.get(id)
        if desk is not None:
            return desk
        return await self.seat(await run_in_threadpool(self.catalog.entry, id))

    async def seat(self, entry: Entry) -> Desk:
        """The desk of an entry, opened if it is not."""
        async with self._opening[entry.id]:
            return self.workshop.get(entry.id) or await self._open(entry)

    async def _open(self, entry: Entry) -> Desk:
        video = await run_in_threadpool(open_video, entry.source)
        try:
            limits = self.config.limits
            if (video.frame_count or 0) > limits.frames or video.height * video.width > limits.pixels:
                raise ApiError(
                    413,
                    "too_large",
                    f"'{video.name}' has {video.frame_count} frames of {video.width}x{video.height} px; this server takes "
                    f"{limits.frames} frames of {limits.pixels} px. Cut it with `keepsight clip`, or raise `limits`.",
                )
        except BaseException:
            video.close()
            raise
        return await soon(self.workshop.open(entry.id, video, entry.project, entry.name))

    def line(self, entry: Entry) -> dict[str, object]:
        """A video that is not open, for a list: what its project says, nothing that would need decoding."""
        line: dict[str, object] = {"id": entry.id, "name": entry.name, "job": None, "objects": 0, "frames_done": 0}
        line |= dict.fromkeys(("width", "height", "fps", "frame_count"))
        if not entry.project.is_file():
            return line
        try:
            with Project.open(entry.project, read_only=True) as project:
                for video in project.videos()[:1]:
                    line |= {"width": video.width, "height": video.height, "fps": video.fps}
                    done = sum(stop - start for start, stop in project.done_ranges(video.id))
                    objects = len(project.objects(video.id))
                    line |= {"frame_count": video.frame_count, "objects": objects, "frames_done": done}
        except KeepsightError as error:
            line["note"] = str(error)
        return line
