"""`keepsight export` and `keepsight import`: a project, a format, a folder; pictures from the video where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from keepsight.core import InputError, StoreError
from keepsight.formats import save_prompts
from keepsight.formats.exchange import LOSSES, TROUBLES
from keepsight.formats.registry import FORMATS, check_target, export_tracks, format_named, import_prompts, import_tracks
from keepsight.pipeline.folder import add_video
from keepsight.render.cutouts import CUTOUTS, write_cutouts
from keepsight.store import Project, StoredVideo
from keepsight.video import VideoSource, open_video

PROJECT_NAME = "project.keepsight"


@dataclass(frozen=True)
class Exchange:
    """What was done, for a person.

    Attributes:
        summary: one line.
        notes: what the format could not hold, or what had to be decided, with counts.
        path: what was written.
    """

    summary: str
    path: Path
    notes: list[str] = field(default_factory=list)


def formats() -> dict[str, str]:
    """Every name that an export takes, with a few words."""
    return {name: item.about for name, item in FORMATS.items()} | CUTOUTS


def export(
    project: Path,
    name: str,
    out: Path,
    *,
    video: str | None = None,
    start: int | None = None,
    stop: int | None = None,
    images: bool = False,
    base: Path | None = None,
    simplify_px: float = 0.0,
    overwrite: bool = False,
    source: Path | None = None,
) -> Exchange:
    """Writes a project's objects in a format.

    Args:
        project: the project file, or the folder of a run.
        video: which of the project's videos, by name; may be left out where there is one.
        images: writes the frames' pictures too, as JPEG.
        base: see :func:`export_tracks`; without it, LabelMe files that were imported into the project, if they are still there.
        source: where the video is now, if it has moved; needed for pictures and cut-outs only.

    Raises:
        KeepsightError: with one line that says what to do.
    """
    if name not in CUTOUTS:
        format_named(name)
    if start is not None and stop is not None and stop <= start:
        raise InputError(f"--stop {stop} must come after --start {start}.")
    with _open(project, read_only=True) as opened:
        stored = _video(opened, video)
        if name in CUTOUTS:
            check_target(out, overwrite=overwrite)
            written = write_cutouts(_footage(stored, source), opened, stored.id, name, out, start=start, stop=stop)
            return Exchange(f"Wrote {_count(written, 'cut-out')} ({name}).", out)
        notes = []
        if name == "labelme" and base is None:
            base = _imported_files(opened, stored)
            if base is not None:
                notes.append(f"keys and shapes that are no object's are taken over from {base}")
        also = _picture_writer(opened, stored, _footage(stored, source), start, stop) if images else None
        done = export_tracks(
            opened,
            stored.id,
            name,
            out,
            start=start,
            stop=stop,
            base=base,
            simplify_px=simplify_px,
            overwrite=overwrite,
            also=also,
        )
    notes += [f"{LOSSES[key]}: {count}" for key, count in done.losses.items() if count]
    return Exchange(
        f"Wrote {_count(len(done.objects), 'object')} on {_count(done.frames, 'frame')} ({name}).", out, notes
    )


def import_as_tracks(
    path: Path,
    name: str,
    project: Path,
    *,
    source: str | None = None,
    video: str | None = None,
    new_ids: bool = False,
    replace: bool = False,
) -> Exchange:
    """Reads finished tracks into a project, all or nothing.

    Args:
        project: the project file or the folder of a run; made where it is missing and ``source`` is given.
        source: the video that the tracks are about, for a new project.
        video: which of the project's videos, by name.

    Raises:
        KeepsightError: with one line that says what to do.
    """
    format_named(name)
    file = _file_of(project)
    made = not file.exists()
    if made and source is None:
        raise InputError(f"{file} does not exist; give the video by --video to make a new project.")
    if not made and source is not None:
        raise InputError(f"{file} exists and has its video; leave --video out.")
    footage = open_video(source) if made and source is not None else None
    try:
        if footage is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        with Project.create(file) if made else Project.open(file) as opened:
            if footage is not None:
                add_video(opened, footage)
            done = import_tracks(opened, _video(opened, video).id, name, path, new_ids=new_ids, replace=replace)
    except BaseException as error:
        if made:
            for suffix in ("", "-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{file} cannot be made: {error.strerror or error}.") from error
        raise
    summary = (
        f"Imported {_count(done.masks, 'mask')} of {_count(done.objects, 'object')} on {_count(done.frames, 'frame')}."
    )
    return Exchange(summary, file, _troubles(done.source.troubles))


def import_as_prompts(
    path: Path,
    name: str,
    out: Path,
    *,
    source: str | None = None,
    project: Path | None = None,
    video: str | None = None,
    frames: Collection[int] | None = None,
    as_boxes: bool = False,
    overwrite: bool = False,
) -> Exchange:
    """Reads prompts into the JSON file that ``keepsight segment --prompts`` takes.

    Args:
        source, project: the video, or a project that has it: the size of the frames must be known.
        frames, as_boxes: see :func:`import_prompts`.

    Raises:
        KeepsightError: with one line that says what to do.
    """
    format_named(name)
    if out.exists() and not overwrite:
        raise StoreError(f"{out} already exists; replace it by --overwrite, or choose another name.")
    if source is not None:
        footage = open_video(source)
        height, width = footage.height, footage.width
    elif project is not None:
        with _open(project, read_only=True) as opened:
            stored = _video(opened, video)
            height, width = stored.height, stored.width
    else:
        raise InputError("How large are the frames? Give the video by --video, or a project that has it by --project.")
    prompts, read = import_prompts(name, path, height, width, frames=frames, as_boxes=as_boxes)
    save_prompts(out, prompts)
    troubles = {key: count for key, count in read.troubles.items() if key != "boxes_as_masks"}
    objects = len({prompt.object_id for prompt in prompts})
    return Exchange(
        f"Wrote {_count(len(prompts), 'prompt')} for {_count(objects, 'object')}.", out, _troubles(troubles)
    )


def frame_list(text: str | None) -> set[int] | None:
    """``"0,30"`` as frame numbers.

    Raises:
        InputError: something else.
    """
    if text is None:
        return None
    try:
        frames = {int(part) for part in text.split(",")}
    except ValueError as error:
        raise InputError(f"--frames {text[:60]!r}: give frame numbers separated by commas, such as 0,30.") from error
    if min(frames) < 0:
        raise InputError(f"--frames {text[:60]!r}: frames count from 0.")
    return frames


def _file_of(path: Path) -> Path:
    return path / PROJECT_NAME if path.is_dir() or path.suffix != ".keepsight" else path


def _open(path: Path, *, read_only: bool) -> Project:
    file = path if path.is_file() else _file_of(path)
    return Project.open(file, read_only=read_only)


def _video(project: Project, name: str | None) -> StoredVideo:
    videos = project.videos()
    if not videos:
        raise InputError(f"{project.path} has no video.")
    names = ", ".join(item.name for item in videos)
    if name is None:
        if len(videos) > 1:
            raise InputError(f"{project.path} has {len(videos)} videos; choose one by --of: {names}.")
        return videos[0]
    found = [item for item in videos if item.name == name]
    if not found:
        raise InputError(f"{project.path} has no video {name!r}; it has: {names}.")
    return found[0]


def _footage(stored: StoredVideo, moved: Path | None) -> VideoSource:
    """The video itself, which must be the one of the project.

    Raises:
        InputError: it is gone, or it is another.
    """
    path = moved or Path(stored.path)
    if not path.exists():
        raise InputError(f"The video {path} is gone; say where it is now by --video.")
    video = open_video(path)
    if (video.height, video.width) != (stored.height, stored.width):
        raise InputError(
            f"{path} is {video.width}x{video.height} px, but the project is about a video of {stored.width}x{stored.height} px."
        )
    return video


def _imported_files(project: Project, video: StoredVideo) -> Path | None:
    """Where the LabelMe files lie that were imported last."""
    for run in reversed(project.runs(video.id)):
        came = run.settings.get("import")
        if isinstance(came, dict) and came.get("format") == "labelme":
            folder = Path(str(came.get("path")))
            return folder if folder.is_dir() else None
    return None


def _picture_writer(
    project: Project, stored: StoredVideo, footage: VideoSource, start: int | None, stop: int | None
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        wanted = (result.frame for result in project.results(stored.id, start, stop))
        index = next(wanted, None)
        for frame in footage.frames(index or 0, stop):
            if index is None:
                break
            if frame.index == index:
                Image.fromarray(frame.rgb).save(folder / f"{index:05d}.jpg", quality=95)
                index = next(wanted, None)

    return write


def _troubles(troubles: dict[str, int]) -> list[str]:
    return [f"{TROUBLES[key]}: {count}" for key, count in troubles.items() if count]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
