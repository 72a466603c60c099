"""Tube AP beside pycocotools on single frames and TrackEval on whole tubes."""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from concept_eval_tubes import bar, drawn, tube
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keepsight.evaluation.concepts import overlap
from keepsight.evaluation.concepts.precision import MOST_FOUND, SIZES_PX, TubePrecision

SIZE = (400, 560)  # so that all sizes of tubes occur


def made_up(seed, frames, size=SIZE, pairs=12):
    """(image, category, truth, found) with scores that hardly ever tie."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(pairs):
        truth = [one for one in drawn(1000 * seed + number, int(rng.integers(0, 4)), frames, size=size) if one]
        found = [
            one
            for one in drawn(1000 * seed + number + 500, int(rng.integers(0, 6)), frames, near=truth, size=size)
            if one
        ]
        made.append(
            (
                number // 3 + 1,
                number % 3 + 1,
                [tube(one, crowd=bool(rng.random() < 0.2)) for one in truth],
                [tube(one, float(rng.random())) for one in found],
            )
        )
    return made


def ours(entries):
    measured = TubePrecision()
    for image, category, truth, found in entries:
        measured.add(image, category, truth, found, overlap(truth, found))
    return measured.figures()


@pytest.mark.parametrize("seed", range(5))
def test_tubes_of_one_frame_are_what_pycocotools_makes_of_masks(seed):
    entries = made_up(seed, frames=1)
    truth, found = [], []
    for image, category, true_tubes, found_tubes in entries:
        for tubes, out in ((true_tubes, truth), (found_tubes, found)):
            for one in tubes:
                out.append(
                    {
                        "id": len(out) + 1,
                        "image_id": image,
                        "category_id": category,
                        "score": one.score,
                        "segmentation": one.masks[0].to_coco(),
                        "area": one.masks[0].area,
                        "iscrowd": int(one.crowd),
                        "bbox": [0, 0, 1, 1],
                    }
                )
    with redirect_stdout(StringIO()):
        both = []
        for annotations in (truth, found):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": n, "height": SIZE[0], "width": SIZE[1]} for n in range(1, 5)],
                "categories": [{"id": n} for n in range(1, 4)],
                "annotations": annotations,
            }
            coco.createIndex()
            both.append(coco)
        reference = COCOeval(*both, "segm")
        reference.params.areaRng = [list(size) for size in SIZES_PX.values()]
        reference.params.areaRngLbl = list(SIZES_PX)
        reference.params.maxDets = list(MOST_FOUND)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    names = ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AR1", "AR10", "AR100"]
    figures = ours(entries)
    assert 0 < figures["AP"] < 1
    for name, expected in zip(names, reference.stats, strict=False):
        assert figures.get(name, -1) == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize("seed", range(3))
def test_whole_tubes_are_what_trackeval_makes_of_them(seed):
    trackeval = pytest.importorskip("trackeval")
    # TrackEval never lets two tubes share a crowd; COCO does.
    entries = [
        (i, c, [replace(t, crowd=False) for t in truth], found) for i, c, truth, found in made_up(seed, frames=4)
    ]
    quiet = {"USE_TIME_RANGES": False, "PRINT_CONFIG": False, "MAX_DETECTIONS": 100}
    sizes = {"AREA_RANGES": list(SIZES_PX.values())[1:], "AREA_RANGE_LABELS": ["small", "medium", "large"]}
    metric = trackeval.metrics.TrackMAP({**quiet, **sizes})
    by_category: dict[int, dict[int, object]] = {}
    for image, category, truth, found in entries:
        order = np.argsort([-one.score for one in found], kind="stable")
        best = [found[place] for place in order]
        data = {
            "gt_tracks": [{at: mask.to_coco() for at, mask in one.masks.items()} for one in truth],
            "dt_tracks": [{at: mask.to_coco() for at, mask in one.masks.items()} for one in best],
            "gt_track_ids": list(range(1, len(truth) + 1)),
            "dt_track_ids": list(range(1, len(best) + 1)),
            "gt_track_areas": [one.area_px for one in truth],
            "dt_track_areas": [one.area_px for one in best],
            "gt_track_iscrowd": [False] * len(truth),
            "dt_track_scores": [one.score for one in best],
            "iou_type": "mask",
        }
        by_category.setdefault(category, {})[image] = metric.eval_sequence(data)
    combined = [metric.combine_sequences(results) for results in by_category.values()]
    figures = ours(entries)
    assert 0 < figures["AP"] < 1
    for label, name in {"all": "AP", "small": "AP small", "medium": "AP medium", "large": "AP large"}.items():
        values = np.array([one[f"AP_{label}"] for one in combined])
        assert figures[name] == pytest.approx(values[values > -1].mean(), abs=1e-12), name


def test_worked_by_hand():
    # Of two true tubes one is found, with the best score; one of the three found ones is another's double, one is nothing.
    # Precision is 1 up to recall 1/2 and 0 above: 51 of 101 places. Its IoU is .8: thresholds .5 to .8 of ten.
    truth, found = [bar(50), bar(50, row=2)], [bar(40, 0.9), bar(40, 0.8), bar(30, 0.7, row=4)]
    figures = ours([(1, 1, truth, found)])
    assert figures["AP"] == pytest.approx(0.7 * 51 / 101)
    assert figures["AP50"] == pytest.approx(51 / 101)
    assert figures["AR1"] == pytest.approx(0.7 / 2)
    assert "AP large" not in figures
    # The same found once more of a phrase that is not there: it is no category with something to find.
    assert ours([(1, 1, truth, found), (1, 2, [], found)]) == figures
    # In a second video it is: a false one between right and wrong.
    assert ours([(1, 1, truth, found), (2, 1, [], [bar(9, 0.95)])])["AP50"] == pytest.approx(51 / 101 / 2)
