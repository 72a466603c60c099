"""HOTA, CLEAR and Identity beside TrackEval's own run over YouTube-VIS files, and worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from concept_eval_tubes import SIZE, bar, drawn, tube
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.evaluation.concepts import overlap
from keepsight.evaluation.concepts.identity import IdentityMeasures, sequence, sequence_of

trackeval = pytest.importorskip("trackeval")


def plain_counts(array):
    """Run lengths as a list, column by column, background first: the only form that TrackEval reads."""
    flat = np.concatenate([[0], array.T.ravel().astype(int), [1 - int(array.T.ravel()[-1])]])
    ends = np.flatnonzero(np.diff(flat[1:-1]))
    runs = np.diff([-1, *ends, array.size - 1]).tolist()
    return [0, *runs] if array.T.ravel()[0] else runs


def files(folder, pairs, frames):
    """The pairs as TrackEval wants them: a video of one class each."""
    videos, truth, found = [], [], []
    for number, (true_tubes, found_tubes) in enumerate(pairs, 1):
        names = [f"video{number}/{frame:05d}.jpg" for frame in range(frames)]
        videos.append({"id": number, "file_names": names, "height": SIZE[0], "width": SIZE[1]})
        for arrays in true_tubes:
            masks = [
                {"size": list(SIZE), "counts": plain_counts(arrays[at])} if at in arrays else None
                for at in range(frames)
            ]
            areas = [int(arrays[at].sum()) if at in arrays else None for at in range(frames)]
            truth.append(
                {
                    "id": len(truth) + 1,
                    "video_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "height": SIZE[0],
                    "width": SIZE[1],
                    "segmentations": masks,
                    "areas": areas,
                    "bboxes": [None] * frames,
                }
            )
        for arrays in found_tubes:
            made = tube(arrays)
            masks = [made.masks[at].to_coco() if at in made.masks else None for at in range(frames)]
            found.append({"video_id": number, "category_id": 1, "score": 0.9, "segmentations": masks})
    where = folder / "gt" / "youtube_vis_val"
    results = folder / "trackers" / "youtube_vis_val" / "ours" / "data"
    for made in (where, results):
        made.mkdir(parents=True)
    dataset = {"videos": videos, "annotations": truth, "categories": [{"id": 1, "name": "thing"}]}
    (where / "val.json").write_text(json.dumps(dataset))
    (results / "results.json").write_text(json.dumps(found))
    return trackeval.datasets.YouTubeVIS(
        {
            "GT_FOLDER": f"{folder}/gt/",
            "TRACKERS_FOLDER": f"{folder}/trackers/",
            "SPLIT_TO_EVAL": "val",
            "PRINT_CONFIG": False,
        }
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_are_those_of_trackeval_on_files(tmp_path, seed, capsys):
    rng = np.random.default_rng(seed)
    frames, pairs = 6, []
    for number in range(6):
        truth = drawn(100 * seed + number, int(rng.integers(0, 4)), frames)
        found = drawn(100 * seed + number + 50, int(rng.integers(0, 4)), frames, near=truth)
        # TrackEval's reader cannot do with tubes of nothing.
        pairs.append(([one for one in truth if one], [one for one in found if one]))
    # One pair at least in which something is there, so that there is something to compare.
    pairs[0] = (drawn(seed, 2, frames), drawn(seed, 2, frames))
    dataset = files(tmp_path, pairs, frames)
    quiet = {"PRINT_CONFIG": False}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
    theirs = [{} for _ in metrics]
    for name in dataset.seq_list:
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", name), "thing")
        for metric, results in zip(metrics, theirs, strict=True):
            results[name] = metric.eval_sequence(data)
    hota, clear, identity = (metric.combine_sequences(r) for metric, r in zip(metrics, theirs, strict=True))

    measures = IdentityMeasures()
    for number, (truth, found) in enumerate(pairs):
        overlaps = overlap([tube(arrays) for arrays in truth], [tube(arrays) for arrays in found])
        own = measures.add(number, sequence_of(overlaps, np.arange(len(found))))
        assert own["HOTA"] == np.mean(theirs[0][f"video{number + 1}"]["HOTA"])
    ours = measures.combined()
    assert 0 < ours["HOTA"] < 1
    for name in ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA"):
        assert ours[name] == pytest.approx(np.mean(hota[name]), abs=1e-12), name
    for name in ("MOTA", "MOTP", "IDSW", "Frag"):
        assert ours[name] == pytest.approx(clear[name], abs=1e-12), name
    for name in ("IDF1", "IDR", "IDP"):
        assert ours[name] == pytest.approx(identity[name], abs=1e-12), name
    assert np.array_equal(measures.by_threshold()["AssA"], hota["AssA"])


def hota(ious, truths, tracks):
    measures = IdentityMeasures()
    measures.add("only", sequence(ious, truths, tracks))
    return measures.combined()["HOTA"]


def test_the_right_ids_on_the_right_masks_score_one_whatever_the_ids_are():
    same = [np.eye(2)] * 3
    assert hota(same, [[1, 2]] * 3, [[7, 9]] * 3) == pytest.approx(1)


def test_an_exchange_of_ids_costs_association_only():
    # Two things, four frames; the tracks change places in the middle. Every frame is matched, so DetA is 1; each
    # match belongs to a pair that holds for 2 of the 4 + 4 - 2 frames of either: AssA is 1/3.
    score = hota([np.eye(2)] * 4, [[1, 2]] * 4, [[1, 2], [1, 2], [2, 1], [2, 1]])
    assert score == pytest.approx(np.sqrt(1 / 3))


def test_what_is_missed_costs_detection_and_what_overlaps_little_counts_up_to_its_threshold():
    # One thing on four frames, found on two of them: DetA 1/2 and AssA 2/4.
    assert hota([np.ones((1, 1))] * 2 + [np.ones((1, 0))] * 2, [[1]] * 4, [[1], [1], [], []]) == pytest.approx(0.5)
    # IoU .5 is a match at 10 of the 19 thresholds.
    assert hota([np.full((1, 1), 0.5)], [[1]], [[1]]) == pytest.approx(10 / 19)


def test_only_tubes_that_count_take_part_and_false_ones_cost_detection():
    overlaps = overlap([bar(50, frames=4)], [bar(50, frames=4), bar(20, frames=4, row=3)])
    measures = IdentityMeasures()
    assert measures.add("both", sequence_of(overlaps, np.array([0, 1])))["DetA"] == pytest.approx(1 / 2)
    assert measures.add("one", sequence_of(overlaps, np.array([0])))["DetA"] == pytest.approx(1)
    # 8 hits, 4 false ones.
    assert measures.combined()["DetA"] == pytest.approx(8 / 12)
    # A phrase that is not there: false ones only.
    measures.add("none", sequence_of(overlap([], [bar(20, frames=4)]), np.array([0])))
    assert measures.combined()["DetA"] == pytest.approx(8 / 16)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_result_that_is_the_truth_scores_one_in_any_order(seed, tubes):
    arrays = [one for one in drawn(seed, tubes, 5) if one]
    if not arrays:
        return
    overlaps = overlap([tube(a) for a in arrays], [tube(a) for a in reversed(arrays)])
    measures = IdentityMeasures()
    figures = measures.add("same", sequence_of(overlaps, np.arange(len(arrays))))
    for name in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1"):
        assert figures[name] == pytest.approx(1), name
