"""Cut-outs of an earlier run, made again in another way from its project: nothing is tracked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keepsight.core import InputError, StoreError
from keepsight.formats.tables import TableWriter, check_parquet
from keepsight.pipeline.job import PROJECT_NAME, Progress, ProgressCallback
from keepsight.pipeline.outputs import Watched, crop_style
from keepsight.render import CropStyle, render_all
from keepsight.render.crops import CropPlan
from keepsight.render.from_patches import CutOut, render_from_patches
from keepsight.render.patches import DamagedPatchesError, PatchFile
from keepsight.store import Project
from keepsight.store.files import replacing_file
from keepsight.video import open_video

if TYPE_CHECKING:
    from keepsight.store import StoredVideo
    from keepsight.video import VideoSource

OBJECTS_NAME = "objects"
TABLES = {"csv": ("boxes.csv",), "parquet": ("boxes.parquet",), "both": ("boxes.csv", "boxes.parquet")}
"""Files of boxes by what is asked for."""
PLACE_COLUMNS = {
    "frame": int,
    "time_s": float,
    "x1": float,
    "y1": float,
    "x2": float,
    "y2": float,
    "area_px": int,
    "score": float,
    "presence": float,
}
"""Columns of every table of boxes: where an object is on a frame."""
_COLUMNS = {
    "object_id": int,
    "label": str,
    **PLACE_COLUMNS,
    "window_x1": float,
    "window_y1": float,
    "window_side": float,
    "crop_frame": int,
}


@dataclass
class CropOutcome:
    """What was cut out.

    Attributes:
        clips: path by object id; an object that is never visible has none.
        boxes: tables of boxes.
        frames: frames of the project.
        notes: lines a person should read.
        decoded: frames that were decoded for it.
    """

    clips: dict[int, Path]
    boxes: list[Path]
    frames: int
    labels: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    decoded: int = 0


def crop_style_of(*, size: int | None, margin: float, background: str, path: str, absent: str = "skip") -> CropStyle:
    """The style for the words of the command line and of the pipeline's settings.

    Raises:
        InputError: a value out of range.
    """
    window = {"smooth": "smoothed", "per-frame": "per_frame"}.get(path, path)
    kept = "keep" if background == "original" else str(background)
    return crop_style(
        {"size_px": size, "margin": margin, "background": kept, "window": str(window), "absent": str(absent)}
    )


def crop_objects(
    where: Path,
    out: Path | None = None,
    *,
    style: CropStyle | None = None,
    video: str | Path | None = None,
    overwrite: bool = False,
    boxes: str = "csv",
    patches: Path | None = None,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> CropOutcome:
    """Writes ``out/objects/ID.mp4`` and ``out/boxes.csv`` from a project.

    Args:
        where: a project file or the folder that it lies in.
        out: default ``crops`` beside the project.
        style: how to cut.
        video: where the video is now; default where it was when it was tracked.
        boxes: ``csv``, ``parquet`` or ``both``; a table of the other kind that is there goes, for it would be about other crops.
        patches: file in which pixels were kept when it was tracked (:mod:`keepsight.render.patches`), so that only what is
            missing there is decoded again; it is made where there is none.
        threads: objects encoded at a time.

    Raises:
        InputError: no such project, no result in it, or not its video; Parquet without ``pyarrow``.
        StoreError: cut-outs are there already, or the folder cannot be written.
    """
    path = where / PROJECT_NAME if where.is_dir() else where
    out = out or path.parent / "crops"
    if boxes != "csv":
        check_parquet()
    style = style or CropStyle()
    if not path.is_file():
        raise InputError(
            f"There is no project in {where}; give the output folder of `keepsight segment`, or its project file."
        )
    if (out / OBJECTS_NAME).exists() and not overwrite:
        raise StoreError(f"{out} holds cut-outs already; replace them by --overwrite, or choose another --out.")
    with Project.open(path, read_only=True) as project:
        stored = _only_video(project, path)
        with _open_tracked(stored, video) as source:
            frames = len(project.frames_done(stored.id))

            def tell(done: int, total: int) -> None:
                if progress is not None:
                    progress(Progress("cut out", done, total))

            if patches is None:
                watched = cast("VideoSource", Watched(source, frames, tell))
                made = render_all(watched, project, stored.id, out, overlay=False, crop_style=style)
                crops, decoded = made.crops, made.frames
            else:
                cut = _cut_from(patches, source, project, stored, out, style, threads, tell)
                crops, decoded = cut.crops, cut.decoded
            tables = [out / name for name in TABLES[boxes]]
            with ExitStack() as stack:
                temporary = [stack.enter_context(replacing_file(path)) for path in tables]
                with TableWriter(temporary, _COLUMNS) as table:
                    table.write(_rows(project, stored, source, style))
            for path in {out / name for name in TABLES["both"]} - set(tables):
                path.unlink(missing_ok=True)
            labels = {item.object_id: item.label or "" for item in project.objects(stored.id)}
            return CropOutcome(crops, tables, frames, labels, list(source.warnings), decoded)


def _cut_from(
    path: Path,
    source: VideoSource,
    project: Project,
    stored: StoredVideo,
    out: Path,
    style: CropStyle,
    threads: int | None,
    tell: Callable[[int, int], None],
) -> CutOut:
    for _ in range(2):
        try:
            with PatchFile(path, stored.fingerprint) as kept:
                return render_from_patches(source, project, stored.id, out, kept, style, threads=threads, tell=tell)
        except DamagedPatchesError:
            path.unlink(missing_ok=True)
    raise StoreError(f"{path} is damaged again and again; check the disk.")


def _only_video(project: Project, path: Path) -> StoredVideo:
    videos = project.videos()
    if not videos or not project.frames_done(videos[0].id):
        raise InputError(f"{path} has no results yet; follow something with `keepsight segment` first.")
    return videos[0]


def _open_tracked(stored: StoredVideo, now: str | Path | None) -> VideoSource:
    source = open_video(now if now is not None else stored.path)
    if source.fingerprint() != stored.fingerprint:
        source.close()
        raise InputError(
            f"{now or stored.path} is not the video that was followed ({stored.name}); say where that is with --video."
        )
    return source


def _rows(project: Project, stored: StoredVideo, source: VideoSource, style: CropStyle) -> Iterator[tuple[Any, ...]]:
    """One row an object and frame on which it is visible; ``crop_frame`` is the frame of its cut-out."""
    done = sorted(project.frames_done(stored.id))
    place = {frame: number for number, frame in enumerate(done)} if style.absent == "black" else {}
    times_s = source.times_s
    for item in project.objects(stored.id):
        plan = CropPlan(project.track(stored.id, item.object_id), source.fps, style)
        seen = 0
        for point in project.track(stored.id, item.object_id):
            window = plan.window(point.frame)
            if point.box is None or window is None:
                continue
            x, y, side = window
            yield (
                *(item.object_id, item.label or "", point.frame, f"{times_s[point.frame]:.4f}"),
                *(f"{value:g}" for value in point.box),
                *(point.area, f"{point.score:.4f}", f"{point.presence:.4f}"),
                *(f"{x - side / 2:.2f}", f"{y - side / 2:.2f}", f"{side:.2f}"),
                place.get(point.frame, seen),
            )
            seen += 1


def clear_unfinished(folder: Path) -> None:
    """Removes what a killed writer left in ``folder``; only while no other process writes there."""
    for pattern in (f".{OBJECTS_NAME}.*.tmp", f".{OBJECTS_NAME}.*.old"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".boxes.*.*"):
        path.unlink(missing_ok=True)
