"""Decodes the frames that a run visits, ahead of their use."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from keepsight.core import Frame
from keepsight.core.errors import InputError
from keepsight.tracking.plan import Visit
from keepsight.video import VideoSource, prefetch


def frames_of(video: VideoSource, visits: Sequence[Visit], look_ahead: int) -> Generator[Frame, None, None]:
    """Gives the frames of a plan in its order, one sequential sweep of the video a direction.

    Args:
        look_ahead: frames that are decoded before they are asked for.

    Raises:
        InputError: a frame that could not be decoded; those before it have been given.
    """
    count = 0
    with closing(prefetch(_sweeps(video, visits), depth=look_ahead)) as frames:
        for frame in frames:
            if frame.index != visits[count].frame:
                break
            count += 1
            yield frame
    if count < len(visits):
        raise InputError(
            f"'{video.name}' could not be decoded at frame {visits[count].frame}; "
            f"frames up to here are kept. Follow a shorter range, with stop {visits[count].frame}."
        )


def _sweeps(video: VideoSource, visits: Sequence[Visit]) -> Iterator[Frame]:
    for reverse in (False, True):
        part = [visit.frame for visit in visits if visit.reverse == reverse]
        if not part:
            continue
        wanted = set(part)
        first, last = part[0], part[-1]
        stop, step = (last - 1 if last else None, -1) if reverse else (last + 1, 1)
        for frame in video.frames(first, stop, step):
            if frame.index in wanted:
                yield frame
