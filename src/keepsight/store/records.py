"""What the store hands out besides the values of ``core``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keepsight.core import Box, Prompt, Source

UNDONE = "undone"
"""Note of a run that was taken back, as far as it was."""


@dataclass(frozen=True)
class StoredVideo:
    """A video that the project knows.

    Attributes:
        id: the store's own number, the ``video_id`` of every other call.
        path: where the video was when it was added; the store never opens it.
        height, width: displayed size in px.
        fps: mean frames per second.
        frame_count: ``None`` while unknown (a camera, a stream).
        fingerprint: what identifies the content, so that a moved file is recognised and a changed one is noticed.
        added_at: UTC, ISO 8601.
    """

    id: int
    name: str
    path: str
    height: int
    width: int
    fps: float
    frame_count: int | None
    fingerprint: str
    added_at: str


@dataclass(frozen=True)
class StoredObject:
    """An object of one video, in the order in which it was added.

    Attributes:
        colour: ``#rrggbb`` or ``None`` (by id).
        hidden: not to be drawn.
        locked: neither runs nor edits touch its masks.
    """

    object_id: int
    label: str | None
    colour: str | None
    hidden: bool = False
    locked: bool = False


@dataclass(frozen=True)
class StoredPrompt:
    """A prompt with the number that :meth:`Project.remove_prompt` takes."""

    id: int
    prompt: Prompt


@dataclass(frozen=True)
class StoredRun:
    """One pass of a tracker over a video.

    Attributes:
        settings: as given to :meth:`Project.start_run`.
        facts: as given to :meth:`Project.finish_run` (timings, versions, warnings).
        state: ``running``, ``finished``, ``cancelled``, ``failed`` or ``interrupted`` (it says running, but the process that
            wrote it is gone).
        note: one line for a person, e.g. the error that ended the run.
        started_at, finished_at: UTC, ISO 8601.
    """

    id: int
    video_id: int
    settings: dict[str, Any]
    state: str
    note: str
    started_at: str
    finished_at: str | None
    facts: dict[str, Any] = field(default_factory=dict)


class TrackPoint(NamedTuple):
    """One object on one frame without its pixels: area in px², box in px or ``None`` when absent."""

    frame: int
    score: float
    presence: float
    area: int
    box: Box | None
    source: Source
