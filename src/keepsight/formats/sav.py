"""SA-V folders: one folder an object, one picture of two values a frame, so objects may overlap and have holes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keepsight.core import InputError, Mask
from keepsight.formats.exchange import Export, Import, ReadFrame, ReadObject, numbered
from keepsight.formats.labels import read_labels, write_labels
from keepsight.formats.pictures import check_picture


def write_sav(source: Export, folder: Path) -> None:
    """Writes ``000/00000.png``: object id, frame. An object has a picture for every frame where it was looked for, black where it
    was absent; ids stay as they are, with more digits where three are too few."""
    made = set()
    for result in source.results():
        if not result.objects:
            source.losses["empty_frames"] += 1
        for item in result.objects:
            target = folder / f"{item.object_id:03d}"
            if item.object_id not in made:
                target.mkdir()
                made.add(item.object_id)
            write_labels(target / f"{result.frame:05d}.png", item.mask.to_array().astype(np.uint8))


def read_sav(source: Import) -> Iterator[ReadFrame]:
    """Reads a video's folder; one frame of all objects in memory. Every value but 0 is the object."""
    if not source.path.is_dir():
        raise InputError(f"{source.path} is not a folder of one folder an object.")
    folders = sorted(
        (int(entry.name), entry) for entry in source.path.iterdir() if re.fullmatch("[0-9]{1,19}", entry.name)
    )
    frames: dict[int, list[tuple[int, Path]]] = {}
    for value, folder in folders:
        object_id = source.object_id(value, str(folder))
        source.declare(object_id, None)
        for frame, file in numbered(folder, ".png"):
            frames.setdefault(frame, []).append((object_id, file))
    if not frames:
        raise InputError(f"{source.path} holds no folders 000, 001, ... with pictures; give the folder of one video.")
    order = {object_id: place for place, object_id in enumerate(source.declared)}
    for frame in sorted(frames):
        pairs = sorted(frames.pop(frame), key=lambda pair: order[pair[0]])
        yield ReadFrame(frame, tuple(ReadObject(object_id, _read(source, file)) for object_id, file in pairs))


def _read(source: Import, file: Path) -> Mask:
    check_picture(source, file)
    masks = list(read_labels(file).values())
    if len(masks) > 1:
        raise InputError(f"{file} holds {len(masks)} values besides 0; a picture of SA-V holds one object.")
    return masks[0] if masks else Mask.empty(source.height, source.width)
