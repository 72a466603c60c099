"""How well a detector finds what is on pictures that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keepsight.evaluation.concepts.gated import PairCounts, count_pair, gated_f1
from keepsight.evaluation.paired import Estimate
from keepsight.training.detector.album import Album, Picture

MOST_FOUND = 100
"""Finds of one phrase on one picture that count, best first (COCO)."""

_AT_ONCE = 4_000_000
_LEVEL = 0.95
_FEW = 10


def asked_of(picture: Picture) -> tuple[str, ...]:
    """The phrases by which a picture is measured: what is on it and what is known not to be."""
    return (*picture.present, *picture.absent)


def truth_of(album: Album) -> dict[str, Any]:
    """The album as COCO; a find refers to it by the numbers of pictures and phrases, from 1."""
    phrases = sorted({phrase for picture in album.pictures for phrase in asked_of(picture)})
    numbers = {phrase: number for number, phrase in enumerate(phrases, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, picture in enumerate(album.pictures, 1):
        images.append({"id": image, "file_name": picture.name, "height": picture.height, "width": picture.width})
        for item in picture.objects:
            x1, y1, x2, y2 = item.box
            entry: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": numbers.get(item.phrase),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float((x2 - x1) * (y2 - y1) if item.mask is None else item.mask.area),
                "iscrowd": int(item.crowd),
            }
            if item.mask is not None:
                entry["segmentation"] = item.mask.to_coco()
            if entry["category_id"] is not None:
                annotations.append(entry)
    categories = [{"id": number, "name": phrase} for phrase, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


@dataclass(frozen=True, eq=False)
class Scores:
    """What a detector found beside what is there.

    Attributes:
        summary: shares: "mask AP", "mask AP50", "mask AP75" (left out where a true object has no mask), the same of boxes,
            "cgF1", "cgF1@50", "IL_MCC".
        headline: the measure by which two detectors are compared.
        pairs: counts of every picture and phrase that was asked, in order.
    """

    summary: Mapping[str, float]
    headline: str
    pairs: tuple[PairCounts, ...]
    _by_picture: COCOeval
    _pictures: int

    def average_precision(self, draws: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """The headline, by resampled sets of pictures.

        Args:
            draws: ``(R, I)``, how often each picture is in a set; default: every picture once.

        Returns:
            ``(R,)``; NaN where a set has no object.
        """
        if draws is None:
            draws = np.ones((1, self._pictures))
        return _precision(self._by_picture, draws)


def score(truth: dict[str, Any], found: Sequence[dict[str, Any]], asked: Sequence[tuple[int, int]]) -> Scores:
    """Scores finds against the truth.

    Args:
        truth: see :func:`truth_of`.
        found: COCO results, with ``bbox`` and ``segmentation``.
        asked: (picture, phrase) by number, all that the detector was asked.
    """
    kinds = ["bbox"]
    if all("segmentation" in entry for entry in truth["annotations"]):
        kinds.insert(0, "segm")
    summary: dict[str, float] = {}
    evaluations = {}
    for kind in kinds:
        with redirect_stdout(StringIO()):
            evaluation = evaluations[kind] = COCOeval(_coco(truth, truth["annotations"]), _coco(truth, found), kind)
            evaluation.evaluate()
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        name = "mask" if kind == "segm" else "box"
        for label, part in (("AP", precision), ("AP50", precision[0]), ("AP75", precision[5])):
            known = part[part > -1]
            summary[f"{name} {label}"] = float(known.mean()) if known.size else float("nan")
    pairs = tuple(_pair(evaluations[kinds[0]], image, category) for image, category in asked)
    gated = gated_f1(pairs)
    summary |= {"cgF1": float(gated.cgf1.mean()), "cgF1@50": float(gated.cgf1[0]), "IL_MCC": gated.il_mcc}
    headline = "mask AP" if kinds[0] == "segm" else "box AP"
    return Scores(summary, headline, pairs, evaluations[kinds[0]], len(truth["images"]))


def difference(before: Scores, after: Scores, rounds: int, seed: int) -> Estimate:
    """The headline after minus before with a bootstrap interval over pictures, both on the same draws."""
    pictures = after._pictures
    value = after.summary[after.headline] - before.summary[before.headline]
    if pictures < 2:
        return Estimate(value, None, None, pictures, "one picture says nothing about others")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, pictures, (rounds, pictures)) + np.arange(rounds)[:, None] * pictures
    draws = np.bincount(chosen.ravel(), minlength=rounds * pictures).reshape(rounds, pictures).astype(np.float64)
    apart = after.average_precision(draws) - before.average_precision(draws)
    low, high = np.nanpercentile(apart, [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)])
    why = f"only {pictures} pictures: the interval is too narrow" if pictures < _FEW else ""
    return Estimate(value, float(low), float(high), pictures, why)


def _coco(truth: dict[str, Any], entries: Sequence[dict[str, Any]]) -> COCO:
    made = COCO()
    # The evaluation writes into the entries. COCO takes 0 for "no match", so numbers begin at 1.
    made.dataset = {
        "images": truth["images"],
        "categories": truth["categories"],
        "annotations": [{"iscrowd": 0, **entry, "id": number} for number, entry in enumerate(entries, 1)],
    }
    for entry in made.dataset["annotations"]:
        entry.setdefault("area", float(entry["bbox"][2] * entry["bbox"][3]))
    made.createIndex()
    return made


def _pair(evaluation: COCOeval, image: int, category: int) -> PairCounts:
    truth = [entry for entry in evaluation._gts[image, category] if not entry["iscrowd"]]
    found = sorted(evaluation._dts[image, category], key=lambda entry: -entry["score"])[:MOST_FOUND]
    kept = [place for place, entry in enumerate(evaluation._gts[image, category]) if not entry["iscrowd"]]
    ious = np.zeros((len(found), len(truth)))
    if truth and found:
        ious = np.asarray(evaluation.ious[image, category], float)[:, kept]
    return count_pair(ious.T, np.array([entry["score"] for entry in found]))


def _precision(evaluation: COCOeval, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """COCO's average precision, over all sizes, where a picture may be there several times: equal to
    ``COCOeval.accumulate`` where each is there once."""
    settings = evaluation.params
    pictures, sizes = len(settings.imgIds), len(settings.areaRng)
    sums, known = np.zeros(len(draws)), np.zeros(len(draws))
    for category in range(len(settings.catIds)):
        begin = category * sizes * pictures  # the first range of sizes is all of them
        entries = [
            (place, entry)
            for place, entry in enumerate(evaluation.evalImgs[begin : begin + pictures])
            if entry is not None
        ]
        truth = np.zeros(pictures)
        for place, entry in entries:
            truth[place] = np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0)
        if not truth.any():
            continue
        real = draws @ truth
        scores = np.concatenate([entry["dtScores"] for _, entry in entries])
        order = np.argsort(-scores, kind="mergesort")
        ignored = np.concatenate([entry["dtIgnore"] for _, entry in entries], axis=1)[:, order].astype(bool)
        matched = np.concatenate([entry["dtMatches"] for _, entry in entries], axis=1)[:, order] > 0
        whose = np.concatenate([np.full(len(entry["dtScores"]), place) for place, entry in entries])[order]
        values = _of_category(draws, real, matched & ~ignored, ~matched & ~ignored, whose, settings.recThrs)
        there = real > 0
        sums[there] += values[there]
        known += there
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / known)


def _of_category(
    draws: NDArray[np.float64],
    real: NDArray[np.float64],
    hits: NDArray[np.bool_],
    false: NDArray[np.bool_],
    whose: NDArray[np.int64],
    recalls: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean over thresholds and recalls, by draw; ``hits`` and ``false`` are ``(T, D)`` by falling score."""
    out = np.zeros(len(draws))
    if not len(whose):
        return out
    step = max(1, _AT_ONCE // (len(hits) * len(whose)))
    for begin in range(0, len(draws), step):
        part = slice(begin, begin + step)
        weight = draws[part][:, whose][:, None]
        right = np.cumsum(weight * hits, axis=-1)
        wrong = np.cumsum(weight * false, axis=-1)
        precision = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
        recall = right / np.maximum(real[part], 1e-12)[:, None, None]
        for row in range(len(weight)):
            total = 0.0
            for threshold in range(len(hits)):
                places = np.searchsorted(recall[row, threshold], recalls, side="left")
                total += best[row, threshold, places[places < len(whose)]].sum()
            out[begin + row] = total / (len(hits) * len(recalls))
    return out
