"""Cutting a long video into clips: where the cuts lie, and the job that writes the clips and their list."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keepsight.core import InputError, StoreError
from keepsight.pipeline.job import Progress, ProgressCallback
from keepsight.store.files import replacing_file
from keepsight.video import cut_clip, open_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from keepsight.video import VideoSource

_COLUMNS = ("clip", "first_frame", "last_frame", "step", "frames", "start_s", "end_s")


@dataclass(frozen=True)
class CutRule:
    """Where a video is cut; neither ``frames`` nor ``seconds`` leaves it in one piece.

    Attributes:
        frames: frames of a clip, counted after ``step``.
        seconds: or its length by the video's own clock, which holds where the frame rate varies too.
        step: every how many frames of the video one is taken.
        overlap: frames that a clip shares with the one before, counted after ``step``.

    Raises:
        InputError: both lengths, a value out of range, or an overlap that leaves nothing new in a clip.
    """

    frames: int | None = None
    seconds: float | None = None
    step: int = 1
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.frames is not None and self.seconds is not None:
            raise InputError("Give the length of a clip in frames or in seconds, not both.")
        if self.frames is not None and self.frames < 1:
            raise InputError(f"A clip needs 1 frame or more, got {self.frames}.")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise InputError(f"A clip must last longer than 0 s, got {self.seconds:g}.")
        if self.step < 1:
            raise InputError(f"The step between frames must be 1 or more, got {self.step}.")
        if self.overlap < 0:
            raise InputError(f"The overlap must be 0 frames or more, got {self.overlap}.")
        if self.frames is not None and self.overlap >= self.frames:
            raise InputError(
                f"Clips of {self.frames} frames can overlap by {self.frames - 1} at most, got {self.overlap}."
            )


@dataclass(frozen=True)
class Piece:
    """The frames ``range(start, stop, step)`` of a video; clips are numbered from 1."""

    number: int
    start: int
    stop: int
    step: int

    @property
    def frames(self) -> range:
        return range(self.start, self.stop, self.step)


def plan_clips(times_s: NDArray[np.float64], rule: CutRule) -> list[Piece]:
    """Cuts a video; every frame that ``step`` takes is in a clip, and each clip holds a frame that the one before has not.

    Args:
        times_s: time of every frame in seconds, never decreasing, ``(frame_count,)``.

    Raises:
        InputError: an overlap as long as a clip of so many seconds.
    """
    taken = np.asarray(times_s)[:: rule.step]
    return [
        Piece(number, first * rule.step, (last - 1) * rule.step + 1, rule.step)
        for number, (first, last) in enumerate(_cuts(taken, rule), start=1)
    ]


def _cuts(times_s: NDArray[np.float64], rule: CutRule) -> Iterator[tuple[int, int]]:
    first, count = 0, len(times_s)
    while first < count:
        if rule.frames is not None:
            last = first + rule.frames
        elif rule.seconds is not None:
            # A frame that begins within a microsecond of the end belongs to the next clip: times are sums of rounded ticks.
            last = int(np.searchsorted(times_s, times_s[first] + rule.seconds - 1e-6))
        else:
            last = count
        last = min(max(last, first + 1), count)
        yield first, last
        if last == count:
            return
        if last - rule.overlap <= first:
            raise InputError(
                f"A clip of {rule.seconds:g} s has only {last - first} frame(s) here, so clips cannot overlap by {rule.overlap}; "
                "make them longer or the overlap smaller."
            )
        first = last - rule.overlap


@dataclass
class ClipOutcome:
    """What was cut: the clips in order, ``clips.csv``, and lines a person should read."""

    clips: list[Path]
    table: Path
    frames: int
    notes: list[str] = field(default_factory=list)


def clip_name(stem: str, number: int) -> str:
    return f"{stem}_{number:04d}.mp4"


def cut_video(
    video: str | Path,
    out: Path,
    rule: CutRule,
    *,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> ClipOutcome:
    """Writes ``out/NAME_0001.mp4`` and so on, and ``out/NAME_clips.csv``, which says of each where it comes from.

    Every clip is encoded anew, so that it is exact to the frame, and keeps the spacing of its frames in time. Of a file that is
    cut off or damaged, what can be decoded is cut.

    Raises:
        InputError: not a video, a stream, or clips that the rule cannot make of it.
        StoreError: clips of this video are in ``out`` already, or it cannot be written.
    """
    with open_video(video) as source:
        check_finite(source, video)
        pieces = plan_clips(source.times_s, rule)
        stem = source.path.stem if source.path is not None else source.name
        table = out / f"{stem}_clips.csv"
        earlier = [path for path in out.glob("*.mp4") if re.fullmatch(re.escape(stem) + r"_\d{4,}\.mp4", path.name)]
        if (earlier or table.exists()) and not overwrite:
            raise StoreError(
                f"{out} holds clips of {stem} already; replace them by --overwrite, or choose another --out."
            )
        for path in earlier:
            path.unlink()
        total, done, rows, clips = sum(len(piece.frames) for piece in pieces), 0, [], []
        for piece in pieces:
            path = out / clip_name(stem, piece.number)
            cut_clip(source, path, piece.start, piece.stop, step=piece.step)
            clips.append(path)
            done += len(piece.frames)
            rows.append(_row(path, piece, source))
            if progress is not None:
                progress(Progress("cut", done, total))
        with replacing_file(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *rows])
        return ClipOutcome(clips, table, done, list(source.warnings))


def _row(path: Path, piece: Piece, source: VideoSource) -> tuple[object, ...]:
    frames, times_s = piece.frames, source.times_s
    return (
        path.name,
        frames[0],
        frames[-1],
        piece.step,
        len(frames),
        f"{times_s[frames[0]]:.4f}",
        f"{times_s[frames[-1]]:.4f}",
    )


def check_finite(source: VideoSource, name: str | Path) -> None:
    """Raises :class:`InputError` for a stream without an end."""
    if source.live or source.frame_count is None:
        raise InputError(f"{name} is a stream without an end; record it first: keepsight segment --camera.")
