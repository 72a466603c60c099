"""All clips of one video put together again: one number an object, its cut-outs in one folder, its tracks in one project."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from keepsight.core import FrameResult, Mask, TrackedObject
from keepsight.formats.tables import TableWriter
from keepsight.pipeline.crops import OBJECTS_NAME, PLACE_COLUMNS, TABLES
from keepsight.pipeline.folder import add_video
from keepsight.pipeline.job import PROJECT_NAME
from keepsight.pipeline.seams import ClipObject, Identity, LinkRule, link_clips
from keepsight.store import Project
from keepsight.store.files import replacing_file, replacing_folder
from keepsight.video import VideoSource

IDENTITIES_NAME = "identities.csv"
_OURS = rf"{'|'.join(TABLES['both'])}|{IDENTITIES_NAME}|[^/]+_\d{{4,}}/clip_\d{{4,}}\.mp4"
_BOX_COLUMNS = {
    "identity": int,
    "label": str,
    **PLACE_COLUMNS,
    "clip": int,
    "object": int,
}
_IDENTITY_COLUMNS = (
    *("identity", "label", "clip", "object", "first_frame", "last_frame", "first_s", "last_s", "frames", "crop"),
)
_FRAMES_A_WRITE = 64


@dataclass(frozen=True)
class ClipPlace:
    """Where one clip of the video is.

    Attributes:
        frames: of the source that it holds.
        project: of its tracks; may not be there.
        crops: folder of its cut-outs; may not be there.
    """

    number: int
    frames: range
    project: Path
    crops: Path


@dataclass
class LinkOutcome:
    """What came of a video.

    Attributes:
        files: what was written, cut-outs included; the project, which is never the same byte for byte, is not among them.
        identities: as plain values, each with its parts, for the report.
        links: pairs of objects that were linked.
        shared_masks: masks on shared frames of which the earlier clip has one, too; that is kept.
        notes: lines a person should read.
    """

    files: list[Path]
    identities: list[dict[str, Any]]
    links: int
    shared_masks: int = 0
    notes: list[str] = field(default_factory=list)


class StoredTracks:
    """The tracks in a clip's project, in frame numbers of the source (:class:`keepsight.pipeline.seams.ClipTracks`).

    Args:
        height, width: of the source in px; where a side is odd, the clip has a row or column more.
    """

    def __init__(self, place: ClipPlace, height: int, width: int) -> None:
        self.place, self.number, self.frames = place, place.number, place.frames
        self._size = height, width

    def finished(self) -> bool:
        """Whether the clip was followed to its end."""
        if not self.place.project.is_file():
            return False
        with Project.open(self.place.project, read_only=True) as project:
            runs = [run for video in project.videos()[:1] for run in project.runs(video.id)]
            return bool(runs) and runs[-1].state == "finished"

    @cached_property
    def objects(self) -> Sequence[ClipObject]:
        with Project.open(self.place.project, read_only=True) as project:
            return list(self._objects(project))

    def _objects(self, project: Project) -> Iterator[ClipObject]:
        [video, *_] = project.videos()
        for item in project.objects(video.id):
            first, last, count = None, 0, 0
            for point in project.track(video.id, item.object_id):
                if point.box is not None:
                    first = first or (self.frames[point.frame], point.box)
                    last, count = self.frames[point.frame], count + 1
            if first is not None:
                yield ClipObject(item.object_id, item.label or "", first[0], last, count, first[1])

    def masks(self, start: int, stop: int) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        for frame, items in self.results(start, stop):
            yield frame, {item.object_id: item.mask for item in items}

    def results(self, start: int, stop: int) -> Iterator[tuple[int, list[TrackedObject]]]:
        """Visible objects on every frame with ``start <= frame < stop`` that was followed, in order."""
        first, step = self.frames.start, self.frames.step
        low, high = (max(-((first - frame) // step), 0) for frame in (start, stop))
        with Project.open(self.place.project, read_only=True) as project:
            for result in project.results(project.videos()[0].id, low, high):
                yield self.frames[result.frame], [self._fitted(item) for item in result.objects if item.mask.area]

    def _fitted(self, item: TrackedObject) -> TrackedObject:
        height, width = self._size
        if (item.mask.height, item.mask.width) == self._size:
            return item
        return replace(item, mask=Mask.from_array(item.mask.to_array()[:height, :width]))


def link_video(
    source: VideoSource, places: Sequence[ClipPlace], crops: Path, work: Path, rule: LinkRule, boxes: str = "csv"
) -> LinkOutcome:
    """Links the objects of a video's clips and writes what follows from that. Doing it again replaces everything.

    ``crops/objects/`` gets a folder an identity with its cut-outs by clip, ``identities.csv`` and ``boxes.csv``;
    ``work/project.keepsight`` the tracks of the whole video. Where clips share frames, the mask of the earlier one is kept.

    Args:
        places: the clips, by rising number; one that was not followed to its end is left out, and said.
        boxes: ``csv``, ``parquet`` or ``both``.

    Raises:
        StoreError: a folder cannot be written, or holds files of a person.
    """
    for folder, pattern in ((crops, f".{OBJECTS_NAME}.*"), (work, ".project.*")):
        for path in folder.glob(pattern):  # what a killed process left
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    tracks = [StoredTracks(place, source.height, source.width) for place in places]
    followed = [clip for clip in tracks if clip.finished()]
    linked = link_clips(followed, rule)
    outcome = LinkOutcome([], [], linked.links)
    missing = sorted({place.number for place in places} - {clip.number for clip in followed})
    if missing:
        outcome.notes.append(
            f"Clip {_listed(missing)} has no finished tracks, so no object is linked across it."
            if len(missing) == 1
            else f"Clips {_listed(missing)} have no finished tracks, so no object is linked across them."
        )
    target = crops / OBJECTS_NAME
    with replacing_folder(target, _OURS) as folder:
        files = _place_cutouts(linked.identities, {place.number: place.crops for place in places}, folder)
        _write_identities(folder / IDENTITIES_NAME, linked.identities, files, source)
        with replacing_file(work / PROJECT_NAME) as temporary, Project.create(temporary) as project:
            tables = [folder / name for name in TABLES[boxes]]
            outcome.shared_masks = _merge(followed, linked.identities, project, source, tables)
    outcome.files = [target / IDENTITIES_NAME, *(target / name for name in TABLES[boxes])]
    outcome.files += [target / path for path in files.values()]
    outcome.identities = [
        {
            "identity": identity.number,
            "label": identity.label,
            "clips": [clip for clip, _ in identity.parts],
            "frames": sum(item.frames for _, item in identity.parts),
            "first_s": round(float(source.times_s[identity.parts[0][1].first]), 4),
            "last_s": round(float(source.times_s[identity.parts[-1][1].last]), 4),
            "cutout": _longest(identity, files, target),
        }
        for identity in linked.identities
    ]
    return outcome


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:10])
    return shown if len(numbers) <= 10 else f"{shown} and {len(numbers) - 10} more"


def _longest(identity: Identity, files: Mapping[tuple[int, int], Path], target: Path) -> str | None:
    """The cut-out of the clip that shows it on most frames."""
    shown = [(item.frames, -clip, path) for clip, item in identity.parts if (path := files.get((clip, item.object_id)))]
    return str(target / max(shown)[2]) if shown else None


def _place_cutouts(
    identities: Sequence[Identity], crops: Mapping[int, Path], folder: Path
) -> dict[tuple[int, int], Path]:
    """Puts every cut-out below the name of its identity; paths inside the folder by (clip, object)."""
    placed = {}
    for identity in identities:
        for clip, item in identity.parts:
            made = crops[clip] / OBJECTS_NAME / f"{item.object_id}.mp4"
            if not made.is_file():
                continue
            path = Path(identity.name) / f"clip_{clip:04d}.mp4"
            (folder / identity.name).mkdir(exist_ok=True)
            try:
                os.link(made, folder / path)  # the same file under another name: takes no room
            except OSError:
                shutil.copyfile(made, folder / path)
            placed[clip, item.object_id] = path
    return placed


def _write_identities(
    path: Path, identities: Sequence[Identity], files: Mapping[tuple[int, int], Path], source: VideoSource
) -> None:
    times_s = source.times_s
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_IDENTITY_COLUMNS)
        for identity in identities:
            for clip, item in identity.parts:
                made = files.get((clip, item.object_id))
                writer.writerow(
                    (
                        *(identity.number, identity.label, clip, item.object_id, item.first, item.last),
                        *(f"{times_s[item.first]:.4f}", f"{times_s[item.last]:.4f}", item.frames),
                        made.as_posix() if made else "",
                    )
                )


def _merge(
    clips: Sequence[StoredTracks],
    identities: Sequence[Identity],
    project: Project,
    source: VideoSource,
    boxes: Sequence[Path],
) -> int:
    """Writes the tracks of the whole video into a project and its boxes into tables, side by side.

    Returns:
        How many masks on shared frames were left out because the earlier clip has one of the same object.
    """
    owner = {(clip, item.object_id): identity for identity in identities for clip, item in identity.parts}
    counts: Counter[str] = Counter()
    video = add_video(project, source)
    run = project.start_run(video, {"linked": [clip.number for clip in clips]})
    labels = {identity.number: identity.label for identity in identities if identity.label}
    times_s = source.times_s
    frames = _whole(clips, owner, counts)
    with TableWriter(boxes, _BOX_COLUMNS) as table:
        while group := list(islice(frames, _FRAMES_A_WRITE)):
            with project.transaction():
                for frame, shown in group:
                    time_s = float(times_s[frame])
                    objects = tuple(item for _, _, item in shown)
                    result = FrameResult(frame, time_s, source.height, source.width, objects)
                    project.write_result(video, run, result, labels=labels)
                    table.write(_box_row(frame, time_s, labels, *one) for one in shown)
    project.finish_run(run, "finished")
    return counts["shared"]


_Shown = tuple[int, int, TrackedObject]
"""Clip, the object's number in it, and the object under its number in the whole video."""


