"""Has a range of frames tracked, and only what is missing there; ends with whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from keepsight.annotation import Conflict, Desk, Event, Job, Timeline, TrackRequest
from keepsight.core import Direction
from keepsight.server.anylabeling.prompting import seen
from keepsight.server.errors import ApiError
from keepsight.server.reception import soon

_WAIT_S = 0.5
_ENDED = ("finished", "cancelled", "interrupted", "failed")


@dataclass(frozen=True)
class Leg:
    """Frames that objects are to be followed onto, from one on which they are known.

    Attributes:
        first, last: both inclusive; ``start`` is beside them or farther away.
    """

    start: int
    first: int
    last: int

    def request(self, objects: Collection[int]) -> TrackRequest:
        """The job that does it."""
        if self.start < self.first:
            return TrackRequest(self.start, Direction.FORWARD, stop=self.last + 1, objects=tuple(objects))
        return TrackRequest(self.start, Direction.BACKWARD, first=self.first, objects=tuple(objects))


def missing(
    timeline: Timeline, objects: Collection[int], low: int, high: int, since: Mapping[int, int] | None = None
) -> dict[Leg, list[int]]:
    """What has to be tracked so that all objects have a result on the frames from ``low`` to ``high``.

    Args:
        low, high: both inclusive.
        since: first frame on which an object may be, by its id; others may be on any.
    """
    since = since or {}
    legs: dict[Leg, list[int]] = {}
    for lane in timeline.lanes:
        if lane.object_id not in objects or not lane.present:
            continue
        known = _joined(seen(lane))
        for first, last in _gaps(known, max(low, since.get(lane.object_id, 0)), high):
            before = [stop - 1 for start, stop in known if start < first]
            after = [start for start, _ in known if start > last]
            # Forward from what is known, even from far; backward only where nothing was before.
            start = max(before) if before else min(after)
            legs.setdefault(Leg(start, first, last), []).append(lane.object_id)
    return dict(sorted(legs.items(), key=lambda item: (item[0].start > item[0].first, item[0].start)))


def _joined(ranges: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _gaps(known: Collection[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    gaps = []
    for start, stop in [*known, (high + 1, high + 1)]:
        if low < min(start, high + 1):
            gaps.append((low, min(start, high + 1) - 1))
        low = max(low, stop)
    return gaps


class Following:
    """Tracks what is missing in a range, one job after the other.

    Args:
        low, high: frames, both inclusive.

    Attributes:
        total, done: frames of the range, and those for which nothing is left to do.
    """

    def __init__(self, desk: Desk, low: int, high: int) -> None:
        self._desk, self._low, self._high = desk, low, high
        self.total, self.done = high - low + 1, 0
        self._tried: set[tuple[Leg, tuple[int, ...]]] = set()
        self._news = asyncio.Event()

    async def follow(self, objects: Collection[int], since: Mapping[int, int] | None = None) -> None:
        """Fills the range; returns when all is there that can be had.

        Args:
            since: see :func:`missing`.

        When this is cancelled, so is the job, after the frame in hand.

        Raises:
            ApiError: the job failed or was stopped by somebody else.
        """
        loop = asyncio.get_running_loop()

        def listen(_: Event) -> None:
            loop.call_soon_threadsafe(self._news.set)

        leave = self._desk.subscribe(listen)
        try:
            while await self._next(objects, since):
                pass
        finally:
            leave()

    async def _next(self, objects: Collection[int], since: Mapping[int, int] | None) -> bool:
        going = self._desk.job
        if going is not None:
            if going.state == "paused":
                raise ApiError(
                    409, "conflict", "A job on these frames is paused in the page; go on with it or cancel it."
                )
            await self._hear()
            return True
        legs = missing(await soon(self._desk.timeline()), objects, self._low, self._high, since)
        todo = [(leg, tuple(ids)) for leg, ids in legs.items() if (leg, tuple(ids)) not in self._tried]
        self._count([leg for leg, _ in todo], 0)
        if not todo:
            return False
        leg, ids = todo[0]
        starting = self._desk.track(leg.request(ids))
        try:
            job = await soon(starting)
        except Conflict:
            return True  # somebody was quicker
        except asyncio.CancelledError:
            starting.add_done_callback(self._take_back)
            raise
        self._tried.add((leg, ids))
        await self._through(job, [leg for leg, _ in todo])
        return True

    async def _through(self, job: Job, legs: list[Leg]) -> None:
        try:
            while job.state not in _ENDED:
                await self._hear()
                job = await soon(self._desk.get_job(job.id))
                self._count(legs, job.done)
                if job.state == "paused":
                    raise ApiError(409, "conflict", "Tracking was paused in the page; what was tracked is kept.")
        except asyncio.CancelledError:
            await soon(self._desk.cancel(job.id))
            raise
        if job.state != "finished":
            raise ApiError(409, "PROPAGATION_ERROR", job.message or "Tracking was stopped; what was tracked is kept.")

    def _take_back(self, started: Future[Job]) -> None:
        if not started.cancelled() and started.exception() is None:
            self._desk.cancel(started.result().id)

    async def _hear(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), _WAIT_S)
        self._news.clear()

    def _count(self, legs: list[Leg], done: int) -> None:
        left = sum(min(leg.last, self._high) - max(leg.first, self._low) + 1 for leg in legs) - done
        self.done = max(self.done, min(self.total, self.total - left))
