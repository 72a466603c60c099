"""Scores predictions of phrases in video: a row a pair of video and phrase, and the figures of the field over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.concepts.dataset import ConceptSet, Pair
from keepsight.evaluation.concepts.gated import (
    LEAST_SCORE,
    SMALL,
    SMALL_MCC,
    THRESHOLDS,
    GatedF1,
    PairCounts,
    count_pair,
    gated_f1,
)
from keepsight.evaluation.concepts.identity import MIN_SCORE, IdentityMeasures, sequence_of
from keepsight.evaluation.concepts.precision import SIZES_PX, TubePrecision
from keepsight.evaluation.concepts.predictions import Predictions
from keepsight.evaluation.concepts.tubes import Overlaps, overlap, shared_px
from keepsight.evaluation.results import Curve, Figure, Results, Row

_AT = [f"{round(100 * threshold)}" for threshold in THRESHOLDS]
_PRESENCE = ("IL TP", "IL FP", "IL FN", "IL TN")
_PER_PAIR = ("HOTA", "DetA", "AssA")
_PARTS = ("DetRe", "DetPr", "AssRe", "AssPr", "LocA")
_COUNTS = ("true tubes", "found tubes")
_EXTRAS = ("IDF1", "MOTA", "MOTP")


def score(of: ConceptSet, predictions: Predictions, settings: Mapping[str, Any]) -> Results:
    """Scores a whole set.

    Args:
        settings: what made the predictions, for the report.

    Raises:
        InputError: a set without truth; TrackEval is not installed.
    """
    if not of.has_truth:
        raise InputError(
            f"{of.path} has no annotations, so nothing can be scored; hand results.json in where they are."
        )
    return _Scoring(of, predictions).results(settings)


class _Scoring:
    def __init__(self, of: ConceptSet, predictions: Predictions) -> None:
        self.of, self.predictions = of, predictions
        self.identity = IdentityMeasures()
        self.by_phrase, self.by_pair = TubePrecision(), TubePrecision()
        self.counts: list[PairCounts] = []
        self.rows: list[Row] = []
        for number, pair in enumerate(self._pairs(), 1):
            self._measure(number, pair)

    def _pairs(self) -> Iterator[Pair]:
        """Those of the set; where it does not say them all, also those of which something was found."""
        yield from self.of.pairs
        known = {pair.key for pair in self.of.pairs}
        for video, category in sorted(self.predictions.tubes.keys() - known):
            phrase = self.of.phrases[category]
            yield Pair(self.of.videos[video], category, phrase, phrase)

    def _measure(self, number: int, pair: Pair) -> None:
        found = self.predictions.tubes.get(pair.key, ())
        overlaps = overlap(pair.truth, found)
        scores = np.array([tube.score for tube in found], float)
        self.by_phrase.add(pair.video.number, pair.category, pair.truth, found, overlaps)
        self.by_pair.add(number, 1, pair.truth, found, overlaps)
        tracked = self.identity.add(pair.key, sequence_of(overlaps, np.flatnonzero(scores > MIN_SCORE)))
        if not self.of.says_pairs and not pair.truth:
            return  # a row in every run, or in none: runs are compared by their rows
        counted = count_pair(overlaps.tube_ious, scores)
        self.counts.append(counted)
        length = len(pair.video.file_names)
        by_frame = {"IoU": _by_frame(counted, overlaps, length)} if counted.truth else {}
        values, parts = self._values(counted, tracked, overlaps), self._parts(pair, counted)
        self.rows.append(
            Row(pair.video.name, pair.name, values, _attributes(pair), tuple(range(length)), by_frame, parts)
        )

    def _values(self, counted: PairCounts, tracked: Mapping[str, float], overlaps: Overlaps) -> dict[str, float]:
        values = {"F1": float(counted.f1.mean())}
        if overlaps.truth_px.any():
            values |= {name: tracked[name] for name in _PER_PAIR}
        return values | dict(zip(_COUNTS, (float(counted.truth), float(counted.found)), strict=True))

    def _parts(self, pair: Pair, counted: PairCounts) -> dict[str, float]:
        """What the figures of the whole set are made of."""
        parts: dict[str, float] = {}
        if self.of.says_pairs:
            said, there = counted.found > 0, counted.truth > 0
            outcomes = (said and there, said and not there, there and not said, not said and not there)
            parts |= {name: float(outcome) for name, outcome in zip(_PRESENCE, outcomes, strict=True)}
        if counted.truth:
            for at, hits in zip(_AT, counted.hits.tolist(), strict=True):
                counts = {f"TP@{at}": hits, f"FP@{at}": counted.found - hits, f"FN@{at}": counted.truth - hits}
                parts |= {name: float(count) for name, count in counts.items()}
        for name, values in self.identity.parts(pair.key).items():
            parts |= {f"HOTA {name}@{at}": value for at, value in zip(self._alphas, values.tolist(), strict=True)}
        return parts

    @property
    def _alphas(self) -> list[str]:
        return [f"{round(100 * alpha):02d}" for alpha in self.identity.thresholds]

    # -- all together ------------------------------------------------------------------------------------------------
    def results(self, settings: Mapping[str, Any]) -> Results:
        gated = gated_f1(self.counts)
        tracked = self.identity.combined()
        presence = self._presence_known()
        summary = {"cgF1": float(gated.cgf1.mean())} if presence else {}
        summary["pmF1"] = float(gated.pmf1.mean())
        summary |= {"IL_MCC": gated.il_mcc} if presence else {}
        summary |= {f"p{name}": tracked[name] for name in _PER_PAIR}
        phrase, pair = self.by_phrase.figures(), self.by_pair.figures()
        summary |= phrase
        summary |= {f"phrase {name}": pair[name] for name in ("AP", "AP50", "AP75") if name in pair}
        for place in (0, 5):
            summary |= {f"cgF1@{_AT[place]}": float(gated.cgf1[place])} if presence else {}
            summary[f"pmF1@{_AT[place]}"] = float(gated.pmf1[place])
        summary |= {"precision": float(gated.precision.mean()), "recall": float(gated.recall.mean())}
        summary["F1"] = float(np.mean([row.values["F1"] for row in self.rows]))
        summary |= {f"p{name}": tracked[name] for name in _PARTS} | {name: tracked[name] for name in _EXTRAS}
        first = ("cgF1", "pHOTA", "pmF1", "IL_MCC") if presence else ("AP", "pHOTA", "pmF1")
        return Results(
            task="concepts",
            protocol=_protocol(self.of, settings),
            summary=summary,
            headline=tuple(name for name in (*first, "F1") if name in summary),
            rows=tuple(sorted(self.rows, key=lambda row: (row.video, row.item))),
            settings=settings,
            curves=self._curves(gated, presence),
            remarks=self._remarks(tracked),
            columns=("F1", *_PER_PAIR, *_COUNTS),
            counts=_COUNTS,
            figures=_figures(presence, self._alphas),
        )

    def _presence_known(self) -> bool:
        negative = sum(counted.truth == 0 for counted in self.counts)
        return self.of.says_pairs and 0 < negative < len(self.counts)

    def _curves(self, gated: GatedF1, presence: bool) -> tuple[Curve, ...]:
        thresholds = tuple(THRESHOLDS.tolist())
        curves = [Curve("pmF1", "tube IoU from which a find is a hit", "pmF1", thresholds, tuple(gated.pmf1.tolist()))]
        if presence:
            cgf1 = tuple(gated.cgf1.tolist())
            curves.insert(0, Curve("cgF1", "tube IoU from which a find is a hit", "cgF1", thresholds, cgf1))
        alphas = tuple(self.identity.thresholds.tolist())
        for name, values in self.identity.by_threshold().items():
            curves.append(
                Curve(f"p{name}", "mask IoU from which a match counts", f"p{name}", alphas, tuple(values.tolist()))
            )
        return tuple(curves)

    def _remarks(self, tracked: Mapping[str, float]) -> tuple[str, ...]:
        lines = list(self.of.remarks)
        found = {video for video, _ in self.predictions.tubes}
        silent = len(self.of.videos.keys() - found)
        if silent:
            lines.append(f"Nothing was found in {silent} of {len(self.of.videos)} videos.")
        if self.predictions.left_out:
            lines.append(
                f"{self.predictions.left_out} found tubes are of phrases that the set does not ask for there; left out."
            )
        if not self.of.says_pairs:
            lines.append(
                "The set does not say which phrases are absent (video_np_pairs), so there is no IL_MCC and no cgF1."
            )
        elif not self._presence_known():
            lines.append("All phrases are there, or none is, so there is no IL_MCC and no cgF1.")
        lines.append(
            f"Ids were switched {round(tracked['IDSW'])} times and tracks broken {round(tracked['Frag'])} times (mask IoU .5)."
        )
        return tuple(lines)


def _by_frame(counted: PairCounts, overlaps: Overlaps, length: int) -> tuple[float | None, ...]:
    """By frame: px that true tubes share with their partners over px that any of the pair's tubes covers there, counted once for
    each but for what partners share; ``None`` where there is nothing."""
    values: list[float | None] = [None] * length
    partner = np.full(counted.truth, -1)
    partner[list(counted.partners)] = list(counted.partners.values())
    for place, frame in enumerate(overlaps.frames):
        counts = np.isin(overlaps.found_at[place], counted.counted)
        found_at, areas = overlaps.found_at[place][counts], overlaps.found_areas[place][counts]
        shared = shared_px(overlaps.ious[place][:, counts], overlaps.truth_areas[place], areas)
        common = int(shared[partner[overlaps.truth_at[place]][:, None] == found_at[None]].sum())
        either = int(overlaps.truth_areas[place].sum() + areas.sum()) - common
        values[frame] = common / either if either else None
    return tuple(values)


def _attributes(pair: Pair) -> tuple[str, ...]:
    if not pair.truth:
        return ("negative",)
    count = len(pair.truth)
    number = "1-instance" if count == 1 else "2-to-5-instances" if count <= 5 else "6-or-more-instances"
    area_px = float(np.mean([tube.area_px for tube in pair.truth]))
    size = next(name for name in ("small", "medium", "large") if area_px <= SIZES_PX[name][1] or name == "large")
    return ("positive", size, number)


def _figures(presence: bool, alphas: Sequence[str]) -> dict[str, Figure]:
    """How the figures with an interval are made of the rows."""
    made = {f"pmF1@{at}": Figure("f1", (f"TP@{at}", f"FP@{at}", f"FN@{at}"), SMALL) for at in _AT}
    made["pmF1"] = Figure("mean", tuple(made))
    if presence:
        made["IL_MCC"] = Figure("mcc", _PRESENCE, SMALL_MCC)
        made["cgF1"] = Figure("product", ("pmF1", "IL_MCC"))
        made |= {f"cgF1@{at}": Figure("product", (f"pmF1@{at}", "IL_MCC")) for at in (_AT[0], _AT[5])}
    for at in alphas:
        made[f"pDetA@{at}"] = Figure("ratio", (f"HOTA hits@{at}", f"HOTA either@{at}"))
        made[f"pAssA@{at}"] = Figure("ratio", (f"HOTA kept@{at}", f"HOTA hits@{at}"))
        made[f"pHOTA@{at}"] = Figure("geometric mean", (f"pDetA@{at}", f"pAssA@{at}"))
    return made | {name: Figure("mean", tuple(f"{name}@{at}" for at in alphas)) for name in ("pHOTA", "pDetA", "pAssA")}


def _protocol(of: ConceptSet, settings: Mapping[str, Any]) -> tuple[str, ...]:
    lines = [
        "Tube IoU: px shared over px covered by either, both summed over all frames of the video; a missing mask is empty.",
        f"pmF1: found tubes with a score of {LEAST_SCORE:g} or more, matched one to one with the true ones for the largest sum "
        "of IoUs. Hits from IoU .50, .55, ... .95 on, summed over pairs in which the phrase is there; F1, mean of the ten.",
    ]
    if of.says_pairs:
        lines.append(
            "IL_MCC: Matthews correlation, over pairs, of 'something was found' with 'something is there'. cgF1 = pmF1 x IL_MCC. "
            "SAM 3's small constants (1e-4 in precision, recall and F1, 1e-6 in the correlation) are part of the figures."
        )
    if settings.get("phrases") == "annotated":
        lines.append(
            "Looked for were only the phrases that are annotated in a video, so none of the others was found falsely."
        )
    lines += [
        "pHOTA, pDetA, pAssA: TrackEval's HOTA on mask IoU; every pair is a sequence of its own. Tubes with a score above "
        f"{MIN_SCORE:g}; all sequences combined, mean over the thresholds .05 to .95. IDF1, MOTA, MOTP: at mask IoU .5.",
        "AP: COCO's, on tube IoU, mean over ten thresholds and over phrases; 100 tubes a pair. Sizes by the mean area of a tube: "
        "up to 128x128 px, up to 256x256 px, above. Phrase AP: every pair is a picture of its own, all phrases are one class.",
        "F1 of a row is over its own tubes (1 where nothing is there and nothing was found); F1 of the summary is their mean.",
    ]
    return tuple(lines)
