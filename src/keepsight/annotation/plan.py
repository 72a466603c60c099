"""Which objects are tracked on which frames: a job's plan, made from the project and kept in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from keepsight.annotation.trouble import Locked, NotFound
from keepsight.annotation.values import DeskSettings, TrackRequest
from keepsight.core import Direction
from keepsight.core.errors import InputError
from keepsight.store import Project

KIND = "desk"
"""What a run of a desk calls itself in the project, beside runs of the command line."""

ANYTHING = -1
"""In spans: whatever is found, and all that is there."""


@dataclass
class Way:
    """One pass in one direction.

    Attributes:
        spans: of each object (or :data:`ANYTHING`), the first frame it is followed onto and where its way ends, exclusive, in
            the direction of travel: ``(10, 20)`` forward is 10 to 19, ``(9, -1)`` backward is 9 to 0.
    """

    reverse: bool
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)

    def next_frame(self, after: int | None) -> int | None:
        """The first frame of anybody's span beyond ``after`` (``None``: of all), in the direction of travel."""
        sign = -1 if self.reverse else 1
        ahead = [
            max(sign * begin, -(2**62) if after is None else sign * after + 1)
            for begin, end in self.spans.values()
            if sign * begin < sign * end and (after is None or sign * after + 1 < sign * end)
        ]
        return sign * min(ahead) if ahead else None

    def active(self, frame: int) -> list[int]:
        """Objects that are followed onto a frame."""
        sign = -1 if self.reverse else 1
        return [one for one, (begin, end) in self.spans.items() if sign * begin <= sign * frame < sign * end]

    def moves(self, object_id: int) -> bool:
        """Whether an object is followed onto any frame."""
        sign = -1 if self.reverse else 1
        begin, end = self.spans.get(object_id, (0, 0))
        return sign * begin < sign * end

    def end_at(self, object_id: int, frame: int) -> None:
        """Lets an object's way end before ``frame``."""
        self.spans[object_id] = (self.spans[object_id][0], frame)

    def length(self, after: int | None = None) -> int:
        """Frames that are visited, or those of them beyond ``after``."""
        sign = -1 if self.reverse else 1
        total, covered = 0, -(2**62) if after is None else sign * after + 1
        for begin, end in sorted((sign * begin, sign * end) for begin, end in self.spans.values()):
            begin = max(begin, covered)
            if end > begin:
                total, covered = total + end - begin, end
        return total


