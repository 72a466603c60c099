"""Several policies on one video at a time, in step: every frame is decoded once and every view of it encoded once for all.

Each policy has a session of its own, so its results are those that it would have alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Direction, FrameResult, Prompt, Region
from keepsight.memory import PolicyFactory
from keepsight.models.backbone import Backbone
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.session import Session
from keepsight.tracking.sight import Sight, SightSource
from keepsight.video import VideoSource
from keepsight.video.shared import SharedVideo

#: Makes one policy's session from the policy, its reader of the video and the sights that all share.
SessionMaker = Callable[[PolicyFactory, VideoSource, SightSource], Session]


class SharedSights:
    """Hands one sight a frame to all sessions that ask for it; a :data:`~keepsight.tracking.sight.SightSource`.

    Holds the frame asked for last; sessions themselves keep those they go back to.

    Attributes:
        views: views (the whole frame, or a region of it) encoded so far.
        seconds: time that took.
        asked: views that the session whose turn it is has asked for, as (frame, region); set by whoever takes turns.
    """

    def __init__(self, backbone: Backbone, clock: Callable[[], float] = time.perf_counter) -> None:
        self._backbone = backbone
        self.clock = clock
        self.views = 0
        self.seconds = 0.0
        self.asked: set[tuple[int, Region]] = set()
        self._latest: tuple[int, Sight] | None = None

    def __call__(self, frame: int, rgb: NDArray[np.uint8]) -> Sight:
        if self._latest is None or self._latest[0] != frame:
            self._latest = frame, _MeteredSight(self._backbone, rgb, frame, self)
        return self._latest[1]


class _MeteredSight(Sight):
    def __init__(self, backbone: Backbone, rgb: NDArray[np.uint8], frame: int, meter: SharedSights) -> None:
        super().__init__(backbone, rgb)
        self._frame, self._meter = frame, meter

    def see(self, regions: list[Region]) -> list[int]:  # type: ignore[override]
        self._meter.asked.update((self._frame, region) for region in regions)
        return super().see(regions)

    def _encode(self, regions: list[Region]) -> None:
        begin = self._meter.clock()
        super()._encode(regions)
        self._meter.seconds += self._meter.clock() - begin
        self._meter.views += len(regions)


@dataclass
class Usage:
    """What one policy has cost so far.

    Attributes:
        own_s: seconds of memory attention, decoder, memory encoder and the policy itself; no decoding of frames, no image
            encoder.
        views: views that it wanted encoded; with others in the room some were there already.
        units: hypotheses of objects that were decoded.
        peak_bytes: most that its objects remembered between two frames.
        frames: frames followed.
        uncertain: by object, frames on which the policy was in doubt; empty for policies that do not say.
    """

    own_s: float = 0.0
    views: int = 0
    units: int = 0
    peak_bytes: int = 0
    frames: int = 0
    uncertain: dict[int, int] = field(default_factory=dict)


class Together:
    """Follows the same objects by several policies in step.

    Args:
        backbone: shared by all; it holds no state.
        policies: by name, in the order in which they take their turns.
        options: of every session.
        video: to follow; closed by the caller.
        clock: seconds; ``time.thread_time`` measures work instead of time where one thread does all of it.
        make: another kind of session than :class:`Session`.

    Attributes:
        usage: what each policy has cost.
        decode_s: seconds spent waiting for frames.
        detect_s: seconds spent by a detector that all share, without the image encoder.
        sights: see :class:`SharedSights`.
    """

    def __init__(
        self,
        backbone: Backbone,
        policies: Mapping[str, PolicyFactory],
        options: EngineOptions,
        video: VideoSource,
        clock: Callable[[], float] = time.perf_counter,
        make: SessionMaker | None = None,
    ) -> None:
        self._clock = clock
        self.sights = SharedSights(backbone, clock)
        readers = SharedVideo(video, len(policies)).readers()
        made = make or (lambda policy, reader, sights: Session(backbone, policy, options, reader, sights))
        self.sessions = {
            name: made(policy, reader, self.sights)
            for (name, policy), reader in zip(policies.items(), readers, strict=True)
        }
        self.usage = {name: Usage() for name in policies}
        self.decode_s = self.detect_s = 0.0
        self._asked: dict[str, set[tuple[int, Region]]] = {name: set() for name in policies}
        self._prompted: set[int] = set()

    @property
    def encode_s(self) -> float:
        """Seconds in the image encoder, for all policies."""
        return self.sights.seconds

    def alone_s(self, name: str) -> float:
        """Seconds that a policy would take by itself, decoding of frames left out: its own, its share of the encoder, and the
        detector."""
        share = self.encode_s / max(self.sights.views, 1)
        return self.usage[name].own_s + share * self.usage[name].views + self.detect_s

    def add_prompt(self, prompt: Prompt) -> None:
        """Says the same to all; see :meth:`Session.add_prompt`."""
        self._prompted.add(prompt.frame)
        for name, session in self.sessions.items():
            with _Turn(self, name):
                session.add_prompt(prompt)

    def propagate(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        stride: int = 1,
        direction: Direction | str = Direction.FORWARD,
    ) -> Iterator[dict[str, FrameResult]]:
        """What each policy shows on the next frame; arguments as for :meth:`Session.propagate`."""
        with ExitStack() as stack:
            turns: dict[str, _Turn] = {}
            ways = {}
            for name, session in self.sessions.items():
                turns[name] = _Turn(self, name)
                way = session.propagate(
                    start, stop, stride=stride, direction=direction, on_stage=turns[name].enter_stage
                )
                ways[name] = stack.enter_context(closing(way))  # type: ignore[type-var]
            while True:
                shown: dict[str, FrameResult] = {}
                for name, way in ways.items():
                    with turns[name]:
                        result = next(way, None)
                    if result is not None:
                        shown[name] = result
                        self._count(name, result.frame)
                if len(shown) < len(ways):
                    return
                yield shown

    def finalize(self) -> dict[str, list[FrameResult]]:
        """Frames that policies revise now that the end is known; see :meth:`Session.finalize`."""
        revised = {}
        for name, session in self.sessions.items():
            with _Turn(self, name):
                revised[name] = session.finalize()
        return revised

    def _count(self, name: str, frame: int) -> None:
        usage, session = self.usage[name], self.sessions[name]
        # Frames that were left behind are not asked for again, but for prompted ones.
        asked = self._asked[name]
        asked -= {view for view in asked if view[0] != frame and view[0] not in self._prompted}
        usage.frames += 1
        usage.units = session.units_decoded
        usage.peak_bytes = max(usage.peak_bytes, session.memory_bytes())
        for object_id, marks in session.last_marks.items():
            if "uncertain" in marks:
                usage.uncertain[object_id] = usage.uncertain.get(object_id, 0) + int(marks["uncertain"])


class _Turn:
    """Measures what happens while it is one policy's turn."""

    def __init__(self, together: Together, name: str) -> None:
        self._together, self._name = together, name
        # A stage that is not the policy's own work, when it began, and the encoder's seconds by then.
        self._aside: tuple[str, float, float] | None = None

    def __enter__(self) -> None:
        self._begin, self._waited = self._together._clock(), 0.0
        self._encoded = self._together.sights.seconds
        asked = self._together._asked[self._name]
        self._known, self._together.sights.asked = len(asked), asked

    def enter_stage(self, stage: str) -> None:
        """Told by the session what begins."""
        together = self._together
        now, encoded = together._clock(), together.sights.seconds
        if self._aside is not None:
            what, since, before = self._aside
            spent = now - since - (encoded - before)
            self._waited += spent
            if what == "decode":
                together.decode_s += spent
            else:
                together.detect_s += spent
            self._aside = None
        if stage in ("decode", "detect"):
            self._aside = stage, now, encoded

    def __exit__(self, *_: object) -> None:
        together = self._together
        spent = together._clock() - self._begin
        if self._aside is not None:  # asked for a frame, and there was none
            self.enter_stage("end")
        usage = together.usage[self._name]
        usage.own_s += max(0.0, spent - self._waited - (together.sights.seconds - self._encoded))
        usage.views += len(together.sights.asked) - self._known
