"""A folder of palette PNGs, one a frame: what DAVIS, YouTube-VOS and MOSE evaluate and most tools exchange."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keepsight.core import FrameResult, InputError, Mask
from keepsight.formats.labels import MAX_ID, read_labels, write_labels
from keepsight.store import Project
from keepsight.store.files import replacing_folder

IDS_FILE = "ids.json"
_OURS = r"\d+\.png|ids\.json"


@dataclass(frozen=True)
class DavisExport:
    """What was written, and what the format could not hold.

    Attributes:
        frames: pictures written.
        overlap_px: pixels (summed over frames) that belonged to several objects and show the one added last.
        ids: object id -> value in the pictures; differs from the object id only where that is 0 or above 254.
    """

    frames: int
    overlap_px: int
    ids: dict[int, int]


def flatten(result: FrameResult, ids: dict[int, int] | None = None) -> tuple[NDArray[np.uint8], int]:
    """One picture of ids for a frame, ``(H, W)`` uint8, and the number of pixels that several objects claimed.

    Where objects overlap, the one added last is on top. Scores would be a finer rule but change from frame to frame, and a pixel
    that flips between two objects is worse to train or evaluate on than one that is always given to the same.

    Args:
        ids: value for each object id; the ids themselves when left out.
    """
    labels = np.zeros((result.height, result.width), np.uint8)
    overlap = 0
    for item in result.objects:
        box = item.mask.box
        if box is None:
            continue
        x1, y1, x2, y2 = (int(side) for side in box)
        window, pixels = labels[y1:y2, x1:x2], item.mask.to_array()[y1:y2, x1:x2]
        overlap += int(np.count_nonzero(window[pixels]))
        window[pixels] = item.object_id if ids is None else ids[item.object_id]
    return labels, overlap


def export_davis(
    project: Project,
    video_id: int,
    folder: str | os.PathLike[str],
    *,
    start: int | None = None,
    stop: int | None = None,
) -> DavisExport:
    """Writes ``folder/00000.png`` and on, one palette PNG for every stored frame, named by the frame's index.

    An earlier export in ``folder`` is replaced as a whole. Where an object id is 0 or above 254, which a palette cannot hold,
    values are dealt from 1 in the order of the objects and ``ids.json`` (value -> object id) is written beside the pictures.

    Raises:
        InputError: more than 254 objects.
        StoreError: the folder holds other files or cannot be written.
    """
    ids = _palette_ids([item.object_id for item in project.objects(video_id)])
    frames = overlap = 0
    with replacing_folder(folder, _OURS) as temporary:
        for result in project.results(video_id, start, stop):
            labels, shared = flatten(result, ids)
            write_labels(temporary / f"{result.frame:05d}.png", labels)
            frames += 1
            overlap += shared
        if any(value != object_id for object_id, value in ids.items()):
            table = {str(value): object_id for object_id, value in ids.items()}
            (temporary / IDS_FILE).write_text(json.dumps(table, indent=1), encoding="utf-8")
    return DavisExport(frames, overlap, ids)


def read_davis(folder: str | os.PathLike[str]) -> Iterator[tuple[int, dict[int, Mask]]]:
    """Reads a folder of label PNGs in order: ``(frame index from the file name, object id -> mask)``; one frame in memory.

    Accepts what :func:`read_labels` accepts, and undoes the renumbering of ``ids.json``.

    Raises:
        InputError: no such folder, no PNG in it, a file name without a number, a picture that is no label map.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Mask folder {root} does not exist.")
    files = sorted((_frame_index(file), file) for file in root.iterdir() if file.suffix.lower() == ".png")
    if not files:
        raise InputError(f"Mask folder {root} holds no PNG files.")
    ids = _read_ids(root / IDS_FILE)
    colours: dict[int, int] = {}
    for index, file in files:
        yield index, {ids.get(value, value): mask for value, mask in read_labels(file, colours).items()}


def _palette_ids(object_ids: list[int]) -> dict[int, int]:
    if len(object_ids) > MAX_ID:
        raise InputError(
            f"A palette PNG holds {MAX_ID} objects, the project has {len(object_ids)}; export YTVIS JSON instead."
        )
    if all(0 < object_id <= MAX_ID for object_id in object_ids):
        return {object_id: object_id for object_id in object_ids}
    return {object_id: value for value, object_id in enumerate(object_ids, start=1)}


def _frame_index(file: Path) -> int:
    numbers = re.findall(r"\d+", file.stem)
    if not numbers:
        raise InputError(f"{file} has no frame number in its name; name masks 00000.png, 00001.png and so on.")
    return int(numbers[-1])


def _read_ids(file: Path) -> dict[int, int]:
    if not file.exists():
        return {}
    try:
        return {int(value): int(object_id) for value, object_id in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not a table of ids: {error}.") from error
