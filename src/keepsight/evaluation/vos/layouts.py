"""Data sets as they are downloaded: where their frames, masks and lists lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.evaluation.vos.clips import Clip, Dataset
from keepsight.evaluation.vos.protocol import DatasetKind, Frames, Objects, Protocol, Skip
from keepsight.evaluation.vos.sav_train import SavAnnotations
from keepsight.evaluation.vos.sources import MaskSource, masks_in, numbered
from keepsight.evaluation.vos.statistics import SEEN, UNSEEN

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_FILMS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
_MASK_FOLDERS = ("Annotations", "annotations", "masks")
_FRAME_FOLDERS = ("JPEGImages", "frames", "images", "videos", ".")
META, UNSEEN_VIDEOS = "meta.json", "unseen_videos.txt"


@dataclass(frozen=True)
class Layout:
    """A kind of data set.

    Attributes:
        title: for people.
        split: the part that is taken when none is said.
        read: root, split and whether frames between the annotated ones are wanted too -> the set.
    """

    title: str
    split: str
    read: Callable[[Path, str, bool], Dataset]


def open_dataset(root: Path, kind: DatasetKind, split: str | None = None, *, all_frames: bool = False) -> Dataset:
    """Reads the lists of a data set; no picture is opened.

    Args:
        kind: its layout.
        split: "val", "test-dev", ...; default: the part that is scored in papers.
        all_frames: YouTube-VOS: follow at the full frame rate, which is another download (``valid_all_frames``).

    Raises:
        InputError: no such folder, a part of the layout that is not there, a list that cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"Data set folder {root} does not exist.")
    layout = LAYOUTS[kind]
    found = layout.read(root, layout.split if split is None else split, all_frames)
    if not found.clips:
        raise InputError(f"{root} holds no videos in the layout of {layout.title}.")
    return replace(found, clips=tuple(sorted(found.clips, key=lambda clip: clip.name)))


# -- parts of a layout ---------------------------------------------------------------------------------------------------
def _folder(path: Path, what: str) -> Path:
    if not path.is_dir():
        raise InputError(
            f"{what} is to be in {path}, but there is no such folder; check DATASET_ROOT, --dataset and --split."
        )
    return path


def _listed(path: Path) -> list[str]:
    try:
        return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list of videos {path} cannot be read: {error}; check --split.") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found["videos"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no list of videos: {error!r}.") from None


