"""HOTA by hand, and the crowd: what leaves is away, what stays is there."""

from __future__ import annotations

import numpy as np
import pytest

from selection import Crowd, hota
from sprites import Pictures


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


def test_two_thirds_of_a_crowd_are_away_in_the_middle():
    crowd = Crowd(Pictures.made_up(), 3, objects=9, length=30)
    seen = [set(np.unique(crowd.labels(frame))) - {0} for frame in (0, 15, 29)]
    assert seen[0] == seen[2] == set(range(1, 10))
    assert seen[1] == {7, 8, 9}
    assert crowd.read(15).rgb.shape == (540, 960, 3)
