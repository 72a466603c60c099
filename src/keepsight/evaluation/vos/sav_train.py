"""SA-V's training annotations: run lengths of every fourth frame, a JSON file a video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from keepsight.core import InputError, Mask
from keepsight.evaluation.vos.maps import FrameMasks, ObjectMaps
from keepsight.evaluation.vos.sources import MaskSource

_EVERY = 4
"""Videos have 24 frames a second, annotations 6."""


@dataclass(frozen=True)
class SavAnnotations(MaskSource):
    """``sav_000001_manual.json``; the file is read when it is first asked, and one file at a time is held."""

    path: Path

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(0, _EVERY * len(_load(self.path)["masklet"]), _EVERY))

    @property
    def objects(self) -> tuple[int, ...]:
        return tuple(sorted(_load(self.path)["masklet_id"]))

    def numbers_of(self, object_id: int) -> tuple[int, ...]:
        found = _load(self.path)
        first = found["masklet_first_appeared_frame"][found["masklet_id"].index(object_id)]
        return tuple(number for number in self.numbers if number >= first)

    def read(self, number: int) -> FrameMasks:
        found = _load(self.path)
        frame = found["masklet"][number // _EVERY]
        masks = {object_id: Mask.from_coco(rle) for object_id, rle in zip(found["masklet_id"], frame, strict=True)}
        return ObjectMaps(masks, (int(found["video_height"]), int(found["video_width"])))


@lru_cache(maxsize=1)
def _load(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["masklet_id"] = [int(number) for number in found["masklet_id"]]
        found["masklet_first_appeared_frame"] = [int(number) for number in found["masklet_first_appeared_frame"]]
        if any(len(frame) != len(found["masklet_id"]) for frame in found["masklet"]):
            raise ValueError("a frame does not have a mask an object")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no annotation of SA-V: {error!r}.") from None
    return found
