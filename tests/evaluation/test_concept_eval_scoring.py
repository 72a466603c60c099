"""A set from files to figures."""

from __future__ import annotations

import json

import pytest
from concept_eval_sets import annotation, set_of, still, write

from keepsight.core import InputError
from keepsight.evaluation import paired
from keepsight.evaluation.concepts.dataset import read_set
from keepsight.evaluation.concepts.predictions import entries_of, read_predictions
from keepsight.evaluation.concepts.scoring import score
from keepsight.evaluation.report.encoding import decode, encode

pytest.importorskip("trackeval")

#: Two dogs that swap places never, a cup, and two phrases of which there is nothing.
TRUTH = [
    annotation(1, 1, still(20, 4), 4),
    annotation(1, 1, still(20, 4, top=20), 4),
    annotation(2, 2, still(30, 2), 4),
]
SACO = set_of([4, 4], ["dog", "cup", "cow"], TRUTH, pairs=[(1, 1), (1, 3), (2, 2), (2, 1)])


def results(tmp_path, found, data=SACO):
    read = read_set(write(tmp_path / "set.json", data))
    return score(read, read_predictions(write(tmp_path / "results.json", found), read), {"model": "none"})


def as_found(entries, value=0.9):
    return [
        {key: entry[key] for key in ("video_id", "category_id", "segmentations")} | {"score": value}
        for entry in entries
    ]


def test_the_truth_handed_in_is_perfect(tmp_path):
    measured = results(tmp_path, as_found(TRUTH)[::-1])
    for name in ("cgF1", "pmF1", "IL_MCC", "precision", "recall"):
        # Three tubes only: the reference's constants weigh a little.
        assert measured.summary[name] == pytest.approx(1, abs=1e-4), name
    for name in ("pHOTA", "pDetA", "pAssA", "AP", "AP50", "phrase AP", "F1", "IDF1", "MOTA"):
        assert measured.summary[name] == pytest.approx(1), name
    assert measured.headline[:2] == ("cgF1", "pHOTA")
    assert [row.name for row in measured.rows] == ["v1/cow", "v1/dog", "v2/cup", "v2/dog"]
    assert [row.values["F1"] for row in measured.rows] == [1] * 4
    assert [row.attributes for row in measured.rows[:2]] == [
        ("negative",),
        ("positive", "small", "2-to-5-instances"),
    ]
    assert measured.rows[2].series["IoU"] == (1, 1, None, None)
    assert "HOTA" not in measured.rows[0].values
    assert decode(json.loads(json.dumps(encode(measured), allow_nan=False))) == measured


def test_each_measure_says_what_it_is_about(tmp_path):
    wrong = [
        *as_found(TRUTH[:1]),
        *as_found([annotation(1, 1, still(50, 4, left=40, top=20), 4)], 0.8),  # nothing true there
        *as_found([annotation(1, 3, still(9, 4), 4)], 0.5),  # a cow where there is none; counts for cgF1, not for HOTA
        *as_found(TRUTH[2:], 0.4),  # too faint to count
    ]
    measured = results(tmp_path, wrong)
    summary = measured.summary
    # One hit, one false one, two missed.
    assert summary["pmF1"] == pytest.approx(2 / 5, abs=1e-3)
    # Said: dog in v1 (right), cow in v1 (wrong); not said: cup in v2 (wrong), dog in v2 (right).
    assert summary["IL_MCC"] == pytest.approx(0)
    assert summary["cgF1"] == pytest.approx(0)
    # 4 of 4 + 4 + 4 + 2 masks: those of one dog; the other dog, the false one and the cup.
    assert summary["pDetA"] == pytest.approx(4 / 14)
    assert summary["pAssA"] == pytest.approx(1)
    # Phrases: of two dogs one comes first; the cup is there, however faint.
    assert summary["AP50"] == pytest.approx((51 / 101 + 1) / 2)
    by_name = {row.name: row for row in measured.rows}
    assert by_name["v1/cow"].values["F1"] == 0
    assert by_name["v1/dog"].values["F1"] == pytest.approx(0.5)
    # 200 px of 200 shared, 200 missed, 100 false.
    assert by_name["v1/dog"].series["IoU"] == (pytest.approx(200 / 500),) * 4
    assert by_name["v2/cup"].series["IoU"] == (0, 0, None, None)


def test_figures_with_an_interval_are_made_of_the_rows(tmp_path):
    found = as_found(
        [*TRUTH[:1], annotation(1, 1, still(14, 4, top=20), 4), annotation(2, 1, still(9, 4), 4), TRUTH[2]]
    )
    measured = results(tmp_path, found)
    made = paired.estimates(measured, draws=20)
    for name in ("cgF1", "pmF1", "IL_MCC", "cgF1@50", "pmF1@75", "F1", "pHOTA", "pDetA", "pAssA"):
        assert made[name].value == pytest.approx(measured.summary[name], abs=1e-12), name
    # Not what a mean over pairs would be.
    assert measured.summary["pHOTA"] != pytest.approx(sum(row.values.get("HOTA", 0) for row in measured.rows) / 2)
    assert 0 < measured.summary["pHOTA"] < 1
    assert measured.summary["cgF1@50"] > measured.summary["cgF1@75"]


def test_ytvis_has_no_negative_phrases_but_counts_what_is_found_of_them(tmp_path):
    data = set_of([4, 4], ["dog", "cup", "cow"], TRUTH)
    false = as_found([annotation(2, 3, still(9, 4), 4)])
    measured = results(tmp_path, as_found(TRUTH) + false, data)
    assert "cgF1" not in measured.summary
    assert "IL_MCC" not in measured.summary
    assert measured.headline[0] == "AP"
    assert measured.summary["pmF1"] == pytest.approx(1, abs=1e-4)
    # 8 + 2 masks are there, 4 more were found.
    assert measured.summary["pDetA"] == pytest.approx(10 / 14)
    assert any("no cgF1" in line for line in measured.remarks)
    # So that runs have the same rows whatever they found.
    assert [row.name for row in measured.rows] == ["v1/dog", "v2/cup"]


def test_a_set_that_cannot_be_scored_is_refused_and_phrases_nobody_asked_for_are_told(tmp_path):
    without = {key: value for key, value in SACO.items() if key != "annotations"}
    for pair in without["video_np_pairs"]:
        assert "num_masklets" in pair
    with pytest.raises(InputError, match="no annotations"):
        results(tmp_path, [], without)
    measured = results(tmp_path, as_found([annotation(2, 3, still(9, 4), 4)]))
    assert any("1 found tubes are of phrases" in line for line in measured.remarks)
    assert any("Nothing was found in 2 of 2 videos" in line for line in measured.remarks)
    assert measured.summary["pHOTA"] == 0


def test_written_entries_are_those_of_the_tubes(tmp_path):
    read = read_set(write(tmp_path / "set.json", SACO))
    [pair] = [pair for pair in read.pairs if pair.name == "cup"]
    [entry] = entries_of(pair.video, pair.category, pair.truth)
    assert entry["segmentations"] == TRUTH[2]["segmentations"]
