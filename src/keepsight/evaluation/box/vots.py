"""The measures of VOTS (Kristan et al., VOTS2023): what a tracker does on every frame, with the object there and without.

Each object's frames are of five kinds, from which follows whether it was tracked, lost in silence, lost on something else, or
seen where it was not. Averages go from objects to sequences to the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from keepsight.evaluation.box.overlaps import Bools, Floats

THRESHOLDS = np.linspace(0, 1, 100)
"""Of the quality plot."""
LEAST_ABSENT = 10
"""Frames without the object above which the quality of its absence is measured."""

MEASURES = ("quality", "accuracy", "robustness", "NRE", "DRE", "ADQ")


class Kind(IntEnum):
    """What happened on a frame; ``LEFT_OUT`` frames are given, or nobody knows what is true there."""

    LEFT_OUT = 0
    TRACKED = 1
    DRIFTED = 2
    MISSED = 3
    HALLUCINATED = 4
    NOTICED = 5


@dataclass(frozen=True)
class Follows:
    """How one object was followed.

    Attributes:
        kinds: :class:`Kind` by frame, ``(T,)``.
        overlaps: by frame, ``(T,)`` in [0, 1]; 1 where the object is absent and was said to be.
        given: frames on which it is given and that count nevertheless, as vot-toolkit counts them: missed, and with an overlap
            of 0 in the accuracy.
    """

    kinds: NDArray[np.int8]
    overlaps: Floats
    given: int = 0

    def count(self, kind: Kind) -> int:
        """Number of frames of a kind."""
        return int((self.kinds == kind).sum())

    def measures(self) -> dict[str, float]:
        """Of this object alone; a measure that has no frame to be measured on is left out.

        Quality: mean overlap over all frames, absent ones included. Accuracy: mean overlap while it is tracked, 0 if it never
        is. Robustness: share of its visible frames on which it is tracked; NRE (not reported) and DRE (drift) share the rest.
        ADQ: share of absent frames that were noticed as such.
        """
        counted = self.kinds != Kind.LEFT_OUT
        tracked, drifted, missed = (self.count(kind) for kind in (Kind.TRACKED, Kind.DRIFTED, Kind.MISSED))
        seen, unseen = self.count(Kind.HALLUCINATED), self.count(Kind.NOTICED)
        accurate = np.append(self.overlaps[self.kinds == Kind.TRACKED], np.zeros(self.given))
        values = {"quality": _mean(self.overlaps[counted]), "accuracy": _mean(accurate)}
        visible = tracked + drifted + missed
        if visible:
            values |= {"robustness": tracked / visible, "NRE": missed / visible, "DRE": drifted / visible}
        if seen + unseen > LEAST_ABSENT:
            values["ADQ"] = unseen / (seen + unseen)
        return values

    def success(self) -> Floats | None:
        """Shares of frames by threshold, ``(100,)``; more than the threshold, and for the last one as much as it."""
        overlaps = self.overlaps[self.kinds != Kind.LEFT_OUT]
        if not len(overlaps):
            return None
        wins = (overlaps[:, None] > THRESHOLDS).mean(axis=0)
        wins[-1] = (overlaps >= 1).mean()
        return np.asarray(wins)


def follows(overlaps: Floats, visible: Bools, reported: Bools, counted: Bools, given: int = 0) -> Follows:
    """Sorts an object's frames.

    Args:
        overlaps: of what was found and what is true, ``(T,)`` in [0, 1].
        visible: whether the object is there, ``(T,)``.
        reported: whether anything was found, ``(T,)``.
        counted: frames to count, ``(T,)``.
        given: see :class:`Follows`.
    """
    kinds = np.where(
        visible,
        np.where(overlaps > 0, Kind.TRACKED, np.where(reported, Kind.DRIFTED, Kind.MISSED)),
        np.where(reported, Kind.HALLUCINATED, Kind.NOTICED),
    )
    right = ~visible & ~reported
    wrong = ~visible & reported
    return Follows(
        np.where(counted, kinds, Kind.LEFT_OUT).astype(np.int8),
        np.where(right, 1.0, np.where(wrong, 0.0, overlaps)),
        given,
    )


def of_sequence(objects: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over the objects of a sequence that have the measure."""
    return _over(objects)


def of_set(sequences: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over the sequences that have the measure."""
    return _over(sequences)


def quality_curve(sequences: Sequence[Sequence[Follows]]) -> Floats:
    """The quality plot: mean over objects, then over sequences, ``(100,)``."""
    curves = []
    for objects in sequences:
        known = [curve for item in objects if (curve := item.success()) is not None]
        curves.append(np.mean(known, axis=0) if known else np.zeros(len(THRESHOLDS)))
    return np.asarray(np.mean(curves, axis=0))


def _over(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: _mean(values) for name in MEASURES if (values := [row[name] for row in rows if name in row])}


def _mean(values: Floats | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
