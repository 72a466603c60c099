"""VOT and VOTS sequences: regions a line, any number of objects, tags by frame."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keepsight.core import InputError
from keepsight.evaluation.box.layouts.base import Layout, check_frames, check_inside, folders_in, names_in, read_times
from keepsight.evaluation.box.overlaps import Bools
from keepsight.evaluation.box.regions import Nothing, Rectangle, Region, box_of, is_empty, read_region, write_region
from keepsight.evaluation.box.sequences import BoxSequence, Prediction, Target
from keepsight.evaluation.box.tables import read_lines
from keepsight.evaluation.box.trajectories import read_binary
from keepsight.video.images import IMAGE_SUFFIXES

_TRUTH = re.compile(r"groundtruth_(?P<object>.+)\.txt")


class Vot(Layout):
    """``NAME/sequence`` (``channels.color=color/%08d.jpg``, ``width``, ``height``) with ``groundtruth.txt``, or
    ``groundtruth_ID.txt`` for each of several objects; older sequences have no ``sequence`` file and their pictures beside the
    truth. The root's ``list.txt`` names the sequences, where there is one.
    """

    kind = "vot"
    family = "vots"

    def expected(self) -> str:
        return "NAME/groundtruth.txt or NAME/groundtruth_ID.txt, with NAME/sequence or pictures beside it"

    def _find(self, listed: Path | None) -> tuple[str, ...]:
        for root in (self.root, self.root / "sequences"):
            found = listed or (root / "list.txt" if (root / "list.txt").is_file() else None)
            names = names_in(found) if found else [name for name in folders_in(root) if _truths(root / name)]
            if names:
                self.root = root
                return check_inside(found or root, names)
            if not (self.root / "sequences").is_dir():
                break
        return ()

    def read(self, name: str) -> BoxSequence:
        folder = self.root / name
        truths = _truths(folder)
        if not truths:
            raise InputError(f"{folder} has no groundtruth.txt and no groundtruth_ID.txt.")
        said = _properties(folder / "sequence")
        frames, pictures = _pictures(folder, said)
        size = _size(said, pictures[0])
        targets = [_target(object_id, path, size, len(pictures)) for object_id, path in truths.items()]
        return BoxSequence(name, frames, len(pictures), tuple(targets), size=size, moments=_tags(folder, len(pictures)))

    def prediction_files(self, folder: Path, name: str) -> list[Path]:
        return [folder / name / f"{stem}.txt" for stem in self._stems(name)]

    def time_files(self, folder: Path, name: str) -> list[Path]:
        return [folder / name / f"{stem}_time.value" for stem in self._stems(name)]

    def _stems(self, name: str) -> list[str]:
        return [f"{name}_{object_id}_001" if object_id else f"{name}_001" for object_id in _truths(self.root / name)]

    def done(self, folder: Path, name: str) -> bool:
        files = self.prediction_files(folder, name)
        return all(path.is_file() or path.with_suffix(".bin").is_file() for path in files)

    def lines(self, prediction: Prediction) -> str:
        regions: Sequence[Region] = prediction.regions or [
            Nothing.UNKNOWN if np.isnan(box).any() else Rectangle(*box) for box in prediction.boxes.tolist()
        ]
        return "".join(f"{write_region(region)}\n" for region in regions)

    def _load_one(self, path: Path, sequence: BoxSequence, times: Path | None) -> Prediction:
        size = sequence.size or (0, 0)
        regions: tuple[Region, ...]
        if path.is_file():
            lines = enumerate(read_lines(path), start=1)
            regions = tuple(read_region(line, size, f"{path}, line {row}") for row, line in lines)
        else:
            path = path.with_suffix(".bin")
            regions = tuple(read_binary(path, size))
        check_frames(path, len(regions), sequence.frame_count)
        boxes = np.array([box_of(region) or (np.nan,) * 4 for region in regions])
        return Prediction(boxes, regions, read_times(times, sequence.frame_count))


def _truths(folder: Path) -> dict[str, Path]:
    """Truth files by object, in the order of their names."""
    if not folder.is_dir():
        raise InputError(f"{folder} is missing, but is in the list of sequences.")
    several = {
        match["object"]: path for path in sorted(folder.iterdir()) if (match := _TRUTH.fullmatch(path.name)) is not None
    }
    if several:
        return several
    return {"": folder / "groundtruth.txt"} if (folder / "groundtruth.txt").is_file() else {}


def _target(object_id: str, path: Path, size: tuple[int, int], frames: int) -> Target:
    lines = read_lines(path)
    if len(lines) > frames:
        raise InputError(f"{path} has {len(lines)} lines, but there are {frames} pictures.")
    regions = [read_region(line, size, f"{path}, line {row}") for row, line in enumerate(lines, start=1)]
    regions += [Nothing.UNKNOWN] * (frames - len(regions))
    visible = np.array([not is_empty(region) for region in regions])
    if not visible.any():
        raise InputError(f"{path}: the object is on no frame; tracking has nothing to begin from.")
    boxes = np.array([box_of(region) or (np.nan,) * 4 for region in regions])
    known = np.array([region is not Nothing.UNKNOWN for region in regions])
    return Target(object_id, boxes, visible, known, tuple(regions))


def _properties(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in read_lines(path) if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, mark, value in pairs if mark}


def _pictures(folder: Path, said: dict[str, str]) -> tuple[Path, list[Path]]:
    """The folder of the pictures, and the pictures."""
    pattern = said.get("channels.color") or ("color/%08d.jpg" if (folder / "color").is_dir() else "%08d.jpg")
    pattern = pattern.replace("\\", "/")
    inside = Path(pattern)
    if inside.is_absolute() or ".." in inside.parts:
        raise InputError(f"{folder / 'sequence'}: channels.color={pattern[:60]} leads out of the sequence's folder.")
    frames = folder / (inside.parent if inside.suffix else inside)
    if not frames.is_dir():
        raise InputError(f"{frames} is missing; the frames belong there.")
    shape = re.sub(r"%0?\d*d", "*", glob.escape(inside.name)) if inside.suffix else "*"
    found = sorted(item for item in frames.glob(shape) if item.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise InputError(f"{frames} holds no pictures named as {pattern}.")
    return frames, found


def _size(said: dict[str, str], first: Path) -> tuple[int, int]:
    """Height and width in px, from the first picture; the file may say something else only to be wrong."""
    try:
        with Image.open(first) as image:
            size = (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{first} is not an image that can be read; replace it.") from error
    told = (said.get("height", str(size[0])), said.get("width", str(size[1])))
    if told != (str(size[0]), str(size[1])):
        raise InputError(
            f"{first.parent.parent / 'sequence'} says {told[1]}x{told[0]} px, the pictures are {size[1]}x{size[0]}."
        )
    return size


def _tags(folder: Path, frames: int) -> dict[str, Bools]:
    """Attributes by frame; lines that lack at the end are 0."""
    tags = {}
    for path in sorted([*folder.glob("*.tag"), *folder.glob("*.label")]):
        flags = np.zeros(frames, bool)
        lines = read_lines(path)[:frames]
        flags[: len(lines)] = [line.strip() == "1" for line in lines]
        tags[path.stem.replace("_", " ")] = flags
    return tags
