"""What is derived from a project once tracking is over: which files, where, and which of them are missing.

Every writer used here puts its file in place only when it is complete, so that a file that exists can be trusted.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keepsight.core import Frame, InputError
from keepsight.formats import DavisExport, export_davis, export_ytvis
from keepsight.pipeline.job import SegmentJob
from keepsight.render import CropStyle, render_all, write_report

if TYPE_CHECKING:
    from keepsight.store import Project
    from keepsight.video import VideoSource

Tell = Callable[[str, int, int | None], None]
Timed = Callable[[str], AbstractContextManager[object]]

_PATHS = {
    "masks": "masks",
    "annotations": "annotations.json",
    "overlay": "overlay.mp4",
    "crops": "objects",
    "report": "report.html",
}
#: What a live job writes while it follows: the frames as they came, and the overlay.
RECORDING, LIVE_OVERLAY = "recording.mp4", _PATHS["overlay"]

#: Leftovers of a writer that was killed.
_UNFINISHED = (
    "overlay.mp4.part",
    ".masks.*.tmp",
    ".masks.*.old",
    ".objects.*.tmp",
    ".objects.*.old",
    ".annotations.*.json",
    ".report.*.html",
)


def write_outputs(
    job: SegmentJob, project: Project, video: VideoSource, video_id: int, *, tell: Tell, timed: Timed, notes: list[str]
) -> list[tuple[str, Path]]:
    """Writes those of the job's outputs that are not there; what a killed writer left goes.

    Args:
        tell: told (stage, done, total).
        timed: measures a stage.
        notes: what the person should know is added here.

    Returns:
        (what, where) of everything that is there now, the project first.
    """
    _clear_unfinished(job.folder)
    missing = [name for name in job.outputs.names() if not is_there(job, project, video_id, name)]
    if "masks" in missing:
        tell("masks", 0, None)
        with timed("masks"):
            _note_overlap(export_davis(project, video_id, job.folder / _PATHS["masks"]), notes)
    if "annotations" in missing:
        tell("annotations", 0, None)
        with timed("annotations"):
            export_ytvis(project, video_id, job.folder / _PATHS["annotations"])
    if "overlay" in missing or "crops" in missing:
        watched = Watched(video, len(project.frames_done(video_id)), lambda done, total: tell("draw", done, total))
        with timed("draw"):
            render_all(
                cast("VideoSource", watched),
                project,
                video_id,
                job.folder,
                overlay="overlay" in missing,
                crops="crops" in missing,
                crop_style=crop_style(job.crop_options),
            )
    if "report" in missing:
        tell("report", 0, None)
        with timed("report"):
            write_report(project, video_id, job.folder / _PATHS["report"], video=video)
    return files_of(job, project, video_id)


class Watched:
    """A video that tells how many of its frames have been handed out; everything else is the video's own."""

    def __init__(self, video: VideoSource, total: int, tell: Callable[[int, int], None]) -> None:
        self._video, self._total, self._tell = video, total, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._video, name)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        for done, frame in enumerate(self._video.frames(start, stop, step)):
            self._tell(min(done, self._total), self._total)
            yield frame


def crop_style(options: dict[str, Any]) -> CropStyle:
    """The crop writer's style for options by name.

    Raises:
        InputError: unknown name, or a value that is out of range.
    """
    known = [item.name for item in fields(CropStyle)]
    for name in options:
        if name not in known:
            raise InputError(f"Crops have no option {name!r}; they have: {', '.join(known)}.")
    try:
        return CropStyle(**options)
    except TypeError as error:
        raise InputError(f"Crop options {options}: {error}.") from error


def _note_overlap(export: DavisExport, notes: list[str]) -> None:
    if export.overlap_px:
        notes.append(
            f"Objects overlap in {export.overlap_px} px (summed over frames); masks/ shows the one added last there, "
            "the project and annotations.json keep both."
        )


def is_there(job: SegmentJob, project: Project, video_id: int, name: str) -> bool:
    """Whether an output exists (and then it is whole and current)."""
    path = job.folder / _PATHS[name]
    if name == "crops":
        return all(clip.exists() for clip in _crop_paths(job, project, video_id))
    if name == "masks":
        # It appears whole, but single pictures may have been removed since.
        return len(list(path.glob("*.png"))) >= len(project.frames_done(video_id))
    return path.exists()


def files_of(job: SegmentJob, project: Project, video_id: int) -> list[tuple[str, Path]]:
    """(what, where) of the project and of every output that is there."""
    found = [("project", job.project_path)]
    for name, where in _PATHS.items():
        path = job.folder / where
        if name == "crops":
            found += [(f"object {clip.stem}", clip) for clip in _crop_paths(job, project, video_id) if clip.exists()]
        elif path.exists():
            found.append((name, path))
    if (job.folder / RECORDING).exists():
        found.append(("recording", job.folder / RECORDING))
    return found


def existing_outputs(folder: Path) -> list[str]:
    """Names in ``folder`` that outputs would take."""
    return [where for where in (*_PATHS.values(), RECORDING) if (folder / where).exists()]


def remove_outputs(folder: Path) -> None:
    """Removes what earlier runs derived in ``folder``, and nothing else: files of the person's own stay."""
    for name in ("overlay", "annotations", "report"):
        (folder / _PATHS[name]).unlink(missing_ok=True)
    (folder / RECORDING).unlink(missing_ok=True)
    masks, crops = folder / _PATHS["masks"], folder / _PATHS["crops"]
    for path in [*masks.glob("*.png"), *crops.glob("*.mp4")]:
        if path.stem.isdigit():
            path.unlink(missing_ok=True)
    (masks / "ids.json").unlink(missing_ok=True)
    _clear_unfinished(folder)
    for emptied in (masks, crops):
        with contextlib.suppress(OSError):  # missing, or with files of the person's own
            emptied.rmdir()


def _clear_unfinished(folder: Path) -> None:
    for pattern in _UNFINISHED:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _crop_paths(job: SegmentJob, project: Project, video_id: int) -> list[Path]:
    # An object that was never visible has no clip.
    visible = [
        item.object_id
        for item in project.objects(video_id)
        if any(point.area for point in project.track(video_id, item.object_id))
    ]
    return [job.folder / _PATHS["crops"] / f"{object_id}.mp4" for object_id in visible]
