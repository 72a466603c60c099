"""Cutting a range of frames out of a video."""

from __future__ import annotations

from pathlib import Path

from keepsight.core import InputError
from keepsight.video.source import VideoSource
from keepsight.video.writer import VideoWriter


def cut_clip(
    source: VideoSource,
    out: str | Path,
    start: int,
    stop: int,
    *,
    step: int = 1,
    codec: str = "h264",
    crf: int | None = None,
    preset: str = "veryfast",
) -> Path:
    """Encodes the frames ``[start, stop)`` anew, so that the cut is exact to the frame; sound is left out.

    Args:
        source: where the frames come from.
        out: the clip; its suffix chooses the container.
        start, stop: frame indices, ``stop`` exclusive and cut to the video's end.
        step: every how many frames one is taken, >= 1.
        codec, crf, preset: as for :class:`VideoWriter`.

    Returns:
        The path of the clip, whose times start at 0 and keep the source's spacing.

    Raises:
        InputError: an empty range, or a step below 1.
        StoreError: the clip cannot be written.
    """
    out = Path(out)
    if stop <= start:
        raise InputError(f"A clip needs start < stop, got {start} and {stop}.")
    if step < 1:
        raise InputError(f"A clip goes forward; its step must be 1 or more, got {step}.")
    writer: VideoWriter | None = None
    begin_s = 0.0
    try:
        for frame in source.frames(start, stop, step):
            if writer is None:
                begin_s = frame.time_s
                writer = VideoWriter(
                    out,
                    height=source.height,
                    width=source.width,
                    fps=source.fps / step,
                    codec=codec,
                    crf=crf,
                    preset=preset,
                )
            writer.write(frame.rgb, frame.time_s - begin_s)
        if writer is None:
            raise InputError(f"{source.name} has no frames from {start} to {stop - 1}, so there is nothing to cut.")
        writer.close()
    except BaseException as error:
        if writer is not None:
            writer.__exit__(type(error), error, error.__traceback__)
        raise
    return out
