"""cgF1, pmF1 and IL_MCC beside an implementation that was written from the formulas alone, and worked by hand."""

from __future__ import annotations

from itertools import permutations
from math import sqrt

import numpy as np
import pytest
from concept_eval_tubes import bar, scenes, tube
from hypothesis import given, settings

from keepsight.evaluation.concepts import overlap
from keepsight.evaluation.concepts.gated import THRESHOLDS, count_pair, gated_f1


def naive_iou(one, other):
    common = covered = 0
    for frame in {*one, *other}:
        empty = np.zeros_like(next(iter({**one, **other}.values())))
        a, b = one.get(frame, empty), other.get(frame, empty)
        common += int((a & b).sum())
        covered += int((a | b).sum())
    return common / covered if covered else 0.0


def naive(pairs):
    """(cgF1, pmF1, IL_MCC) in per cent, 100 and 1; every assignment is tried."""
    hits, false, missed = [0] * 10, [0] * 10, [0] * 10
    tp = fp = fn = tn = 0
    for truth, found, scores in pairs:
        kept = [arrays for arrays, score in zip(found, scores, strict=True) if score >= 0.5]
        tp += bool(kept) and bool(truth)
        fp += bool(kept) and not truth
        fn += not kept and bool(truth)
        tn += not kept and not truth
        if not truth:
            continue
        ious = [[naive_iou(t, f) for f in kept] for t in truth]
        few, many = min(len(truth), len(kept)), max(len(truth), len(kept))
        best, matched = -1.0, []
        for order in permutations(range(many), few):
            found_ious = [
                ious[i][j] if len(truth) <= len(kept) else ious[j][i] for i, j in zip(range(few), order, strict=True)
            ]
            if sum(found_ious) > best + 1e-12:
                best, matched = sum(found_ious), found_ious
        for place in range(10):
            threshold = 0.5 + 0.05 * place
            count = sum(iou >= threshold - 1e-12 for iou in matched)
            hits[place] += count
            false[place] += len(kept) - count
            missed[place] += len(truth) - count
    f1s = []
    for h, f, m in zip(hits, false, missed, strict=True):
        precision, recall = h / (h + f + 1e-4), h / (h + m + 1e-4)
        f1s.append(2 * precision * recall / (precision + recall + 1e-4))
    mcc = (tp * tn - fp * fn) / (sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + 1e-6)
    pmf1 = sum(f1s) / 10
    return 100 * pmf1 * mcc, 100 * pmf1, mcc


def ours(pairs):
    counts = []
    for truth, found, scores in pairs:
        found_tubes = [tube(arrays, score) for arrays, score in zip(found, scores, strict=True)]
        overlaps = overlap([tube(arrays) for arrays in truth], found_tubes)
        counts.append(count_pair(overlaps.tube_ious, np.array(scores)))
    result = gated_f1(counts)
    return 100 * result.cgf1.mean(), 100 * result.pmf1.mean(), result.il_mcc


@settings(max_examples=120, deadline=None)
@given(scenes())
def test_the_figures_are_those_of_the_formulas(pairs):
    assert ours(pairs) == pytest.approx(naive(pairs), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(scenes(least_pairs=1, most_pairs=1))
def test_tubes_overlap_as_their_pixels_do(pairs):
    [(truth, found, _)] = pairs
    overlaps = overlap([tube(arrays) for arrays in truth], [tube(arrays) for arrays in found])
    expected = np.array([[naive_iou(t, f) for f in found] for t in truth]).reshape(len(truth), len(found))
    assert np.array_equal(overlaps.tube_ious, expected)


@settings(max_examples=30, deadline=None)
@given(scenes(least_pairs=2))
def test_neither_the_order_of_tubes_nor_that_of_pairs_matters(pairs):
    turned = [(truth[::-1], found[::-1], scores[::-1]) for truth, found, scores in reversed(pairs)]
    assert ours(turned) == pytest.approx(ours(pairs), abs=1e-12)


def counts(truth, found):
    return count_pair(overlap(truth, found).tube_ious, np.array([one.score for one in found]))


def test_a_perfect_result_is_one_but_for_the_small_constants():
    counted = [counts([bar(50)] * 1, [bar(50)]) for _ in range(2000)] + [counts([], [])] * 2000
    result = gated_f1(counted)
    assert result.cgf1 == pytest.approx(1, abs=1e-4)
    assert result.cgf1.max() < 1
    # One instance, one hit: 2 r^2 / (2 r + .0001) with r = 1 / 1.0001.
    alone = gated_f1(counted[:1])
    r = 1 / 1.0001
    assert alone.pmf1 == pytest.approx(2 * r * r / (2 * r + 1e-4), abs=1e-15)


def test_a_score_of_exactly_one_half_counts():
    assert counts([bar(50)], [bar(50, 0.5)]).found == 1
    assert counts([bar(50)], [bar(50, np.nextafter(0.5, 0))]).found == 0


def test_an_iou_of_exactly_a_threshold_is_a_hit_there():
    # 10 of 20, 11 of 20, ... 19 of 20 px.
    for place in range(10):
        hits = counts([bar(20)], [bar(10 + place)]).hits
        assert hits.tolist() == [1] * (place + 1) + [0] * (9 - place), place
    assert THRESHOLDS.tolist() == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])


def test_what_is_found_of_a_phrase_that_is_not_there_counts_in_the_presence_only():
    right = [counts([bar(50)], [bar(50)]), counts([], [])]
    wrong = [right[0], counts([], [bar(50), bar(20)])]
    assert gated_f1(wrong).pmf1 == pytest.approx(gated_f1(right).pmf1)
    assert gated_f1(right).il_mcc == pytest.approx(1, abs=1e-5)
    # Said to be there always: no correlation at all.
    assert gated_f1(wrong).il_mcc == 0
    # (TP TN - FP FN) / sqrt(...) = (1 * 1 - 1 * 0) / sqrt(2 * 1 * 2 * 1)
    assert gated_f1([*right, wrong[1]]).il_mcc == pytest.approx(1 / 2, abs=1e-5)


def test_nothing_found_is_nothing_gained():
    result = gated_f1([counts([bar(50)], []), counts([], [])])
    assert result.pmf1.tolist() == [0] * 10
    assert result.il_mcc == 0
    assert counts([bar(50)], []).f1.tolist() == [0] * 10
    assert counts([], []).f1.tolist() == [1] * 10
    assert counts([], [bar(5)]).f1.tolist() == [0] * 10


def test_a_tube_without_a_pixel_is_a_miss_where_it_is_true_and_a_false_one_where_it_is_found():
    result = counts([tube({}), bar(50)], [bar(50), tube({})])
    assert (result.truth, result.found, result.hits.tolist()) == (2, 2, [1] * 10)


def test_two_on_one_thing_are_one_hit_and_the_assignment_is_the_best_for_all():
    assert counts([bar(50)], [bar(50), bar(48)]).hits.tolist() == [1] * 10
    # The longer strip fits both; taken greedily it would leave nothing for the other one.
    result = counts([bar(60), bar(100)], [bar(70), bar(58)])
    assert result.hits.tolist() == [2] * 5 + [1] * 5
