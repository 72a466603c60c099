"""What all exchange formats share: the part of a project that is written, what is read back, and the ledger of what was lost."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, FrameResult, InputError, Mask
from keepsight.formats.polygons import fill_polygons, outlines
from keepsight.store import Project, StoredObject, StoredVideo

SIDECAR = "export.json"
UNNAMED = "object"
MAX_FRAME = 10**8  # a month at 30 frames a second; above it a frame number is damage
_MAX_BYTES = 2**30

LOSSES = {
    "overlap_px": "px (summed over frames) that several objects shared and that went to the one added last",
    "filled_holes": "holes that were filled, because a polygon has none",
    "filled_hole_px": "px (summed over frames) in the holes that were filled",
    "simplified_px": "px (summed over frames) that changed because outlines were simplified",
    "renumbered_ids": f"object ids that do not fit and were dealt anew ({SIDECAR} has both)",
    "left_out_objects": "objects left out because the format has no more ids (those added first were kept)",
    "empty_frames": "frames that are not in the files because no object is there",
    "masks_as_boxes": "masks that became boxes",
    "scores": "masks whose scores are not in the files, because the format has none",
    "kept_shapes": "shapes of the earlier files that were kept as they were",
}
"""What an export can lose or change, in words before a number."""

TROUBLES = {
    "boxes_as_masks": "boxes that became filled rectangles",
    "clipped_boxes": "boxes that reached over the edge of the frame and were clipped",
    "boxes_outside": "boxes outside the frame, left out",
    "ignored_lines": "lines that the file marks as not to be considered, left out",
    "unknown_shapes": "shapes that enclose nothing (points, lines, other types), left out",
    "guessed_objects": "shapes without an object id (the n-th of a label on a frame is taken for the same object throughout)",
}
"""What an import can lose or decide, in words before a number."""


@dataclass
class Export:
    """The part of a project that a format writes; a writer adds to the ledger as it goes.

    Attributes:
        start, stop: frames ``start <= frame < stop``; ``None`` is the end.
        base: earlier files of the same format whose unknown keys are taken over (LabelMe).
        simplify_px: how far an outline may leave the mask's, in px; 0 keeps every pixel.
        losses: counts by the names of :data:`LOSSES`.
        written_as: object id -> id in the files, where that differs.
        frames: frames written.
        masks: objects on frames, without those that are absent.
    """

    project: Project
    video: StoredVideo
    objects: list[StoredObject]
    start: int | None = None
    stop: int | None = None
    base: Path | None = None
    simplify_px: float = 0.0
    losses: Counter[str] = field(default_factory=Counter)
    written_as: dict[int, int] = field(default_factory=dict)
    frames: int = 0
    masks: int = 0

    def results(self) -> Iterator[FrameResult]:
        """Stored frames in order, a few dozen in memory; counts them."""
        for result in self.project.results(self.video.id, self.start, self.stop):
            self.frames += 1
            self.masks += sum(item.present for item in result.objects)
            yield result

    def count_empty_frames(self) -> None:
        """For formats that are written by object and have no place for a frame where nothing is."""
        self.losses["empty_frames"] += sum(not any(o.present for o in result.objects) for result in self.results())

    def label(self, object_id: int) -> str:
        """The object's name, or "object"."""
        return self._labels.get(object_id) or UNNAMED

    def names(self) -> list[str]:
        """Every name once, in the order of the objects."""
        return list(dict.fromkeys(item.label or UNNAMED for item in self.objects)) or [UNNAMED]

    @cached_property
    def _labels(self) -> dict[int, str | None]:
        return {item.object_id: item.label for item in self.objects}

    def outlines(self, mask: Mask) -> list[NDArray[np.float64]]:
        """The mask's outlines for a format of polygons; holes and simplified pixels go to the ledger."""
        parts, holes, hidden_px = outlines(mask, self.simplify_px)
        self.losses["filled_holes"] += holes
        self.losses["filled_hole_px"] += hidden_px
        if self.simplify_px > 0 and parts:
            pixels = fill_polygons(parts, mask.height, mask.width).to_array()
            changed = int(np.count_nonzero(pixels != mask.to_array()))
            self.losses["simplified_px"] += max(0, changed - hidden_px)
        return parts

    def fit_ids(self, least: int, most: int) -> dict[int, int]:
        """Object id -> id in the files. All ids stay when all lie in ``least..most``; otherwise all are dealt from ``least``
        in the order of the objects, and objects that find no number are left out. Both are counted."""
        ids = [item.object_id for item in self.objects]
        if all(least <= object_id <= most for object_id in ids):
            return {object_id: object_id for object_id in ids}
        room = most - least + 1
        dealt = dict(zip(ids[:room], range(least, most + 1), strict=False))
        self.losses["left_out_objects"] += max(0, len(ids) - room)
        self.written_as = {object_id: value for object_id, value in dealt.items() if object_id != value}
        self.losses["renumbered_ids"] += len(self.written_as)
        return dealt

    def sidecar(self, format_name: str) -> dict[str, Any]:
        """What the files themselves may have no place for: the order, names and ids of the objects, and the ledger."""
        return {
            "keepsight_export": 1,
            "format": format_name,
            "video": {
                "name": self.video.name,
                "width": self.video.width,
                "height": self.video.height,
                "fps": self.video.fps,
                "frame_count": self.video.frame_count,
            },
            "frames_written": self.frames,
            "objects": [
                {
                    "id": item.object_id,
                    "label": item.label,
                    "written_as": self.written_as.get(item.object_id, item.object_id),
                }
                for item in self.objects
            ],
            "lost": {name: count for name, count in sorted(self.losses.items()) if count},
        }


