"""Which frames a run visits, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keepsight.core import Direction
from keepsight.core.errors import InputError


@dataclass(frozen=True)
class Visit:
    """One frame of a run, and whether it is reached going backwards."""

    frame: int
    reverse: bool


def plan_visits(
    frame_count: int,
    spans: Sequence[tuple[int, int]],
    prompted: Sequence[int],
    start: int | None,
    stop: int | None,
    stride: int,
    direction: Direction,
) -> list[Visit]:
    """The frames of a run.

    Args:
        frame_count: frames of the video.
        spans: first and last prompted frame of every object.
        prompted: all prompted frames, ascending; visited even where the stride would pass over them.
        start, stop: the range ``[start, stop)``, or ``None`` for its default.
        stride: frames between two visits, counted from the frame where a pass begins.

    Raises:
        InputError: a range outside the video or inside out.
    """
    low = 0 if start is None else start
    high = frame_count if stop is None else min(stop, frame_count)
    if not 0 <= low < frame_count:
        raise InputError(f"start {low} is not in the video, whose frames are 0 to {frame_count - 1}.")
    if high <= low:
        raise InputError(f"The range from {low} to {high} (exclusive) holds no frame.")
    firsts = [first for first, _ in spans]
    visits: list[Visit] = []
    if direction in (Direction.FORWARD, Direction.BOTH):
        begin = min(firsts) if start is None or direction is Direction.BOTH else start
        begin = max(begin, low)
        visits += [Visit(frame, False) for frame in _grid(begin, high, stride, prompted)]
    if direction is Direction.BACKWARD:
        begin = max(last for _, last in spans) if stop is None else high - 1
        visits += [Visit(frame, True) for frame in _grid(min(begin, high - 1), low - 1, -stride, prompted)]
    if direction is Direction.BOTH:
        # Only frames before some object's first prompt are still open.
        begin = min(max(firsts), high)
        frames = _grid(begin, low - 1, -stride, prompted)
        visits += [Visit(frame, True) for frame in frames if frame < min(begin, high)]
    return visits


def _grid(begin: int, end: int, step: int, prompted: Sequence[int]) -> list[int]:
    """Every ``step``-th frame from ``begin`` to ``end`` (exclusive), and prompted frames between."""
    frames = set(range(begin, end, step))
    low, high = (begin, end) if step > 0 else (end + 1, begin + 1)
    frames.update(frame for frame in prompted if low <= frame < high)
    return sorted(frames, reverse=step < 0)
