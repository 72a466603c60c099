"""What goes in and out of a desk: requests, answers and events, plain values all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from keepsight.core import Box, Direction, Mask, Prompt, TrackedObject
from keepsight.store import Lane, StoredPrompt

JobState: TypeAlias = Literal["queued", "running", "paused", "finished", "cancelled", "interrupted", "failed"]
EventKind: TypeAlias = Literal["frame", "job", "changed", "people"]
ChangedPart: TypeAlias = Literal["objects", "prompts", "masks", "accepted", "settings"]


@dataclass(frozen=True)
class Said:
    """What a person says about an object on a frame; at least one of points, box and mask.

    Attributes:
        frame: frame index.
        object_id: the object; ``None``: a new one.
        points: ``(x, y)`` in px of the frame.
        labels: 1 on the object, 0 not on it, one a point.
        box: ``(x1, y1, x2, y2)`` in px.
        mask: the object's pixels, which stand by themselves.
        label: name of the object; ``None`` leaves it as it is.
        replace: forget what was said on this frame before, instead of adding to it.
    """

    frame: int
    object_id: int | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    mask: Mask | None = None
    label: str | None = None
    replace: bool = False

    def as_prompt(self, object_id: int) -> Prompt:
        """Raises :class:`InputError` for what is malformed."""
        return Prompt(object_id, self.frame, self.points, self.labels, self.box, self.mask, self.label)


@dataclass(frozen=True)
class DeskObject:
    """An object of a video.

    Attributes:
        colour: ``#rrggbb``: the person's, or the palette's by id.
        hidden: not to be drawn.
        locked: neither tracking nor edits touch it.
        position: place in the list, from 0.
    """

    id: int
    label: str | None
    colour: str
    hidden: bool
    locked: bool
    position: int


@dataclass(frozen=True)
class Answer:
    """What saying something about an object came to."""

    object: DeskObject
    mask: TrackedObject
    prompt_id: int
    revision: int


@dataclass(frozen=True)
class Found:
    """What a word found on a frame: new objects with their masks.

    Attributes:
        known: instances that were left out because an object covers them already.
        remarks: what the detector wants a person to know.
        known_as: ``(object id, text)`` of those that were left out, the surest first.
    """

    objects: tuple[tuple[DeskObject, TrackedObject], ...]
    known: int
    remarks: tuple[str, ...]
    revision: int
    known_as: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class DeskSettings:
    """How a video is worked on.

    Attributes:
        model, policy: names as everywhere.
        non_overwrite: tracking leaves frames alone on which an object has a mask already.
        output: what people want to see and get: "masks", "boxes" or "both".
    """

    model: str = "builtin"
    policy: str = "sam2"
    non_overwrite: bool = False
    output: Literal["masks", "boxes", "both"] = "masks"


@dataclass(frozen=True)
class TrackRequest:
    """What to track.

    Attributes:
        start: frame to track from; what is on it is the beginning and stays.
        direction: forward, backward, or both ways from ``start``.
        stop: end of the way forward, exclusive; ``None``: the end of the video.
        first: end of the way backward, inclusive; ``None``: frame 0.
        objects: ids; ``None``: all that are not locked.
        text: words, separated by commas: what they name is looked for on the way and tracked too.
        detector: finds it; ``None``: the best one at hand.
        threshold: score in [0, 1] from which a detection counts; ``None``: the detector's rule.
    """

    start: int
    direction: Direction = Direction.FORWARD
    stop: int | None = None
    first: int | None = None
    objects: tuple[int, ...] | None = None
    text: str | None = None
    detector: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Job:
    """A pass of the tracker, as people see it.

    Attributes:
        id: the project's number of the run.
        frame: visited last; ``None`` before the first.
        done, total: frames; a frame that is visited both ways counts twice.
        message: one line for a person; why it failed, what it waits for.
        objects: ids of those that are tracked.
        resumable: whether :meth:`Desk.resume` can go on with it.
    """

    id: int
    state: JobState
    direction: str
    frame: int | None
    done: int
    total: int
    message: str = ""
    objects: tuple[int, ...] = ()
    text: str | None = None
    resumable: bool = False

    @property
    def going(self) -> bool:
        """Whether it holds the desk: queued, running or paused."""
        return self.state in ("queued", "running", "paused")


@dataclass(frozen=True)
class DeskLine:
    """A video in a list.

    Attributes:
        frames_done: frames with a result from anybody.
        job: the latest one.
    """

    key: str
    name: str
    width: int
    height: int
    fps: float
    frame_count: int
    objects: int
    frames_done: int
    job: Job | None


@dataclass(frozen=True)
class DeskView:
    """Everything about a video but its masks.

    Attributes:
        undo, redo: what these would do; ``None``: nothing.
        notes: one line each: what a person should know about the video.
    """

    line: DeskLine
    revision: int
    objects: tuple[DeskObject, ...]
    prompts: tuple[StoredPrompt, ...]
    accepted: tuple[tuple[int, int], ...]
    undo: str | None
    redo: str | None
    settings: DeskSettings
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FrameMasks:
    """The stored objects of a frame."""

    frame: int
    objects: tuple[TrackedObject, ...]


@dataclass(frozen=True)
class Timeline:
    """Who is where: half-open ranges of frames.

    Attributes:
        done: frames with a result from anybody.
        lanes: one an object.
    """

    revision: int
    done: tuple[tuple[int, int], ...]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True)
class Change:
    """That something changed, for those who show it.

    Attributes:
        frames: half-open range of the frames whose masks may have changed; ``None``: any.
        by: who did it, as they called themselves.
    """

    revision: int
    what: tuple[ChangedPart, ...]
    frames: tuple[int, int] | None = None
    by: str | None = None


@dataclass(frozen=True)
class FrameDone:
    """A frame that was tracked and stored."""

    revision: int
    frame: int
    objects: tuple[TrackedObject, ...]


@dataclass(frozen=True)
class People:
    """How many are watching the desk."""

    count: int


@dataclass(frozen=True)
class Event:
    """Something that happened at a desk."""

    kind: EventKind
    revision: int
    what: Change | FrameDone | Job | People


Listener: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True)
class Limits:
    """What a workshop allows.

    Attributes:
        desks: open at the same time.
        idle_s: after which a desk that nobody uses may be closed; counted from its last use.
        feature_bytes: image features that stay for the next click, all desks together.
        picture_bytes: encoded pictures that stay for the next look, all desks together.
        masks_frames: frames of masks that may be asked for at once.
        points: clicks about an object on one frame.
        objects: objects of a video.
        text_length: characters of a text to look for.
    """

    desks: int = 8
    idle_s: float = 1800.0
    feature_bytes: int = 1024 * 2**20
    picture_bytes: int = 256 * 2**20
    masks_frames: int = 600
    points: int = 200
    objects: int = 10_000
    text_length: int = 400


@dataclass(frozen=True)
class Offer:
    """A model, policy or detector that can be chosen.

    Attributes:
        available: whether it could be used now, without a download.
        words: of a detector, whether words decide what it finds.
    """

    name: str
    note: str
    available: bool = True
    words: bool = False


@dataclass(frozen=True)
class Picture:
    """A frame as JPEG."""

    frame: int
    width: int
    height: int
    data: bytes = field(repr=False)


Facts: TypeAlias = dict[str, Any]
