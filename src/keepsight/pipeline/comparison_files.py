"""What a comparison writes: tables, a plot, a film."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keepsight.core import FrameResult, TrackedObject
from keepsight.pipeline.comparison import Agreement, Quality, Results, Spot, Truth, objects_of

if TYPE_CHECKING:
    from keepsight.pipeline.compare_job import Comparison
    from keepsight.video import VideoSource

FILM, PLOT, TABLE, TABLE_CSV, FRAMES_CSV = "compare.mp4", "compare.png", "table.json", "table.csv", "frames.csv"
FILES = (TABLE, TABLE_CSV, FRAMES_CSV, PLOT, FILM)
TRUTH_NAME = "truth"


def write_tables(folder: Path, done: Comparison, quality: Mapping[tuple[str, int], Quality], video: str | Path) -> None:
    from keepsight.store.files import replacing_file

    table = {
        "video": str(video),
        "state": done.state,
        "frames": done.frames,
        "views_encoded": done.views,
        "decode_s": round(done.decode_s, 3),
        "encode_s": round(done.encode_s, 3),
        "look": done.look,
        "policies": [
            {**vars(row), "objects": {str(object_id): values for object_id, values in row.objects.items()}}
            for row in done.rows
        ],
        "agreement": [{"policies": list(pair), "j": j} for pair, j in done.pairs.items()],
    }
    with replacing_file(folder / TABLE) as path:
        path.write_text(json.dumps(table, indent=1), encoding="utf-8")
    columns = [name for name in vars(done.rows[0]) if name != "objects"]
    _write_csv(folder / TABLE_CSV, columns, [[getattr(row, name) for name in columns] for row in done.rows])
    lines: list[list[object]] = []
    for name, run in done.results.items():
        for frame, result in sorted(run.items()):
            for item in result.objects:
                own = quality.get((name, item.object_id))
                j = None if own is None else own.by_frame.get(frame)
                values = (f"{item.score:.4f}", f"{item.presence:.4f}", item.mask.area, j, item.source.value)
                lines.append([name, item.object_id, frame, *values])
    _write_csv(folder / FRAMES_CSV, ["policy", "object", "frame", "score", "presence", "area_px", "j", "source"], lines)


def _write_csv(target: Path, columns: list[str], rows: list[list[Any]]) -> None:
    from keepsight.store.files import replacing_file

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with replacing_file(target) as path:
        path.write_text(text.getvalue(), encoding="utf-8")


def draw_plot(
    path: Path,
    results: Results,
    quality: Mapping[tuple[str, int], Quality],
    agreement: Agreement | None,
    spot: Spot | None,
    video: VideoSource,
) -> None:
    from keepsight.render.versus import Curve, plot_runs

    curves = []
    for name, run in results.items():
        for object_id in objects_of(results):
            found = [
                (frame, item)
                for frame, result in sorted(run.items())
                for item in result.objects
                if item.object_id == object_id
            ]
            own = quality.get((name, object_id))
            by_frame = {} if own is None else own.by_frame
            curves.append(
                Curve(
                    run=name,
                    object_id=object_id,
                    frames=np.array([frame for frame, _ in found], np.int64),
                    score=np.array([item.score for _, item in found]),
                    presence=np.array([item.presence for _, item in found]),
                    area=np.array([item.mask.area for _, item in found]) / (video.height * video.width),
                    j=np.array([by_frame.get(frame, np.nan) for frame, _ in found]) if own else np.array([]),
                )
            )
    plot_runs(
        path,
        curves,
        [] if agreement is None else agreement.frames,
        {} if agreement is None else {name: agreement.of(name) for name in results},
        None if agreement is None else agreement.mean,
        None if spot is None else (spot.first, spot.last),
    )


def draw_film(
    path: Path,
    video: VideoSource,
    results: dict[str, dict[int, FrameResult]],
    truth: Truth | None,
    labels: Mapping[int, str | None],
) -> None:
    from keepsight.render.versus import render_side_by_side

    runs: dict[str, dict[int, FrameResult]] = dict(results)
    if truth is not None:
        # Frames without a truth have an empty pane.
        shown = next(iter(results.values()))
        runs[TRUTH_NAME] = {
            frame: replace(
                result,
                objects=tuple(
                    TrackedObject(object_id, mask, 1.0, 1.0) for object_id, mask in truth.get(frame, {}).items()
                ),
            )
            for frame, result in shown.items()
        }
    render_side_by_side(path, video, runs, labels)
