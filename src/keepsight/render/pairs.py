"""Decoded frames beside their stored results, in one pass over the video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keepsight.core import Frame, FrameResult, InputError
from keepsight.store import Project
from keepsight.video import VideoSource, prefetch


def paired(video: VideoSource, project: Project, video_id: int) -> Iterator[tuple[Frame, FrameResult]]:
    """Yields every frame that has a result, in order; decoding runs ahead in a thread.

    Raises:
        InputError: nothing is stored, or the video has another size than the one that was tracked.
    """
    stored = project.video(video_id)
    if (video.height, video.width) != (stored.height, stored.width):
        raise InputError(
            f"{video.name} is {video.width}x{video.height} px but the project was made from "
            f"{stored.width}x{stored.height} px; give the video that was tracked."
        )
    results = project.results(video_id)
    result = next(results, None)
    if result is None:
        raise InputError(f"{project.path} has no results for {stored.name} yet; track its objects first.")
    for frame in prefetch(video.frames(result.frame)):
        while result is not None and result.frame < frame.index:
            result = next(results, None)
        if result is None:
            return
        if result.frame == frame.index:
            yield frame, result


def output_times(pairs: Iterable[tuple[Frame, FrameResult]]) -> Iterator[tuple[float, Frame, FrameResult]]:
    """Adds the time in seconds from the first frame; see :class:`RisingTimes`."""
    times = RisingTimes()
    for frame, result in pairs:
        yield times.of(frame), frame, result


class RisingTimes:
    """Times in seconds from the first frame. They rise, as writers demand, even where a damaged file's do not."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = -1.0

    def of(self, frame: Frame) -> float:
        """The time of the next frame."""
        self._first = frame.time_s if self._first is None else self._first
        self._last = max(frame.time_s - self._first, self._last + 1e-3)
        return self._last
