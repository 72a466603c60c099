"""The exchange formats by name, and what is the same for all of them: writing into a folder, reading into a project."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from keepsight.core import FrameResult, InputError, Prompt, Source, StoreError, TrackedObject
from keepsight.formats import coco, cvat, labelme, mot, pictures, sav, tables, yolo, ytvis
from keepsight.formats.exchange import SIDECAR, Export, Import, ReadFrame
from keepsight.store import Project
from keepsight.store.files import replacing_folder


@dataclass(frozen=True)
class Format:
    """One exchange format.

    Attributes:
        about: what it is, for lists.
        files: regular expression of the files that it writes, by their path in the folder; only these are ever replaced.
        boxes: the format has boxes and no masks.
        scores: the format has a place for them.
        images: folder for the video's pictures, where loaders of the format look for them.
    """

    about: str
    write: Callable[[Export, Path], None]
    read: Callable[[Import], Iterator[ReadFrame]]
    files: str
    boxes: bool = False
    scores: bool = True
    images: str = "images"


FORMATS = {
    "davis": Format(
        "palette PNG a frame (DAVIS, YouTube-VOS, MOSE)",
        pictures.write_palette,
        pictures.read_palette,
        r"\d+\.png",
        scores=False,
    ),
    "sav": Format("binary PNG an object and frame (SA-V)", sav.write_sav, sav.read_sav, r"\d+/\d+\.png", scores=False),
    "coco": Format("COCO JSON, run lengths a frame", coco.write_coco, coco.read_coco, r"annotations\.json"),
    "ytvis": Format(
        "YouTube-VIS JSON, run lengths a track", ytvis.write_ytvis, ytvis.read_ytvis_tracks, r"annotations\.json"
    ),
    "yolo": Format(
        "YOLO segmentation dataset",
        yolo.write_yolo,
        yolo.read_yolo,
        r"data\.yaml|(labels|tracks)/\d+\.txt",
        scores=False,
    ),
    "labelme": Format(
        "LabelMe / X-AnyLabeling JSON a frame",
        labelme.write_labelme,
        labelme.read_labelme,
        r"[^/]*\d[^/]*\.json",
        images=".",
    ),
    "mot": Format(
        "MOT text, boxes",
        mot.write_mot,
        mot.read_mot,
        r"gt/gt\.txt|results\.txt|seqinfo\.ini|labels\.txt",
        boxes=True,
        images="img1",
    ),
    "mots": Format(
        "MOTS text, run lengths",
        mot.write_mots,
        mot.read_mots,
        r"gt/gt\.txt|seqinfo\.ini|labels\.txt",
        scores=False,
        images="img1",
    ),
    "cvat": Format("CVAT for video 1.1 XML", cvat.write_cvat, cvat.read_cvat, r"annotations\.xml", scores=False),
    "csv": Format("plain table of boxes", tables.write_csv, tables.read_csv, r"boxes\.csv", boxes=True),
    "parquet": Format(
        "plain table of boxes, Parquet", tables.write_parquet, tables.read_parquet, r"boxes\.parquet", boxes=True
    ),
}


def format_named(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: there is none; the line lists them.
    """
    if name not in FORMATS:
        raise InputError(f"There is no format {name!r}. There are: {', '.join(FORMATS)}.")
    return FORMATS[name]


def export_tracks(
    project: Project,
    video_id: int,
    name: str,
    folder: str | os.PathLike[str],
    *,
    start: int | None = None,
    stop: int | None = None,
    base: str | os.PathLike[str] | None = None,
    simplify_px: float = 0.0,
    overwrite: bool = False,
    also: Callable[[Path], None] | None = None,
) -> Export:
    """Writes one video's objects into ``folder`` in the format ``name``, with ``export.json`` beside it.

    The folder appears whole or not at all. Memory does not grow with the video. What the format cannot hold is resolved by the
    rule that its writer states and counted in the ledger of what is returned, which ``export.json`` has too.

    Args:
        start, stop: only frames ``start <= frame < stop``.
        base: LabelMe only: earlier files whose unknown keys and other shapes are kept.
        simplify_px: formats of polygons: how far an outline may leave the mask's; 0 keeps every pixel.
        overwrite: replaces an earlier export; a folder that holds anything else is never replaced.
        also: adds files (pictures) to the folder before it takes its name; the folder is passed.

    Raises:
        InputError: no such format, no results on these frames, a base that cannot be read.
        StoreError: the folder exists, or cannot be written.
    """
    chosen, target = format_named(name), Path(folder)
    if base is not None and name != "labelme":
        raise InputError(f"Only labelme takes over what earlier files hold besides; {name} has no room for it.")
    if not 0 <= simplify_px <= 100:
        raise InputError(f"Outlines can be simplified by 0 to 100 px, not {simplify_px:g}.")
    check_target(target, overwrite=overwrite)
    source = Export(
        project,
        project.video(video_id),
        project.objects(video_id),
        start,
        stop,
        None if base is None else Path(base),
        simplify_px,
    )
    if next(source.project.results(video_id, start, stop), None) is None:
        raise InputError(f"{project.path} has no results on these frames, so there is nothing to export.")
    pictures_too = rf"{chosen.images}/\d+\.jpg" if chosen.images != "." else r"\d+\.jpg"
    with replacing_folder(target, rf"{chosen.files}|{pictures_too}|{SIDECAR}") as temporary:
        chosen.write(source, temporary)
        if not chosen.scores:
            source.losses["scores"] = source.masks
        if also is not None:
            also(temporary if chosen.images == "." else temporary / chosen.images)
        (temporary / SIDECAR).write_text(json.dumps(source.sidecar(name), indent=1) + "\n", encoding="utf-8")
    return source


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Refuses a place that is taken.

    Raises:
        StoreError: the folder is there and not empty, and ``overwrite`` was not asked for.
    """
    if folder.exists() and not overwrite and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} already exists; replace it by --overwrite, or choose another --out.")


@dataclass(frozen=True)
class Imported:
    """What came in: counts, and the reader's ledger."""

    frames: int
    objects: int
    masks: int
    source: Import


