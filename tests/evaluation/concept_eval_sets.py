"""Small sets of phrases in video, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keepsight.core import Mask

SIZE = (40, 60)

#: (left, top, right, bottom) by frame.
Boxes = Mapping[int, tuple[int, int, int, int]]


def rle(left: int, top: int, right: int, bottom: int, *, counts: str = "text") -> dict[str, Any]:
    """A filled box as run lengths: ``text`` as pycocotools writes them, ``list`` as YTVIS does."""
    mask = Mask.from_box(*SIZE, left, top, right, bottom)
    if counts == "text":
        return mask.to_coco()
    flat = mask.to_array().T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return {"size": list(SIZE), "counts": np.diff([0, *edges, flat.size]).tolist()}


def annotation(video: int, category: int, boxes: Boxes, length: int, **other: Any) -> dict[str, Any]:
    counts = other.pop("counts", "text")
    masks = [rle(*boxes[frame], counts=counts) if frame in boxes else None for frame in range(length)]
    return {"video_id": video, "category_id": category, "segmentations": masks, "iscrowd": 0, **other}


def set_of(
    lengths: Sequence[int],
    phrases: Sequence[str],
    annotations: Sequence[dict[str, Any]],
    pairs: Sequence[tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """A set as JSON.

    Args:
        lengths: frames by video; videos and categories count from 1.
        pairs: what is asked for (video, category); without them it is a YTVIS file.
    """
    made: dict[str, Any] = {
        "videos": [
            {
                "id": number,
                "file_names": [f"v{number}/{4 * frame:05d}.jpg" for frame in range(length)],
                "height": SIZE[0],
                "width": SIZE[1],
                "length": length,
            }
            for number, length in enumerate(lengths, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(phrases, 1)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
    }
    if pairs is not None:
        counts = [(entry["video_id"], entry["category_id"]) for entry in annotations]
        made["video_np_pairs"] = [
            {
                "id": place,
                "video_id": video,
                "category_id": category,
                "noun_phrase": phrases[category - 1],
                "num_masklets": counts.count((video, category)),
            }
            for place, (video, category) in enumerate(pairs)
        ]
    return made


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def still(right: int, frames: int, *, left: int = 0, top: int = 0) -> dict[int, tuple[int, int, int, int]]:
    """A box of 10 rows that stays where it is."""
    return dict.fromkeys(range(frames), (left, top, right, top + 10))


def write_pictures(folder: Path, video: str, frames: int, size: tuple[int, int] = SIZE) -> None:
    (folder / video).mkdir(parents=True)
    for frame in range(frames):
        Image.fromarray(np.full((*size, 3), frame, np.uint8)).save(folder / video / f"{frame:05d}.jpg")
