"""What a data set is and how it is scored: which frames count, which objects, what void does, over what is averaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class DatasetKind(StrEnum):
    """Layouts that are known."""

    DAVIS17 = "davis17"
    YOUTUBE_VOS = "youtube-vos"
    MOSE = "mose"
    LVOS = "lvos"
    SA_V = "sa-v"
    FOLDER = "folder"


class FirstPrompt(StrEnum):
    """How an object is pointed at: its mask, the mask's box, or a click on the pixel that lies deepest in it."""

    MASK = "mask"
    BOX = "box"
    CLICK = "click"


class Skip(StrEnum):
    """Annotated frames that are not scored."""

    BOTH = "both"
    FIRST = "first"
    NONE = "none"


class Frames(StrEnum):
    """Whose frames are counted, and the first and last skipped: the video's, or each object's own.

    An object's own frames are its folder of pictures (SA-V), or the range in the list of the set (LVOS), else those from its
    first appearance on.
    """

    VIDEO = "video"
    OBJECT = "object"


class Objects(StrEnum):
    """Which objects are scored.

    ``FIRST``: those of the first annotated frame, on every frame (DAVIS). ``GROWING``: those that the truth shows on a frame that
    counts, each from the first such frame on which truth or prediction shows it (vos-benchmark, SA-V). ``ALL``: the same objects,
    on every frame.
    """

    FIRST = "first"
    GROWING = "growing"
    ALL = "all"


class Void(StrEnum):
    """Pixels of 255 in the truth: taken out of both masks, or background like any other."""

    IGNORE = "ignore"
    BACKGROUND = "background"


class Mean(StrEnum):
    """What weighs the same in the figures of the whole set."""

    OBJECT = "object"
    VIDEO = "video"


class Missing(StrEnum):
    """A frame that is annotated and has no prediction: an error, an empty mask, or not scored."""

    ERROR = "error"
    EMPTY = "empty"
    SKIP = "skip"


@dataclass(frozen=True)
class Protocol:
    """The switches, all of which are printed with the numbers.

    Attributes:
        tolerance: of F; see :func:`keepsight.core.metrics.boundary_accuracy`.
        missing: what a lacking prediction means.
        split: "youtube-vos" (figures for seen and unseen apart, and G, their mean), "lvos" (V too), or "" for none of these.
    """

    skip: Skip = Skip.BOTH
    frames: Frames = Frames.VIDEO
    objects: Objects = Objects.GROWING
    void: Void = Void.BACKGROUND
    mean: Mean = Mean.OBJECT
    missing: Missing = Missing.ERROR
    tolerance: float = 0.008
    split: str = ""

    def but(self, **changes: Any) -> Protocol:
        """A copy with switches changed; ``None`` leaves one as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def lines(self) -> tuple[str, ...]:
        """For people, printed with every number."""
        whose = "each object's own" if self.frames is Frames.OBJECT else "the video's"
        return (
            {
                Skip.BOTH: f"Frames: {whose} annotated ones without the first and the last.",
                Skip.FIRST: f"Frames: {whose} annotated ones without the first.",
                Skip.NONE: f"Frames: {whose} annotated ones, all of them.",
            }[self.skip],
            {
                Objects.FIRST: "Objects: those of the first annotated frame; objects that come later are left out.",
                Objects.GROWING: "Objects: all that these frames show, each from the first one on which truth or "
                "prediction shows it.",
                Objects.ALL: "Objects: all that these frames show, each on all of them.",
            }[self.objects],
            {
                Void.IGNORE: "Void (255): taken out of truth and prediction.",
                Void.BACKGROUND: "Void (255): background.",
            }[self.void],
            {
                Mean.OBJECT: "Mean: over objects, each weighs the same.",
                Mean.VIDEO: "Mean: over videos, each of which is the mean of its objects.",
            }[self.mean],
            {
                Missing.ERROR: "Missing predictions: none were allowed.",
                Missing.EMPTY: "Missing predictions: scored as empty masks.",
                Missing.SKIP: "Missing predictions: not scored.",
            }[self.missing],
            f"F: tolerance {self.tolerance:g} {'px' if self.tolerance >= 1 else 'of the diagonal, rounded up to a pixel'}. "
            "Recall: share of frames above 0.5. Decay: mean of the first quarter minus mean of the last.",
        )
