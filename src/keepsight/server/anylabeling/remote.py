"""The client's calls, without HTTP: clips, sessions, prompts, ranges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from pydantic import ValidationError

from keepsight.annotation import Desk
from keepsight.core import TrackedObject
from keepsight.server.anylabeling.bodies import InitBody, PromptBody, PropagateBody
from keepsight.server.anylabeling.clips import Clips
from keepsight.server.anylabeling.following import Following
from keepsight.server.anylabeling.intake import FrameIntake
from keepsight.server.anylabeling.looking import Lookout
from keepsight.server.anylabeling.offers import Offered, offered
from keepsight.server.anylabeling.prompting import in_px, look_for, point_at
from keepsight.server.anylabeling.sessions import Session, Sessions
from keepsight.server.anylabeling.shapes import Kind, Shape, pack, shapes_of
from keepsight.server.errors import ApiError
from keepsight.server.reception import Reception, soon

_PIECE = 2**20  # bytes of a body that are worth a thread's while
_PAGE = 200  # frames of masks in memory


class Range:
    """A range of frames that is being tracked for a client.

    Attributes:
        low, high: frames of the clip, both inclusive.
        first: number that the client gives to the clip's first frame.
    """

    def __init__(self, remote: Remote, desk: Desk, session: Session, low: int, high: int, kind: Kind) -> None:
        self._remote, self._desk, self._session, self._kind = remote, desk, session, kind
        self.low, self.high, self.first = low, high, session.first
        self._following = Following(desk, low, high)
        config = remote.config
        self._lookout = Lookout(desk, session, config.detector, config.anylabeling.look_every, low, high)

    @property
    def total(self) -> int:
        return self._following.total

    @property
    def done(self) -> int:
        """Frames that have all that can be had; goes up only. A look that is to come holds one back."""
        return max(min(self._following.done, self.total - self._lookout.left), 0)

    async def work(self) -> None:
        """Tracks what is missing; see :meth:`Following.follow`."""
        view = await soon(self._desk.view())
        self._session.labels = {
            item.id: self._session.labels[item.id] for item in view.objects if item.id in self._session.labels
        }
        free = [item.id for item in view.objects if item.id in self._session.labels and not item.locked]
        await self._following.follow(free, self._lookout.since)
        await self._lookout.look(self._following)

    async def results(self) -> dict[str, Any]:
        """What is stored, as the client takes it."""
        labels, frames = dict(self._session.labels), range(self.low, self.high + 1)
        epsilon, first = self._session.epsilon, self.first
        desk = await self._remote.reception.desk(self._session.video)  # it may have been closed and opened since
        step = min(self._remote.reception.workshop.limits.masks_frames, _PAGE)

        def read() -> Iterable[tuple[int, Iterable[TrackedObject]]]:
            for start in range(self.low, self.high + 1, step):
                stop = min(start + step, self.high + 1)
                for item in desk.masks(start, stop, list(labels)).result()[1]:
                    yield item.frame, item.objects

        packed = await run_in_threadpool(pack, read, frames, labels, self._kind, epsilon, first)
        self._session.delivered = True
        return packed

    def touch(self) -> None:
        """Keeps the session from ending while it is served."""
        self._remote.touch(self._session.id)


class Remote:
    """What the routes share. For the event loop's thread.

    Attributes:
        offers: the client's menu, by id.
    """

    def __init__(self, reception: Reception) -> None:
        self.reception, self.config = reception, reception.config
        limits = self.config.limits
        self.offers: dict[str, Offered] = offered(self.config.models)
        self._sessions = Sessions(limits.idle_minutes * 60)
        workshop = reception.workshop
        self._clips = Clips(
            reception.catalog, int(limits.remote_disk_mb * 2**20), lambda key: workshop.get(key) is not None
        )

    # ---- the menu ----

    def offer(self, id: str) -> Offered:
        """Raises :class:`ApiError`, 404, for a model that is not offered."""
        found = self.offers.get(id)
        if found is None:
            raise ApiError(404, "MODEL_NOT_FOUND", f"This server offers {', '.join(self.offers)}.")
        return found

    def video_offer(self, id: str) -> Offered:
        """Raises :class:`ApiError` for one that does not follow through a folder of frames."""
        found = self.offer(id)
        if not found.video:
            raise ApiError(422, "INVALID_MODEL", "This model looks at single pictures; choose one for video.")
        return found

    # ---- sessions ----

    async def begin(self, body: AsyncIterator[bytes]) -> Session:
        """Takes in a clip; the same frames for the same model are the same clip, with all that was tracked in it.

        Raises:
            ApiError: 413, 422, 404, 403: why not. The rest of the body is read nevertheless, or the client would not hear it.
        """
        if not self.config.allow_upload:
            raise ApiError(403, "forbidden", "This server takes no frames (`allow_upload`).")
        limits = self.config.limits
        async with contextmanager_in_threadpool(self._clips.draft()) as draft:
            intake = FrameIntake(
                draft,
                frames=limits.remote_frames,
                pixels=limits.pixels,
                frame_bytes=int(limits.body_mb * 2**20),
            )
            failure: ApiError | None = None
            async for piece in _pieces(body):
                try:
                    if failure is None:
                        await run_in_threadpool(intake.feed, piece)
                except ApiError as error:
                    failure = error
            if failure is not None:
                raise failure
            fields, digest = await run_in_threadpool(intake.finish)
            asked = _init_body(fields)
            offer = self.video_offer(asked.model)
            entry = await run_in_threadpool(self._clips.keep, draft, digest, offer.model, intake.total_bytes)
        desk = await self.reception.seat(entry)
        if desk.settings.model != offer.model:
            await soon(desk.change_settings(replace(desk.settings, model=offer.model)))
        session = Session(entry.id, offer.model, desk.frame_count, asked.start_frame_index)
        return self._sessions.add(session)

    async def _session(self, id: str, model: str) -> tuple[Session, Desk, Offered]:
        offer, session = self.video_offer(model), self._sessions.get(id)
        if session.model != offer.model:
            raise ApiError(404, "SESSION_NOT_FOUND", "The session is of another model; send the frames again.")
        return session, await self.reception.desk(session.video), offer

    def touch(self, id: str) -> None:
        """Notes that a session is in use."""
        self._sessions.touch(id)

    def end(self, id: str) -> None:
        """Forgets a session; nothing that it made goes."""
        self._sessions.get(id)
        self._sessions.end(id)

    # ---- prompts and ranges ----

    async def prompt(self, body: PromptBody) -> tuple[int, list[Shape], int]:
        """Answers words or points.

        Returns:
            The frame's number, shapes on it, and how many objects the session is about.
        """
        session, desk, offer = await self._session(body.session_id, body.model)
        frame = session.frame(body.frame_index)
        params = body.params
        session.epsilon = session.epsilon if params.epsilon_factor is None else params.epsilon_factor
        text = (body.text_prompt or "").strip()
        if text:
            session.threshold = params.conf_threshold
            await look_for(desk, session, frame, text, self.config.detector)
        elif body.points:
            labels = body.point_labels if body.point_labels is not None else [1] * len(body.points)
            if len(labels) != len(body.points):
                raise ApiError(422, "PROMPT_ERROR", "Each point needs a label, 1 or 0.")
            marks = in_px(body.points, labels, desk.width, desk.height)
            await point_at(desk, session, frame, marks, new_objects=self.config.anylabeling.new_objects)
        else:
            raise ApiError(422, "MISSING_PROMPT", "Give a text or points.")
        shapes = await self._shapes(desk, session, frame, offer.kind)
        return body.frame_index, shapes, len(session.labels)

    async def _shapes(self, desk: Desk, session: Session, frame: int, kind: Kind) -> list[Shape]:
        _, found = await soon(desk.masks(frame, frame + 1, list(session.labels)))
        items = [item for result in found for item in result.objects]
        labels, epsilon = session.labels, session.epsilon
        return [shape for item in items for shape in shapes_of(item, labels[item.object_id], kind, epsilon)]

    async def range(self, body: PropagateBody) -> Range:
        """A range to be tracked; from the prompted frame to the last where nothing is said.

        Raises:
            ApiError: 404 for the session, 409 nothing was prompted, 422 not a range.
        """
        session, desk, offer = await self._session(body.session_id, body.model)
        if session.prompted is None and not session.labels:
            raise ApiError(409, "PROPAGATION_ERROR", "Say what to follow first, by a text or a point.")
        low = (session.prompted or 0) if body.start_frame is None else session.frame(body.start_frame)
        last = session.frame_count - 1
        high = last if body.end_frame is None else min(body.end_frame - session.first, last)
        if high < low:
            raise ApiError(422, "PROPAGATION_ERROR", "The range ends before it begins.")
        return Range(self, desk, session, low, high, offer.kind)


async def _pieces(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body in pieces that are worth a thread's while."""
    piece = bytearray()
    async for part in body:
        piece += part
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _init_body(fields: dict[str, Any]) -> InitBody:
    try:
        return InitBody.model_validate(fields)
    except ValidationError as error:
        where = ", ".join(sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]}))
        raise ApiError(422, "MISSING_MODEL", f"The body needs other values for: {where}.") from None
