"""Success and precision beside the formulas written out frame by frame, and worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from box_tracks import track
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.evaluation.box.one_pass import held_to_the_last, one_pass, over_sequences


def naive(found, truth, visible):
    """LaSOT's rules with loops: whole pixels, the far corner at x + w - 1, errors of absent frames infinite."""
    last, kept = list(found[0]), []
    for box in found:
        if not any(math.isnan(value) for value in box) and box[2] > 0 and box[3] > 0:
            last = list(box)
        kept.append(last)
    kept[0] = list(truth[0])
    overlaps, away, relative = [], [], []
    for a, b, seen in zip(kept, truth, visible, strict=True):
        if not seen or math.isnan(b[0]) or b[2] <= 0 or b[3] <= 0:
            overlaps.append(-1.0)
            away.append(math.inf)
            relative.append(math.inf)
            continue
        across = min(a[0] + a[2] - 1, b[0] + b[2] - 1) - max(a[0], b[0]) + 1
        down = min(a[1] + a[3] - 1, b[1] + b[3] - 1) - max(a[1], b[1]) + 1
        common = max(across, 0) * max(down, 0)
        # Of a box with itself it may come out above 1 by rounding, and would then be above the last threshold.
        overlaps.append(min(common / (a[2] * a[3] + b[2] * b[3] - common), 1.0))
        dx = (a[0] + (a[2] - 1) / 2) - (b[0] + (b[2] - 1) / 2)
        dy = (a[1] + (a[3] - 1) / 2) - (b[1] + (b[3] - 1) / 2)
        away.append(math.sqrt(dx * dx + dy * dy))
        relative.append(math.sqrt((dx / b[2]) ** 2 + (dy / b[3]) ** 2))
    count = len(truth)
    success = [sum(value > 0.05 * step for value in overlaps) / count for step in range(21)]
    normalised = [sum(value <= step / 100 for value in relative) / count for step in range(51)]
    there = sum(value >= 0 for value in overlaps)
    return {
        "AUC": sum(success) / 21,
        "precision": sum(value <= 20 for value in away) / count,
        "norm. precision": sum(value <= 0.2 for value in relative) / count,
        "norm. precision AUC": sum(normalised) / 51,
        "AUC visible": sum(success) * count / there / 21,
    }


def test_as_the_formulas_say_through_absence_drift_and_silence():
    tracks = [track(seed) for seed in range(8)]
    scores = [one_pass(item.found, item.truth, item.visible) for item in tracks]
    plain = [naive(item.found, item.truth, item.visible) for item in tracks]
    for score, expected in zip(scores, plain, strict=True):
        assert score.measures() == pytest.approx(expected, abs=1e-6)
    _, figures = over_sequences(scores)
    assert figures == pytest.approx({name: np.mean([one[name] for one in plain]) for name in figures}, abs=1e-6)
    assert 0.1 < figures["AUC"] < 0.9


# On a raster of eighths every quotient is exact in both ways of writing it, so that no threshold is met from two sides.
_places = st.integers(-400, 400).map(lambda value: value / 8)
_sides = st.integers(0, 400).map(lambda value: value / 8)
_found = st.one_of(st.tuples(_places, _places, _sides, _sides), st.just((math.nan,) * 4), st.just((0.0,) * 4))
_true = st.tuples(_places, _places, st.integers(1, 400).map(lambda value: value / 8), st.integers(8, 99).map(float))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_found, _true, st.booleans()), min_size=1, max_size=12))
def test_any_boxes(frames):
    found, truth = (np.array([frame[side] for frame in frames]) for side in (0, 1))
    found[0] = truth[0]
    visible = np.array([frame[2] for frame in frames])
    visible[0] = True
    score, expected = one_pass(found, truth, visible), naive(found, truth, visible)
    assert score.measures() == pytest.approx(expected, abs=1e-6)


def test_worked_by_hand():
    truth = np.array([[10.0, 10, 20, 20]] * 4)
    found = truth.copy()
    found[1] = [20, 10, 20, 20]  # half beside it: 200 of 600 px, centre 10 px or half a box off
    found[2] = np.nan  # as the one before
    found[3] = [200, 200, 20, 20]
    score = one_pass(found, truth, np.array([True, True, True, False]))
    assert score.overlaps.tolist() == pytest.approx([1, 1 / 3, 1 / 3, -1])
    # Overlaps of 1/3 are above the 7 thresholds 0 to 0.30; a perfect one is above all but the last.
    assert score.measures()["AUC"] == pytest.approx((20 + 7 + 7) / 21 / 4)
    assert score.measures()["AUC visible"] == pytest.approx((20 + 7 + 7) / 21 / 3)
    assert score.measures()["precision"] == 3 / 4
    assert score.measures()["norm. precision"] == 1 / 4
    assert score.measures()["norm. precision AUC"] == pytest.approx((51 + 1 + 1) / 51 / 4)


def test_frames_that_nobody_knows_are_left_out():
    item = track(3)
    known = np.arange(60) % 7 == 0
    sparse = np.where(known[:, None], item.truth, math.nan)
    score = one_pass(item.found, sparse, item.visible & known, known)
    held = held_to_the_last(item.found, item.truth[0])  # over all frames, the unknown ones as well
    expected = naive(held[known], item.truth[known], item.visible[known])
    assert score.measures() == pytest.approx(expected, abs=1e-6)


def test_silence_is_what_was_said_last_and_the_first_frame_is_given():
    nothing = [math.nan] * 4
    found = np.array([[1.0, 1, 5, 5], nothing, [9, 9, 0, 4], [3, 3, 5, 5], nothing])
    held = held_to_the_last(found, np.array([2.0, 2, 6, 6]))
    assert held.tolist() == [[2, 2, 6, 6], [1, 1, 5, 5], [1, 1, 5, 5], [3, 3, 5, 5], [3, 3, 5, 5]]
    assert held_to_the_last(np.full((3, 4), math.nan), np.array([2.0, 2, 6, 6])).tolist() == [[2, 2, 6, 6]] * 3