def _whole(
    clips: Sequence[StoredTracks], owner: Mapping[tuple[int, int], Identity], counts: Counter[str]
) -> Iterator[tuple[int, list[_Shown]]]:
    """Every followed frame of the video once, in order, with objects by identity; holds the shared frames of two clips."""
    held: dict[int, dict[int, _Shown]] = {}
    for place, clip in enumerate(clips):
        ahead = clips[place + 1].frames.start if place + 1 < len(clips) else clip.frames.stop
        for frame, items in clip.results(clip.frames.start, clip.frames.stop):
            shown = held.setdefault(frame, {})
            for item in items:
                number = owner[clip.number, item.object_id].number
                counts["shared"] += number in shown
                shown.setdefault(number, (clip.number, item.object_id, replace(item, object_id=number)))
            yield from _settled(held, min(frame + 1, ahead))
        yield from _settled(held, ahead)


def _settled(held: dict[int, dict[int, _Shown]], stop: int) -> Iterator[tuple[int, list[_Shown]]]:
    """Takes out the frames before ``stop``: no later clip has them."""
    for frame in sorted(frame for frame in held if frame < stop):
        yield frame, [one for _, one in sorted(held.pop(frame).items())]


def _box_row(
    frame: int, time_s: float, labels: Mapping[int, str], clip: int, old: int, item: TrackedObject
) -> tuple[Any, ...]:
    return (
        *(item.object_id, labels.get(item.object_id, ""), frame, f"{time_s:.4f}"),
        *(f"{value:g}" for value in item.mask.box or ()),
        *(item.mask.area, f"{item.score:.4f}", f"{item.presence:.4f}", clip, old),
    )