def _below(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _clip(name: str, frames: Path | None, masks: Path | None, **more: Any) -> Clip:
    """A clip of a folder of frames, with masks where there are any."""
    truth = masks_in(masks) if masks is not None and masks.is_dir() else None
    if frames is None or not frames.is_dir():
        return Clip(name, frames, (), (), truth, **more)
    names = numbered(frames, _PICTURES)
    if not names:
        raise InputError(f"{frames} holds no pictures.")
    return Clip(name, frames, tuple(Path(file).stem for file in names.values()), tuple(names), truth, **more)


def _there(names: list[str], frames: Path) -> list[str]:
    for name in names:
        _folder(frames / name, f"Video {name}")
    return names


# -- the sets ------------------------------------------------------------------------------------------------------------
def _davis(root: Path, split: str, all_frames: bool) -> Dataset:
    pictures = _folder(root / "JPEGImages", "DAVIS' JPEGImages")
    sizes = [name for name in ("480p", "Full-Resolution") if (pictures / name).is_dir()]
    if not sizes:
        raise InputError(f"{pictures} holds neither 480p nor Full-Resolution, as DAVIS has it.")
    frames, masks = pictures / sizes[0], root / "Annotations" / sizes[0]
    names = _there(_listed(root / "ImageSets" / "2017" / f"{split}.txt"), frames)
    clips = tuple(_clip(name, frames / name, masks / name) for name in names)
    return Dataset(DatasetKind.DAVIS17, root, split, clips, Protocol(objects=Objects.FIRST))


def _youtube(root: Path, split: str, all_frames: bool) -> Dataset:
    part = _folder(root / split, "The part of YouTube-VOS")
    frames = _folder(part / "JPEGImages", "YouTube-VOS' JPEGImages")
    masks = _folder(part / "Annotations", "YouTube-VOS' Annotations")
    dense = (
        _folder(root / f"{split}_all_frames" / "JPEGImages", "Frames between the annotated ones")
        if all_frames
        else frames
    )
    meta = _json(part / META) if (part / META).is_file() else {}
    seen = _seen_categories(root)
    remarks: tuple[str, ...] = ()
    if meta and not seen:
        remarks = (f"Which categories were seen in training is told by train/{META}, which is not in {root}.",)
    clips = []
    for name in _there(sorted(meta) or _below(masks), frames):
        clip = _clip(name, dense / name, masks / name, groups=_kinds(meta.get(name, {}), seen))
        wanted = frozenset(numbered(frames / name, _PICTURES)) if all_frames else frozenset()
        clips.append(replace(clip, wanted=wanted))
    protocol = Protocol(skip=Skip.FIRST, frames=Frames.OBJECT, objects=Objects.ALL, split="youtube-vos")
    return Dataset(
        DatasetKind.YOUTUBE_VOS, root, split, tuple(clips), protocol, subfolder="Annotations", remarks=remarks
    )


def _seen_categories(root: Path) -> frozenset[str]:
    path = root / "train" / META
    if not path.is_file():
        return frozenset()
    videos = _json(path).values()
    return frozenset(
        item["category"] for video in videos for item in video.get("objects", {}).values() if "category" in item
    )


def _kinds(video: Mapping[str, Any], seen: frozenset[str]) -> dict[int, tuple[str, ...]]:
    if not seen:
        return {}
    return {
        int(object_id): (SEEN if item["category"] in seen else UNSEEN,)
        for object_id, item in video.get("objects", {}).items()
        if "category" in item
    }


def _mose(root: Path, split: str, all_frames: bool) -> Dataset:
    part = _folder(root / split, "The part of MOSE")
    frames = _folder(part / "JPEGImages", "MOSE's JPEGImages")
    masks = _folder(part / "Annotations", "MOSE's Annotations")
    clips = tuple(_clip(name, frames / name, masks / name) for name in _there(_below(masks), frames))
    return Dataset(DatasetKind.MOSE, root, split, clips, Protocol())


def _lvos(root: Path, split: str, all_frames: bool) -> Dataset:
    part = _folder(root / split, "The part of LVOS")
    frames = _folder(part / "JPEGImages", "LVOS' JPEGImages")
    masks = _folder(part / "Annotations", "LVOS' Annotations")
    places = [part / f"{split}_meta.json", root / f"{split}_meta.json", part / META]
    meta = _json(next((place for place in places if place.is_file()), places[0]))
    lists = [place for place in (part / UNSEEN_VIDEOS, root / UNSEEN_VIDEOS) if place.is_file()]
    unseen = frozenset(_listed(lists[0]) if lists else ())
    remarks: tuple[str, ...] = ()
    if not lists:
        remarks = (f"Which videos are unseen is told by LVOS' {UNSEEN_VIDEOS}, which is not in {root}; copy it there.",)
    clips = []
    for name in _there(sorted(meta), frames):
        objects = {int(number): item for number, item in meta[name].get("objects", {}).items()}
        kind = (UNSEEN if name in unseen else SEEN,) if lists else ()
        groups, spans = dict.fromkeys(objects, kind), {number: _span(name, item) for number, item in objects.items()}
        clips.append(_clip(name, frames / name, masks / name, groups=groups, spans=spans))
    protocol = Protocol(frames=Frames.OBJECT, objects=Objects.ALL, split="lvos")
    return Dataset(DatasetKind.LVOS, root, split, tuple(clips), protocol, remarks=remarks)


def _span(name: str, item: Mapping[str, Any]) -> tuple[int, int]:
    try:
        return int(item["frame_range"]["start"]), int(item["frame_range"]["end"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"The list of LVOS says no frame_range for an object of {name}.") from None


def _sav(root: Path, split: str, all_frames: bool) -> Dataset:
    part = next((place for place in (root / f"sav_{split}", root / split) if place.is_dir()), root)
    protocol = Protocol(frames=Frames.OBJECT)
    if split == "train":
        clips = []
        for path in sorted(part.rglob("*_manual.json")):
            name = path.name.removesuffix("_manual.json")
            clips.append(Clip(name, path.with_name(f"{name}.mp4"), (), (), SavAnnotations(path)))
        return Dataset(DatasetKind.SA_V, root, split, tuple(clips), protocol, per_object=True)
    frames = _folder(part / "JPEGImages_24fps", "SA-V's JPEGImages_24fps")
    masks = _folder(part / "Annotations_6fps", "SA-V's Annotations_6fps")
    listing = part / f"sav_{split}.txt"
    names = _there(_listed(listing) if listing.is_file() else _below(masks), frames)
    clips = [_clip(name, frames / name, masks / name) for name in names]
    return Dataset(DatasetKind.SA_V, root, split, tuple(clips), protocol, per_object=True)


def _plain(root: Path, split: str, all_frames: bool) -> Dataset:
    part = _folder(root / split, "The part of the data set") if split else root
    masks = next((part / name for name in _MASK_FOLDERS if (part / name).is_dir()), part)
    if any(entry.suffix.lower() == ".png" for entry in masks.iterdir()):
        names, lone = [masks.resolve().name], True
    else:
        names, lone = _below(masks), False
    clips = []
    for name in names:
        folder = masks if lone else masks / name
        clips.append(_clip(name, _frames_of(part, name), folder))
    protocol = Protocol()
    per_object = bool(clips) and all(clip.truth is not None and clip.truth.objects is not None for clip in clips)
    if per_object:
        protocol = protocol.but(frames=Frames.OBJECT)
    return Dataset(DatasetKind.FOLDER, root, split, tuple(clips), protocol, per_object=per_object)


def _frames_of(part: Path, name: str) -> Path | None:
    for place in _FRAME_FOLDERS:
        folder = part / place / name
        if place != "." and folder.is_dir():
            return folder
        for suffix in _FILMS:
            film = part / place / f"{name}{suffix}"
            if film.is_file():
                return film
    return None


LAYOUTS = {
    DatasetKind.DAVIS17: Layout("DAVIS 2017", "val", _davis),
    DatasetKind.YOUTUBE_VOS: Layout("YouTube-VOS", "valid", _youtube),
    DatasetKind.MOSE: Layout("MOSE", "valid", _mose),
    DatasetKind.LVOS: Layout("LVOS", "valid", _lvos),
    DatasetKind.SA_V: Layout("SA-V", "val", _sav),
    DatasetKind.FOLDER: Layout("a folder with Annotations and JPEGImages or videos", "", _plain),
}


def predictions_in(folder: Path, subfolder: str = "") -> Callable[[str], MaskSource | None]:
    """Predictions by the video's name, in a folder of a folder a video, or of a run of ``keepsight eval vos``.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"Folder of predictions {folder} does not exist.")
    for name in ("predictions", subfolder, "Annotations"):
        if name and (folder / name).is_dir():
            folder = folder / name

    def of(name: str) -> MaskSource | None:
        return masks_in(folder / name) if (folder / name).is_dir() else None

    return of
