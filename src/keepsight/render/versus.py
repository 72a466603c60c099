"""Results of several runs of one video beside each other: a film in panes, and curves over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import FrameResult
from keepsight.render.overlay import draw_overlay
from keepsight.render.tags import RgbArray, paste, tag_bitmap
from keepsight.store.files import replacing_file
from keepsight.video import VideoSource, VideoWriter, prefetch

_WIDEST_PX, _HIGHEST_PX = 1920, 1200
_MAX_OBJECTS = 6
_TAG = (24, 24, 24)


@dataclass(frozen=True)
class Curve:
    """One run and object over time; all arrays ``(T,)``.

    Attributes:
        frames: frame indices.
        score, presence: in [0, 1].
        area: share of the frame.
        j: agreement with the truth, NaN where it is not known; empty when nothing is.
    """

    run: str
    object_id: int
    frames: NDArray[np.int64]
    score: NDArray[np.float64]
    presence: NDArray[np.float64]
    area: NDArray[np.float64]
    j: NDArray[np.float64]


def pane_grid(count: int, height: int, width: int) -> tuple[int, int, float]:
    """Columns, rows and the scale of each pane, so that all fit and are as large as they can be.

    Args:
        height, width: of the video in px.
    """
    best = (1, count, 0.0)
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        scale = min(1.0, _WIDEST_PX / (columns * width), _HIGHEST_PX / (rows * height))
        if scale > best[2]:
            best = (columns, rows, scale)
    return best


def render_side_by_side(
    path: Path,
    video: VideoSource,
    runs: Mapping[str, Mapping[int, FrameResult]],
    labels: Mapping[int, str | None] | None = None,
) -> int:
    """Writes a film with a pane for each run, its name on it; returns its frames.

    Args:
        runs: result by frame, by name; frames that one of them lacks are left out.

    Raises:
        StoreError: the film cannot be written.
    """
    frames = sorted(set.intersection(*(set(run) for run in runs.values())))
    columns, rows, scale = pane_grid(len(runs), video.height, video.width)
    height, width = (max(2, 2 * round(side * scale / 2)) for side in (video.height, video.width))
    wanted, count, first = set(frames), 0, 0.0
    with VideoWriter(path, height=rows * height, width=columns * width, fps=video.fps) as writer:
        for frame in prefetch(video.frames(frames[0], frames[-1] + 1)):
            if frame.index not in wanted:
                continue
            canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
            for place, (name, run) in enumerate(runs.items()):
                top, left = place // columns * height, place % columns * width
                pane = _pane(frame.rgb, run[frame.index], name, (height, width), labels)
                canvas[top : top + height, left : left + width] = pane
            first = frame.time_s if count == 0 else first
            writer.write(canvas, frame.time_s - first)
            count += 1
    return count


def _pane(
    rgb: RgbArray, result: FrameResult, name: str, size: tuple[int, int], labels: Mapping[int, str | None] | None
) -> RgbArray:
    drawn = draw_overlay(rgb, result, labels)
    if drawn.shape[:2] != size:
        drawn = np.asarray(cv2.resize(drawn, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
    text_px = min(max(11, size[0] // 20), 32)
    bitmap, opacity = tag_bitmap(name, _TAG, text_px, max(40, size[1] - 8))
    paste(drawn, bitmap, opacity, 4, 4)
    # A line between panes.
    drawn[:, -1], drawn[-1] = 0, 0
    return drawn


def plot_runs(
    path: Path,
    curves: Sequence[Curve],
    frames: Sequence[int],
    agreement: Mapping[str, NDArray[np.float64]],
    mean_agreement: NDArray[np.float64] | None,
    spot: tuple[int, int] | None = None,
) -> None:
    """Writes a picture: score, presence, area (and J, where known) of each object, and agreement over time.

    Args:
        curves: of all runs and objects; the first few objects are drawn.
        frames, agreement, mean_agreement: how far each run agrees with the others, by name ``(T,)``, and the mean of all pairs.
        spot: frames to point at.

    Raises:
        StoreError: the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs = list(dict.fromkeys([*agreement, *(curve.run for curve in curves)]))
    objects = sorted({curve.object_id for curve in curves})[:_MAX_OBJECTS]
    colours = {run: f"C{place}" for place, run in enumerate(runs)}
    kinds = ["score", "presence", "area", *(["j"] if any(len(curve.j) for curve in curves) else [])]
    titles = {"score": "score", "presence": "presence", "area": "area, % of the frame", "j": "J"}
    total = len(kinds) + (mean_agreement is not None)
    figure = Figure(figsize=(max(7.0, 4.2 * len(objects)), 1.9 * total + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(total, max(len(objects), 1))
    for row, kind in enumerate(kinds):
        for column, object_id in enumerate(objects):
            axes = figure.add_subplot(grid[row, column])
            for curve in curves:
                values = getattr(curve, kind)
                if curve.object_id == object_id and len(values):
                    values = 100 * values if kind == "area" else values
                    mark = "." if len(values) == 1 or (kind == "j" and np.isnan(values).mean() > 0.3) else ""
                    axes.plot(curve.frames, values, mark + "-", color=colours[curve.run], label=curve.run, linewidth=1)
            axes.set_ylim(*((0, None) if kind == "area" else (-0.03, 1.03)))
            if row == 0:
                axes.set_title(f"object {object_id}", fontsize=10)
            if column == 0:
                axes.set_ylabel(titles[kind], fontsize=9)
            if row == column == 0:
                axes.legend(fontsize=7)
            _finish(axes, spot)
    if mean_agreement is not None:
        axes = figure.add_subplot(grid[total - 1, :])
        for run, values in agreement.items():
            axes.plot(frames, values, color=colours[run], linewidth=0.8, label=f"{run} with the others")
        axes.plot(frames, mean_agreement, color="black", linewidth=1.6, label="all pairs")
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("agreement, J", fontsize=9)
        axes.set_xlabel("frame")
        axes.legend(fontsize=7)
        _finish(axes, spot)
    with replacing_file(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _finish(axes: object, spot: tuple[int, int] | None) -> None:
    axes.tick_params(labelsize=7)  # type: ignore[attr-defined]
    axes.grid(alpha=0.25)  # type: ignore[attr-defined]
    if spot is not None:
        axes.axvspan(spot[0], spot[1], color="0.85", zorder=0)  # type: ignore[attr-defined]