@dataclass(frozen=True)
class ReadObject:
    """One object on one frame as a file has it; ``mask`` is filled from ``box`` where the file has only that."""

    object_id: int
    mask: Mask
    score: float = 1.0
    box: Box | None = None


@dataclass(frozen=True)
class ReadFrame:
    """One frame of a file; ``time_s`` is ``None`` where the file does not say."""

    frame: int
    objects: tuple[ReadObject, ...]
    time_s: float | None = None


@dataclass
class Import:
    """What a reader needs to know and fills in.

    Attributes:
        path: file or folder.
        height, width: of the video, in px; whatever has another size is refused.
        declared: object id -> name, in the order in which objects are to be added; readers add to it before the first frame
            where they know, later where they find more.
        troubles: counts by the names of :data:`TROUBLES`.
    """

    path: Path
    height: int
    width: int
    declared: dict[int, str | None] = field(default_factory=dict)
    troubles: Counter[str] = field(default_factory=Counter)
    original_ids: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = self.path if self.path.is_dir() else self.path.parent
        for parent in (folder, *list(folder.resolve().parents)[:2]):
            if (parent / SIDECAR).is_file():
                self._read_sidecar(parent / SIDECAR)
                break

    def _read_sidecar(self, file: Path) -> None:
        data = read_json(file)
        try:
            if data["keepsight_export"] != 1:
                raise InputError(f"{file} was written by a newer Keepsight; upgrade, or move that file away.")
            for item in data["objects"]:
                object_id, label = int(item["id"]), item["label"]
                if object_id < 0 or not (label is None or isinstance(label, str)):
                    raise ValueError("a bad object")
                self.declared[object_id] = label
                self.original_ids[int(item["written_as"])] = object_id
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} is not the table that an export writes ({error}); move it away.") from error

    def object_id(self, value: int, where: str) -> int:
        """The project's id for an id of the files."""
        if not 0 <= value < 2**63:
            raise InputError(f"{where}: {value} is no object id; ids are 0 or more.")
        return self.original_ids.get(value, value)

    def declare(self, object_id: int, label: str | None) -> None:
        """Notes an object and its name; the first name counts."""
        if self.declared.get(object_id) is None:
            self.declared[object_id] = None if label == UNNAMED else label

    def frame(self, value: Any, where: str) -> int:
        """A frame index."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_FRAME:
            raise InputError(f"{where}: {str(value)[:40]!r} is no frame number.")
        return value

    def mask(self, rle: Any, where: str) -> Mask:
        """A run-length mask of the video's size; the size is looked at before anything of that size is made."""
        self.check_size(*_size_of(rle, where), where)
        try:
            return Mask.from_coco(rle)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def check_size(self, height: Any, width: Any, where: str) -> None:
        """Refuses what belongs to a video of another size."""
        if (height, width) != (self.height, self.width):
            raise InputError(
                f"{where} is for {str(width)[:20]}x{str(height)[:20]} px but the video is {self.width}x{self.height} px."
            )

    def from_box(self, object_id: int, box: Box, where: str, score: float = 1.0) -> ReadObject | None:
        """A box as a filled rectangle (every pixel it touches); ``None`` when it lies outside the frame.

        Raises:
            InputError: NaN, infinite or inside-out.
        """
        x1, y1, x2, y2 = box
        if not all(math.isfinite(side) for side in box) or x2 <= x1 or y2 <= y1:
            raise InputError(f"{where}: {', '.join(f'{side:g}' for side in box)} is no box (x1, y1, x2, y2).")
        left, top, right, bottom = (
            math.floor(max(x1, 0.0)),
            math.floor(max(y1, 0.0)),
            math.ceil(min(x2, self.width)),
            math.ceil(min(y2, self.height)),
        )
        if right <= left or bottom <= top:
            self.troubles["boxes_outside"] += 1
            return None
        self.troubles["clipped_boxes"] += x1 < 0 or y1 < 0 or x2 > self.width or y2 > self.height
        self.troubles["boxes_as_masks"] += 1
        mask = Mask.from_box(self.height, self.width, left, top, right, bottom)
        return ReadObject(object_id, mask, score, box)


