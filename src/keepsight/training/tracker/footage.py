"""Where true masks come from: project files, folders that `keepsight import` reads, data sets in the layout of DAVIS.

Everything becomes a project, so that there is one reader. What a video holds is known by an index of frames and objects;
masks and pictures are read when they are asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keepsight.core import FrameResult, InputError, Mask, Source, TrackedObject
from keepsight.formats.exchange import SIDECAR
from keepsight.formats.labels import read_labels
from keepsight.formats.registry import FORMATS, format_named
from keepsight.pipeline.exchange import PROJECT_NAME, import_as_tracks
from keepsight.pipeline.folder import add_video
from keepsight.store import Project, StoredVideo
from keepsight.video import VideoSource, open_video

GIVEN = frozenset({Source.PROMPT, Source.EDITED, Source.IMPORTED})
"""Masks that a person stands for. What a tracker made and nobody looked at would teach it its own mistakes."""

_PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, eq=False)
class KnownObject:
    """Where the truth about an object is known.

    Attributes:
        frames: ascending frame indices ``(n,)``.
        present: ``(n,)`` bool, whether the object is to be seen there.
    """

    object_id: int
    label: str | None
    frames: NDArray[np.int64]
    present: NDArray[np.bool_]

    def known(self, frame: int) -> bool:
        """Whether the truth about a frame is known."""
        at = int(np.searchsorted(self.frames, frame))
        return at < len(self.frames) and int(self.frames[at]) == frame

    def visible(self, start: int, stop: int) -> NDArray[np.int64]:
        """Frames ``start <= frame < stop`` on which the object is known to be there."""
        inside = (self.frames >= start) & (self.frames < stop) & self.present
        return self.frames[inside]


@dataclass(eq=False)
class Footage:
    """A video and what is known of its objects.

    Attributes:
        key: fingerprint of the video: the same film in two projects is one.
    """

    name: str
    key: str
    path: Path
    height: int
    width: int
    objects: tuple[KnownObject, ...]
    project: Project = field(repr=False)
    video_id: int = 0
    _video: VideoSource | None = field(default=None, repr=False)

    @property
    def frames(self) -> NDArray[np.int64]:
        """All frames ``(n,)`` with truth about at least one object, ascending."""
        return np.unique(np.concatenate([item.frames for item in self.objects]))

    @property
    def video(self) -> VideoSource:
        """The video, opened when first asked for."""
        if self._video is None:
            self._video = open_video(self.path)
        return self._video

    def rgb(self, frame: int) -> NDArray[np.uint8]:
        """A frame, uint8 ``(height, width, 3)``."""
        return self.video.read(frame).rgb

    def masks(self, object_id: int, frames: Collection[int]) -> dict[int, Mask]:
        """True masks of an object; empty where it is known to be away."""
        found = self.project.masks_of(self.video_id, object_id, frames)
        empty = Mask.empty(self.height, self.width)
        return {frame: found[frame].mask if frame in found else empty for frame in frames}

    def close(self) -> None:
        """Releases the video; the project belongs to whoever opened it."""
        if self._video is not None:
            self._video.close()
            self._video = None


def collect(
    sources: Sequence[Path],
    scratch: Path,
    *,
    format_name: str | None = None,
    video: str | None = None,
    tracked: bool = False,
) -> list[Footage]:
    """Reads what there is to learn from.

    Args:
        sources: projects, their folders, folders that `keepsight export --images` wrote, or roots in the layout of DAVIS and
            YouTube-VOS; with ``format_name`` and ``video`` anything that `keepsight import` takes.
        scratch: folder for projects made of other formats; what was there goes.
        tracked: masks that were merely tracked count as true, too.

    Raises:
        InputError: nothing to learn from, or something that cannot be read, with one line that says what to do.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    found: list[Footage] = []
    for number, source in enumerate(sources):
        folder = scratch / f"{number:03d}"
        for project in _projects(source, folder, format_name, video):
            found += _of_project(project, tracked)
    if not found:
        said = (
            ""
            if tracked
            else " Masks that were merely tracked do not count; accept them in the page, or add --tracked."
        )
        raise InputError(f"There are no true masks in {', '.join(map(str, sources))}.{said}")
    return found


# -- from a source to projects ----------------------------------------------------------------------------------------
def _projects(source: Path, scratch: Path, format_name: str | None, video: str | None) -> Iterator[Path]:
    if not source.exists():
        raise InputError(f"{source} does not exist.")
    if source.suffix == ".keepsight":
        yield source
    elif (source / PROJECT_NAME).is_file():
        yield source / PROJECT_NAME
    elif format_name is not None:
        if video is None:
            raise InputError(f"Which video is {source} about? Give it by --video.")
        yield _imported(source, format_name, video, scratch)
    elif (source / SIDECAR).is_file():
        yield _of_export(source, video, scratch)
    elif (source / "JPEGImages").is_dir() and (source / "Annotations").is_dir():
        yield from _of_dataset(source, scratch)
    elif projects := sorted(source.glob("**/*.keepsight")) if source.is_dir() else []:
        yield from projects
    else:
        raise InputError(
            f"{source} is neither a project, nor an export, nor a data set with JPEGImages and Annotations; say what it is by "
            f"--format ({', '.join(name for name, item in FORMATS.items() if not item.boxes)}) and --video."
        )


