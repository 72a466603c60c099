"""Every number of the concept loop, with SAM 3's defaults.

Source of the defaults: the released SAM 3 (Carion et al., SAM 3: Segment Anything with Concepts, 2025) as it is built for
video, which transformers' ``Sam3VideoConfig`` shares. What deviates from it is said at the option.
"""

from __future__ import annotations

from dataclasses import dataclass

from keepsight.core import Options, option
from keepsight.core.errors import InputError

SELECTIONS = {"group": "sam3", "decoupled": "dms"}
"""Memory policy by the way in which SAM 3 and SAM3-DMS select memory for what was found."""


@dataclass(frozen=True)
class ConceptRules(Options):
    """How detections become objects, and when objects go.

    Frames are counted in steps of the run. Areas in px are stated for masks of 288 px a side, SAM 3's, and scale with
    the masks.

    Raises:
        InputError: a value outside its range, which is named.
    """

    name = "concept rules"

    # -- what counts as a detection ----------------------------------------------------------------------------------
    detect_every: int = option(
        1,
        "steps between two looks of the detector; in between objects are only followed. Trials last for two looks at least and "
        "their counts are divided by it",
        effect="faster; things that enter are found later",
        low=1,
    )
    score_threshold: float = option(
        0.5, "a detection counts when its score is above this", effect="fewer false finds, more misses", low=0, high=1
    )
    nms_iou: float = option(
        0.1,
        "of two detections of a concept whose masks overlap more than this (IoU) the better one stays; 0: both do",
        effect="keeps more of what overlaps",
        low=0,
        high=1,
    )

    # -- which detection is which object -----------------------------------------------------------------------------
    match_iou: float = option(
        0.1,
        "a detection whose mask overlaps an object's by this (IoU) is that object, not a new one",
        effect="more new objects, and more duplicates",
        low=0,
        high=1,
        low_open=True,
    )
    seen_iou: float = option(
        0.5,
        "an object counts as detected when a detection overlaps it by this (IoU)",
        effect="stricter with drifting masks in the first frames of an object",
        low=0,
        high=1,
        low_open=True,
    )
    one_to_one: bool = option(
        False,
        "each detection belongs to one object at most, by the assignment with the largest IoUs (SAM 3: off)",
        effect="of two objects on one thing only one counts as detected",
    )
    new_score: float = option(
        0.7,
        "score from which a detection that is no known object becomes one (when there is none yet, score_threshold does)",
        effect="fewer false objects, later starts",
        low=0,
        high=1,
    )
    max_objects: int = option(
        10_000,
        "objects followed at once at most; of new ones the best scores are taken",
        effect="more objects, more time a frame",
        low=1,
    )

    # -- the first frames of an object -------------------------------------------------------------------------------
    hotstart_frames: int = option(
        15,
        "a new object is on trial for so many frames, and results of a file come that much later; 0: no trial, no delay",
        effect="more false finds never show; results come later",
        low=0,
    )
    hotstart_unmatched: int = option(
        8,
        "an object on trial goes when it was visible and undetected on so many frames",
        effect="more patient with what the detector misses",
        low=1,
    )
    hotstart_duplicates: int = option(
        8,
        "an object on trial goes when so many times one detection was both it and the same older object",
        effect="more patient with two objects on one thing",
        low=1,
    )
    confirm_frames: int = option(
        0,
        "an object is shown once so many detections in a row were it; 0: at once (SAM 3: off, 3 where it is on)",
        effect="fewer false finds are shown, later starts",
        low=0,
    )

    # -- objects that the detector stops seeing ----------------------------------------------------------------------
    hide_unmatched: bool = option(
        False,
        "objects whose keep-alive count is used up are hidden, also after their trial",
        effect="what the detector no longer sees vanishes",
    )
    keep_alive_start: int = option(
        30, "keep-alive count of a new object; +1 detected, -1 visible and undetected", effect="hidden later", low=1
    )
    keep_alive_most: int = option(30, "the count goes no higher", effect="hidden later", low=1)
    keep_alive_least: int = option(-1, "the count goes no lower", effect="back sooner once detected", high=0)
    keep_alive_absent: bool = option(
        False, "an object with an empty mask loses keep-alive too", effect="what was gone long is hidden on return"
    )

    give_up_absent: int = option(
        0,
        "an object without a mask for so many frames in a row is followed no longer, and found anew when it comes back; "
        "0: never (SAM 3)",
        effect="more objects keep their ids; each one that is away costs what it costs to follow it",
        low=0,
    )

    # -- masks that get in each other's way --------------------------------------------------------------------------
    overlap_iou: float = option(
        0.7,
        "of two objects of a concept whose masks overlap by this (IoU) the one that was lost last is emptied, when the other "
        "was lost before it; 0: neither",
        effect="fewer objects are emptied",
        low=0,
        high=1,
    )
    shrink_share: float = option(
        0.3,
        "an object that would keep less than this of its mask, if each place went to the strongest object there, is written to "
        "memory as absent; 0: never",
        effect="more objects are",
        low=0,
        high=1,
    )
    fill_hole_px: int = option(
        16,
        "holes up to this many px are filled and specks up to it taken away, before masks are compared; 0: neither",
        effect="smoother masks, small parts vanish",
        low=0,
    )

    # -- telling the tracker again -----------------------------------------------------------------------------------
    recondition_every: int = option(
        16,
        "every so many frames an object that is confidently detected gives a conditioning frame; 0: never",
        effect="seldomer, nearer to the first frame",
        low=0,
    )
    recondition_score: float = option(
        0.8,
        "detection score, and presence logit of the object, from which that is done",
        effect="only for surer ones",
        low=0,
        high=1,
    )
    recondition_iou: float = option(
        0.8,
        "IoU of detection and object from which that is done",
        effect="only where they agree more",
        low=0,
        high=1,
        low_open=True,
    )
    recondition_on_tracked: bool = option(
        True,
        "the object's own mask goes into memory (transformers); off: the detection's, with a new pointer (Meta)",
        effect="a drifting mask is confirmed instead of replaced",
    )

    # -- transformers ------------------------------------------------------------------------------------------------
    as_transformers: bool = option(
        False,
        "what transformers' loop does beside the rules: memories of all objects are written anew, plain and binarised, on "
        "frames with a new object; no holes are filled and nothing is taken away where detections overlap, for want of a "
        "kernel; masks are resized in one step",
        effect="equals transformers; for comparison",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_alive_start > self.keep_alive_most:
            raise InputError(
                f"{self.name}: keep_alive_start must be at most keep_alive_most ({self.keep_alive_most}), "
                f"got {self.keep_alive_start}."
            )
        for name in ("hotstart_unmatched", "hotstart_duplicates"):
            if 0 < self.hotstart_frames < getattr(self, name):
                raise InputError(
                    f"{self.name}: {name} must be at most hotstart_frames ({self.hotstart_frames}), "
                    f"got {getattr(self, name)}."
                )

    @classmethod
    def _called(cls) -> str:
        return cls.__name__

    @property
    def trial_frames(self) -> int:
        """How long an object is on trial: long enough for two more looks of the detector."""
        if self.hotstart_frames == 0 or self.detect_every == 1:
            return self.hotstart_frames
        return max(self.hotstart_frames, 2 * self.detect_every + 1)

    def looks(self, frames: int) -> int:
        """A number of frames with detections, as looks of a detector that does not look at every frame: two at least."""
        return max(min(frames, 2), -(-frames // self.detect_every)) if self.detect_every > 1 else frames

    @property
    def effective_nms_iou(self) -> float:
        """0 where detections may overlap."""
        return 0.0 if self.as_transformers else self.nms_iou

    @property
    def effective_fill_px(self) -> int:
        return 0 if self.as_transformers else self.fill_hole_px