class Namer:
    """Ids for shapes that have none: the n-th of a label on a frame is the same object on every frame."""

    def __init__(self, source: Import, first: int) -> None:
        self._source, self._next = source, first
        self._ids: dict[tuple[str, int], int] = {}

    def frame(self) -> _NamesOfFrame:
        """Starts counting for a new frame."""
        return _NamesOfFrame(self)

    def deal(self, label: str, number: int) -> int:
        if (label, number) not in self._ids:
            self._ids[label, number] = self._next
            self._source.declare(self._next, label)
            self._next += 1
        self._source.troubles["guessed_objects"] += 1
        return self._ids[label, number]


class _NamesOfFrame:
    def __init__(self, namer: Namer) -> None:
        self._namer, self._seen = namer, Counter[str]()

    def __call__(self, label: str) -> int:
        self._seen[label] += 1
        return self._namer.deal(label, self._seen[label])


def in_order(found: dict[int, dict[int, ReadObject]]) -> Iterator[ReadFrame]:
    """Frames in order, from frame -> object id -> object; frees each as it goes."""
    for frame in sorted(found):
        yield ReadFrame(frame, tuple(found.pop(frame).values()))


def score_of(value: Any, where: str) -> float:
    """A score, 1 where there is none; trackers that give other numbers than 0 to 1 are clipped."""
    if value is None:
        return 1.0
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {str(value)[:40]!r} is no score.") from error
    if not math.isfinite(number):
        raise InputError(f"{where}: the score is {number}; it must be a finite number.")
    return min(max(number, 0.0), 1.0)


def frame_of(name: str) -> int:
    """The frame index in a file name: its last run of digits.

    Raises:
        InputError: no digits, or too many.
    """
    numbers = re.findall(r"[0-9]+", Path(name).stem)
    if not numbers or len(numbers[-1]) > 9:
        raise InputError(f"{name[:200]} has no frame number in its name; name files 00000, 00001 and so on.")
    return int(numbers[-1])


def numbered(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    """``(frame, file)`` of a folder in order of frames.

    Raises:
        InputError: no such folder, no such files, two files for one frame.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist." if not folder.exists() else f"{folder} is not a folder.")
    found: dict[int, Path] = {}
    for file in folder.iterdir():
        if file.suffix.lower() == suffix and file.name != SIDECAR and not file.name.startswith("."):
            index = frame_of(file.name)
            if index in found:
                raise InputError(f"{file} and {found[index].name} are both frame {index}; keep one.")
            found[index] = file
    if not found:
        raise InputError(f"{folder} holds no {suffix} files.")
    return sorted(found.items())


def check_file(path: Path, name: str | None = None) -> Path:
    """A regular file of bearable size: ``path``, or ``path/name`` when that is a folder.

    Raises:
        InputError: missing, a device or pipe, larger than 1 GB.
    """
    file = path / name if name and path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file} does not exist." if not file.exists() else f"{file} is not a file.")
    if file.stat().st_size > _MAX_BYTES:
        raise InputError(f"{file} is larger than {_MAX_BYTES // 2**30} GB; split it.")
    return file


def read_json(path: Path, name: str | None = None) -> Any:
    """A JSON file; numbers that JSON does not have (NaN, Infinity) are refused.

    Raises:
        InputError: unreadable, not JSON, nested without end.
    """
    file = check_file(path, name)

    def no_constant(text: str) -> None:
        raise ValueError(f"{text} is not a JSON number")

    try:
        return json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=no_constant)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}.") from error


def write_json_list(out: IO[str], values: Iterator[Any]) -> None:
    """A list, one value a line, without holding it."""
    out.write("[")
    for number, value in enumerate(values):
        out.write((",\n" if number else "\n") + json.dumps(value))
    out.write("\n]")


def _size_of(rle: Any, where: str) -> tuple[Any, Any]:
    size = rle.get("size") if isinstance(rle, dict) else None
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InputError(f"{where}: not a COCO run-length mask (size and counts).")
    return size[0], size[1]