def _imported(source: Path, format_name: str, video: str, scratch: Path) -> Path:
    if format_named(format_name).boxes:
        raise InputError(
            f"{format_name} holds boxes, and a tracker learns masks from masks; give a format that has them."
        )
    project = scratch / PROJECT_NAME
    import_as_tracks(source, format_name, project, source=video)
    return project


def _of_export(folder: Path, video: str | None, scratch: Path) -> Path:
    """A folder that an export wrote; its pictures are the video where no other one is given."""
    try:
        name = str(json.loads((folder / SIDECAR).read_text(encoding="utf-8"))["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SIDECAR} is not what an export writes ({error}).") from error
    pictures = folder / format_named(name).images
    if video is None and not any(item.suffix.lower() in _PICTURES - {".png"} for item in _files(pictures)):
        raise InputError(f"{folder} has no pictures; give its video by --video, or export with --images.")
    return _imported(folder, name, video or str(pictures), scratch)


def _of_dataset(root: Path, scratch: Path) -> Iterator[Path]:
    """Every video of a data set; pictures and masks belong together by the names of their files."""
    pictures, masks = root / "JPEGImages", root / "Annotations"
    for size in ("480p", "Full-Resolution"):
        if (pictures / size).is_dir() and (masks / size).is_dir():
            pictures, masks = pictures / size, masks / size
            break
    names = sorted(item.name for item in masks.iterdir() if item.is_dir())
    if not names:
        raise InputError(f"{masks} holds no videos, which are folders of pictures.")
    for name in names:
        images = pictures / name
        if not images.is_dir():
            raise InputError(f"{masks / name} has masks but {images} is not there.")
        yield _of_sequence(images, masks / name, scratch / f"{name}.keepsight")


def _of_sequence(images: Path, masks: Path, file: Path) -> Path:
    order = {item.stem: place for place, item in enumerate(_files(images)) if item.suffix.lower() in _PICTURES}
    footage = open_video(images)
    file.parent.mkdir(parents=True, exist_ok=True)
    colours: dict[int, int] = {}
    with Project.create(file) as project:
        video_id = add_video(project, footage)
        with project.transaction():
            run = project.start_run(video_id, {"import": {"format": "davis", "path": str(masks.resolve())}})
            declared: set[int] = set()
            for picture in _files(masks):
                if picture.suffix.lower() != ".png":
                    continue
                if picture.stem not in order:
                    raise InputError(f"{picture} is a mask of a frame that {images} does not have.")
                found = read_labels(picture, colours)
                for object_id, mask in found.items():
                    if (mask.height, mask.width) != (footage.height, footage.width):
                        raise InputError(
                            f"{picture} is {mask.width}x{mask.height} px, its frame {footage.width}x{footage.height} px."
                        )
                    if object_id not in declared:
                        declared.add(object_id)
                        project.add_object(video_id, object_id)
                at = order[picture.stem]
                items = tuple(TrackedObject(i, mask, 1.0, 1.0, Source.IMPORTED) for i, mask in found.items())
                result = FrameResult(at, at / footage.fps, footage.height, footage.width, items)
                project.write_result(video_id, run, result, keep_edited=False)
        project.finish_run(run, "finished", f"{len(declared)} objects imported")
    footage.close()
    return file


def _files(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_file()) if folder.is_dir() else []


# -- from a project to footage ----------------------------------------------------------------------------------------
def _of_project(file: Path, tracked: bool) -> Iterator[Footage]:
    project = Project.open(file, read_only=True)
    for stored in project.videos():
        known = tuple(item for item in _known_objects(project, stored, tracked) if len(item.visible(0, 2**62)) > 0)
        if not known:
            continue
        path = Path(stored.path)
        if not path.exists():
            raise InputError(
                f"The video of {file} is not at {path}; move it back, or open the project where it is now."
            )
        yield Footage(stored.name, stored.fingerprint, path, stored.height, stored.width, known, project, stored.id)


def _known_objects(project: Project, stored: StoredVideo, tracked: bool) -> Iterator[KnownObject]:
    accepted = set(project.accepted(stored.id))
    imports = [run.id for run in project.runs(stored.id) if "import" in run.settings]
    whole = sorted({frame for run in imports for frame in project.frames_done(stored.id, run)})
    for item in project.objects(stored.id):
        points = [
            (point.frame, point.area > 0, point.source)
            for point in project.track(stored.id, item.object_id)
            if tracked or point.source in GIVEN or (point.frame, item.object_id) in accepted
        ]
        found = {frame: present for frame, present, _ in points}
        came = [frame for frame, present, source in points if source is Source.IMPORTED and present]
        # A file of masks is whole: between an object's first and last mask, a frame without one is a frame without it.
        for frame in whole if came else []:
            if came[0] < frame < came[-1]:
                found.setdefault(frame, False)
        frames = np.array(sorted(found), np.int64)
        yield KnownObject(item.object_id, item.label, frames, np.array([found[int(f)] for f in frames], np.bool_))