def import_tracks(
    project: Project,
    video_id: int,
    name: str,
    path: str | os.PathLike[str],
    *,
    new_ids: bool = False,
    replace: bool = False,
) -> Imported:
    """Reads finished tracks into a project, as a run of its own with masks of source ``imported``: all of the file or nothing.

    Args:
        new_ids: gives every object a fresh id, so that nothing of the project changes.
        replace: objects of the file that the project has get the file's masks on the file's frames; otherwise an id that
            is taken is refused.

    Raises:
        InputError: a file that cannot be used, an id that is taken, frames behind the end of the video.
    """
    chosen, video = format_named(name), project.video(video_id)
    source = Import(_existing(path), video.height, video.width)
    taken = {item.object_id for item in project.objects(video_id)}
    ids: dict[int, int] = {}
    fresh = project.next_object_id(video_id)
    frames = masks = 0

    def id_of(object_id: int) -> int:
        nonlocal fresh
        if object_id not in ids:
            if new_ids:
                ids[object_id], fresh = fresh, fresh + 1
            elif object_id in taken and not replace:
                raise InputError(
                    f"The project has an object {object_id} already; add the file's objects as new ones (--new-ids) or "
                    "replace masks on the file's frames (--replace)."
                )
            else:
                ids[object_id] = object_id
            if ids[object_id] not in taken:
                project.add_object(video_id, ids[object_id], source.declared.get(object_id))
        return ids[object_id]

    def announce() -> None:
        """Adds objects in the order in which the file declares them, which may not be the order in which they appear."""
        for object_id in source.declared:
            id_of(object_id)

    with project.transaction():
        run = project.start_run(video_id, {"import": {"format": name, "path": str(source.path.resolve())}})
        for read in chosen.read(source):
            if video.frame_count is not None and read.frame >= video.frame_count:
                raise InputError(
                    f"{source.path} has frame {read.frame}, but the video has {video.frame_count} frames, from 0."
                )
            if len(source.declared) > len(ids):
                announce()
            items = tuple(
                TrackedObject(id_of(item.object_id), item.mask, item.score, float(item.mask.area > 0), Source.IMPORTED)
                for item in read.objects
            )
            time_s = read.frame / video.fps if read.time_s is None else read.time_s
            project.write_result(
                video_id, run, FrameResult(read.frame, time_s, video.height, video.width, items), keep_edited=False
            )
            frames += 1
            masks += len(items)
        announce()
    project.finish_run(run, "finished", f"{masks} masks imported", {"troubles": dict(source.troubles)})
    return Imported(frames, len(ids), masks, source)


def import_prompts(
    name: str,
    path: str | os.PathLike[str],
    height: int,
    width: int,
    *,
    frames: Collection[int] | None = None,
    as_boxes: bool = False,
) -> tuple[list[Prompt], Import]:
    """Reads prompts instead of tracks: the masks (or boxes, where the format has only these) of chosen frames.

    Args:
        height, width: of the video, in px.
        frames: the frames; ``None`` takes the first frame of every object.
        as_boxes: boxes in place of masks.

    Raises:
        InputError: a file that cannot be used, or nothing on these frames.
    """
    chosen = format_named(name)
    source = Import(_existing(path), height, width)
    prompts: list[Prompt] = []
    seen: set[int] = set()
    for read in chosen.read(source):
        for item in read.objects:
            if item.mask.area == 0 or (item.object_id in seen if frames is None else read.frame not in frames):
                continue
            seen.add(item.object_id)
            label = source.declared.get(item.object_id)
            if as_boxes or chosen.boxes:
                box = item.box if item.box is not None else item.mask.box
                prompts.append(Prompt(item.object_id, read.frame, box=box, label=label))
            else:
                prompts.append(Prompt(item.object_id, read.frame, mask=item.mask, label=label))
    if not prompts:
        where = "" if frames is None else f" on frames {', '.join(map(str, sorted(frames)[:10]))}"
        raise InputError(f"{source.path} has no object{where}.")
    return prompts, source


def _existing(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.exists():
        raise InputError(f"{file} does not exist.")
    return file
