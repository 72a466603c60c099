"""One-pass evaluation, the measures of OTB, LaSOT and TrackingNet: success, precision and normalised precision.

Curves are shares of frames, averaged over sequences; every sequence weighs the same (Fan et al., LaSOT, IJCV 2021; the
normalised precision is that of Müller et al., TrackingNet, ECCV 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepsight.evaluation.box.overlaps import (
    Bools,
    Floats,
    box_overlaps,
    centre_errors,
    normalised_centre_errors,
    there,
)

OVERLAPS = np.linspace(0, 1, 21)
"""Thresholds of the success plot."""
DISTANCES_PX = np.arange(51.0)
"""Thresholds of the precision plot."""
DISTANCES = np.arange(51) / 100
"""Thresholds of the plot of normalised precision, in sizes of the true box."""
_AT = 20
"""Where the precisions are read off: 20 px, and 0.20 of the box."""


@dataclass(frozen=True)
class OnePass:
    """One sequence.

    Attributes:
        overlaps: IoU by frame, ``(T,)``, of frames whose truth is known; -1 where the object is not there.
        success, precision, normalised: shares of all frames by threshold, ``(21,)``, ``(51,)``, ``(51,)``; a frame without the
            object is none of them.
        visible_success: success over the frames with the object alone.
    """

    overlaps: Floats
    success: Floats
    precision: Floats
    normalised: Floats
    visible_success: Floats

    def measures(self) -> dict[str, float]:
        """AUC, precisions and AUC over visible frames, as shares."""
        return _measures(self.success, self.precision, self.normalised, self.visible_success)


def one_pass(found: Floats, truth: Floats, visible: Bools, known: Bools | None = None) -> OnePass:
    """Scores one sequence.

    The first frame is given. A box that is missing (NaN, or without a size) counts as the one before: trackers of these
    benchmarks always say something, and one that says nothing is held to what it said last.

    Args:
        found: ``(T, 4)``, ``(x, y, w, h)`` in px.
        truth: ``(T, 4)``.
        visible: ``(T,)``, whether the object is there; a frame without a true box has none.
        known: ``(T,)``, frames whose truth is known; the others are left out. Default: all.
    """
    found = held_to_the_last(found, truth[0])
    if known is not None:
        found, truth, visible = found[known], truth[known], visible[known]
    valid = visible & there(truth)
    overlaps = np.where(valid, box_overlaps(found, truth), -1.0)
    away = np.where(valid, centre_errors(found, truth), np.inf)
    relative = np.where(valid, normalised_centre_errors(found, truth), np.inf)
    wins = (overlaps[:, None] > OVERLAPS).sum(axis=0)
    frames = len(truth)
    return OnePass(
        overlaps,
        wins / frames,
        (away[:, None] <= DISTANCES_PX).sum(axis=0) / frames,
        (relative[:, None] <= DISTANCES).sum(axis=0) / frames,
        wins / max(int(valid.sum()), 1),
    )


def held_to_the_last(found: Floats, first: Floats) -> Floats:
    """Boxes without gaps: a missing one is the one before it; then the first is the given one."""
    good = there(found)
    good[0] = True
    filled = np.where(there(found)[:, None], found, first)[
        np.maximum.accumulate(np.where(good, np.arange(len(found)), 0))
    ]
    filled[0] = first
    return filled


def over_sequences(scores: Sequence[OnePass]) -> tuple[OnePass, dict[str, float]]:
    """Mean curves over sequences, and the measures read off them."""
    mean = OnePass(
        np.empty(0),
        *(
            np.mean([getattr(score, name) for score in scores], axis=0)
            for name in ("success", "precision", "normalised", "visible_success")
        ),
    )
    return mean, mean.measures()


def _measures(success: Floats, precision: Floats, normalised: Floats, visible: Floats) -> dict[str, float]:
    return {
        "AUC": float(success.mean()),
        "precision": float(precision[_AT]),
        "norm. precision": float(normalised[_AT]),
        "norm. precision AUC": float(normalised.mean()),
        "AUC visible": float(visible.mean()),
    }
