"""A set in SA-Co/VEval's layout to try `keepsight eval concepts` on, with nothing to fetch: a camera that stands still, things
that pass before it, and clips in which nothing moves.

    python benchmarks/concept_set.py --out out/passers
    keepsight eval concepts out/passers/annotation/passers.json --media out/passers/media --detector motion --frames all

Pictures are there at 24 frames a second, annotations at 6, as in SA-Co's part of SA-V. Every clip is asked for "thing that
moves"; in the last quarter of the clips there is none. Two clips are asked for "parked car" too: there is none, but a detector
that reads no words finds for it what it finds for anything.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image

from fixed_camera import HEIGHT, WIDTH, FixedClip
from keepsight.core import Mask
from sprites import Pictures

EVERY = 4
MOVES, PARKED = {"id": 1, "name": "thing that moves"}, {"id": 2, "name": "parked car"}


def write_set(out: Path, pictures: Pictures, clips: int, frames: int, actors: int = 4) -> Path:
    """Writes pictures and annotations; returns the path of the annotations."""
    videos, annotations, pairs = [], [], []
    for number in range(1, clips + 1):
        empty = number > clips - max(clips // 4, 1)
        clip = FixedClip(pictures, 9000 + number, frames, 0 if empty else actors)
        folder = out / "media" / "saco_passers" / "JPEGImages_24fps" / f"passers_{number:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        for frame in clip.frames():
            Image.fromarray(frame.rgb).save(folder / f"{frame.index:05d}.jpg", quality=92)
        listed = list(range(0, frames, EVERY))
        videos.append(
            {
                "id": number,
                "video_name": folder.name,
                "file_names": [f"{folder.name}/{frame:05d}.jpg" for frame in listed],
                "height": HEIGHT,
                "width": WIDTH,
                "length": len(listed),
            }
        )
        tubes = 0
        for thing in clip.numbers:
            masks = [clip.truth(frame, thing) for frame in listed]
            if any(mask.area for mask in masks):
                annotations.append(_annotation(len(annotations) + 1, number, masks))
                tubes += 1
        pairs.append(_pair(number, MOVES, tubes))
        if number <= 2:
            pairs.append(_pair(number, PARKED, 0))
    path = out / "annotation" / "passers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"videos": videos, "annotations": annotations, "categories": [MOVES, PARKED], "video_np_pairs": pairs}
    path.write_text(json.dumps({"info": {"description": "made by benchmarks/concept_set.py"}, **found}))
    return path


def _annotation(number: int, video: int, masks: list[Mask]) -> dict[str, Any]:
    boxes = [mask.box for mask in masks]
    return {
        "id": number,
        "video_id": video,
        "category_id": MOVES["id"],
        "noun_phrase": MOVES["name"],
        "iscrowd": 0,
        "segmentations": [mask.to_coco() if mask.area else None for mask in masks],
        "areas": [mask.area or None for mask in masks],
        "bboxes": [box and [box[0], box[1], box[2] - box[0], box[3] - box[1]] for box in boxes],
    }


def _pair(video: int, category: dict[str, Any], tubes: int) -> dict[str, Any]:
    return {"video_id": video, "category_id": category["id"], "noun_phrase": category["name"], "num_masklets": tubes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the fetched packages (default: made-up pictures)")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=72)
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    arguments = parser.parse_args()
    pictures = Pictures.made_up() if arguments.data is None else Pictures.held_out(arguments.data)
    print(write_set(arguments.out, pictures, arguments.clips, arguments.frames))


if __name__ == "__main__":
    main()
