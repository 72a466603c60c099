"""What every layout offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.overlaps import Bools, Floats, there
from keepsight.evaluation.box.sequences import BoxSequence, Prediction, Target
from keepsight.evaluation.box.tables import box_lines, read_boxes, read_lines, read_values
from keepsight.store.files import replacing_file
from keepsight.video.images import IMAGE_SUFFIXES

Family = Literal["one-pass", "average-overlap", "vots"]


class Layout(ABC):
    """A data set on disk. Sequences are read one at a time; nothing is kept.

    Attributes:
        kind: its name on the command line.
        family: by which of the three families of measures the set is compared in papers.
        splits: parts that it has, the first one the default.
        names: sequences, in the order of the list or of their names.
        remarks: what people must know about what was found.
    """

    kind: ClassVar[str]
    family: ClassVar[Family]
    splits: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Path, *, split: str | None = None, listed: Path | None = None) -> None:
        if split is not None and split not in self.splits:
            known = f"choose {', '.join(self.splits)}" if self.splits else "it has none"
            raise InputError(f"--split {split}: {self.kind} has no such part; {known}.")
        self.root = root
        self.split = split or (self.splits[0] if self.splits else None)
        self.remarks: list[str] = []
        self.names: tuple[str, ...] = self._find(listed)
        if not self.names:
            raise InputError(f"{root} holds no sequence laid out as {self.kind}: {self.expected()}.")

    @abstractmethod
    def expected(self) -> str:
        """What a folder of this layout looks like, for errors."""

    @abstractmethod
    def _find(self, listed: Path | None) -> tuple[str, ...]:
        """Names of the sequences."""

    @abstractmethod
    def read(self, name: str) -> BoxSequence:
        """One sequence with its truth.

        Raises:
            InputError: files that are missing or do not fit each other.
        """

    @property
    def withheld(self) -> bool:
        """Whether the truth is kept back beyond the first frames: predictions can be made but not scored."""
        return False

    def prediction_files(self, folder: Path, name: str) -> list[Path]:
        """Where predictions of a sequence's objects lie, one a target, in the set's submission layout."""
        return [folder / f"{name}.txt"]

    def time_files(self, folder: Path, name: str) -> list[Path]:
        """Where the times lie, one a target; none where the set takes none."""
        return []

    def write(self, folder: Path, sequence: BoxSequence, predictions: Sequence[Prediction]) -> None:
        """Writes a sequence's predictions, the last file at the end: its presence says that the sequence is done."""
        for path, prediction in zip(self.time_files(folder, sequence.name), predictions, strict=False):
            if len(prediction.seconds):
                times = np.nan_to_num(prediction.seconds).tolist()
                write_text(path, "".join(f"{seconds:.8f}\n" for seconds in times))
        for path, prediction in zip(self.prediction_files(folder, sequence.name), predictions, strict=True):
            write_text(path, self.lines(prediction))

    def lines(self, prediction: Prediction) -> str:
        """A prediction as text."""
        return box_lines(prediction.boxes)

    def done(self, folder: Path, name: str) -> bool:
        """Whether all of a sequence's predictions are there."""
        return all(path.is_file() for path in self.prediction_files(folder, name))

    def load(self, folder: Path, sequence: BoxSequence) -> list[Prediction]:
        """Reads a sequence's predictions, one a target.

        Raises:
            InputError: missing, broken, or not as many lines as frames.
        """
        times = self.time_files(folder, sequence.name)
        return [
            self._load_one(path, sequence, times[place] if times else None)
            for place, path in enumerate(self.prediction_files(folder, sequence.name))
        ]

    def _load_one(self, path: Path, sequence: BoxSequence, times: Path | None) -> Prediction:
        boxes = read_boxes(path)
        check_frames(path, len(boxes), sequence.frame_count)
        return Prediction(np.where(there(boxes)[:, None], boxes, np.nan), None, read_times(times, sequence.frame_count))


def write_text(path: Path, text: str) -> None:
    """Writes a file that appears whole."""
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_times(path: Path | None, frames: int) -> Floats:
    """Seconds a frame from a file of times that may lack; of several runs on a line, the first."""
    if path is None or not path.is_file():
        return np.full(frames, np.nan)
    first = [line.replace(",", " ").split()[:1] for line in read_lines(path)]
    try:
        seconds = np.array([float(words[0]) for words in first])
    except (ValueError, IndexError):
        raise InputError(f"{path}: a line is the seconds that a frame took.") from None
    check_frames(path, len(seconds), frames)
    return np.where(seconds > 0, seconds, np.nan)


def check_frames(path: Path, lines: int, frames: int) -> None:
    """Raises :class:`InputError` unless a file has a line for every frame."""
    if lines != frames:
        raise InputError(f"{path} has {lines} lines, but the sequence has {frames} frames.")


def check_inside(root: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Names as they are; raises :class:`InputError` where one leads out of the folder or is there twice."""
    seen: dict[str, None] = {}
    for name in names:
        if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
            raise InputError(f"{root}: '{name[:60]}' in the list of sequences is no name of a folder.")
        if name in seen:
            raise InputError(f"{root}: '{name}' is twice in the list of sequences.")
        seen[name] = None
    return tuple(seen)


def names_in(path: Path) -> list[str]:
    """Names from a list file, one a line, empty lines left out."""
    return [line.strip() for line in read_lines(path) if line.strip()]


def folders_in(root: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones left out, sorted."""
    return sorted(item.name for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))


def count_images(folder: Path) -> int:
    """How many pictures a folder holds."""
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; the frames belong there.")
    return sum(item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith(".") for item in folder.iterdir())


def only_target(boxes: Floats, visible: Bools, path: Path) -> Target:
    """The one object of a data set of boxes.

    Raises:
        InputError: there is no box on the first frame.
    """
    if not there(boxes[:1])[0]:
        raise InputError(f"{path}, line 1: the first frame needs a box with a size; tracking begins from it.")
    known = np.ones(len(boxes), bool)
    visible = visible & there(boxes)
    visible[0] = True
    return Target("", np.where(there(boxes)[:, None], boxes, np.nan), visible, known)


__all__ = [
    "Family",
    "Layout",
    "check_frames",
    "check_inside",
    "count_images",
    "folders_in",
    "names_in",
    "only_target",
    "read_times",
    "read_values",
    "write_text",
]
