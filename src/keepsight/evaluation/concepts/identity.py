"""HOTA, CLEAR and Identity through TrackEval, on IoUs that are there already: no files, no masks decoded.

Source: Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV 2020. For phrases (pHOTA) every
pair of video and phrase is a sequence of its own, and the figure is that of all sequences combined.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.concepts.tubes import FloatArray, IntArray, Overlaps

MIN_SCORE = 0.5
"""Found tubes count above this score, which is not the rule of cgF1: there one of exactly .5 counts."""

_ARRAYS = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA")
_SHARES = ("MOTA", "MOTP", "IDF1", "IDR", "IDP")
_COUNTS = ("IDSW", "Frag")


def sequence_of(overlaps: Overlaps, counted: IntArray) -> dict[str, Any]:
    """A pair as a sequence.

    Args:
        counted: numbers of the found tubes that take part.
    """
    chosen = [np.isin(at, counted) for at in overlaps.found_at]
    return sequence(
        [iou[:, keep] for iou, keep in zip(overlaps.ious, chosen, strict=True)],
        overlaps.truth_at,
        [at[keep] for at, keep in zip(overlaps.found_at, chosen, strict=True)],
    )


def sequence(
    ious: Sequence[FloatArray],
    truth_ids: Sequence[Sequence[int] | IntArray],
    found_ids: Sequence[Sequence[int] | IntArray],
) -> dict[str, Any]:
    """What TrackEval's measures read of a sequence.

    Args:
        ious: by frame, ``(n, m)``; frames on which nothing is there and nothing was found may be left out.
        truth_ids, found_ids: by frame, whole numbers, in the order of the rows and columns; none twice.
    """
    truth_at, truths = _from_zero(truth_ids)
    found_at, tracks = _from_zero(found_ids)
    return {
        "num_timesteps": len(ious),
        "num_gt_ids": truths,
        "num_tracker_ids": tracks,
        "num_gt_dets": sum(map(len, truth_at)),
        "num_tracker_dets": sum(map(len, found_at)),
        "gt_ids": truth_at,
        "tracker_ids": found_at,
        "similarity_scores": list(ious),
    }


def _from_zero(ids: Sequence[Sequence[int] | IntArray]) -> tuple[list[IntArray], int]:
    by_frame = [np.asarray(of_frame, np.int64).reshape(-1) for of_frame in ids]
    known = np.unique(np.concatenate(by_frame)) if by_frame else np.zeros(0, np.int64)
    return [np.searchsorted(known, of_frame) for of_frame in by_frame], len(known)


class IdentityMeasures:
    """Takes in sequences one by one; holds counts only.

    Raises:
        InputError: TrackEval is not installed.
    """

    def __init__(self) -> None:
        metrics = _trackeval().metrics
        quiet = {"PRINT_CONFIG": False}
        self._metrics = (metrics.HOTA(), metrics.CLEAR(quiet), metrics.Identity(quiet))
        self._results: tuple[dict[Hashable, Any], ...] = ({}, {}, {})
        self.thresholds: FloatArray = np.asarray(self._metrics[0].array_labels)

    def add(self, key: Hashable, sequence: dict[str, Any]) -> dict[str, float]:
        """Measures a sequence; gives its own figures as :meth:`combined` does."""
        for metric, results in zip(self._metrics, self._results, strict=True):
            results[key] = metric.eval_sequence(sequence)
        return _figures(tuple(results[key] for results in self._results))

    def parts(self, key: Hashable) -> dict[str, FloatArray]:
        """Of a sequence that was measured, by :attr:`thresholds`: ``"hits"``, masks that are matched; ``"either"``, those and
        what was missed or false; ``"kept"``, hits weighted by how well their ids hold.

        Summed over sequences, ``hits / either`` is DetA and ``kept / hits`` AssA of all of them.
        """
        hota = self._results[0][key]
        hits = np.asarray(hota["HOTA_TP"], float)
        return {"hits": hits, "either": hits + hota["HOTA_FN"] + hota["HOTA_FP"], "kept": hits * hota["AssA"]}

    def combined(self) -> dict[str, float]:
        """Over all sequences: HOTA and its parts as means over the thresholds; MOTA, MOTP and Identity at IoU .5; ID switches
        and fragmentations as counts."""
        return _figures(self._combined())

    def by_threshold(self) -> dict[str, FloatArray]:
        """Over all sequences: HOTA, DetA and AssA by :attr:`thresholds`."""
        hota = self._combined()[0]
        return {name: np.asarray(hota[name], float) for name in ("HOTA", "DetA", "AssA")}

    def _combined(self) -> tuple[Mapping[str, Any], ...]:
        if not self._results[0]:
            raise InputError("There is no sequence to measure.")
        return tuple(
            metric.combine_sequences(results) for metric, results in zip(self._metrics, self._results, strict=True)
        )


def _figures(results: tuple[Mapping[str, Any], ...]) -> dict[str, float]:
    hota, clear, identity = results
    figures = {name: float(np.mean(hota[name])) for name in _ARRAYS}
    figures |= {name: float({**clear, **identity}[name]) for name in _SHARES}
    return figures | {name: float(clear[name]) for name in _COUNTS}


def _trackeval() -> ModuleType:
    try:
        import trackeval
    except ImportError as error:
        raise InputError(
            "HOTA is measured by TrackEval, which is not installed: `pip install --no-deps trackeval tabulate`."
        ) from error
    return trackeval
