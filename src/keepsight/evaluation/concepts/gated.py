"""Classification-gated F1: are the right things found (pmF1), and is the phrase known to be there or not (IL_MCC)?

Source: Carion et al., SAM 3: Segment Anything with Concepts, 2025, whose evaluator's small constants in the denominators are
part of its numbers and of ours: 1e-4 in precision, recall and F1, 1e-6 in the correlation. So a perfect result is a little
below 1, the less so the more instances there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from keepsight.evaluation.concepts.tubes import FloatArray

THRESHOLDS: FloatArray = np.linspace(0.5, 0.95, 10)
"""Tube IoU from which two tubes are one."""

LEAST_SCORE = 0.5
"""Found tubes count from this score on."""

SMALL, SMALL_MCC = 1e-4, 1e-6


@dataclass(frozen=True, eq=False)
class PairCounts:
    """One phrase in one video.

    Attributes:
        truth, found: number of true tubes, and of found ones that count.
        hits: int ``(10,)``, found tubes that are true ones, by :data:`THRESHOLDS`.
        counted: int ``(found,)``, numbers of the found tubes that count.
        partners: true tube -> found tube, of those matched that overlap at all.
    """

    truth: int
    found: int
    hits: NDArray[np.int64]
    counted: NDArray[np.int64]
    partners: dict[int, int]

    @property
    def f1(self) -> FloatArray:
        """F1 of this pair alone, ``(10,)``, without the small constants; 1 where nothing is there and nothing was found."""
        either = self.truth + self.found
        return 2 * self.hits / either if either else np.ones(len(self.hits))


@dataclass(frozen=True, eq=False)
class GatedF1:
    """Over all pairs; shares. The arrays are by :data:`THRESHOLDS`.

    Attributes:
        il_mcc: Matthews correlation of "something was found" with "something is there", in [-1, 1].
        precision: hits among what was found of phrases that are there.
        recall: hits among what is there.
        pmf1: their harmonic mean.
    """

    il_mcc: float
    precision: FloatArray
    recall: FloatArray
    pmf1: FloatArray

    @property
    def cgf1(self) -> FloatArray:
        """``pmf1 * il_mcc``."""
        return self.pmf1 * self.il_mcc


def count_pair(tube_ious: FloatArray, scores: FloatArray) -> PairCounts:
    """Matches the found tubes of one pair with its true ones, one to one, for the largest sum of IoUs.

    Args:
        tube_ious: ``(N, M)``, true by found.
        scores: ``(M,)`` of the found ones; those below :data:`LEAST_SCORE` take no part.
    """
    counted = np.flatnonzero(scores >= LEAST_SCORE)
    rows, columns = linear_sum_assignment(tube_ious[:, counted], maximize=True)
    matched = tube_ious[rows, counted[columns]]
    hits = (matched[:, None] >= THRESHOLDS).sum(0)
    over = matched > 0
    partners = dict(zip(rows[over].tolist(), counted[columns[over]].tolist(), strict=True))
    return PairCounts(len(tube_ious), len(counted), hits, counted, partners)


def gated_f1(pairs: Sequence[PairCounts]) -> GatedF1:
    """cgF1 and its parts, micro-averaged: counts are summed over pairs first.

    What was found of a phrase that is not there counts in IL_MCC only.
    """
    truth = np.array([pair.truth for pair in pairs], np.int64)
    found = np.array([pair.found for pair in pairs], np.int64)
    hits = np.array([pair.hits for pair in pairs], np.int64).reshape(len(pairs), len(THRESHOLDS)).sum(0)
    precision = hits / (found[truth > 0].sum() + SMALL)
    recall = hits / (truth.sum() + SMALL)
    pmf1 = 2 * precision * recall / (precision + recall + SMALL)
    return GatedF1(_correlation(found > 0, truth > 0), precision, recall, pmf1)


def _correlation(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    hit, false = float((said & true).sum()), float((said & ~true).sum())
    missed, quiet = float((~said & true).sum()), float((~said & ~true).sum())
    scale = np.sqrt((hit + false) * (hit + missed) * (quiet + false) * (quiet + missed))
    return float((hit * quiet - false * missed) / (scale + SMALL_MCC))
