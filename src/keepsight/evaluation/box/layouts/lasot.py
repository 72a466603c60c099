"""LaSOT and its extension: a folder a class, in it a folder a video."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.layouts.base import (
    Layout,
    check_frames,
    check_inside,
    count_images,
    folders_in,
    names_in,
    only_target,
)
from keepsight.evaluation.box.layouts.lasot_testing import TESTING
from keepsight.evaluation.box.sequences import BoxSequence
from keepsight.evaluation.box.tables import read_boxes, read_flags, read_values

ATTRIBUTES = (
    *("illumination variation", "partial occlusion", "deformation", "motion blur", "camera motion", "rotation"),
    *("background clutter", "viewpoint change", "scale variation", "full occlusion", "fast motion", "out of view"),
    *("low resolution", "aspect ratio change"),
)
"""The columns of the attribute files, in their order (those of LaSOT's evaluation toolkit, ``annos/att/NAME.txt``)."""
_ATTRIBUTE_FOLDERS = ("att", "annos/att")
_LISTS = ("testing_set.txt", "test_set.txt", "list.txt")


class LaSOT(Layout):
    """``CLASS/CLASS-N/img/00000001.jpg`` with ``groundtruth.txt``, ``full_occlusion.txt`` and ``out_of_view.txt``.

    The testing set is that of ``testing_set.txt`` in the root, else of the paper's protocol II (280 sequences); attribute files
    are looked for in ``att/`` and ``annos/att/`` of the root.
    """

    kind = "lasot"
    family = "one-pass"
    splits: ClassVar[tuple[str, ...]] = ("test", "all")

    def expected(self) -> str:
        return "CLASS/CLASS-N/img/00000001.jpg with CLASS/CLASS-N/groundtruth.txt"

    def _find(self, listed: Path | None) -> tuple[str, ...]:
        if listed is not None:
            return check_inside(listed, names_in(listed))
        here = [
            name
            for kind in folders_in(self.root)
            for name in folders_in(self.root / kind)
            if name.rpartition("-")[0] == kind and (self.root / kind / name / "groundtruth.txt").is_file()
        ]
        here.sort(
            key=lambda name: (name.rpartition("-")[0], int(name.rpartition("-")[2])) if _numbered(name) else (name, 0)
        )
        return tuple(here) if self.split == "all" else self._tested(here)

    def _tested(self, here: list[str]) -> tuple[str, ...]:
        for name in _LISTS:
            if (self.root / name).is_file():
                return check_inside(self.root / name, names_in(self.root / name))
        chosen = [name for name in here if name in TESTING]
        if not chosen:
            if here:
                self.remarks.append(f"None of the testing set is here; all {len(here)} sequences are taken.")
            return tuple(here)
        if len(chosen) < len(TESTING):
            self.remarks.append(f"{len(chosen)} of the {len(TESTING)} sequences of LaSOT's testing set are here.")
        return tuple(chosen)

    def read(self, name: str) -> BoxSequence:
        folder = self.root / name.rpartition("-")[0] / name
        path = folder / "groundtruth.txt"
        boxes = read_boxes(path)
        frames = folder / "img"
        pictures = count_images(frames)
        if pictures != len(boxes):
            raise InputError(f"{frames} holds {pictures} pictures, but {path.name} has {len(boxes)} lines.")
        moments = {}
        for file, attribute in (("full_occlusion.txt", "full occlusion"), ("out_of_view.txt", "out of view")):
            if (folder / file).is_file():
                moments[attribute] = read_flags(folder / file, len(boxes))
        absent = np.zeros(len(boxes), bool)
        for flags in moments.values():
            absent |= flags
        absent[0] = False
        attributes = self._attributes(name)
        return BoxSequence(
            name,
            frames,
            len(boxes),
            (only_target(boxes, ~absent, path),),
            attributes=(name.rpartition("-")[0], *(item for item in attributes if item not in moments)),
            moments=moments,
        )

    def _attributes(self, name: str) -> tuple[str, ...]:
        for place in _ATTRIBUTE_FOLDERS:
            path = self.root / place / f"{name}.txt"
            if path.is_file():
                values = read_values(path)
                if len(values) != len(ATTRIBUTES):
                    raise InputError(f"{path} has {len(values)} values; there are {len(ATTRIBUTES)} attributes.")
                return tuple(attribute for attribute, value in zip(ATTRIBUTES, values, strict=True) if value > 0)
        return ()


class LaSOTExt(LaSOT):
    """The extension subset: 15 classes of 10 videos, all of them for testing."""

    kind = "lasot-ext"
    splits = ()

    def _find(self, listed: Path | None) -> tuple[str, ...]:
        self.split = "all"
        return super()._find(listed)


def _numbered(name: str) -> bool:
    return name.rpartition("-")[2].isdecimal()


__all__ = ["ATTRIBUTES", "LaSOT", "LaSOTExt", "check_frames"]