@dataclass
class Plan:
    """A job, whole, as the project keeps it.

    Attributes:
        objects: that were tracked when the job began, in order.
        settings: of the desk at that time.
    """

    request: TrackRequest
    settings: DeskSettings
    ways: list[Way]
    objects: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(way.length() for way in self.ways)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the project."""
        request, settings = self.request, self.settings
        return {
            "kind": KIND,
            "start": request.start,
            "direction": str(request.direction),
            "stop": request.stop,
            "first": request.first,
            "asked": None if request.objects is None else list(request.objects),
            "text": request.text,
            "detector": request.detector,
            "threshold": request.threshold,
            "model": settings.model,
            "policy": settings.policy,
            "non_overwrite": settings.non_overwrite,
            "output": settings.output,
            "objects": list(self.objects),
            "ways": [
                {"reverse": way.reverse, "spans": [[one, *span] for one, span in way.spans.items()]}
                for way in self.ways
            ],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """Inverse of :meth:`to_json`."""
        asked = values["asked"]
        return cls(
            TrackRequest(
                values["start"],
                Direction(values["direction"]),
                values["stop"],
                values["first"],
                None if asked is None else tuple(asked),
                values["text"],
                values["detector"],
                values["threshold"],
            ),
            DeskSettings(values["model"], values["policy"], values["non_overwrite"], values["output"]),
            [Way(way["reverse"], {one: (begin, end) for one, begin, end in way["spans"]}) for way in values["ways"]],
            tuple(values["objects"]),
        )


def make_plan(project: Project, video_id: int, frame_count: int, request: TrackRequest, settings: DeskSettings) -> Plan:
    """Works out what a request comes to.

    What is stored on the start frame is where an object begins. An object that has nothing there is followed onto it from what
    was said before it, in the direction of travel, or begins where it is seen first. Its way ends before the next frame on
    which it is accepted.

    Raises:
        InputError: a range that is none, or nothing to track; also as NotFound or Locked for objects that were asked for.
    """
    low, high = check_range(request, frame_count)
    there = {item.object_id: item for item in project.objects(video_id)}
    if request.objects is None:
        asked = [one for one, item in there.items() if not item.locked]
    else:
        asked = list(dict.fromkeys(request.objects))
        for one in asked:
            if one not in there:
                raise NotFound(f"There is no object {one}.")
            if there[one].locked:
                raise Locked(f"Object {one} is locked; unlock it first.")
    directions = {
        Direction.FORWARD: [False],
        Direction.BACKWARD: [True],
        Direction.BOTH: [False, True],
    }[Direction(request.direction)]
    ways = [Way(reverse) for reverse in directions]
    if request.text:
        # The start frame is looked at too, going forward; whoever goes both ways looks at it once.
        for way in ways:
            begin = request.start - (1 if way.reverse and len(ways) == 2 else 0)
            way.spans[ANYTHING] = (begin, low - 1 if way.reverse else high)
        return Plan(request, settings, ways, tuple(asked))
    for one in asked:
        origin = _origin(project, video_id, one, request, (low, high))
        if origin is None:
            continue
        at, is_stored = origin
        final = project.accepted_frames(video_id, one)
        for way in ways:
            end = low - 1 if way.reverse else high
            # Both ways, the way forward is gone first and includes a beginning that is still open.
            step = 1 if is_stored or (way.reverse and len(ways) == 2) else 0
            begin = at - step if way.reverse else at + step
            way.spans[one] = (begin, _barrier(final, begin, end, way.reverse))
    tracked = tuple(one for one in asked if any(way.moves(one) for way in ways))
    plan = Plan(request, settings, ways, tracked)
    if not plan.total:
        raise InputError(_why_nothing(request, asked))
    return plan


def check_range(request: TrackRequest, frame_count: int) -> tuple[int, int]:
    """The range as ``(lowest frame, end)``.

    Raises:
        InputError: it lies outside the video, or the start outside of it.
    """
    low = 0 if request.first is None else request.first
    high = frame_count if request.stop is None else min(request.stop, frame_count)
    if not 0 <= request.start < frame_count:
        raise InputError(f"Frame {request.start} is not in the video, whose frames are 0 to {frame_count - 1}.")
    if not 0 <= low <= request.start or (request.direction != Direction.BACKWARD and high <= request.start):
        raise InputError(
            f"The range {low} to {high} (exclusive) does not hold the frame {request.start} from which to track."
        )
    return low, high


def _origin(
    project: Project, video_id: int, one: int, request: TrackRequest, span: tuple[int, int]
) -> tuple[int, bool] | None:
    """The frame at which an object's way begins, and whether what it is there is stored; ``None``: it is nowhere."""
    start, (low, high) = request.start, span
    if project.masks_of(video_id, one, [start]):
        return start, True
    backward = request.direction == Direction.BACKWARD
    behind = (start, None) if backward else (0, start)
    if project.nearest_visible(video_id, one, start, *behind) is not None:
        return start, False
    ahead = (low, start) if backward else (start, high)
    first = project.nearest_visible(video_id, one, start, *ahead)
    return None if first is None else (first, True)


def _barrier(final: Iterable[int], begin: int, end: int, reverse: bool) -> int:
    """The nearest accepted frame from ``begin`` on, or ``end``."""
    if reverse:
        return max([frame for frame in final if end < frame <= begin], default=end)
    return min([frame for frame in final if begin <= frame < end], default=end)


def _why_nothing(request: TrackRequest, asked: list[int]) -> str:
    if not asked:
        return "Nothing to track: point at an object first, or unlock one."
    way = {"forward": "after", "backward": "before", "both": "around"}[str(request.direction)]
    return (
        f"Nothing to track {way} frame {request.start}: the objects are accepted there or have no mask to begin with; "
        "point at them, take the acceptance back, or choose another range."
    )
