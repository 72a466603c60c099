"""A video of a data set and the data set itself, whatever its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from keepsight.core import InputError
from keepsight.evaluation.vos.protocol import DatasetKind, Protocol
from keepsight.evaluation.vos.sources import MaskSource


@dataclass(frozen=True)
class Clip:
    """One video.

    Attributes:
        name: unique in the set; the name of its folder of predictions.
        video: folder of pictures or video file; ``None`` where there are only masks.
        stems: names of the frames without their suffix, in the order of the video; predictions take these names.
        numbers: number of each frame, as long as ``stems``; masks and frames meet by it.
        truth: annotations, sparse or of all frames; ``None`` where there are none.
        groups: words about an object ("seen"), for breakdowns.
        spans: first number and the number to stop before, by object, where the set says for how long each is scored.
        wanted: numbers of the frames that predictions are wanted of; all of them where it is empty.
    """

    name: str
    video: Path | None
    stems: tuple[str, ...]
    numbers: tuple[int, ...]
    truth: MaskSource | None
    groups: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    spans: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    wanted: frozenset[int] = frozenset()

    @cached_property
    def _places(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self.numbers)}

    def index_of(self, number: int) -> int:
        """Place of a frame in the video; its number where there are only masks.

        Raises:
            InputError: the video has no such frame.
        """
        if not self.numbers:
            return number
        if number not in self._places:
            raise InputError(f"{self.name}: frame {number} is annotated, but {self.video} has no such frame.")
        return self._places[number]


@dataclass(frozen=True)
class Dataset:
    """Videos in the layout of one data set.

    Attributes:
        kind: its layout.
        root: as it was given.
        split: the part of it, empty where it has none.
        clips: by name.
        protocol: by which the set is scored unless told otherwise.
        per_object: predictions are a picture an object and frame, not one a frame.
        subfolder: of the predictions, that the set's server wants inside what is handed in.
        remarks: what a reader of the numbers must know about the set as it was found.
    """

    kind: DatasetKind
    root: Path
    split: str
    clips: tuple[Clip, ...]
    protocol: Protocol
    per_object: bool = False
    subfolder: str = ""
    remarks: tuple[str, ...] = ()

    def only(self, patterns: tuple[str, ...]) -> Dataset:
        """The clips whose names match one of the patterns (``*`` and ``?``).

        Raises:
            InputError: a pattern that matches none.
        """
        for pattern in patterns:
            if not any(fnmatchcase(clip.name, pattern) for clip in self.clips):
                raise InputError(
                    f"No video of {self.root} is called '{pattern}'; there is '{self.clips[0].name}', ...."
                )
        kept = tuple(clip for clip in self.clips if any(fnmatchcase(clip.name, pattern) for pattern in patterns))
        return replace(self, clips=kept)
