"""GOT-10k: a folder a sequence with its pictures and labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.layouts.base import (
    Layout,
    check_inside,
    count_images,
    folders_in,
    names_in,
    only_target,
)
from keepsight.evaluation.box.overlaps import Bools
from keepsight.evaluation.box.sequences import BoxSequence
from keepsight.evaluation.box.tables import read_boxes, read_flags, read_lines, read_values

_MOTION = ("motion_class", "major_class", "root_class")


class Got10k(Layout):
    """``val/GOT-10k_Val_000001/00000001.jpg`` with ``groundtruth.txt``, ``absence.label``, ``cover.label`` and
    ``meta_info.ini``; the truth of the ``test`` part is withheld beyond the first frame.

    The root may be the data set or one of its parts.
    """

    kind = "got10k"
    family = "average-overlap"
    splits = ("val", "test", "train")

    def expected(self) -> str:
        return f"{self.split}/GOT-10k_..._000001/00000001.jpg with groundtruth.txt beside the pictures"

    def _find(self, listed: Path | None) -> tuple[str, ...]:
        if (self.root / str(self.split)).is_dir():
            self.root = self.root / str(self.split)
        if listed is None and (self.root / "list.txt").is_file():
            listed = self.root / "list.txt"
        if listed is not None:
            return check_inside(listed, names_in(listed))
        return tuple(name for name in folders_in(self.root) if (self.root / name / "groundtruth.txt").is_file())

    def read(self, name: str) -> BoxSequence:
        folder = self.root / name
        path = folder / "groundtruth.txt"
        boxes = read_boxes(path)
        pictures = count_images(folder)
        withheld = len(boxes) == 1 < pictures
        if not withheld and pictures != len(boxes):
            raise InputError(f"{folder} holds {pictures} pictures, but {path.name} has {len(boxes)} lines.")
        if withheld:
            boxes = np.concatenate([boxes, np.full((pictures - 1, 4), np.nan)])
        visible, moments = self._labels(folder, pictures)
        meta = _meta(folder / "meta_info.ini")
        return BoxSequence(
            name,
            folder,
            pictures,
            (only_target(boxes, visible, path),),
            size=_size(meta.get("resolution", ""), folder),
            attributes=tuple(meta[key] for key in _MOTION if meta.get(key)),
            moments=moments,
            withheld=withheld,
        )

    def _labels(self, folder: Path, frames: int) -> tuple[Bools, dict[str, Bools]]:
        visible, moments = np.ones(frames, bool), {}
        if (folder / "cover.label").is_file():
            # From 0, nothing of the object is visible, to 8, all of it.
            visible = read_values(folder / "cover.label", frames) > 0
        elif (folder / "absence.label").is_file():
            visible = ~read_flags(folder / "absence.label", frames)
        for file, attribute in (("absence.label", "absent"), ("cut_by_image.label", "cut by the frame")):
            if (folder / file).is_file():
                moments[attribute] = read_flags(folder / file, frames)
        return visible, moments

    @property
    def withheld(self) -> bool:
        return self.read(self.names[0]).withheld

    def prediction_files(self, folder: Path, name: str) -> list[Path]:
        return [folder / name / f"{name}_001.txt"]

    def time_files(self, folder: Path, name: str) -> list[Path]:
        return [folder / name / f"{name}_time.txt"]


def _meta(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.partition(": ") for line in read_lines(path))
    return {key.strip(): value.strip() for key, mark, value in pairs if mark}


def _size(text: str, folder: Path) -> tuple[int, int] | None:
    """``(1920, 1080)``, as the meta file says it, as height and width."""
    if not text:
        return None
    numbers = re.fullmatch(r"\(?\s*(\d{1,5})\s*[,x]\s*(\d{1,5})\s*\)?", text)
    if numbers is None:
        raise InputError(f"{folder / 'meta_info.ini'}: resolution '{text[:40]}' is not (width, height).")
    return int(numbers[2]), int(numbers[1])
