"""Timelines and curves of the report as plain numbers: the template only places them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from keepsight.core import Source
from keepsight.store import TrackPoint

WIDTH = 1000.0  # user units of every plot; the page scales them
_MAX_POINTS = 600


@dataclass
class Lane:
    """One object over time.

    Attributes:
        bars: ``(x, width, state)`` with state ``present``, ``low`` or ``absent``, in units of the plot.
        marks: x of frames that a person prompted or edited.
        area, score: SVG paths, broken where the object is absent.
        frames, present, low: how many frames were looked at, show the object, show it with a low score.
        first, last: first and last frame with the object.
        mean_area, mean_score: over frames where it is present; area as a part of the frame.
        longest_gap: frames of the longest absence between two appearances.
    """

    bars: list[tuple[float, float, str]] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)
    area: str = ""
    score: str = ""
    frames: int = 0
    present: int = 0
    low: int = 0
    first: int | None = None
    last: int | None = None
    mean_area: float = 0.0
    mean_score: float = 0.0
    max_area: float = 0.0
    longest_gap: int = 0


def make_lane(
    points: Iterable[TrackPoint], prompted: set[int], *, span: tuple[int, int], frame_px: int, low_score: float
) -> Lane:
    """Digests one object's track.

    Args:
        prompted: frames with a prompt for this object.
        span: first and last frame of the time axis.
        frame_px: pixels of a frame.
        low_score: scores below it count as low.
    """
    table = list(points)
    lane = Lane(frames=len(table))
    drawn = {point.frame for point in table if point.source in (Source.EDITED, Source.PROMPT)}
    lane.marks = [position(frame + 0.5, span) for frame in sorted(prompted | drawn) if span[0] <= frame <= span[1]]
    if not table:
        return lane
    frames = np.array([point.frame for point in table])
    area = np.array([point.area for point in table]) / frame_px
    score = np.array([point.score for point in table])
    present = area > 0
    low = present & (score < low_score)
    lane.present, lane.low = int(present.sum()), int(low.sum())
    step = int(np.median(np.diff(frames))) if len(frames) > 1 else 1
    states = np.where(low, "low", np.where(present, "present", "absent"))
    lane.bars = _bars(frames, states, step, span)
    lane.max_area = float(area.max())
    if present.any():
        seen = frames[present]
        lane.first, lane.last = int(seen[0]), int(seen[-1])
        lane.longest_gap = max(0, int(np.diff(seen, prepend=seen[0]).max()) - step)
        lane.mean_area, lane.mean_score = float(area[present].mean()), float(score[present].mean())
    lane.area = series_path(frames, np.where(present, area, np.nan), step, span)
    lane.score = series_path(frames, np.where(present, score, np.nan), step, span)
    return lane


def position(frame: float, span: tuple[int, int]) -> float:
    """Frame to plot units; a frame is as wide as its share of the axis."""
    return round(WIDTH * (frame - span[0]) / (span[1] - span[0] + 1), 2)


def ticks(span: tuple[int, int]) -> list[tuple[float, int]]:
    """About eight round frame numbers along the axis."""
    length = span[1] - span[0] + 1
    rough = max(1.0, length / 8)
    power = 10.0 ** np.floor(np.log10(rough))
    step = int(max(1, next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)))
    return [(position(frame + 0.5, span), frame) for frame in range(-(-span[0] // step) * step, span[1] + 1, step)]


def _bars(frames: np.ndarray, states: np.ndarray, step: int, span: tuple[int, int]) -> list[tuple[float, float, str]]:
    edges = np.flatnonzero((states[1:] != states[:-1]) | (np.diff(frames) > 2 * step)) + 1
    bars = []
    for start, stop in zip([0, *edges], [*edges, len(frames)], strict=True):
        left = position(float(frames[start]), span)
        right = position(min(float(frames[stop - 1]) + step, span[1] + 1), span)
        # A flicker of one frame in an hour must still be seen.
        bars.append((left, max(round(right - left, 2), 0.8), str(states[start])))
    return bars


def series_path(frames: np.ndarray, values: np.ndarray, step: int, span: tuple[int, int]) -> str:
    """SVG path through values by frame, with y upwards, broken where a value is NaN or frames lack.

    Long tracks keep the lowest and highest value of every bin, so spikes survive.

    Args:
        frames: int (N,), ascending.
        values: float (N,).
        step: frames from one value to the next where none lacks.
        span: first and last frame of the axis.
    """
    if len(frames) > _MAX_POINTS:
        keep: set[int] = set()
        for part in np.array_split(np.arange(len(frames)), _MAX_POINTS // 2):
            good = part[~np.isnan(values[part])]
            keep |= (
                {int(good[values[good].argmin()]), int(good[values[good].argmax()])} if len(good) else {int(part[0])}
            )
        rows = np.array(sorted(keep))
        step = max(step, int(np.diff(frames[rows]).max()))
        frames, values = frames[rows], values[rows]
    words: list[str] = []
    pen_down, before = False, 0
    for frame, value in zip(frames.tolist(), values.tolist(), strict=True):
        if np.isnan(value):
            pen_down = False
            continue
        x = position(frame + 0.5, span)
        if not pen_down or frame - before > 2 * step:
            words.append(f"M{x} {value:.5f}h0.01")  # the stub shows a lone frame as a dot
        else:
            words.append(f"L{x} {value:.5f}")
        pen_down, before = True, frame
    return "".join(words)
