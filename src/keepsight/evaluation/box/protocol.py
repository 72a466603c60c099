"""How boxes are scored, in lines that stand beside the numbers."""

from __future__ import annotations

from keepsight.evaluation.box.layouts.base import Family
from keepsight.evaluation.box.vots import LEAST_ABSENT

_BOXES = "A mask's box is its tight box; an empty mask is no box."
_DIAGNOSIS = (
    "Accuracy, robustness, NRE (nothing reported), DRE (drift) and ADQ (absence noticed) are those of VOTS on boxes: visible "
    "frames are tracked (overlap above 0), drifted or not reported; absent ones are noticed or not. The first frame is left out; "
    f"ADQ is measured on sequences with more than {LEAST_ABSENT} absent frames."
)

_LINES: dict[Family, tuple[str, ...]] = {
    "one-pass": (
        "One pass from the box on the first frame, which counts as found. Curves are shares of all frames of a sequence, then "
        "means over sequences.",
        "AUC: mean of the success curve at the 21 thresholds 0, 0.05, ..., 1 (overlap above). Precision: centre within 20 px. "
        "Norm. precision: centre within 0.20 of the true box's width and height; norm. precision AUC: mean of that curve from 0 "
        "to 0.50, as in TrackingNet.",
        "A frame without a found box counts as the last box before it. A frame on which the object is absent (full occlusion, "
        "out of view, no true box) counts as a failure in all of these; AUC visible leaves such frames out. Frames whose truth "
        "nobody knows are left out of everything.",
        _BOXES,
        _DIAGNOSIS,
    ),
    "average-overlap": (
        "GOT-10k: frames of all sequences are one heap, without the first frame of each and without frames on which nothing of "
        "the object is visible (cover 0).",
        "AO: mean overlap, boxes cut to the frame. SR: share of frames with more overlap than 0.50 or 0.75. A frame without a "
        "found box has overlap 0. Frames/s: mean of the frames' speeds, decoding included.",
        _BOXES,
        _DIAGNOSIS,
    ),
    "vots": (
        "VOTS: overlaps of pixels; means over frames, then objects, then sequences. Frames whose truth nobody knows are left "
        "out.",
        "Quality: mean overlap over all frames, 1 where the object is absent and nothing is reported, 0 where it is absent and "
        "something is. Accuracy: mean overlap where above 0.",
        "Robustness, DRE, NRE: shares of visible frames that are tracked (overlap above 0), drifted, not reported. ADQ: share of "
        f"absent frames on which nothing is reported, of objects with more than {LEAST_ABSENT} of them.",
    ),
}
_GIVEN = "The frame on which an object is given is left out (vot-toolkit counts it as missed: --as-vot-toolkit)."
_GIVEN_COUNTED = (
    "The frame on which an object is given counts as one on which nothing is reported, and as an overlap of 0 in the accuracy, "
    "as in vot-toolkit."
)


def protocol_lines(family: Family, *, as_toolkit: bool = False) -> tuple[str, ...]:
    """The rules that made the numbers."""
    if family != "vots":
        return _LINES[family]
    return (*_LINES[family], _GIVEN_COUNTED if as_toolkit else _GIVEN)
